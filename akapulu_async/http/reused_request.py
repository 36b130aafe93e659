"""A request that aiohttp makes once and that is sent again and again."""

from collections.abc import Awaitable, Mapping
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from yarl import URL

from akapulu_async.http.aiohttp_session import sent_once


class ReusedRequest:
    """A GET that aiohttp makes once, and that is sent again and again, to one URL of the service after the other.

    To make a request (merge headers, look for cookies, proxy and hooks) takes half of what a short call costs, and
    gives the same each time but for the URL. So the request and its handler are kept, as a middleware gets them.
    It sends one at a time, and is not to be used again when that failed.

    Args:
        http: A session of our own. What a borrowed one has to do for each request would not be done.
        options: What `http.request()` is called with, besides the URL.
    """

    def __init__(self, http: aiohttp.ClientSession, options: Mapping[str, Any]) -> None:
        self._http = http
        self._options = options
        self._made: tuple[aiohttp.ClientRequest, ClientHandlerType] | None = None

    def send(self, url: URL) -> Awaitable[aiohttp.ClientResponse]:
        """Send it; what is returned waits for the answer's beginning, and raises what aiohttp does, or OSErrors."""
        if self._made is None:
            return self._http.request("GET", url, middlewares=(self._keep,), **self._options)
        request, handler = self._made
        request.url = request.original_url = url
        return handler(request)

    async def _keep(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        if request.proxy is None:  # to reach one changes the request, and with it whose connections it may use
            self._made = request, handler
        return await sent_once(request, handler)
