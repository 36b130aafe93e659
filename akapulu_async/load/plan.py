"""The plan of a load test: how many conversations, when, and for how long. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import count, islice, takewhile
from random import Random

import attrs

from akapulu_async import ConfigurationError, PollPolicy

RAMP_RATE = 100.0
"""Conversations a second with which a closed loop fills its places, unless `ramp` gives the time."""


class Arrivals(StrEnum):
    """How the open loop spaces its arrivals."""

    POISSON = "poisson"
    """Independent of each other, like real callers: bursts and lulls around the rate."""

    CONSTANT = "constant"
    """Evenly spaced, the first at once."""


@attrs.frozen(kw_only=True)
class LoadPlan:
    """How many conversations to start, when, and how long to hold them.

    Raises:
        ConfigurationError: The test would never end, or neither a rate nor a concurrency is given.
    """

    conversations: int | None = None
    """Conversations in total; None: as many as start within the duration."""

    duration: float | None = None
    """Seconds after which no more are started; None: no limit."""

    rate: float | None = None
    """Open loop: conversations due per second, however slow the service is. None: closed loop, which starts the next
    conversation when a place becomes free."""

    arrivals: Arrivals = Arrivals.POISSON
    """How the open loop spaces its arrivals."""

    concurrency: int | None = None
    """Conversations at once; None: no limit (open loop only). In the open loop, the wait for a place counts into the
    latencies: the conversation is already due."""

    ramp: float | None = None
    """Seconds over which the closed loop starts its first conversations; None: 100 a second."""

    hold: float | None = None
    """Seconds to stay in each conversation once it is ready; None: until it ends by itself."""

    poll_interval: float = PollPolicy().interval
    """Seconds between polls until a conversation is ready."""

    ready_timeout: float | None = 100.0
    """Seconds after its connect within which a conversation must be ready, or it counts as failed; None: no limit."""

    seed: int = 0
    """Seed of the Poisson arrivals; the same seed gives the same times."""

    def __attrs_post_init__(self) -> None:
        if self.conversations is None and self.duration is None:
            raise ConfigurationError("--conversations or --duration is required, so that the test ends")
        if self.rate is None and self.concurrency is None:
            raise ConfigurationError("--rate (conversations per second) or --concurrency (at once) is required")
        if self.rate is not None and self.ramp is not None:
            raise ConfigurationError(f"--ramp {self.ramp:g} cannot be combined with --rate, which sets all start times")

    def due_times(self) -> Iterator[float]:
        """Yield the times of the open loop's arrivals, in seconds since the start, in order and lazily."""
        assert self.rate is not None
        rng = Random(self.seed)  # noqa: S311 - reproducible, not secret
        times = _poisson(self.rate, rng) if self.arrivals is Arrivals.POISSON else _constant(self.rate)
        duration = self.duration
        in_time = times if duration is None else takewhile(lambda due: due < duration, times)
        return islice(in_time, self.conversations)

    def opening(self, place: int) -> float:
        """Return the seconds since the start at which the closed loop opens the place of this number, from 0."""
        if self.ramp is None:
            return place / RAMP_RATE
        return self.ramp * place / (self.concurrency or 1)

    def time_left(self, at: float, *, arrived: int, last_due: float, stay: float | None) -> float | None:
        """Return an estimate of the seconds that are left of the test; None if nothing is known yet.

        Args:
            at: Seconds since the start.
            arrived: Conversations so far.
            last_due: When the last of them was due.
            stay: Mean seconds from due to over of those that became ready; None if none of them is over.
        """
        stay = self.hold if stay is None else stay
        if stay is None:
            return None
        pace = self.rate or (self.concurrency or 1) / max(stay, 1e-3)
        ends = [] if self.duration is None else [self.duration]
        if self.conversations is not None:
            missing = self.conversations - arrived
            ends.append(last_due if missing <= 0 else at + missing / pace)
        return max(0.0, min(ends) + stay - at)

    @property
    def poll(self) -> PollPolicy:
        """The sessions' poll policy."""
        usual = PollPolicy()
        return PollPolicy(interval=self.poll_interval, live_interval=max(usual.live_interval, self.poll_interval))

    @property
    def resolution(self) -> float:
        """Seconds by which polling may see readiness late, as long as polls are answered at once."""
        return self.poll_interval * (1 + self.poll.jitter)

    @property
    def most_at_once(self) -> int | None:
        """The most conversations that can run at once; None: no limit."""
        bounds = [bound for bound in (self.concurrency, self.conversations) if bound is not None]
        return min(bounds, default=None)

    @property
    def title(self) -> str:
        """The test in one line."""
        many = "" if self.conversations is None else f"{self.conversations:,} "
        parts = [f"{many}conversation{'' if self.conversations == 1 else 's'}"]
        if self.rate is not None:
            parts.append(f"{self.rate:,.10g} per second")
        if self.concurrency is not None:
            at_most = "at most " if self.rate is not None else ""
            parts.append(f"{at_most}{self.concurrency:,} at once")
        if self.duration is not None:
            parts.append(f"for {self.duration:,.10g} s")
        return ", ".join(parts)

    @property
    def settings(self) -> Mapping[str, str]:
        """The plan as names and values for people."""
        return {
            "arrivals": self._arrivals(),
            "conversations": "no limit" if self.conversations is None else f"{self.conversations:,}",
            "at once": "no limit" if self.concurrency is None else f"{self.concurrency:,}",
            "new ones for": "no limit" if self.duration is None else f"{self.duration:,.10g} s",
            "held for": "until they end" if self.hold is None else f"{self.hold:,.10g} s once ready",
            "ready timeout": "none" if self.ready_timeout is None else f"{self.ready_timeout:,.10g} s",
            "polls": f"every {self.poll_interval:g} s; readiness is seen up to {self.resolution:.3g} s late",
        }

    def _arrivals(self) -> str:
        if self.rate is None:
            return "closed loop: the next starts when a place becomes free"
        seed = f", seed {self.seed}" if self.arrivals is Arrivals.POISSON else ""
        return f"open loop, {self.arrivals}, {self.rate:,.10g} per second{seed}"


def _constant(rate: float) -> Iterator[float]:
    # Not a running sum, in which rounding errors would add up.
    return (number / rate for number in count())


def _poisson(rate: float, rng: Random) -> Iterator[float]:
    due = 0.0
    while True:
        due += rng.expovariate(rate)
        yield due
