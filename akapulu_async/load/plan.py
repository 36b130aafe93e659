"""What a load test is to do. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import count, islice, takewhile
from random import Random

import attrs

from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.polling import PollPolicy


class Arrivals(StrEnum):
    """How arrivals are spread in time."""

    POISSON = "poisson"
    """Independent of each other, as callers are: bursts and lulls around the rate."""

    CONSTANT = "constant"
    """At equal distances, the first at once."""


RAMP_RATE = 100.0
"""How many of a closed loop's first conversations are begun a second, unless it is said in how many seconds."""


@attrs.frozen(kw_only=True)
class LoadPlan:
    """How many conversations, when, and for how long.

    Raises:
        ConfigurationError: It would never end, or says not how many at once.
    """

    conversations: int | None = None
    """How many in all; None: as many as come within the duration."""

    duration: float | None = None
    """Seconds after which no more are begun; None: when all have been."""

    rate: float | None = None
    """Open loop: how many are due a second, whatever becomes of them. None: closed loop, where the next one is due
    when a place gets free."""

    arrivals: Arrivals = Arrivals.POISSON
    """How the open loop's are spread."""

    concurrency: int | None = None
    """How many at once; None for no limit, in the open loop alone. What waits for a place in the open loop waits on
    its own time: it is due already."""

    ramp: float | None = None
    """Seconds over which the closed loop's first ones are begun, so that they come as no burst; None: 100 a second."""

    hold: float | None = None
    """Seconds for which each is held from its readiness on, and then left; None: until it ends by itself."""

    poll_interval: float = PollPolicy().interval
    """Seconds from poll to poll until a conversation is ready."""

    ready_timeout: float | None = 100.0
    """Seconds from its connect within which a conversation must get ready, else it failed; None for no limit."""

    seed: int = 0
    """Repeats the arrivals."""

    def __attrs_post_init__(self) -> None:
        if self.conversations is None and self.duration is None:
            raise ConfigurationError("--conversations or --duration: one of them is wanted, so that the test ends")
        if self.rate is None and self.concurrency is None:
            raise ConfigurationError(
                "--rate or --concurrency: one of them is wanted, for arrivals a second or a number at once"
            )
        if self.rate is not None and self.ramp is not None:
            raise ConfigurationError(f"--ramp {self.ramp:g}: not with --rate, which says when each is due")

    def opening(self, place: int) -> float:
        """Return after how many seconds the closed loop's place of this number, from 0, is there."""
        if self.ramp is None:
            return place / RAMP_RATE
        return self.ramp * place / (self.concurrency or 1)

    @property
    def poll(self) -> PollPolicy:
        """How the sessions poll."""
        usual = PollPolicy()
        return PollPolicy(interval=self.poll_interval, live_interval=max(usual.live_interval, self.poll_interval))

    @property
    def resolution(self) -> float:
        """Seconds by which polling tells of a readiness late at the most, as long as polls are answered at once."""
        return self.poll_interval * (1 + self.poll.jitter)

    @property
    def most_at_once(self) -> int | None:
        """How many conversations may run at once at the most; None if nothing bounds them."""
        bounds = [bound for bound in (self.concurrency, self.conversations) if bound is not None]
        return min(bounds, default=None)

    @property
    def title(self) -> str:
        """The test in one line."""
        many = "" if self.conversations is None else f"{self.conversations:,} "
        parts = [f"{many}conversation{'' if self.conversations == 1 else 's'}"]
        if self.rate is not None:
            parts.append(f"{self.rate:,.10g} a second")
        if self.concurrency is not None:
            at_most = "at most " if self.rate is not None else ""
            parts.append(f"{at_most}{self.concurrency:,} at once")
        if self.duration is not None:
            parts.append(f"for {self.duration:,.10g} s")
        return ", ".join(parts)

    @property
    def settings(self) -> Mapping[str, str]:
        """What it is run with, for people."""
        late = f"every {self.poll_interval:g} s: a readiness is seen up to {self.resolution:.3g} s late"
        return {
            "arrivals": self._arrivals(),
            "conversations": "no limit" if self.conversations is None else f"{self.conversations:,}",
            "at once": "no limit" if self.concurrency is None else f"{self.concurrency:,}",
            "new ones for": "as long as it takes" if self.duration is None else f"{self.duration:,.10g} s",
            "held for": "until they end" if self.hold is None else f"{self.hold:,.10g} s from their readiness on",
            "ready timeout": "none" if self.ready_timeout is None else f"{self.ready_timeout:,.10g} s",
            "polls": late,
        }

    def _arrivals(self) -> str:
        if self.rate is None:
            return "closed loop: the next when a place gets free"
        return f"open loop, {self.arrivals}, {self.rate:,.10g} a second, seed {self.seed}"


def due_times(
    kind: Arrivals, rate: float, rng: Random, *, conversations: int | None, duration: float | None
) -> Iterator[float]:
    """Yield the seconds since the beginning at which conversations are due, in order, as they are asked for.

    Args:
        kind: How they are spread.
        rate: How many a second, on average.
        rng: Gives the random numbers; the same seed gives the same times.
        conversations: How many at the most; None for any number.
        duration: Seconds after which no more are due; None for no end.
    """
    times = _poisson(rate, rng) if kind is Arrivals.POISSON else _constant(rate)
    in_time = times if duration is None else takewhile(lambda due: due < duration, times)
    return islice(in_time, conversations)


def _constant(rate: float) -> Iterator[float]:
    # Not summed up, so that no error of rounding grows.
    return (number / rate for number in count())


def _poisson(rate: float, rng: Random) -> Iterator[float]:
    due = 0.0
    while True:
        due += rng.expovariate(rate)
        yield due
