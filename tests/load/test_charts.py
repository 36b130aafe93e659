"""The common parts of the charts: distinguishable colours, and round axes."""

import math
import re
from collections.abc import Sequence
from importlib import resources
from itertools import combinations

import pytest

from akapulu_async import SessionState
from akapulu_async.load import charts
from akapulu_async.load.charts import COLOURS, count_axis, drawn, due_axis

STYLE = resources.files("akapulu_async.load").joinpath("report.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.+?)\}", STYLE, re.DOTALL)
)
SCHEMES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
STATES = [colour[4:-1] for colour in COLOURS.values()]

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
    """Each state but the last has a colour of its own."""
    assert set(COLOURS) == set(SessionState) - {SessionState.ENDED}
    used = [*COLOURS.values(), charts.FAILED, charts.WAITING, charts.TEXT, charts.GRID, charts.SURFACE]
    assert len(set(used)) == len(used)


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
    for ground in ("--page", "--surface", "--warning"):
        assert contrast(palette["--text"], palette[ground]) >= 7, ground
    for ground in ("--page", "--surface"):
        assert contrast(palette["--muted"], palette[ground]) >= 4.5, ground
    for mark in (*STATES, "--failed", "--waiting"):
        assert contrast(palette[mark], palette["--surface"]) >= 3, mark


@pytest.mark.parametrize(("highest", "step"), [(0, 1), (1, 1), (4, 1), (12, 2), (700, 200), (90_000, 20_000)])
def test_count_axis(highest: float, step: int) -> None:
    """An axis of counts has no fractional ticks."""
    assert count_axis("things", highest)["dtick"] == step


@pytest.mark.parametrize(
    ("arrivals", "unit", "end"), [(0.0, "s", 1.0), (200.0, "s", 200.0), (1200.0, "min", 20.0), (36_000.0, "h", 10.0)]
)
def test_due_axis(arrivals: float, unit: str, end: float) -> None:
    """The axis of due times covers all arrivals, in a unit that fits."""
    found, axis = due_axis(arrivals)
    assert found.name == unit
    assert axis["range"][0] < 0 < end < axis["range"][1]
    assert f", {unit} " in axis["title"]["text"]


def test_legend() -> None:
    """There is a legend only for two traces or more."""
    trace = {"type": "scatter", "x": [1], "y": [1]}
    assert not drawn([trace], x={}, y={}).layout.showlegend
    assert drawn([trace, trace], x={}, y={}).layout.showlegend
