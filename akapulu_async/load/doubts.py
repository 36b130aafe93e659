"""Whether the load generator itself was the bottleneck. Pure."""

from collections.abc import Iterator

from akapulu_async.load.results import LoadResult

MOST_LAG = 0.05
"""Seconds by which the loop or the arrivals may be late, at their 99th percentile."""

MOST_CPU = 0.9
"""Share of a core past which more load could not have been sent. One event loop uses one core."""

_REMEDY = "leave it a core to itself, or use fewer conversations a process, or a longer --poll-interval"


def doubts(result: LoadResult) -> Iterator[str]:
    """Yield what makes the figures doubtful, each in a sentence or two."""
    if result.interrupted:
        yield "It was interrupted: what ran was ended, and the figures are those of what was measured until then."
    lag = result.loop_lag.at(0.99)
    if lag is not None and lag > MOST_LAG:
        yield (
            f"The load generator was the bottleneck: its event loop was up to {lag:.3f} s late (p99), "
            f"which makes latencies too long by as much; {_REMEDY}."
        )
    late = result.arrival_lag.at(0.99)
    if late is not None and late > MOST_LAG:
        yield (
            f"The load generator did not keep its schedule: arrivals were up to {late:.3f} s late (p99), "
            f"which the latencies include; {_REMEDY}, or a lower --rate."
        )
    if result.cpu_share is not None and result.cpu_share > MOST_CPU:
        yield f"The load generator used {result.cpu_share:.0%} of a core, which is all that it can use; {_REMEDY}."
