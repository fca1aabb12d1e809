"""`polytrain import` and back: every weight accounted for, and every kind of bad folder refused with one message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from launch.cli import main
from model.interop.model_folder import ModelFolder
from model.options import TransformerOptions

TINY: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 4},
    "llama": {
        "max_position_embeddings": 16,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
TOKENS_BT = torch.randint(3, 23, (2, 12), generator=torch.Generator().manual_seed(0))

Polytrain = Callable[..., tuple[int, str, str]]


@pytest.fixture
def polytrain(capsys: pytest.CaptureFixture[str]) -> Polytrain:
    """Exit code, stdout and stderr of a command, run in this process."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def saved(model_type: str, folder: Path, *, shard: str = "1GB", **changes: Any) -> Any:
    """A random model of transformers in `folder`."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, vocab_size=23, **TINY[model_type], **changes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed by a test."""
    folder = tmp_path_factory.mktemp("originals")
    for model_type in TINY:
        saved(model_type, folder / model_type)
    return folder


@pytest.fixture
def gpt2(originals: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(originals / "gpt2", tmp_path / "gpt2")
    return tmp_path / "gpt2"


def spoil_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value != "REMOVED"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("shard", ["1GB", "3KB"], ids=["one-file", "sharded"])
@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("gpt2", {}),
        ("gpt2", {"tie_word_embeddings": False}),
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "eos_token_id": [5, 7]}),
    ],
    ids=["gpt2", "gpt2-untied", "llama", "llama-tied"],
)
def test_there_and_back_is_the_same_model(
    model_type: str, changes: dict[str, Any], shard: str, tmp_path: Path, polytrain: Polytrain
) -> None:
    import transformers

    theirs = saved(model_type, tmp_path / "hf", shard=shard, **changes)
    assert (tmp_path / "hf" / "model.safetensors.index.json").exists() == (shard == "3KB")
    assert polytrain("import", tmp_path / "hf", tmp_path / "ours")[0] == 0
    code, output, _ = polytrain("export", tmp_path / "ours", tmp_path / "back")
    assert code == 0
    assert type(theirs).__name__ in output
    again, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report.values()), report
    expected = theirs.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
    with torch.no_grad():
        assert torch.equal(again(TOKENS_BT).logits, theirs(TOKENS_BT).logits)
    assert again.config.eos_token_id == theirs.config.eos_token_id


def test_what_was_imported_is_a_section_of_a_recipe_and_our_own_weights(
    originals: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    from model.interop.described import DescribedModel

    polytrain("import", originals / "llama", tmp_path / "ours")
    tree = yaml.safe_load((tmp_path / "ours" / "model.yaml").read_text())
    folder = ModelFolder.read(tmp_path / "ours")
    assert TransformerOptions.model_validate(tree["model"]) == folder.description.model
    assert tree["head"]["tied"] is False
    model = DescribedModel(folder.description)
    model.load_state_dict(dict(folder.weights), strict=True)
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(originals / "llama")
    found, expected = model.logits(model.transformer(TOKENS_BT)), theirs(TOKENS_BT).logits
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_report_counts_every_weight(gpt2: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    def add(weights: dict[str, Tensor]) -> None:
        weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
        weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16)

    spoil_weights(gpt2, add)
    code, output, _ = polytrain("import", gpt2, tmp_path / "ours", "--json")
    assert code == 0
    facts = json.loads(output)
    # A block: two norms, four linear layers of attention and two of the feed-forward, with biases.
    assert len(facts["loaded"]) == 2 * 2 * (2 + 4 + 2) + 2 + 2
    # Queries, keys and values are stacked there, and all matrices are transposed.
    assert len(facts["reshaped"]) == 2 * (6 + 3)
    assert facts["parameters"] == 39 * 16 + 2 * (12 * 16**2 + 13 * 16) + 2 * 16  # tables, blocks, last norm
    assert facts["tied"] == ["lm_head.weight"]
    assert facts["ignored"] == ["transformer.h.0.attn.bias"]
    assert facts["missing"] == facts["unexpected"] == []
    _, output, _ = polytrain("import", gpt2, tmp_path / "more", "--verbose")
    lines = [line.split() for line in output.splitlines()]
    assert [line for line in lines if line[0] in ("loaded", "tied")] == [["loaded", "36"], ["tied", "1"]]
    assert ["lm_head.weight"] in lines


def test_names_of_the_class_without_a_head_are_understood(
    gpt2: Path, originals: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    """As in the files of gpt2 itself."""
    weights = load_file(gpt2 / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    save_file(bare, gpt2 / "model.safetensors")
    assert polytrain("import", gpt2, tmp_path / "bare")[0] == 0
    assert polytrain("import", originals / "gpt2", tmp_path / "usual")[0] == 0
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("bare", "usual"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_precision_is_kept_or_changed_as_asked(gpt2: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    def halve(weights: dict[str, Tensor]) -> None:
        weights.update({name: tensor.bfloat16() for name, tensor in weights.items()})

    spoil_weights(gpt2, halve)
    for flags, expected in ([], torch.bfloat16), (["--dtype", "float32"], torch.float32):
        name = str(expected).removeprefix("torch.")
        polytrain("import", gpt2, tmp_path / name, *flags)
        assert {tensor.dtype for tensor in load_file(tmp_path / name / "model.safetensors").values()} == {expected}
        polytrain("export", tmp_path / name, tmp_path / "back" / name)
        back = load_file(tmp_path / "back" / name / "model.safetensors")
        assert {tensor.dtype for tensor in back.values()} == {expected}
        assert json.loads((tmp_path / "back" / name / "config.json").read_text())["dtype"] == name
    polytrain("export", tmp_path / "float32", tmp_path / "back" / "half", "--dtype", "float16")
    back = load_file(tmp_path / "back" / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in back.values()} == {torch.float16}


def test_tokenizer_files_go_there_and_back(gpt2: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    (gpt2 / "tokenizer.json").write_text("{}")
    (gpt2 / "merges.txt").write_text("a b")
    polytrain("import", gpt2, tmp_path / "ours")
    polytrain("export", tmp_path / "ours", tmp_path / "back")
    for folder in ("ours", "back"):
        assert (tmp_path / folder / "tokenizer.json").read_text() == "{}"
        assert (tmp_path / folder / "merges.txt").read_text() == "a b"


def word_tokenizer(folder: Path, *, begin: bool) -> Any:
    """A tokenizer of words "w0" ... "w22" in `folder`; `begin`: that puts w1 in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(23)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(single="w1 $A", special_tokens=[("w1", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("model_type", "begin"), [("llama", True), ("gpt2", False)])
def test_an_imported_model_writes_what_transformers_writes(
    model_type: str, begin: bool, dtype: str, tmp_path: Path, polytrain: Polytrain
) -> None:
    theirs = saved(model_type, tmp_path / "hf", eos_token_id=[2, 3])
    tokenizer = word_tokenizer(tmp_path / "hf", begin=begin)
    polytrain("import", tmp_path / "hf", tmp_path / "ours", "--dtype", dtype)
    prompts = ["w5 w9 w4", "w7"]
    command = ["generate", tmp_path / "ours", *prompts, "--temperature", 0, "--tokens", 6, "--json"]
    code, output, _ = polytrain(*command)
    assert code == 0
    theirs = theirs.to(getattr(torch, dtype)).float()
    for prompt, found in zip(prompts, json.loads(output), strict=True):
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        assert (ids[0, 0] == 1) == begin
        expected = theirs.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=[2, 3])
        assert found == {"prompt": prompt, "text": tokenizer.decode(expected[0, ids.shape[1] :].tolist())}


def test_a_text_ends_at_any_of_the_tokens_that_end_one(originals: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    shutil.copytree(originals / "llama", tmp_path / "hf")
    tokenizer = word_tokenizer(tmp_path / "hf", begin=False)

    def written(name: str, **special: Any) -> list[str]:
        spoil_config(tmp_path / "hf", **special)
        polytrain("import", tmp_path / "hf", tmp_path / name)
        _, output, _ = polytrain("generate", tmp_path / name, "w5", "--temperature", 0, "--tokens", 8, "--json")
        return str(json.loads(output)[0]["text"]).split()

    whole = written("whole", eos_token_id=None)
    assert len(whole) == 8
    third = whole.index(whole[2])
    stop = [tokenizer.token_to_id(whole[2]), 22]
    assert written("cut", eos_token_id=stop) == whole[: third + 1]
    assert written("one", eos_token_id=stop[0]) == whole[: third + 1]


def test_an_import_says_whether_there_is_a_tokenizer_and_generate_asks_for_it(
    gpt2: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    (gpt2 / "merges.txt").write_text("a b")
    _, output, _ = polytrain("import", gpt2, tmp_path / "ours")
    assert "1 (no tokenizer.json, which `polytrain generate` needs)" in output
    code, _, error = polytrain("generate", tmp_path / "ours", "hello")
    assert code == 2
    assert "has no tokenizer.json, because the folder it was imported from had none" in error
    (tmp_path / "ours" / "tokenizer.json").write_text("{}")
    code, _, error = polytrain("generate", tmp_path / "ours", "hello")
    assert code == 2
    assert "not a tokenizer.json" in error
    word_tokenizer(tmp_path / "ours", begin=False)
    assert polytrain("generate", tmp_path / "ours", "w5", "--tokens", 1)[0] == 0
    code, _, error = polytrain("generate", tmp_path / "ours", "")  # from bos_token_id, which is that of gpt2 itself
    assert code == 2
    assert "token 50256 is not in the model's vocabulary of 23 entries" in error
    code, _, error = polytrain("generate", tmp_path / "ours", "w5", "--step", 3)
    assert code == 2
    assert "an imported model, which has no checkpoints" in error


@pytest.mark.parametrize(
    ("cls", "config", "expected"),
    [
        ("GPT2Model", TINY["gpt2"], "it has no head of tokens; import the folder of a class with one"),
        (
            "BertForMaskedLM",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
            "model.visibility is bidirectional",
        ),
        (
            "T5ForConditionalGeneration",
            {"d_model": 16, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
            "model.kind is encoder_decoder",
        ),
        (
            "ViTModel",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
            "model.embedder is patches",
        ),
    ],
    ids=["no-head", "bidirectional", "encoder-decoder", "images"],
)
def test_a_model_that_does_not_write_text_says_why(
    cls: str, config: dict[str, Any], expected: str, tmp_path: Path, polytrain: Polytrain
) -> None:
    import transformers

    theirs = getattr(transformers, cls)
    vocabulary = {} if cls == "ViTModel" else {"vocab_size": 23}
    theirs(theirs.config_class(**config, **vocabulary)).save_pretrained(tmp_path / "hf")
    assert polytrain("import", tmp_path / "hf", tmp_path / "ours")[0] == 0
    code, _, error = polytrain("generate", tmp_path / "ours", "w5")
    assert code == 2
    assert f"{tmp_path / 'ours'}: does not write text: " in error
    assert expected in error


def test_missing_and_unexpected_weights_are_refused_unless_allowed(
    gpt2: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        del weights["transformer.ln_f.weight"]
        weights["vision.conv.weight"] = torch.zeros(2)

    spoil_weights(gpt2, change)
    code, output, error = polytrain("import", gpt2, tmp_path / "ours")
    assert code == 2
    assert [line.split() for line in output.splitlines()][-2:] == [["missing", "1"], ["unexpected", "1"]]
    assert "missing: transformer.norm.weight" in error
    assert "unexpected: vision.conv.weight" in error
    allowed = ["--allow-missing", "*.norm.weight", "--allow-unexpected", "vision.*"]
    for flags in (allowed[:2], allowed[2:], ["--allow-missing", "vision.*", "--allow-unexpected", "*.norm.weight"]):
        assert polytrain("import", gpt2, tmp_path / "ours", *flags)[0] == 2
        assert not (tmp_path / "ours").exists()
    assert polytrain("import", gpt2, tmp_path / "ours", *allowed)[0] == 0
    weights = load_file(tmp_path / "ours" / "model.safetensors")
    assert torch.equal(weights["transformer.norm.weight"], torch.ones(16))  # its initial value


def test_a_head_that_is_no_copy_of_the_embedding_is_not_taken_for_one(
    gpt2: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    spoil_weights(gpt2, lambda weights: weights.update({"lm_head.weight": weights["transformer.wte.weight"] + 1e-3}))
    code, _, error = polytrain("import", gpt2, tmp_path / "ours")
    assert code == 2
    assert "unexpected: lm_head.weight" in error


def cut_short(folder: Path, name: str = "model.safetensors") -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")


def index_of(folder: Path, **weight_map: str) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def turn_a_matrix(weights: dict[str, Tensor]) -> None:
    name = "transformer.h.0.mlp.c_fc.weight"
    weights[name] = weights[name].t().contiguous()


BAD_FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no-folder": (shutil.rmtree, "not a folder"),
    "no-config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "broken-json": (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
    "no-mapping": (lambda folder: (folder / "config.json").write_text("[]"), "expected a mapping"),
    "no-type": (lambda folder: spoil_config(folder, model_type="REMOVED"), "'model_type' is missing"),
    "unknown-type": (lambda folder: spoil_config(folder, model_type="gpt3"), "did you mean 'gpt2'?"),
    "unknown-class": (
        lambda folder: spoil_config(folder, architectures=["GPT2ForSleep"]),
        "expected one of GPT2LMHeadModel, GPT2Model",
    ),
    "two-classes": (lambda folder: spoil_config(folder, architectures=["GPT2Model", "B"]), "expected one of"),
    "no-key": (lambda folder: spoil_config(folder, n_embd="REMOVED"), "the key 'n_embd' is missing"),
    "text-for-number": (lambda folder: spoil_config(folder, n_embd="wide"), "config.json"),
    "null-for-number": (lambda folder: spoil_config(folder, n_embd=None), "config.json"),
    "no-model": (lambda folder: spoil_config(folder, n_head=3), "not a multiple of mixer.num_heads 3"),
    "quantised": (lambda folder: spoil_config(folder, quantization_config={"bits": 4}), "weights are quantised"),
    "not-computed": (lambda folder: spoil_config(folder, activation_function="x"), "activation_function x"),
    "shape": (lambda folder: spoil_config(folder, vocab_size=24), "is 23 x 16, and config.json describes 24 x 16"),
    "transposed": (
        lambda folder: spoil_weights(folder, turn_a_matrix),
        "h.0.mlp.c_fc.weight: its shape is 64 x 16, and config.json describes 16 x 64",
    ),
    "missing": (lambda folder: spoil_config(folder, n_layer=3), "missing: transformer.blocks.2"),
    "unexpected": (lambda folder: spoil_config(folder, n_layer=1), "unexpected: transformer.h.1"),
    "cut-short": (cut_short, "damaged or cut short"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "damaged or cut short"),
    "no-weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    "pickles": (only_pickles, "runs whatever code it holds"),
    "no-shard": (lambda folder: index_of(folder, x="b.safetensors"), "b.safetensors: missing"),
    "not-in-shard": (lambda folder: index_of(folder, x="a.safetensors"), "has no x"),
    "outside": (lambda folder: index_of(folder, x="../gpt2/a.safetensors"), "expected a file beside it"),
}


def test_the_remedy_for_pickles_gives_the_same_model(originals: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    shutil.copytree(originals / "llama", tmp_path / "hf")
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    torch.save(weights, tmp_path / "hf" / "pytorch_model.bin")
    (tmp_path / "hf" / "model.safetensors").unlink()
    code, _, error = polytrain("import", tmp_path / "hf", tmp_path / "ours")
    assert code == 2
    assert "(pytorch_model.bin)" in error
    exec(error.split('python -c "')[1].split('"')[0])
    assert polytrain("import", tmp_path / "hf-safetensors", tmp_path / "ours")[0] == 0
    polytrain("import", originals / "llama", tmp_path / "usual")
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("ours", "usual"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize(("spoil", "expected"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders_give_one_message(
    spoil: Callable[[Path], Any], expected: str, gpt2: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    spoil(gpt2)
    before = {path: path.read_bytes() for path in gpt2.glob("*")}
    code, _, error = polytrain("import", gpt2, tmp_path / "ours")
    assert code == 2
    assert expected in error
    assert error.count("polytrain: error:") == 1
    assert "Traceback" not in error
    assert not list(tmp_path.glob("ours*"))
    assert {path: path.read_bytes() for path in gpt2.glob("*")} == before


def test_a_folder_that_exists_is_refused_and_untouched(gpt2: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "thesis.tex").write_text("three years of work")
    for command in (["import", gpt2], ["export", gpt2]):
        assert polytrain(*command, tmp_path / "ours")[0] == 2
        assert [path.name for path in (tmp_path / "ours").iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_named(gpt2: Path, tmp_path: Path, polytrain: Polytrain) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = polytrain("import", gpt2, tmp_path / "file" / "ours")
    assert code == 2
    assert "cannot be written" in error


def test_a_writing_that_fails_leaves_nothing(
    gpt2: Path, tmp_path: Path, polytrain: Polytrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.interop.model_folder.save_file", full)
    code, _, error = polytrain("import", gpt2, tmp_path / "ours")
    assert code == 2
    assert "No space left on device" in error
    assert not list(tmp_path.glob("ours*"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "model.yaml").write_text("model: {"), "cannot be read"),
        (lambda folder: (folder / "model.yaml").write_text("model: {dmi: 3}"), "model.yaml"),
        (lambda folder: (folder / "model.yaml").unlink(), "not a run folder"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (cut_short, "damaged or cut short"),
    ],
    ids=["yaml", "keys", "no-yaml", "no-weights", "cut-short"],
)
def test_a_damaged_import_is_not_exported(
    spoil: Callable[[Path], Any], expected: str, originals: Path, tmp_path: Path, polytrain: Polytrain
) -> None:
    polytrain("import", originals / "gpt2", tmp_path / "ours")
    spoil(tmp_path / "ours")
    code, _, error = polytrain("export", tmp_path / "ours", tmp_path / "back")
    assert code == 2
    assert expected in error
    assert not list(tmp_path.glob("back*"))


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    output = capsys.readouterr().out
    assert "polytrain import downloads/gpt2 imported/gpt2" in output
    assert "--allow-unexpected" in output
