"""What a load test measured, as values."""

import csv
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import EndReason
from akapulu_async.load.results import COLUMNS, HIGHEST, MOST_STEPS, Attempt, Latencies, doubts, write_csv
from tests.support.measured import attempt, latencies, result

DURATIONS = st.lists(st.floats(0.001, 3600), min_size=1, max_size=300)


@given(DURATIONS, st.floats(0.01, 1))
def test_quantiles_are_right_to_three_digits(seconds: Any, share: Any) -> None:
    """A quantile is that of the sorted figures, to three significant digits."""
    exact = sorted(seconds)[math.ceil(round(share * len(seconds), 9)) - 1]
    assert latencies(*seconds).at(share) == pytest.approx(exact, rel=2e-3, abs=2e-6)


@given(DURATIONS)
def test_mean_and_highest_are_those_of_the_figures(seconds: Any) -> None:
    """Count, mean and highest are exact to the microsecond."""
    made = latencies(*seconds)
    assert made.mean == pytest.approx(statistics.fmean(seconds), rel=1e-6, abs=1e-6)
    assert made.highest == pytest.approx(max(seconds), rel=1e-6, abs=1e-6)
    assert made.count == len(seconds)


def test_nothing_is_no_figure() -> None:
    """Without durations, every statistic but the count is None."""
    nothing = Latencies()
    assert (nothing.count, nothing.at(0.5), nothing.mean, nothing.highest) == (0, None, None, None)


def test_durations_out_of_range_count_as_its_ends() -> None:
    """Less than a microsecond counts as one, and more than two hours as two hours."""
    assert latencies(-1.0).at(1) == pytest.approx(1e-6)
    assert latencies(1e9).at(1) == pytest.approx(HIGHEST / 1e6, rel=1e-3)


def test_missed_measurements_are_counted() -> None:
    """A lag of 1 s that delayed a measurement every 0.1 s counts as ten lags, from 1 s down to 0.1 s."""
    made = Latencies()
    made.add(1.0, every=0.1)
    assert made.count == 10
    assert made.mean == pytest.approx(0.55, rel=1e-3)
    assert made.at(0.1) == pytest.approx(0.1, rel=1e-3)


def test_a_stop_of_hours_is_counted_in_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lag of two hours counts for all measurements that it delayed, but is recorded in a bounded number of steps."""
    steps: list[int] = []
    record = HdrHistogram.record_value

    def counted(self: Any, value: int, count: int = 1) -> None:
        steps.append(count)
        record(self, value, count)

    monkeypatch.setattr(HdrHistogram, "record_value", counted)
    made = Latencies()
    made.add(7200.0, every=0.01)
    assert made.count == sum(steps) == 720_000
    assert len(steps) <= MOST_STEPS + 1
    assert made.mean == pytest.approx(3600, rel=1e-3)
    for share in (0.1, 0.5, 0.9):
        assert made.at(share) == pytest.approx(7200 * share, rel=2e-2)


def test_latencies_count_from_when_an_attempt_was_due() -> None:
    """Latencies of an attempt that began late include the wait; without the event there is no latency."""
    late = attempt(due=1.0, began=5.0, connected=5.5, ready=7.0)
    assert (late.connect_latency, late.time_to_ready) == (4.5, 6.0)
    never = attempt(connected=None, ready=None)
    assert (never.connect_latency, never.time_to_ready) == (None, None)


def test_each_attempt_is_a_row(tmp_path: Path) -> None:
    """Each value of an attempt is in its row, by its name; None is an empty cell."""
    path = tmp_path / "load.csv"
    never = Attempt(index=1, due=2.5, ended=3.0, failure='Odd,"Error"\n503', retries=2, poll_errors={"503": 3, "a": 1})
    write_csv(result([attempt(0), never]), path)
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert (first["index"], first["end_reason"], first["failure"]) == ("0", str(EndReason.LEFT), "")
    assert float(first["connect_latency"]) == pytest.approx(0.25)
    assert float(first["time_to_ready"]) == pytest.approx(2.0)
    assert (first["outcome"], first["poll_errors"]) == ("ready", "")
    assert (second["outcome"], second["retries"], second["poll_errors"]) == ("failed", "2", "503 x 3, a x 1")
    assert (second["due"], second["began"], second["ready"], second["failure"]) == ("2.500000", "", "", never.failure)


def test_a_calm_load_generator_raises_no_doubt() -> None:
    """A few milliseconds of lag on a mostly idle loop raise no doubt."""
    assert list(doubts(result(loop_lag=latencies(0.02), arrival_lag=latencies(0.02), cpu_share=0.8))) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"loop_lag": latencies(0.2)}, "was the bottleneck: its event loop was up to 0.200 s late (p99)"),
        ({"arrival_lag": latencies(0.3)}, "did not keep its schedule: arrivals were up to 0.300 s late (p99)"),
        (
            {"failures": {"ConnectOutcomeUnknownError 504": 2, "ConnectOutcomeUnknownError": 1, "ServerError 503": 9}},
            "The outcome of 3 connects is unknown",
        ),
        ({"cpu_share": 0.97}, "used 97% of a core"),
        ({"interrupted": True}, "The test was interrupted. 0 conversations were not ready by then"),
    ],
)
def test_each_doubt_is_reported(fields: Any, said: Any) -> None:
    """Each reason to doubt the figures is reported with its figure."""
    (doubt,) = doubts(result(**fields))
    assert said in doubt


def test_a_single_outlier_raises_no_doubt() -> None:
    """One long pause among hundreds of measurements does not make the loop a bottleneck."""
    assert list(doubts(result(loop_lag=latencies(*[0.001] * 500, 1.0)))) == []
