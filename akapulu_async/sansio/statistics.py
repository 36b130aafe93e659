"""Figures about many sessions, in little and constant memory."""

import math
from collections import Counter
from collections.abc import Mapping

import attrs

from akapulu_async.sansio.lifecycle import EndReason, SessionState, StateChanged

GROWTH = 1.02
"""How much wider each bucket is than the one before: a quantile is right within one per cent."""

_LOG_GROWTH = math.log(GROWTH)


class Quantiles:
    """Quantiles of positive figures, within one per cent, however many there are: counts in growing buckets."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, value: float) -> None:
        """Add a figure; what is below a microsecond counts as one."""
        bucket = round(math.log(max(value, 1e-6)) / _LOG_GROWTH)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1

    def at(self, share: float) -> float | None:
        """Return the figure below or at which this share (0 to 1) of all lies; None if there are none."""
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return math.exp(bucket * _LOG_GROWTH)
        return None


@attrs.frozen
class ManagerStatistics:
    """What a manager has done so far, and does."""

    live: Mapping[SessionState, int] = attrs.field(hash=False)
    """How many sessions are in each state but `ended`."""

    waiting: int
    """How many starts wait for a slot, the pace, or the account."""

    started: int
    """How many sessions began to connect, or were attached."""

    ready: int
    """How many got ready."""

    ended: Mapping[EndReason, int] = attrs.field(hash=False)
    """How many ended, by reason; a reason that did not occur is 0."""

    polls: int
    """How many polls were completed, answered or failed."""

    poll_failures: int
    """How many of the polls failed."""

    time_to_ready: Mapping[str, float | None] = attrs.field(hash=False)
    """Seconds from the connect to `bot_ready`: `p50`, `p90`, `p99`, within one per cent; None if none got ready."""


class Tally:
    """Counts what happens to sessions. The figures of those that live are added when asked for."""

    def __init__(self) -> None:
        self.started = 0
        self._ready = 0
        self._polls = 0
        self._poll_failures = 0
        self._ended: Counter[EndReason] = Counter()
        self._time_to_ready = Quantiles()

    def count_ready(self, event: StateChanged, *, seen_from_start: bool) -> None:
        """A session got ready. The time that it took counts only if its connect was made here."""
        self._ready += 1
        if seen_from_start:
            self._time_to_ready.add(event.elapsed)

    def count_end(self, reason: EndReason, *, polls: int, poll_failures: int) -> None:
        """A session ended, after so many polls."""
        self._ended[reason] += 1
        self._polls += polls
        self._poll_failures += poll_failures

    def statistics(
        self, live: Mapping[SessionState, int], *, waiting: int, polls: int, poll_failures: int
    ) -> ManagerStatistics:
        """Return all figures.

        Args:
            live: How many sessions are in each state.
            waiting: How many starts wait.
            polls: Polls of the sessions that live.
            poll_failures: Failed polls of the sessions that live.
        """
        return ManagerStatistics(
            live={state: live.get(state, 0) for state in SessionState if state is not SessionState.ENDED},
            waiting=waiting,
            started=self.started,
            ready=self._ready,
            ended={reason: self._ended[reason] for reason in EndReason},
            polls=self._polls + polls,
            poll_failures=self._poll_failures + poll_failures,
            time_to_ready={f"p{share}": self._time_to_ready.at(share / 100) for share in (50, 90, 99)},
        )
