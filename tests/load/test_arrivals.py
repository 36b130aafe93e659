"""When conversations are due."""

import statistics
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.load.arrivals import Arrivals, due_times


def due(
    kind: Arrivals, rate: float, *, seed: int = 1, conversations: int | None = None, duration: float | None = None
) -> Any:
    return due_times(kind, rate, Random(seed), conversations=conversations, duration=duration)


def test_constant_arrivals_come_at_equal_distances() -> None:
    """At a constant rate, the first is due at once and each next one part of a second later."""
    assert list(due(Arrivals.CONSTANT, 4, conversations=5)) == [0, 0.25, 0.5, 0.75, 1]


def test_distances_do_not_drift() -> None:
    """Constant arrivals stay where they belong, however many there were."""
    assert next(islice(due(Arrivals.CONSTANT, 10), 1_000_000, None)) == 100_000


def test_poisson_arrivals_are_independent_and_keep_the_rate() -> None:
    """Poisson's gaps are exponential: their mean and their deviation are both one part of a second."""
    times = list(due(Arrivals.POISSON, 5, conversations=20_000))
    gaps = [after - before for before, after in pairwise(times)]
    assert statistics.fmean(gaps) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.03)
    # Half of them are shorter than ln 2 of the mean, which no even spread has.
    assert statistics.median(gaps) == pytest.approx(0.2 * 0.693, rel=0.03)


def test_a_seed_repeats_them() -> None:
    """The same seed gives the same times, another one others."""
    first, again, other = (list(due(Arrivals.POISSON, 5, seed=seed, conversations=50)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_duration_ends_them() -> None:
    """What would be due at the duration's end or later is not due."""
    assert list(due(Arrivals.CONSTANT, 2, duration=1.5)) == [0, 0.5, 1.0]


@given(
    kind=st.sampled_from(Arrivals),
    rate=st.floats(0.1, 1000),
    conversations=st.integers(1, 100),
    duration=st.none() | st.floats(0.01, 50),
    seed=st.integers(),
)
def test_they_are_bounded_and_in_order(kind: Any, rate: Any, conversations: Any, duration: Any, seed: Any) -> None:
    """Whatever is asked for, times grow, there are at most so many, and none is past the duration."""
    times = list(due(kind, rate, seed=seed, conversations=conversations, duration=duration))
    assert times == sorted(times)
    assert len(times) <= conversations
    assert all(0 <= each < (duration or float("inf")) for each in times)
    if duration is None:
        assert len(times) == conversations
