"""Load tests to run in a test."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import repeat
from typing import Any

from akapulu_async import AkapuluClient
from akapulu_async.load.calls import CallObserver
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import LoadResult
from akapulu_async.load.runner import run_load
from akapulu_async.simulator import Simulator
from tests.support import managed
from tests.support.managed import Crowded
from tests.support.misbehaving import REQUEST
from tests.support.steered import QUICK_POLL


def crowded(**options: Any) -> AbstractAsyncContextManager[Crowded]:
    """Open a crowd, and a client of it whose calls are counted."""
    return managed.crowded(observers=[CallObserver()], **options)


@asynccontextmanager
async def simulated(**options: Any) -> AsyncGenerator[tuple[Simulator, AkapuluClient]]:
    """Open a simulator, and a client of it whose calls are counted."""
    async with Simulator(seed=1, ready_time=5.0, **options) as sim:
        observers = [CallObserver()]
        async with AkapuluClient(sim.api_key, base_url=sim.base_url, poll=QUICK_POLL, observers=observers) as client:
            yield sim, client


class Running:
    """A load test of one request that runs.

    Attributes:
        recorder: The measurements so far.
        result: The task that returns the result.
    """

    recorder: Recorder

    def __init__(self, client: AkapuluClient, **plan: Any) -> None:
        self._stop, self._begun = asyncio.Event(), asyncio.Event()
        self.result = asyncio.create_task(
            run_load(client, LoadPlan(**plan), repeat(REQUEST), stop=self._stop, follow=self._follow)
        )

    async def _follow(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._begun.set()

    async def begun(self) -> None:
        """Return once the recorder is there."""
        await self._begun.wait()

    async def stop(self) -> LoadResult:
        """Stop the test early, and return its result."""
        self._stop.set()
        return await self.result


async def loaded(client: AkapuluClient, **plan: Any) -> LoadResult:
    """Run a load test of one request to its end."""
    return await Running(client, **plan).result
