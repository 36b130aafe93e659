"""How often a session polls: plain values that turn the progress of a conversation into seconds."""

from collections.abc import Callable
from typing import Any

import attrs

from akapulu_async.checks import LARGEST, check_count, check_interval, check_share, checked_by, is_number, refuse

LONGEST_FAILURE_PAUSE = 8.0
"""Longest pause between failing polls once the bot is ready, in seconds, unless the interval itself is longer."""

LONGEST_STARTING_FAILURE_PAUSE = 2.0
"""The same until the bot is ready: somebody waits for it."""

LONGEST_RETRY_AFTER = 60.0
"""Longest delay of a poll, in seconds, when the service asks for a longer one."""


@attrs.frozen
class PollPolicy:
    """Polls at a fixed interval.

    A subclass may override `until_ready()`, as `ProgressPollPolicy` does.
    """

    interval: float = attrs.field(default=0.5, validator=checked_by(check_interval))
    """Seconds between polls until the bot is ready, as the vendor recommends [documented]."""

    live_interval: float = attrs.field(default=5.0, validator=checked_by(check_interval))
    """Seconds between polls after that, to notice the end."""

    jitter: float = attrs.field(default=0.1, validator=checked_by(check_share))
    """Random variation of an interval, as a share of it, so that sessions do not poll in step."""

    max_failures: int | None = attrs.field(default=10, validator=checked_by(check_count, 0, "any number"))
    """Number of polls in a row that may fail. Their pauses grow to 2 s until the bot is ready, and to 8 s after that:
    by default, about 20 s and 80 s in all. The next failure ends the session. None for any number."""

    def first_pause(self, rng: Callable[[], float]) -> float:
        """Return the seconds from the connect to the first poll: a random share of the first interval."""
        return rng() * self._until_ready(0.0, 0.0, 0.0)

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:  # noqa: ARG002 - for subclasses
        """Return the seconds between polls while the bot is not ready and no poll fails, before jitter.

        Args:
            percent: The progress, 0 to 100. It never decreases.
            elapsed: Seconds since the connect began.
            still: Seconds since the percent last rose; equal to `elapsed` if it never did.
        """
        return self.interval

    def _until_ready(self, percent: float, elapsed: float, still: float) -> float:
        # A subclass may return anything, and NaN would mean no pause.
        interval = self.until_ready(percent, elapsed, still)
        if not (type(interval) is float and 0.0 < interval < LARGEST):  # quicker than the full check
            check_interval("until_ready()", interval)
        return interval

    def pause(
        self,
        *,
        ready: bool,
        failures: int,
        rng: Callable[[], float],
        percent: float,
        elapsed: float,
        still: float,
        retry_after: float | None = None,
    ) -> float:
        """Return the seconds from the beginning of a poll to the beginning of the next.

        Args:
            ready: True if the bot is ready.
            failures: Number of polls in a row that failed; each doubles the pause.
            rng: Returns random numbers from 0 to 1.
            percent: See `until_ready()`.
            elapsed: See `until_ready()`.
            still: See `until_ready()`.
            retry_after: Seconds that the service asked to wait, obeyed up to a minute: after a longer pause a session
                would notice its end too late. None if it did not ask.
        """
        if failures:
            interval = self.live_interval if ready else self.interval
            longest = LONGEST_FAILURE_PAUSE if ready else LONGEST_STARTING_FAILURE_PAUSE
            # Bounded: a float overflows at an exponent of 1024.
            interval = min(interval * 2.0 ** min(failures, 60), max(interval, longest))
        else:
            interval = self.live_interval if ready else self._until_ready(percent, elapsed, still)
        spread = interval * (1 + self.jitter * (2 * rng() - 1))
        return spread if retry_after is None else max(min(retry_after, LONGEST_RETRY_AFTER), spread)


def _at_least_interval(policy: "ProgressPollPolicy", attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not (is_number(value) and value >= policy.interval):
        refuse(attribute.name, value, f"a number of seconds, at least the interval of {policy.interval}")


# Found by simulation (benchmarks/polling.py), in which readiness must be seen as early as with a fixed interval: on
# average, and in the 95th and 99th percentile.

_STRIDE = 8.0
"""Pause at 0 %, in intervals; it shrinks in proportion to the share left."""

_LAST_SHARE = 0.05
"""Share left at which the pause already is the shortest."""

_PACE_SHARE = 0.28
"""Pause as a share of the estimated time left, if the rest goes as fast as before."""

_SHORTEST = 0.9
"""Shortest pause, in intervals. Below 1 to make up for the delay that longer pauses cause."""

_PATIENCE = 8.0
"""Intervals without a rise after which the percent is ignored."""


@attrs.frozen
class ProgressPollPolicy(PollPolicy):
    """Polls rarely while the percent is low, and as often as `PollPolicy` near the end.

    The pause is 8 intervals times the share left (less a twentieth), at most 0.28 of the time left if the rest goes as
    fast as before, at most `longest`, and at least 0.9 intervals. While the percent stands still, the part above one
    interval shrinks linearly to nothing over 8 intervals. So a percent that is missing or stuck soon has no effect, and
    one that jumps costs at most `longest`.

    In simulation (`benchmarks/polling.py`) it sees readiness no later than a fixed interval (mean, p95 and p99) with
    fewer than half of the polls, if the percent rises in even steps at even or random times over 12 s. It was not
    measured with the service: how its percent grows is unknown, and the shapes of the steps are assumptions. If most
    steps come late, one session in a hundred sees readiness 0.8 s late instead of 0.5. If the percent rises steadily
    but is far from 100 when the bot is ready, readiness is seen up to `longest` late.

    Use `PollPolicy`, as the vendor recommends, until the number of polls limits you: a rate limit, or the budget of a
    manager with thousands of sessions. Then look at the percents of some of your own conversations
    (`session.events()`), switch if they rise in steps until the end, and compare `session.time_to_ready`.
    """

    longest: float = attrs.field(default=2.5, validator=_at_least_interval)
    """Longest pause until the bot is ready, in seconds, jitter included; except after failures, and when the service
    asks for a longer one. At least `interval`."""

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:
        """See `PollPolicy.until_ready()` and the class."""
        left = 1.0 - percent / 100.0
        pause = min(_STRIDE * self.interval * (left - _LAST_SHARE), self.longest)
        if percent > 0:
            pause = min(pause, _PACE_SHARE * elapsed * left * 100.0 / percent)
        if pause > self.interval:
            pause -= (pause - self.interval) * min(still / (_PATIENCE * self.interval), 1.0)
        else:
            pause = max(pause, _SHORTEST * self.interval)
        return min(pause, self.longest / (1.0 + self.jitter))
