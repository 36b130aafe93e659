"""A TCP proxy between library and service that breaks exchanges at given points."""

import asyncio
import enum
import random
import re
import socket
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import attrs

from akapulu_async.simulator.server import _accept_no_more
from tests.support.misbehaving import OWN, Peer, page

_STEP = 0.05  # seconds between two pieces on a slow link
_PIECE = 1000  # bytes that arrive together on a link with jitter
_LATER = 0.02  # seconds from an answer until it comes again
_GUARD = 30.0  # seconds after which a test gives up


class Point(enum.Enum):
    """Where in an exchange a fault strikes."""

    ACCEPT = "before anything is read"
    REQUEST_HEAD = "when the request's head was read, and nothing passed on"
    REQUEST_BODY = "when half of the request's body was read, and nothing passed on"
    REQUEST = "when the service has done it and answered, and nothing was sent back"
    STATUS_LINE = "when the answer's first line was sent back"
    HEAD = "when the answer's head was sent back"
    BODY = "when three quarters of the answer's body were sent back"
    ANSWER = "when the whole answer was sent back"


class Deed(enum.Enum):
    """What a fault does to the connection there."""

    RESET = "RST"
    CLOSE = "FIN"
    SILENCE = "it stays open, and nothing more is sent on it"
    DIE = "the service dies: all connections are reset, and nothing listens any more"


@attrs.frozen
class Fault:
    """What happens to an exchange; by default nothing."""

    at: Point | None = None
    deed: Deed = Deed.RESET
    kept: bool = False
    """Strike only on a connection that had an exchange before."""
    doubled: bool = False
    """Send the answer's body twice."""
    again: bool = False
    """Send the whole answer a second time, a little later."""
    page: int | None = None
    """Send a gateway's page with this status, and the `Retry-After` of Varnish's, instead of the answer."""
    bytes_per_second: float | None = None
    latency: float = 0.0
    """Seconds that the request and each piece of the answer take, randomly up to half more or less."""


FINE = Fault()


@attrs.define
class Link:
    """Counts what a slow link passed, to compute how long a call must have taken."""

    bytes_passed: int = 0
    """On a link with `bytes_per_second`."""

    delays: int = 0
    """On a link with `latency`."""


class _StruckError(Exception):
    """The fault's point is reached."""


class Proxy:
    """Passes requests on to a service. The script has one fault per exchange; the last one repeats.

    Args:
        service: The URL of the service, with its path.
        script: The faults.
        tls: The TLS server context; None for plain HTTP.
        link: Counts what a slow link passed.

    Attributes:
        answered_again: Set once an answer was sent a second time.
    """

    def __init__(
        self, service: str, *script: Fault, tls: ssl.SSLContext | None = None, link: Link | None = None
    ) -> None:
        self.answered_again = asyncio.Event()
        self._link = link or Link()
        self._service = urlsplit(service)
        self._script = list(script)
        self._tls = tls
        self._random = random.Random(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._peers: set[Peer] = set()
        self._nobody_left = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        # A bound socket that never listens reserves the port.
        self._holder = _bound(0)
        self.port = self._holder.getsockname()[1]
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        self.base_url = f"{scheme}://{host}:{self.port}{self._service.path}"
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._holder.close()

    async def start(self) -> None:
        """Listen; after `stop()`, at the same port again."""
        self._server = await asyncio.start_server(self._accept, sock=_bound(self.port), ssl=self._tls)

    async def stop(self) -> None:
        """Die as a process does: stop listening and reset all connections."""
        server, self._server = self._server, None
        if server is not None:
            await _accept_no_more(server)
            server.close()
        for peer in self._peers:
            if not peer.writer.is_closing():
                peer.reset()

    async def abandoned(self) -> None:
        """Return when no connection is left."""
        async with asyncio.timeout(_GUARD):
            while self._peers:
                self._nobody_left.clear()
                await self._nobody_left.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(OWN)
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self._peers.add(peer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(peer)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)
            self._peers.discard(peer)
            if not self._peers:
                self._nobody_left.set()

    async def _serve(self, peer: Peer) -> None:
        fault = self._next(kept=False)
        try:
            _strike(fault, Point.ACCEPT)
            await self._exchange(peer, fault, await _head(peer))
            while True:
                head = await _head(peer)
                fault = self._next(kept=True)
                await self._exchange(peer, fault, head)
        except _StruckError:
            await self._do(fault.deed, peer)

    def _next(self, *, kept: bool) -> Fault:
        if self._script[0].kept and not kept:
            return FINE
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    async def _exchange(self, peer: Peer, fault: Fault, head: bytes) -> None:
        _strike(fault, Point.REQUEST_HEAD)
        length = _content_length(head)
        body = await peer.reader.readexactly(length // 2)
        if length:
            _strike(fault, Point.REQUEST_BODY)
        body += await peer.reader.readexactly(length - len(body))
        await self._delay(fault)
        answer_head, answer_body = await self._ask(head + body)
        _strike(fault, Point.REQUEST)
        if fault.page is not None:
            await peer.send(page(fault.page, {"Retry-After": "0"}))
            return
        await self._pass_back(peer, fault, answer_head, answer_body)

    async def _ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Return head and body of the service's answer."""
        reader, writer = await asyncio.open_connection(self._service.hostname, self._service.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            return head, await reader.readexactly(_content_length(head))
        finally:
            writer.close()
            await writer.wait_closed()

    async def _pass_back(self, peer: Peer, fault: Fault, head: bytes, body: bytes) -> None:
        line = head.index(b"\r\n") + 2
        most = -(-len(body) * 3 // 4)
        parts = (
            (head[:line], Point.STATUS_LINE),
            (head[line:], Point.HEAD),
            (body[:most], Point.BODY),
            (body[most:] + (body if fault.doubled else b""), Point.ANSWER),
        )
        if fault.at is None:
            await self._send(peer, fault, b"".join(part for part, _ in parts))
            if fault.again:
                await asyncio.sleep(_LATER)
                await peer.send(head + body)
                self.answered_again.set()
            return
        for part, point in parts:
            await self._send(peer, fault, part)
            _strike(fault, point)

    async def _send(self, peer: Peer, fault: Fault, data: bytes) -> None:
        size = len(data)
        if fault.bytes_per_second is not None:
            size = int(fault.bytes_per_second * _STEP)
        elif fault.latency:
            size = _PIECE
        for start in range(0, len(data), size or 1):
            piece = data[start : start + size]
            if fault.bytes_per_second is not None:
                await asyncio.sleep(len(piece) / fault.bytes_per_second)
                self._link.bytes_passed += len(piece)
            await self._delay(fault)
            await peer.send(piece)

    async def _do(self, deed: Deed, peer: Peer) -> None:
        match deed:
            case Deed.RESET:
                peer.reset()
            case Deed.CLOSE:
                peer.open = False
            case Deed.SILENCE:
                await peer.gone()
            case Deed.DIE:
                await self.stop()

    async def _delay(self, fault: Fault) -> None:
        if fault.latency:
            await asyncio.sleep(fault.latency * self._random.uniform(0.5, 1.5))
            self._link.delays += 1


async def _head(peer: Peer) -> bytes:
    return await peer.reader.readuntil(b"\r\n\r\n")


def _strike(fault: Fault, point: Point) -> None:
    if fault.at is point:
        raise _StruckError


def _content_length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n", head)
    return int(found[1]) if found else 0


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock
