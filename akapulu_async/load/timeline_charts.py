"""Charts of a load test over time: sessions by state, failures, and the load generator's lag."""

import html
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from akapulu_async.load.charts import (
    BOTTOM,
    COLOURS,
    FAILED,
    HEIGHT,
    MOST_BINS,
    MOST_CAUSES,
    MOST_MOMENTS,
    SURFACE,
    WAITING,
    Chart,
    axis,
    count_axis,
    drawn,
    due_axis,
)
from akapulu_async.load.results import LoadResult, Sample
from akapulu_async.load.series import bin_up, peaks
from akapulu_async.load.wording import counted, figure, latency, share, unit_of_latency, unit_of_test

BAR, LONGEST_LABEL = 44, 32
"""Pixels of a bar with its label; characters of the longest label."""


def sessions_chart(result: LoadResult) -> Chart:
    """Return the chart of sessions by state, and of waiting conversations."""
    heading, name = "Sessions by state over time", "sessions"
    if not result.samples:
        return Chart(name=name, heading=heading, figure=None, caption="No data: no samples were taken.")
    busiest = max(result.samples, key=_running)
    most_waiting = max(sample.waiting for sample in result.samples)
    caption = f"Most sessions at once: {_running(busiest):,}, at {figure(busiest.at)} s ({_by_state(busiest)})."
    caption += f" Most waiting at once: {most_waiting:,}." if most_waiting else " None waited."
    shown = peaks(result.samples, _busy, MOST_MOMENTS)
    caption += _chosen(result.samples, shown, "the busiest")
    drawing = _sessions(shown, result.seconds, waiting=most_waiting > 0)
    return Chart(name=name, heading=heading, figure=drawing, caption=caption)


def _running(sample: Sample) -> int:
    return sum(sample.states.get(state, 0) for state in COLOURS)


def _busy(sample: Sample) -> int:
    return _running(sample) + sample.waiting


def _by_state(sample: Sample) -> str:
    return ", ".join(f"{state} {sample.states.get(state, 0):,}" for state in reversed(list(COLOURS)))


def _chosen(all_of: Sequence[Sample], shown: Sequence[Sample], which: str) -> str:
    run = -(-len(all_of) // MOST_MOMENTS)
    return "" if len(shown) == len(all_of) else f" Each point is {which} of {run} samples."


def _sessions(samples: Sequence[Sample], seconds: float, *, waiting: bool) -> go.Figure:
    time = unit_of_test(seconds)
    at = [time.of(sample.at) for sample in samples]
    traces = [
        go.Scatter(
            x=at,
            y=[sample.states.get(state, 0) for sample in samples],
            name=str(state),
            stackgroup="states",
            fillcolor=colour,
            line={"color": SURFACE, "width": 0.5},
            hovertemplate=f"{state} %{{y:,}}<extra></extra>",
        )
        for state, colour in COLOURS.items()
    ]
    x = axis(f"{time.name} since the start", showgrid=False)
    y = count_axis("sessions", max(_running(sample) for sample in samples))
    if not waiting:
        return drawn(traces, x=x, y=y, hovermode="x unified")
    traces.append(
        go.Scatter(
            x=at,
            y=[sample.waiting for sample in samples],
            name="waiting",
            yaxis="y2",
            fill="tozeroy",
            fillcolor=WAITING,
            line={"color": WAITING, "width": 1},
            hovertemplate="waiting %{y:,}<extra></extra>",
        )
    )
    below = axis("waiting", domain=[0, 0.24], nticks=3, tickformat=",")
    return drawn(
        traces,
        x=x | {"anchor": "y2"},
        y=y | {"domain": [0.34, 1]},
        yaxis2=below,
        hovermode="x unified",
        height=HEIGHT + 80,
    )


def failures_charts(result: LoadResult) -> list[Chart]:
    """Return the charts of failures by cause and over time."""
    by_cause, over_time = ("failures-by-cause", "Failures by cause"), ("failures-over-time", "Failures over time")
    causes = ordered(result.failures)
    if not causes:
        return [
            Chart(name=name, heading=heading, figure=None, caption="No attempt failed.")
            for name, heading in (by_cause, over_time)
        ]
    failed = sum(result.failures.values())
    caption = (
        f"{failed:,} of {counted(len(result.attempts), 'attempt', 'attempts')} failed; the table lists all causes."
    )
    charts = [Chart(name=by_cause[0], heading=by_cause[1], figure=_by_cause(causes, failed), caption=caption)]
    due = [attempt.due for attempt in result.attempts if attempt.failure is not None]
    if due:
        caption = (
            f"Failed attempts by due time: the first was due at {figure(min(due))} s, the last at {figure(max(due))} s."
        )
        drawing = _failures_over_time(due, result)
        charts.append(Chart(name=over_time[0], heading=over_time[1], figure=drawing, caption=caption))
    return charts


def ordered(failures: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the causes and their counts, most frequent first."""
    return sorted(failures.items(), key=lambda item: (-item[1], item[0]))


def _by_cause(causes: Sequence[tuple[str, int]], failed: int) -> go.Figure:
    shown = list(causes[:MOST_CAUSES])
    if rest := causes[MOST_CAUSES:]:
        shown.append((f"{len(rest):,} other causes", sum(count for _, count in rest)))
    rows = list(range(len(shown)))
    bars = go.Bar(
        x=[count for _, count in shown],
        y=rows,
        orientation="h",
        width=0.42,
        name="failed",
        marker={"color": FAILED},
        hovertemplate="%{x:,}<extra></extra>",
    )
    labels = [
        {
            "text": f"{count:,} ({share(count, failed)}) {_label(cause)}",
            "x": 0,
            "y": row,
            "xref": "paper",
            "yref": "y",
            "yshift": 18,
            "xanchor": "left",
            "showarrow": False,
        }
        for row, (cause, count) in zip(rows, shown, strict=True)
    ]
    return drawn(
        [bars],
        x=count_axis("failed attempts", max(count for _, count in shown)),
        # The most frequent cause is at the top; each bar has its label above it.
        y=axis("", range=[len(shown) - 0.5, -0.8], visible=False),
        annotations=labels,
        height=BAR * len(shown) + BOTTOM + 24,
        margin={"t": 8, "b": BOTTOM, "l": 8, "r": 12},
    )


def _label(cause: str) -> str:
    """Escape a cause for the chart's markup, and shorten it."""
    return html.escape(cause if len(cause) <= LONGEST_LABEL else cause[: LONGEST_LABEL - 1] + "…", quote=False)


def _failures_over_time(due: Sequence[float], result: LoadResult) -> go.Figure:
    time, x = due_axis(max(attempt.due for attempt in result.attempts))
    bins = bin_up([time.of(moment) for moment in due], max(time.of(moment) for moment in due), MOST_BINS)
    bars = go.Bar(
        x=[edge + bins.width / 2 for edge in bins.edges[:-1]],
        y=bins.counts,
        width=bins.width,
        name="failed",
        marker={"color": FAILED, "line": {"width": 0}},
        hovertemplate="%{y:,}<extra></extra>",
    )
    y = count_axis(f"failed attempts per {figure(bins.width)} {time.name}", max(bins.counts))
    return drawn([bars], x=x | {"showgrid": False}, y=y)


def loop_lag_chart(result: LoadResult) -> Chart:
    """Return the chart of the load generator's event-loop lag."""
    heading, name = "Event-loop lag over time", "loop-lag"
    if not result.samples:
        return Chart(name=name, heading=heading, figure=None, caption="No data: no samples were taken.")
    worst = max(result.samples, key=lambda sample: sample.loop_lag)
    shown = peaks(result.samples, lambda sample: sample.loop_lag, MOST_MOMENTS)
    unit, time = unit_of_latency(worst.loop_lag), unit_of_test(result.seconds)
    line = go.Scatter(
        x=[time.of(sample.at) for sample in shown],
        y=[unit.of(sample.loop_lag) for sample in shown],
        mode="lines",
        name="lag",
        line={"color": WAITING, "width": 1.5},
        hovertemplate=f"%{{y:.3~f}} {unit.name}<extra></extra>",
    )
    caption = f"The longest lag between two samples; at most {latency(worst.loop_lag)}, at {figure(worst.at)} s. "
    caption += "Where it is high, the load generator was the bottleneck."
    return Chart(
        name=name,
        heading=heading,
        figure=drawn([line], x=axis(f"{time.name} since the start", showgrid=False), y=axis(f"lag, {unit.name}")),
        caption=caption + _chosen(result.samples, shown, "the longest"),
    )
