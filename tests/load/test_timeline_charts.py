"""Charts over time: rates, states, failures, and the load generator."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from akapulu_async import SessionState
from akapulu_async.load.charts import COLOURS, MOST_MOMENTS, Area, Bars, Chart, Line
from akapulu_async.load.results import LoadResult, Sample
from akapulu_async.load.timeline_charts import failures_chart, loop_lag_chart, polls_chart, rate_chart, sessions_charts
from tests.support.made_loads import made_result, plotted
from tests.support.measured import attempt
from tests.support.measured import result as fixed_result


def sampled(*samples: Sample, **more: Any) -> LoadResult:
    return attrs.evolve(made_result(3), samples=samples, **more)


def sample(at: float, *, waiting: int = 0, ready: int = 0, polls: int = 0, failed: int = 0, lag: float = 0.0) -> Sample:
    states = {SessionState.BOT_READY: ready} if ready else {}
    return Sample(at=at, states=states, waiting=waiting, connects=0, polls=polls, failed_polls=failed, loop_lag=lag)


def lines(chart: Chart) -> dict[str, Sequence[tuple[float, float | None]]]:
    """Return the points of a chart's lines by name."""
    return {each.name: each.points for each in plotted(chart).series if isinstance(each, Line)}


def areas(chart: Chart) -> list[Area]:
    return [each for each in plotted(chart).series if isinstance(each, Area)]


def test_the_achieved_rate_beside_the_wanted_one() -> None:
    """In the open loop, connects per second are beside those that were due, each counted once."""
    attempts = [attempt(number, due=number / 10, connected=number / 10 + 2) for number in range(100)]
    chart = rate_chart(fixed_result([*attempts, attempt(100, due=9.95, connected=None)], seconds=13.0, rate=10.0))
    points = lines(chart)
    width = points["due"][1][0] - points["due"][0][0]
    assert sum(rate or 0 for _, rate in points["due"]) * width == pytest.approx(101)
    assert sum(rate or 0 for _, rate in points["connected"]) * width == pytest.approx(100)
    assert points["due"][0][1] == pytest.approx(10)
    assert points["connected"][0][1] == 0
    assert chart.caption == (
        "In the 9.95 s in which conversations started, 8.04 per second connected and 10.2 were due, of 10 planned. "
        "Each point is the mean of 0.5 s."
    )


def test_a_closed_loop_wants_no_rate() -> None:
    """In the closed loop only the achieved rate is shown."""
    chart = rate_chart(fixed_result([attempt(0)]))
    assert (chart.heading, set(lines(chart))) == ("Conversations per second", {"connected"})


def test_a_rate_of_nothing() -> None:
    """Without connects in a closed loop there is no figure."""
    assert rate_chart(fixed_result([attempt(0, connected=None)])).plot is None


def test_polls_per_second() -> None:
    """Polls per second are those between two samples, and failed polls are beside them if there were any."""
    samples = sample(0), sample(1, polls=100), sample(3, polls=140, failed=10)
    chart = polls_chart(sampled(*samples, polls=140, poll_errors={"503": 10}, seconds=10.0))
    assert lines(chart) == {"polls": [(1, 100), (3, 20)], "failed": [(1, 0), (3, 5)]}
    assert chart.caption == "140 polls, 14 per second on average; 10 failed."
    assert lines(polls_chart(sampled(*samples))).keys() == {"polls"}


def test_sessions() -> None:
    """Each state is an area in its colour with the samples' figures, each upon the last."""
    result = made_result(300)
    drawn = areas(sessions_charts(result)[0])
    assert [area.name for area in drawn] == [str(state) for state in COLOURS]
    below = [0] * len(result.samples)
    for area, (state, colour) in zip(drawn, COLOURS.items(), strict=True):
        assert area.colour == colour
        assert [at for at, _, _ in area.points] == [each.at for each in result.samples]
        assert [low for _, low, _ in area.points] == below
        assert [high - low for _, low, high in area.points] == [each.states[state] for each in result.samples]
        below = [int(high) for _, _, high in area.points]


def test_sessions_in_words() -> None:
    """The caption says when most sessions ran, and in which states."""
    (chart,) = sessions_charts(sampled(sample(0, ready=1), sample(1, ready=1200), sample(2)))
    assert chart.caption == "Most sessions at once: 1,200, at 1 s (connecting 0, room_joined 0, bot_ready 1,200)."


def test_waiting() -> None:
    """Waiting conversations have a chart of their own, if there were any."""
    charts = sessions_charts(sampled(sample(0, ready=1), sample(1, ready=1, waiting=5)))
    assert areas(charts[1])[0].points == [(0, 0, 0), (1, 0, 5)]
    assert charts[1].caption.startswith("Most at once: 5.")


@pytest.mark.parametrize("count", [MOST_MOMENTS, MOST_MOMENTS + 1, 10 * MOST_MOMENTS])
def test_long_tests(count: int) -> None:
    """Of many samples, the peak of each run is shown, so that none is lost, and the caption says so."""
    peak = sample(count - 2, ready=900, lag=0.7)
    result = sampled(*(sample(at, ready=1) for at in range(count - 2)), peak, sample(count - 1))
    (sessions,), loop_lag = sessions_charts(result), loop_lag_chart(result)
    ready = [high for _, _, high in areas(sessions)[0].points]
    lags = [lag or 0 for _, lag in lines(loop_lag)["lag"]]
    for chart, shown, highest in ((sessions, ready, 900), (loop_lag, lags, 700)):
        assert len(shown) <= MOST_MOMENTS
        assert max(shown) == pytest.approx(highest)
        assert ("Each point is" in chart.caption) == (count > MOST_MOMENTS)
    assert len(lines(polls_chart(result))["polls"]) < MOST_MOMENTS


def test_loop_lag() -> None:
    """The lag is shown as sampled, and the caption has the longest."""
    chart = loop_lag_chart(sampled(sample(0, lag=0.001), sample(1, lag=0.25), sample(2, lag=0.002)))
    assert [lag for _, lag in lines(chart)["lag"]] == pytest.approx([1, 250, 2])
    assert "at most 250 ms, at 1 s." in chart.caption


def test_no_samples() -> None:
    """Without samples there is no figure, and the caption says so."""
    for chart in (*sessions_charts(sampled()), loop_lag_chart(sampled()), polls_chart(sampled())):
        assert chart.plot is None
        assert chart.caption == "No data: no samples were taken."


def test_failures_over_time() -> None:
    """Every failed attempt is counted where it was due."""
    result = made_result(2000)
    (bars,) = plotted(failures_chart(result)).series
    assert isinstance(bars, Bars)
    due = [attempt.due for attempt in result.attempts if attempt.failure is not None]
    assert sum(bars.counts) == len(due) == sum(result.failures.values())
    for low, high, count in zip(bars.edges, bars.edges[1:], bars.counts, strict=False):
        near = [moment for moment in due if low - 1e-6 <= moment <= high + 1e-6]
        sure = [moment for moment in due if low + 1e-6 <= moment <= high - 1e-6]
        assert len(sure) <= count <= len(near)
    assert bars.colour == "failed"


def test_no_failures() -> None:
    """Without failures there is no chart of them."""
    assert failures_chart(made_result(10, ready=1.0)) is None
