"""When conversations are due in an open loop: at their own times, whatever the service does. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import count, islice, takewhile
from random import Random


class Arrivals(StrEnum):
    """How arrivals are spread in time."""

    POISSON = "poisson"
    """Independent of each other, as callers are: bursts and lulls around the rate."""

    CONSTANT = "constant"
    """At equal distances, the first at once."""


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
