"""Charts as values, and their drawing as inline SVG.

Each chart has a bounded number of marks, however long the test was: it is binned, rolling or thinned, and says so.
Colours are names of CSS variables, so a chart follows the page's colour scheme, and needs no script.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

import attrs

from akapulu_async import SessionState
from akapulu_async.load.series import nice_step
from akapulu_async.load.wording import Unit, figure, unit_of_test

MOST_BINS, MOST_DOTS, MOST_MOMENTS = 40, 1_500, 600
"""About the most marks of each kind in a chart; the caption says what is left out."""

COLOURS: Mapping[SessionState, str] = {
    SessionState.BOT_READY: "bot-ready",
    SessionState.ROOM_JOINED: "room-joined",
    SessionState.CONNECTING: "connecting",
}
"""The colour of each state in all charts, in the order of the stacked areas, from the bottom up."""

HEIGHT, TOP, BOTTOM, LINE = 300, 28, 44, 17
"""Pixels: height of a chart, of the space above and below its axes, and of a line of text."""

TICKS = 5
"""About the most ticks of an axis, not counting its start."""

FEW = 200
"""Most dots that are drawn large."""

WIDE = 1000
"""Width of the coordinates of lines and areas, which are stretched to the width of the chart."""


@attrs.frozen(kw_only=True)
class Axis:
    """An axis from `low` to `high`, which is above it."""

    title: str
    low: float = 0.0
    high: float
    whole: bool = False
    """Only whole numbers are marked."""

    def share(self, value: float) -> float:
        """Return the place of a value: 0 at the start, 1 at the end."""
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """The marked values."""
        step = nice_step(self.high - self.low, TICKS)
        if self.whole:
            step = max(1.0, round(step))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@attrs.frozen(kw_only=True)
class Bars:
    """Counts in intervals; there is one edge more than counts."""

    name: str
    colour: str
    edges: Sequence[float]
    counts: Sequence[int]
    hints: Sequence[str]
    """Shown when a pointer rests on a bar."""


@attrs.frozen(kw_only=True)
class Dots:
    """Points, each with a hint as in `Bars`."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    hints: Sequence[str]


@attrs.frozen(kw_only=True)
class Line:
    """A line through points, with a gap where there is no value."""

    name: str
    colour: str
    points: Sequence[tuple[float, float | None]]
    dash: str = "solid"


@attrs.frozen(kw_only=True)
class Area:
    """The area between two lines: x, lower y, upper y."""

    name: str
    colour: str
    points: Sequence[tuple[float, float, float]]


@attrs.frozen(kw_only=True)
class Mark:
    """A vertical line with a label."""

    at: float
    label: str
    dash: str


@attrs.frozen(kw_only=True)
class Plot:
    """Data with axes; a value beyond an axis is left out, or cut off at its end."""

    x: Axis
    y: Axis
    series: Sequence[Bars | Dots | Line | Area]
    marks: Sequence[Mark] = ()


@attrs.frozen(kw_only=True)
class Chart:
    """A chart with its heading and caption."""

    name: str
    """Its id in the page; letters and hyphens."""

    heading: str

    plot: Plot | None
    """None if there is no data."""

    caption: str
    """Its content in words, for readers who cannot see it, and what it leaves out."""


def count_axis(title: str, highest: float) -> Axis:
    """Return an axis of whole numbers from 0."""
    return Axis(title=title, high=max(1.0, 1.05 * highest), whole=True)


def due_axis(arrivals: float) -> tuple[Unit, Axis]:
    """Return an axis for due times, the last of them after `arrivals` seconds, and its unit."""
    unit = unit_of_test(arrivals)
    end = unit.of(max(arrivals, 1.0))
    return unit, Axis(title=f"due, {unit.name} since the test began", low=-0.02 * end, high=1.02 * end)


def time_axis(seconds: float) -> tuple[Unit, Axis]:
    """Return an axis for the moments of a test of this length, and its unit."""
    unit = unit_of_test(seconds)
    return unit, Axis(title=f"{unit.name} since the test began", high=unit.of(max(seconds, 1.0)))


def draw(chart: Chart) -> str:
    """Return a chart as HTML; without data, its heading and caption alone."""
    caption = f"<figcaption id='{chart.name}-words'>{escape(chart.caption)}</figcaption>"
    heading = f"<h3 id='{chart.name}-heading'>{escape(chart.heading)}</h3>"
    if chart.plot is None:
        return f"<figure>{heading}{caption}</figure>"
    labels = f"aria-labelledby='{chart.name}-heading' aria-describedby='{chart.name}-words'"
    height = HEIGHT + len(chart.plot.marks) * LINE
    drawing = f"<svg class='chart' id='{chart.name}' role='img' {labels} height='{height}'>{_Drawing(chart.plot)}</svg>"
    return f"<figure>{heading}{_legend(chart.plot)}{drawing}{caption}</figure>"


def _legend(plot: Plot) -> str:
    if len(plot.series) == 1:
        return ""
    items = "".join(
        f"<span><svg width='18' height='12' class='c-{each.colour}'>{_swatch(each)}</svg>{escape(each.name)}</span>"
        for each in plot.series
    )
    return f"<div class='legend'>{items}</div>"


def _swatch(series: Bars | Dots | Line | Area) -> str:
    if isinstance(series, Line):
        return f"<path class='line {series.dash}' d='M0 6H18'/>"
    return "<circle class='dot' cx='9' cy='6' r='4'/>" if isinstance(series, Dots) else "<rect width='18' height='12'/>"


class _Drawing:
    """The elements of a plot. Across, coordinates are per cent, so that text keeps its size at any width."""

    def __init__(self, plot: Plot) -> None:
        self._plot = plot
        self._top = TOP + len(plot.marks) * LINE
        self._high = HEIGHT - TOP - BOTTOM

    def __str__(self) -> str:
        draw = {Bars: self._bars, Dots: self._dots, Line: self._line, Area: self._area}
        series = "".join(part for each in self._plot.series for part in draw[type(each)](each))  # type: ignore[operator]
        return "".join(self._axes()) + series + "".join(self._marks())

    def _x(self, value: float) -> str:
        return f"{100 * self._plot.x.share(value):.2f}%"

    def _y(self, value: float) -> float:
        return self._top + self._high * (1 - min(self._plot.y.share(value), 1.0))

    def _axes(self) -> Iterator[str]:
        x, y, end = self._plot.x, self._plot.y, self._top + self._high
        yield f"<text class='title' x='-4' y='{LINE}'>{escape(y.title)}</text>"
        yield f"<text class='title end' x='100%' y='{end + 38}'>{escape(x.title)}</text>"
        for tick in y.ticks:
            at = self._y(tick)
            yield f"<line class='grid' x2='100%' y1='{at:.1f}' y2='{at:.1f}'/>"
            yield f"<text class='end' x='-6' y='{at + 4:.1f}'>{figure(tick)}</text>"
        for tick in x.ticks:
            yield f"<text class='middle' x='{self._x(tick)}' y='{end + 18}'>{figure(tick)}</text>"

    def _bars(self, bars: Bars) -> Iterator[str]:
        for (left, right), count, hint in zip(pairwise(bars.edges), bars.counts, bars.hints, strict=True):
            if count:
                width = 100 * (self._plot.x.share(right) - self._plot.x.share(left))
                height = self._top + self._high - self._y(count)
                yield (
                    f"<rect class='bar c-{bars.colour}' x='{self._x(left)}' width='{width:.2f}%' "
                    f"y='{self._y(count):.1f}' height='{height:.1f}'><title>{escape(hint)}</title></rect>"
                )

    def _dots(self, dots: Dots) -> Iterator[str]:
        few = len(dots.points) <= FEW
        yield f"<g class='{'few' if few else 'many'} c-{dots.colour}'>"
        for (x, y), hint in zip(dots.points, dots.hints, strict=True):
            yield (
                f"<circle class='dot' cx='{self._x(x)}' cy='{self._y(y):.1f}' r='{3.5 if few else 2.5}'>"
                f"<title>{escape(hint)}</title></circle>"
            )
        yield "</g>"

    def _line(self, line: Line) -> Iterator[str]:
        path, pen = [], "M"
        for x, y in line.points:
            if y is not None:
                path.append(f"{pen}{self._point(x, y)}")
            pen = "M" if y is None else "L"
        yield self._stretched(f"<path class='line {line.dash} c-{line.colour}' d='{''.join(path)}'/>")

    def _area(self, area: Area) -> Iterator[str]:
        around = [self._point(x, high) for x, _, high in area.points]
        around += [self._point(x, low) for x, low, _ in reversed(area.points)]
        yield self._stretched(f"<path class='area c-{area.colour}' d='M{'L'.join(around)}Z'/>")

    def _point(self, x: float, y: float) -> str:
        return f"{WIDE * self._plot.x.share(x):.1f} {self._y(y) - self._top:.1f}"

    def _stretched(self, path: str) -> str:
        box = f"viewBox='0 0 {WIDE} {self._high}' preserveAspectRatio='none'"
        return f"<svg {box} width='100%' height='{self._high}' y='{self._top}'>{path}</svg>"

    def _marks(self) -> Iterator[str]:
        """Yield vertical lines and their labels, each label at its own height and on the side with enough room."""
        for number, mark in enumerate(self._plot.marks):
            x, y = self._x(mark.at), self._top - (number + 1) * LINE + 4
            leftward = self._plot.x.share(mark.at) > 0.5  # noqa: PLR2004 - the middle
            yield f"<line class='line {mark.dash} c-text' x1='{x}' x2='{x}' y1='{y}' y2='{self._top + self._high}'/>"
            side, shift = ("end", -4) if leftward else ("start", 4)
            yield f"<text class='mark {side}' x='{x}' dx='{shift}' y='{y + 10}'>{escape(mark.label)}</text>"
