"""The figures of a load test by name, and thresholds on them such as `ready_p95>20`. Pure."""

import math
import operator
import re
from collections.abc import Callable, Mapping

import attrs

from akapulu_async import ConfigurationError
from akapulu_async.load.results import Latencies, LoadResult
from akapulu_async.load.wording import figure

FAMILIES: Mapping[str, Callable[[LoadResult], Latencies]] = {
    "connect": lambda result: result.connect,
    "ready": lambda result: result.ready,
    "loop_lag": lambda result: result.loop_lag,
    "arrival_lag": lambda result: result.arrival_lag,
}
"""The distributions, in seconds."""

STATISTICS: Mapping[str, Callable[[Latencies], float | None]] = {
    "mean": lambda latencies: latencies.mean,
    "p50": lambda latencies: latencies.at(0.5),
    "p90": lambda latencies: latencies.at(0.9),
    "p95": lambda latencies: latencies.at(0.95),
    "p99": lambda latencies: latencies.at(0.99),
    "max": lambda latencies: latencies.highest,
}
"""The statistics of each distribution; None if nothing was measured."""


def _failure_rate(result: LoadResult) -> float | None:
    judged = len(result.attempts) - result.cut_short
    return sum(result.failures.values()) / judged if judged else None


COUNTS: Mapping[str, Callable[[LoadResult], float | None]] = {
    "conversations": lambda result: len(result.attempts),
    "connected": lambda result: result.connect.count,
    "ready": lambda result: result.ready.count,
    "failures": lambda result: sum(result.failures.values()),
    "failure_rate": _failure_rate,
    "unknown_connects": lambda result: result.unknown_connects,
    "interrupted": lambda result: result.cut_short,
    "polls": lambda result: result.polls,
    "failed_polls": lambda result: sum(result.poll_errors.values()),
    "retries": lambda result: result.retries,
    "seconds": lambda result: result.seconds,
}
"""The other figures. Interrupted conversations do not count in the failure rate."""

NAMES: tuple[str, ...] = (*COUNTS, *(f"{family}_{statistic}" for family in FAMILIES for statistic in STATISTICS))
"""The names of all figures."""

NAMES_IN_SHORT = f"{', '.join(COUNTS)}, and {{{'|'.join(FAMILIES)}}}_{{{'|'.join(STATISTICS)}}}"
"""The same in one line for people."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

OPPOSITES: Mapping[str, str] = {">=": "<", "<=": ">", ">": "<=", "<": ">="}

_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*", re.ASCII)


def unit(name: str) -> str:
    """Return the unit of a figure, empty for counts. Rates are shares that are shown in per cent."""
    if name == "failure_rate":
        return "%"
    return "" if name in COUNTS and name != "seconds" else "s"


def shown(name: str, value: float | None) -> str:
    """Return a figure with its unit, three significant digits; a dash if there is none."""
    return "-" if value is None else _with_unit(name, figure(_in_unit(name, value)))


def metric(result: LoadResult, name: str) -> float | None:
    """Return a figure by its name, one of `NAMES`; None if there was nothing to measure."""
    if name in COUNTS:
        return COUNTS[name](result)
    family, _, statistic = name.rpartition("_")
    return STATISTICS[statistic](FAMILIES[family](result))


def metrics(result: LoadResult) -> dict[str, float | None]:
    """Return all figures by name."""
    return {name: metric(result, name) for name in NAMES}


@attrs.frozen
class Criterion:
    """One threshold: the test fails if it is crossed."""

    metric: str
    """One of `NAMES`."""

    sign: str
    """One of `OPERATORS`."""

    limit: float

    def __str__(self) -> str:
        limit = repr(self.limit).removesuffix(".0")
        return f"{self.metric}{self.sign}{limit}"


@attrs.frozen
class Verdict:
    """A threshold and the figure it was compared with."""

    criterion: Criterion

    value: float | None
    """The figure; None if there was nothing to measure."""

    @property
    def crossed(self) -> bool:
        """True if the test failed by this threshold, also if there is no figure: no conversation got that far."""
        return self.value is None or OPERATORS[self.criterion.sign](self.value, self.criterion.limit)

    def __str__(self) -> str:
        """Return a line such as `PASS ready_p95 2.61 s <= 5 s`, a relation that holds."""
        name, sign = self.criterion.metric, self.criterion.sign
        limit = f"{_in_unit(name, self.criterion.limit):.10g}"
        if self.value is None:
            return f"FAIL {name} was not measured; it must be {OPPOSITES[sign]} {_with_unit(name, limit)}"
        holds = sign if self.crossed else OPPOSITES[sign]
        value = _with_unit(name, _rounded(_in_unit(name, self.value), holds, float(limit)))
        return f"{'FAIL' if self.crossed else 'PASS'} {name} {value} {holds} {_with_unit(name, limit)}"


def _in_unit(name: str, value: float) -> float:
    return 100 * value if unit(name) == "%" else value


def _with_unit(name: str, text: str) -> str:
    return f"{text} {unit(name)}".rstrip()


def _rounded(value: float, sign: str, limit: float) -> str:
    """Return a figure with three significant digits, unless its relation to the limit needs more."""
    text = figure(value)
    return text if OPERATORS[sign](float(text.replace(",", "")), limit) else f"{value:.10g}"


def parse(text: str) -> Criterion:
    """Read a threshold.

    Raises:
        ConfigurationError: The text is not a threshold; the message shows the text and the expected form.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise _unusable(text, "must be a figure, one of > >= < <=, and a number, such as ready_p95>20")
    name, sign, number = match.groups()
    if name not in NAMES:
        raise _unusable(text, f"there is no figure {name:.80}; the figures are {NAMES_IN_SHORT}")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise _unusable(text, f"{number:.80} is not a number")
    return Criterion(name, sign, limit)


def judge(criterion: Criterion, result: LoadResult) -> Verdict:
    """Compare a threshold with its figure."""
    return Verdict(criterion, metric(result, criterion.metric))


def _unusable(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r:.100}: {why}")
