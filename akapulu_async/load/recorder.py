"""Collects the measurements while a load test runs."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from akapulu_async import ManagerStatistics
from akapulu_async.load.calls import Calls
from akapulu_async.load.results import Attempt, Latencies, Sample
from akapulu_async.load.series import Spread

LAG_INTERVAL = 0.01
"""Seconds between two measurements of the event loop's lag."""

_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Recorder:
    """Attempts, latencies, failures and samples so far. Its clock starts when it is created.

    Attributes:
        started_at: The start, in UTC.
        seconds: Duration of the test, once it is over.
        cpu_share: Share of a core that this process used, once the test is over.
        interrupted: True if the test is being, or was, stopped early.
        arrived: Conversations that started or wait to start.
        last_due: When the last of them was due.
        attempts: Those that are over.
        connect: Seconds from due to connected.
        ready: Seconds from due to ready.
        ready_spread: The same for a live view, whose quantiles must take no time.
        calls: The calls of all conversations.
        stays: Seconds from due to over of each attempt whose bot was ready, summed up, and their count.
        arrival_lag: Seconds by which arrivals were late (open loop).
        failures: Failed attempts by cause.
        samples: The state of the test, about once a second.
        lag: The event loop's lag.
        warnings: The library's warnings.
    """

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self._origin = time.monotonic()
        self._cpu = time.process_time()
        self.seconds = 0.0
        self.cpu_share = 0.0
        self.interrupted = False
        self.arrived = 0
        self.last_due = 0.0
        self.attempts: list[Attempt] = []
        self.connect = Latencies()
        self.ready = Latencies()
        self.ready_spread = Spread()
        self.calls = Calls()
        self.stays = (0.0, 0)
        self.arrival_lag = Latencies()
        self.failures: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.lag = LagMeter()
        self.warnings = WarningCounter()

    def clock(self) -> float:
        """Return the seconds since the test began."""
        return time.monotonic() - self._origin

    def at(self, moment: float) -> float:
        """Convert a moment of the monotonic clock to this clock."""
        return moment - self._origin

    def close(self) -> None:
        """Mark the end of the test."""
        self.seconds = self.clock()
        self.cpu_share = (time.process_time() - self._cpu) / self.seconds

    def note_arrival(self, due: float | None) -> tuple[int, float]:
        """Record an arrival; return its number and the time it was due.

        Args:
            due: When the schedule wanted it; None: now, in a closed loop.
        """
        now = self.clock()
        if due is not None:
            self.arrival_lag.add(max(0.0, now - due))
        self.arrived += 1
        self.last_due = now if due is None else due
        return self.arrived - 1, self.last_due

    def note_connected(self, due: float, connected: float) -> None:
        """Record a connection."""
        self.connect.add(connected - due)

    def note_ready(self, due: float, ready: float) -> None:
        """Record that a bot became ready."""
        self.ready.add(ready - due)
        self.ready_spread.add(max(0.0, ready - due))

    def note_over(self, attempt: Attempt) -> None:
        """Record an attempt that is over."""
        self.attempts.append(attempt)
        if attempt.ready is not None and attempt.ended is not None:
            seconds, count = self.stays
            self.stays = (seconds + max(0.0, attempt.ended - attempt.due), count + 1)
        if attempt.failure is not None:
            self.failures[attempt.failure] += 1

    def take_sample(self, statistics: ManagerStatistics) -> None:
        """Record the current state of the test."""
        self.samples.append(
            Sample(
                at=self.clock(),
                states=statistics.live,
                waiting=statistics.waiting,
                connects=self.connect.count,
                polls=statistics.polls,
                failed_polls=self.calls.poll_errors.total(),
                loop_lag=self.lag.take_worst(),
            )
        )


class LagMeter:
    """Measures how late the event loop wakes its tasks, which every latency measured on it may include."""

    def __init__(self) -> None:
        self.lag = Latencies()
        self._worst = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self.note(max(0.0, time.monotonic() - due))

    def note(self, late: float) -> None:
        """Record a lag in seconds, and the measurements that were missed meanwhile."""
        self.lag.add(late, every=LAG_INTERVAL)
        self._worst = max(self._worst, late)

    def take_worst(self) -> float:
        """Return the longest lag since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst


class WarningCounter(logging.Handler):
    """Counts the library's warnings; those that differ only in the conversation count together."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a warning."""
        said = record.getMessage().rstrip(".")
        kind = _ID.sub("", said)
        self._first.setdefault(kind, said)
        self._counts[kind] += 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the library's log within a block."""
        logger = logging.getLogger("akapulu_async")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The first warning of each kind, with the number of others like it."""
        return tuple(f"{said}{_others(self._counts[kind] - 1, said != kind)}." for kind, said in self._first.items())


def _others(count: int, named: bool) -> str:  # noqa: FBT001 - private
    if count == 0:
        return ""
    if named:
        return f" (the same of {count:,} other {'conversation' if count == 1 else 'conversations'})"
    return f" ({count + 1:,} times)"
