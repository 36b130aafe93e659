"""Random results of load tests, realistic in shape."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from random import Random
from typing import Any

import attrs

from akapulu_async import EndReason, SessionState
from akapulu_async.load.charts import Chart, Plot
from akapulu_async.load.results import Attempt, Latencies, LoadResult, Sample

SETTINGS = {"conversations": "2,000", "rate": "10 a second", "base URL": "http://127.0.0.1:8000/api"}
EPOCH = datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)


def made_result(count: int, *, rate: float = 10.0, seed: int = 1, ready: float = 0.96, **more: Any) -> LoadResult:
    """Return a test of `count` conversations, `rate` per second, of which the share `ready` becomes ready."""
    random = Random(seed)
    return result_of([made_attempt(index, index / rate, random, ready) for index in range(count)], random, **more)


def plotted(chart: Chart | None) -> Plot:
    """Return the plot of a chart, which must have one."""
    assert chart is not None
    assert chart.plot is not None
    return chart.plot


def result_of(attempts: list[Attempt], random: Random, **more: Any) -> LoadResult:
    """Return a test with these attempts."""
    connect, ready, loop_lag = Latencies(), Latencies(), Latencies()
    for attempt in attempts:
        if attempt.connect_latency is not None:
            connect.add(attempt.connect_latency)
        if attempt.time_to_ready is not None:
            ready.add(attempt.time_to_ready)
    seconds = max((attempt.ended or attempt.due for attempt in attempts), default=0.0) + 0.5
    samples = tuple(made_samples(attempts, int(seconds) + 1, random))
    for sample in samples:
        loop_lag.add(sample.loop_lag)
    result = LoadResult(
        title=f"{len(attempts):,} conversations",
        settings=SETTINGS,
        started_at=EPOCH,
        seconds=seconds,
        attempts=tuple(attempts),
        samples=samples,
        connect=connect,
        ready=ready,
        loop_lag=loop_lag,
        failures=Counter(attempt.failure for attempt in attempts if attempt.failure is not None),
    )
    return attrs.evolve(result, **more)


def made_attempt(index: int, due: float, random: Random, ready: float) -> Attempt:
    """Return an attempt: slower in the middle of a minute, rarely very slow, sometimes failed."""
    began = due + random.expovariate(200)
    slowness = 1.6 if 20 < due % 60 < 35 else 1.0
    connected = began + slowness * random.lognormvariate(-1.6, 0.35)
    chance = random.random()
    if chance > ready + (1 - ready) / 2:
        failure = random.choice(["ServerError 503", "ServerError 503", "RateLimitError 429", "TransportError"])
        reason = EndReason.CONNECT_FAILED
        return Attempt(index=index, due=due, began=began, ended=connected, end_reason=reason, failure=failure)
    attempt = Attempt(index=index, due=due, began=began, session_id=f"{index:036}", connected=connected)
    joined = connected + random.lognormvariate(0, 0.2)
    if chance > ready:
        ended, reason = due + 100, EndReason.READY_TIMEOUT
        return attrs.evolve(attempt, room_joined=joined, ended=ended, end_reason=reason, failure="ready_timeout")
    at_last = joined + slowness * random.lognormvariate(0.4, 0.4) * (8 if random.random() < 0.002 else 1)
    ended = at_last + random.uniform(20, 40)
    return attrs.evolve(attempt, room_joined=joined, ready=at_last, ended=ended, end_reason=EndReason.LEFT)


def made_samples(attempts: list[Attempt], count: int, random: Random) -> Iterator[Sample]:
    """Yield a sample per second."""
    waiting, connecting, joined, ready, connects, failures = (Counter[int]() for _ in range(6))

    def stay(counter: Counter[int], begin: float | None, *ends: float | None) -> None:
        if begin is not None:
            counter[int(begin) + 1] += 1
            counter[int(min(end for end in ends if end is not None)) + 1] -= 1

    for attempt in attempts:
        stay(waiting, attempt.due, attempt.began, attempt.ended)
        stay(connecting, attempt.began, attempt.room_joined, attempt.ended)
        stay(joined, attempt.room_joined, attempt.ready, attempt.ended)
        stay(ready, attempt.ready, attempt.ended)
        connects[int(attempt.connected or 0) + 1] += attempt.connected is not None
        failures[int(attempt.ended or 0) + 1] += attempt.failure is not None
    counters = (waiting, connecting, joined, ready, connects, failures)
    rows = zip(*(accumulate(map(counter.__getitem__, range(count))) for counter in counters), strict=True)
    for second, (waits, connects_now, joins, talks, connected, failed) in enumerate(rows):
        yield Sample(
            at=float(second),
            states={
                SessionState.CONNECTING: connects_now,
                SessionState.ROOM_JOINED: joins,
                SessionState.BOT_READY: talks,
            },
            waiting=waits,
            connects=connected,
            polls=2 * connected,
            failed_polls=failed,
            loop_lag=random.expovariate(300),
        )
