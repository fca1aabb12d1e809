from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.options import validate
from train.options import AdamWOptions
from train.schedule import ConstantSchedule, CosineSchedule, ExponentialSchedule, WSDSchedule

Schedule = ConstantSchedule | CosineSchedule | WSDSchedule | ExponentialSchedule


def curve(schedule: Schedule, total: int, steps: int) -> list[float]:
    return [schedule.scale(step, total) for step in range(steps)]


SCHEDULES = st.one_of(
    st.builds(ConstantSchedule, warmup=st.integers(0, 30)),
    st.builds(
        CosineSchedule,
        warmup=st.integers(0, 30),
        steps=st.none() | st.integers(1, 60),
        final=st.floats(0, 1),
    ),
    st.builds(
        WSDSchedule,
        warmup=st.integers(0, 30),
        decay=st.integers(0, 40),
        steps=st.none() | st.integers(1, 60),
        final=st.floats(0, 1),
        shape=st.sampled_from(["linear", "sqrt"]),
    ),
    st.builds(
        ExponentialSchedule,
        warmup=st.integers(0, 30),
        decay=st.floats(0.01, 0.999),
        final=st.floats(0, 1),
    ),
)


@settings(deadline=None)
@given(schedule=SCHEDULES, total=st.integers(1, 80))
def test_every_factor_lies_between_zero_and_the_peak(schedule: Schedule, total: int) -> None:
    assert all(0 <= factor <= 1 + 1e-12 for factor in curve(schedule, total, 100))


@settings(deadline=None)
@given(schedule=SCHEDULES, total=st.integers(1, 80))
def test_after_warm_up_no_schedule_rises(schedule: Schedule, total: int) -> None:
    after = curve(schedule, total, 100)[schedule.warmup :]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(after))


@settings(deadline=None)
@given(schedule=SCHEDULES, total=st.integers(1, 80))
def test_a_schedule_is_a_pure_function_of_the_step(schedule: Schedule, total: int) -> None:
    forward = curve(schedule, total, 60)
    assert [schedule.scale(step, total) for step in reversed(range(60))] == forward[::-1]


@pytest.mark.parametrize(
    "schedule", [ConstantSchedule(warmup=4), CosineSchedule(warmup=4), WSDSchedule(warmup=4, decay=2)]
)
def test_warm_up_is_linear_and_its_first_step_is_not_zero(schedule: Schedule) -> None:
    assert curve(schedule, 100, 5) == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("schedule", [ConstantSchedule(), CosineSchedule(), WSDSchedule(decay=2)])
def test_without_warm_up_the_first_step_is_the_peak(schedule: Schedule) -> None:
    assert schedule.scale(0, 100) == 1.0


def test_exponential_decay_is_that_of_wav2vec2() -> None:
    # max(2 x 0.999995^step, 0.5): Baevski et al. 2020, section 4.2.
    schedule = ExponentialSchedule(decay=0.999995, final=0.25)
    for step in (0, 1, 1000, 277_258, 277_259, 400_000):
        assert 2 * schedule.scale(step, 1) == pytest.approx(max(2 * math.exp(step * math.log(0.999995)), 0.5))


def test_cosine_takes_its_textbook_values() -> None:
    schedule = CosineSchedule(warmup=10, steps=110, final=0.2)
    for step, progress in [(10, 0.0), (35, 0.25), (60, 0.5), (85, 0.75), (110, 1.0)]:
        assert schedule.scale(step, 1) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * progress)) / 2)


@pytest.mark.parametrize("step", [100, 101, 10_000])
def test_beyond_the_horizon_the_final_value_stays(step: int) -> None:
    assert CosineSchedule(final=0.1, steps=100).scale(step, 1) == pytest.approx(0.1)
    assert WSDSchedule(final=0.3, steps=100, decay=10).scale(step, 1) == pytest.approx(0.3)


@pytest.mark.parametrize("schedule", [CosineSchedule(warmup=5), WSDSchedule(decay=20)])
def test_without_a_horizon_of_its_own_a_schedule_ends_with_the_training(schedule: Schedule) -> None:
    fixed = schedule.model_copy(update={"steps": 40})
    assert curve(schedule, 40, 60) == curve(fixed, 999, 60)
    assert curve(schedule, 40, 60) != curve(schedule, 60, 60)


@settings(deadline=None)
@given(total=st.integers(1, 1000))
def test_an_explicit_horizon_does_not_depend_on_the_length_of_the_training(total: int) -> None:
    for schedule in (CosineSchedule(steps=50, warmup=3), WSDSchedule(steps=50, decay=20)):
        assert curve(schedule, total, 60) == curve(schedule, 1, 60)


def test_wsd_is_stable_until_the_last_steps() -> None:
    schedule = WSDSchedule(warmup=2, decay=4, steps=20)
    assert curve(schedule, 1, 17)[2:] == [1.0] * 15
    assert curve(schedule, 1, 22)[16:] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_wsd_may_fall_as_one_minus_the_square_root() -> None:
    schedule = WSDSchedule(decay=4, steps=20, final=0.5, shape="sqrt")
    expected = [1 - 0.5 * math.sqrt(progress / 4) for progress in range(5)]
    assert [schedule.scale(16 + progress, 1) for progress in range(5)] == pytest.approx(expected)


def test_wsd_without_decay_is_constant_to_the_end() -> None:
    assert curve(WSDSchedule(decay=0, steps=5), 1, 10) == [1.0] * 10


def test_a_warm_up_longer_than_the_horizon_still_warms_up() -> None:
    assert curve(CosineSchedule(warmup=8, steps=4), 1, 8) == [(step + 1) / 8 for step in range(8)]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"kind": "cosin"}, "did you mean 'cosine'?"),
        ({"kind": "wsd"}, "decay: this key is required"),
        ({"kind": "cosine", "final": 1.5}, "final"),
        ({"kind": "constant", "warmup": -1}, "warmup"),
        ({"kind": "constant", "steps": 5}, "steps: unknown key"),
    ],
)
def test_wrong_schedules_are_refused(schedule: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(AdamWOptions, {"kind": "adamw", "lr": 0.1, "schedule": schedule}, "recipe")
    assert message in str(error.value)
