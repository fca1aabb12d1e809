"""How the one `seed` of a recipe becomes every random number of a run.

Nothing draws from a global generator whose state would have to be saved: each use names what it is
for, and the seed of that use is a hash. `derive(seed, "dropout", step, rank)` is the same number on
every machine and in every resumed run.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """A seed in [0, 2^63) for one named use of the recipe's seed."""
    text = "\x1f".join([str(seed), *(str(part) for part in purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
