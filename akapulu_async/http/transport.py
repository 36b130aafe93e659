"""The thin shell around aiohttp: sends requests and returns answers, within a deadline and a bounded pool."""

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import aiohttp
import attrs
from yarl import URL

from akapulu_async.errors import AkapuluError, ApiError, ClosedError, ConfigurationError, ErrorKind, TransportError
from akapulu_async.http.aiohttp_session import (
    USER_AGENT,
    close_at_once,
    environment_proxy,
    make_http,
    trusted_authorities,
    without_credentials,
)
from akapulu_async.http.exchange import NO_HEADERS, Body, Exchange, Headers, Stream
from akapulu_async.http.reused_request import ReusedRequest, free_requests
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.limits import Deadline, Deadlines
from akapulu_async.log import logger
from akapulu_async.observing import Attempt, ExchangeRecord, Observers
from akapulu_async.sansio.http import ERROR_TYPES, ErrorTypes, Request, decipher
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.urls import redirect_target
from akapulu_async.secret import MASK, Secret
from akapulu_async.tasks import in_thread, is_cancelled, settle

T = TypeVar("T")

POOL_SIZE = 64
"""Connections for calls. A call holds one for milliseconds, so these serve thousands of conversations."""

DOWNLOAD_POOL_SIZE = 8
"""Connections for recordings, apart from the others: a download takes minutes, and no poll should wait for it."""

LATE_ANSWER = 5.0
"""Seconds that a cancelled connect waits for the answer: else an unknown conversation might hold a slot."""

KEPT_KEYS = 8
"""How many of the latest API keys are masked: answers to requests with an older one may still arrive."""

MAX_REDIRECTS = 5
"""How often a recording may be redirected."""

HEADER_LINE = 64 * 1024
"""Bytes that a line of an answer's head may have. Gateways that add policies or traces exceed aiohttp's 8 KiB."""

HEADER_LINES = 128
"""Lines that an answer's head may have, so that it has at most 8 MiB, like a body."""

_AS_IT_COMES: Mapping[str, Any] = {
    "allow_redirects": False,
    "raise_for_status": False,
    "auto_decompress": False,
    "max_line_size": HEADER_LINE,
    "max_field_size": HEADER_LINE,
    "max_headers": HEADER_LINES,
}
"""The options of each of aiohttp's requests: answers are ours to read."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NEEDS_A_KEY = frozenset({401, 403})


class Transport:
    """Sends requests on an aiohttp session, its own or a borrowed one.

    With its own session, an attempt is one request on the wire; a GET whose kept connection was closed before the
    answer is sent once more within it, see `sent_once()`. A borrowed one may send a GET a second time by itself when a
    connection breaks, as aiohttp does. Every other method gets a connection of its own, since a kept one may be closing
    at that moment, and then nobody could tell whether the request arrived.

    Args:
        settings: Returns the base URL, checked and without its last slash, and the API key, which is sent as a bearer
            token with each call, to the base URL and nowhere else, or a function that is called for it at each attempt.
            Called at once, and by each `open()`.
        timeouts: See `Timeouts`.
        retry: See `RetryPolicy`.
        observers: Called for attempts here, and for other facts by session and manager.
        error_types: Exact error codes and the errors that they mean.
        http: A borrowed session, which is never closed; None for an own one between `open()` and `aclose()`.
        pool_size: How many calls may be under way at once, on as many connections.
        rng: Gives random numbers from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], tuple[str, Secret | Callable[[], Secret]]],
        timeouts: Timeouts,
        retry: RetryPolicy,
        observers: Observers,
        error_types: ErrorTypes = ERROR_TYPES,
        http: aiohttp.ClientSession | None = None,
        pool_size: int = POOL_SIZE,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self.secrets: tuple[Secret, ...] = ()
        """The API key and a few before it. Never shown by an error or an observer's record."""
        self.observers = observers
        self._borrowed = http
        self._http: aiohttp.ClientSession | None = None
        """None: it is not open."""
        self._proxy: str | None = None
        self._free_gets: list[ReusedRequest] | None = None
        """Answered GETs of the own session. None: each is made anew, as a borrowed session may have work to do."""
        self._timeouts = timeouts
        self._retry = retry
        self._error_types = error_types
        self._pool_size = pool_size
        self._wait_for_place = f"while waiting for one of the {pool_size} connections to get free"
        self._rng = rng
        self._foreign_headers = Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        self._read_settings()
        # aiohttp only times the making of a connection, the host's lookup included: the rest has our deadlines, which
        # read what has come first.
        self._call_timeout = aiohttp.ClientTimeout(connect=timeouts.connect)

    def _use_key(self, key: Secret) -> None:
        """Send this API key from now on."""
        self.secrets = tuple(dict.fromkeys((key, *self.secrets)))[:KEPT_KEYS]
        self._decipher = partial(
            decipher, now=partial(datetime.now, UTC), error_types=self._error_types, secrets=self.secrets
        )
        # With each request, not as a session's own: aiohttp would send those to a proxy, too.
        self._headers = Headers(self._foreign_headers, Authorization=f"Bearer {key.reveal()}")
        self._unsafe_headers = Headers(self._headers, Connection="close")
        if self._free_gets is not None:
            self._free_gets = []  # a new list, so that those under way are not used again

    def _read_settings(self) -> None:
        self.base_url, api_key = self._settings()
        self.secrets = ()
        self._ask_for_key = None if isinstance(api_key, Secret) else api_key
        if isinstance(api_key, Secret):
            self._use_key(api_key)

    async def open(self) -> None:
        """Read the settings, and make the session unless one is borrowed. Does nothing if it is open.

        Raises:
            ClosedError: It is open in another event loop.
            ConfigurationError: The settings are not usable any more, or the proxy is not.
        """
        own = self._borrowed is None
        tls = await in_thread(trusted_authorities) if own and self._http is None else None
        if self._http is not None:  # also if another task opened it meanwhile
            self._check_loop()
            return
        self._read_settings()
        self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        self._places = asyncio.Semaphore(self._pool_size)
        self._download_places = asyncio.Semaphore(DOWNLOAD_POOL_SIZE)
        self._deadlines = Deadlines(self._timeouts.total)
        http = self._borrowed
        if http is None:
            assert tls is not None
            self._proxy = environment_proxy(self.base_url)
            http = make_http(self._pool_size + DOWNLOAD_POOL_SIZE, tls)
            self._closed = warn_unless_closed(
                self, "AkapuluClient", "use `async with`, or aclose()", partial(close_at_once, http)
            )
            self._free_gets = free_requests()
        self._http = http

    async def aclose(self) -> None:
        """Close the own session and its connections. Does nothing if it is closed; it can be opened again.

        In a forked child it only forgets them, without a word to the service: they are the parent's.

        Raises:
            ClosedError: It is open in another event loop that is not closed.
        """
        if self._http is None:
            return
        if not self._loop.is_closed() and not self._is_forked():
            self._check_loop()
        http, self._http, self._free_gets = self._http, None, None
        self._deadlines.close()
        if http is not self._borrowed:
            self._closed()
            if self._loop.is_closed():
                close_at_once(http)
            else:
                await http.close()

    def send(self, request: Request[T], *, attempts: int | None = None) -> Coroutine[Any, Any, T]:
        """Send a request and return the value that its answer is read as.

        Args:
            request: The request.
            attempts: The most attempts, if the retry policy allows as many; None for the policy's.

        Raises:
            ClosedError: The transport is not open, or open in another event loop.
            ConfigurationError: aiohttp cannot send with the borrowed session.
            TransportError: No complete answer came; a `RequestTimeoutError` if none came in time.
            InvalidResponseError: The answer makes no sense.
            ApiError: The service refused.

        When cancelled, the request may have reached the service or not; but see `Request.on_late_answer`.
        """
        return self.sender(request, attempts=attempts)()

    def sender(self, request: Request[T], *, attempts: int | None = None) -> Callable[[], Coroutine[Any, Any, T]]:
        """Return a function that sends a request each time it is called, as `send()` does: for polls."""
        run = self._exchange if request.on_late_answer is None else self._shielded_exchange
        # A partial is smaller than a closure: thousands of sessions keep one each.
        return partial(self._call, request, self._url(request), run, attempts)

    @asynccontextmanager
    async def stream(self, request: Request[Any], headers: Mapping[str, str]) -> AsyncGenerator[Stream]:
        """Send a GET whose answer is read in pieces, following redirects without the API key.

        Args:
            request: The request.
            headers: Sent in addition, also to the target of a redirect.

        Raises:
            ClosedError, ConfigurationError, TransportError, InvalidResponseError, ApiError: As `send()`. A refusal by
            the target of a redirect is a `TransportError`.
        """
        stream = await self._call(request, self._url(request), self._open_stream, None, headers)
        try:
            yield stream
        finally:
            stream.close()

    def pause_after(self, error: TransportError, attempt: int) -> float | None:
        """Return the seconds to wait before resuming a stream that broke off; None to give up."""
        return self._retry.pause(error, attempt=attempt, safe=True, remaining=None, rng=self._rng)

    async def _call(
        self,
        request: Request[Any],
        url: URL,
        run: Callable[[Exchange], Awaitable[T]],
        attempts: int | None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> T:
        """Make attempts, with pauses between them, until one succeeds or the deadline passes."""
        http = self._open_http()
        self._check_loop()
        deadline = Deadline(self._deadlines)
        exchange, before = Exchange(request, url, self._timeouts, deadline, headers), ""
        try:
            with deadline:
                while True:
                    try:
                        return await run(exchange)
                    except (TransportError, ApiError) as error:
                        number = exchange.number
                        if exchange.arrived and not request.safe and isinstance(error, ApiError):
                            error.outcome_unknown = True  # an attempt before it may have been carried out
                        nothing_done = not request.safe and not error.outcome_unknown  # so the answer proves
                        arrived = error.sent if isinstance(error, TransportError) else not nothing_done
                        if number == attempts:
                            raise
                        pause = self._retry.pause(
                            error, attempt=number, safe=request.safe, remaining=deadline.remaining(), rng=self._rng
                        )
                        if pause is None:
                            raise
                        before = error.reason if isinstance(error, TransportError) else str(error)
                    exchange = attrs.evolve(
                        exchange,
                        headers=headers,
                        number=number + 1,
                        doing=f"in the pause before attempt {number + 1}",
                        sent=False,
                        arrived=exchange.arrived or arrived,
                    )
                    about = {"session_id": request.session_id}
                    logger.debug("~ %s %s again in %.2f s", request.method, request.path, pause, extra=about)
                    await asyncio.sleep(pause)
        except TimeoutError:
            if not deadline.expired:
                raise
            failure: AkapuluError = exchange.too_late(before)
        except asyncio.CancelledError as error:
            # aiohttp's connector, when it is closed, cancels the tasks that wait for it.
            if is_cancelled(asyncio.current_task()) or not http.closed:
                # In aiohttp's frames are the headers, and with them the API key.
                raise error.with_traceback(None)  # noqa: B904 - it is the same
            failure = self._closed_error()
        raise failure

    async def _exchange(self, exchange: Exchange) -> Any:
        """Make one attempt, once a connection is free."""
        places = self._places  # replaced when the client is closed and opened again meanwhile
        exchange.doing = self._wait_for_place
        await places.acquire()
        try:
            return await self._attempt(exchange, self._ask)
        finally:
            places.release()

    async def _shielded_exchange(self, exchange: Exchange) -> Any:
        """Make one attempt in a task of its own, so that a cancel does not lose an answer that is on its way."""
        request, task = exchange.request, asyncio.create_task(self._exchange(exchange))
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            # The deadline cancels too, and must not be stretched.
            waits = exchange.sent and not exchange.deadline.expired
            exchange.given_up = not exchange.sent
            with suppress(asyncio.CancelledError):
                await settle((task,), LATE_ANSWER if waits else 0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await settle((task,), None)
            if not exchange.deadline.cancelled_alone:
                self._tell_late(request, task, sent=exchange.sent)
                raise
            if task.cancelled():
                raise
            # Else it was done at the last moment.
        try:
            return task.result()
        finally:
            del task  # an error's frames would keep it, and it them

    def _tell_late(self, request: Request[T], task: "asyncio.Task[T]", *, sent: bool) -> None:
        """Tell how a cancelled exchange ended: pass on its answer, or warn that it may have been carried out."""
        failure = None if task.cancelled() else task.exception()
        if not task.cancelled() and failure is None:
            if request.on_late_answer is not None:
                request.on_late_answer(task.result())
        elif sent and (failure is None or not isinstance(failure, AkapuluError) or failure.outcome_unknown):
            logger.warning(
                "%s %s was cancelled, and its answer did not come or proves nothing (%s): it may have been carried out",
                request.method,
                request.path,
                "none" if failure is None else type(failure).__name__,
                extra={"session_id": request.session_id},
            )

    async def _open_stream(self, exchange: Exchange) -> Stream:
        """Make one attempt at a stream."""
        exchange.doing = f"while waiting for one of the {DOWNLOAD_POOL_SIZE} downloads to end"
        places = self._download_places
        await places.acquire()
        try:
            return Stream(*await self._follow(exchange), places)
        except BaseException:
            places.release()
            raise

    async def _follow(self, exchange: Exchange) -> tuple[Exchange, aiohttp.ClientResponse]:
        """Return the answer at the end of the redirects, and the exchange that it came with: each has its own."""
        headers = exchange.headers
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._attempt(exchange, self._ask_in_pieces)
            if response.status not in _REDIRECTS:
                return exchange, response
            response.close()
            target = redirect_target(response.headers.get("Location", ""), str(response.url))
            if target is None:
                raise exchange.invalid(response, "it redirects to where it must not be followed: only to https")
            exchange = attrs.evolve(exchange, url=URL(target, encoded=True), headers=headers, foreign=True)
        raise exchange.invalid(response, f"it redirects more than {MAX_REDIRECTS} times")

    def _attempt(self, exchange: Exchange, ask: Callable[[Exchange], Awaitable[T]]) -> Awaitable[T]:
        """Make one exchange, and report it to observers and log if there are any."""
        if self._ask_for_key is not None and not exchange.foreign:
            key = self._ask_for_key()
            if (key,) != self.secrets[:1]:
                self._use_key(key)
        watched = self.observers.attempts or logger.isEnabledFor(logging.DEBUG)
        return self._watched(exchange, ask) if watched else ask(exchange)

    async def _watched(self, exchange: Exchange, ask: Callable[[Exchange], Awaitable[T]]) -> T:
        observers, request, began = self.observers, exchange.request, time.perf_counter()
        attempt = Attempt(
            method=request.method,
            template=request.template or request.path,
            host=exchange.url.host or "",
            session_id=request.session_id,
            started_at=datetime.now(UTC),
            number=exchange.number,
        )
        exchange.headers = {**exchange.headers, **observers.headers(attempt)}
        error: ErrorKind | None = None
        retry_after: float | None = None
        try:
            return await ask(exchange)
        except AkapuluError as failure:
            error, retry_after = failure.kind, getattr(failure, "retry_after", None)
            raise
        except asyncio.CancelledError:
            error = exchange.too_late().kind if exchange.deadline.expired else None
            raise
        finally:
            attempt = attrs.evolve(
                attempt,
                seconds=time.perf_counter() - began,
                sent=exchange.sent,
                status=exchange.status,
                error=error,
                retry_after=retry_after,
            )
            observers.tell(observers.attempt_finished, attempt)
            if observers.exchange:
                observers.tell(observers.exchange, self._record(exchange, attempt))

    def _record(self, exchange: Exchange, attempt: Attempt) -> ExchangeRecord:
        # A bad answer may be damaged in the very name that marks a credential.
        unreadable = exchange.request.confidential and attempt.error is ErrorKind.INVALID_RESPONSE
        asked = self._headers_of(exchange), exchange.request.body or b""
        answered = exchange.answer_headers, MASK.encode() if unreadable else exchange.answer_body
        return ExchangeRecord.masked(attempt, asked, answered, self.secrets)

    async def _ask(self, exchange: Exchange) -> Any:
        """Send a request, and return the value that its answer is read as."""
        free = self._free_gets
        if free is not None and exchange.request.method == "GET":
            get = free.pop() if free else self._new_get()
            response = await exchange.begin(get.send(exchange.url, exchange.headers))
            free.append(get)
        else:
            response = await exchange.begin(self._sending(exchange))
        answer = await exchange.read(response)
        del response  # it shows its headers, as tracebacks may show variables
        return self._decipher(exchange.request, answer, attempts=exchange.number)

    async def _ask_in_pieces(self, exchange: Exchange) -> aiohttp.ClientResponse:
        """Send a GET, and return the beginning of its answer."""
        response = await exchange.begin(self._sending(exchange))
        if 200 <= response.status < 300 or response.status in _REDIRECTS:  # noqa: PLR2004 - the 2xx
            return response
        if exchange.foreign:
            response.close()
            if response.status in _NEEDS_A_KEY and str(exchange.url).startswith(f"{self.base_url}/"):
                raise exchange.invalid(
                    response,
                    "that is after a redirect within the base URL, and redirects are not followed with the API key; "
                    "check that recording_path ends in '/'",
                )
            raise exchange.failed(TransportError, foreign_refusal(response.status))
        answer = await exchange.read(response)
        # Raises, since it is a refusal.
        self._decipher(exchange.request, answer, attempts=exchange.number)
        return response

    def _new_get(self) -> ReusedRequest:
        options = {"headers": self._headers, "timeout": self._call_timeout, "proxy": self._proxy, **_AS_IT_COMES}
        return ReusedRequest(self._open_http(), options)

    def _sending(self, exchange: Exchange) -> Awaitable[aiohttp.ClientResponse]:
        """Return the sending of a request, made anew; a foreign host is asked without credentials."""
        http, safe, foreign = self._open_http(), exchange.request.safe, exchange.foreign
        return http.request(
            exchange.request.method,
            exchange.url,
            data=None if safe else Body(exchange),
            # These two in no variable: tools show those, and here is the API key, or a password.
            headers=self._headers_of(exchange),
            proxy=environment_proxy(str(exchange.url)) if foreign and http is not self._borrowed else self._proxy,
            timeout=self._call_timeout,
            middlewares=(without_credentials,) if foreign else None,
            # A name of its own in the pool, see the class.
            server_hostname=None if safe else exchange.url.raw_host,
            **_AS_IT_COMES,
        )

    def _headers_of(self, exchange: Exchange) -> Headers:
        safe = exchange.request.safe
        base = self._foreign_headers if exchange.foreign else self._headers if safe else self._unsafe_headers
        return Headers(base, **exchange.headers) if exchange.headers else base

    def _open_http(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            raise self._closed_error()
        return self._http

    def _closed_error(self) -> AkapuluError:
        if self._http is not None and self._is_forked():
            return ClosedError(
                "the client was opened before this process was forked: open one in each process, "
                "or await client.aclose() here and open it again"
            )
        if self._borrowed is not None and self._borrowed.closed:
            return ConfigurationError("the aiohttp session that the client works with was closed")
        return ClosedError("the client is not open: use `async with client:`, or await client.open()")

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            if self._is_forked():
                raise self._closed_error()
            raise ClosedError(
                "the client was opened in another event loop: use one client for each loop, "
                "or await client.aclose() before its loop ends"
            )

    def _is_forked(self) -> bool:
        return self._process != os.getpid()

    def _url(self, request: Request[Any]) -> URL:
        url = URL(self.base_url + request.path, encoded=True)
        return url.with_query(request.params) if request.params else url


def foreign_refusal(status: int) -> str:
    """Return the reason of the error when a host to which the service redirects answers with a failure."""
    return f"the host to which the service redirected answered {status}"
