"""The server: the sockets in front of the pure parts."""

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from aiohttp import web

from akapulu_async.simulator.answers import Answer, Refusal, refusal_answer
from akapulu_async.simulator.api import Api
from akapulu_async.simulator.control import CONTROL_PREFIX, Control
from akapulu_async.simulator.delivery import deliver, lose
from akapulu_async.simulator.faults import Fault, FaultBook
from akapulu_async.simulator.journal import Journal
from akapulu_async.simulator.requests import Call, Match, match
from akapulu_async.simulator.storage import Storage

__all__ = ["CannotListenError", "Listener", "Server", "url_of"]

_SHUTDOWN_TIMEOUT = 0.1  # real seconds for answers in progress; delayed ones are dropped
_BACKLOG = 4096  # connections that may arrive at once
_ACCEPTING = 3  # rounds of the loop from an accepted socket to a connection that the server knows
_OF_PORT = {errno.EADDRINUSE, errno.EACCES}
_STORAGE = Match("storage")
_TOO_LARGE = Refusal(413, "BODY_TOO_LARGE", "The body is larger than 1 MiB.")
_LOOPBACK_HOST = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]*)?", re.IGNORECASE)
_HOST_REFUSED = Refusal(
    403,
    "HOST_REFUSED",
    "On a loopback address, the simulator serves only the names localhost, 127.0.0.0/8 and [::1], so that web pages "
    "cannot reach it through a name of their own (DNS rebinding). Use one of these in the URL, or let the simulator "
    "listen on another address (host=, --host), where it serves any name.",
)


class Server:
    """Handles the requests of both listeners."""

    def __init__(  # noqa: PLR0917 - the parts, from the front to the back
        self,
        api: Api,
        storage: Storage,
        control: Control,
        now: Callable[[], float],
        faults: FaultBook,
        journal: Journal,
    ) -> None:
        self._api = api
        self._storage = storage
        self._control = control
        self._now = now
        self._faults = faults
        self._journal = journal

    async def handle_api(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle a request to the API or the control."""
        is_control = request.raw_path.startswith(CONTROL_PREFIX)
        body = await _body_of(request)
        if is_control:
            return await deliver(request, await self._control_answer(request, body), None)
        if isinstance(body, Refusal):
            refused = refusal_answer(body)
            return await self._answer(request, match(request.raw_path), lambda _now: refused)
        call = Call(request.method, request.raw_path, match(request.raw_path), request.headers, body)
        return await self._answer(request, call.where, lambda now: self._api.answer(call, now))

    async def handle_storage(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle a request to the storage host."""
        return await self._answer(
            request, _STORAGE, lambda now: self._storage.answer(request.method, request.raw_path, request.headers, now)
        )

    async def _control_answer(self, request: web.BaseRequest, body: bytes | Refusal) -> Answer:
        if isinstance(body, Refusal):
            return refusal_answer(body)
        return await self._control.answer(request.method, request.raw_path, request.headers, body)

    async def _answer(
        self, request: web.BaseRequest, where: Match, handle: Callable[[float], Answer]
    ) -> web.StreamResponse:
        fault = self._faults.select(where)
        now = self._now()
        answer = _answer_under(fault, handle, now)
        status = None if answer is None else answer.status
        self._journal.record(now, request.method, request.raw_path, where, status, fault)
        if answer is None:
            return await lose(request, None if fault is None else fault.delay)
        response = await deliver(request, answer, fault)
        if where.route == "updates" and answer.ends_polling and (fault is None or not fault.loses_answer):
            self._journal.stop(where.conversation_id)
        return response


async def _body_of(request: web.BaseRequest) -> bytes | Refusal:
    """Return the body, or a refusal of it. Raises `ConnectionError` if the client disconnects."""
    try:
        return await request.read() if request.can_read_body else b""
    except web.HTTPRequestEntityTooLarge:
        return _TOO_LARGE


def _answer_under(fault: Fault | None, handle: Callable[[float], Answer], now: float) -> Answer | None:
    """Return the answer, true or made up. None: the connection is reset before."""
    if fault is None:
        return handle(now)
    if fault.reset == "before":
        return None
    return fault.answer() if fault.made_up else handle(now)


def url_of(address: str, port: int) -> str:
    """Return the URL by which this machine reaches a bound address.

    Clients cannot connect to an unspecified address (`0.0.0.0`, `::`): loopback replaces it.
    """
    if ip_address(address).is_unspecified:
        address = "::1" if ":" in address else "127.0.0.1"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


class CannotListenError(OSError):
    """Listening failed. `option` names the option to change."""

    def __init__(self, error: OSError, option: str) -> None:
        super().__init__(error.errno, error.strerror or str(error))
        self.option = option


class Listener:
    """A listening socket and its connections.

    On a loopback address it serves only loopback names, unless `any_name` is set: a web page can make its own name
    resolve to loopback, and is of the same origin then.
    """

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, any_name: bool = False
    ) -> None:
        self._handler = handler
        self._any_name = any_name
        self._loopback_only = False
        self._server: asyncio.Server | None = None
        self._connections: web.Server | None = None
        self._url = ""

    @property
    def address(self) -> str:
        """The URL of the socket. Raises `RuntimeError` unless it is open."""
        if not self._url:
            raise RuntimeError("the simulator has an address only while it is entered: use `async with`")
        return self._url

    async def open(self, host: str, port: int, *, option: str = "port") -> None:
        """Listen. Raises `CannotListenError`, which names `option` if the port is the cause."""
        loop = asyncio.get_running_loop()
        connections = web.Server(
            self._handle, access_log=None, auto_decompress=False
        )  # compressed JSON is refused as invalid
        try:
            server = await loop.create_server(connections, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise CannotListenError(error, option if error.errno in _OF_PORT else "host") from error
        self._server, self._connections = server, connections
        address, bound, *_ = server.sockets[0].getsockname()  # as bound: a name may have several addresses
        self._loopback_only = not self._any_name and ip_address(address).is_loopback
        self._url = url_of(address, bound)

    async def close(self) -> None:
        """Close the socket and all connections. Answers in progress get 0.1 s."""
        self._url = ""
        server, self._server = self._server, None
        if server is not None and self._connections is not None:
            await _accept_no_more(server)
            server.close()
            self._connections.pre_shutdown()
            await self._connections.shutdown(_SHUTDOWN_TIMEOUT)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            # Every browser sends a `Host`.
            if self._loopback_only and not _LOOPBACK_HOST.fullmatch(request.headers.get("Host", "localhost")):
                return await deliver(request, refusal_answer(_HOST_REFUSED), None)
            return await self._handler(request)
        except ConnectionError:  # the client disconnected; the response is never sent
            return web.Response()


async def _accept_no_more(server: asyncio.Server) -> None:
    """Stop accepting, and let asyncio finish with accepted sockets: it fails on them once the server is closed."""
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # this loop accepts without readers
        for sock in server.sockets:
            loop.remove_reader(sock.fileno())
    for _ in range(_ACCEPTING):
        await asyncio.sleep(0)
