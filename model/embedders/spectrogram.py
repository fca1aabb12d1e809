"""Log mel spectrograms -> tokens, by two convolutions (Radford et al. 2022, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from model.embedders.options import SpectrogramOptions
from model.embedders.waveform import Convolution
from model.tokens import Tokens


class SpectrogramEmbedder(nn.Module):
    """Spectrogram [B, S, F], S frames of F bands as in data -> tokens [B, T, D], one for every two frames."""

    def __init__(self, options: SpectrogramOptions, dim: int) -> None:
        super().__init__()
        self.widen = Convolution(options.num_bands, dim, 3, padding=1)
        self.halve = Convolution(dim, dim, 3, stride=2, padding=1)

    def forward(self, spectrogram_BSF: Tensor, lengths_B: Tensor | None = None) -> Tokens:
        """The tokens.

        Args:
            spectrogram_BSF: bands of every frame (transformers has bands before frames).
            lengths_B: int64, frames before the padding; default: there is none (Whisper's own rows end in silence
                that counts).
        """
        spectrogram_BFS = spectrogram_BSF.to(self.widen.weight.dtype).transpose(1, 2)
        x_BTD = gelu(self.halve(gelu(self.widen(spectrogram_BFS)))).transpose(1, 2)
        index_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        segments_BT = None if lengths_B is None else (index_T < (lengths_B[:, None] + 1) // 2).long() - 1
        return Tokens(x_BTD, index_T[None], segments_BT)
