"""JSON bodies are read strictly, and written safely."""

import json
import math
import pickle
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.json_body import encode_json, parse_json
from akapulu_async.secret import Secret

KEY = "AKLIVE0123456789ABCDEF"


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"<!doctype html>", b"{", b'{"a": 1', b"{} {}", b'{"a": NaN}', b'{"a": Infinity}',
        b'{"a": -Infinity}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff{}",
    ],
    ids=count(),
)  # fmt: skip
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Anything but one whole value of strict JSON in UTF-8 is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - its words are json's
        parse_json(body)


@pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"a": 1}', b' \r\n\t{"a": 1}\n'], ids=["BOM", "white space"])
def test_what_surrounds_json_is_borne(body: bytes) -> None:
    """A byte order mark and white space around JSON are ignored."""
    assert parse_json(body) == {"a": 1}


def test_a_number_too_long_to_read() -> None:
    """An integer with more digits than Python reads is refused."""
    with pytest.raises(ValueError, match="4300"):
        parse_json(b"1" * 5000)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    """A hundred levels of nesting are read; more are refused, since the result could not be pickled."""
    within = f"{opening * 100}1{closing * 100}".encode()
    assert pickle.loads(pickle.dumps(parse_json(within))) == json.loads(within)  # noqa: S301 - our own
    for more in (101, 300, 900):
        with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
            parse_json(f"{opening * more}1{closing * more}".encode())
    wide = b"[" + b"[[]]," * 1000 + b'"' + b"[" * 1000 + b'"]'
    assert parse_json(wide) == json.loads(wide)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | finite | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_bodies_come_back(payload: Any) -> None:
    """An encoded payload is ASCII JSON, and decodes to itself."""
    body = encode_json(payload)
    assert body.isascii()
    assert parse_json(body) == payload


@pytest.mark.parametrize("payload", [math.nan, [math.inf], {1, 2}, {"a": object()}, b"x", Secret(KEY)], ids=count())
def test_other_bodies_are_refused(payload: Any) -> None:
    """A payload that JSON cannot express is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match=r"^json must be writable as JSON: ") as caught:
        encode_json(payload)
    assert KEY not in str(caught.value)


def test_a_circle_is_refused() -> None:
    """So is a payload that contains itself or is nested too deeply."""
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (circle, deep):
        with pytest.raises(ConfigurationError, match=r"^json must be writable as JSON: "):
            encode_json(payload)
