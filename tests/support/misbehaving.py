"""A server that speaks HTTP by hand, so that it can lie, break off and fall silent, and a client for it."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import attrs

from akapulu_async import AkapuluClient, ConnectRequest, RetryPolicy, Timeouts

API_KEY = "ak-live-0123456789abcdef"
SESSION = "33333333-3333-4333-8333-333333333333"
OTHER_SESSION = "44444444-4444-4444-8444-444444444444"
REQUEST = ConnectRequest("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
UPDATES = f"/conversations/{SESSION}/updates/"
RECORDING = f"/conversations/{SESSION}/recording/"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"

UPDATE = {
    "conversation_session_id": SESSION,
    "call_is_ready": False,
    "completion_percent": 63.6,
    "latest_update_text": "bot joined daily room",
}
CONNECTION = {"room_url": "https://team.daily.co/room", "token": TOKEN, "conversation_session_id": SESSION}
DETAIL = {
    "id": SESSION,
    "created_at": "2026-03-10T18:10:02.221Z",
    "created_at_text": "today",
    "duration_text": "4 minutes",
    "avatar": {"id": REQUEST.avatar_id, "href": "/a", "profile_image_url": "https://files.example/a.png"},
    "scenario_id": REQUEST.scenario_id,
    "recording": {"has_recording": True, "is_ready": True, "status_text": "Ready"},
    "transcript_rows": [],
}

QUICK = RetryPolicy(attempts=3, base=0.01, cap=0.01)
PATIENCE = 20.0
"""Seconds after which a test gives up on something that should come at once."""

OWN = "misbehaving"
"""The name of the tasks of the tests' own servers."""

_LINGER_ZERO = struct.pack("ii", 1, 0)  # on, 0 s: close() sends RST


@attrs.frozen
class Seen:
    """A request that was read."""

    method: str
    target: str
    headers: Mapping[str, str]
    """With lower-case names."""
    body: bytes
    connection: int
    """On which connection it came, from 1."""


class Peer:
    """A connection as the server holds it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = 0
        self.open = True

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
        except RuntimeError:  # what uvloop raises
            raise ConnectionError from None
        await self.writer.drain()
        self.sent += len(data)

    def reset(self) -> None:
        """Break the connection with a real RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.writer.transport.abort()
        self.open = False

    async def gone(self) -> None:
        """Return when the other side has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.open = False


Behaviour = Callable[[Peer, Seen], Awaitable[None]]


def raw(*pieces: bytes) -> Behaviour:
    """Send these bytes and close."""

    async def behave(peer: Peer, _: Seen) -> None:
        await peer.send(b"".join(pieces))
        peer.open = False

    return behave


def http(
    status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", *, length: int | None = None
) -> bytes:
    """Return an answer as it stands on the wire."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(
    payload: Any = None, status: int = 200, headers: Mapping[str, str] | None = None, *, body: bytes | None = None
) -> Behaviour:
    """Answer in an orderly way, JSON unless a body is given, and keep the connection."""
    content = json.dumps(payload).encode() if body is None else body
    data = http(status, {"Content-Type": "application/json"} | dict(headers or {}), content)

    async def behave(peer: Peer, _: Seen) -> None:
        await peer.send(data)

    return behave


def page(status: int, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the answer of a gateway that got none from the service: a page of its own."""
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>".encode()
    return http(status, {"Content-Type": "text/html", **(headers or {})}, body)


def drip(data: bytes, seconds: float) -> Behaviour:
    """Send a byte now and then."""

    async def behave(peer: Peer, _: Seen) -> None:
        for byte in data:
            await peer.send(bytes((byte,)))
            await asyncio.sleep(seconds)

    return behave


def flood(head: bytes, piece: bytes, times: int) -> Behaviour:
    """Send much, as long as the other side takes it."""

    async def behave(peer: Peer, _: Seen) -> None:
        await peer.send(head)
        for _number in range(times):
            await peer.send(piece)
        peer.open = False

    return behave


def gated(first: bytes, gate: asyncio.Event, rest: bytes = b"") -> Behaviour:
    """Send the rest only when the test opens the gate."""

    async def behave(peer: Peer, _: Seen) -> None:
        await peer.send(first)
        opened, gone = (asyncio.create_task(wait, name=OWN) for wait in (gate.wait(), peer.gone()))
        try:
            await asyncio.wait((opened, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            gone.cancel()
            await asyncio.gather(opened, gone, return_exceptions=True)
        if peer.open:
            await peer.send(rest)

    return behave


async def hang(peer: Peer, _: Seen) -> None:
    """Never answer."""
    await peer.gone()


async def close(peer: Peer, _: Seen) -> None:
    """Close without an answer."""
    peer.open = False


async def reset(peer: Peer, _: Seen) -> None:
    """Break the connection without an answer."""
    peer.reset()


async def reset_unread(peer: Peer, _: Seen) -> None:
    """Break the connection before anything is read; the server knows this one by its name."""
    peer.reset()


async def leave(peer: Peer, _: Seen) -> None:
    """Answer an update and then close, although the connection was to be kept."""
    await answer(UPDATE)(peer, _)
    peer.open = False


class Server:
    """Behaves as scripted: a behaviour a request, the last one for all further requests."""

    def __init__(self, *script: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.requests: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.most_connections = 0
        self.bytes_sent = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        host = f"localhost:{self.port}" if self._tls else f"127.0.0.1:{self.port}"
        self.url = f"{'https' if self._tls else 'http'}://{host}"
        self.base_url = f"{self.url}/api"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Return when the condition holds, looked at whenever something happens here."""
        async with asyncio.timeout(patience):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def seen(self, count: int) -> None:
        """Return when so many requests were read."""
        await self.until(lambda: len(self.requests) >= count)

    async def abandoned(self) -> None:
        """Return when no connection is left."""
        await self.until(lambda: not self.open_connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(OWN)
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        peer = Peer(reader, writer)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._serve(peer, self.connections)
        finally:
            self.bytes_sent += peer.sent
            self.open_connections -= 1
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)
            self._changed.set()

    async def _serve(self, peer: Peer, number: int) -> None:
        self._changed.set()
        while peer.open:
            if self._script[0] is reset_unread:
                self._next()
                peer.reset()
                return
            request = await _read_request(peer.reader, number)
            if request is None:
                return
            self.requests.append(request)
            behaviour = self._next()
            self._changed.set()
            await behaviour(peer, request)

    def _next(self) -> Behaviour:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None
    return Seen(method, target, headers, body, connection)


def tunnel_to(server: Server) -> Behaviour:
    """Be a proxy that makes a tunnel to this server, whatever is asked for."""

    async def behave(peer: Peer, _: Seen) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pipe(peer.reader, writer), _pipe(reader, peer.writer))
        finally:
            writer.close()
        peer.open = False

    return behave


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _client_tasks() -> set["asyncio.Task[Any]"]:
    """Return the tasks that are not servers', nor asyncio's for their connections."""
    return {task for task in asyncio.all_tasks() if task.get_name() != OWN and "_accept" not in repr(task.get_coro())}


@asynccontextmanager
async def client_of(server: Server, **options: Any) -> AsyncGenerator[AkapuluClient]:
    """Open a client of a server, and see to it that it leaves no task and no connection behind."""
    settings: dict[str, Any] = {"retry": QUICK, "timeouts": Timeouts(total=PATIENCE), **options}
    before = _client_tasks()
    async with AkapuluClient(API_KEY, base_url=server.base_url, **settings) as client:
        yield client
        left = _client_tasks() - before
        assert not left, left
    await server.abandoned()


async def poll(client: AkapuluClient) -> object:
    """Send the GET that the tests send."""
    return await client.conversations.updates(SESSION)


async def connect(client: AkapuluClient) -> object:
    """Send the POST that the tests send."""
    return await client.conversations.connect(REQUEST)
