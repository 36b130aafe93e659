"""One attempt of a call: a request on the wire, how far it came, and its answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
import attrs
from yarl import URL

from akapulu_async.errors import (
    AkapuluError,
    ConfigurationError,
    InvalidResponseError,
    RequestTimeoutError,
    TransportError,
)
from akapulu_async.http.aiohttp_session import (
    NEVER_SENT,
    PARSER_IN_PYTHON,
    READ_ERRORS,
    complaint,
    failure_reason,
    is_refused_by_proxy,
    system_cause,
    was_never_sent,
)
from akapulu_async.limits import Deadline
from akapulu_async.sansio.http import Request, Response, decoded, invalid_response
from akapulu_async.sansio.json_body import MAX_JSON_BYTES
from akapulu_async.sansio.retry import Timeouts

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Headers(dict[str, str]):
    """Headers with the API key, hidden from tools that show a traceback's variables."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


@attrs.define(eq=False, repr=False)
class Exchange:
    """One attempt: what is sent, and how far it came. Not shown in a repr, since it holds headers and bodies."""

    request: Request[Any]
    url: URL
    timeouts: Timeouts
    deadline: Deadline
    """Of the call."""

    headers: Mapping[str, str] = NO_HEADERS
    """Sent in addition to those of every request, also those that observers add."""

    number: int = 1
    """Which attempt of the call it is."""

    foreign: bool = False
    """Whether it goes to a host to which the service redirected: without credentials."""

    doing: str = ""
    """For the error that the deadline raises."""

    sent: bool = False
    """Whether the service may have received it. False is certain."""

    arrived: bool = False
    """Whether an earlier attempt of the call may have arrived, and was not refused."""

    given_up: bool = attrs.field(init=False, default=False)
    """Whether it must not be sent any more."""

    status: int | None = attrs.field(init=False, default=None)
    answer_headers: Mapping[str, str] = attrs.field(init=False, default=NO_HEADERS)
    answer_body: bytes = attrs.field(init=False, default=b"")

    async def begin(self, sending: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """Send it, and return the beginning of the answer."""
        # Assumed from here on. Only a body that is still in our hands proves the opposite, see `Body`.
        self.sent = not self.request.body
        self.doing = "while waiting for the answer" if self.sent else "while connecting"
        try:
            response = await sending
        except (*READ_ERRORS, ValueError) as error:
            failure = self.failure(error)
        else:
            self.status, self.answer_headers = response.status, response.headers
            problem = complaint(response) if PARSER_IN_PYTHON else None
            if problem is None:
                return response
            response.close()
            del response  # it shows its headers, as tracebacks may show variables
            failure = self.failed(TransportError, problem)
        finally:
            self.given_up = self.status is None
        raise failure

    def failure(self, error: Exception) -> AkapuluError:
        """Return the error for the caller, for an exception of aiohttp's."""
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            self.sent = False
            return ConfigurationError(
                f"http: aiohttp does not send with this session: {error}; "
                "it must have no auth= of its own, and with trust_env no .netrc entry for the service"
            )
        # Whatever the body knows: only our own giving up leaves that in no doubt.
        self.sent = not was_never_sent(error)
        kind, reason = TransportError, failure_reason(error)
        if isinstance(error, TimeoutError):
            kind = RequestTimeoutError
            if isinstance(error, NEVER_SENT):
                reason = f"no connection was made in {self.timeouts.connect:g} s"
        failure = self.failed(kind, reason)
        failure.permanent = is_refused_by_proxy(error)
        failure.__cause__ = system_cause(error)
        return failure

    def too_late(self, before: str = "") -> TransportError:
        """Return the error that says that the deadline passed, during what, and how the attempt before it failed."""
        reason = f"{self.timeouts.total:g} s passed {self.doing}"
        return self.failed(RequestTimeoutError, f"{reason}; before that: {before}" if before else reason)

    def nothing_came(self) -> TransportError:
        """Return the error that says that no further piece of a stream came in time."""
        return self.failed(RequestTimeoutError, f"nothing came in {self.timeouts.total:g} s")

    def failed(self, kind: type[TransportError], reason: str) -> TransportError:
        """Return the error that says that no complete answer came."""
        sent = self.sent or self.arrived
        return kind(method=self.request.method, path=self.request.path, reason=reason, sent=sent, attempts=self.number)

    def invalid(self, response: aiohttp.ClientResponse, problem: str) -> InvalidResponseError:
        """Return the error that says that an answer makes no sense, whatever its body."""
        return invalid_response(self.request, Response(response.status, response.headers, b""), problem)

    async def read(self, response: aiohttp.ClientResponse) -> Response:
        """Return the whole answer, if its body is as short as JSON may be, and close the response."""
        self.doing = "in the middle of the answer"
        try:
            body = await _read(response)
        except READ_ERRORS as error:
            failure = self.failure(error)
        else:
            if body is not None:
                # As a value that does not show its body: it may contain a token, and tracebacks may show variables.
                answer = decoded(Response(response.status, response.headers, body))
                self.answer_headers, self.answer_body = answer.headers, answer.body
                return answer
            failure = self.invalid(response, f"it is larger than {MAX_JSON_BYTES // 2**20} MiB")
        raise failure


@attrs.define(eq=False, repr=False)
class Stream:
    """An answer whose body is read in pieces."""

    _exchange: Exchange
    _response: aiohttp.ClientResponse
    _places: asyncio.Semaphore

    received: int = attrs.field(init=False, default=0)
    """Bytes read in pieces so far."""

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
        limit = self._exchange.deadline.again()  # the call's own is over
        try:
            with limit:
                return await self._exchange.read(self._response)
        except TimeoutError:
            if not limit.expired:
                raise
        raise self._exchange.too_late()

    # Not a generator, which would have to be closed after leaving a loop early.
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the bytes that have come, at least one.

        Raises:
            TransportError: It broke off, or nothing came for the timeouts' total.
        """
        limit = self._exchange.deadline.again()  # aiohttp's own would pass before it reads what has come
        try:
            with limit:
                piece = await self._response.content.readany()
        except READ_ERRORS as error:
            failure = self._exchange.nothing_came() if limit.expired else self._exchange.failure(error)
        else:
            if piece:
                self.received += len(piece)
                return piece
            raise StopAsyncIteration
        raise failure

    def close(self) -> None:
        """Close its connection, unless it was read to the end, and free its place for another download."""
        self._response.close()
        self._places.release()


class Body(aiohttp.Payload):
    """A JSON body that knows whether its sending began: before that, the service cannot have acted on the request.

    That is a proof: only `write()` and `decode()` give the bytes away. Its connection is not kept. It is sent once:
    when the connection breaks, a borrowed session would by itself send methods again that aiohttp considers idempotent.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(None, content_type="application/json")
        self.__exchange, self.__bytes = exchange, exchange.request.body or b""
        self.__written = False

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.__bytes)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as text, which the caller may send."""
        self.__exchange.sent = True
        return self.__bytes.decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        """Send it."""
        exchange = self.__exchange
        if exchange.given_up:  # aiohttp writes in a task of its own, which may begin after its request was cancelled
            raise ConnectionAbortedError("the call was given up before it was sent")
        if self.__written:
            raise RuntimeError("it was sent before, and may have arrived")
        self.__written = exchange.sent = True
        exchange.doing = "while waiting for the answer"
        force_close = getattr(getattr(writer, "protocol", None), "force_close", None)
        if callable(force_close):
            force_close()
        await writer.write(self.__bytes)


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the body, or None if it is larger than JSON may be. Apart, so that no error's frame has a part of it."""
    content = response.content
    if content.is_eof() and content.exception() is None:  # a short one came with its headers
        body = content.read_nowait()
        if not response.closed:  # it switches protocols, so aiohttp leaves its connection to its reader
            response.close()
        return body if len(body) <= MAX_JSON_BYTES else None
    pieces, size = bytearray(), response.content_length or 0
    try:
        while size <= MAX_JSON_BYTES and (piece := await content.readany()):
            pieces += piece
            size = max(size, len(pieces))
    finally:
        response.close()
    return bytes(pieces) if size <= MAX_JSON_BYTES else None
