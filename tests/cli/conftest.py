"""What tests of the command line share."""

from collections.abc import AsyncIterator

import pytest

from akapulu_async.simulator import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A service 60 times as fast as life, whose calls end with their script."""
    async with Simulator(speed=60, seed=1, ready_time=10, end_with_script=True) as simulator:
        yield simulator


@pytest.fixture
async def still() -> AsyncIterator[Simulator]:
    """A service whose time stands still until it is advanced, and which nobody joins by himself."""
    async with Simulator(speed=0, seed=1, ready_time=10, auto_join=False) as simulator:
        yield simulator
