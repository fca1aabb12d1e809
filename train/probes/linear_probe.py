"""How much a linear classifier learns from the features of the encoder, beside those of random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from configs.errors import ConfigError
from configs.options import construct
from data.cache import storage_of
from data.loader import Batch
from data.sample import Source
from data.sources import build_source
from model.tokens import Tokens
from model.transformer import Transformer
from train.engines.engine import to_device
from train.objectives.objective import Objective
from train.probes.held_out import held_out_batches
from train.probes.options import LinearProbeOptions
from train.probes.probe import Figures, ProbeContext

_MAX_ITERATIONS = 300


class LinearProbe:
    """Multinomial logistic regression on frozen features: labelled samples of data.train, scored on data.validation.

    The same is done once with the weights of the run before its first step: a random projection of pixels can be
    classified too, so an accuracy says little by itself.
    """

    def __init__(self, options: LinearProbeOptions, context: ProbeContext) -> None:
        assert context.recipe.data.validation is not None
        self._options = options
        self._context = context
        storage = storage_of(context.recipe.data.cache)
        self._train = build_source(context.recipe.data.train, storage)
        self._validation = build_source(context.recipe.data.validation, storage)
        self._of_random: float | None = None

    def measure(self, step: int) -> Figures:
        """Accuracies on the validation samples, of the current features and of those of random weights."""
        context = self._context
        if self._of_random is None:
            self._of_random = self._accuracy(random_encoder(context.engine.objective, context))
        with context.engine.evaluating():
            accuracy = self._accuracy(context.engine.objective.transformers()[0])
        return {"accuracy": accuracy, "accuracy_of_random_weights": self._of_random, "labels": self._options.labels}

    def _accuracy(self, encoder: nn.Module) -> float:
        train, train_labels = self._features(encoder, self._train, self._options.labels)
        validation, validation_labels = self._features(encoder, self._validation, self._options.rows)
        classify = logistic_regression(train, train_labels, weight_decay=self._options.weight_decay)
        return float((classify(validation).argmax(-1) == validation_labels).double().mean())

    @torch.no_grad()
    def _features(self, encoder: nn.Module, source: Source, rows: int | None) -> tuple[Tensor, Tensor]:
        """Features [rows, D] (float64) and labels [rows] of samples spread evenly over the source, on every rank."""
        mine = []
        for batch, is_mine in held_out_batches(source, rows, self._context):
            features, labels = self._features_of(encoder, batch)
            if is_mine:
                mine.append((features, labels))
        shares = cast(list[list[tuple[Tensor, Tensor]]], self._context.world.gather(mine))
        pairs = [pair for share in shares for pair in share]
        return torch.cat([features for features, _ in pairs]), torch.cat([labels for _, labels in pairs])

    def _features_of(self, encoder: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        options = self._options
        for name in (options.field, options.label):
            if name not in batch:
                raise ConfigError(f"linear probe: no field {name}; the samples have {', '.join(batch)}.")
        hidden: Tokens = encoder(to_device({"x": batch[options.field]}, self._context.world.device)["x"])
        features_BD = hidden.body.mean(1) if options.features == "mean" else hidden.x[:, 0]
        return features_BD.double().cpu(), batch[options.label]


def random_encoder(objective: Objective, context: ProbeContext) -> nn.Module:
    """The encoder with the weights it had before the first step, whole on this rank."""
    main = objective.transformers()[0]
    prefix = next(name for name, module in objective.named_modules() if module is main)
    with torch.device("meta"):
        encoder = cast(Transformer, construct(context.recipe.model))
    encoder.to_empty(device=context.world.device)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.copy_(objective.initial_value(f"{prefix}.{name}", parameter.shape, context.recipe.seed))
    return encoder.eval()


def logistic_regression(features: Tensor, labels: Tensor, *, weight_decay: float) -> Callable[[Tensor], Tensor]:
    """Fit multinomial logistic regression; returns features -> logits.

    Args:
        features: [rows, D], standardised here.
        labels: [rows] int64 from 0.
        weight_decay: factor of half the squared norm of the weights, beside the mean cross-entropy (nats).
    """
    mean, std = features.mean(0), features.std(0).clamp(min=torch.finfo(features.dtype).eps)

    def logits(x: Tensor) -> Tensor:
        return (x - mean) / std @ weight + bias

    with torch.enable_grad():
        weight = features.new_zeros(features.shape[1], int(labels.max()) + 1).requires_grad_()
        bias = features.new_zeros(weight.shape[1]).requires_grad_()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = cross_entropy(logits(features), labels) + weight_decay / 2 * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight, bias = weight.detach(), bias.detach()
    return logits
