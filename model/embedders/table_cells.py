"""Tables, one token per cell (Hollmann et al. 2025, TabPFN v2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from model.embedders.options import TableCellsOptions
from model.embedders.table_scaling import is_first, labels_known, standardised
from model.tokens import Tokens


class TableCellEmbedder(nn.Module):
    """Tokens on a grid of rows and columns, row by row: a cell for every feature, and last the cell of the label.

    A feature's cell is a linear map of its value and of whether it is missing, and what all such cells share.
    Nothing tells one column from another but its values, so their order does not matter.
    """

    def __init__(self, options: TableCellsOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        self.value = nn.Linear(2, dim, bias=False)
        # Beside the value: a norm would leave nothing but the sign of a multiple of one vector.
        self.cell = nn.Embedding(1, dim)
        self.labels = nn.Embedding(options.max_classes + 1, dim)

    def forward(self, features_BRC: Tensor, label_BR: Tensor, num_features_B: Tensor, num_context_B: Tensor) -> Tokens:
        """The cells; those of context rows are their `split`.

        Args:
            features_BRC: numbers, and categories as their codes; NaN is missing.
            label_BR: int64 classes, read in the context only.
            num_features_B: how many of the columns are no padding.
            num_context_B: how many of the first rows are the context.
        """
        rows, columns = features_BRC.shape[1:]
        values_BRC, missing_BRC = standardised(features_BRC, num_features_B, num_context_B, self.options.clip)
        pairs_BRC2 = torch.stack((values_BRC, missing_BRC.to(values_BRC.dtype)), dim=-1)
        cells_BRCD = self.value(pairs_BRC2.to(self.value.weight.dtype)) + self.cell(label_BR.new_zeros(1))
        labels_BRD = self.labels(labels_known(label_BR, num_context_B, self.options.max_classes))
        x_BTD = torch.cat((cells_BRCD, labels_BRD[:, :, None]), dim=2).flatten(1, 2)
        is_cell_BC = pad(is_first(num_features_B, columns), (0, 1), value=True)
        segments_BT = (is_cell_BC.long() - 1)[:, None].expand(-1, rows, -1).flatten(1)
        index_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        split_B = num_context_B * (columns + 1)
        return Tokens(x_BTD, index_T[None], segments_BT, grid=(rows, columns + 1), split=split_B)
