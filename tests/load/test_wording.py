"""Figures formatted for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.load.wording import counted, figure, latency, share, span, unit_of_latency, unit_of_test


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.03124, "0.0312"), (2.314, "2.31"), (99.96, "100"), (1234.4, "1,234"), (0.0000512, "0.000051")],
)
def test_figure(value: float, text: str) -> None:
    """A figure has three significant digits, or all digits before the point."""
    assert figure(value) == text


@given(st.floats(1e-4, 1e9))
def test_figure_is_near(value: float) -> None:
    """A figure is within half a per cent of what it tells, and has no exponent."""
    text = figure(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006)
    assert "e" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0, "0 ms"), (0.01234, "12.3 ms"), (1.0, "1 s"), (3723.0, "3,723 s")]
)
def test_latency(seconds: float | None, text: str) -> None:
    """A latency is in milliseconds below a second, and in seconds from there."""
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (59.4, "59.4 s"), (59.9, "1 min 0 s"), (312, "5 min 12 s"), (7380, "2 h 3 min")],
)
def test_span(seconds: float, text: str) -> None:
    """A duration is in its two largest units."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10_000, "< 0.1 %"),
        (9_999, 10_000, "> 99.9 %"),
    ],
)
def test_share(part: int, whole: int, text: str) -> None:
    """A share that is not zero is never 0 %, and one that is not all never 100 %."""
    assert share(part, whole) == text


def test_counted() -> None:
    """A noun agrees with its count."""
    assert [counted(count, "cause", "causes") for count in (0, 1, 1500)] == ["0 causes", "1 cause", "1,500 causes"]


@pytest.mark.parametrize(("seconds", "unit", "count"), [(0.2, "ms", 200), (45, "s", 45)])
def test_unit_of_latency(seconds: float, unit: str, count: float) -> None:
    """Latencies are shown in milliseconds or seconds."""
    assert unit_of_latency(seconds).name == unit
    assert unit_of_latency(seconds).of(seconds) == pytest.approx(count)


@pytest.mark.parametrize(("seconds", "unit", "count"), [(120, "s", 120), (1800, "min", 30), (36_000, "h", 10)])
def test_unit_of_test(seconds: float, unit: str, count: float) -> None:
    """Moments of a test are shown in a unit that fits its length."""
    assert unit_of_test(seconds).name == unit
    assert unit_of_test(seconds).of(seconds) == pytest.approx(count)
