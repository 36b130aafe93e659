"""What all charts of a load test share. Colours are the page's variables, so that charts follow its colour scheme.

Each chart holds a bounded number of marks, however long the test was: it is binned, rolling or thinned, and says so.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import plotly.graph_objects as go

from akapulu_async.load.series import nice_step
from akapulu_async.load.wording import Unit, unit_of_test
from akapulu_async.sansio.lifecycle import SessionState

MOST_BINS, MOST_DOTS, MOST_MOMENTS, MOST_CAUSES = 40, 1_500, 600, 12
"""How many marks of a kind a chart holds, about; the rest is told of in words."""

COLOURS: Mapping[SessionState, str] = {
    SessionState.BOT_READY: "var(--bot-ready)",
    SessionState.ROOM_JOINED: "var(--room-joined)",
    SessionState.CONNECTING: "var(--connecting)",
}
"""The colour of what belongs to a state, in every chart; in the order of areas, from the ground up."""

FAILED, WAITING, TEXT, GRID, SURFACE = (f"var(--{name})" for name in ("failed", "waiting", "text", "grid", "surface"))

HEIGHT, TOP, BOTTOM, LINE = 340, 64, 52, 17
"""Pixels: of a chart, of what is above and below its axes at most, and of a line of its text."""


@attrs.frozen(kw_only=True)
class Chart:
    """A chart and its words."""

    name: str
    """What the page calls it; letters and hyphens."""

    heading: str

    figure: go.Figure | None
    """None if there is nothing to show."""

    caption: str
    """What can be read from it, also for those who do not see it, and what it leaves out."""


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis from zero, unless told otherwise."""
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
    """Return an axis for when conversations were due, the last after so many seconds, and its unit."""
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
        "uirevision": "kept",  # a change of colours leaves alone what the reader zoomed into or hid
        **more,
    }
    return go.Figure(traces, layout)
