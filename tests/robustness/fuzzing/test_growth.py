"""Reading takes time and memory in proportion to the length of the answer, not to its square."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.robustness.fuzzing.targets import ID, TARGETS

TIMES = 8
"""Ratio of the two lengths. Linear time grows by as much, quadratic time by 64."""

BOUND = 3 * TIMES
LENGTH = 4_000
"""Characters of the shorter text."""
MOMENT = 0.005
"""Seconds of the processor; less cannot be measured."""

BYTES_A_BYTE = 50
"""Bytes of memory per byte of an answer. Python's smallest objects take 56, JSON's 3 with the comma."""
FIXED_BYTES = 20_000
"""Bytes of memory for any answer."""


def update(text: str) -> bytes:
    """Return an update with a text."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').encode()
    fields = b'"conversation_session_id": "%b", "call_is_ready": false' % ID.encode()
    return b'200\n\n{%b, "latest_update_text": "%b"}' % (fields, quoted)


def refusal(text: str) -> bytes:
    """Return a refusal with a text in every place."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').encode()
    return b'500\nretry-after: %b\n\n{"error": "%b", "error_code": "%b"}' % (text.encode(), quoted, quoted)


def not_ready(text: str) -> bytes:
    """Return the JSON that comes instead of a recording."""
    return b'{"error": "%b"}' % text.replace("\\", "\\\\").replace('"', '\\"').encode()


def detail(rows: str) -> bytes:
    """Return a detail whose last row is invalid."""
    return b'200\n\n{"id": "%b", "transcript_rows": [%b{}]}' % (ID.encode(), rows.encode())


TEXTS = (
    *("joined ", "joined room", "room", " ", "\n", "!", "conversation ", "a", "9", ":", ", ", "-", "/", "\\", "%"),
    *("eyJ", "eyJ.", "eyJa-", "bearer ", '"token', '"token" ', "'token':'", '"token": "\\', "&x-amz-", "&token", "#"),
    *("\\u0026", "MINUTE", "RATE", "CONCURREN", "..", "a.", "[", "xn--", "//", "(", "Mon, ", "\u0130", "\u2028"),
    *("violet", "violet/canyon+harvest=lanter"),
)
ROWS = ('{"role": "user"},', "{},", '{"role": 1},')

READ: dict[str, tuple[str, Callable[[str], bytes], tuple[str, ...]]] = {
    "progress": ("progress", str.encode, TEXTS),
    "update": ("updates", update, TEXTS),
    "refusal": ("request", refusal, TEXTS),
    "retry-after": ("retry_after", str.encode, TEXTS),
    "content-range": ("content_range", str.encode, TEXTS),
    "redirect": ("redirect", lambda text: f"https://{text}".encode(), TEXTS),
    "moment": ("moment", str.encode, TEXTS),
    "not ready": ("not_ready", not_ready, TEXTS),
    "shown": ("shown", str.encode, TEXTS),
    "rows": ("detail", detail, ROWS),
}


def seconds(target: str, data: bytes) -> float:
    """Return the processor's seconds for a reading, the shortest of three."""

    def one() -> float:
        began = time.thread_time()
        TARGETS[target](data)
        return time.thread_time() - began

    return min(one() for _ in range(3))


def slow(name: str, pieces: tuple[str, ...], length: int = LENGTH) -> dict[str, float]:
    """Return the pieces whose longer text takes disproportionately long, with the ratio."""
    target, data, _ = READ[name]
    found = {}
    for piece in pieces:
        count = length // len(piece)
        long = seconds(target, data(piece * (count * TIMES)))
        if long > MOMENT and long > BOUND * (short := seconds(target, data(piece * count))):
            found[piece] = long / short
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_time_grows_with_the_text(name: str) -> None:
    """Whatever piece is repeated, eight times the text takes about eight times as long."""
    assert slow(name, READ[name][2]) == {}


@pytest.mark.parametrize("row", ['{"role": "user"},', "{},", "[],", '{"": {}},', '{"": 0},', '"",', "0,"])
@pytest.mark.parametrize("length", [20_000, pytest.param(160_000, marks=pytest.mark.slow)])
def test_memory_grows_with_the_text(row: str, length: int) -> None:
    """However small the pieces of an answer, reading it takes a bounded number of bytes per byte."""
    data = detail(row * (length // len(row)))
    TARGETS["detail"](data)  # the first reading makes things that stay
    tracemalloc.start()
    try:
        TARGETS["detail"](data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FIXED_BYTES + BYTES_A_BYTE * len(data)


@pytest.mark.slow
def test_squares_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds a reader that takes quadratic time."""
    monkeypatch.setattr("akapulu_async.sansio.signals.LONGEST_TEXT", 10**9)
    assert slow("progress", ("a", "joined "), 1_000).keys() == {"joined "}
