"""Fixtures for tests of the command line."""

from collections.abc import AsyncIterator

import pytest

from akapulu_async.simulator import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A service at 60 times real speed whose calls end with their script."""
    async with Simulator(speed=60, seed=1, ready_time=10, end_with_script=True) as simulator:
        yield simulator


@pytest.fixture
async def still() -> AsyncIterator[Simulator]:
    """A service whose clock stands still until it is advanced, and whose rooms stay empty."""
    async with Simulator(speed=0, seed=1, ready_time=10, auto_join=False) as simulator:
        yield simulator
