"""The soak calls only a slope above the noise growth. On synthetic samples."""

import importlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

trends: Any = importlib.import_module("benchmarks.trends")

TIMES = [5.0 * number for number in range(60)]
SESSIONS = 8_000
ALLOWED = trends.Allowance(60, 0.05)


def judged(values: list[float], allowance: Any = ALLOWED) -> Any:
    return trends.judge("objects", TIMES, values, allowance, SESSIONS)


@pytest.mark.parametrize("slope", [-3.0, 0.0, 0.25, 7.5])
def test_a_line(slope: float) -> None:
    """The slope and start of a straight line are found exactly."""
    found = trends.trend(TIMES, [100 + slope * time for time in TIMES])
    assert (found.slope, found.lowest, found.start) == pytest.approx((slope, slope, 100))


def test_outliers_do_not_count() -> None:
    """A quarter of the samples, however far out, hardly changes the slope."""
    values = [100 + time for time in TIMES]
    values[::4] = [10**6] * 15
    assert trends.trend(TIMES, values).slope == pytest.approx(1, abs=0.5)


@given(st.integers(0, 1000))
def test_noise_is_no_growth(seed: int) -> None:
    """Noise without a slope passes, whatever its distribution."""
    rng = random.Random(seed)
    assert judged([1000 + rng.gauss(0, 100) for _ in TIMES]).passed
    assert judged([1000 + 300 * (rng.random() < 0.1) for _ in TIMES]).passed
    assert judged([1000 + 400 * (number % 7) for number in range(60)]).passed


@given(st.integers(0, 1000), st.sampled_from([0.12, 0.5, 1, 3]))
def test_a_leak_is_found(seed: int, each: float) -> None:
    """One object left behind by every eighth session is found in noise of as many objects as sessions at once."""
    rng = random.Random(seed)
    verdict = judged([1000 + each * SESSIONS * time / TIMES[-1] + rng.gauss(0, 100) for time in TIMES])
    assert not verdict.passed
    assert verdict.growth == pytest.approx(each * SESSIONS, rel=0.2)


def test_growth_up_to_the_bound_passes() -> None:
    """Growth below the bound passes, above it fails; the bound has a fixed part and one per session."""
    for growth, passed in ((459.0, True), (461.0, False)):
        verdict = judged([growth * time / TIMES[-1] for time in TIMES])
        assert verdict.bound == 460
        assert verdict.passed is passed


def test_one_step_passes() -> None:
    """A single step is not a certain slope; repeated steps are."""
    assert judged([0.0] * 30 + [50.0] * 30).passed
    assert not judged([100.0 * (number // 5) for number in range(60)]).passed


def test_too_few_samples() -> None:
    """Too few samples are an error, not a pass."""
    with pytest.raises(ValueError, match="7 samples are too few"):
        trends.trend(TIMES[:7], TIMES[:7])


def test_growers() -> None:
    """The ones that grew most come first."""
    verdicts = [judged([slope * time for time in TIMES]) for slope in (1.0, -2.0, 3.0, 0.0)]
    assert [verdict.trend.slope for verdict in trends.growers(verdicts, 2)] == pytest.approx([3, 1])
