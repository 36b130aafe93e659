"""One call on its way through the transport: what it says in its log lines and in its errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import StreamWriter
from yarl import URL

from akapulu_async.errors import (
    AkapuluError,
    ConfigurationError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
)
from akapulu_async.http.aiohttp_session import failure_reason, never_sent, system_cause
from akapulu_async.http.limits import Deadline, Places
from akapulu_async.log import logger
from akapulu_async.sansio.http import Request, Response, invalid_response
from akapulu_async.sansio.json_body import MAX_JSON_BYTES
from akapulu_async.sansio.retry import Timeouts

T = TypeVar("T")

READ_ERRORS = (aiohttp.ClientError, OSError, HttpProcessingError)
"""What reading an answer with aiohttp raises; the last only where aiohttp has no parser in C."""

REQUEST_ERRORS = (*READ_ERRORS, ValueError)
"""What sending a request with aiohttp raises; see `Call.failure()`."""


class Headers(dict[str, str]):
    """Headers with the API key, which tools that show a traceback's variables must not show."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


@attrs.define(eq=False, repr=False)
class Call:
    """Where a call is just now, for its log lines and for the error that its deadline may raise."""

    request: Request[Any]
    url: URL
    timeouts: Timeouts
    attempt: int = 1
    doing: str = ""
    sent: bool = False
    status: int | None = None
    last_failure: str = ""
    deadline: Deadline | None = None
    over: bool = False
    """Whether it has ended, or was given up: what was not sent by then must not be sent any more."""

    def begin(self) -> None:
        """Let it be sent now. Until its body's sending begins, what has one is not known to be under way."""
        self.sent = self.request.safe
        self.doing = "while waiting for the answer" if self.sent else "while connecting"

    def failure(self, error: Exception) -> AkapuluError:
        """Return what an exception of aiohttp's means for the caller."""
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            return ConfigurationError(
                f"http: aiohttp does not send with this session: {error}; "
                "it must have no auth= of its own, and with trust_env no .netrc entry for the service"
            )
        kind, reason = TransportError, failure_reason(error)
        if isinstance(error, TimeoutError):
            never = never_sent(error)
            limit = self.timeouts.connect if never else self.timeouts.total
            what = "no connection was made" if never else "nothing came"
            kind, reason = RequestTimeoutError, what if limit is None else f"{what} in {limit:g} s"
        failure = kind(
            method=self.request.method,
            path=self.request.path,
            reason=reason,
            sent=self.sent and not never_sent(error),
            attempts=self.attempt,
        )
        failure.__cause__ = system_cause(error)
        return failure

    def too_late(self) -> RequestTimeoutError:
        """Return what says that the deadline has passed, and in doing what."""
        before = f"; before that: {self.last_failure}" if self.last_failure else ""
        return RequestTimeoutError(
            method=self.request.method,
            path=self.request.path,
            reason=f"{self.timeouts.total:g} s passed {self.doing}{before}",
            sent=self.sent,
            attempts=self.attempt,
        )

    def invalid(self, response: aiohttp.ClientResponse, problem: str) -> InvalidResponseError:
        """Return what says that an answer makes no sense, whatever its body."""
        return invalid_response(self.request, Response(response.status, response.headers, b""), problem)

    async def read_in_time(self, response: aiohttp.ClientResponse) -> Response:
        """Return the whole answer to a call whose own deadline does not count any more."""
        limit = asyncio.timeout(self.timeouts.total)
        try:
            async with limit:
                return await self.read(response)
        except TimeoutError:
            if not limit.expired():
                raise
        raise self.too_late()

    def at_hand(self, response: aiohttp.ClientResponse) -> Response | None:
        """Return the answer if all of it came with its headers, as short ones do, and if it is in order; else None."""
        content = response.content
        if not content.is_eof() or content.exception() is not None:
            return None
        return self._whole(response, content.read_nowait())

    async def read(self, response: aiohttp.ClientResponse) -> Response:
        """Return the whole answer, if its body is as short as JSON may be, and close the response."""
        self.doing = "in the middle of the answer"
        try:
            body = await _read(response)
        except READ_ERRORS as error:
            failure = self.failure(error)
        else:
            return self._whole(response, body)
        finally:
            response.close()
        raise failure

    def _whole(self, response: aiohttp.ClientResponse, body: bytes | None) -> Response:
        if body is None or len(body) > MAX_JSON_BYTES:
            raise self.invalid(response, f"it is larger than {MAX_JSON_BYTES // 2**20} MiB")
        # As a value that does not show its body: it may bear a token, and tracebacks may show variables.
        return Response(response.status, response.headers, body)

    async def logged(self, attempt: Callable[["Call"], Awaitable[T]]) -> T:
        """Make an attempt, and log what became of it."""
        what = f"{self.request.method} {self.request.path}"
        logger.debug("> %s attempt %d", what, self.attempt)
        began, self.status = time.perf_counter(), None
        try:
            return await attempt(self)
        except (TransportError, asyncio.CancelledError) as error:
            logger.debug("! %s %s", what, type(error).__name__)
            raise
        finally:
            if self.status is not None:
                logger.debug("< %s %d %.0f ms", what, self.status, (time.perf_counter() - began) * 1000)

    async def wait(self, seconds: float) -> None:
        """Wait before the next attempt."""
        self.attempt += 1
        # What is tried again although it is not safe was not received, or refused before any work.
        self.sent = self.sent and self.request.safe
        self.doing = f"in the pause before attempt {self.attempt}"
        logger.debug("~ %s %s again in %.2f s", self.request.method, self.request.path, seconds)
        await asyncio.sleep(seconds)


@attrs.define(eq=False, repr=False)
class Stream:
    """An answer whose body is read in pieces."""

    url: URL
    """Where it comes from; a signed link, so it is not for logs."""

    _call: Call
    _response: aiohttp.ClientResponse
    _places: Places

    @property
    def status(self) -> int:
        """The HTTP status: 200, or 206 for a part."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their case does not matter."""
        return self._response.headers

    async def read(self) -> Response:
        """Return the whole answer, if its body is as short as JSON may be.

        Raises:
            InvalidResponseError: It is longer.
            TransportError: It broke off, or was not complete after the timeouts' total.
        """
        return await self._call.read_in_time(self._response)

    async def read_some(self) -> bytes:
        """Return what has come, at least one byte; nothing at the end.

        Raises:
            TransportError: It broke off, or nothing came for the timeouts' total.
        """
        try:
            return await self._response.content.readany()
        except READ_ERRORS as error:
            failure = self._call.failure(error)
        raise failure

    def close(self) -> None:
        """Close its connection, unless it was read to the end, and let another download have its place."""
        self._response.close()
        self._places.give_back()


class Body(aiohttp.BytesPayload):
    """A body that tells when its sending begins: before that, the service cannot have acted on the request.

    Its connection is not kept, even if the service means to. It is sent once: when the connection breaks, a borrowed
    session would by itself send again what aiohttp takes for idempotent. Without its body, no head leaves either.
    """

    def __init__(self, call: Call) -> None:
        super().__init__(call.request.body or b"", content_type="application/json")
        self._call = call
        self._begun = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it."""
        if self._call.over:  # aiohttp writes in a task of its own, which may begin after its request was cancelled
            raise ConnectionAbortedError("the call was given up before it was sent")
        if self._begun:
            raise RuntimeError("it was sent before, and may have arrived")
        self._begun = True
        self._call.sent, self._call.doing = True, "while waiting for the answer"
        if isinstance(writer, StreamWriter) and isinstance(writer.protocol, ResponseHandler):
            writer.protocol.force_close()
        await super().write_with_length(writer, content_length)


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the body, or None if it is larger than JSON may be."""
    length = response.content_length
    if length is not None and length > MAX_JSON_BYTES:
        return None
    body = bytearray()
    while piece := await response.content.readany():
        body += piece
        if len(body) > MAX_JSON_BYTES:
            return None
    return bytes(body)
