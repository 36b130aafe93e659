"""Figures about many sessions, in constant memory."""

import math
from collections import Counter
from collections.abc import Mapping

import attrs

from akapulu_async.sansio.lifecycle import EndReason, SessionState, StateChanged

GROWTH = 1.02
"""The ratio of bucket widths: quantiles are exact to one per cent."""

_LOG_GROWTH = math.log(GROWTH)


class Quantiles:
    """Quantiles of positive figures, exact to one per cent: counts in exponentially growing buckets."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Add a figure; less than a microsecond counts as one."""
        self._counts[round(math.log(max(value, 1e-6)) / _LOG_GROWTH)] += 1

    def at(self, share: float) -> float | None:
        """Return the figure that this share (0 to 1) of all does not exceed; None if there are none."""
        rank, seen = max(1, math.ceil(share * self._counts.total())), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return math.exp(bucket * _LOG_GROWTH)
        return None


@attrs.frozen
class ManagerStatistics:
    """The figures of a manager."""

    live: Mapping[SessionState, int] = attrs.field(hash=False)
    """Sessions in each state but `ended`."""
    waiting: int
    """Starts that wait: for `max_sessions`, the pace of connects, or a slot of the account."""
    started: int
    """Sessions whose connect was sent, or that were attached."""
    unknown_connects: int
    """Starts that failed, although their connect may have made a conversation that nobody here knows: it holds a slot
    and costs minutes. See `AkapuluError.outcome_unknown`; `ended` counts them as `connect_failed`, too."""
    ready: int
    """Sessions whose bot got ready."""
    ended: Mapping[EndReason, int] = attrs.field(hash=False)
    """Sessions that ended, by reason; 0 for a reason that did not occur."""
    polls: int
    """Polls that were completed, successful or not."""
    poll_failures: int
    """Polls that failed."""
    time_to_ready: Mapping[str, float | None] = attrs.field(hash=False)
    """Seconds from the connect to `bot_ready`: `p50`, `p90`, `p99`, exact to one per cent; None if none got ready."""


class Tally:
    """Counts ready and ended sessions. Figures of live sessions are added by `statistics()`."""

    def __init__(self) -> None:
        self.started = 0
        self.unknown_connects = 0
        self._ready = 0
        self._polls = 0
        self._poll_failures = 0
        self._ended: Counter[EndReason] = Counter()
        self._time_to_ready = Quantiles()

    def count_ready(self, event: StateChanged, *, seen_from_start: bool) -> None:
        """A session got ready. Its time counts only if it was connected here."""
        self._ready += 1
        if seen_from_start:
            self._time_to_ready.add(event.elapsed)

    def count_end(self, reason: EndReason, *, polls: int, poll_failures: int) -> None:
        """A session ended."""
        self._ended[reason] += 1
        self._polls += polls
        self._poll_failures += poll_failures

    def statistics(
        self, live: Mapping[SessionState, int], *, waiting: int, polls: int, poll_failures: int
    ) -> ManagerStatistics:
        """Return all figures. The arguments are those of live sessions and of starts that wait."""
        return ManagerStatistics(
            live={state: live.get(state, 0) for state in SessionState if state is not SessionState.ENDED},
            waiting=waiting,
            started=self.started,
            unknown_connects=self.unknown_connects,
            ready=self._ready,
            ended={reason: self._ended[reason] for reason in EndReason},
            polls=self._polls + polls,
            poll_failures=self._poll_failures + poll_failures,
            time_to_ready={f"p{share}": self._time_to_ready.at(share / 100) for share in (50, 90, 99)},
        )
