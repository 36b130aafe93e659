"""Runs a load test: starts the conversations when they are due, and waits for the last one to end."""

import asyncio
import contextlib
import math
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import anyio.lowlevel
import attrs

from akapulu_async import AkapuluClient, ConnectRequest, SessionManager
from akapulu_async.load.attempts import attempt
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import LoadResult, doubts

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples."""

BREATH = 64
"""Overdue arrivals in a row after which the event loop may run other tasks."""

RESERVED_FILES = 100
"""Open files kept for everything but connections."""

FEWEST, MOST = 64, 30_000
"""Bounds of the connection pool; one address can open about 30,000 connections to another."""

Follower = Callable[[Recorder], Coroutine[Any, Any, None]]
"""Shows the progress until it is cancelled, at the end of the test."""


async def run_load(
    client: AkapuluClient, plan: LoadPlan, requests: Iterator[ConnectRequest], *, stop: asyncio.Event, follow: Follower
) -> LoadResult:
    """Run a load test.

    Args:
        client: An open client. Give it `pool_size=connections(plan.most_at_once)` and `observers=[CallObserver()]`.
        plan: The plan.
        requests: The connect requests, an endless iterator.
        stop: Set it to end the test early: nothing more is started, and what runs is ended.
        follow: Shows the progress.
    """
    await _warm_up()
    recorder = Recorder()
    with recorder.warnings.listening():
        async with SessionManager(
            client,
            max_sessions=None if plan.rate is None else plan.concurrency,
            poll=plan.poll,
            ready_timeout=plan.ready_timeout,
        ) as manager:
            load = _Load(manager, plan, requests, recorder)
            around = (recorder.lag.watch(), load.keep_sampling(), load.stop_on(stop), follow(recorder))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in around]
                await load.drive()
                for task in tasks:
                    task.cancel()
            recorder.take_sample(manager.statistics())
            recorder.close()
    return _result(plan, recorder)


async def _warm_up() -> None:
    """Import and start whatever is made at its first use: during the test it would delay the measured event loop."""
    await anyio.lowlevel.checkpoint()  # its backend, which the first session that ends needs
    await asyncio.to_thread(int)  # a thread, which resolves addresses and draws


def _result(plan: LoadPlan, recorder: Recorder) -> LoadResult:
    result = LoadResult(
        title=plan.title,
        settings=plan.settings,
        started_at=recorder.started_at,
        seconds=recorder.seconds,
        attempts=tuple(sorted(recorder.attempts, key=lambda each: each.index)),
        samples=tuple(recorder.samples),
        connect=recorder.connect,
        ready=recorder.ready,
        loop_lag=recorder.lag.lag,
        failures=dict(recorder.failures),
        polls=recorder.samples[-1].polls,
        retries=recorder.calls.retries,
        poll_errors=dict(recorder.calls.poll_errors),
        rate=plan.rate,
        arrival_lag=recorder.arrival_lag,
        resolution=plan.resolution,
        cpu_share=recorder.cpu_share,
        interrupted=recorder.interrupted,
    )
    return attrs.evolve(result, warnings=(*doubts(result), *recorder.warnings.sentences))


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
        """Start all conversations, and wait until the last one is over."""
        async with asyncio.TaskGroup() as group:
            feed = self._fill_places if self._plan.rate is None else self._start_when_due
            self._feeder = group.create_task(feed(group), name="akapulu load")

    async def stop_on(self, stop: asyncio.Event) -> None:
        """When the event is set, start no more conversations and end the running ones."""
        await stop.wait()
        self._recorder.interrupted = True
        if self._feeder is not None:
            self._feeder.cancel()
        await self._manager.aclose()

    async def keep_sampling(self) -> None:
        """Take samples until cancelled."""
        number = 0
        while True:
            self._recorder.take_sample(self._manager.statistics())
            # Samples that were missed while the process was stopped are not taken later.
            number = max(number, math.floor(self._recorder.clock() / SAMPLE_INTERVAL)) + 1
            await asyncio.sleep(number * SAMPLE_INTERVAL - self._recorder.clock())

    # The open loop.

    async def _start_when_due(self, group: asyncio.TaskGroup) -> None:
        for number, due in enumerate(self._plan.due_times()):
            wait = due - self._recorder.clock()
            # Overdue arrivals start at once, but now and then the loop must run its other tasks.
            if wait > 0 or number % BREATH == 0:
                await asyncio.sleep(wait)
            group.create_task(self._attempt(due))

    # The closed loop.

    async def _fill_places(self, group: asyncio.TaskGroup) -> None:
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


def connections(wanted: int | None) -> int:
    """Return the pool size with which no request waits for a connection, raising the limit of open files if needed.

    Args:
        wanted: The most conversations at once, each with at most one request in flight; None: no limit.
    """
    wanted = MOST if wanted is None else min(max(wanted, FEWEST), MOST)
    return max(FEWEST, min(wanted, _allow_files(wanted + RESERVED_FILES) - RESERVED_FILES))


def _allow_files(wanted: int) -> int:
    """Raise the limit of open files as far as needed and allowed; return how many of the wanted may be open."""
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
