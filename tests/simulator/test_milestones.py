"""Milestones follow the documented figures."""

from random import Random
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.milestones import (
    CALL_READY,
    MILESTONES,
    draw_offsets,
    fixed_ready_time,
    lognormal_ready_time,
)


def test_the_seventh_of_eleven_is_the_documented_example() -> None:
    """At 63.6 % the bot has joined, then it is ready; only with the call, at 100 %, is `call_is_ready` true."""
    assert (MILESTONES[6].percent, MILESTONES[6].text) == (63.6, "bot joined daily room")
    assert (MILESTONES[-1].percent, MILESTONES[-1].text) == (90.9, "bot ready")
    assert (CALL_READY.percent, CALL_READY.text) == (100.0, "bot ready")
    assert [each.call_is_ready for each in (*MILESTONES, CALL_READY)] == [False] * 10 + [True]


def test_percentages_grow() -> None:
    """Each milestone has a higher percentage and a text of its own."""
    percents = [milestone.percent for milestone in MILESTONES]
    assert percents == sorted(set(percents))
    assert len({milestone.text for milestone in MILESTONES}) == len(MILESTONES)


def test_bots_get_ready_in_about_10_to_15_seconds() -> None:
    """The median is about 12 s, and three of four bots need 10 to 15 s."""
    rng = Random(7)
    times = [lognormal_ready_time(rng) for _ in range(2000)]
    assert median(times) == pytest.approx(12, abs=0.3)
    assert sum(10 <= time <= 15 for time in times) > 1500


@given(st.integers(), st.floats(0, 1e4))
def test_offsets_grow_to_the_ready_time(seed: Any, ready_time: float) -> None:
    """There is an offset for each milestone, in order, and the last is exactly the time to ready."""
    offsets = draw_offsets(Random(seed), ready_time)
    assert len(offsets) == len(MILESTONES)
    assert list(offsets) == sorted(offsets)
    assert offsets[0] >= 0
    assert offsets[-1] == ready_time


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_fixed_time_is_a_number_of_seconds(seconds: float) -> None:
    """A negative or infinite time, or NaN, is refused."""
    with pytest.raises(ValueError, match="ready_time"):
        fixed_ready_time(seconds)


def test_a_fixed_time_is_always_the_same() -> None:
    """A fixed time does not depend on the generator."""
    assert [fixed_ready_time(3)(Random(seed)) for seed in range(3)] == [3, 3, 3]
