"""Answers carry JSON, refusals and files."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.answers import file_answer, json_answer, refusal_answer
from akapulu_async.simulator.refusals import Refusal
from akapulu_async.simulator.wav import Wav

FILE = Wav(1000)


def ask(ranges: Any = True, **headers: Any) -> Any:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return file_answer(FILE, headers, {"Content-Type": "audio/wav"}, etag='"e"', ranges=ranges)


def test_json_answers() -> None:
    """A JSON answer has its content type, its status and the headers added."""
    answer = json_answer({"a": "ü"}, 201, {"X-A": "1"})
    assert (answer.status, answer.headers) == (201, {"Content-Type": "application/json", "X-A": "1"})
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"a": "ü"}
    assert answer.size == len(answer.body)


def test_a_refusal_may_ask_to_wait() -> None:
    """`retry_after` becomes `Retry-After`, in seconds; None sends none."""
    assert refusal_answer(Refusal(429, "C", "E", 2.5)).headers["Retry-After"] == "2.5"
    assert refusal_answer(Refusal(429, "C", "E", 30)).headers["Retry-After"] == "30"
    assert "Retry-After" not in refusal_answer(Refusal(429, "C", "E")).headers


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
    """A range without a single byte is refused, and `Content-Range` tells the size."""
    answer = ask(Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1000")


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "lines=0-1", "bytes=5-1", "bytes=0-1,5-6", "x"])
def test_what_is_not_understood_gets_the_whole(asked: str) -> None:
    """Nonsense and several ranges are ignored: 200 and everything."""
    answer = ask(Range=asked)
    assert (answer.status, answer.size) == (200, 1000)
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_if_range_protects_from_mixing_versions() -> None:
    """The piece is sent only if the version is still the same."""
    assert ask(Range="bytes=0-9", If_Range='"e"').status == 206
    assert ask(Range="bytes=0-9", If_Range='"old"').status == 200


def test_ranges_can_be_unknown() -> None:
    """Without range support, every answer is the whole."""
    answer = ask(ranges=False, Range="bytes=0-9")
    assert (answer.status, answer.headers["Accept-Ranges"]) == (200, "none")


@given(st.integers(0, 999), st.integers(0, 2000), st.integers(1, 100))
def test_a_piece_read_in_chunks_is_the_piece(start: Any, length: int, chunk: int) -> None:
    """However it is read, a piece has exactly the bytes asked for."""
    piece = ask(Range=f"bytes={start}-{start + length}").body
    assert not isinstance(piece, bytes)
    read = b"".join(piece.read(offset, chunk) for offset in range(0, piece.size, chunk))
    assert read == FILE.read(start, length + 1)
