"""The objective wav2vec2, beside transformers' Wav2Vec2ForPreTraining and beside its definition."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from configs.options import validate
from data.audio.negatives import Negatives
from data.audio.options import NegativesOptions
from model.codebooks import perplexity
from model.embedders.waveform import num_frames
from model.interop.families import exported
from model.options import TransformerOptions
from tests.model.interop.parity import Pair, gradients, pair_of, ragged, relative_distance
from train.objectives.objective import build_objective
from train.objectives.options import CausalLMOptions, Wav2Vec2Options
from train.objectives.wav2vec2 import Wav2Vec2

Batch = dict[str, Tensor]

NUM_NEGATIVES = 7
BASE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "conv_dim": [8, 12],
    "conv_kernel": [5, 3],
    "conv_stride": [3, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_codevectors_per_group": 5,
    "codevector_dim": 8,
    "proj_codevector_dim": 10,
    "num_negatives": NUM_NEGATIVES,
    "layerdrop": 0.0,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
FORMS = {
    "base": BASE,
    "large": BASE | {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "four codebooks": BASE | {"num_codevector_groups": 4, "diversity_loss_weight": 0.7},
}


@pytest.fixture(scope="module", params=FORMS)
def pair(request: pytest.FixtureRequest) -> Pair:
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    config = Wav2Vec2Config(**FORMS[request.param], attn_implementation="eager")
    return pair_of(Wav2Vec2ForPreTraining(config))


@pytest.fixture(scope="module")
def objective(pair: Pair) -> Wav2Vec2:
    return objective_of(pair)


def objective_of(pair: Pair) -> Wav2Vec2:
    """Ours with the weights of the pair, in evaluation mode."""
    description = pair.ours.description
    options = Wav2Vec2Options(head=description.head, diversity_weight=pair.theirs.config.diversity_loss_weight)
    objective = Wav2Vec2(options, description.model)
    objective.load_state_dict(pair.ours.state_dict())
    return objective.double().eval()


def batch_of(objective: Wav2Vec2, lengths: list[int], *, seed: int = 0, share: float = 0.5) -> Batch:
    """Random waveforms, masks of single frames, and distractors."""
    generator = np.random.default_rng(seed)
    options = objective.transformer.options.embedder
    length = max(lengths)
    frames = num_frames(options, torch.tensor(lengths)).tolist()
    mask = np.zeros((len(lengths), max(frames)), dtype=np.bool_)
    for row, count in enumerate(frames):
        mask[row, generator.permutation(count)[: max(2, round(share * count))]] = True
    draw = Negatives(NegativesOptions(count=NUM_NEGATIVES))
    negatives = np.stack([draw({"mask": row}, generator)["negatives"] for row in mask])
    waveform = generator.standard_normal((len(lengths), length))
    waveform *= np.arange(length) < np.array(lengths)[:, None]
    return {
        "waveform": torch.from_numpy(waveform),
        "length": torch.tensor(lengths),
        "mask": torch.from_numpy(mask),
        "negatives": torch.from_numpy(negatives).long(),
    }


def of_theirs(theirs: nn.Module, batch: Batch) -> Any:
    """What transformers' class makes of the batch: it numbers the frames of all rows."""
    first = torch.arange(len(batch["mask"])) * batch["mask"].shape[1]
    return theirs(
        batch["waveform"],
        attention_mask=ragged(batch["length"].tolist(), batch["waveform"].shape[1])[1],
        mask_time_indices=batch["mask"],
        sampled_negative_indices=batch["negatives"] + first[:, None, None],
    )


@pytest.mark.parametrize("lengths", [[90, 90], [150, 97, 40], [200]], ids=str)
def test_loss_and_gradients_are_those_of_transformers(
    pair: Pair, objective: Wav2Vec2, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(objective, lengths)
    # Theirs brings cosines to float32, whose rounding would be all that differs.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    sums, theirs = objective(batch), of_theirs(pair.theirs, batch)
    torch.testing.assert_close(sums["loss"], theirs.loss, rtol=1e-9, atol=0)
    torch.testing.assert_close(sums["contrastive"], theirs.contrastive_loss.detach(), rtol=1e-9, atol=0)
    shares_GV = sums["shares"] / objective.num_targets(batch)
    assert float(perplexity(shares_GV).sum()) == pytest.approx(float(theirs.codevector_perplexity.detach()), rel=1e-9)
    mine = exported(gradients(objective, sums["loss"]), pair.family, pair.architecture)
    expected = gradients(pair.theirs, theirs.loss)
    assert mine.keys() == expected.keys()
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in expected.values())
    distances = {name: relative_distance(mine[name], expected[name], floor) for name in mine}
    assert max(distances.values()) < 1e-8, distances


def test_entries_are_drawn_as_by_transformers(pair: Pair) -> None:
    objective = objective_of(pair).float().train()
    model = copy.deepcopy(pair.theirs).float().train()
    # Theirs draws for every frame, ours for the masked ones: the same noise where all are masked.
    batch = batch_of(objective, [90, 90], share=1.0)
    batch["waveform"] = batch["waveform"].float()
    model.set_gumbel_temperature(0.7)
    torch.manual_seed(3)
    theirs = of_theirs(model, batch)
    features = objective.transformer.embedder.features(batch["waveform"]).flatten(0, 1)
    torch.manual_seed(3)
    _, target, codes, shares = objective.head(features, torch.zeros(len(features), 16), 0.7)
    assert relative_distance(target, theirs.projected_quantized_states.flatten(0, 1)) < 1e-6
    assert float(perplexity(shares.mean(0)).detach().sum()) == pytest.approx(
        float(theirs.codevector_perplexity.detach()), rel=1e-6
    )
    best = objective.head.eval()(features, torch.zeros(len(features), 16), 0.7)[2]
    assert (codes != best).any()


@pytest.mark.parametrize("lengths", [[90, 70], [150]], ids=str)
def test_the_contrastive_loss_is_a_sum_over_masked_frames_and_their_distractors(
    objective: Wav2Vec2, lengths: list[int]
) -> None:
    batch = batch_of(objective, lengths)
    features = objective.transformer.embedder.features(batch["waveform"])
    hidden = objective.transformer(batch["waveform"], batch["length"], mask_BT=batch["mask"]).x
    expected, correct = 0.0, 0.0
    for row, mask in enumerate(batch["mask"]):
        predicted, target, codes, _ = objective.head(features[row], hidden[row], 1.0)
        for frame in mask.nonzero().flatten().tolist():
            others = batch["negatives"][row, frame].tolist()
            same = [other for other in others if torch.equal(codes[other], codes[frame])]
            kept = [frame, *(other for other in others if other not in same)]
            scores = [float(torch.cosine_similarity(predicted[frame], target[other], dim=0)) / 0.1 for other in kept]
            expected += math.log(sum(map(math.exp, scores))) - scores[0]
            correct += (scores[0] == max(scores)) / (1 + len(same))
    sums = objective(batch)
    assert float(sums["contrastive"]) == pytest.approx(expected, rel=1e-9)
    assert float(sums["correct"]) == pytest.approx(correct, rel=1e-6)


def test_all_but_the_diversity_loss_adds_up_over_micro_batches(objective: Wav2Vec2) -> None:
    batch = batch_of(objective, [150, 150, 80, 150])
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 1), slice(1, 4))]
    whole, pieces = objective(batch), [objective(part) for part in parts]
    assert sum(objective.num_targets(part) for part in parts) == objective.num_targets(batch)
    for name in ("contrastive", "correct", "shares"):
        torch.testing.assert_close(pieces[0][name] + pieces[1][name], whole[name])
    assert float(pieces[0]["loss"] + pieces[1]["loss"]) != pytest.approx(float(whole["loss"]), rel=1e-6)


def test_what_lies_in_the_padding_does_not_matter(pair: Pair) -> None:
    if pair.ours.description.model.embedder.conv_norm == "group":
        return  # the norm of the first convolution counts it
    objective = objective_of(pair)
    batch = batch_of(objective, [150, 80])
    noisy = batch | {"waveform": batch["waveform"].clone()}
    noisy["waveform"][1, 80:] = 5.0
    torch.testing.assert_close(objective(noisy)["loss"], objective(batch)["loss"])


def test_a_codebook_of_which_one_entry_is_used_scores_no_more_than_chance(pair: Pair) -> None:
    objective = objective_of(pair)
    with torch.no_grad():
        objective.head.quantizer.scores.weight.zero_()
        objective.head.quantizer.scores.bias.copy_(torch.arange(objective.head.quantizer.scores.out_features))
    batch = batch_of(objective, [150, 80])
    sums = objective(batch)
    targets = objective.num_targets(batch)
    assert float(sums["correct"]) / targets == pytest.approx(1 / (NUM_NEGATIVES + 1))
    assert float(perplexity(sums["shares"] / targets).mean()) == pytest.approx(1.0)


def test_the_temperature_of_the_draw_is_a_function_of_the_step(pair: Pair) -> None:
    objective = objective_of(pair).train()
    batch, found = batch_of(objective, [90, 90]), []
    for step in (0, 400_000, 0):
        objective.set_step(step, 10)
        torch.manual_seed(0)
        found.append(gradients(objective, objective(batch)["loss"])["head.quantizer.scores.weight"])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_a_model_that_cannot_be_trained_so_is_refused(objective: Wav2Vec2) -> None:
    model = objective.transformer.options
    without = model.model_copy(update={"embedder": model.embedder.model_copy(update={"mask_token": False})})
    with pytest.raises(ConfigError, match="mask_token: true"):
        build_objective(Wav2Vec2Options(), without)
    text = validate(
        TransformerOptions,
        {"embedder": {"vocab_size": 9, "max_length": 8}, "dim": 8, "num_layers": 1, "mixer": {"num_heads": 2}},
        "text",
    )
    with pytest.raises(ConfigError, match=r"embedder\.kind is text"):
        build_objective(Wav2Vec2Options(), text)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"embedder is waveform"):
        build_objective(CausalLMOptions(), model)


def test_initial_values_follow_the_modules_own_schemes(objective: Wav2Vec2) -> None:
    def initial(name: str, seed: int = 0) -> Tensor:
        return objective.initial_value(name, dict(objective.named_parameters())[name].shape, seed)

    codebook = initial("head.quantizer.codebook.weight")
    assert 0 <= codebook.min() < codebook.max() < 1
    assert torch.equal(codebook, initial("head.quantizer.codebook.weight"))
    assert not torch.equal(codebook, initial("head.quantizer.codebook.weight", seed=1))
    assert initial("head.quantizer.scores.weight").std() == pytest.approx(1.0, abs=0.2)
    assert initial("head.prediction.weight").std() == pytest.approx(0.02, rel=0.3)
    conv = initial("transformer.embedder.convolutions.1.conv.weight")
    assert conv.std() == pytest.approx(math.sqrt(2 / (conv.shape[1] * conv.shape[2])), rel=0.2)
    magnitude = initial("transformer.position_embedding.conv.magnitude")
    direction = initial("transformer.position_embedding.conv.direction")
    torch.testing.assert_close(magnitude[0, 0], direction.norm(dim=(0, 1)), rtol=0.3, atol=0)
