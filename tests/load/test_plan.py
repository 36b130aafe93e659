"""The plan of a load test."""

import statistics
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import ConfigurationError
from akapulu_async.load.plan import Arrivals, LoadPlan


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"concurrency": 5}, "--conversations or --duration is required"),
        ({"conversations": 5}, r"--rate .* or --concurrency .* is required"),
        ({"conversations": 5, "rate": 1.0, "ramp": 3.0}, "--ramp 3 cannot be combined with --rate"),
    ],
)
def test_impossible_plans_are_refused(fields: Any, said: Any) -> None:
    """A plan without an end or without a measure of load is refused, with the options that are required."""
    with pytest.raises(ConfigurationError, match=said):
        LoadPlan(**fields)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"conversations": 2000, "concurrency": 500}, "2,000 conversations, 500 at once"),
        ({"conversations": 1, "concurrency": 1}, "1 conversation, 1 at once"),
        (
            {"conversations": 200, "rate": 2.5, "concurrency": 50},
            "200 conversations, 2.5 per second, at most 50 at once",
        ),
        ({"duration": 60.0, "rate": 20.0}, "conversations, 20 per second, for 60 s"),
    ],
)
def test_the_title_describes_the_test(fields: Any, title: Any) -> None:
    """The title gives the number of conversations and their arrivals in one line."""
    assert LoadPlan(**fields).title == title


def test_a_closed_loop_opens_its_places_one_after_the_other() -> None:
    """Places open at a hundred per second or over the given time, the first at once."""
    usual = LoadPlan(conversations=9, concurrency=500)
    assert [usual.opening(place) for place in (0, 1, 499)] == [0, 0.01, 4.99]
    ramped = LoadPlan(conversations=9, concurrency=4, ramp=2.0)
    assert [ramped.opening(place) for place in range(4)] == [0, 0.5, 1, 1.5]
    at_once = LoadPlan(conversations=9, concurrency=4, ramp=0.0)
    assert [at_once.opening(place) for place in range(4)] == [0] * 4


def test_the_settings_give_the_resolution() -> None:
    """The settings give the arrivals with their seed, and how late polling may see readiness."""
    plan = LoadPlan(conversations=9, rate=2.0, arrivals=Arrivals.POISSON, seed=7, poll_interval=0.2)
    assert plan.settings["arrivals"] == "open loop, poisson, 2 per second, seed 7"
    assert plan.resolution == pytest.approx(0.22)
    assert plan.settings["polls"] == "every 0.2 s; readiness is seen up to 0.22 s late"
    even = LoadPlan(conversations=9, rate=2.0, arrivals=Arrivals.CONSTANT)
    assert even.settings["arrivals"] == "open loop, constant, 2 per second"


@pytest.mark.parametrize(("interval", "live"), [(0.1, 5.0), (30.0, 30.0)])
def test_a_ready_conversation_is_polled_less_often(interval: Any, live: Any) -> None:
    """Once ready, a conversation is polled every five seconds, or at the interval if that is longer."""
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
    """The most conversations at once are bounded by the places and by the total."""
    assert LoadPlan(**fields).most_at_once == most


@pytest.mark.parametrize(
    ("fields", "so_far", "left"),
    [
        pytest.param({"conversations": 100, "rate": 10.0}, {}, None, id="nothing known"),
        pytest.param({"conversations": 100, "rate": 10.0, "hold": 5.0}, {}, 15, id="held"),
        pytest.param({"conversations": 100, "rate": 10.0}, {"arrived": 40, "stay": 3.0}, 9, id="open loop"),
        pytest.param(
            {"conversations": 100, "rate": 10.0},
            {"at": 11, "arrived": 100, "last_due": 10.0, "stay": 3.0},
            2,
            id="all due",
        ),
        pytest.param({"conversations": 100, "concurrency": 20}, {"arrived": 40, "stay": 3.0}, 12, id="closed loop"),
        pytest.param({"duration": 60.0, "concurrency": 9}, {"at": 50, "stay": 3.0}, 13, id="duration"),
        pytest.param(
            {"conversations": 10_000, "duration": 60.0, "rate": 1.0}, {"at": 50, "stay": 3.0}, 13, id="duration first"
        ),
        pytest.param({"duration": 60.0, "rate": 1.0}, {"at": 90, "stay": 3.0}, 0, id="late"),
    ],
)
def test_the_time_left_is_estimated(fields: Any, so_far: Any, left: Any) -> None:
    """The time left is that until the last one starts, and the usual stay; unknown until one is over or held."""
    usual = {"at": 0.0, "arrived": 0, "last_due": 0.0, "stay": None}
    assert LoadPlan(**fields).time_left(**(usual | so_far)) == (None if left is None else pytest.approx(left))


def due(arrivals: Arrivals, rate: float, **fields: Any) -> list[float]:
    return list(LoadPlan(arrivals=arrivals, rate=rate, **fields).due_times())


def test_constant_arrivals_are_evenly_spaced() -> None:
    """Constant arrivals are due at equal distances, the first at once."""
    assert due(Arrivals.CONSTANT, 4, conversations=5) == [0, 0.25, 0.5, 0.75, 1]


def test_distances_do_not_drift() -> None:
    """Constant arrivals stay exact after a million of them."""
    plan = LoadPlan(arrivals=Arrivals.CONSTANT, rate=10, conversations=1_000_001)
    assert next(islice(plan.due_times(), 1_000_000, None)) == 100_000


def test_poisson_arrivals_are_independent_and_keep_the_rate() -> None:
    """Gaps between Poisson arrivals are exponential: mean and standard deviation are both 1/rate."""
    gaps = [after - before for before, after in pairwise(due(Arrivals.POISSON, 5, conversations=20_000))]
    assert statistics.fmean(gaps) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.03)
    # Half of them are shorter than ln 2 of the mean, unlike any even spacing.
    assert statistics.median(gaps) == pytest.approx(0.2 * 0.693, rel=0.03)


def test_a_seed_repeats_them() -> None:
    """The same seed gives the same times, another seed others."""
    first, again, other = (due(Arrivals.POISSON, 5, seed=seed, conversations=50) for seed in (1, 1, 2))
    assert first == again != other


def test_the_duration_ends_the_arrivals() -> None:
    """Nothing is due at the end of the duration or later."""
    assert due(Arrivals.CONSTANT, 2, duration=1.5) == [0, 0.5, 1.0]


@given(
    arrivals=st.sampled_from(Arrivals),
    rate=st.floats(0.1, 1000),
    conversations=st.integers(1, 100),
    duration=st.none() | st.floats(0.01, 50),
    seed=st.integers(),
)
def test_arrivals_are_bounded_and_in_order(
    arrivals: Any, rate: Any, conversations: Any, duration: Any, seed: Any
) -> None:
    """For any plan, due times grow, are not too many, and none is past the duration."""
    times = due(arrivals, rate, seed=seed, conversations=conversations, duration=duration)
    assert times == sorted(times)
    assert len(times) <= conversations
    assert all(0 <= each < (duration or float("inf")) for each in times)
    if duration is None:
        assert len(times) == conversations
