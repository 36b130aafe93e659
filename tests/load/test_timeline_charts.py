"""Charts over time: states, failures, and the load generator."""

import attrs
import pytest

from akapulu_async import SessionState
from akapulu_async.load.charts import COLOURS, FAILED, MOST_CAUSES, MOST_MOMENTS
from akapulu_async.load.results import LoadResult, Sample
from akapulu_async.load.timeline_charts import failures_charts, loop_lag_chart, ordered, sessions_chart
from tests.support.made_loads import drawing, made_result


def sampled(*samples: Sample) -> LoadResult:
    return attrs.evolve(made_result(3), samples=samples)


def sample(at: float, *, waiting: int = 0, ready: int = 0, loop_lag: float = 0.0) -> Sample:
    states = {SessionState.BOT_READY: ready} if ready else {}
    return Sample(at=at, states=states, waiting=waiting, connects=0, polls=0, failures=0, loop_lag=loop_lag)


def test_sessions() -> None:
    """Each state is a stacked area in its colour, with the samples' figures."""
    result = made_result(300)
    figure = drawing(sessions_chart(result))
    assert [trace.name for trace in figure.data] == [str(state) for state in COLOURS]
    for trace, (state, colour) in zip(figure.data, COLOURS.items(), strict=True):
        assert list(trace.x) == [each.at for each in result.samples]
        assert list(trace.y) == [each.states[state] for each in result.samples]
        assert (trace.fillcolor, trace.stackgroup) == (colour, "states")


def test_sessions_in_words() -> None:
    """The caption says when most sessions ran, and in which states."""
    caption = sessions_chart(sampled(sample(0, ready=1), sample(1, ready=1200, waiting=7), sample(2))).caption
    assert caption == (
        "Most sessions at once: 1,200, at 1 s (connecting 0, room_joined 0, bot_ready 1,200). Most waiting at once: 7."
    )


@pytest.mark.parametrize("waiting", [0, 5])
def test_waiting(waiting: int) -> None:
    """Waiting conversations have a panel of their own, if there were any."""
    figure = drawing(sessions_chart(sampled(sample(0, ready=1), sample(1, ready=1, waiting=waiting))))
    assert [list(trace.y) for trace in figure.data if trace.yaxis == "y2"] == ([[0, 5]] if waiting else [])


@pytest.mark.parametrize("count", [MOST_MOMENTS, MOST_MOMENTS + 1, 10 * MOST_MOMENTS])
def test_long_tests(count: int) -> None:
    """Of many samples, the peak of each run is shown, so that none is lost, and the caption says so."""
    peak = sample(count - 2, ready=900, loop_lag=0.7)
    result = sampled(*(sample(at, ready=1) for at in range(count - 2)), peak, sample(count - 1))
    sessions, loop_lag = sessions_chart(result), loop_lag_chart(result)
    for chart, highest in ((sessions, 900), (loop_lag, 700)):
        assert len(drawing(chart).data[0].x) <= MOST_MOMENTS
        assert max(drawing(chart).data[0].y) == pytest.approx(highest)
        assert ("Each point is" in chart.caption) == (count > MOST_MOMENTS)


def test_loop_lag() -> None:
    """The lag is shown as sampled, and the caption has the longest."""
    chart = loop_lag_chart(sampled(sample(0, loop_lag=0.001), sample(1, loop_lag=0.25), sample(2, loop_lag=0.002)))
    assert list(drawing(chart).data[0].y) == pytest.approx([1, 250, 2])
    assert "at most 250 ms, at 1 s." in chart.caption


def test_no_samples() -> None:
    """Without samples there is no figure, and the caption says so."""
    for chart in (sessions_chart(sampled()), loop_lag_chart(sampled())):
        assert chart.figure is None
        assert chart.caption == "No data: no samples were taken."


def test_failures_by_cause() -> None:
    """Each cause is a bar with its count and share, the most frequent at the top."""
    result = attrs.evolve(made_result(100), failures={"rare": 1, "often": 3})
    figure = drawing(failures_charts(result)[0])
    assert list(figure.data[0].x) == [3, 1]
    assert [label.text for label in figure.layout.annotations] == ["3 (75.0 %) often", "1 (25.0 %) rare"]
    assert [label.y for label in figure.layout.annotations] == list(figure.data[0].y)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


def test_many_causes() -> None:
    """Of many causes, the most frequent have bars, and the others share one."""
    causes = {f"cause {number}": number for number in range(1, 41)}
    figure = drawing(failures_charts(attrs.evolve(made_result(1000), failures=causes))[0])
    assert len(figure.data[0].x) == MOST_CAUSES + 1
    assert sum(figure.data[0].x) == sum(causes.values())
    assert figure.layout.annotations[-1].text.endswith(" 28 other causes")


def test_labels() -> None:
    """A cause is shown literally, also if it looks like markup, and is shortened if it is long."""
    causes = {"<b>&amp;</b>": 2, "x" * 100: 1}
    figure = drawing(failures_charts(attrs.evolve(made_result(10), failures=causes))[0])
    assert [label.text for label in figure.layout.annotations] == [
        "2 (66.7 %) &lt;b&gt;&amp;amp;&lt;/b&gt;",
        f"1 (33.3 %) {'x' * 31}…",
    ]


def test_failures_over_time() -> None:
    """Every failed attempt is counted where it was due."""
    result = made_result(2000)
    chart = failures_charts(result)[1]
    due = [attempt.due for attempt in result.attempts if attempt.failure is not None]
    bars = drawing(chart).data[0]
    assert sum(bars.y) == len(due) == sum(result.failures.values())
    for middle, count in zip(bars.x, bars.y, strict=True):
        near = [moment for moment in due if abs(moment - middle) <= bars.width / 2 + 1e-6]
        sure = [moment for moment in due if abs(moment - middle) <= bars.width / 2 - 1e-6]
        assert len(sure) <= count <= len(near)
    assert bars.marker.color == FAILED


def test_no_failures() -> None:
    """Without failures there is no figure, and the caption says so."""
    charts = failures_charts(made_result(10, ready=1.0))
    assert [(chart.figure, chart.caption) for chart in charts] == [(None, "No attempt failed.")] * 2


def test_ordered() -> None:
    """Causes are ordered by count, then by name."""
    assert ordered({"b": 1, "a": 1, "c": 2}) == [("c", 2), ("a", 1), ("b", 1)]
