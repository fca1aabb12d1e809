"""Tables, one token per row (Hollmann et al. 2023, TabPFN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from model.embedders.options import TableRowsOptions
from model.embedders.table_scaling import labels_known, standardised
from model.tokens import Tokens


class TableRowEmbedder(nn.Module):
    """A row is a linear map of its features and of which are missing, plus the embedding of its label.

    Rows that are queried have the embedding of an unknown label. Values are multiplied by
    sqrt(max_features / num_features), so that narrow tables make tokens as large as wide ones do.
    """

    def __init__(self, options: TableRowsOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        self.features = nn.Linear(2 * options.max_features, dim)
        self.labels = nn.Embedding(options.max_classes + 1, dim)

    def forward(self, features_BRC: Tensor, label_BR: Tensor, num_features_B: Tensor, num_context_B: Tensor) -> Tokens:
        """The rows; the context is their `split`.

        Args:
            features_BRC: numbers, and categories as their codes; NaN is missing. At most `max_features` columns.
            label_BR: int64 classes, read in the context only.
            num_features_B: how many of the columns are no padding.
            num_context_B: how many of the first rows are the context.
        """
        values_BRC, missing_BRC = standardised(features_BRC, num_features_B, num_context_B, self.options.clip)
        values_BRC = values_BRC * (self.options.max_features / num_features_B[:, None, None]).sqrt()
        padding = (0, self.options.max_features - features_BRC.shape[2])
        columns = torch.cat((pad(values_BRC, padding), pad(missing_BRC, padding)), dim=2)
        x_BRD = self.features(columns.to(self.features.weight.dtype))
        x_BRD = x_BRD + self.labels(labels_known(label_BR, num_context_B, self.options.max_classes))
        return Tokens(x_BRD, torch.arange(x_BRD.shape[1], device=x_BRD.device)[None], split=num_context_B)
