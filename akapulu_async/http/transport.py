"""The thin shell around aiohttp: sends requests and brings answers, within a deadline and a bounded pool."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from akapulu_async.errors import AkapuluError, ApiError, ConfigurationError, TransportError
from akapulu_async.http.aiohttp_session import USER_AGENT, environment_proxy, let_go, make_http, without_credentials
from akapulu_async.http.exchange import REQUEST_ERRORS, Body, Call, Headers, Stream
from akapulu_async.http.limits import Deadline, Deadlines, Places
from akapulu_async.http.reused_request import ReusedRequest
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.log import logger
from akapulu_async.observing import Observers
from akapulu_async.sansio.http import ERROR_TYPES, ErrorTypes, Request, Response, decipher
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.urls import redirect_target
from akapulu_async.secret import Secret
from akapulu_async.tasks import is_cancelled, settle

T = TypeVar("T")

POOL_SIZE = 64
"""Connections for calls. A call holds one for milliseconds, so that these bear thousands of conversations; a socket
a conversation was measured a hundred times slower to react (6,000 of them, event-loop lag p99)."""

DOWNLOAD_POOL_SIZE = 8
"""Connections for recordings, apart from the others: a download takes minutes, and no poll shall wait for it."""

LATE_ANSWER = 5.0
"""Seconds that a cancelled connect stays for the answer to what was sent: else a slot would be held by nobody knows
which conversation. A connect returns at once [documented]."""

MAX_REDIRECTS = 5
"""How often a recording may be redirected."""

_AS_IT_COMES: Mapping[str, Any] = {"allow_redirects": False, "raise_for_status": False, "auto_decompress": False}
"""What each of aiohttp's requests is made with: answers are ours to read."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Sends requests on an aiohttp session, its own or a borrowed one.

    With its own session, an attempt is one request on the wire. A borrowed one may send a GET a second time by
    itself when a connection breaks, as aiohttp does. What is not a GET goes over a connection of its own, since a
    kept one may be closing just then, and then nobody could tell whether the request arrived.

    Args:
        base_url: Checked, without its last slash.
        api_key: Sent as a bearer token with each call, to the base URL and nowhere else.
        timeouts: See `Timeouts`.
        retry: See `RetryPolicy`.
        error_types: Exact error codes and the errors that they mean.
        http: A borrowed session, which is never closed; None to have one between `open()` and `aclose()`.
        pool_size: How many calls may be on their way at once, on as many connections.
        rng: Gives random numbers from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Secret,
        timeouts: Timeouts,
        retry: RetryPolicy,
        error_types: ErrorTypes = ERROR_TYPES,
        http: aiohttp.ClientSession | None = None,
        pool_size: int = POOL_SIZE,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.base_url = base_url
        self.observers = Observers()
        self.secrets = (api_key,)
        """What no error may show."""
        self._borrowed = http
        self._http: aiohttp.ClientSession | None = None
        """None: it is not open."""
        self._timeouts = timeouts
        self._retry = retry
        self._error_types = error_types
        self._pool_size = pool_size
        self._wait_for_place = f"while waiting for one of the {pool_size} connections to get free"
        self._rng = rng
        self._foreign_headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        # With each request, not as a session's own: aiohttp would send those to a proxy, too.
        self._headers = Headers(self._foreign_headers, Authorization=f"Bearer {api_key.reveal()}")
        self._unsafe_headers = Headers(self._headers, Connection="close")
        # Only the making of a connection is aiohttp's to time: the whole has our deadline.
        self._call_timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.total
        )

    async def open(self) -> None:
        """Make the session, unless one is borrowed. Sends nothing; does nothing if it is open."""
        if self._http is None:
            self._places = Places(self._pool_size)
            self._download_places = Places(DOWNLOAD_POOL_SIZE)
            self._deadlines = Deadlines(self._timeouts.total)
            # As many as are under way at once, at the most. Of this session: one that ends late puts none to the next.
            self._prepared: list[ReusedRequest] = []
            if self._borrowed is None:
                connections = self._pool_size + DOWNLOAD_POOL_SIZE
                self._http, self._foreign_http = make_http(self.base_url, connections)
                self._closes = warn_unless_closed(
                    self,
                    "AkapuluClient",
                    "use `async with`, or aclose()",
                    partial(let_go, self._http, self._foreign_http),
                )
            else:
                self._http = self._foreign_http = self._borrowed

    async def aclose(self) -> None:
        """Close the own session and its connections. Does nothing if it is closed; it can be opened again."""
        http, self._http = self._http, None
        if http is not None:
            self._prepared = []
            self._deadlines.close()
            if http is not self._borrowed:
                self._closes()
                await self._foreign_http.close()
                await http.close()

    def send(self, request: Request[T], *, attempts: int | None = None) -> Coroutine[Any, Any, T]:
        """Send a request and return what its answer says.

        Args:
            request: What to ask.
            attempts: How often to try at the most, if the retry policy allows as many; None as that says.

        Raises:
            ConfigurationError: The transport is not open.
            TransportError: No complete answer came; a `RequestTimeoutError` if none came in time.
            InvalidResponseError: The answer makes no sense.
            ApiError: The service refused.

        When cancelled, the request may have reached the service or not; but see `Request.on_late_answer`.
        """
        return self._send_to(self._url(request), request, attempts)

    def sender(self, request: Request[T], *, attempts: int | None = None) -> Callable[[], Coroutine[Any, Any, T]]:
        """Return what sends a request each time it is called, as `send()` does: for what is asked again and again."""
        # A partial is smaller than a closure: thousands of sessions keep one each.
        return partial(self._send_to, self._url(request), request, attempts)

    def _send_to(self, url: URL, request: Request[T], attempts: int | None) -> Coroutine[Any, Any, T]:
        exchange = self._exchange if request.on_late_answer is None else self._seen_through
        return self._call(Call(request, url, self._timeouts), exchange, attempts)

    @asynccontextmanager
    async def stream(self, request: Request[Any], headers: Mapping[str, str]) -> AsyncGenerator[Stream]:
        """Send a GET whose answer is read in pieces, following redirects without the API key.

        Args:
            request: What to ask.
            headers: Sent besides, also to where a redirect leads.

        Raises:
            ConfigurationError, TransportError, InvalidResponseError, ApiError: As `send()`. A refusal by the host
            to which it was redirected is a `TransportError`.
        """
        call = Call(request, self._url(request), self._timeouts)
        stream = await self._call(call, lambda call: self._begin_stream(call, headers), None)
        try:
            yield stream
        finally:
            stream.close()

    def pause_after(self, error: TransportError, attempt: int) -> float | None:
        """Return how many seconds to wait before a stream that broke off is asked for again; None to give up."""
        return self._retry.pause(error, attempt=attempt, safe=True, remaining=None, rng=self._rng)

    async def _call(self, call: Call, attempt: Callable[[Call], Awaitable[T]], attempts: int | None) -> T:
        """Make attempts, with pauses between them, until one succeeds or the deadline passes."""
        http = self._http
        if http is None:
            raise _not_open()
        deadline = call.deadline = Deadline(self._deadlines)
        try:
            with deadline:
                while True:
                    try:
                        return await (call.logged(attempt) if logger.isEnabledFor(logging.DEBUG) else attempt(call))
                    except (TransportError, ApiError) as error:
                        if call.attempt == attempts:
                            raise
                        pause = self._retry.pause(
                            error,
                            attempt=call.attempt,
                            safe=call.request.safe,
                            remaining=deadline.remaining(),
                            rng=self._rng,
                        )
                        if pause is None:
                            raise
                        call.last_failure = str(error)
                    await call.wait(pause)
        except TimeoutError:
            if not deadline.expired:
                raise
            failure: AkapuluError = call.too_late()
        except asyncio.CancelledError as error:
            # aiohttp's connector, when it is closed, cancels what waits for it.
            if is_cancelled(asyncio.current_task()) or not http.closed:
                # In aiohttp's frames are the headers, and with them the API key.
                raise error.with_traceback(None)  # noqa: B904 - it is the same
            failure = _was_closed() if http is self._borrowed else _not_open()
        finally:
            call.deadline, call.over = None, True
        raise failure

    async def _exchange(self, call: Call) -> Any:
        places = self._places  # which others are when the client was closed and opened again meanwhile
        if not places.taken():
            call.doing = self._wait_for_place
            await places.take()
        try:
            http, prepared = self._service_http(), self._prepared
            get = self._prepared_get(http, prepared) if call.request.method == "GET" else None
            call.begin()
            try:
                response = await (self._request(http, call) if get is None else get.send(call.url))
            except REQUEST_ERRORS as error:
                failure = call.failure(error)
            else:
                if get is not None:
                    prepared.append(get)
                call.status = response.status
                answer = call.at_hand(response) or await call.read(response)
                del response  # which shows its headers, as tracebacks may show variables
                return self._decipher(call, answer)
            raise failure
        finally:
            places.give_back()

    def _prepared_get(self, http: aiohttp.ClientSession, prepared: list[ReusedRequest]) -> ReusedRequest | None:
        """Return a prepared request that is free, or a new one; None for a borrowed session, with its own ways."""
        if prepared:
            return prepared.pop()
        if http is self._borrowed:
            return None
        return ReusedRequest(http, {**_AS_IT_COMES, "headers": self._headers, "timeout": self._call_timeout})

    def _request(self, http: aiohttp.ClientSession, call: Call) -> Awaitable[aiohttp.ClientResponse]:
        """Send one request; what is returned waits for the answer's beginning, and raises `REQUEST_ERRORS`."""
        safe = call.request.safe
        return http.request(
            call.request.method,
            call.url,
            data=None if safe else Body(call),
            headers=self._headers if safe else self._unsafe_headers,
            timeout=self._call_timeout,
            # A name of its own in the pool, see the class.
            server_hostname=None if safe else call.url.raw_host,
            **_AS_IT_COMES,
        )

    async def _seen_through(self, call: Call) -> Any:
        """Exchange in a task of its own, so that a cancel does not lose an answer that is on its way."""
        task = asyncio.create_task(self._exchange(call))
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            # The deadline cancels too, and is not to be stretched.
            bears_waiting = call.sent and not (call.deadline and call.deadline.expired)
            call.over = not call.sent
            with suppress(asyncio.CancelledError):
                await settle((task,), LATE_ANSWER if bears_waiting else 0)
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await settle((task,), None)
            if call.request.on_late_answer is not None and not task.cancelled() and task.exception() is None:
                call.request.on_late_answer(task.result())
            elif bears_waiting:
                what = f"{call.request.method} {call.request.path}"
                logger.warning("! %s was cancelled, and its answer did not come: it may have been done", what)
            raise
        try:
            return task.result()
        finally:
            del task  # which an error's frames would keep, and it them

    async def _begin_stream(self, call: Call, headers: Mapping[str, str]) -> Stream:
        call.doing = f"while waiting for one of the {DOWNLOAD_POOL_SIZE} downloads to end"
        places = self._download_places
        await places.take()
        try:
            response = await self._follow(call, headers)
        except BaseException:
            places.give_back()
            raise
        return Stream(response.url, call, response, places)

    async def _follow(self, call: Call, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the answer at the end of the redirects."""
        response = await self._begun(call, call.url, headers)
        if response.status not in _REDIRECTS:
            return await self._accept(call, response)
        for _ in range(MAX_REDIRECTS):
            response.close()
            target = redirect_target(response.headers.get("Location", ""), str(response.url))
            if target is None:
                raise call.invalid(response, "it redirects to where it must not be followed: only to https")
            response = await self._begun(call, URL(target, encoded=True), headers, foreign=True)
            if response.status not in _REDIRECTS:
                return self._accept_foreign(call, response)
        response.close()
        raise call.invalid(response, f"it redirects more than {MAX_REDIRECTS} times")

    async def _accept(self, call: Call, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        if not _succeeded(response):
            self._decipher(call, await call.read(response))
        return response

    def _accept_foreign(self, call: Call, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        if not _succeeded(response):
            response.close()
            raise TransportError(
                method=call.request.method,
                path=call.request.path,
                reason=foreign_refusal(response.status),
                sent=True,
                attempts=call.attempt,
            )
        return response

    async def _begun(
        self, call: Call, url: URL, headers: Mapping[str, str], *, foreign: bool = False
    ) -> aiohttp.ClientResponse:
        """Return the beginning of an answer that is read in pieces; a foreign host is asked without credentials."""
        service_http = self._service_http()
        http = self._foreign_http if foreign else service_http
        asked = http.request(
            "GET",
            url,
            # In no variable: tools that show those look into mappings, and here stands the API key, or a password.
            headers=Headers(self._foreign_headers if foreign else self._headers, **headers),
            proxy=self._foreign_proxy(url) if foreign else None,
            timeout=self._stream_timeout,
            middlewares=(without_credentials,) if foreign else None,
            **_AS_IT_COMES,
        )
        call.begin()
        try:
            response = await asked
        except REQUEST_ERRORS as error:
            failure = call.failure(error)
        else:
            call.status = response.status
            return response
        raise failure

    def _service_http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise _not_open()
        if self._http.closed:
            raise _was_closed()
        return self._http

    def _foreign_proxy(self, url: URL) -> str | None:
        """Return the environment's proxy for where a redirect leads; None also for a borrowed session's own."""
        return None if self._foreign_http is self._borrowed else environment_proxy(str(url))

    def _url(self, request: Request[Any]) -> URL:
        url = URL(self.base_url + request.path, encoded=True)
        return url.with_query(request.params) if request.params else url

    def _decipher(self, call: Call, response: Response) -> Any:
        return decipher(
            call.request,
            response,
            now=datetime.now(UTC),
            error_types=self._error_types,
            attempts=call.attempt,
            secrets=self.secrets,
        )


def foreign_refusal(status: int) -> str:
    """Return the reason of the error when the host that the service redirects to answers with a failure."""
    return f"the host to which the service redirected answered {status}"


def _not_open() -> ConfigurationError:
    return ConfigurationError("the client is not open: use `async with client:`, or await client.open()")


def _was_closed() -> ConfigurationError:
    return ConfigurationError("the aiohttp session that the client works with was closed")


def _succeeded(response: aiohttp.ClientResponse) -> bool:
    return 200 <= response.status < 300  # noqa: PLR2004 - the 2xx
