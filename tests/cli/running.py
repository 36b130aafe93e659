"""Runs the installed command: like a script, in a terminal, and with signals."""

import atexit
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import attrs
from anyio.abc import Process

from akapulu_async import AkapuluClient, ConnectRequest
from akapulu_async.simulator import Simulator
from tests.support.managed import Crowded
from tests.support.misbehaving import API_KEY

# ruff: noqa: S603 - runs this package's own command

SCRIPT = str(Path(sys.executable).with_name("akapulu-async"))
ID = "123e4567-e89b-12d3-a456-426614174000"
IDS = ("--scenario", ID, "--avatar", ID)
HANG = 100.0
"""Seconds after which a command hangs, even on a very slow machine."""


@attrs.frozen
class Done:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its JSON, one object per line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(sim: Simulator | None = None, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command, with a simulator as the service or without one."""
    unwanted = ("AKAPULU_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERM")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    if sim is not None:
        clean |= {"AKAPULU_API_KEY": sim.api_key, "AKAPULU_BASE_URL": sim.base_url}
    return {**clean, "PYTHONWARNINGS": "error", **(changes or {})}


async def connecting(service: Crowded, count: int = 1) -> None:
    """Return when commands have sent this many connects, however long they take to start."""
    while service.connects < count:  # noqa: ASYNC110 - a hang guard is around it
        await anyio.sleep(0.01)


def reaching(service: Crowded) -> dict[str, str]:
    """Return the environment in which commands use a crowd as the service."""
    return {"AKAPULU_API_KEY": API_KEY, "AKAPULU_BASE_URL": service.client.base_url}


async def run(
    *arguments: object,
    sim: Simulator | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: str = SCRIPT,
) -> Done:
    """Run a command without a terminal: forked, unless something must be there when Python starts."""
    command, env = [program, *map(str, arguments)], environment(sim, environ)
    with anyio.fail_after(HANG):
        if program == SCRIPT and not any(name.startswith("PYTHON") for name in environ or ()):
            return await _forked(command[1:], env, cwd)
        done = await anyio.run_process(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@cache
def _fork_server() -> str:
    """Start the server of this test process, and return the path of its socket."""
    folder = tempfile.mkdtemp()
    path = f"{folder}/socket"
    command = [sys.executable, str(Path(__file__).with_name("forking.py")), path]
    server = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()

    def stop() -> None:
        server.kill()
        server.wait()
        shutil.rmtree(folder)

    atexit.register(stop)
    return path


async def _forked(arguments: list[str], env: Mapping[str, str], cwd: Path | None) -> Done:
    path = await anyio.to_thread.run_sync(_fork_server)
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        order = {"arguments": arguments, "env": env, "cwd": str(cwd or Path.cwd()), "out": out.name, "err": err.name}
        async with await anyio.connect_unix(path) as connection:
            await connection.send(f"{json.dumps(order)}\n".encode())
            code = int(await connection.receive())
        return Done(code, out.read().decode(), err.read().decode())


@asynccontextmanager
async def running(
    *arguments: object, sim: Simulator | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Start a command without a terminal; kill it at the end of the block."""
    async with await anyio.open_process([SCRIPT, *map(str, arguments)], env=environment(sim, environ)) as process:
        try:
            with anyio.fail_after(HANG):
                yield process
        finally:
            if process.returncode is None:
                process.kill()


async def rest_of(process: Process) -> Done:
    """Return the result of a running command."""
    assert process.stdout is not None
    assert process.stderr is not None
    texts = [b"".join([piece async for piece in stream]).decode() for stream in (process.stdout, process.stderr)]
    return Done(await process.wait(), *texts)


async def connected(sim: Simulator, **options: Any) -> str:
    """Connect a conversation from here, and return its id."""
    async with AkapuluClient(sim.api_key, base_url=sim.base_url) as client:
        return (await client.conversations.connect(ConnectRequest(ID, ID, **options))).conversation_session_id


class Terminal:
    """A command in a terminal of 80 columns."""

    def __init__(self, process: "subprocess.Popen[bytes]", screen: int) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen

    async def expect(self, pattern: str) -> None:
        """Read until a pattern was shown."""
        while not re.search(pattern, self.shown):
            if not await self._read():
                raise AssertionError(f"it ended without {pattern!r}: {self.shown}")

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._screen, text.encode())

    async def end(self) -> int:
        """Read until it ends; return the exit code."""
        while await self._read():
            pass
        return await anyio.to_thread.run_sync(self.process.wait)

    async def _read(self) -> bool:
        await anyio.wait_readable(self._screen)
        try:
            read = os.read(self._screen, 65536)
        except OSError:  # how Linux reports that the other side is closed
            return False
        self.shown += read.decode(errors="replace")
        return bool(read)


@asynccontextmanager
async def terminal(
    *arguments: object, sim: Simulator | None = None, environ: Mapping[str, str] | None = None, program: str = SCRIPT
) -> AsyncIterator[Terminal]:
    """Start a command in a terminal of its own; kill it at the end of the block."""
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = subprocess.Popen(  # noqa: ASYNC220 - it takes a moment
        [sys.executable, "-c", IN_TERMINAL, program, *map(str, arguments)],
        env=environment(sim, {"TERM": "xterm-256color", **(environ or {})}),
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    try:
        with anyio.fail_after(HANG):
            yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


# The terminal must control the process, so that a typed Ctrl-C becomes a signal.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

CONTROL_CODES = re.compile(r"\x1b|\r|[\x00-\x09\x0b-\x1f]")
COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")


def as_read(shown: str) -> str:
    """Return the output of a terminal without its control codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)
