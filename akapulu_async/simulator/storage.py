"""The storage host: signed URLs, and the files behind them, whole or in pieces. Pure."""

import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Mapping
from enum import Enum
from random import Random

from attrs import frozen

from akapulu_async.simulator.answers import Answer, Refusal, RefusedError, refusal_answer
from akapulu_async.simulator.recordings import FORMATS, File

__all__ = ["Storage", "recording_answer"]

_TARGET = re.compile(
    r"(?P<path>/(?:recordings|avatars)/(?P<id>[0-9a-f-]{36})(?:-(?P<size>[0-9]{1,10}))?\.(?P<kind>mp4|wav|png))"
    r"\?expires=(?P<expires>[0-9]{1,12}\.[0-9]{3})&signature=(?P<signature>[0-9a-f]{64})"
)
_IMAGE_SIDE = 64  # pixels
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Storage:
    """Serves URLs that it signed, and refuses requests that carry the API key.

    The key must never be sent to it (documented).

    Attributes:
        leaked_credentials: the number of requests with an `Authorization` header.

    """

    def __init__(self, rng: Random, *, url_lifetime: float, ranges: bool) -> None:
        self.base_url = ""
        self.leaked_credentials = 0
        self._secret = rng.randbytes(32)
        self._lifetime = url_lifetime
        self._ranges = ranges

    def recording_url(self, identifier: str, size: int, kind: str, now: float) -> str:
        """Return a signed URL of a recording."""
        return self._sign(f"/recordings/{identifier}-{size}.{kind}", now)

    def image_url(self, identifier: str, now: float) -> str:
        """Return a signed URL of an avatar's picture."""
        return self._sign(f"/avatars/{identifier}.png", now)

    def answer(self, method: str, target: str, headers: Mapping[str, str], now: float) -> Answer:
        """Answer a request for a file."""
        if "Authorization" in headers:
            self.leaked_credentials += 1
            return refusal_answer(
                Refusal(400, "AUTHORIZATION_NOT_WANTED", "Requests with a signed URL must not carry credentials.")
            )
        if method not in {"GET", "HEAD"}:
            return refusal_answer(
                Refusal(405, "METHOD_NOT_ALLOWED", f"{method} is not allowed."), {"Allow": "GET, HEAD"}
            )
        try:
            found = self._check(target, now)
        except RefusedError as refused:
            return refusal_answer(refused.refusal)
        if found["kind"] == "png":
            return Answer(200, {"Content-Type": "image/png"}, _picture(found["id"]))
        return recording_answer(found["id"], int(found["size"]), headers, kind=found["kind"], ranges=self._ranges)

    def _check(self, target: str, now: float) -> re.Match[str]:
        found = _TARGET.fullmatch(target)
        if found is None:
            raise RefusedError(Refusal(404, "NOT_FOUND", "There is nothing at this path."))
        signature = self._signature(found["path"], found["expires"])
        if not hmac.compare_digest(signature, found["signature"]):
            raise RefusedError(Refusal(403, "SIGNATURE_INVALID", "The signature does not match the URL."))
        if float(found["expires"]) < now:
            raise RefusedError(Refusal(403, "URL_EXPIRED", "The signed URL has expired; ask the API for a new one."))
        return found

    def _sign(self, path: str, now: float) -> str:
        expires = f"{now + self._lifetime:.3f}"
        return f"{self.base_url}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path} {expires}".encode(), hashlib.sha256).hexdigest()


def recording_answer(identifier: str, size: int, headers: Mapping[str, str], *, kind: str, ranges: bool) -> Answer:
    """Answer with the bytes of a recording."""
    file_headers = {
        "Content-Type": FORMATS[kind].content_type,
        "Content-Disposition": f'attachment; filename="conversation-{identifier}.{kind}"',
    }
    return _file_answer(FORMATS[kind].make(size), headers, file_headers, etag=f'"{identifier}-{size}"', ranges=ranges)


@frozen
class Slice:
    """A piece of a file, read when it is sent."""

    file: File
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of the piece, starting at `offset`."""
        return self.file.read(self.start + offset, max(0, min(length, self.size - offset)))


class _Range(Enum):
    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


def _file_answer(
    file: File, request_headers: Mapping[str, str], headers: Mapping[str, str], *, etag: str, ranges: bool
) -> Answer:
    """Answer with a file, or the piece of it that `Range` and `If-Range` ask for (RFC 9110).

    `ranges=False` ignores both.
    """
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes" if ranges else "none"}
    piece = _requested_range(request_headers, etag, file.size) if ranges else _Range.WHOLE
    if piece is _Range.UNSATISFIABLE:
        refusal = Refusal(416, "RANGE_NOT_SATISFIABLE", f"The recording has {file.size} bytes.")
        return refusal_answer(refusal, {"Content-Range": f"bytes */{file.size}"})
    if isinstance(piece, _Range):
        return Answer(200, headers, Slice(file, 0, file.size))
    start, end = piece
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return Answer(206, headers, Slice(file, start, end - start))


def _requested_range(request_headers: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | _Range:
    if request_headers.get("If-Range", etag) != etag:
        return _Range.WHOLE
    return _parse_range(request_headers.get("Range", ""), size)


def _parse_range(text: str, size: int) -> tuple[int, int] | _Range:
    """Return the first byte and the one after the last.

    Several ranges and unknown forms mean the whole file, as RFC 9110 allows.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return _Range.WHOLE
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if first and last and int(last) < int(first):
        return _Range.WHOLE
    return (start, end) if start < end else _Range.UNSATISFIABLE


def _picture(identifier: str) -> bytes:
    """Return a PNG in a colour derived from an avatar's id."""
    colour = hashlib.sha256(identifier.encode()).digest()[:3]
    rows = (b"\0" + colour * _IMAGE_SIDE) * _IMAGE_SIDE
    shape = struct.pack(">2I5B", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", shape), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
