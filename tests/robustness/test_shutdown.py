"""SIGINT and SIGTERM in the middle of a fan-out, alone and under a web server: it ends, and names what goes on."""

import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import fail_after, open_process
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from akapulu_async.simulator import Fault, Simulator
from tests.support import shut_down
from tests.test_examples import BACKENDS, environment

AT_ONCE = 4
"""How many connects are answered without delay; the others are under way when the signal comes."""

GUARD = 60.0
"""Seconds after which a test gives up."""

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
pytestmark = pytest.mark.timeout(2 * GUARD)
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


@asynccontextmanager
async def fanning_out(*arguments: object, late: float) -> AsyncIterator[tuple[Simulator, Process]]:
    """Run a program until it fans out: some conversations run, the other connects are answered `late` seconds later."""
    async with Simulator(auto_join=False, seed=1) as sim:
        sim.add_fault(Fault(route="connect", after=AT_ONCE, delay=late, times=None))
        command = [sys.executable, "-X", "dev", "-m", "tests.support.shut_down", *map(str, arguments)]
        root = Path(shut_down.__file__).parents[2]
        async with await open_process(command, env=environment(sim), cwd=root) as process:
            try:
                await sim.wait_until(lambda: sim.open_conversations == shut_down.AT_WORK, timeout=GUARD)
                yield sim, process
            finally:
                if process.returncode is None:
                    process.kill()


async def joined(process: Process) -> None:
    """Wait until the participants of all connected conversations are in their rooms."""
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    with fail_after(GUARD):
        for _ in range(AT_ONCE):
            assert await lines.receive_until(b"\n", 100) == b"joined"


async def ended(process: Process) -> str:
    """Wait until a program has ended, and return its errors."""
    with fail_after(GUARD):
        await process.wait()
    assert process.stderr is not None
    # In development mode, asyncio also reports what a busy machine made slow.
    lines = b"".join([piece async for piece in process.stderr]).decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Executing <"))


def named(errors: str) -> set[str]:
    """Return the conversations that the lines name, one a line, as those that hold a slot."""
    lines = errors.splitlines()
    ids = {found[0] for line in lines if re.search("holds? (a|its) slot$", line) and (found := UUID.search(line))}
    assert len(ids) == len(lines), errors
    return ids


@SIGNALS
@pytest.mark.slow
async def test_alone(number: signal.Signals) -> None:
    """The running ones leave before the program ends; those just connected are named, and nobody else holds a slot."""
    # Late enough that the signal comes first, and within the five seconds that the program waits.
    async with fanning_out(late=3) as (sim, process):
        await joined(process)
        process.send_signal(number)
        errors = await ended(process)
        left = {str(session_id) for session_id, view in sim.conversations.items() if view.ended_at is None}
    assert process.returncode == 0
    assert named(errors) == left
    assert len(left) == shut_down.AT_WORK - AT_ONCE


@SIGNALS
async def test_under_a_web_server(number: signal.Signals, tmp_path: Path) -> None:
    """The running ones go on without the backend, and are named, as are those just connected."""
    backend = tmp_path / "backend.py"
    backend.write_text(BACKENDS[0], "utf-8")
    async with fanning_out(backend, late=0.5) as (sim, process):
        process.send_signal(number)
        errors = await ended(process)
        there = set(map(str, sim.conversations))
    assert process.returncode == 0
    assert named(errors) == there
    assert len(there) == shut_down.AT_WORK


@pytest.mark.slow
async def test_a_service_that_hangs() -> None:
    """Connects that are never answered are waited for five seconds and logged, and then the program ends."""
    async with fanning_out(late=600) as (_, process):
        await joined(process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        errors = await ended(process)
        assert time.monotonic() - began > 4.5
    lines = errors.splitlines()
    assert len(lines) == shut_down.AT_WORK - AT_ONCE
    assert all("POST /conversations/connect/ was cancelled, and its answer did not come" in line for line in lines)
    assert process.returncode == 0
