from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.train.metrics_page import documented_keys
from train.metrics import MetricsLog
from train.recipe import Recipe, load_recipe
from train.tensorboard import LAYOUT, Events

ROW = {"loss": 0.5, "lr": 0.1, "grad_norm": 2.0, "tokens_per_s": 10.0, "data_wait_s": 0.0, "mfu": None}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("configs/quickstart.yaml")


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def curve(events: EventAccumulator, tag: str) -> list[tuple[int, Any]]:
    return [(item.step, pytest.approx(item.value)) for item in events.Scalars(tag)]


def text(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()


def test_a_resumed_run_replaces_the_steps_that_it_repeats(tmp_path: Path, recipe: Recipe) -> None:
    folder = tmp_path / "tensorboard"
    with MetricsLog(tmp_path / "rows", [Events(folder, recipe, step=0)], step=0, last=10) as log:
        for step in (1, 2, 3):
            log.step({"step": step, **ROW, "loss": 1 / step})
        log.probe("validation", 3, {"loss": 9.0})
    with MetricsLog(tmp_path / "rows", [Events(folder, recipe, step=2)], step=2, last=10) as log:
        log.step({"step": 3, **ROW, "loss": 7.0})
        log.probe("validation", 3, {"loss": 5.0})
    events = read(folder)
    assert curve(events, "train/loss") == [(1, 1.0), (2, 0.5), (3, 7.0)]
    assert curve(events, "probe/validation/loss") == [(3, 5.0)]
    # What is not known leaves no curve, and what is the axis no other.
    assert not {"train/mfu", "train/step"} & set(events.Tags()["scalars"])


def test_what_is_read_together_is_laid_out_together(tmp_path: Path, recipe: Recipe) -> None:
    Events(tmp_path, recipe, step=0).close()
    (layout,) = read(tmp_path).Tensors("custom_scalars__config__")
    found = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    charts = {(tab.title, chart.title): list(chart.multiline.tag) for tab in found.category for chart in tab.chart}
    assert charts["training", "loss"] == ["train/loss", "probe/.*/loss"]
    assert [tab.title for tab in found.category] == ["training", "throughput", "waits", "memory", "probes"]
    assert {chart for tab, chart in charts if tab == "probes"} == set(recipe.probes)


def test_every_curve_of_the_layout_is_one_that_is_written() -> None:
    tags = {tag for charts in LAYOUT.values() for tags in charts.values() for tag in tags}
    assert {tag.removeprefix("train/") for tag in tags if tag.startswith("train/")} <= set(documented_keys())


def test_samples_recipe_and_its_keys_are_there_as_text(tmp_path: Path, recipe: Recipe) -> None:
    with MetricsLog(tmp_path / "rows", [Events(tmp_path / "events", recipe, step=0)], step=0, last=10) as log:
        log.probe("sample", 3, {"prompt": "def ", "text": "main():"})
    events = read(tmp_path / "events")
    assert text(events, "probe/sample/text_summary") == "```\ndef main():\n```"
    assert text(events, "recipe/text_summary") == f"```yaml\n{recipe.yaml()}```"
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    keys = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert keys["model.dim"].number_value == recipe.model.tree()["dim"]
    assert keys["optimizer.schedule.kind"].string_value == "cosine"
    # One run, not one more for the keys.
    assert [item.is_file() for item in (tmp_path / "events").iterdir()] == [True]
