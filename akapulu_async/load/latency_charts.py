"""Charts of a latency: its distribution, and its course over time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs
import plotly.graph_objects as go

from akapulu_async import SessionState
from akapulu_async.load.charts import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LINE,
    MOST_BINS,
    MOST_DOTS,
    SURFACE,
    TEXT,
    TOP,
    Chart,
    axis,
    count_axis,
    drawn,
    due_axis,
)
from akapulu_async.load.results import Latencies, LoadResult
from akapulu_async.load.series import Rolling, bin_up, roll, thin
from akapulu_async.load.wording import Unit, counted, figure, latency, unit_of_latency

MARKED = ((0.5, "p50", "solid"), (0.95, "p95", "dash"), (0.99, "p99", "dot"))
ROLLED = MARKED[:2]
SOME, FEW, MANY = 200, {"size": 7, "opacity": 0.8}, {"size": 5, "opacity": 0.45}
"""Most dots that count as few; the look of few dots, and of many."""

ROOM = 0.35
"""Share of the narrowest chart's width that a label takes."""

TAIL = 1.5
"""The longest axis, in multiples of the 99th percentile."""


@attrs.frozen(kw_only=True)
class Measure:
    """A latency of many attempts, and its look."""

    name: str
    title: str
    """Its name on axes and in headings."""

    colour: str
    latencies: Latencies
    points: Sequence[tuple[float, float]]
    """Due time and latency of each attempt, ordered by due time."""


def connect_latency(result: LoadResult) -> Measure:
    """Return the connect latency of a result."""
    points = [(attempt.due, attempt.connect_latency) for attempt in result.attempts]
    return Measure(
        name="connect",
        title="connect latency",
        colour=COLOURS[SessionState.CONNECTING],
        latencies=result.connect,
        points=_in_order(points),
    )


def time_to_ready(result: LoadResult) -> Measure:
    """Return the time to ready of a result."""
    points = [(attempt.due, attempt.time_to_ready) for attempt in result.attempts]
    return Measure(
        name="ready",
        title="time to ready",
        colour=COLOURS[SessionState.BOT_READY],
        latencies=result.ready,
        points=_in_order(points),
    )


def _in_order(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return sorted((due, seconds) for due, seconds in points if seconds is not None)


def latency_charts(measure: Measure, arrivals: float) -> list[Chart]:
    """Return the charts of a latency; `arrivals` is the last due time in seconds."""
    over_time = f"{measure.title.capitalize()} over time"
    distribution = f"{measure.title.capitalize()}, distribution"
    if not measure.points:
        nothing = f"No data: no conversation has a {measure.title}."
        return [
            Chart(name=f"{measure.name}-distribution", heading=distribution, figure=None, caption=nothing),
            Chart(name=f"{measure.name}-over-time", heading=over_time, figure=None, caption=nothing),
        ]
    top = _top(measure)
    rolling = roll(measure.points, [share for share, _, _ in ROLLED])
    top_over_time = max([top, *(value for line in rolling.quantiles for value in line if value is not None)])
    return [
        Chart(
            name=f"{measure.name}-distribution",
            heading=distribution,
            figure=_histogram(measure, top),
            caption=_quantiles(measure) + _left_out(measure, top),
        ),
        Chart(
            name=f"{measure.name}-over-time",
            heading=over_time,
            figure=_dots(measure, rolling, top_over_time, arrivals),
            caption=_over_time(measure, rolling) + _left_out(measure, top_over_time),
        ),
    ]


def _top(measure: Measure) -> float:
    """Return the end of the axis, so that a few outliers do not squeeze all others."""
    longest, p99 = max(seconds for _, seconds in measure.points), measure.latencies.at(0.99)
    return longest if p99 is None else min(longest, TAIL * p99)


def _left_out(measure: Measure, top: float) -> str:
    beyond = [seconds for _, seconds in measure.points if seconds > top]
    if not beyond:
        return ""
    return f" Beyond the chart: {len(beyond):,} longer than {latency(top)}, the longest {latency(max(beyond))}."


def _quantiles(measure: Measure) -> str:
    quantiles = ", ".join(f"{name} {latency(measure.latencies.at(share))}" for share, name, _ in MARKED)
    return f"{counted(len(measure.points), 'conversation', 'conversations')}: {quantiles}."


def _over_time(measure: Measure, rolling: Rolling) -> str:
    count = len(measure.points)
    dots = "Each dot is a conversation" if count <= MOST_DOTS else f"{MOST_DOTS:,} dots, evenly sampled from {count:,}"
    ranges = [
        f"{name} between {latency(min(known))} and {latency(max(known))}"
        for (_, name, _), line in zip(ROLLED, rolling.quantiles, strict=True)
        if (known := [value for value in line if value is not None])
    ]
    lines = (
        f"; the lines are quantiles of all in windows of {figure(rolling.window)} s: {', '.join(ranges)}"
        if ranges
        else ""
    )
    return f"{dots}{lines}."


def _histogram(measure: Measure, top: float) -> go.Figure:
    unit = unit_of_latency(top)
    bins = bin_up([seconds for _, seconds in measure.points], top, MOST_BINS)
    edges = [unit.of(edge) for edge in bins.edges]
    width = edges[1] - edges[0]
    bars = go.Bar(
        x=[edge + width / 2 for edge in edges[:-1]],
        y=bins.counts,
        width=width,
        name=measure.title,
        marker={"color": measure.colour, "line": {"width": 0}},
        hovertext=[f"{figure(low)} to {figure(high)} {unit.name}" for low, high in pairwise(edges)],
        hovertemplate="%{hovertext}: %{y:,}<extra></extra>",
    )
    marks = [(at, name, dash) for share, name, dash in MARKED if (at := measure.latencies.at(share)) is not None]
    end = max([edges[-1], *(unit.of(at) for at, _, _ in marks)])
    lines, labels = _marks(marks, unit, edges[0], end)
    return drawn(
        [bars],
        x=axis(f"{measure.title}, {unit.name}", range=[edges[0], end], showgrid=False),
        y=count_axis("conversations", max(bins.counts)),
        shapes=lines,
        annotations=labels,
    )


def _marks(
    marks: Sequence[tuple[float, str, str]], unit: Unit, start: float, end: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return vertical lines and their labels, each label at its own height and in front of the lines."""
    lines, labels = [], []
    step = LINE / (HEIGHT - TOP - BOTTOM)
    for number, (at, name, dash) in enumerate(marks):
        x, y = unit.of(at), 1 + (number + 1) * step
        leftward = x - start > ROOM * (end - start)
        line = {"color": TEXT, "width": 1.5, "dash": dash}
        lines.append({"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": y, "line": line})
        label = {
            "text": f"{name} {latency(at)}",
            "x": x,
            "y": y,
            "xref": "x",
            "yref": "paper",
            "showarrow": False,
            "bgcolor": SURFACE,
            "yanchor": "top",
            "xanchor": "right" if leftward else "left",
            "xshift": -2 if leftward else 2,
        }
        labels.append(label)
    return lines, labels


def _dots(measure: Measure, rolling: Rolling, top: float, arrivals: float) -> go.Figure:
    unit, (time, x) = unit_of_latency(top), due_axis(arrivals)
    dots = [point for point in thin(measure.points, MOST_DOTS) if point[1] <= top]
    traces = [
        go.Scatter(
            x=[time.of(due) for due, _ in dots],
            y=[unit.of(value) for _, value in dots],
            mode="markers",
            name="conversation",
            marker={"color": measure.colour, **(FEW if len(dots) <= SOME else MANY)},
            hovertemplate=f"due at %{{x:.3~f}} {time.name}: %{{y:.3~f}} {unit.name}<extra></extra>",
        )
    ]
    for (_, name, dash), line in zip(ROLLED, rolling.quantiles, strict=True):
        if any(value is not None for value in line):
            traces.append(
                go.Scatter(
                    x=[time.of(at) for at in rolling.at],
                    y=[None if value is None else unit.of(value) for value in line],
                    mode="lines",
                    name=name,
                    line={"color": TEXT, "width": 2, "dash": dash},
                    hovertemplate=f"{name} %{{y:.3~f}} {unit.name}<extra></extra>",
                )
            )
    return drawn(traces, x=x, y=axis(f"{measure.title}, {unit.name}", range=[0, 1.05 * unit.of(top)]))
