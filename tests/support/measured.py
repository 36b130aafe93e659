"""Fixed results of load tests."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from akapulu_async import EndReason
from akapulu_async.load.results import Attempt, Latencies, LoadResult


def latencies(*seconds: float) -> Latencies:
    """Return a histogram of these durations."""
    made = Latencies()
    for each in seconds:
        made.add(each)
    return made


def attempt(index: int = 0, **fields: Any) -> Attempt:
    """Return an attempt, by default due at 1 s, connected after 0.25 s and ready after 2 s."""
    usual: dict[str, Any] = {
        "due": 1.0,
        "began": 1.0,
        "session_id": "33333333-3333-4333-8333-333333333333",
        "connected": 1.25,
        "room_joined": 2.0,
        "ready": 3.0,
        "ended": 4.0,
        "end_reason": EndReason.LEFT,
    }
    return Attempt(index=index, **(usual | fields))


def result(attempts: Iterable[Attempt] = (), **fields: Any) -> LoadResult:
    """Return a result of these attempts."""
    made = tuple(attempts)
    usual: dict[str, Any] = {
        "title": "2 conversations, 2 at once",
        "settings": {"service": "a simulator"},
        "started_at": datetime(2026, 3, 1, tzinfo=UTC),
        "seconds": 10.0,
        "attempts": made,
        "samples": (),
        "connect": latencies(*(each.connect_latency for each in made if each.connect_latency is not None)),
        "ready": latencies(*(each.time_to_ready for each in made if each.time_to_ready is not None)),
        "loop_lag": latencies(0.001),
        "failures": Counter(each.failure for each in made if each.failure is not None),
    }
    return LoadResult(**(usual | fields))
