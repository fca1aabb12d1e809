from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from configs.errors import ConfigError
from model.surgery.load import Load

Make = Callable[..., Any]


def untrained(name: str, shape: Sequence[int], seed: int) -> Tensor:
    return torch.full(tuple(shape), float(seed))


def values_of(module: Any, surgery: Any) -> dict[str, Tensor]:
    value = surgery.over(untrained)
    return {name: value(name, tuple(item.shape), 5) for name, item in module.named_parameters()}


def test_every_parameter_starts_from_the_file(whole_of: Make, operate: Make, file_of: Make) -> None:
    whole = whole_of()
    surgery = operate(whole, {"kind": "load", "path": file_of(whole.state_dict())})
    for name, value in values_of(whole, surgery).items():
        assert value.dtype == torch.float32
        assert torch.equal(value, whole.state_dict()[name].float())
    (report,) = surgery.reports()
    assert "22 of 22 parameters loaded" in report


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_whatever_is_not_allowed_is_refused(whole_of: Make, operate: Make, file_of: Make, change: str) -> None:
    whole = whole_of()
    tensors = dict(whole.state_dict())
    if change == "missing":
        del tensors["head.output.weight"]
        message = r"1 missing there: head.output.weight"
    elif change == "unexpected":
        tensors["head.extra"] = torch.zeros(2)
        message = r"1 not in this model: head.extra"
    else:
        tensors["head.output.weight"] = torch.zeros(20, 16)
        message = r"1 of another shape: head.output.weight: \(20, 16\) there, \(23, 16\) here"
    surgery = operate(whole, {"kind": "load", "path": file_of(tensors)})
    with pytest.raises(ConfigError, match=message):
        surgery.reports()
    with pytest.raises(ConfigError, match=message):
        surgery.over(untrained)("transformer.norm.weight", (16,), 0)


def test_what_is_allowed_is_reported_and_starts_untrained(whole_of: Make, operate: Make, file_of: Make) -> None:
    whole = whole_of()
    tensors = {name: tensor for name, tensor in whole.state_dict().items() if not name.startswith("head.")}
    tensors |= {"pooler.weight": torch.zeros(1)}
    allowed = {"allow_missing": "head.**", "allow_unexpected": ["pooler.*"]}
    surgery = operate(whole, {"kind": "load", "path": file_of(tensors), **allowed})
    values = values_of(whole, surgery)
    assert torch.equal(values["head.output.weight"], torch.full((23, 16), 5.0))
    coverage = surgery.edits[0].coverage()
    assert coverage.missing == ["head.output.weight", "head.bias.bias"]
    assert coverage.unexpected == ["pooler.weight"]
    assert "head.output.weight" in str(coverage)
    assert "pooler.weight" in str(coverage)


def test_long_lists_are_shortened_to_ten_and_the_count(whole_of: Make, operate: Make, file_of: Make) -> None:
    surgery = operate(whole_of(), {"kind": "load", "path": file_of({"transformer.norm.weight": torch.zeros(16)})})
    with pytest.raises(ConfigError, match=r"21 missing there: (\S+, ){9}\S+ and 11 more") as error:
        surgery.reports()
    assert "allow_missing" in str(error.value)


def test_names_are_translated(whole_of: Make, operate: Make, file_of: Make) -> None:
    whole = whole_of()
    tensors = {name.replace("transformer.", "model.inner."): item for name, item in whole.state_dict().items()}
    tensors["lm.weight"] = tensors.pop("head.output.weight")
    rename = {"model.inner.**": "transformer.**", "lm.*": "head.output.*"}
    surgery = operate(whole, {"kind": "load", "path": file_of(tensors), "rename": rename})
    for name, value in values_of(whole, surgery).items():
        assert torch.equal(value, whole.state_dict()[name].float())


def test_two_names_for_one_parameter_are_refused(whole_of: Make, operate: Make, file_of: Make) -> None:
    tensors = {"a.norm.weight": torch.zeros(16), "transformer.norm.weight": torch.zeros(16)}
    surgery = operate(whole_of(), {"kind": "load", "path": file_of(tensors), "rename": {"a.**": "transformer.**"}})
    with pytest.raises(ConfigError, match=r"surgery\[0\].rename: .* would both be transformer.norm.weight"):
        surgery.reports()


def test_a_larger_vocabulary_keeps_its_entries_and_gets_their_mean(
    whole_of: Make, operate: Make, file_of: Make
) -> None:
    old, new = whole_of(), whole_of(embedder={"vocab_size": 30})
    surgery = operate(new, {"kind": "load", "path": file_of(old.state_dict()), "resize": True})
    values = values_of(new, surgery)
    for name in ("transformer.embedder.tokens.weight", "head.output.weight", "head.bias.bias"):
        expected = old.state_dict()[name].float()
        assert torch.equal(values[name][:23], expected)
        torch.testing.assert_close(values[name][23:], expected.mean(0).expand_as(values[name][23:]))
    assert "reshaped head.output.weight: (23, 16) -> (30, 16)" in surgery.reports()[0]


def test_a_smaller_vocabulary_is_cut(whole_of: Make, operate: Make, file_of: Make) -> None:
    old, new = whole_of(), whole_of(embedder={"vocab_size": 20})
    surgery = operate(new, {"kind": "load", "path": file_of(old.state_dict()), "resize": True})
    name = "head.output.weight"
    assert torch.equal(values_of(new, surgery)[name], old.state_dict()[name][:20].float())


@pytest.mark.parametrize("length", [10, 16, 40])
def test_learned_positions_are_repeated_or_cut_behind_the_unused_rows(
    whole_of: Make, operate: Make, file_of: Make, length: int
) -> None:
    positions = {"kind": "learned", "offset": 2}
    old, new = whole_of(positions=positions), whole_of(positions=positions, embedder={"max_length": length})
    surgery = operate(new, {"kind": "load", "path": file_of(old.state_dict()), "resize": True})
    name = "transformer.position_embedding.table.weight"
    there, found = old.state_dict()[name].float(), values_of(new, surgery)[name]
    assert len(found) == 2 + length
    assert torch.equal(found[:2], there[:2])
    assert all(torch.equal(found[2 + place], there[2 + place % 16]) for place in range(length))


def test_another_width_is_no_matter_of_resizing(whole_of: Make, operate: Make, file_of: Make) -> None:
    old, new = whole_of(), whole_of(mixer={"num_heads": 4, "num_kv_heads": 2})
    surgery = operate(new, {"kind": "load", "path": file_of(old.state_dict()), "resize": True})
    with pytest.raises(ConfigError, match=r"4 of another shape: transformer.blocks.0.mixer.key.weight"):
        surgery.reports()


def test_a_folder_of_several_files_is_one_source(whole_of: Make, operate: Make, tmp_path: Path) -> None:
    whole = whole_of()
    names = sorted(whole.state_dict())
    for number in range(2):
        save_file({name: whole.state_dict()[name] for name in names[number::2]}, tmp_path / f"{number}.safetensors")
    surgery = operate(whole, {"kind": "load", "path": str(tmp_path)})
    assert "22 of 22" in surgery.reports()[0]


@pytest.mark.parametrize("content", [None, b"no tensors"], ids=["nothing", "damaged"])
def test_what_cannot_be_read_is_named(whole_of: Make, operate: Make, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    surgery = operate(whole_of(), {"kind": "load", "path": str(path)})
    with pytest.raises(ConfigError, match=r"a\.safetensors: (expected a \.safetensors file|cannot be read)"):
        surgery.reports()


def test_only_initial_values_open_the_path(whole_of: Make, operate: Make) -> None:
    surgery = operate(whole_of(), {"kind": "load", "path": "gone"})
    assert isinstance(surgery.edits[0], Load)


def test_edits_act_in_order(whole_of: Make, operate: Make, file_of: Make) -> None:
    name = "transformer.blocks.0.mixer.output.weight"
    whole = whole_of()
    load = {"kind": "load", "path": file_of(whole.state_dict())}
    zero = {"kind": "zero_init", "select": "**.mixer.output.weight"}
    after = values_of(whole, operate(whole, load, zero))
    assert not after[name].any()
    assert torch.equal(after["transformer.norm.weight"], whole.state_dict()["transformer.norm.weight"].float())
    assert torch.equal(values_of(whole, operate(whole, zero, load))[name], whole.state_dict()[name].float())


def test_parameters_of_later_edits_are_not_looked_for_in_the_file(whole_of: Make, operate: Make, file_of: Make) -> None:
    whole = whole_of()
    lora = {"kind": "lora", "select": "**.mixer.query", "rank": 2, "alpha": 4.0}
    surgery = operate(whole, {"kind": "load", "path": file_of(whole.state_dict())}, lora)
    assert "22 of 22" in surgery.reports()[0]
    values = values_of(whole, surgery)
    assert torch.equal(values["transformer.blocks.0.mixer.query.lora.up.weight"], torch.full((16, 2), 5.0))
