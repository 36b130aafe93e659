"""Recordings: asking for them, and reading what comes."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import attrs

from akapulu_async.errors import ApiError, RecordingNotReadyError, TransportError
from akapulu_async.http.exchange import Stream
from akapulu_async.http.transport import Transport, foreign_refusal
from akapulu_async.sansio.headers import parse_content_range
from akapulu_async.sansio.http import Request, Response, decipher, invalid_response, not_ready_text

_OK, _PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 200, 206, 416

_JSON = "application/json"

_COMPRESSIONS = frozenset({"br", "compress", "deflate", "gzip", "x-compress", "x-gzip", "zstd"})
# Stores are known to name other "encodings" that change nothing, such as `aws-chunked`.


@attrs.frozen(eq=False)
class Recording:
    """A recording that is being read."""

    content_type: str
    """Its media type, such as `video/mp4`; `application/octet-stream` if the answer does not say."""

    size: int | None
    """Its length in bytes; None if the answer does not say."""

    _stream: Stream

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Read it piece by piece, in whatever sizes it arrives.

        If the answer says neither its length nor, in chunks, where it ends, it ends where the connection does: HTTP
        cannot tell that from a break.

        Raises:
            TransportError: It broke off, or nothing came for the timeouts' total.
        """
        return _Pieces(self._stream)

    @property
    def etag(self) -> str | None:
        """What tells one version of it from another, byte for byte; None if there is no such thing."""
        etag = self._stream.headers.get("ETag")
        if not etag or etag.startswith("W/"):
            return None
        # One with bytes beyond ASCII, or with control characters, could not be sent back as it came.
        return etag if etag.isascii() and etag.isprintable() else None

    @property
    def partial(self) -> bool:
        """Whether it is the rest that was asked for, or some other part."""
        return self._stream.status == _PARTIAL_CONTENT

    @property
    def begins_at(self) -> int | None:
        """Which byte comes first: 0, or where the part begins; None if the answer does not say."""
        if not self.partial:
            return 0
        content_range = parse_content_range(self._stream.headers.get("Content-Range"))
        return content_range.first if content_range else None


class _Pieces:
    """What `iter_bytes()` gives: no generator, so that leaving a loop early leaves nothing behind."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._stream.read_some()
        if not piece:
            raise StopAsyncIteration
        return piece


@asynccontextmanager
async def open_recording(
    transport: Transport, session_id: str, path: str, headers: Mapping[str, str]
) -> AsyncGenerator[Recording]:
    """Ask for a recording, and follow where the answer leads.

    The answer is a redirect, JSON or the bytes [documented]. That JSON with a 2xx status, or with an error code
    that has NOT_READY in it, means "not ready" is assumed.
    """
    request: Request[None] = Request("GET", path)
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(transport.stream(request, headers))
        except ApiError as error:
            if "NOT_READY" not in (error.error_code or "").upper():
                raise
            raise RecordingNotReadyError(session_id=session_id, status_text=error.message) from error
        content_type = stream.headers.get("Content-Type", "application/octet-stream")
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == _JSON or stream.status not in {_OK, _PARTIAL_CONTENT}:
            response = await stream.read()
            text = not_ready_text(response.body, transport.secrets)
            if not text and media_type == _JSON and response.body:
                # Raises if it is no JSON: waiting would not make it ready.
                decipher(request, response, now=datetime.now(UTC), secrets=transport.secrets)
            raise RecordingNotReadyError(session_id=session_id, status_text=text)
        problem = _problem(stream, media_type, headers)
        if problem is not None:
            raise invalid_response(request, Response(stream.status, stream.headers, b""), problem)
        yield Recording(content_type, _size(stream), stream)


def refuses_range(error: ApiError | TransportError) -> bool:
    """Whether it says that there is no such range, be it from the service or from where that redirected."""
    if isinstance(error, ApiError):
        return error.status == _RANGE_NOT_SATISFIABLE
    return error.reason == foreign_refusal(_RANGE_NOT_SATISFIABLE)


def _problem(stream: Stream, media_type: str, headers: Mapping[str, str]) -> str | None:
    """Return why an answer cannot be a recording, as it was asked for."""
    if media_type in {"text/html", "application/xhtml+xml"}:
        return f"it is a web page ({media_type}), not a recording"
    encodings = re.split(r"[\s,]+", stream.headers.get("Content-Encoding", "").lower())
    compressions = ", ".join(name for name in encodings if name in _COMPRESSIONS)
    if compressions:
        return f"it is compressed ({compressions}), which was not asked for"
    if stream.status == _PARTIAL_CONTENT and "Range" not in headers:
        return "it is a part, which was not asked for"
    return None


def _size(stream: Stream) -> int | None:
    if stream.status == _PARTIAL_CONTENT:
        content_range = parse_content_range(stream.headers.get("Content-Range"))
        return content_range.size if content_range else None
    length = stream.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length, re.ASCII) else None
