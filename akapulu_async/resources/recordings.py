"""Recordings: request one, and read its bytes."""

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

SESSION_ID = "{session_id}"
"""The placeholder of the id in a path's template."""

# Stores also name "encodings" that change nothing, such as `aws-chunked`.
_COMPRESSIONS = frozenset({"br", "compress", "deflate", "gzip", "x-compress", "x-gzip", "zstd"})


@attrs.frozen(eq=False)
class Recording:
    """An open recording. Yielded by `client.conversations.recording()`, and readable once."""

    content_type: str
    """The media type, such as `video/mp4`; `application/octet-stream` if the answer does not say."""

    size: int | None
    """Length in bytes; None if the answer does not say."""

    _stream: Stream

    begins_at: int | None = 0
    """The offset of the first byte; None if the answer does not say."""

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes in pieces of any size, as they arrive.

        An answer that breaks off raises an error if it gave its length. Without one (`size` is None) a recording may
        end early and look complete: a gateway that speaks HTTP/1.0 to the service, as nginx does by default, cannot
        tell the end of an answer from a broken connection. See `verified`.

        Raises:
            TransportError: The connection broke, or nothing arrived within the timeouts' total.
        """
        return self._stream

    @property
    def verified(self) -> bool:
        """True once all bytes were read that the answer promised by its length; always False without a length."""
        if self.size is None or self.begins_at is None:
            return False
        return self.begins_at + self._stream.received == self.size

    @property
    def etag(self) -> str | None:
        """The strong ETag, which changes whenever a byte does; None if there is none that can be sent back."""
        etag = self._stream.headers.get("ETag")
        if not etag or etag.startswith("W/"):
            return None
        # Other characters would not be sent back unchanged.
        return etag if etag.isascii() and etag.isprintable() else None


@asynccontextmanager
async def open_recording(
    transport: Transport, session_id: str, template: str, headers: Mapping[str, str]
) -> AsyncGenerator[Recording]:
    """Request a recording, following redirects.

    The answer is a redirect, JSON or the bytes [documented]. JSON with a 2xx status, or an error code that contains
    NOT_READY, means "not ready" [assumed].
    """
    path = template.replace(SESSION_ID, session_id)
    request: Request[None] = Request("GET", path, session_id=session_id, template=template)
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
                # Raises if it is not JSON: waiting would not make it ready.
                decipher(request, response, now=lambda: datetime.now(UTC), secrets=transport.secrets)
            raise RecordingNotReadyError(session_id=session_id, status_text=text)
        problem = _problem(stream, media_type, headers)
        if problem:
            raise invalid_response(request, Response(stream.status, stream.headers, b""), problem)
        if stream.status == _PARTIAL_CONTENT:
            first, size = parse_content_range(stream.headers.get("Content-Range")) or (None, None)
        else:
            length = stream.headers.get("Content-Length", "")
            first, size = 0, int(length) if re.fullmatch("[0-9]{1,18}", length, re.ASCII) else None
        yield Recording(content_type, size, stream, first)


def refuses_range(error: ApiError | TransportError) -> bool:
    """Return True if the service, or the host it redirected to, has no such range."""
    if isinstance(error, ApiError):
        return error.status == _RANGE_NOT_SATISFIABLE
    return error.reason == foreign_refusal(_RANGE_NOT_SATISFIABLE)


def _problem(stream: Stream, media_type: str, headers: Mapping[str, str]) -> str | None:
    """Return why an answer cannot be the requested recording; None if it can."""
    if media_type in {"text/html", "application/xhtml+xml"}:
        return f"it is a web page ({media_type}), not a recording"
    encodings = re.split(r"[\s,]+", stream.headers.get("Content-Encoding", "").lower())
    compressions = ", ".join(name for name in encodings if name in _COMPRESSIONS)
    if compressions:
        return f"it is compressed ({compressions}), which was not asked for"
    if stream.status == _PARTIAL_CONTENT and "Range" not in headers:
        return "it is a range, which was not asked for"
    return None
