"""Charts of latencies: they show the measurements, and captions say what they leave out."""

from random import Random

import attrs
import pytest

from akapulu_async import SessionState
from akapulu_async.load.charts import COLOURS, MOST_BINS, MOST_DOTS, Bars, Chart, Dots, Line, Plot
from akapulu_async.load.latency_charts import Measure, connect_latency, latency_charts, time_to_ready
from akapulu_async.load.results import Attempt
from akapulu_async.load.wording import latency
from tests.support.made_loads import made_result, plotted, result_of


def ready_charts(count: int, ready: float = 0.96) -> tuple[Measure, Plot, Plot, list[Chart]]:
    """Return the time to ready, its plots, and all of its charts."""
    result = made_result(count, ready=ready)
    measure = time_to_ready(result)
    charts = latency_charts(measure, count / 10)
    return measure, plotted(charts[0]), plotted(charts[1]), charts


def ready_after(*latencies: float) -> list[Chart]:
    """Return the charts of conversations with these times to ready, one due each second."""
    attempts = [
        Attempt(index=index, due=float(index), ready=index + seconds, ended=index + seconds + 1)
        for index, seconds in enumerate(latencies)
    ]
    return latency_charts(time_to_ready(result_of(attempts, Random(1))), float(len(attempts)))


def bars_of(plot: Plot) -> Bars:
    (bars,) = plot.series
    assert isinstance(bars, Bars)
    return bars


def dots_of(plot: Plot) -> Dots:
    dots = plot.series[0]
    assert isinstance(dots, Dots)
    return dots


def lines_of(plot: Plot) -> list[Line]:
    return [each for each in plot.series if isinstance(each, Line)]


def test_measures() -> None:
    """Latencies count from due, and conversations without one are left out."""
    result = made_result(200)
    ready, connect = time_to_ready(result), connect_latency(result)
    assert len(ready.points) == result.ready.count < len(connect.points) == result.connect.count < 200
    assert set(connect.points) == {
        (attempt.due, attempt.connected - attempt.due) for attempt in result.attempts if attempt.connected is not None
    }
    assert (ready.colour, connect.colour) == (COLOURS[SessionState.BOT_READY], COLOURS[SessionState.CONNECTING])


def test_points_are_in_order() -> None:
    """Points are ordered by due time, whatever the order of the attempts."""
    result = made_result(50)
    measure = time_to_ready(attrs.evolve(result, attempts=result.attempts[::-1]))
    assert measure.points == time_to_ready(result).points == sorted(measure.points)


def test_histogram_counts_all() -> None:
    """The bars count every latency within the axis, and the caption says how many are beyond."""
    measure, histogram, _, charts = ready_charts(2000)
    bars = bars_of(histogram)
    beyond = len(measure.points) - sum(bars.counts)
    assert beyond > 0
    longest = max(seconds for _, seconds in measure.points)
    assert f"Beyond the chart: {beyond:,} longer" in charts[0].caption
    assert f"the longest {latency(longest)}." in charts[0].caption
    assert bars.edges[0] <= min(seconds for _, seconds in measure.points)


def test_histogram_without_outliers() -> None:
    """Without outliers, nothing is left out."""
    histogram, course = ready_after(*(1 + number / 100 for number in range(100)))
    assert sum(bars_of(plotted(histogram)).counts) == 100
    assert "Beyond" not in histogram.caption + course.caption


def test_those_without_a_latency_are_counted() -> None:
    """The caption says how many conversations have no such latency, so that survivors do not look like all."""
    measure, _, _, charts = ready_charts(200, ready=0.25)
    missing = 200 - len(measure.points)
    assert f"The other {missing} got no time to ready and are not in it." in charts[0].caption
    assert "The other" not in ready_charts(200, ready=1.0)[3][0].caption


def test_marks() -> None:
    """The histogram marks p50, p95 and p99, and the caption has them, too."""
    measure, histogram, _, charts = ready_charts(2000)
    assert [mark.label for mark in histogram.marks] == [
        f"{name} {latency(measure.latencies.at(share))}" for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]
    for mark in histogram.marks:
        assert mark.label in charts[0].caption
        assert histogram.x.low < mark.at <= histogram.x.high
    assert f"mean {latency(measure.latencies.mean)}." in charts[0].caption


def test_dots_are_thinned() -> None:
    """The number of dots is bounded, and the caption says so."""
    measure, _, course, charts = ready_charts(2900)
    dots = dots_of(course)
    assert MOST_DOTS * 0.98 < len(dots.points) <= MOST_DOTS
    assert f"{MOST_DOTS:,} dots, evenly sampled from {len(measure.points):,}" in charts[1].caption
    assert set(dots.points) <= set(measure.points)
    assert len(dots.hints) == len(dots.points)


def test_all_dots_of_few() -> None:
    """Few latencies are all shown."""
    measure, _, course, charts = ready_charts(150)
    assert dots_of(course).points == measure.points
    assert charts[1].caption.startswith(
        "Each dot is a conversation; the lines are quantiles of all in windows of 5 s: p50"
    )


def test_rolling_quantiles() -> None:
    """The lines are quantiles of all latencies, not only of those with dots, and need enough of them."""
    _, _, course, _ = ready_charts(4000)
    p50, p95 = lines_of(course)
    assert (p50.name, p95.name) == ("p50", "p95")
    for (_, half), (_, most) in zip(p50.points, p95.points, strict=True):
        assert half is not None
        assert most is not None
        assert half < most
    assert [line.name for line in lines_of(ready_charts(15)[2])] == ["p50"]


def test_lines_stay_in_the_chart() -> None:
    """The axis reaches as far as the lines, so that a lull with a few long latencies shows."""
    crowd = [Attempt(index=index, due=index / 100, ready=index / 100 + 1, ended=99) for index in range(4000)]
    few = [Attempt(index=4000 + index, due=60.0 + index, ready=90.0 + index, ended=99) for index in range(9)]
    histogram, course = latency_charts(time_to_ready(result_of([*crowd, *few], Random(1))), 68.0)
    plot = plotted(course)
    assert max(value for _, value in lines_of(plot)[0].points if value is not None) == 30
    assert plot.y.high > 30
    assert "Beyond the chart: 9 longer" in histogram.caption
    assert "Beyond" not in course.caption


def test_one() -> None:
    """One latency makes one bar and one dot."""
    histogram, course = ready_after(2.0)
    assert list(bars_of(plotted(histogram)).counts) == [1]
    assert [y for _, y in dots_of(plotted(course)).points] == [2.0]
    assert lines_of(plotted(course)) == []
    assert histogram.caption == "1 conversation: p50 2 s, p95 2 s, p99 2 s, mean 2 s."
    assert course.caption == "Each dot is a conversation."


def test_none() -> None:
    """Without latencies there is no figure, and the caption says so."""
    result = made_result(20, ready=-1)
    charts = latency_charts(time_to_ready(result), 2.0) + latency_charts(connect_latency(result), 2.0)
    assert [chart.plot for chart in charts] == [None] * 4
    assert {chart.caption for chart in charts} == {
        "No data: no conversation has a time to ready.",
        "No data: no conversation has a connect latency.",
    }


def test_milliseconds() -> None:
    """Short latencies are shown in milliseconds, and the axes say so."""
    histogram, course = map(plotted, ready_after(0.002, 0.003, 0.004))
    assert histogram.x.title == course.y.title == "time to ready, ms"
    assert [y for _, y in dots_of(course).points] == pytest.approx([2, 3, 4])


@pytest.mark.parametrize("count", [1, 10, 300, 5000])
def test_size(count: int) -> None:
    """The number of marks is bounded, however many latencies there are."""
    _, histogram, course, _ = ready_charts(count, ready=1.0)
    assert len(bars_of(histogram).counts) <= MOST_BINS + 2
    assert len(dots_of(course).points) <= MOST_DOTS
    assert all(len(line.points) <= 2 * MOST_BINS + 1 for line in lines_of(course))
