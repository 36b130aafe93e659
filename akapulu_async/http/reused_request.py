"""Requests that aiohttp makes once and that are sent again and again.

They lean on undocumented parts of aiohttp: a `ClientRequest` and the handler that a middleware gets work after the
request is done, `request.url` and `request.original_url` can be set, and `request.headers` is read at each sending. So
`reuse_works()` tries exactly that when a client is opened, without a network. If it does not hold for the installed
aiohttp, each request is made anew, which costs more time and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from akapulu_async.http.aiohttp_session import close_at_once, sent_once
from akapulu_async.log import logger


class ReusedRequest:
    """A GET that aiohttp makes once, and that is sent to one URL of the service after the other.

    Making a request takes half of the cost of a short call, and gives the same each time but for the URL. It sends one
    at a time, and must not be used again when that failed.

    Args:
        http: A session of our own. A borrowed one may have work to do for each request, which would be skipped.
        options: The arguments of `http.request()`, besides URL and middlewares.
    """

    def __init__(self, http: aiohttp.ClientSession, options: Mapping[str, Any]) -> None:
        self._http = http
        self._options = options
        self._made: tuple[aiohttp.ClientRequest, aiohttp.ClientHandlerType] | None = None
        self._added: Mapping[str, str] = {}

    def send(self, url: URL, headers: Mapping[str, str]) -> Awaitable[aiohttp.ClientResponse]:
        """Send it, with these headers for this once. The result waits for the answer's beginning."""
        if self._made is None:
            return self._http.request("GET", url, middlewares=(partial(self._keep, headers),), **self._options)
        request, handler = self._made
        request.url = request.original_url = url
        if headers or self._added:
            self._set_headers(request, headers)
        return sent_once(request, handler)

    def _set_headers(self, request: aiohttp.ClientRequest, headers: Mapping[str, str]) -> None:
        for name in self._added:
            request.headers.popall(name, None)
        request.headers.update(headers)
        self._added = headers

    async def _keep(
        self, headers: Mapping[str, str], request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self._set_headers(request, headers)
        if request.proxy is None:  # to reach one changes the request, and with it whose connections it may use
            self._made = request, handler
        return await sent_once(request, handler)


def free_requests() -> list[ReusedRequest] | None:
    """Return an empty list, for requests that were answered; None if each must be made anew."""
    if reuse_works():
        return []
    logger.info("aiohttp %s sends no request twice: polls work, but take more time", aiohttp.__version__)
    return None


def reuse_works() -> bool:
    """Return True if the installed aiohttp lets `ReusedRequest` keep its promises. Sends nothing and never raises."""
    connector = _Nowhere()
    http = aiohttp.ClientSession(connector=connector)
    get = ReusedRequest(http, {"headers": {"A": "b"}})
    try:
        for path, headers in (("1", {"traceparent": "c"}), ("2", {})):
            with suppress(StopIteration):
                sending = get.send(URL(f"http://canary.invalid/{path}"), headers).__await__()
                next(sending)  # nothing that it waits for is still to come
                sending.close()
        first, second, _ = connector.wire.written.split(b"\r\n\r\n")
    except Exception:  # noqa: BLE001 - whatever aiohttp changed
        return False
    finally:
        close_at_once(http)
    added = b"\r\ntraceparent: c"
    expected = first.replace(b"GET /1 ", b"GET /2 ").replace(added, b"")
    return first.count(added) == 1 and b"\r\nA: b\r\n" in first and second == expected


class _Nowhere(aiohttp.BaseConnector):
    """Connects to a `_Wire`."""

    wire: "_Wire"

    async def _create_connection(self, *_: Any) -> Any:
        protocol: Any = self._factory()
        self.wire = _Wire(protocol)
        protocol.connection_made(self.wire)
        return protocol


class _Wire(asyncio.Transport):
    """Keeps the requests that are written, and answers each at once."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self._protocol = protocol
        self.written = bytearray()

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.written += data
        if self.written.endswith(b"\r\n\r\n"):
            self._protocol.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")

    def close(self) -> None:
        self._protocol.connection_lost(None)

    abort = close
