"""Made-up services, and sessions that wait for them: how long a bot takes, and what the percent says meanwhile.

Nobody outside has seen how the real percent grows. So there are services here whose percent tells much, and others
whose percent tells nothing or misleads.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from akapulu_async import PollPolicy

Percent = Callable[[float], float]
"""What the service says so many seconds after the connect."""

STEPS = 11
"""Milestones until ready, the last of them readiness itself: the documented 63.6 % is 7 of 11."""


@attrs.frozen
class Lognormal:
    """A part of the times to ready: lognormal."""

    share: float
    median: float
    sigma: float

    def rng(self, rng: Random) -> float:
        """Return one, in seconds."""
        return rng.lognormvariate(math.log(self.median), self.sigma)

    def until(self, seconds: float) -> float:
        """Return which share of them is over after so many seconds."""
        return 0.5 * math.erfc(-math.log(seconds / self.median) / self.sigma / math.sqrt(2)) if seconds > 0 else 0.0


TIMES: dict[str, tuple[Lognormal, ...]] = {
    "lognormal": (Lognormal(1.0, 12.0, 0.22),),
    "bimodal": (Lognormal(0.6, 6.0, 0.15), Lognormal(0.4, 17.0, 0.12)),
    "5 % at 60 s": (Lognormal(0.95, 12.0, 0.22), Lognormal(0.05, 60.0, 0.1)),
}
"""Times to ready. Documented is "about 10 to 15 s"; the shapes are assumed."""


def draw_time(times: str, rng: Random) -> float:
    """Return a time to ready, in seconds."""
    parts = TIMES[times]
    return rng.choices(parts, [part.share for part in parts])[0].rng(rng)


def over(times: str, seconds: float) -> float:
    """Return which share of the sessions is ready after so many seconds."""
    return sum(part.share * part.until(seconds) for part in TIMES[times])


def _stepped(steps: Sequence[float]) -> Percent:
    return lambda elapsed: 100 * bisect_right(steps, elapsed) / STEPS


def _spread(exponent: float, last: int = STEPS - 1) -> Callable[[str, float, Random], Percent]:
    """Return steps at random times, of which only the first so many are ever reached."""

    def percent(_: str, ready: float, rng: Random) -> Percent:
        return _stepped(sorted(ready * rng.random() ** exponent for _ in range(STEPS - 1))[:last])

    return percent


def _regular(last: int) -> Callable[[str, float, Random], Percent]:
    return lambda _times, ready, _rng: _stepped([ready * step / STEPS for step in range(1, last + 1)])


def _constant(percent: float) -> Callable[[str, float, Random], Percent]:
    return lambda _times, _ready, _rng: lambda _elapsed: percent


def _random(_: str, __: float, rng: Random) -> Percent:
    rng = Random(rng.random())
    return lambda _elapsed: 100 * rng.random()


def _random_constant(times: str, ready: float, rng: Random) -> Percent:
    return _constant(100 * rng.random())(times, ready, rng)


def _of_another(times: str, _: float, rng: Random) -> Percent:
    return _spread(1.0)(times, draw_time(times, rng), rng)


SHAPES: dict[str, Callable[[str, float, Random], Percent]] = {
    "uniform": _spread(1.0),
    "regular": _regular(STEPS - 1),
    "late": _spread(0.5),
    "early": _spread(2.0),
    "constant 0": _constant(0.0),
    "constant 50": _constant(50.0),
    "constant, drawn": _random_constant,
    "drawn anew": _random,
    "sticks, uniform": _spread(1.0, STEPS // 2),
    "sticks, regular": _regular(STEPS // 2),
    "another's": _of_another,
}
"""How the percent grows, given the time to ready: ten steps before the last at uniformly drawn times, at regular ones,
at times that are mostly late or mostly early; not at all; at random; up to half-way; or as another session's."""


@attrs.frozen
class World:
    """A service: how long its bots take, and how their percent grows, by name."""

    times: str
    shape: str

    def session(self, rng: Random) -> tuple[float, Percent]:
        """Return the time to ready of one session, and what its percent says."""
        ready = draw_time(self.times, rng)
        return ready, SHAPES[self.shape](self.times, ready, rng)


@attrs.frozen
class Outcome:
    """What came out, over all sessions."""

    requests: float
    """Polls a session, up to and with the one that saw readiness."""

    mean: float
    """Seconds from readiness to the poll that saw it, on average."""

    p95: float
    p99: float
    longest: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by their names."""
        return attrs.asdict(self)


def simulate(policy: PollPolicy, world: World, sessions: int, seed: int = 1) -> Outcome:
    """Let so many sessions poll a made-up service as the policy says, without latencies and failures.

    The same seed gives each policy the same sessions.
    """
    made, rng = Random(seed), Random(seed + 1).random
    requests, lags = 0, []
    for _ in range(sessions):
        ready, percent = world.session(made)
        elapsed, shown, rose = policy.first_pause(rng), 0.0, 0.0
        requests += 1
        while elapsed < ready:
            said = percent(elapsed)
            if said > shown:  # as `Lifecycle` does, which shows no lower percent
                shown, rose = said, elapsed
            elapsed += policy.pause(
                ready=False, failures=0, rng=rng, percent=shown, elapsed=elapsed, still=elapsed - rose
            )
            requests += 1
        lags.append(elapsed - ready)
    lags.sort()
    p95, p99 = (lags[math.ceil(share * sessions) - 1] for share in (0.95, 0.99))
    return Outcome(requests / sessions, math.fsum(lags) / sessions, p95, p99, lags[-1])
