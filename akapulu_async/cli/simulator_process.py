"""A simulator in its own process, so that it and the load generator do not slow each other."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import attrs

GRACE = 5.0
"""Seconds it may take to end."""

MODULE = "akapulu_async.cli.simulator_process"


@attrs.frozen
class Address:
    """The address and key of a simulator."""

    base_url: str
    api_key: str


@asynccontextmanager
async def simulator_process(*, speed: float) -> AsyncGenerator[Address]:
    """Run a simulator within a block. It also ends with this process, however that ends.

    Args:
        speed: Simulated seconds per real second.

    Raises:
        OSError: It does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, str(speed), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise OSError("the simulator did not start; run `akapulu-async simulate` to see why")
        yield Address(**json.loads(line))
    finally:
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _serve(speed: float) -> None:
    from akapulu_async.simulator import Simulator  # noqa: PLC0415 - the other process does without

    async with Simulator(speed=speed, end_with_script=True, requests_kept=0) as sim:
        sys.stdout.write(json.dumps({"base_url": sim.base_url, "api_key": sim.api_key}) + "\n")
        sys.stdout.flush()
        # The parent holds the other end of the pipe, which closes at the latest when the parent dies.
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    # These go to all processes of a terminal; this one ends with its parent, not before.
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_serve(float(sys.argv[1])))
