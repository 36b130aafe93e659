"""What `ProgressPollPolicy` is compared with: rules that know more than a library can, or have no guard."""

from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from random import Random

import attrs

from akapulu_async import PollPolicy
from polling_worlds import STEPS, World, over

GRID = 0.025  # seconds between the moments at which the best schedule may poll
TRAINING, TICK = 2_000, 0.1  # sessions that the learned rule has seen, looking at them so often, in seconds


@attrs.frozen
class Plain(PollPolicy):
    """The interval, and so much of it more for each milestone left before the last: no guard, no cap."""

    growth: float = 1.0

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:  # noqa: ARG002
        """Return the pause."""
        return self.interval * (1 + self.growth * (STEPS * (1 - percent / 100) - 1))


@attrs.frozen
class Learned(PollPolicy):
    """For each milestone, a quantile of the time that was left after it in earlier sessions."""

    left: tuple[float, ...] = ()

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:  # noqa: ARG002
        """Return the pause: what is left of that time, or the interval."""
        return max(self.interval, self.left[round(percent / 100 * STEPS)] - still)


@attrs.frozen
class Schedule(PollPolicy):
    """Polls at set times after the connect, then at the interval: heeds no progress."""

    times: tuple[float, ...] = ()

    def first_pause(self, rng: Callable[[], float]) -> float:  # noqa: ARG002
        """Return the first time."""
        return self.times[0]

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:  # noqa: ARG002
        """Return the pause until the next time."""
        following = bisect_right(self.times, elapsed + GRID / 2)
        return self.times[following] - elapsed if following < len(self.times) else self.interval


def learned(world: World, share: float) -> Learned:
    """Return the rule whose pauses end before so large a share of the sessions is ready; not below 0.4 s."""
    left = _times_left(world)
    return Learned(0.4, left=tuple(each[min(int(share * len(each)), len(each) - 1)] for each in left))


@cache
def _times_left(world: World) -> list[list[float]]:
    """Return, for each milestone, the sorted seconds from it to readiness in sessions that are not measured."""
    rng = Random(3)
    left: list[list[float]] = [[] for _ in range(STEPS)]
    for _ in range(TRAINING):
        ready, percent = world.session(rng)
        count = -1
        for tick in range(int(ready / TICK) + 1):
            reached = round(percent(tick * TICK) / 100 * STEPS)
            for step in range(count + 1, reached + 1):
                left[step].append(ready - tick * TICK)
            count = max(count, reached)
    return [sorted(each) for each in left]


@cache
def best_schedule(times: str, lag: float, share: float) -> Schedule:
    """Return the schedule with the fewest polls a session of those whose lag is longer in no more than that share.

    It knows the true distribution of the times to ready, and finds the schedule by dynamic programming over a grid.
    The price of a late session is searched until no more than that share is late, so that the schedule is the best
    among those that a price can tell apart.
    """
    low, high = 0.1, 100_000.0
    shares = _shares_over(times)
    for _ in range(20):
        price = (low * high) ** 0.5
        _, late = _planned(shares, price, round(lag / GRID))
        low, high = (low, price) if late <= share else (price, high)
    plan, _ = _planned(shares, high, round(lag / GRID))
    return Schedule(0.5, jitter=0.0, times=tuple(tick * GRID for tick in plan))


def _shares_over(times: str) -> list[float]:
    """Return which share of the sessions is ready at each moment of the grid, until all but a few are."""
    shares = [0.0]
    while shares[-1] < 0.9999:
        shares.append(over(times, len(shares) * GRID))
    return shares


def _planned(shares: list[float], price: float, lag: int) -> tuple[list[int], float]:
    """Return at which moments of the grid to poll if a late session costs so many polls, and which share is late."""
    end = len(shares) - 1
    costs, following = [0.0] * (end + 1), [0] * (end + 1)
    for now in range(end - 1, -1, -1):
        asked, ready = 1 - shares[now], shares[now]
        # Nobody is late for a poll that comes within the lag wanted; and the later of those can only be better.
        soonest = min(now + lag, end)
        best, at = asked + costs[soonest], soonest
        for then in range(soonest + 1, end + 1):
            late = price * (shares[then - lag] - ready)
            if late >= best:
                break  # it only gets worse
            cost = asked + late + costs[then]
            if cost < best:
                best, at = cost, then
        costs[now], following[now] = best, at
    plan, late, now = [], 0.0, 0
    while now < end:
        then = following[now]
        late += max(shares[max(then - lag, 0)] - shares[now], 0.0)
        plan.append(then)
        now = then
    return plan, late
