"""The figures of a load test by their names."""

import pytest

from akapulu_async.load.metrics import NAMES, NAMES_IN_SHORT, metric, metrics
from tests.support.measured import attempt, latencies, result


def test_figures_are_those_of_the_result() -> None:
    """Each name gives its figure, in seconds, counts, or shares."""
    measured = result(
        [attempt(0), attempt(1, ready=None, failure="ready_timeout")],
        loop_lag=latencies(0.25),
        arrival_lag=latencies(0.5),
    )
    expected = {
        "conversations": 2,
        "connected": 2,
        "ready": 1,
        "failures": 1,
        "failure_rate": 0.5,
        "seconds": 10.0,
        "connect_p50": 0.25,
        "connect_p99": 0.25,
        "ready_mean": 2.0,
        "ready_p90": 2.0,
        "ready_p95": 2.0,
        "ready_max": 2.0,
        "loop_lag_p99": 0.25,
        "arrival_lag_max": 0.5,
    }
    for name, value in expected.items():
        assert metric(measured, name) == pytest.approx(value, rel=1e-3), name


def test_what_was_not_measured_is_none() -> None:
    """Without anything to measure, there is no figure, and no zero either; what can be counted is 0."""
    figures = metrics(result())
    assert {name for name, value in figures.items() if value == 0} == {
        "conversations",
        "connected",
        "ready",
        "failures",
    }
    assert figures["ready_p50"] is figures["failure_rate"] is figures["arrival_lag_p99"] is None


def test_all_names_are_told_in_short() -> None:
    """The short list of names has every one of them."""
    plain, _, products = NAMES_IN_SHORT.partition(", and ")
    families, statistics = (group.strip("{}").split("|") for group in products.split("}_{"))
    assert set(NAMES) == set(plain.split(", ")) | {f"{one}_{other}" for one in families for other in statistics}
    assert metrics(result()).keys() == set(NAMES)
