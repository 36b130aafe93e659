"""Figures as people read them."""

import attrs


@attrs.frozen
class Unit:
    """A unit of time to show seconds in."""

    name: str
    """As it stands behind a figure."""

    seconds: float
    """How long one is."""

    def of(self, seconds: float) -> float:
        """Return how many of it that is."""
        return seconds / self.seconds


MILLISECONDS, SECONDS = Unit("ms", 1e-3), Unit("s", 1.0)
MINUTES, HOURS = Unit("min", 60.0), Unit("h", 3600.0)


def unit_of_latency(seconds: float) -> Unit:
    """Return the unit for latencies up to this one: nobody compares them in minutes."""
    return MILLISECONDS if seconds < 1 else SECONDS


def unit_of_test(seconds: float) -> Unit:
    """Return the unit for the moments of a test that takes so long."""
    return SECONDS if seconds < 300 else MINUTES if seconds < 3 * 3600 else HOURS  # noqa: PLR2004


def figure(value: float) -> str:
    """Return a figure with three significant digits, or all those before the point: 0.0312, 2.31, 1,234."""
    if value == 0:
        return "0"
    exact = f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004
    return f"{value:.6f}".rstrip("0") if "e" in exact else exact


def latency(seconds: float | None) -> str:
    """Return a latency with its unit; a dash if there is none."""
    if seconds is None:
        return "-"
    unit = unit_of_latency(seconds)
    return f"{figure(unit.of(seconds))} {unit.name}"


def span(seconds: float) -> str:
    """Return how long something took: 12.3 s, 5 min 12 s, 2 h 3 min."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{figure(seconds)} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def share(part: int, whole: int) -> str:
    """Return a part in per cent, so that some is never told as none, nor most as all."""
    if part in {0, whole}:
        return "0 %" if part == 0 else "100 %"
    percent = 100 * part / whole
    return "< 0.1 %" if percent < 0.1 else "> 99.9 %" if percent > 99.9 else f"{percent:.1f} %"  # noqa: PLR2004


def counted(count: int, one: str, many: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many}"
