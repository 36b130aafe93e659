"""The storage host: signed URLs, and the files behind them, whole or in pieces. Pure."""

import hashlib
import hmac
import io
import math
import re
import struct
import wave
import zlib
from collections.abc import Mapping
from enum import Enum
from random import Random

from attrs import frozen

from akapulu_async.simulator.answers import Answer, Refusal, RefusedError, refusal_answer

__all__ = ["LARGEST", "SMALLEST", "Storage", "recording_answer", "recording_size"]

_TARGET = re.compile(
    r"(?P<path>/(?P<folder>recordings|avatars)/(?P<id>[0-9a-f-]{36})(?:-(?P<size>[0-9]{1,10}))?\.(?:wav|png))"
    r"\?expires=(?P<expires>[0-9]{1,12}\.[0-9]{3})&signature=(?P<signature>[0-9a-f]{64})"
)
_IMAGE_SIDE = 64  # pixels
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")

_SAMPLE_RATE = 8000  # Hz, 8-bit mono: one byte per sample
_PERIOD = 200  # samples: 11 waves of 440 Hz, after which the tone repeats itself
_LOUDNESS = 12  # of 127: quiet
_SILENCE = 128  # 8-bit WAV samples are unsigned
_HEADER_SIZE = 44

SMALLEST = _HEADER_SIZE
"""Size in bytes of a recording without samples."""

LARGEST = 2**32 - 1
"""Size in bytes: the limit of the format."""

_TONE = bytes(_SILENCE + round(_LOUDNESS * math.sin(2 * math.pi * 11 * sample / _PERIOD)) for sample in range(_PERIOD))


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

    def recording_url(self, identifier: str, size: int, now: float) -> str:
        """Return a signed URL of a recording."""
        return self._sign(f"/recordings/{identifier}-{size}.wav", now)

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
        if found["folder"] == "avatars" or found["size"] is None:
            return Answer(200, {"Content-Type": "image/png"}, _picture(found["id"]))
        return recording_answer(found["id"], int(found["size"]), headers, ranges=self._ranges)

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


def recording_answer(identifier: str, size: int, headers: Mapping[str, str], *, ranges: bool) -> Answer:
    """Answer with the bytes of a recording."""
    file_headers = {
        "Content-Type": "audio/wav",
        "Content-Disposition": f'attachment; filename="conversation-{identifier}.wav"',
    }
    return _file_answer(Wav(size), headers, file_headers, etag=f'"{identifier}-{size}"', ranges=ranges)


def recording_size(seconds: float) -> int:
    """Return the size in bytes of a recording of `seconds`, at most `LARGEST`."""
    return min(LARGEST, _HEADER_SIZE + round(seconds * _SAMPLE_RATE))


class Wav:
    """A quiet tone in a WAV file of exactly `size` bytes.

    Only the header is kept in memory; the samples are made when they are read.
    """

    def __init__(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"a recording has {SMALLEST} to {LARGEST} bytes, not {size}")
        self.size = size
        self._header = _header(size - _HEADER_SIZE)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, starting at `offset`; fewer at the end of the file."""
        end = min(self.size, offset + length)
        head = self._header[offset:end]
        first = max(0, offset - _HEADER_SIZE)
        count = end - _HEADER_SIZE - first
        if count <= 0:
            return head
        shift = first % _PERIOD
        repeats = (shift + count) // _PERIOD + 1
        return head + (_TONE * repeats)[shift : shift + count]


@frozen
class Slice:
    """A piece of a file, read when it is sent."""

    file: Wav
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of the piece, starting at `offset`."""
        return self.file.read(self.start + offset, max(0, min(length, self.size - offset)))


class _Range(Enum):
    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


def _file_answer(
    file: Wav, request_headers: Mapping[str, str], headers: Mapping[str, str], *, etag: str, ranges: bool
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


def _header(samples: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 1, _SAMPLE_RATE, samples, "NONE", "not compressed"))
        file.writeframesraw(b"")  # the header announces samples that are not written
        return buffer.getvalue()


def _picture(identifier: str) -> bytes:
    """Return a PNG in a colour derived from an avatar's id."""
    colour = hashlib.sha256(identifier.encode()).digest()[:3]
    rows = (b"\0" + colour * _IMAGE_SIDE) * _IMAGE_SIDE
    shape = struct.pack(">2I5B", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", shape), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
