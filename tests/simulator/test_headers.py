"""Made-up headers can be sent, and replace those of their name."""

from typing import Any

import pytest

from akapulu_async.simulator.headers import check_headers, merged


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (["a"], "headers must map names to texts"),
        ({"": "x"}, "no header's name"),
        ({"X A": "x"}, "'X A' is no header's name"),
        ({5: "x"}, "5 is no header's name"),
        ({"Retry-After": 7}, "Retry-After must be a text"),
        ({"X-A": "a\r\nX-B: b"}, "X-A must be a text without control characters"),
        ({"X-A": "\x00"}, "X-A"),
        ({"X-A": "\ud800"}, "X-A"),
        ({"transfer-encoding": "chunked"}, "Transfer-Encoding cannot be made up"),
        ({"content-length": "-1"}, "Content-Length must be a whole number"),
    ],
)
def test_what_cannot_be_sent_is_refused(headers: Any, message: str) -> None:
    """A name or value that would break the answer raises ValueError that names the header."""
    with pytest.raises(ValueError, match=message):
        check_headers(headers)


def test_what_can_be_sent_is_taken() -> None:
    """Empty values, tabs, letters of any language and a length pass."""
    check_headers({"X-A": "", "X-B": "a\tb", "X-C": "\u00e9\u4e2d", "Content-Length": "5"})


def test_the_later_of_one_name_stays() -> None:
    """Names are compared without regard to case."""
    assert merged({"Content-Type": "a", "X": "1"}, {"content-type": "b"}) == {"content-type": "b", "X": "1"}
