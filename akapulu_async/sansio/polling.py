"""How often a session polls: plain values that turn what is known of a conversation into seconds."""

from collections.abc import Callable
from typing import Any

import attrs

from akapulu_async.checks import LARGEST, check_count, check_interval, check_share, checked_by, is_number, refuse

LONGEST_FAILURE_PAUSE = 8.0
"""Seconds: how long the growing pauses between failing polls get, unless the interval itself is longer."""


LONGEST_RETRY_AFTER = 60.0
"""Seconds: how long a poll is put off at the most when the service asks for it."""


@attrs.frozen
class PollPolicy:
    """How often a session asks how far its conversation has come: at a fixed interval.

    A subclass may answer `until_ready()` otherwise, as `ProgressPollPolicy` does; all else stays.
    """

    interval: float = attrs.field(default=0.5, validator=checked_by(check_interval))
    """Seconds from poll to poll until the bot is ready, as the vendor recommends [documented]."""

    live_interval: float = attrs.field(default=5.0, validator=checked_by(check_interval))
    """Seconds from poll to poll after that, only to notice the end."""

    jitter: float = attrs.field(default=0.1, validator=checked_by(check_share))
    """By which share an interval is drawn longer or shorter, so that sessions do not poll in step."""

    max_failures: int | None = attrs.field(default=10, validator=checked_by(check_count, 0, "any number"))
    """How many failed polls in a row are borne, with growing pauses: the default bears about a minute. The next
    one ends the session. None for any number."""

    def first_pause(self, rng: Callable[[], float]) -> float:
        """Return how many seconds after the connect the first poll is due: anywhere in the first interval."""
        return rng() * self._until_ready(0.0, 0.0, 0.0)

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:  # noqa: ARG002 - for subclasses
        """Return how many seconds apart polls are as long as the bot is not ready and no poll fails, before jitter.

        Args:
            percent: How far the getting ready has come, 0 to 100. It never goes back.
            elapsed: Seconds since the connect was about to be sent.
            still: Seconds since the percent was last seen to rise; as `elapsed` if it never was.
        """
        return self.interval

    def _until_ready(self, percent: float, elapsed: float, still: float) -> float:
        # What a subclass returns is not checked by anybody else, and NaN is no pause at all.
        interval = self.until_ready(percent, elapsed, still)
        if not (type(interval) is float and 0.0 < interval < LARGEST):  # as nearly each is
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
        """Return how many seconds after the beginning of a poll the next one is due.

        Args:
            ready: Whether the bot is ready.
            failures: How many polls in a row have failed; each doubles the pause.
            rng: Gives random numbers from 0 to 1.
            percent: See `until_ready()`.
            elapsed: See `until_ready()`.
            still: See `until_ready()`.
            retry_after: How many seconds the service asked to wait, which is obeyed up to a minute: longer, a session
                would be deaf to its end. None if it did not.
        """
        if failures:
            interval = self.live_interval if ready else self.interval
            # The exponent is bounded, since a float overflows at 1024.
            interval = min(interval * 2.0 ** min(failures, 60), max(interval, LONGEST_FAILURE_PAUSE))
        else:
            interval = self.live_interval if ready else self._until_ready(percent, elapsed, still)
        spread = interval * (1 + self.jitter * (2 * rng() - 1))
        return spread if retry_after is None else max(min(retry_after, LONGEST_RETRY_AFTER), spread)


def _at_least_interval(policy: "ProgressPollPolicy", attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not (is_number(value) and value >= policy.interval):
        refuse(attribute.name, value, f"a number of seconds, at least the interval of {policy.interval}")


_STRIDE = 8.0
"""Intervals: the pause for each whole that is left to do, so that the pauses shrink evenly as the percent grows."""


_LAST_SHARE = 0.05
"""Share left to do that is not counted, so that the pauses are short some steps before the last."""


_PACE_SHARE = 0.28
"""Share of the seconds that are left to wait if the rest goes as fast as what is done."""


_SHORTEST = 0.9
"""Intervals: the shortest pause. Less than one, to make up for what the longer pauses see late."""


_PATIENCE = 8.0
"""Intervals: after so long without a rise, the percent says nothing any more."""


@attrs.frozen
class ProgressPollPolicy(PollPolicy):
    """Polls seldom while the percent says that much is left to do, and as often as `PollPolicy` near the end.

    The pause is 8 intervals times the share left to do (less a twentieth), but no more than 0.28 of the seconds that
    would be left if the rest went as fast as what is done, no more than `longest`, and no less than 0.9 intervals. What
    it has above an interval melts away while the percent stands still, evenly over 8 intervals. So a percent that is
    missing, or sticks, is soon as good as none, and one that jumps costs `longest` at the most.

    In simulation it sees readiness no later than a fixed interval (mean, p95 and p99) with fewer than half of its
    polls, if the service reports even steps at even or random times over 12 s; `benchmarks/polling.py` tells. It was
    not measured with the service: how its percent really grows is not known, and the steps' shapes are assumptions.
    Where most steps come late, one session in a hundred sees readiness 0.8 s late instead of 0.5; and a percent that
    rises steadily, but is far from done when the bot is ready, delays the sight of it by up to `longest`.

    So stay with `PollPolicy`, which does as the vendor recommends, until polls are what limits you: a rate limit, or
    the budget of a manager with thousands of sessions. Then look at the percents of some of your own conversations
    (`session.events()`), switch if they rise in steps until the end, and compare `session.time_to_ready`.
    """

    longest: float = attrs.field(default=2.5, validator=_at_least_interval)
    """Seconds: the longest pause until the bot is ready, jitter included, but for those after failures and those that
    the service asks for. At least `interval`."""

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:
        """See `PollPolicy.until_ready()`, and above."""
        left = 1.0 - percent / 100.0
        pause = min(_STRIDE * self.interval * (left - _LAST_SHARE), self.longest)
        if percent > 0:
            pause = min(pause, _PACE_SHARE * elapsed * left * 100.0 / percent)
        if pause > self.interval:
            pause -= (pause - self.interval) * min(still / (_PATIENCE * self.interval), 1.0)
        else:
            pause = max(pause, _SHORTEST * self.interval)
        return min(pause, self.longest / (1.0 + self.jitter))
