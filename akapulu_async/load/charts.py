"""The common parts of the charts. Colours are CSS variables, so charts follow the page's colour scheme.

Each chart has a bounded number of marks, however long the test was: it is binned, rolling or thinned, and says so.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import plotly.graph_objects as go

from akapulu_async import SessionState
from akapulu_async.load.series import nice_step
from akapulu_async.load.wording import Unit, unit_of_test

MOST_BINS, MOST_DOTS, MOST_MOMENTS, MOST_CAUSES = 40, 1_500, 600, 12
"""About the most marks of each kind in a chart; the caption says what is left out."""

COLOURS: Mapping[SessionState, str] = {
    SessionState.BOT_READY: "var(--bot-ready)",
    SessionState.ROOM_JOINED: "var(--room-joined)",
    SessionState.CONNECTING: "var(--connecting)",
}
"""The colour of each state in all charts, in the order of the stacked areas, from the bottom up."""

FAILED, WAITING, TEXT, GRID, SURFACE = (f"var(--{name})" for name in ("failed", "waiting", "text", "grid", "surface"))

HEIGHT, TOP, BOTTOM, LINE = 340, 64, 52, 17
"""Pixels: height of a chart, of the space above and below its axes, and of a line of text."""


@attrs.frozen(kw_only=True)
class Chart:
    """A chart with its heading and caption."""

    name: str
    """Its id in the page; letters and hyphens."""

    heading: str

    figure: go.Figure | None
    """None if there is no data."""

    caption: str
    """Its content in words, for readers who cannot see it, and what it leaves out."""


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis that starts at zero by default."""
    return {
        "title": {"text": title, "standoff": 8},
        "rangemode": "tozero",
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": TEXT,
        "zeroline": False,
        "separatethousands": True,
        **more,
    }


def count_axis(title: str, highest: float, **more: Any) -> dict[str, Any]:
    """Return an axis of whole numbers."""
    return axis(title, tickformat=",", tick0=0, dtick=max(1, round(nice_step(max(highest, 1), 5))), **more)


def due_axis(arrivals: float) -> tuple[Unit, dict[str, Any]]:
    """Return an axis for due times, the last of them after `arrivals` seconds, and its unit."""
    unit = unit_of_test(arrivals)
    end = unit.of(max(arrivals, 1.0))
    return unit, axis(f"due, {unit.name} since the test began", range=[-0.02 * end, 1.02 * end])


def drawn(traces: list[Any], *, x: dict[str, Any], y: dict[str, Any], **more: Any) -> go.Figure:
    """Return a figure in the report's style, with a legend if there is more than one trace."""
    layout = {
        "template": "none",
        "height": HEIGHT,
        "margin": {"t": TOP if len(traces) > 1 or "shapes" in more else LINE, "b": BOTTOM, "l": 56, "r": 12},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        "paper_bgcolor": SURFACE,
        "plot_bgcolor": SURFACE,
        "hoverlabel": {"bgcolor": SURFACE, "bordercolor": TEXT, "font": {"color": TEXT}},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemsizing": "constant"},
        "showlegend": len(traces) > 1,
        "bargap": 0,
        "xaxis": x,
        "yaxis": y,
        "uirevision": "kept",  # zoom and hidden traces survive a change of colours
        **more,
    }
    return go.Figure(traces, layout)
