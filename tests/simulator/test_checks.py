"""Values out of range are refused by name."""

import math
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.checks import check_headers, check_id, is_uuid, number, of_type, one_of, optional


@frozen
class Options:
    size: int | None = field(default=None, validator=optional(number(1, 10, whole=True)))
    delay: float = field(default=1.0, validator=number(above=True))
    form: str = field(default="b", validator=one_of("a", "b"))
    name: str = field(default="", validator=of_type(str))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"size must be a whole number from 1 to 10, not 0"),
        ({"size": 11}, r"size must be"),
        ({"size": 1.5}, r"size must be"),
        ({"size": True}, r"size must be"),
        ({"delay": 0}, r"delay must be a number above 0, not 0"),
        ({"delay": math.inf}, r"delay must be"),
        ({"delay": math.nan}, r"delay must be"),
        ({"delay": "1"}, r"delay must be"),
        ({"delay": None}, r"delay must be"),
        ({"form": None}, r"form must be"),
        ({"form": []}, r"form must be"),
        ({"form": "c"}, r"form must be one of a, b, not 'c'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(options: Any, message: str) -> None:
    """A value out of range or of another type raises ValueError that names the option and the range."""
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_another_type_is_refused_by_name() -> None:
    """A value of another type raises TypeError that names the option and the type."""
    options: Any = {"name": 5}
    with pytest.raises(TypeError, match="name must be of type str, not 5"):
        Options(**options)


@given(st.integers(1, 10), st.floats(0, exclude_min=True, allow_infinity=False))
def test_what_fits_is_taken(size: int, delay: Any) -> None:
    """Every value in range passes, and so does None where it is optional."""
    assert Options(size, delay, "a") != Options(None)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (["a"], "headers must map names to texts"),
        ({"": "x"}, "not a header name"),
        ({"X A": "x"}, "'X A' is not a header name"),
        ({5: "x"}, "5 is not a header name"),
        ({"Retry-After": 7}, "Retry-After must be a text"),
        ({"X-A": "a\r\nX-B: b"}, "X-A must be a text without control characters"),
        ({"X-A": "\x00"}, "X-A"),
        ({"X-A": "\ud800"}, "X-A"),
        ({"transfer-encoding": "chunked"}, "Transfer-Encoding is set by the server"),
        ({"content-length": "-1"}, "Content-Length must be a whole number"),
    ],
)
def test_what_cannot_be_sent_is_refused(headers: Any, message: str) -> None:
    """A name or value that cannot be sent raises ValueError naming the header."""
    with pytest.raises(ValueError, match=message):
        check_headers(headers)


def test_what_can_be_sent_is_taken() -> None:
    """Empty values, tabs, letters of any language and a length pass."""
    check_headers({"X-A": "", "X-B": "a\tb", "X-C": "\u00e9\u4e2d", "Content-Length": "5"})


@given(st.uuids())
def test_uuids_are_known_in_either_case(identifier: Any) -> None:
    """The canonical form passes in lower and upper case, any other form does not."""
    text = str(identifier)
    assert is_uuid(text)
    assert is_uuid(text.upper())
    assert not is_uuid(identifier.hex)
    assert not is_uuid(text + "\n")
    assert check_id(text.upper()) == check_id(identifier) == text
