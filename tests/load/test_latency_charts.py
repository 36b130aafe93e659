"""Charts of latencies: they show the measurements, and captions say what they leave out."""

from random import Random
from typing import Any

import attrs
import pytest

from akapulu_async import SessionState
from akapulu_async.load.charts import COLOURS, MOST_BINS, MOST_DOTS, SURFACE, Chart
from akapulu_async.load.latency_charts import Measure, connect_latency, latency_charts, time_to_ready
from akapulu_async.load.results import Attempt
from akapulu_async.load.wording import latency
from tests.support.made_loads import drawing, made_result, result_of


def ready_charts(count: int, ready: float = 0.96) -> tuple[Measure, Any, Any, list[Chart]]:
    """Return the time to ready, its figures, and all of its charts."""
    result = made_result(count, ready=ready)
    measure = time_to_ready(result)
    charts = latency_charts(measure, count / 10)
    return measure, charts[0].figure, charts[1].figure, charts


def ready_after(*latencies: float) -> list[Chart]:
    """Return the charts of conversations with these times to ready, one due each second."""
    attempts = [
        Attempt(index=index, due=float(index), ready=index + seconds, ended=index + seconds + 1)
        for index, seconds in enumerate(latencies)
    ]
    return latency_charts(time_to_ready(result_of(attempts, Random(1))), float(len(attempts)))


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
    edges = [x - histogram.data[0].width / 2 for x in histogram.data[0].x]
    beyond = len(measure.points) - sum(histogram.data[0].y)
    assert beyond > 0
    longest = max(seconds for _, seconds in measure.points)
    assert f"Beyond the chart: {beyond:,} longer" in charts[0].caption
    assert f"the longest {latency(longest)}." in charts[0].caption
    assert edges[0] <= min(seconds for _, seconds in measure.points)


def test_histogram_without_outliers() -> None:
    """Without outliers, nothing is left out."""
    histogram, course = ready_after(*(1 + number / 100 for number in range(100)))
    assert sum(drawing(histogram).data[0].y) == 100
    assert "Beyond" not in histogram.caption + course.caption


def test_marks() -> None:
    """The histogram marks p50, p95 and p99, each with a label at its own height."""
    measure, histogram, _, charts = ready_charts(2000)
    lines = {line.x0: line.y1 for line in histogram.layout.shapes}
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        at = measure.latencies.at(share)
        (label,) = (label for label in histogram.layout.annotations if label.text == f"{name} {latency(at)}")
        assert lines[at] == label.y
        assert label.text in charts[0].caption
    assert len(set(lines.values())) == 3
    assert histogram.layout.xaxis.range[0] < min(lines) < max(lines) < histogram.layout.xaxis.range[1]


@pytest.mark.parametrize("slow", [0, 20, 600])
def test_labels_can_be_read(slow: int) -> None:
    """A label is on the side of its line with enough room, and in front of the lines that it crosses."""
    figure = drawing(ready_after(*[0.1] * 40, *[0.2 + number / 1e4 for number in range(960)], *[3.0] * slow)[0])
    start, end = figure.layout.xaxis.range
    for label in figure.layout.annotations:
        room = (label.x - start if label.xanchor == "right" else end - label.x) / (end - start)
        assert room >= 0.35
        assert label.bgcolor == SURFACE


def test_dots_are_thinned() -> None:
    """The number of dots is bounded, and the caption says so."""
    measure, _, course, charts = ready_charts(2900)
    dots = course.data[0]
    assert MOST_DOTS * 0.98 < len(dots.x) <= MOST_DOTS
    assert f"{MOST_DOTS:,} dots, evenly sampled from {len(measure.points):,}" in charts[1].caption
    assert set(zip(dots.x, dots.y, strict=True)) <= set(measure.points)


def test_all_dots_of_few() -> None:
    """Few latencies are all shown, in a stronger colour."""
    measure, _, course, charts = ready_charts(150)
    assert list(zip(course.data[0].x, course.data[0].y, strict=True)) == measure.points
    assert charts[1].caption.startswith(
        "Each dot is a conversation; the lines are quantiles of all in windows of 5 s: p50"
    )
    assert course.data[0].marker.opacity > ready_charts(500)[2].data[0].marker.opacity


def test_rolling_quantiles() -> None:
    """The lines are quantiles of all latencies, not only of those with dots, and need enough of them."""
    _, _, course, _ = ready_charts(4000)
    assert [trace.name for trace in course.data] == ["conversation", "p50", "p95"]
    p50, p95 = (list(trace.y) for trace in course.data[1:])
    assert all(half < most for half, most in zip(p50, p95, strict=True))
    assert [trace.name for trace in ready_charts(15)[2].data] == ["conversation", "p50"]


def test_lines_stay_in_the_chart() -> None:
    """The axis reaches as far as the lines, so that a lull with a few long latencies shows."""
    crowd = [Attempt(index=index, due=index / 100, ready=index / 100 + 1, ended=99) for index in range(4000)]
    few = [Attempt(index=4000 + index, due=60.0 + index, ready=90.0 + index, ended=99) for index in range(9)]
    histogram, course = latency_charts(time_to_ready(result_of([*crowd, *few], Random(1))), 68.0)
    assert max(value for value in drawing(course).data[1].y if value is not None) == 30
    assert drawing(course).layout.yaxis.range[1] > 30
    assert "Beyond the chart: 9 longer" in histogram.caption
    assert "Beyond" not in course.caption


def test_one() -> None:
    """One latency makes one bar and one dot."""
    histogram, course = ready_after(2.0)
    assert [list(trace.y) for trace in drawing(histogram).data] == [[1]]
    assert [list(trace.y) for trace in drawing(course).data] == [[2.0]]
    assert histogram.caption == "1 conversation: p50 2 s, p95 2 s, p99 2 s."
    assert course.caption == "Each dot is a conversation."


def test_none() -> None:
    """Without latencies there is no figure, and the caption says so."""
    result = made_result(20, ready=-1)
    charts = latency_charts(time_to_ready(result), 2.0) + latency_charts(connect_latency(result), 2.0)
    assert [chart.figure for chart in charts] == [None] * 4
    assert {chart.caption for chart in charts} == {
        "No data: no conversation has a time to ready.",
        "No data: no conversation has a connect latency.",
    }


def test_milliseconds() -> None:
    """Short latencies are shown in milliseconds, and the axes say so."""
    histogram, course = map(drawing, ready_after(0.002, 0.003, 0.004))
    assert histogram.layout.xaxis.title.text == course.layout.yaxis.title.text == "time to ready, ms"
    assert list(course.data[0].y) == pytest.approx([2, 3, 4])


@pytest.mark.parametrize("count", [1, 10, 300, 5000])
def test_size(count: int) -> None:
    """The number of marks is bounded, however many latencies there are."""
    _, histogram, course, _ = ready_charts(count, ready=1.0)
    assert len(histogram.data[0].x) <= MOST_BINS + 2
    assert len(course.data[0].x) <= MOST_DOTS
    assert all(len(trace.x) <= 2 * MOST_BINS + 1 for trace in course.data[1:])
