"""Charts of a latency: its distribution, and how it changes over time."""

from collections.abc import Sequence
from itertools import pairwise

import attrs

from akapulu_async import SessionState
from akapulu_async.load.charts import (
    COLOURS,
    MOST_BINS,
    MOST_DOTS,
    Axis,
    Bars,
    Chart,
    Dots,
    Line,
    Mark,
    Plot,
    count_axis,
    due_axis,
)
from akapulu_async.load.results import Latencies, LoadResult
from akapulu_async.load.series import Rolling, bin_up, roll, thin
from akapulu_async.load.wording import counted, figure, latency, unit_of_latency

MARKED = ((0.5, "p50", "solid"), (0.95, "p95", "dash"), (0.99, "p99", "dot"))
ROLLED = MARKED[:2]

TAIL = 1.5
"""The longest axis, in multiples of the 99th percentile."""


@attrs.frozen(kw_only=True)
class Measure:
    """A latency of many attempts, and its look."""

    name: str
    title: str
    """Its name on axes and in headings."""

    colour: str
    whole: int
    """All attempts, also those that have no such latency."""

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
        whole=len(result.attempts),
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
        whole=len(result.attempts),
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
            Chart(name=f"{measure.name}-distribution", heading=distribution, plot=None, caption=nothing),
            Chart(name=f"{measure.name}-over-time", heading=over_time, plot=None, caption=nothing),
        ]
    top = _top(measure)
    rolling = roll(measure.points, [share for share, _, _ in ROLLED])
    top_over_time = max([top, *(value for line in rolling.quantiles for value in line if value is not None)])
    return [
        Chart(
            name=f"{measure.name}-distribution",
            heading=distribution,
            plot=_histogram(measure, top),
            caption=_quantiles(measure) + _left_out(measure, top),
        ),
        Chart(
            name=f"{measure.name}-over-time",
            heading=over_time,
            plot=_dots(measure, rolling, top_over_time, arrivals),
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
    count = counted(len(measure.points), "conversation", "conversations")
    missing = measure.whole - len(measure.points)
    left_out = f" The other {missing:,} got no {measure.title} and are not in it." if missing else ""
    return f"{count}: {quantiles}, mean {latency(measure.latencies.mean)}.{left_out}"


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


def _histogram(measure: Measure, top: float) -> Plot:
    unit = unit_of_latency(top)
    bins = bin_up([seconds for _, seconds in measure.points], top, MOST_BINS)
    edges = [unit.of(edge) for edge in bins.edges]
    ranges = [f"{figure(low)} to {figure(high)} {unit.name}" for low, high in pairwise(edges)]
    bars = Bars(
        name=measure.title,
        colour=measure.colour,
        edges=edges,
        counts=bins.counts,
        hints=[f"{each}: {count:,}" for each, count in zip(ranges, bins.counts, strict=True)],
    )
    marks = [
        Mark(at=unit.of(at), label=f"{name} {latency(at)}", dash=dash)
        for share, name, dash in MARKED
        if (at := measure.latencies.at(share)) is not None
    ]
    return Plot(
        x=Axis(
            title=f"{measure.title}, {unit.name}", low=edges[0], high=max([edges[-1], *(mark.at for mark in marks)])
        ),
        y=count_axis("conversations", max(bins.counts)),
        series=[bars],
        marks=marks,
    )


def _dots(measure: Measure, rolling: Rolling, top: float, arrivals: float) -> Plot:
    unit, (time, x) = unit_of_latency(top), due_axis(arrivals)
    points = [point for point in thin(measure.points, MOST_DOTS) if point[1] <= top]
    dots = Dots(
        name="conversation",
        colour=measure.colour,
        points=[(time.of(due), unit.of(value)) for due, value in points],
        hints=[f"due at {figure(time.of(due))} {time.name}: {latency(value)}" for due, value in points],
    )
    lines = [
        Line(
            name=name,
            colour="text",
            dash=dash,
            points=[
                (time.of(at), None if value is None else unit.of(value))
                for at, value in zip(rolling.at, line, strict=True)
            ],
        )
        for (_, name, dash), line in zip(ROLLED, rolling.quantiles, strict=True)
        if any(value is not None for value in line)
    ]
    y = Axis(title=f"{measure.title}, {unit.name}", high=1.05 * unit.of(top))
    return Plot(x=x, y=y, series=[dots, *lines])
