"""The chart of polls against lag, as an HTML page that needs nothing else."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

COLOURS = {
    "fixed": "#6b7280",
    "progress": "#0f766e",
    "plain rule, 1.0": "#d97706",
    "learned quantiles": "#7c3aed",
    "best schedule for p95": "#be185d",
}
SHAPES = {"uniform": "steps at uniformly drawn times", "sticks, uniform": "the same, but stuck half-way"}
LAGS = {"mean": "mean lag", "p95": "p95 lag", "p99": "p99 lag"}
DEFAULT = 0.5  # seconds: the interval as shipped
HIGHEST = 2.0  # seconds of lag shown
MOST = 32  # polls shown


def chart(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page: a row for each shape, a panel for each lag, a line for each policy, the shipped ones marked."""
    titles = [f"{lag}, {shape}" for shape in SHAPES.values() for lag in LAGS.values()]
    figure = make_subplots(
        len(SHAPES), len(LAGS), subplot_titles=titles, shared_yaxes=True, vertical_spacing=0.16, horizontal_spacing=0.04
    )
    curves = [row for row in rows if row["table"] == "curves"]
    for line, shape in enumerate(SHAPES, start=1):
        for column, lag in enumerate(LAGS, start=1):
            for policy in COLOURS:
                points = [row for row in curves if (row["shape"], row["policy"]) == (shape, policy)]
                figure.add_trace(_line(policy, points, lag, legend=(line, column) == (1, 1)), line, column)
            figure.update_xaxes(title="polls a session", range=[0, MOST], row=line, col=column)
        figure.update_yaxes(title="seconds from ready to seen", row=line, col=1)
    figure.update_yaxes(range=[0, HIGHEST])
    figure.update_layout(
        title="What a poll buys: simulated bots, ready after about 12 s (lognormal). Stars: as shipped.",
        template="plotly_white",
        legend={"orientation": "h", "y": -0.1},
        height=860,
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page


def _line(policy: str, points: Sequence[dict[str, Any]], lag: str, *, legend: bool) -> go.Scatter:
    shipped = [policy in {"fixed", "progress"} and row["interval"] == DEFAULT for row in points]
    return go.Scatter(
        x=[row["requests"] for row in points],
        y=[row[lag] for row in points],
        name=policy,
        legendgroup=policy,
        showlegend=legend,
        mode="lines+markers",
        opacity=1,
        line={"color": COLOURS[policy], "width": 2},
        marker={
            "size": [16 if each else 5 for each in shipped],
            "symbol": ["star" if each else "circle" for each in shipped],
            "opacity": 1,
        },
        customdata=["as shipped" if each else "" for each in shipped],
        hovertemplate=f"%{{x:.1f}} polls, %{{y:.2f}} s %{{customdata}}<extra>{policy}</extra>",
    )
