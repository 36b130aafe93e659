"""Headers that a test makes up: checked when they are given, put upon those of an answer. Pure."""

import re
from collections.abc import Mapping

__all__ = ["check_headers", "merged"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def check_headers(headers: object) -> None:
    """Refuse what could not be sent as headers; raises `ValueError` naming the header.

    Names are tokens and values texts without control characters. `Transfer-Encoding` is the server's own;
    `Content-Length` is a number.
    """
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers must map names to texts, not {headers!r}")  # noqa: TRY004 - one error for all options
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is no header's name")
        if not isinstance(value, str) or _CONTROL.search(value):
            raise ValueError(f"headers: {name} must be a text without control characters, not {value!r}")
        if name.lower() == "transfer-encoding":
            raise ValueError("headers: Transfer-Encoding cannot be made up")
        if name.lower() == "content-length" and not _LENGTH.fullmatch(value):
            raise ValueError(f"headers: Content-Length must be a whole number, not {value!r}")


def merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; of two with one name, whatever their case, the later one stays."""
    return dict({name.lower(): (name, value) for layer in layers for name, value in layer.items()}.values())
