"""The figures of a load test by name, and thresholds on them."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import ConfigurationError
from akapulu_async.load.metrics import NAMES, NAMES_IN_SHORT, OPERATORS, Criterion, judge, metric, metrics, parse
from tests.support.measured import attempt, latencies, result


def test_figures_are_those_of_the_result() -> None:
    """Each name gives its figure, in seconds, as a count or as a share."""
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


def test_a_figure_that_was_not_measured_is_none() -> None:
    """Without measurements, counts are 0 and all other figures are None."""
    figures = metrics(result())
    assert {name for name, value in figures.items() if value == 0} == {
        "conversations",
        "connected",
        "ready",
        "failures",
        "unknown_connects",
        "interrupted",
        "polls",
        "failed_polls",
        "retries",
    }
    assert figures["ready_p50"] is figures["failure_rate"] is figures["arrival_lag_p99"] is None


def test_the_short_list_has_all_names() -> None:
    """The short list contains every name."""
    plain, _, products = NAMES_IN_SHORT.partition(", and ")
    families, statistics = (group.strip("{}").split("|") for group in products.split("}_{"))
    assert set(NAMES) == set(plain.split(", ")) | {f"{one}_{other}" for one in families for other in statistics}
    assert metrics(result()).keys() == set(NAMES)


MEASURED = result([attempt(0), attempt(1, failure="failed")])  # two connected after 0.25 s and ready after 2 s


@pytest.mark.parametrize(
    ("text", "crossed"),
    [
        ("ready_p95>1.9", True),
        ("ready_p95 > 2.1", False),
        ("failures>=1", True),
        ("failures>1", False),
        (" connected < 3 ", True),
        ("connected<2", False),
        ("connected<=2", True),
        ("failure_rate>0.01", True),
        ("failure_rate>5e-1", False),
    ],
)
def test_a_threshold_is_held_against_its_figure(text: Any, crossed: Any) -> None:
    """A test fails by a threshold exactly if its relation holds."""
    assert judge(parse(text), MEASURED).crossed is crossed


def test_a_missing_figure_counts_as_crossed() -> None:
    """If nothing became ready, every threshold on readiness is crossed, whatever its sign."""
    nothing = result([attempt(0, ready=None, failure="ready_timeout")])
    verdicts = [judge(parse(f"ready_p50{sign}5"), nothing) for sign in OPERATORS]
    assert [each.crossed for each in verdicts] == [True] * 4
    assert str(verdicts[0]) == "FAIL ready_p50 was not measured; it must be < 5 s"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ready_p95>5", "PASS ready_p95 2 s <= 5 s"),
        ("ready_p95>=0.5", "FAIL ready_p95 2 s >= 0.5 s"),
        ("failure_rate>0.01", "FAIL failure_rate 50 % > 1 %"),
        ("failure_rate>0.7", "PASS failure_rate 50 % <= 70 %"),
        ("failures > 3", "PASS failures 1 <= 3"),
        ("connected<2000", "FAIL connected 2 < 2000"),
        ("seconds<10.004", "FAIL seconds 10 s < 10.004 s"),
        ("loop_lag_p99>0.5", "PASS loop_lag_p99 0.00123 s <= 0.5 s"),
    ],
)
def test_a_verdict_is_a_true_relation(text: Any, line: Any) -> None:
    """A verdict is PASS or FAIL, the figure with three digits, the relation that holds, the limit, and their unit."""
    assert str(judge(parse(text), attrs.evolve(MEASURED, loop_lag=latencies(0.001234)))) == line


def test_a_rounded_figure_contradicts_no_limit() -> None:
    """A figure that is near its limit has as many digits as the relation needs."""
    assert str(judge(parse("seconds>10"), attrs.evolve(MEASURED, seconds=10.0004))) == "FAIL seconds 10.0004 s > 10 s"


def test_interrupted_conversations_do_not_count_as_failed() -> None:
    """The failure rate is that of the conversations that were not interrupted."""
    stopped = result([attempt(0), attempt(1, failure="failed"), attempt(2, ready=None)])
    assert metric(stopped, "interrupted") == 1
    assert metric(stopped, "failure_rate") == 0.5
    assert metric(result([attempt(0, ready=None)]), "failure_rate") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a figure, one of"),
        ("ready_p95", "must be a figure, one of"),
        ("ready_p95=20", "must be a figure, one of"),
        ("ready_p95>", "must be a figure, one of"),
        ("ready_p98>2", "there is no figure ready_p98; the figures are conversations, connected, ready, failures"),
        ("ready_p95>fast", "fast is not a number"),
        ("ready_p95>nan", "nan is not a number"),
        ("ready_p95>inf", "inf is not a number"),
    ],
)
def test_a_bad_threshold_is_refused_in_one_line(text: Any, said: Any) -> None:
    """A text that is not a threshold is shown with the expected form, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.builds(
        Criterion,
        st.sampled_from(NAMES),
        st.sampled_from(sorted(OPERATORS)),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_a_threshold_reads_as_it_is_written(criterion: Any) -> None:
    """Any threshold survives being written and read."""
    assert parse(str(criterion)) == criterion
