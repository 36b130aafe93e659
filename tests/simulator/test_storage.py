"""The storage host serves signed URLs, refuses keys, and reads its files from any byte."""

import struct
import zlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.recordings import FORMATS
from akapulu_async.simulator.storage import Storage, _file_answer

ID = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def storage() -> Any:
    return Storage(Random(1), url_lifetime=100, ranges=True)


@pytest.mark.parametrize(("kind", "content_type"), [("mp4", "video/mp4"), ("wav", "audio/wav")])
def test_a_signed_url_leads_to_the_recording(storage: Any, kind: str, content_type: str) -> None:
    """The bytes come with type, file name and ETag, until the URL expires."""
    url = storage.recording_url(ID, 10_000, kind, now=10)
    answer = storage.answer("GET", url, {}, now=110)
    assert (answer.status, answer.size, answer.headers["Content-Type"]) == (200, 10_000, content_type)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="conversation-{ID}.{kind}"'
    assert answer.headers["ETag"]
    expired = storage.answer("GET", url, {}, now=110.1)
    assert (expired.status, b"URL_EXPIRED" in expired.body) == (403, True)


def test_credentials_are_refused_and_counted(storage: Any) -> None:
    """A request with `Authorization` gets 400, even with a good URL."""
    url = storage.recording_url(ID, 500, "wav", now=0)
    assert storage.answer("GET", url, {"Authorization": "Bearer k"}, now=0).status == 400
    assert storage.answer("GET", url, {}, now=0).status == 200
    assert storage.leaked_credentials == 1


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [("-500.wav", "-900.wav", 403), (".wav", ".mp4", 403),
     ("expires=1", "expires=9", 403), ("&signature=", "&signature=0", 404),
     ("/recordings/", "/secrets/", 404)],
)  # fmt: skip
def test_urls_cannot_be_changed(storage: Any, old: str, new: str, status: int) -> None:
    """Another size, expiry or path than the signed one is refused."""
    url = storage.recording_url(ID, 500, "wav", now=0)
    assert old in url
    assert storage.answer("GET", url.replace(old, new), {}, now=0).status == status


def test_only_reading(storage: Any) -> None:
    """Other methods than GET and HEAD get 405."""
    answer = storage.answer("PUT", storage.recording_url(ID, 500, "wav", now=0), {}, now=0)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_picture_is_a_png(storage: Any) -> None:
    """An avatar's picture is a PNG of 64 by 64 pixels."""
    answer = storage.answer("GET", storage.image_url(ID, now=0), {}, now=0)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.body.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">2I", answer.body[16:24]) == (64, 64)
    data = answer.body[answer.body.index(b"IDAT") + 4 :]
    assert len(zlib.decompressobj().decompress(data)) == 64 * (1 + 64 * 3)


FILE = FORMATS["wav"].make(1000)


def ask(ranges: Any = True, **headers: Any) -> Any:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return _file_answer(FILE, headers, {"Content-Type": "a/b"}, etag='"e"', ranges=ranges)


@pytest.mark.parametrize(
    ("asked", "content_range"),
    [
        ("bytes=0-99", "bytes 0-99/1000"),
        ("bytes=900-", "bytes 900-999/1000"),
        ("bytes=900-5000", "bytes 900-999/1000"),
        ("bytes=-10", "bytes 990-999/1000"),
        ("bytes=-5000", "bytes 0-999/1000"),
    ],
)
def test_a_piece_is_a_206(asked: str, content_range: str) -> None:
    """A range gets its piece, and `Content-Range` says which."""
    answer = ask(Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (206, content_range)
    start, end = content_range.removeprefix("bytes ").removesuffix("/1000").split("-")
    assert answer.size == int(end) + 1 - int(start)


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_piece_beyond_the_end_is_a_416(asked: str) -> None:
    """A range without a single byte is refused, and `Content-Range` gives the size."""
    answer = ask(Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1000")


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "lines=0-1", "bytes=5-1", "bytes=0-1,5-6", "x"])
def test_what_is_not_understood_gets_the_whole(asked: str) -> None:
    """Unknown forms and several ranges get a 200 with the whole file."""
    answer = ask(Range=asked)
    assert (answer.status, answer.size) == (200, 1000)
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_if_range_protects_from_mixing_versions() -> None:
    """A piece is sent only of the same version."""
    assert ask(Range="bytes=0-9", If_Range='"e"').status == 206
    assert ask(Range="bytes=0-9", If_Range='"old"').status == 200


def test_ranges_can_be_unknown() -> None:
    """Without range support, every answer is the whole."""
    answer = ask(ranges=False, Range="bytes=0-9")
    assert (answer.status, answer.headers["Accept-Ranges"]) == (200, "none")


@given(st.integers(0, 999), st.integers(0, 2000), st.integers(1, 100))
def test_a_piece_read_in_chunks_is_the_piece(start: Any, length: int, chunk: int) -> None:
    """A piece read in chunks has exactly the requested bytes."""
    piece = ask(Range=f"bytes={start}-{start + length}").body
    assert not isinstance(piece, bytes)
    read = b"".join(piece.read(offset, chunk) for offset in range(0, piece.size, chunk))
    assert read == FILE.read(start, length + 1)
