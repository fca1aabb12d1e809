"""Features -> entries of codebooks, and hidden states in the same space (Baevski et al. 2020, section 2).

N counts frames (of all rows), C the width of features, G codebooks of V entries, P the common space.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax, one_hot

from configs.errors import ConfigError
from model.embedders.options import WaveformOptions
from model.options import ContrastiveHeadOptions, TransformerOptions


class ContrastiveHead(nn.Module):
    """The quantiser, and the projections into the common space."""

    def __init__(self, options: ContrastiveHeadOptions, model: TransformerOptions) -> None:
        super().__init__()
        if not isinstance(model.embedder, WaveformOptions):
            raise ConfigError(f"a contrastive head needs model.embedder.kind=waveform, found {model.embedder.kind}.")
        self.quantizer = ProductQuantizer(options, model.embedder.widths[-1])
        self.prediction = nn.Linear(model.dim, options.dim)
        self.target = nn.Linear(options.code_dim, options.dim)

    def forward(self, features_NC: Tensor, hidden_ND: Tensor, temperature: float) -> tuple[Tensor, ...]:
        """Predictions [N, P], targets [N, P]; then codes [N, G] and shares [N, G, V] of `ProductQuantizer`."""
        vectors_NE, codes_NG, shares_NGV = self.quantizer(features_NC, temperature)
        return self.prediction(hidden_ND), self.target(vectors_NE), codes_NG, shares_NGV


class ProductQuantizer(nn.Module):
    """One entry of every codebook for each feature."""

    def __init__(self, options: ContrastiveHeadOptions, width: int) -> None:
        super().__init__()
        self._shape = (options.num_codebooks, options.num_entries)
        self.scores = EntryScores(width, options.num_codebooks * options.num_entries)
        self.codebook = Codebook(options)

    def forward(self, features_NC: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise.

        In training entries are drawn by a straight-through Gumbel softmax (Jang et al. 2017) and gradients reach
        the scores; in evaluation the best entry is taken, and they do not.

        Args:
            features_NC: features of frames.
            temperature: of the Gumbel softmax.

        Returns:
            The chosen entries side by side [N, E]; their numbers, int64 [N, G]; and what is to be diverse [N, G, V]:
            the softmax of the scores without noise in training, the choice in evaluation.
        """
        scores_NGV = self.scores(features_NC).unflatten(-1, self._shape)
        scores_NGV = scores_NGV.to(torch.promote_types(scores_NGV.dtype, torch.float32))
        if self.training:
            choice_NGV = gumbel_softmax(scores_NGV, tau=temperature, hard=True)
            codes_NG, shares_NGV = choice_NGV.argmax(-1), scores_NGV.softmax(-1)
        else:
            codes_NG = scores_NGV.argmax(-1)
            choice_NGV = shares_NGV = one_hot(codes_NG, self._shape[-1]).to(scores_NGV.dtype)
        return self.codebook(choice_NGV.to(features_NC.dtype)), codes_NG, shares_NGV


class EntryScores(nn.Linear):
    """The score of every entry: features [N, C] -> [N, G V]."""

    def initial_value(self, leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal weights: at the start, different features choose different entries."""
        return torch.zeros(shape) if leaf == "bias" else torch.empty(shape).normal_(generator=generator)


class Codebook(nn.Module):
    """The entries: a choice [N, G, V] -> [N, E], those of all codebooks side by side."""

    def __init__(self, options: ContrastiveHeadOptions) -> None:
        super().__init__()
        entries = options.num_codebooks * options.num_entries
        self.weight = nn.Parameter(torch.empty(1, entries, options.code_dim // options.num_codebooks))

    def initial_value(self, _leaf: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform on [0, 1), as fairseq's."""
        return torch.empty(shape).uniform_(generator=generator)

    def forward(self, choice_NGV: Tensor) -> Tensor:
        """Take the chosen entries."""
        entries_GVK = self.weight.view(*choice_NGV.shape[1:], -1)
        chosen_NGK: Tensor = torch.einsum("ngv,gvk->ngk", choice_NGV, entries_GVK)
        return chosen_NGK.flatten(1)


def perplexity(shares_GV: Tensor) -> Tensor:
    """Entries in use: exp of the entropy of each distribution [G], between 1 and V (of eq. 4)."""
    return torch.special.entr(shares_GV).sum(-1).exp()  # type: ignore[no-any-return]
