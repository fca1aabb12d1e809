"""A keyed pseudo-random permutation of range(n): O(1) memory, O(1) access, no state.

A balanced Feistel network permutes the smallest power of four that holds n; a value that lands
outside range(n) is encrypted again until it falls inside ("cycle walking", Black and Rogaway 2002,
"Ciphers with Arbitrary Finite Domains", method 2). The domain is less than 4 n, so a value walks
less than four times on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]

_NUM_ROUNDS = 6


class Permutation:
    """A bijection of range(size), chosen by `key`."""

    def __init__(self, size: int, key: int) -> None:
        if not 0 < size <= 2**62:
            raise ValueError(f"size must be in 1..2^62, found {size}")
        self.size = size
        self._half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._round_keys = mix64(np.arange(_NUM_ROUNDS, dtype=np.uint64), np.uint64(key & (2**64 - 1)))

    def __call__(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of `indices` (each in range(size)), in the same order."""
        values = self._encrypt(indices.astype(np.uint64))
        size = np.uint64(self.size)
        outside = np.flatnonzero(values >= size)
        while outside.size:
            values[outside] = self._encrypt(values[outside])
            outside = outside[values[outside] >= size]
        return values.astype(np.int64)

    def _encrypt(self, values: UInt64) -> UInt64:
        shift = np.uint64(self._half_bits)
        mask = np.uint64((1 << self._half_bits) - 1)
        left, right = values >> shift, values & mask
        for round_key in self._round_keys:
            left, right = right, left ^ (mix64(right, round_key) & mask)
        return (left << shift) | right


def mix64(values: UInt64, key: np.uint64) -> UInt64:
    """A well-mixed 64-bit hash of each value under `key` (the finaliser of splitmix64, applied twice)."""
    with np.errstate(over="ignore"):
        mixed = values ^ key
        for _ in range(2):
            mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
