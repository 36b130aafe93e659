"""Runs the installed command: like a script, in a terminal, and with signals."""

import atexit
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import anyio
import attrs
from anyio.streams.buffered import BufferedByteReceiveStream

from akapulu_async import AkapuluClient, ConnectRequest
from akapulu_async.simulator import Simulator
from tests.support.managed import Crowded
from tests.support.misbehaving import API_KEY

# ruff: noqa: S603 - runs this package's own command

PROGRAM = "import sys; from akapulu_async.__main__ import main; sys.exit(main())"
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
    await service.server.until(lambda: service.connects >= count, HANG)


def reaching(service: Crowded) -> dict[str, str]:
    """Return the environment in which commands use a crowd as the service."""
    return {"AKAPULU_API_KEY": API_KEY, "AKAPULU_BASE_URL": service.client.base_url}


class Command:
    """A command that runs, forked from a process that has imported everything."""

    def __init__(self, pid: int, answers: BufferedByteReceiveStream, streams: Sequence[IO[bytes]]) -> None:
        self.streams = streams
        self._pid = pid
        self._answers = answers
        self._code: int | None = None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    async def wait(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        if self._code is None:
            self._code = await _number(self._answers)
        return self._code

    def kill(self) -> None:
        """Kill the command, unless it has ended."""
        if self._code is None:
            self.send_signal(signal.SIGKILL)


async def run(
    *arguments: object,
    sim: Simulator | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: str = SCRIPT,
) -> Done:
    """Run a command without a terminal: forked, unless something must be there when Python starts."""
    if program == SCRIPT and not any(name.startswith("PYTHON") for name in environ or ()):
        async with running(*arguments, sim=sim, environ=environ, cwd=cwd) as process:
            return await rest_of(process)
    command, env = [program, *map(str, arguments)], environment(sim, environ)
    with anyio.fail_after(HANG):
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


@asynccontextmanager
async def _forked(
    streams: Sequence[IO[bytes]],
    arguments: Sequence[object],
    env: Mapping[str, str],
    *,
    cwd: Path | None = None,
    program: str = PROGRAM,
    in_terminal: bool = False,
) -> AsyncIterator[Command]:
    path = await anyio.to_thread.run_sync(_fork_server)
    words = {"program": program, "arguments": [*map(str, arguments)], "cwd": str(cwd or Path.cwd())}
    order = {**words, "env": env, "terminal": in_terminal}
    with anyio.fail_after(HANG):
        async with await anyio.connect_unix(path) as connection:
            await connection.send_fds(b"\0", [stream.fileno() for stream in streams])
            await connection.send(f"{json.dumps(order)}\n".encode())
            answers = BufferedByteReceiveStream(connection)
            command = Command(await _number(answers), answers, streams)
            try:
                yield command
            finally:
                command.kill()


async def _number(answers: BufferedByteReceiveStream) -> int:
    return int(await answers.receive_until(b"\n", 20))


@asynccontextmanager
async def running(
    *arguments: object, sim: Simulator | None = None, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[Command]:
    """Start a command without a terminal; kill it at the end of the block."""
    with TemporaryFile() as nothing, TemporaryFile() as out, TemporaryFile() as err:
        async with _forked((nothing, out, err), arguments, environment(sim, environ), cwd=cwd) as command:
            yield command


async def rest_of(process: Command) -> Done:
    """Return the result of a running command."""
    code = await process.wait()
    _, *written = process.streams
    for stream in written:
        stream.seek(0)
    done = Done(code, *(stream.read().decode() for stream in written))
    sys.stdout.write(done.out + done.err)  # pytest shows it if the test fails, and the scan for secrets searches it
    return done


async def connected(sim: Simulator, **options: Any) -> str:
    """Connect a conversation from here, and return its id."""
    async with AkapuluClient(sim.api_key, base_url=sim.base_url) as client:
        return (await client.conversations.connect(ConnectRequest(ID, ID, **options))).conversation_session_id


class Terminal:
    """A command in a terminal of 80 columns."""

    def __init__(self, process: Command, screen: int) -> None:
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
        return await self.process.wait()

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
    *arguments: object, sim: Simulator | None = None, environ: Mapping[str, str] | None = None, program: str = PROGRAM
) -> AsyncIterator[Terminal]:
    """Start a command, or another program in Python, in a terminal of its own; kill it at the end of the block."""
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    env = environment(sim, {"TERM": "xterm-256color", **(environ or {})})
    try:
        with os.fdopen(inside, "r+b", buffering=0) as theirs:
            forked = _forked([theirs] * 3, arguments, env, program=program, in_terminal=True)
            async with forked as command:
                theirs.close()  # so that the screen ends with the command
                yield Terminal(command, screen)
    finally:
        os.close(screen)


CONTROL_CODES = re.compile(r"\x1b|\r|[\x00-\x09\x0b-\x1f]")
COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")


def as_read(shown: str) -> str:
    """Return the output of a terminal without its control codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)
