"""What a load test is to do."""

import statistics
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import ConfigurationError
from akapulu_async.load.plan import Arrivals, LoadPlan, due_times


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"concurrency": 5}, "--conversations or --duration: one of them is wanted"),
        ({"conversations": 5}, "--rate or --concurrency: one of them is wanted"),
        ({"conversations": 5, "rate": 1.0, "ramp": 3.0}, "--ramp 3: not with --rate"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: Any, said: Any) -> None:
    """A plan without an end, or without a measure of load, names the options that are wanted."""
    with pytest.raises(ConfigurationError, match=said):
        LoadPlan(**fields)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"conversations": 2000, "concurrency": 500}, "2,000 conversations, 500 at once"),
        ({"conversations": 1, "concurrency": 1}, "1 conversation, 1 at once"),
        ({"conversations": 200, "rate": 2.5, "concurrency": 50}, "200 conversations, 2.5 a second, at most 50 at once"),
        ({"duration": 60.0, "rate": 20.0}, "conversations, 20 a second, for 60 s"),
    ],
)
def test_the_title_tells_the_test(fields: Any, title: Any) -> None:
    """A plan in one line says how many conversations there are, and how they come."""
    assert LoadPlan(**fields).title == title


def test_a_closed_loop_opens_its_places_one_after_the_other() -> None:
    """Places open a hundred a second, or over the time that is given, the first at once."""
    usual = LoadPlan(conversations=9, concurrency=500)
    assert [usual.opening(place) for place in (0, 1, 499)] == [0, 0.01, 4.99]
    told = LoadPlan(conversations=9, concurrency=4, ramp=2.0)
    assert [told.opening(place) for place in range(4)] == [0, 0.5, 1, 1.5]
    at_once = LoadPlan(conversations=9, concurrency=4, ramp=0.0)
    assert [at_once.opening(place) for place in range(4)] == [0] * 4


def test_the_settings_say_how_exact_the_figures_are() -> None:
    """The settings for people name the arrivals with their seed, and by how much polling tells a readiness late."""
    plan = LoadPlan(conversations=9, rate=2.0, arrivals=Arrivals.POISSON, seed=7, poll_interval=0.2)
    assert plan.settings["arrivals"] == "open loop, poisson, 2 a second, seed 7"
    assert plan.resolution == pytest.approx(0.22)
    assert plan.settings["polls"] == "every 0.2 s: a readiness is seen up to 0.22 s late"


@pytest.mark.parametrize(("interval", "live"), [(0.1, 5.0), (30.0, 30.0)])
def test_a_ready_conversation_is_polled_less_often(interval: Any, live: Any) -> None:
    """After the readiness polls only look for the end: each five seconds, or at the interval if that is longer."""
    poll = LoadPlan(conversations=1, concurrency=1, poll_interval=interval).poll
    assert (poll.interval, poll.live_interval) == (interval, live)


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"conversations": 9, "concurrency": 4}, 4),
        ({"conversations": 3, "concurrency": 4}, 3),
        ({"conversations": 9, "rate": 1.0}, 9),
        ({"duration": 9.0, "rate": 1.0}, None),
    ],
)
def test_the_most_at_once_is_known(fields: Any, most: Any) -> None:
    """How many may run at once is bounded by the places and by how many there are."""
    assert LoadPlan(**fields).most_at_once == most


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
