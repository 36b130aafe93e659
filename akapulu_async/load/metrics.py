"""The figures of a load test by their names, for thresholds, the summary and scripts alike. Pure."""

from collections.abc import Callable, Mapping

from akapulu_async.load.results import Latencies, LoadResult

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
"""What there is of each distribution; None if nothing was measured."""

COUNTS: Mapping[str, Callable[[LoadResult], float | None]] = {
    "conversations": lambda result: len(result.attempts),
    "connected": lambda result: result.connect.count,
    "ready": lambda result: result.ready.count,
    "failures": lambda result: sum(result.failures.values()),
    "failure_rate": lambda result: sum(result.failures.values()) / len(result.attempts) if result.attempts else None,
    "seconds": lambda result: result.seconds,
}
"""The other figures."""

NAMES: tuple[str, ...] = (*COUNTS, *(f"{family}_{statistic}" for family in FAMILIES for statistic in STATISTICS))
"""All figures that there are."""

NAMES_IN_SHORT = f"{', '.join(COUNTS)}, and {{{'|'.join(FAMILIES)}}}_{{{'|'.join(STATISTICS)}}}"
"""The same for people, in one line."""


def metric(result: LoadResult, name: str) -> float | None:
    """Return a figure by its name, one of `NAMES`; None if there was nothing to measure."""
    if name in COUNTS:
        return COUNTS[name](result)
    family, _, statistic = name.rpartition("_")
    return STATISTICS[statistic](FAMILIES[family](result))


def metrics(result: LoadResult) -> dict[str, float | None]:
    """Return all figures by their names."""
    return {name: metric(result, name) for name in NAMES}
