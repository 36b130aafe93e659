"""Statistics of many sessions: exact counts, and quantiles within one per cent."""

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
    assert Quantiles()._counts.total() == 0
    assert [Quantiles().at(share) for share in SHARES] == [None] * len(SHARES)


def test_quantiles_of_a_hundred() -> None:
    """The quantiles of 1 to 100 are the values at their ranks."""
    made = quantiles([float(value) for value in range(100, 0, -1)])
    assert made._counts.total() == 100
    assert [made.at(share) for share in SHARES] == pytest.approx([1.0, 1.0, 50.0, 90.0, 99.0, 100.0], rel=0.01)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=200), st.sampled_from(SHARES))
def test_quantiles_are_right_within_one_per_cent(values: list[float], share: float) -> None:
    """Each quantile is, within one per cent, the value at its rank in the sorted data."""
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert quantiles(values).at(share) == pytest.approx(exact, rel=0.01)


def test_values_too_small_to_measure() -> None:
    """Zero, and the negative value of a clock that went back, count as a microsecond."""
    made = quantiles([0.0, -1.0, 1e-9])
    assert made.at(1.0) == pytest.approx(1e-6, rel=0.01)


def test_memory_does_not_grow_with_the_values() -> None:
    """A hundred thousand values take no more memory than their range needs."""
    made = quantiles([0.1 + number % 1000 / 10 for number in range(100_000)])
    assert made._counts.total() == 100_000
    assert len(made._counts) < 400
    assert sys.getsizeof(made._counts) < 30_000


def test_first_statistics() -> None:
    """At first every count is present and 0, for each state and each reason."""
    figures = Tally().statistics({}, waiting=0, polls=0, poll_failures=0)
    assert figures == ManagerStatistics(
        live={SessionState.CONNECTING: 0, SessionState.ROOM_JOINED: 0, SessionState.BOT_READY: 0},
        waiting=0,
        started=0,
        unknown_connects=0,
        ready=0,
        ended=dict.fromkeys(EndReason, 0),
        polls=0,
        poll_failures=0,
        time_to_ready={"p50": None, "p90": None, "p99": None},
    )


def test_sums() -> None:
    """Ended and live sessions are added up; the time to ready of an attached one is not measured."""
    tally = Tally()
    tally.started = 4
    tally.unknown_connects = 1
    tally.count_ready(ready(2.0), seen_from_start=True)
    tally.count_ready(ready(500.0), seen_from_start=False)
    tally.count_end(EndReason.LEFT, polls=10, poll_failures=3)
    tally.count_end(EndReason.LEFT, polls=5, poll_failures=0)
    figures = tally.statistics({SessionState.CONNECTING: 2, SessionState.ENDED: 7}, waiting=9, polls=4, poll_failures=1)
    assert figures.live == {SessionState.CONNECTING: 2, SessionState.ROOM_JOINED: 0, SessionState.BOT_READY: 0}
    assert (figures.waiting, figures.started, figures.unknown_connects, figures.ready) == (9, 4, 1, 2)
    assert figures.ended == {**dict.fromkeys(EndReason, 0), EndReason.LEFT: 2}
    assert (figures.polls, figures.poll_failures) == (19, 4)
    assert figures.time_to_ready == pytest.approx({"p50": 2.0, "p90": 2.0, "p99": 2.0}, rel=0.01)


def test_statistics_are_frozen() -> None:
    """Statistics do not change when more happens, and are frozen."""
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
