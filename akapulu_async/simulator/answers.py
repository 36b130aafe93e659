"""Answers: what goes back over the wire, before any fault befalls it. Pure."""

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import frozen

from akapulu_async.simulator.refusals import Refusal
from akapulu_async.simulator.wav import Wav

__all__ = ["Answer", "Slice", "file_answer", "json_answer", "refusal_answer"]

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@frozen
class Slice:
    """A piece of a file, read when it is sent."""

    file: Wav
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` of the piece on."""
        return self.file.read(self.start + offset, max(0, min(length, self.size - offset)))


@frozen
class Answer:
    """A status, headers and a body; a `Slice` is streamed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Slice = b""

    @property
    def size(self) -> int:
        """The body's bytes."""
        return self.body.size if isinstance(self.body, Slice) else len(self.body)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON."""
    return Answer(status, {**JSON_HEADERS, **(headers or {})}, json.dumps(value).encode())


def refusal_answer(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer that refuses."""
    wait = {} if refusal.retry_after is None else {"Retry-After": f"{refusal.retry_after:g}"}
    return json_answer(refusal.body(), refusal.status, {**wait, **(headers or {})})


class _Range(Enum):
    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


def file_answer(
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

    Several ranges at once, and nonsense, mean the whole file: a server may ignore what it does not know.
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
