"""Random streams by name: counter-based (Philox, Salmon et al. 2011), so each starts at once, from nothing but its key.

Philox's bits are the same on every machine; the golden hashes in the tests of the priors notice a numpy that
turns them into other numbers.
"""

from __future__ import annotations

import numpy as np

from configs.seeds import derive


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """The random stream of one named use of `seed`."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *purpose)))


def stream_at(key: int, position: int) -> np.random.Generator:
    """The random stream of one position: much cheaper than a named one."""
    return np.random.Generator(np.random.Philox(key=np.array([key, position], dtype=np.uint64)))
