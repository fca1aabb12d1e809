"""Random numbers as a pure function of (seed, stream, row, column): Philox4x32 (Salmon et al. 2011, section 3.3).

Nothing is remembered between draws, so a number does not depend on how a tensor is cut into tiles, how a kernel is
launched, or what was drawn before. Seven rounds pass every test of the paper (table 2). The Triton kernels call
`triton.language.philox` with the same arguments and get the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_ROUNDS = 7
"Of Philox."
_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def random_words(seed: int, stream: int, shape: Sequence[int], device: torch.device) -> Tensor:
    """32 random bits for every place of a matrix: int64 of that shape in [0, 2^32).

    Four neighbours in a row share a counter (column // 4, row, stream, 0); the key is the seed, of 64 bits.
    """
    num_rows, num_columns = shape
    blocks = -(-num_columns // 4)
    column = torch.arange(blocks, device=device).expand(num_rows, blocks)
    row = torch.arange(num_rows, device=device)[:, None].expand(num_rows, blocks)
    words = torch.stack(philox((column, row, torch.full_like(row, stream), torch.zeros_like(row)), seed), dim=-1)
    return words.flatten(1)[:, :num_columns]


@torch.library.custom_op("polytrain::random_words_like", mutates_args=())
def random_words_like(x: Tensor, seed: int, stream: int) -> Tensor:
    """`random_words` for every place of x. An operator: where x has no memory (`train.plan`), nothing is drawn."""
    return random_words(seed, stream, x.shape, x.device)


@random_words_like.register_fake
def _(x: Tensor, _seed: int, _stream: int) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.int64)


def uniform(words: Tensor) -> Tensor:
    """Float32 in (0, 1) from the upper 16 bits of words: the middles of 2^16 equal intervals.

    No finer, because v + u must be exact for whole v up to 127, or a value that needs no rounding would get some.
    """
    return (words >> 16).float() * 2.0**-16 + 2.0**-17


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words (int64 in [0, 2^32)) for every counter of four words."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & _WORD, seed >> 32 & _WORD
    for _ in range(NUM_ROUNDS):
        high_0, low_0 = _product(c0, _MULTIPLIERS[0])
        high_2, low_2 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high_2 ^ c1 ^ k0, low_2, high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + _KEY_STEPS[0] & _WORD, k1 + _KEY_STEPS[1] & _WORD
    return c0, c1, c2, c3


def _product(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 32 bits of a product of 64. That int64 overflows changes none of them."""
    product = word * multiplier
    return product >> 32 & _WORD, product & _WORD
