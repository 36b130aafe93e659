"""What is noted while a load test runs."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from akapulu_async.load.results import Attempt, Latencies, Sample
from akapulu_async.load.series import Spread
from akapulu_async.log import logger
from akapulu_async.sansio.statistics import ManagerStatistics

CLOSE = 1e-4
"""Seconds within which two clocks must be read to be compared."""

COMPARISONS = 10
"""How often that is tried at the most."""


class Recorder:
    """Attempts, latencies, failures and samples so far. Its clock starts when it is made.

    Attributes:
        started_at: When that was, in UTC.
        seconds: How long the test took, once it is over.
        cpu_share: Share of a core that this process used meanwhile.
        interrupted: Whether it is being, or was, broken off.
        arrived: How many conversations came up so far.
        attempts: Those that are over.
        connect: Seconds from when they were due to their connection.
        ready: Seconds from when they were due to their readiness.
        ready_spread: The same for a live view.
        arrival_lag: Seconds by which they came up late, in the open loop.
        failures: How many failed, by cause.
        samples: How things stood, about each second.
        lag: How late the event loop is.
    """

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self._origin = time.monotonic()
        self._cpu = time.process_time()
        self.seconds = 0.0
        self.cpu_share = 0.0
        self.interrupted = False
        self.arrived = 0
        self.attempts: list[Attempt] = []
        self.connect = Latencies()
        self.ready = Latencies()
        self.ready_spread = Spread()
        self.arrival_lag = Latencies()
        self.failures: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.lag = LagMeter()

    def clock(self) -> float:
        """Return the seconds since the test began."""
        return time.monotonic() - self._origin

    def at(self, moment: datetime) -> float:
        """Return when a moment in UTC was by this clock."""
        for _ in range(COMPARISONS):
            # Not once for all, since UTC may be set anew; and again if the system let something come in between.
            before, now = self.clock(), datetime.now(UTC)
            if self.clock() - before < CLOSE:
                break
        return before - (now - moment).total_seconds()

    def close(self) -> None:
        """The test is over."""
        self.seconds = self.clock()
        self.cpu_share = (time.process_time() - self._cpu) / self.seconds

    def note_arrival(self, due: float | None) -> tuple[int, float]:
        """One more conversation comes up: return its number, and when it was due.

        Args:
            due: When by the schedule; None: now, since there is none.
        """
        now = self.clock()
        if due is not None:
            self.arrival_lag.add(max(0.0, now - due))
        self.arrived += 1
        return self.arrived - 1, now if due is None else due

    def note_connected(self, due: float, connected: float) -> None:
        """One was connected."""
        self.connect.add(connected - due)

    def note_ready(self, due: float, ready: float) -> None:
        """One got ready."""
        self.ready.add(ready - due)
        self.ready_spread.add(max(0.0, ready - due))

    def note_over(self, attempt: Attempt) -> None:
        """One is over."""
        self.attempts.append(attempt)
        if attempt.failure is not None:
            self.failures[attempt.failure] += 1

    def take_sample(self, statistics: ManagerStatistics) -> None:
        """Note how things stand now."""
        self.samples.append(
            Sample(
                at=self.clock(),
                states=statistics.live,
                waiting=statistics.waiting,
                connects=self.connect.count,
                polls=statistics.polls,
                failures=self.failures.total(),
                loop_lag=self.lag.take_worst(),
            )
        )


INTERVAL = 0.01
"""Seconds between two looks."""


class LagMeter:
    """Sleeps again and again, and notes how much later than asked it comes up."""

    def __init__(self) -> None:
        self.lag = Latencies()
        self._worst = 0.0

    async def watch(self) -> None:
        """Note until cancelled."""
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.note(max(0.0, time.monotonic() - due))

    def note(self, late: float) -> None:
        """Count by how many seconds it was late, and all the looks that fell into that time."""
        self.lag.add(late, every=INTERVAL)
        self._worst = max(self._worst, late)

    def take_worst(self) -> float:
        """Return the longest since this was last asked for."""
        worst, self._worst = self._worst, 0.0
        return worst


_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Complaints(logging.Handler):
    """Counts warnings; those that differ in the conversation alone count together."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self._counts[_ID.sub("...", record.getMessage()).removeprefix("! ")] += 1

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to the library for the time of a block."""
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    @property
    def told(self) -> tuple[str, ...]:
        """What was warned of, in a sentence each, with how often if more than once."""
        return tuple(f"{text}." if count == 1 else f"{text} ({count:,} times)." for text, count in self._counts.items())
