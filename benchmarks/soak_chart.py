"""The charts of a soak, as an HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trends import Verdict

COLUMNS = 2
BLUE, RED, GREY = "#1d4ed8", "#dc2626", "#374151"


class Sampled(Protocol):
    """What was sampled."""

    times: list[float]
    figures: dict[str, list[float]]
    types: list[dict[str, int]]


def page(samples: Sampled, figures: Sequence[Verdict], types: Sequence[Verdict]) -> str:
    """Return the page: a panel for each figure, and for each of the types that grew most, with the judged slope."""
    verdicts = [*figures, *types]
    titles = [f"{each.name}: {_said(each)}" for each in verdicts]
    rows = -(-len(verdicts) // COLUMNS)
    chart = make_subplots(rows, COLUMNS, subplot_titles=titles, vertical_spacing=0.25 / rows, horizontal_spacing=0.08)
    series: Mapping[str, list[int]] = {
        each.name: [count.get(each.name, 0) for count in samples.types] for each in types
    }
    for number, each in enumerate(verdicts):
        row, column = number // COLUMNS + 1, number % COLUMNS + 1
        values: Sequence[float] = samples.figures.get(each.name) or series[each.name]
        for line in (_samples(samples.times, values), _slope(samples.times, each)):
            chart.add_trace(line, row, column)
        chart.update_yaxes(rangemode="tozero", row=row, col=column)
    chart.update_xaxes(title="seconds", title_standoff=2)
    chart.update_annotations(font_size=13)
    grown = sum(not each.passed for each in verdicts)
    chart.update_layout(
        title=f"Soak: {grown} of the figures below grew" if grown else "Soak: nothing grew",
        template="plotly_white",
        showlegend=False,
        height=240 * rows + 100,
    )
    whole: str = chart.to_html(include_plotlyjs=True, full_html=True)
    return whole


def _said(verdict: Verdict) -> str:
    what = "" if verdict.passed else "<b>GREW</b>, "
    return f"{what}{verdict.growth:+,.1f} (at least {verdict.sure:+,.1f}, limit {verdict.bound:,.1f})"


def _samples(times: Sequence[float], values: Sequence[float]) -> go.Scatter:
    return go.Scatter(x=times, y=values, mode="lines", line={"color": BLUE, "width": 1.2})


def _slope(times: Sequence[float], verdict: Verdict) -> go.Scatter:
    line, last = verdict.trend, times[-1]
    ends = [line.start, line.start + verdict.growth]
    colour = GREY if verdict.passed else RED
    return go.Scatter(
        x=[last - verdict.seconds, last], y=ends, mode="lines", line={"color": colour, "width": 3, "dash": "dash"}
    )
