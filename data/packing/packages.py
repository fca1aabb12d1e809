"""Corpora that are packages of public registries."""

from __future__ import annotations


def located(corpus: str) -> str:
    """Where `corpus` is."""
    return corpus
