"""Options of every objective. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from configs.options import Kind, Part


class CausalLMOptions(Part):
    """Predict each token from those before it in its document."""

    kind: Literal["causal_lm"] = "causal_lm"
    tied_head: bool = True
    "Whether the output layer is the token embedding (Press and Wolf 2017)."

    builds: ClassVar[str] = "train.objectives.causal_lm:CausalLM"


class PFNOptions(Part):
    """Predict the classes of a table's queried rows from its known rows (Müller et al. 2022, prior-data fitting)."""

    kind: Literal["pfn"] = "pfn"

    builds: ClassVar[str] = "train.objectives.pfn:PFN"


AnyObjective = Annotated[CausalLMOptions | PFNOptions, Kind(default="causal_lm")]
