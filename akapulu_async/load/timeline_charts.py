"""Charts of a load test over time: rates, sessions by state, failures, and the load generator's lag."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from akapulu_async.load.charts import (
    COLOURS,
    MOST_BINS,
    MOST_MOMENTS,
    Area,
    Axis,
    Bars,
    Chart,
    Line,
    Plot,
    count_axis,
    due_axis,
    time_axis,
)
from akapulu_async.load.results import LoadResult, Sample
from akapulu_async.load.series import bin_up, nice_step, peaks, thin
from akapulu_async.load.wording import figure, latency, unit_of_latency

NO_SAMPLES = "No data: no samples were taken."


def rate_chart(result: LoadResult) -> Chart:
    """Return the chart of connects per second, beside those that the schedule wanted."""
    connected = [each.connected for each in result.attempts if each.connected is not None]
    due = [each.due for each in result.attempts] if result.rate is not None else []
    end = max(result.seconds, 1.0)
    width = nice_step(end, MOST_BINS)
    time, x = time_axis(end)
    lines = [
        Line(
            name=name,
            colour=colour,
            dash=dash,
            points=[(time.of((number + 0.5) * width), count / width) for number, count in enumerate(counts)],
        )
        for name, colour, dash, counts in (
            ("connected", "connecting", "solid", _per_step(connected, width, end)),
            ("due", "text", "dash", _per_step(due, width, end)),  # last, so that it shows where they are equal
        )
        if counts
    ]
    until = max([*due, *(connected if not due else ()), 1.0])
    in_time = sum(moment <= until for moment in connected)
    caption = f"In the {figure(until)} s in which conversations started, {figure(in_time / until)} per second connected"
    if due and result.rate is not None:
        caption += f" and {figure(len(due) / until)} were due, of {figure(result.rate)} planned"
    highest = max((y or 0 for line in lines for _, y in line.points), default=0)
    plot = Plot(x=x, y=Axis(title="per second", high=1.05 * max(highest, 1)), series=lines) if lines else None
    return Chart(
        name="rate",
        heading=f"Conversations per second{', wanted and achieved' if due else ''}",
        plot=plot,
        caption=f"{caption}. Each point is the mean of {figure(width)} s.",
    )


def _per_step(moments: Sequence[float], width: float, end: float) -> list[int]:
    counts = [0] * (int(end / width) + 1) if moments else []
    for moment in moments:
        counts[min(int(max(moment, 0.0) / width), len(counts) - 1)] += 1
    return counts


def polls_chart(result: LoadResult) -> Chart:
    """Return the chart of polls per second, and of those that failed."""
    heading, name = "Polls per second", "polls"
    shown = thin(result.samples, MOST_MOMENTS)
    if len(shown) < 2:  # noqa: PLR2004 - a difference takes two
        return Chart(name=name, heading=heading, plot=None, caption=NO_SAMPLES)
    time, x = time_axis(result.seconds)

    def line(name: str, colour: str, dash: str, count: Callable[[Sample], int]) -> Line:
        points = [
            (time.of(after.at), (count(after) - count(before)) / max(after.at - before.at, 1e-3))
            for before, after in pairwise(shown)
        ]
        return Line(name=name, colour=colour, points=points, dash=dash)

    failed = sum(result.poll_errors.values())
    lines = [line("polls", "room-joined", "solid", lambda sample: sample.polls)]
    lines += [line("failed", "failed", "dash", lambda sample: sample.failed_polls)] if failed else []
    highest = max(y or 0 for line in lines for _, y in line.points)
    mean = result.polls / max(result.seconds, 1e-3)
    caption = f"{result.polls:,} polls, {figure(mean)} per second on average; {failed:,} failed."
    plot = Plot(x=x, y=Axis(title="per second", high=1.05 * max(highest, 1)), series=lines)
    return Chart(name=name, heading=heading, plot=plot, caption=caption)


def sessions_charts(result: LoadResult) -> list[Chart]:
    """Return the chart of sessions by state, and one of waiting conversations if there were any."""
    heading, name = "Sessions by state", "sessions"
    if not result.samples:
        return [Chart(name=name, heading=heading, plot=None, caption=NO_SAMPLES)]
    busiest = max(result.samples, key=_running)
    caption = f"Most sessions at once: {_running(busiest):,}, at {figure(busiest.at)} s ({_by_state(busiest)})."
    shown = peaks(result.samples, lambda sample: _running(sample) + sample.waiting, MOST_MOMENTS)
    chosen = _chosen(result.samples, shown, "the busiest")
    charts = [Chart(name=name, heading=heading, plot=_sessions(shown, result.seconds), caption=caption + chosen)]
    most = max(sample.waiting for sample in result.samples)
    if most:
        time, x = time_axis(result.seconds)
        area = Area(
            name="waiting", colour="waiting", points=[(time.of(sample.at), 0, sample.waiting) for sample in shown]
        )
        caption = f"Most at once: {most:,}. They were due, and waited for a place or for their connect's turn.{chosen}"
        plot = Plot(x=x, y=count_axis("conversations", most), series=[area])
        charts.append(Chart(name="waiting", heading="Waiting conversations", plot=plot, caption=caption))
    return charts


def _running(sample: Sample) -> int:
    return sum(sample.states.get(state, 0) for state in COLOURS)


def _by_state(sample: Sample) -> str:
    return ", ".join(f"{state} {sample.states.get(state, 0):,}" for state in reversed(list(COLOURS)))


def _chosen(all_of: Sequence[Sample], shown: Sequence[Sample], which: str) -> str:
    run = -(-len(all_of) // MOST_MOMENTS)
    return "" if len(shown) == len(all_of) else f" Each point is {which} of {run} samples."


def _sessions(samples: Sequence[Sample], seconds: float) -> Plot:
    time, x = time_axis(seconds)
    low, areas = [0] * len(samples), []
    for state, colour in COLOURS.items():
        high = [below + sample.states.get(state, 0) for below, sample in zip(low, samples, strict=True)]
        points = [(time.of(sample.at), below, above) for sample, below, above in zip(samples, low, high, strict=True)]
        areas.append(Area(name=str(state), colour=colour, points=points))
        low = high
    return Plot(x=x, y=count_axis("sessions", max(low)), series=areas)


def failures_chart(result: LoadResult) -> Chart | None:
    """Return the chart of failed conversations; None if none failed."""
    due = [attempt.due for attempt in result.attempts if attempt.failure is not None]
    if not due:
        return None
    arrivals = max(attempt.due for attempt in result.attempts)
    time, x = due_axis(arrivals)
    bins = bin_up([time.of(moment) for moment in due], time.of(arrivals), MOST_BINS)
    bars = Bars(
        name="failed",
        colour="failed",
        edges=bins.edges,
        counts=bins.counts,
        hints=[
            f"{figure(low)} to {figure(high)} {time.name}: {count:,}"
            for (low, high), count in zip(pairwise(bins.edges), bins.counts, strict=True)
        ],
    )
    return Chart(
        name="failures-over-time",
        heading="Failed conversations by due time",
        plot=Plot(x=x, y=count_axis(f"failed per {figure(bins.width)} {time.name}", max(bins.counts)), series=[bars]),
        caption=f"The first was due at {figure(min(due))} s, the last at {figure(max(due))} s.",
    )


def loop_lag_chart(result: LoadResult) -> Chart:
    """Return the chart of the load generator's event-loop lag."""
    heading, name = "Event-loop lag of the load generator", "loop-lag"
    if not result.samples:
        return Chart(name=name, heading=heading, plot=None, caption=NO_SAMPLES)
    worst = max(result.samples, key=lambda sample: sample.loop_lag)
    shown = peaks(result.samples, lambda sample: sample.loop_lag, MOST_MOMENTS)
    unit, (time, x) = unit_of_latency(worst.loop_lag), time_axis(result.seconds)
    line = Line(
        name="lag", colour="waiting", points=[(time.of(sample.at), unit.of(sample.loop_lag)) for sample in shown]
    )
    caption = f"The longest lag between two samples; at most {latency(worst.loop_lag)}, at {figure(worst.at)} s. "
    caption += "Where it is high, the load generator was the bottleneck."
    y = Axis(title=f"lag, {unit.name}", high=1.05 * max(unit.of(worst.loop_lag), 1e-3))
    return Chart(
        name=name,
        heading=heading,
        plot=Plot(x=x, y=y, series=[line]),
        caption=caption + _chosen(result.samples, shown, "the longest"),
    )
