"""Formats figures for people."""

import attrs


@attrs.frozen
class Unit:
    """A unit of time."""

    name: str
    """Written after a figure."""

    seconds: float
    """Its length."""

    def of(self, seconds: float) -> float:
        """Convert seconds to this unit."""
        return seconds / self.seconds


MILLISECONDS, SECONDS = Unit("ms", 1e-3), Unit("s", 1.0)
MINUTES, HOURS = Unit("min", 60.0), Unit("h", 3600.0)


def unit_of_latency(seconds: float) -> Unit:
    """Return the unit for latencies up to this one; never minutes, which nobody compares."""
    return MILLISECONDS if seconds < 1 else SECONDS


def unit_of_test(seconds: float) -> Unit:
    """Return the unit for the moments of a test of this length."""
    return SECONDS if seconds < 300 else MINUTES if seconds < 3 * 3600 else HOURS  # noqa: PLR2004


def figure(value: float) -> str:
    """Format a figure with three significant digits, or all digits before the point: 0.0312, 2.31, 1,234."""
    if value == 0:
        return "0"
    exact = f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004
    return f"{value:.6f}".rstrip("0") if "e" in exact else exact


def latency(seconds: float | None) -> str:
    """Format a latency with its unit; None becomes a dash."""
    if seconds is None:
        return "-"
    unit = unit_of_latency(seconds)
    return f"{figure(unit.of(seconds))} {unit.name}"


def span(seconds: float) -> str:
    """Format a duration: 12.3 s, 5 min 12 s, 2 h 3 min."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{figure(seconds)} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def share(part: int, whole: int) -> str:
    """Format a part in per cent, without rounding some to 0 % or most to 100 %."""
    if part in {0, whole}:
        return "0 %" if part == 0 else "100 %"
    percent = 100 * part / whole
    return "< 0.1 %" if percent < 0.1 else "> 99.9 %" if percent > 99.9 else f"{percent:.1f} %"  # noqa: PLR2004


def counted(count: int, one: str, many: str) -> str:
    """Format a count with its noun."""
    return f"{count:,} {one if count == 1 else many}"
