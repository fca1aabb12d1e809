"""Masked autoencoding: the loss is transformers', sums do not depend on how batches are cut, bad masks are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError, TrainingError
from model.interop.families import family, imported
from model.options import TransformerOptions
from train.objectives.masked_autoencoder import MaskedAutoencoder
from train.objectives.objective import build_objective
from train.objectives.options import MaskedAutoencoderOptions

MODEL: dict[str, Any] = {
    "embedder": {"kind": "patches", "image_size": 8, "patch_size": 2, "channels": 1},
    "dim": 16,
    "num_layers": 1,
    "mixer": {"num_heads": 2},
    "positions": "sinusoidal",
    "visibility": "bidirectional",
}
DECODER: dict[str, Any] = {"dim": 8, "num_layers": 1, "mixer": {"num_heads": 2}}


def objective_of(*, norm_pixels: bool = True, **changes: Any) -> MaskedAutoencoder:
    options = MaskedAutoencoderOptions.model_validate({"decoder": DECODER, "norm_pixels": norm_pixels})
    built = build_objective(options, TransformerOptions.model_validate(MODEL | changes))
    assert isinstance(built, MaskedAutoencoder)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.copy_(built.initial_value(name, parameter.shape, 0) * 5)
    return built.double()


def batch_of(rows: int, *, channels: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    mask = torch.rand(rows, 16, generator=generator).argsort(1) < 12
    return {"image": torch.randn(rows, channels, 8, 8, generator=generator, dtype=torch.float64), "mask": mask}


@pytest.mark.parametrize("norm_pixels", [False, True])
def test_loss_and_gradients_are_those_of_transformers(norm_pixels: bool) -> None:
    import transformers

    config = transformers.ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        image_size=8,
        patch_size=2,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=12,
        norm_pix_loss=norm_pixels,
        attn_implementation="sdpa",
    )
    theirs = transformers.ViTMAEForPreTraining(config).double()
    generator = torch.Generator().manual_seed(0)
    mae = family("vit_mae")
    description = mae.describe(config.to_dict(), "ViTMAEForPreTraining")
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            # Their tables of positions, which tests of the family hold ours to.
            tables = mae.computed(description)
            parameter.copy_(tables[name] if name in tables else torch.randn(parameter.shape, generator=generator) / 4)
    options = MaskedAutoencoderOptions.model_validate(
        {"decoder": description.head.tree(), "norm_pixels": norm_pixels}  # type: ignore[union-attr]
    )
    objective = MaskedAutoencoder(options, description.model).double()
    shapes = {name: tuple(item.shape) for name, item in objective.named_parameters()}
    stored = {_in_files(name): item.detach() for name, item in theirs.named_parameters()}
    read = imported(stored, mae, "ViTMAEForPreTraining", shapes)
    assert not read.missing
    objective.load_state_dict(read.weights)

    batch = batch_of(3, channels=3)
    # Their mask is where the noise is largest.
    loss = theirs(batch["image"], noise=batch["mask"].double()).loss
    targets = objective.num_targets(batch)
    ours = objective(batch)["loss"]
    assert targets == 36
    # Predictions are brought to float32 for the loss.
    torch.testing.assert_close(ours.double() / targets, loss, rtol=1e-6, atol=0)
    ours_by_name = dict(zip(shapes, torch.autograd.grad(ours / targets, list(objective.parameters())), strict=True))
    trained = {_in_files(name): item for name, item in theirs.named_parameters() if item.requires_grad}
    theirs_by_name = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
    expected = imported(theirs_by_name, mae, "ViTMAEForPreTraining", shapes).weights
    assert expected.keys() == ours_by_name.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            ours_by_name[name], gradient, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
        )


def _in_files(name: str) -> str:
    """The name that files have for one of transformers' parameters."""
    renames = {
        "vit.layers.": "vit.encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for theirs, file in renames.items():
        name = name.replace(theirs, file)
    return name


def test_only_pixels_of_masked_patches_are_targets() -> None:
    objective, batch = objective_of(norm_pixels=False), batch_of(2)
    before = objective(batch)["loss"]
    batch["mask"][:] = torch.arange(16) < 12
    masked = objective(batch)["loss"]
    seen = batch | {"image": batch["image"].clone()}
    seen["image"][:, :, 6:] += 1
    hidden = batch | {"image": batch["image"].clone()}
    hidden["image"][:, :, :6] += 1
    predicted = [objective.head(*_encoded(objective, changed)) for changed in (batch, hidden, seen)]
    torch.testing.assert_close(predicted[0], predicted[1])
    assert not torch.allclose(predicted[0], predicted[2])
    assert masked != before
    expected = (predicted[0] - _pixels(batch["image"]))[:, :12].square().mean(-1).sum()
    torch.testing.assert_close(masked.double(), expected, rtol=1e-6, atol=0)


def _encoded(objective: MaskedAutoencoder, batch: dict[str, Tensor]) -> tuple[Any, Tensor]:
    keep = torch.arange(12, 16).expand(len(batch["image"]), -1)
    return objective.transformer(batch["image"], keep_BK=keep), keep


def _pixels(images: Tensor) -> Tensor:
    """Patches of 2 x 2, one at a time."""
    patches = [images[:, 0, r : r + 2, c : c + 2].flatten(1) for r in range(0, 8, 2) for c in range(0, 8, 2)]
    return torch.stack(patches, dim=1)


def test_losses_of_micro_batches_add_up() -> None:
    objective, batch = objective_of(), batch_of(6)
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert sum(objective.num_targets(part) for part in parts) == objective.num_targets(batch) == 72
    total = sum(objective(part)["loss"].item() for part in parts)
    assert total == pytest.approx(objective(batch)["loss"].item(), rel=1e-6)


def test_masks_that_do_not_fit_are_refused() -> None:
    objective, batch = objective_of(), batch_of(2)
    with pytest.raises(TrainingError, match="masks of 9 patches, but the images have 16"):
        objective.num_targets(batch | {"mask": batch["mask"][:, :9]})
    batch["mask"][0] = False
    with pytest.raises(TrainingError, match="rows with 0 to 12 masked patches"):
        objective.num_targets(batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visibility": "causal"}, "set model.visibility: bidirectional"),
        ({"embedder": {"kind": "text", "vocab_size": 3, "max_length": 4}}, "model.embedder is text"),
    ],
)
def test_models_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objective_of(**changes)
