"""What a load test is to do."""

from typing import Any

import pytest

from akapulu_async import ConfigurationError
from akapulu_async.load.arrivals import Arrivals
from akapulu_async.load.plan import LoadPlan


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
