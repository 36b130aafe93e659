"""The common parts of the charts: distinguishable colours, and round axes."""

import math
import re
from collections.abc import Sequence
from importlib import resources
from itertools import combinations
from xml.etree.ElementTree import Element, fromstring

import attrs
import pytest

from akapulu_async import SessionState
from akapulu_async.load.charts import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    TOP,
    Area,
    Axis,
    Bars,
    Chart,
    Dots,
    Line,
    Mark,
    Plot,
    count_axis,
    draw,
    due_axis,
    time_axis,
)

STYLE = resources.files("akapulu_async.load").joinpath("report.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.+?)\}", STYLE, re.DOTALL)
)
SCHEMES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
STATES = [f"--{colour}" for colour in COLOURS.values()]

Triple = Sequence[float]
# How colours look without one type of cone: Machado, Oliveira and Fernandes, 2009.
SIGHTS: dict[str, Sequence[Triple]] = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
TO_XYZ = ((0.4339, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0178, 0.1098, 0.8730))  # with white as 1, 1, 1


def linear(colour: str) -> Triple:
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def apply(matrix: Sequence[Triple], colour: Triple) -> Triple:
    return [sum(factor * share for factor, share in zip(row, colour, strict=True)) for row in matrix]


def contrast(one: str, other: str) -> float:
    """Return the contrast as WCAG 2 defines it."""
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in map(linear, (one, other)))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, sight: Sequence[Triple]) -> Triple:
    seen = [min(max(share, 0), 1) for share in apply(sight, linear(colour))]
    x, y, z = (math.cbrt(share) if share > 0.008856 else 7.787 * share + 16 / 116 for share in apply(TO_XYZ, seen))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, other: str, sight: Sequence[Triple]) -> float:
    """Return the difference of two colours as CIE 1976 defines it; 2 is just noticeable."""
    return math.dist(lab(one, sight), lab(other, sight))


def test_each_state_has_its_colour() -> None:
    """Each state but the last has a colour of its own, defined in the style sheet."""
    assert set(COLOURS) == set(SessionState) - {SessionState.ENDED}
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert all(f".c-{colour} " in STYLE for colour in COLOURS.values())


def test_both_schemes_have_all_colours() -> None:
    """Each colour is defined in the light and in the dark scheme, and differs."""
    assert LIGHT.keys() == DARK.keys()
    assert {name for name in LIGHT if LIGHT[name] == DARK[name]} == set()


@SCHEMES
@pytest.mark.parametrize("sight", SIGHTS)
def test_states_are_distinguishable(palette: dict[str, str], sight: str) -> None:
    """The colours of the states differ clearly, for all kinds of colour vision."""
    for one, other in combinations(STATES, 2):
        assert distance(palette[one], palette[other], SIGHTS[sight]) > 20, (one, other)


@SCHEMES
def test_contrast(palette: dict[str, str]) -> None:
    """Text and marks have enough contrast with every background."""
    for ground in ("--page", "--surface", "--warning", "--pass", "--fail"):
        assert contrast(palette["--text"], palette[ground]) >= 7, ground
    for ground in ("--page", "--surface"):
        assert contrast(palette["--muted"], palette[ground]) >= 4.5, ground
    for mark in (*STATES, "--failed", "--waiting"):
        assert contrast(palette[mark], palette["--surface"]) >= 3, mark


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (count_axis("things", 0), [0, 1]),
        (count_axis("things", 4), [0, 1, 2, 3, 4]),
        (count_axis("things", 700), [0, 200, 400, 600]),
        (Axis(title="s", low=1.2, high=2.6), [1.5, 2.0, 2.5]),
        (Axis(title="ms", high=0.03), [0, 0.01, 0.02, 0.03]),
    ],
)
def test_ticks_are_round_and_within_the_axis(axis: Axis, ticks: list[float]) -> None:
    """The marked values are round, within the axis, and whole on an axis of counts."""
    assert axis.ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("arrivals", "unit", "end"), [(0.0, "s", 1.0), (200.0, "s", 200.0), (1200.0, "min", 20.0), (36_000.0, "h", 10.0)]
)
def test_axes_of_time(arrivals: float, unit: str, end: float) -> None:
    """The axes of due times and of the test's moments cover all, in a unit that fits."""
    found, axis = due_axis(arrivals)
    assert found.name == unit
    assert axis.low < 0 < end < axis.high
    assert f", {unit} " in axis.title
    found, axis = time_axis(arrivals)
    assert (found.name, axis.low, axis.high) == (unit, 0, end)


X, Y = Axis(title="s", high=10), Axis(title="<things>", high=4)
BARS = Bars(name="bars", colour="failed", edges=[0, 5, 10], counts=[4, 0], hints=["<four>", "none"])
DOTS = Dots(name="dots", colour="bot-ready", points=[(5, 2)], hints=["a dot"])
GAP = Line(name="<line>", colour="text", points=[(0, 0), (5, 4), (6, None), (7, 2)], dash="dash")
AREA = Area(name="area", colour="waiting", points=[(0, 0, 2), (10, 1, 4)])
DEEP = HEIGHT - TOP - BOTTOM


def parsed(chart: Chart) -> Element:
    return fromstring(draw(chart))  # noqa: S314 - our own


def drawn(*series: Bars | Dots | Line | Area, marks: Sequence[Mark] = ()) -> Element:
    """Return the drawing of a chart as parsed elements."""
    plot = Plot(x=X, y=Y, series=series, marks=marks)
    return parsed(Chart(name="a-chart", heading="<h>", plot=plot, caption="In words."))


def one(drawing: Element, tag: str, of_class: str) -> dict[str, str]:
    """Return the attributes of the only element of a class."""
    (found,) = (each for each in drawing.iter(tag) if of_class in each.get("class", "").split())
    return found.attrib


def test_bars_are_drawn_to_scale() -> None:
    """A bar spans its interval in per cent, reaches its count, and has its hint; an empty one is not drawn."""
    bar = one(drawn(BARS), "rect", "bar")
    assert (bar["x"], bar["width"], float(bar["y"]), float(bar["height"])) == ("0.00%", "50.00%", TOP, DEEP)
    assert bar["class"] == "bar c-failed"
    assert [hint.text for hint in drawn(BARS).iter("title")] == ["<four>"]


def test_dots_are_drawn_to_scale() -> None:
    """A dot is at its place, in per cent across and in pixels down."""
    dot = one(drawn(DOTS), "circle", "dot")
    assert (dot["cx"], float(dot["cy"])) == ("50.00%", TOP + DEEP / 2)


def test_lines_have_gaps() -> None:
    """A line is interrupted where there is no value."""
    line = one(drawn(GAP), "path", "line")
    assert line["d"] == f"M0.0 {DEEP}.0L500.0 0.0M700.0 {DEEP / 2}"
    assert "dash" in line["class"].split()


def test_areas_are_closed() -> None:
    """An area goes along its upper line and back along the lower one."""
    assert one(drawn(AREA), "path", "area")["d"] == (f"M0.0 {DEEP / 2}L1000.0 0.0L1000.0 {DEEP * 3 / 4}L0.0 {DEEP}.0Z")


def test_what_is_beyond_the_axis_is_cut_off() -> None:
    """A value above the axis is drawn at its end."""
    assert float(one(drawn(attrs.evolve(DOTS, points=[(5, 400)])), "circle", "dot")["cy"]) == TOP


def test_marks_have_labels_with_room() -> None:
    """Each label has its own height, on the side of its line where there is more room."""
    marks = [Mark(at=at, label=f"at {at}", dash="solid") for at in (2, 8)]
    labels = [each for each in drawn(BARS, marks=marks).iter("text") if "mark" in each.get("class", "")]
    assert [label.text for label in labels] == ["at 2", "at 8"]
    assert ["end" in label.get("class", "") for label in labels] == [False, True]
    assert len({label.get("y") for label in labels}) == 2


def test_legend() -> None:
    """There is a legend only for two series or more."""
    assert list(drawn(BARS).iter("span")) == []
    assert ["".join(item.itertext()) for item in drawn(DOTS, GAP, AREA).iter("span")] == ["dots", "<line>", "area"]


def test_a_chart_without_data_has_a_caption() -> None:
    """Without data, the heading and the caption are there, and no drawing."""
    figure = parsed(Chart(name="none", heading="Nothing", plot=None, caption="No data."))
    assert [(each.tag, each.text) for each in figure] == [("h3", "Nothing"), ("figcaption", "No data.")]


def test_every_class_has_a_style() -> None:
    """Colours and dashes of a drawing are defined in the style sheet."""
    classes = {name for each in drawn(BARS, DOTS, GAP, AREA).iter() for name in each.get("class", "").split()} - {
        "few",
        "solid",
        "start",
    }
    assert {name for name in classes if f".{name} " not in STYLE and f".{name}," not in STYLE} == set()
