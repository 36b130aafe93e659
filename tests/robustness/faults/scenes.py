"""The scenes of the matrix: what stands between library and service, one for each kind of fault."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

import aiohttp
import attrs
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from akapulu_async import AkapuluClient, PollPolicy, RetryPolicy, Timeouts
from tests.robustness.faults.cells import TRIES
from tests.robustness.faults.operations import Bench
from tests.robustness.faults.proxy import FINE, Deed, Fault, Point, Proxy
from tests.support.misbehaving import API_KEY, PATIENCE

Scene = Callable[[Bench, str, Timeouts], AbstractAsyncContextManager[AkapuluClient]]
"""Takes the service, the operation and the time limits; gives the client that the operation is done with."""

_TURNS = 5  # of the loop, to read what has come

_RETRY = RetryPolicy(attempts=TRIES, base=0.0, cap=0.0)
_POLL = PollPolicy(interval=0.01, live_interval=60.0, jitter=0.0, max_failures=TRIES - 1)


def _client(base_url: str, timeouts: Timeouts, http: aiohttp.ClientSession | None = None) -> AkapuluClient:
    return AkapuluClient(API_KEY, base_url=base_url, timeouts=timeouts, retry=_RETRY, poll=_POLL, http=http)


def struck(*script: Fault, warm: bool = False) -> Scene:
    """Let faults strike what an operation sends; of a session, its polls, since connect has its own column.

    Args:
        script: A fault an exchange, the last one for all further ones.
        warm: Whether there is a kept connection already.
    """

    @asynccontextmanager
    async def scene(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
        before = (FINE,) * warm + (FINE,) * (operation == "session")
        async with Proxy(bench.host, *before, *script, link=bench.link) as proxy:
            async with _client(bench.behind(proxy.base_url), timeouts) as client:
                if warm:
                    await bench.prepare(client)
                yield client
            await proxy.abandoned()

    return scene


@asynccontextmanager
async def repeating(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
    """Let the answer about another conversation come again, later, on the connection that was kept for the next."""
    other = await bench.other()
    async with Proxy(bench.host, Fault(again=True), FINE) as proxy:
        async with _client(bench.behind(proxy.base_url), timeouts) as client:
            await other.prepare(client)
            async with asyncio.timeout(PATIENCE):
                await proxy.answered_again.wait()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            yield client
        await proxy.abandoned()


class _Failed(logging.Handler):
    """Lets the service come back when the library's log tells that an attempt failed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.failed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("!"):
            self.failed.set()


@asynccontextmanager
async def restarting(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
    """Let the service die after its first answer (to a connect, of a session), and come back after a failed attempt."""
    logger, handler = logging.getLogger("akapulu_async"), _Failed()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with Proxy(bench.host, Fault(at=Point.ANSWER, deed=Deed.DIE), FINE) as proxy:
            retry, poll = RetryPolicy(attempts=200, base=0.02, cap=0.02), attrs.evolve(_POLL, max_failures=None)
            base_url = bench.behind(proxy.base_url)
            client = AkapuluClient(API_KEY, base_url=base_url, timeouts=timeouts, retry=retry, poll=poll)
            async with client:
                if operation != "session":
                    await bench.prepare(client)
                coming_back = asyncio.create_task(_come_back(proxy, handler.failed))
                yield client
                await coming_back
            await proxy.abandoned()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def _come_back(proxy: Proxy, failed: asyncio.Event) -> None:
    await failed.wait()
    await proxy.start()


@asynccontextmanager
async def unreachable(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
    """Let the packets to the service vanish: its queue of connections is full, so that the system drops them."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        first.connect((host, port))
        async with _client(bench.behind(f"http://{host}:{port}"), timeouts) as client:
            yield client


class _Resolver(AbstractResolver):
    """Knows this machine, but for the first so many questions."""

    def __init__(self, failures: int) -> None:
        self._failures = failures

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self._failures:
            self._failures -= 1
            raise OSError("Temporary failure in name resolution")
        address = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        return [address]

    async def close(self) -> None:
        """There is nothing to close."""


def resolving(failures: int) -> Scene:
    """Let the host name not be resolved at first."""

    @asynccontextmanager
    async def scene(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
        connector = aiohttp.TCPConnector(resolver=_Resolver(failures))
        url = bench.behind(bench.host.replace("127.0.0.1", "localhost"))
        async with aiohttp.ClientSession(connector=connector) as http, _client(url, timeouts, http) as client:
            yield client

    return scene


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def _contexts(host: str, expired: bool, known: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server with such a certificate, and a client of it, need."""
    now = datetime.now(UTC)
    days = (2, 1) if expired else (1, -1)
    not_before, not_after = (now - timedelta(days=number) for number in days)
    server, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    _authority().issue_cert(host, not_before=not_before, not_after=not_after).configure_cert(server)
    if known:
        _authority().configure_trust(trust)
    return server, trust


def certified(host: str = "localhost", *, expired: bool = False, known: bool = True) -> Scene:
    """Let the service show a certificate.

    Args:
        host: Whose it is.
        expired: Whether it was good until yesterday.
        known: Whether the client trusts who signed it.
    """

    @asynccontextmanager
    async def scene(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
        server, trust = _contexts(host, expired, known)
        connector = aiohttp.TCPConnector(ssl=trust)
        async with Proxy(bench.host, FINE, tls=server) as proxy:
            async with (
                aiohttp.ClientSession(connector=connector) as http,
                _client(bench.behind(proxy.base_url), timeouts, http) as client,
            ):
                yield client
            await proxy.abandoned()

    return scene
