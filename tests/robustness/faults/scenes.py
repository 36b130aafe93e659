"""The scenes of the matrix: one arrangement between library and service for each kind of fault."""

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
from tests.support.misbehaving import API_KEY

Scene = Callable[[Bench, str, Timeouts], AbstractAsyncContextManager[AkapuluClient]]
"""Takes the service, the operation and the time limits; yields the client for the operation."""

_TURNS = 5  # of the loop, to read what has come
_GUARD = 30.0  # seconds after which a test gives up

_RETRY = RetryPolicy(attempts=TRIES, base=0.0, cap=0.0)
_POLL = PollPolicy(interval=0.01, live_interval=60.0, jitter=0.0, max_failures=TRIES - 1)


def _client(base_url: str, timeouts: Timeouts, http: aiohttp.ClientSession | None = None) -> AkapuluClient:
    return AkapuluClient(API_KEY, base_url=base_url, timeouts=timeouts, retry=_RETRY, poll=_POLL, http=http)


def struck(*script: Fault, warm: bool = False) -> Scene:
    """Let faults strike the requests of an operation; for a session its polls, as connect has its own column.

    Args:
        script: One fault per exchange; the last one repeats.
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
    """Send the answer about another conversation a second time, on the kept connection that the next request uses."""
    other = await bench.other()
    async with Proxy(bench.host, Fault(again=True), FINE) as proxy:
        async with _client(bench.behind(proxy.base_url), timeouts) as client:
            await other.prepare(client)
            async with asyncio.timeout(_GUARD):
                await proxy.answered_again.wait()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            yield client
        await proxy.abandoned()


class _Failed(logging.Handler):
    """Notices in the library's log that an attempt failed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.failed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("!"):
            self.failed.set()


@asynccontextmanager
async def restarting(bench: Bench, operation: str, timeouts: Timeouts) -> AsyncGenerator[AkapuluClient]:
    """Let the service die after its first answer (for a session: to its connect), and return after a failed attempt."""
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
    """Drop the packets to the service: its connection queue is full."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        first.connect((host, port))
        async with _client(bench.behind(f"http://{host}:{port}"), timeouts) as client:
            yield client


class _Resolver(AbstractResolver):
    """Resolves to this machine after a number of failures; -1: never."""

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
        """Nothing to close."""


def resolving(failures: int) -> Scene:
    """Let the first lookups of the host name fail."""

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
    """Return the TLS contexts of a server with such a certificate, and of its client."""
    now = datetime.now(UTC)
    days = (2, 1) if expired else (1, -1)
    not_before, not_after = (now - timedelta(days=number) for number in days)
    server, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    _authority().issue_cert(host, not_before=not_before, not_after=not_after).configure_cert(server)
    if known:
        _authority().configure_trust(trust)
    return server, trust


def certified(host: str = "localhost", *, expired: bool = False, known: bool = True) -> Scene:
    """Give the service a certificate.

    Args:
        host: The host that it is for.
        expired: Whether it expired yesterday.
        known: Whether the client trusts its authority.
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
