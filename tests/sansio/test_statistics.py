"""Figures about many sessions: exact where they count, within one per cent where they measure."""

import math
import sys
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.sansio.lifecycle import EndReason, SessionState, StateChanged
from akapulu_async.sansio.statistics import ManagerStatistics, Quantiles, Tally

AT = datetime(2026, 3, 10, tzinfo=UTC)
SHARES = (0.0, 0.01, 0.5, 0.9, 0.99, 1.0)


def ready(elapsed: float) -> StateChanged:
    return StateChanged(session_id="id", at=AT, elapsed=elapsed, state=SessionState.BOT_READY)


def quantiles(values: list[float]) -> Quantiles:
    made = Quantiles()
    for value in values:
        made.add(value)
    return made


def test_no_figures_have_no_quantiles() -> None:
    """Before anything was measured there is nothing to tell, and not a zero."""
    assert Quantiles().count == 0
    assert [Quantiles().at(share) for share in SHARES] == [None] * len(SHARES)


def test_quantiles_of_a_hundred() -> None:
    """Of 1 to 100 the median is 50, and one of a hundred lies above the 99th."""
    made = quantiles([float(value) for value in range(100, 0, -1)])
    assert made.count == 100
    assert [made.at(share) for share in SHARES] == pytest.approx([1.0, 1.0, 50.0, 90.0, 99.0, 100.0], rel=0.01)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=200), st.sampled_from(SHARES))
def test_quantiles_are_right_within_one_per_cent(values: list[float], share: float) -> None:
    """Each quantile is, within one per cent, the figure at its rank in the sorted data."""
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert quantiles(values).at(share) == pytest.approx(exact, rel=0.01)


def test_what_is_too_short_to_measure() -> None:
    """Nothing, or a clock that went back, counts as a microsecond and breaks nothing."""
    made = quantiles([0.0, -1.0, 1e-9])
    assert made.at(1.0) == pytest.approx(1e-6, rel=0.01)


def test_memory_does_not_grow_with_the_figures() -> None:
    """A hundred thousand figures take no more memory than the range that they lie in."""
    made = quantiles([0.1 + number % 1000 / 10 for number in range(100_000)])
    assert made.count == 100_000
    assert len(made._counts) < 400
    assert sys.getsizeof(made._counts) < 30_000


def test_nothing_happened_yet() -> None:
    """At first every figure is there and 0, each state and each reason by name."""
    figures = Tally().statistics({}, waiting=0, polls=0, poll_failures=0)
    assert figures == ManagerStatistics(
        live={SessionState.CONNECTING: 0, SessionState.ROOM_JOINED: 0, SessionState.BOT_READY: 0},
        waiting=0,
        started=0,
        ready=0,
        ended=dict.fromkeys(EndReason, 0),
        polls=0,
        poll_failures=0,
        time_to_ready={"p50": None, "p90": None, "p99": None},
    )


def test_figures_add_up() -> None:
    """What ended and what lives are added; the time of one that was connected elsewhere is not measured."""
    tally = Tally()
    tally.started = 4
    tally.count_ready(ready(2.0), seen_from_start=True)
    tally.count_ready(ready(500.0), seen_from_start=False)
    tally.count_end(EndReason.LEFT, polls=10, poll_failures=3)
    tally.count_end(EndReason.LEFT, polls=5, poll_failures=0)
    figures = tally.statistics({SessionState.CONNECTING: 2, SessionState.ENDED: 7}, waiting=9, polls=4, poll_failures=1)
    assert figures.live == {SessionState.CONNECTING: 2, SessionState.ROOM_JOINED: 0, SessionState.BOT_READY: 0}
    assert (figures.waiting, figures.started, figures.ready) == (9, 4, 2)
    assert figures.ended == {**dict.fromkeys(EndReason, 0), EndReason.LEFT: 2}
    assert (figures.polls, figures.poll_failures) == (19, 4)
    assert figures.time_to_ready == pytest.approx({"p50": 2.0, "p90": 2.0, "p99": 2.0}, rel=0.01)


def test_figures_are_of_one_moment() -> None:
    """Figures that were given do not change when more happens, and cannot be changed."""
    tally = Tally()
    before = tally.statistics({}, waiting=0, polls=0, poll_failures=0)
    copy = attrs.evolve(before)
    tally.started += 1
    tally.count_ready(ready(1.0), seen_from_start=True)
    tally.count_end(EndReason.FAILED, polls=1, poll_failures=1)
    assert before == copy
    assert hash(before) == hash(copy)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        before.waiting = 1  # type: ignore[misc]
