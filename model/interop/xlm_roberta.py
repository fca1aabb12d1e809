"""`XLMRobertaModel` and `XLMRobertaForMaskedLM`: RoBERTa in a hundred languages (Conneau et al. 2020)."""

from __future__ import annotations

from model.interop.roberta import roberta

FAMILY = roberta("xlm-roberta", "XLMRoberta", {"pad_token_id": 1})
