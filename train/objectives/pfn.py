"""Prior-data fitting: predict the classes of a table's queried rows from its known rows.

Trained on tables drawn from a prior, a model comes to approximate the posterior predictive distribution of that prior
(Müller et al. 2022, "Transformers can do Bayesian inference"; Hollmann et al. 2023, TabPFN).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from configs.errors import ConfigError, TrainingError
from configs.options import construct
from data.loader import Batch
from model.embedders.options import TableCellsOptions, TableRowsOptions
from model.embedders.table_scaling import is_first
from model.options import TransformerOptions
from model.transformer import Transformer
from train.objectives.objective import Objective
from train.objectives.options import PFNOptions

_IGNORED = -100


class PFN(Objective):
    """Batch: features [B, R, C], label [B, R], num_features, num_classes and num_context [B]. Targets: queried rows."""

    fields = ("features", "label", "num_features", "num_classes", "num_context")

    def __init__(self, options: PFNOptions, model: TransformerOptions) -> None:
        super().__init__()
        self.limits = table_of(model)
        "The embedder: how many features and classes there may be."
        self.transformer = cast(Transformer, construct(model))
        self.head = nn.Linear(model.dim, self.limits.max_classes)

    def num_targets(self, batch: Batch) -> int:
        for name, limit in (("features", self.limits.max_features), ("classes", self.limits.max_classes)):
            largest = int(batch[f"num_{name}"].max())
            if largest > limit:
                raise TrainingError(f"data: a table has {largest} {name}, more than model.embedder.max_{name}={limit}.")
        return int((batch["label"].shape[1] - batch["num_context"]).sum())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        label_BR, num_context_B = batch["label"], batch["num_context"]
        logits_BRN = self.logits(
            batch["features"], label_BR, batch["num_features"], batch["num_classes"], num_context_B
        ).float()
        is_context_BR = is_first(num_context_B, label_BR.shape[1])
        targets_BR = label_BR.masked_fill(is_context_BR, _IGNORED)
        loss = cross_entropy(logits_BRN.flatten(0, 1), targets_BR.flatten(), ignore_index=_IGNORED, reduction="sum")
        return {"loss": loss}

    def logits(
        self,
        features_BRC: Tensor,
        label_BR: Tensor,
        num_features_B: Tensor,
        num_classes_B: Tensor,
        num_context_B: Tensor,
    ) -> Tensor:
        """Logits of the classes of all rows [B, R, max_classes]: -inf for those that a table does not have.

        Args:
            features_BRC: numbers, and categories as their codes; NaN is missing.
            label_BR: int64 classes, read in the context only.
            num_features_B: how many of the columns are no padding.
            num_classes_B: how many classes there are.
            num_context_B: how many of the first rows are known.
        """
        hidden = self.transformer(features_BRC, label_BR, num_features_B, num_context_B)
        # Of one token per cell, the last of each row is the label's.
        rows_BRD = hidden.x if hidden.grid is None else hidden.x.unflatten(1, hidden.grid)[:, :, -1]
        logits_BRN = self.head(rows_BRD)
        is_class_BN = is_first(num_classes_B, self.limits.max_classes)
        return logits_BRN.masked_fill(~is_class_BN[:, None], float("-inf"))  # type: ignore[no-any-return]


def table_of(model: TransformerOptions) -> TableRowsOptions | TableCellsOptions:
    """The embedder of a model that reads tables.

    Raises:
        ConfigError: when the model reads something else, sees what it is to predict, or sees an order of the rows.
    """
    if not isinstance(model.embedder, TableRowsOptions | TableCellsOptions):
        raise ConfigError(f"objective pfn: reads tables; model.embedder is {model.embedder.kind}.")
    found = {"visibility": model.visibility, "documents": model.documents, "positions": model.positions.kind}
    for name, value in {"visibility": "context", "documents": "separate", "positions": "none"}.items():
        if found[name] != value:
            raise ConfigError(f"objective pfn: rows are a set; model.{name} is {found[name]}, set it to {value}.")
    return model.embedder
