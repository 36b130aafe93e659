"""Checks of values that callers give, with messages that name the value. Pure."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

__all__ = ["check_headers", "check_id", "is_uuid", "number", "of_type", "one_of", "optional"]

Validator = Callable[[Any, Any, Any], None]

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def number(minimum: float = 0, maximum: float = math.inf, *, whole: bool = False, above: bool = False) -> Validator:
    """Return an attrs validator for a finite number in a range.

    `whole`: an integer; `above`: more than the minimum. The validator raises `ValueError`.
    """
    kind = "a whole number" if whole else "a number"
    bounds = f"{'above' if above else 'from'} {minimum}" + ("" if maximum == math.inf else f" to {maximum}")

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not minimum <= value <= maximum or value == math.inf or (above and value == minimum):
            raise ValueError(f"{attribute.name} must be {kind} {bounds}, not {value!r}")

    return check


def one_of(*allowed: str) -> Validator:
    """Return an attrs validator for one of the allowed texts. It raises `ValueError`."""

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(allowed)}, not {value!r}")

    return check


def of_type(kind: type[Any]) -> Validator:
    """Return an attrs validator for a value of a type. It raises `TypeError`."""

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{attribute.name} must be of type {kind.__name__}, not {value!r}")

    return check


def optional(validator: Validator) -> Validator:
    """Return an attrs validator that accepts None and passes any other value to `validator`."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def is_uuid(text: str) -> bool:
    """Return True if a text is a UUID in its canonical form, in either case."""
    return _UUID.fullmatch(text) is not None


def check_id(identifier: str | UUID) -> str:
    """Return a UUID's canonical text in lower case. Raises `ValueError` for anything else."""
    text = str(identifier).lower()
    if not is_uuid(text):
        raise ValueError(f"{identifier!r} is not a UUID")
    return text


def check_headers(headers: object) -> None:
    """Check that headers can be sent. Raises `ValueError` naming the header.

    Names must be tokens, values texts without control characters, and `Content-Length` a number.
    `Transfer-Encoding` is left to the server.
    """
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers must map names to texts, not {headers!r}")  # noqa: TRY004 - one error for all options
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a header name")
        if not isinstance(value, str) or _CONTROL.search(value):
            raise ValueError(f"headers: {name} must be a text without control characters, not {value!r}")
        if name.lower() == "transfer-encoding":
            raise ValueError("headers: Transfer-Encoding is set by the server")
        if name.lower() == "content-length" and not _LENGTH.fullmatch(value):
            raise ValueError(f"headers: Content-Length must be a whole number, not {value!r}")
