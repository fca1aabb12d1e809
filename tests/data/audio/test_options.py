"""What holds for every audio transform."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import torch

from configs.options import Part, construct
from data.audio.options import (
    AddNoiseOptions,
    AnyAudioTransform,
    CropAudioOptions,
    DecodeCropOptions,
    GainOptions,
    LogMelOptions,
    NegativesOptions,
    NormalizeAudioOptions,
    ResampleOptions,
    SpanMaskOptions,
    SpecAugmentOptions,
    SpectrogramPatchMaskOptions,
)
from data.sample import Sample, SampleError, Transform
from tests.data.audio.conftest import Encode, sample_of, tone

ROOT = Path(__file__).parents[3]

EXAMPLES: list[Part] = [
    ResampleOptions(sample_rate=8000),
    CropAudioOptions(samples=4000),
    DecodeCropOptions(samples=4000),
    GainOptions(),
    NormalizeAudioOptions(),
    AddNoiseOptions(),
    LogMelOptions(),
    SpanMaskOptions(),
    SpecAugmentOptions(),
    SpectrogramPatchMaskOptions(),
    NegativesOptions(count=3),
]
NOT_RANDOM = {"resample", "normalize_audio", "log_mel"}


@pytest.fixture(params=EXAMPLES, ids=lambda options: options.kind)
def options(request: pytest.FixtureRequest) -> Part:
    return cast(Part, request.param)


@pytest.fixture
def sample(encoded: Encode) -> Sample:
    """Fields for every transform."""
    spectrogram = np.random.default_rng(0).standard_normal((64, 80), np.float32)
    audio = np.frombuffer(encoded("flac"), np.uint8)
    mask = np.arange(50) % 3 == 0
    fields = {"spectrogram": spectrogram, "audio": audio, "text": np.array("hello"), "mask": mask}
    return sample_of(tone(), length=12_000) | fields


def same(one: Sample, other: Sample) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_transform_has_an_example_here() -> None:
    assert {type(each) for each in EXAMPLES} == set(get_args(AnyAudioTransform))


def test_everything_drawn_comes_from_the_generator(options: Part, sample: Sample) -> None:
    transform = cast(Transform, construct(options))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
    first = transform(sample, np.random.default_rng(5))
    assert (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()) == before
    np.random.seed(2)
    torch.manual_seed(2)
    assert same(transform(sample, np.random.default_rng(5)), first)
    found = {pickle.dumps(transform(sample, np.random.default_rng(seed))) for seed in range(20)}
    assert (len(found) > 10) == (options.kind not in NOT_RANDOM)


def test_the_sample_is_left_as_it_is(options: Part, sample: Sample) -> None:
    copies = {name: value.copy() for name, value in sample.items()}
    for value in sample.values():
        value.flags.writeable = False
    found = cast(Transform, construct(options))(sample, np.random.default_rng(0))
    assert same(sample, copies)
    assert found is not sample
    assert found["text"] == "hello"


def test_transforms_travel_to_worker_processes(options: Part, sample: Sample) -> None:
    transform = cast(Transform, construct(options))
    expected = transform(sample, np.random.default_rng(3))
    assert same(pickle.loads(pickle.dumps(transform))(sample, np.random.default_rng(3)), expected)


def test_numbers_stay_float32(options: Part, sample: Sample) -> None:
    found = cast(Transform, construct(options))(sample, np.random.default_rng(0))
    assert {value.dtype.name for value in found.values() if value.dtype.kind == "f"} == {"float32"}


def test_a_missing_field_is_named(options: Part) -> None:
    with pytest.raises(KeyError, match=r"waveform|spectrogram|audio|sample_rate|mask"):
        cast(Transform, construct(options))({"label": np.array(1)}, np.random.default_rng(0))


def test_empty_waveforms_spectrograms_and_masks_are_refused(options: Part) -> None:
    empty = sample_of(np.zeros(0, np.float32)) | {
        "spectrogram": np.zeros((0, 80), np.float32),
        "audio": np.zeros(0, np.uint8),
        "mask": np.zeros(0, bool),
    }
    with pytest.raises(SampleError, match=r"empty|spectrogram is|0 of 0 frames are masked|cannot be decoded"):
        cast(Transform, construct(options))(empty, np.random.default_rng(0))


def test_options_are_read_without_heavy_imports() -> None:
    code = (
        "import sys, data.audio.options, data.packing.audio.options\n"
        "assert not {'torch', 'torchaudio', 'soundfile', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_pipeline_from_file_to_masked_features(sample: Sample) -> None:
    generator = np.random.default_rng(0)
    pipeline: list[Part] = [
        DecodeCropOptions(seconds=1.5),
        AddNoiseOptions(),
        LogMelOptions(convention="kaldi", n_mels=128, frames=160),
        SpectrogramPatchMaskOptions(),
    ]
    found = {"audio": sample["audio"]}
    for part in pipeline:
        found = cast(Transform, construct(part))(found, generator)
    shapes = {name: value.shape for name, value in found.items()}
    assert shapes == {"sample_rate": (), "spectrogram": (160, 128), "num_frames": (), "mask": (80,)}
    assert found["num_frames"] == 98
