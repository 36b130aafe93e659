"""SIGINT and SIGTERM in the middle of a fan-out, alone and under a web server: bounded, clean, everything named."""

import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import fail_after, open_process
from anyio.abc import ByteReceiveStream, Process

from akapulu_async.simulator import Fault, Simulator
from tests.support import shut_down
from tests.test_examples import BACKENDS, environment

AT_ONCE = 4
"""How many connects are answered at once; the others are on their way when the signal comes."""

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


@asynccontextmanager
async def fanning_out(*arguments: object, late: float) -> AsyncIterator[tuple[Simulator, Process]]:
    """Give a program in the middle of its fan-out: some conversations run, the connects of others are not answered."""
    async with Simulator(auto_join=False, seed=1) as sim:
        sim.add_fault(Fault(route="connect", after=AT_ONCE, delay=late, times=None))
        command = [sys.executable, "-X", "dev", "-m", "tests.support.shut_down", *map(str, arguments)]
        root = Path(shut_down.__file__).parents[2]
        async with await open_process(command, env=environment(sim), cwd=root) as process:
            try:
                await sim.wait_until(lambda: sim.open_conversations == shut_down.AT_WORK, timeout=20)
                yield sim, process
            finally:
                if process.returncode is None:
                    process.kill()


def joined(sim: Simulator) -> int:
    """Return in how many rooms somebody is, or was."""
    return sum(view.joined_at is not None for view in sim.conversations.values())


async def ended(process: Process) -> tuple[str, str, float]:
    """Return what a program printed, its errors, and how long it took to end."""
    began = time.monotonic()
    with fail_after(15):
        await process.wait()
    took = time.monotonic() - began
    assert process.stdout is not None
    assert process.stderr is not None
    # In development mode, asyncio also tells of what a busy machine made slow.
    lines = (await everything(process.stderr)).splitlines(keepends=True)
    errors = "".join(line for line in lines if not line.startswith("Executing <"))
    return await everything(process.stdout), errors, took


async def everything(stream: ByteReceiveStream) -> str:
    return b"".join([piece async for piece in stream]).decode()


def named(errors: str) -> set[str]:
    """Return the conversations of which each line of the errors names one, as the one that holds a slot."""
    lines = errors.splitlines()
    ids = {found[0] for line in lines if line.endswith("holds a slot") and (found := UUID.search(line))}
    assert len(ids) == len(lines), errors
    return ids


@SIGNALS
async def test_alone(number: signal.Signals) -> None:
    """Who runs has left when the program is gone; who was just connected is named, and nobody else holds a slot."""
    async with fanning_out(late=0.5) as (sim, process):
        await sim.wait_until(lambda: joined(sim) == AT_ONCE)
        process.send_signal(number)
        _, errors, took = await ended(process)
        left = {str(session_id) for session_id, view in sim.conversations.items() if view.ended_at is None}
    assert process.returncode == 0
    assert named(errors) == left
    assert len(left) == shut_down.AT_WORK - AT_ONCE
    assert took < 4


@SIGNALS
async def test_under_a_web_server(number: signal.Signals, tmp_path: Path) -> None:
    """Who runs goes on without the backend, and is named, as is who was just connected."""
    backend = tmp_path / "backend.py"
    backend.write_text(BACKENDS[0], "utf-8")
    async with fanning_out(backend, late=0.5) as (sim, process):
        process.send_signal(number)
        _, errors, took = await ended(process)
        there = set(map(str, sim.conversations))
    assert process.returncode == 0
    assert named(errors) == there
    assert len(there) == shut_down.AT_WORK
    assert took < 4


async def test_a_service_that_hangs() -> None:
    """Connects that are never answered are waited for five seconds, each is told of, and then the program is gone."""
    # Over 5 s: that is what it waits.
    async with fanning_out(late=60) as (sim, process):
        await sim.wait_until(lambda: joined(sim) == AT_ONCE)
        process.send_signal(signal.SIGTERM)
        _, errors, took = await ended(process)
    line = "! POST /conversations/connect/ was cancelled, and its answer did not come: it may have been done"
    assert errors.splitlines() == [line] * (shut_down.AT_WORK - AT_ONCE)
    assert process.returncode == 0
    assert 4.5 < took < 8
