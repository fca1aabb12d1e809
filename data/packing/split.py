"""On which side of the train/validation split an example falls."""

from __future__ import annotations

import hashlib


def is_held_out(group: str, validation: float) -> bool:
    """Whether `group` falls into the held-out share: by its hash, so whatever else is in the corpus."""
    digest = hashlib.blake2b(group.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < validation * 2**64
