"""Runs a load test: sends conversations on their way when they are due, and waits for the last."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from random import Random
from typing import Any

from akapulu_async.http.transport import POOL_SIZE
from akapulu_async.load.attempts import attempt
from akapulu_async.load.plan import LoadPlan, due_times
from akapulu_async.load.recorder import Recorder
from akapulu_async.manager import Client, SessionManager
from akapulu_async.models.connection import ConnectRequest

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples."""

BREATH = 64
"""After how many arrivals in a row that are late already the loop may do other things."""

Follower = Callable[[Recorder], Coroutine[Any, Any, None]]
"""Shows what is recorded until it is cancelled, which it is when the test is over."""


async def run_load(
    client: Client, plan: LoadPlan, requests: Iterator[ConnectRequest], *, stop: asyncio.Event, follow: Follower
) -> Recorder:
    """Do what is planned, and return what was noted.

    Args:
        client: The client, which is open.
        plan: What to do.
        requests: What to connect, one after the other, without end.
        stop: When it is set, nothing more is begun, and what runs is ended.
        follow: Shows how it goes.
    """
    recorder = Recorder()
    async with SessionManager(
        client,
        max_sessions=None if plan.rate is None else plan.concurrency,
        poll=plan.poll,
        ready_timeout=plan.ready_timeout,
    ) as manager:
        load = _Load(manager, plan, requests, recorder)
        around = (recorder.lag.watch(), load.keep_sampling(), load.stop_when_told(stop), follow(recorder))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in around]
            await load.drive()
            for task in tasks:
                task.cancel()
        recorder.take_sample(manager.statistics())
        recorder.close()
    return recorder


class _Load:
    def __init__(
        self, manager: SessionManager, plan: LoadPlan, requests: Iterator[ConnectRequest], recorder: Recorder
    ) -> None:
        self._manager = manager
        self._plan = plan
        self._requests = requests
        self._recorder = recorder
        self._feeder: asyncio.Task[None] | None = None

    async def drive(self) -> None:
        """Begin all conversations, and wait until the last is over."""
        async with asyncio.TaskGroup() as group:
            feed = self._work_in_places if self._plan.rate is None else self._send_when_due
            self._feeder = group.create_task(feed(group), name="akapulu load")

    async def stop_when_told(self, stop: asyncio.Event) -> None:
        """Begin no more and end what runs, once that is asked for."""
        await stop.wait()
        self._recorder.interrupted = True
        if self._feeder is not None:
            self._feeder.cancel()
        await self._manager.aclose()

    async def keep_sampling(self) -> None:
        """Take samples until cancelled."""
        for number in count():
            await asyncio.sleep(number * SAMPLE_INTERVAL - self._recorder.clock())
            self._recorder.take_sample(self._manager.statistics())

    # The open loop.

    async def _send_when_due(self, group: asyncio.TaskGroup) -> None:
        for number, due in enumerate(self._due_times()):
            wait = due - self._recorder.clock()
            # What is late already is not kept waiting by what the loop does besides, but now and then that must go on.
            if wait > 0 or number % BREATH == 0:
                await asyncio.sleep(wait)
            group.create_task(self._attempt(due))

    def _due_times(self) -> Iterator[float]:
        plan = self._plan
        assert plan.rate is not None
        rng = Random(plan.seed)  # noqa: S311 - to be repeated, not to be secret
        return due_times(plan.arrivals, plan.rate, rng, conversations=plan.conversations, duration=plan.duration)

    # The closed loop.

    async def _work_in_places(self, group: asyncio.TaskGroup) -> None:
        for place in range(self._plan.concurrency or 0):
            await asyncio.sleep(self._plan.opening(place) - self._recorder.clock())
            if not self._wants_more():
                break
            group.create_task(self._work())

    async def _work(self) -> None:
        while self._wants_more():
            await self._attempt(None)
        if self._feeder is not None:
            self._feeder.cancel()  # no more places are needed

    def _wants_more(self) -> bool:
        plan, recorder = self._plan, self._recorder
        if recorder.interrupted or (plan.conversations is not None and recorder.arrived >= plan.conversations):
            return False
        return plan.duration is None or recorder.clock() < plan.duration

    async def _attempt(self, due: float | None) -> None:
        await attempt(self._manager, self._recorder, next(self._requests), due=due, hold=self._plan.hold)


RESERVE = 100
"""Open files that are left to all else."""

MOST = 30_000
"""About as many as one address can have open to another."""


def connections(wanted: int | None) -> int:
    """Return how many connections to allow, so that no call waits in this program for another one's answer.

    The limit of open files is raised for that as far as the system lets this process.

    Args:
        wanted: How many conversations may run at once, each with one call at most on its way; None for any number.
    """
    wanted = MOST if wanted is None else min(max(wanted, POOL_SIZE), MOST)
    return max(POOL_SIZE, min(wanted, _allow_files(wanted + RESERVE) - RESERVE))


def _allow_files(wanted: int) -> int:
    """Raise the limit of open files, if need be and as far as can be; returns how many of those may be open."""
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = (
        wanted if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    if soft >= wanted:
        return wanted
    with contextlib.suppress(ValueError, OSError):  # some systems have another limit below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return min(wanted, hard)
    return soft
