"""Which Hugging Face family a model belongs to."""

from __future__ import annotations

from types import ModuleType

from configs.errors import ConfigError
from model.interop import gpt2, llama
from model.options import TransformerOptions

_FAMILIES: dict[str, ModuleType] = {"llama": llama, "gpt2": gpt2}


def family_of(options: TransformerOptions) -> ModuleType:
    """The family module (`config`, `tensors`) whose class computes exactly this model.

    Raises:
        ConfigError: naming, for every family, the keys that differ from it.
    """
    reasons = []
    for name, family in _FAMILIES.items():
        misfits = family.misfits(options)
        if not misfits:
            return family
        reasons.append(f"  {name}: not with {', '.join(misfits)}")
    raise ConfigError("\n".join(["no Hugging Face family computes this model:", *reasons]))
