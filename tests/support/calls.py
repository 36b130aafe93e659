"""What tests of calls share."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

import pytest
import trustme

from akapulu_async import AkapuluClient
from tests.support.misbehaving import UPDATE, connect, poll

Call = Callable[[AkapuluClient], Awaitable[object]]


JSON = {"Content-Type": "application/json"}


GOOD = json.dumps(UPDATE).encode()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"


MIB = 2**20


both_loops = pytest.mark.parametrize(
    "anyio_backend",
    [pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")],
)


quick_on_asyncio = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=pytest.mark.slow),
    ],
)
"""As `both_loops`, for tests that wait for real deadlines."""

both_calls = pytest.mark.parametrize("call", [poll, connect])


async def error_of(call: Awaitable[object]) -> Exception:
    """Return what a call raises."""
    try:
        result = await call
    except Exception as error:  # noqa: BLE001 - the tests tell which
        return error
    pytest.fail(f"it succeeded: {result!r}")


async def timed_out(call: Awaitable[object], limit: float) -> Exception:
    """Return what a call raises, which must not come before a limit."""
    began = time.monotonic()
    error = await error_of(call)
    assert time.monotonic() - began >= limit * 0.9
    return error


def server_tls(authority: trustme.CA, host: str = "localhost") -> ssl.SSLContext:
    """Return what a server needs to be that host."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


class Marks(logging.Handler):
    """Lets a test wait for a line of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.paused = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self.lines[-1].startswith("~"):
            self.paused.set()
