"""Starts real gateways in front of a service, unprivileged, on loopback, each with its own folder."""

import asyncio
import os
import random
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest

HOST = "127.0.0.1"

_PORTS = range(20_000, 32_000)
"""Below the ports that outgoing connections take, so that a stopped gateway gets its port again."""

_GUARD = 30.0  # seconds after which a test gives up
LOOK_AGAIN = 0.02
"""Seconds between two looks whether a gateway listens."""

_LOG = "log"
_NOBODY = 65534  # user and group


@attrs.frozen
class Site:
    """What a configuration is written from."""

    folder: Path
    port: int
    upstream: str
    """Host and port of the service."""

    certificate: Path | None = None
    """With its key and its authority, in one file; None for plain HTTP."""

    options: str = ""
    """Lines for the place in the configuration where the service is named."""

    def write(self, name: str, text: str) -> Path:
        """Write a file of the configuration."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@attrs.frozen
class Kind:
    """A gateway's program."""

    name: str
    package: str
    """Of Debian."""

    program: str
    configure: Callable[[Site], Sequence[str]]
    """Writes the configuration and returns the arguments with which the program stays in the foreground."""

    def require(self) -> None:
        """Skip the test, by name, if the gateway is not installed."""
        for program, package in ((self.program, self.package), ("setpriv", "util-linux")):
            if _found(program) is None:
                pytest.skip(f"{program} is not installed: apt-get install {package}")


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


class Gateway:
    """A gateway. Its processes also end if this process is killed."""

    def __init__(self, kind: Kind, site: Site) -> None:
        self.site = site
        self._command = [*_unprivileged(), str(_found(kind.program)), *kind.configure(site)]
        self._process: Process | None = None
        scheme = "http" if site.certificate is None else "https"
        self.base_url = f"{scheme}://{HOST}:{site.port}/api"

    async def start(self) -> None:
        """Start it, and return once it listens."""
        self._process = await self._run()
        try:
            async with asyncio.timeout(_GUARD):
                while not await listens(self.site.port):
                    if self._process.returncode is not None:
                        pytest.fail(f"the gateway ended:\n{(self.site.folder / _LOG).read_text('utf-8')}")
                    await asyncio.sleep(LOOK_AGAIN)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it at once, as its service manager would."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            with suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                async with asyncio.timeout(_GUARD):
                    await process.wait()
        finally:
            with suppress(ProcessLookupError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def call(self, *arguments: str) -> None:
        """Run its program with further arguments, which control the one that runs."""
        process = await self._run(*arguments)
        assert await process.wait() == 0, (self.site.folder / _LOG).read_text("utf-8")

    async def _run(self, *arguments: str) -> Process:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.site.folder)}
        with (self.site.folder / _LOG).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command, *arguments, stdout=log, stderr=STDOUT, env=environment, start_new_session=True
            )


async def listens(port: int) -> bool:
    """Return True if somebody listens at a port."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


@asynccontextmanager
async def running(
    kind: Kind, upstream: str, *, certificate: bytes | None = None, options: str = ""
) -> AsyncGenerator[Gateway]:
    """Run a gateway in front of the service at `upstream`, a host and port."""
    with tempfile.TemporaryDirectory(prefix=f"{kind.name}-") as name:
        folder = Path(name)
        site = Site(folder, _free_port(), upstream, options=options)
        if certificate is not None:
            (folder / "certificate.pem").write_bytes(certificate)
            site = attrs.evolve(site, certificate=folder / "certificate.pem")
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        gateway = Gateway(kind, site)
        await gateway.start()
        try:
            yield gateway
        finally:
            await gateway.stop()


def _unprivileged() -> list[str]:
    """Return the beginning of a command that runs without rights, and gets SIGTERM when this process has ended."""
    nobody = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *nobody, "--pdeathsig=TERM", "--"]


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with suppress(OSError), socket.socket() as sock:
            sock.bind((HOST, port))
            return port
