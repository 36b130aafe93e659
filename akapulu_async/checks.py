"""Checks of arguments. Each passes or raises a `ConfigurationError`: "`name` must be this, not that"."""

import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeGuard
from uuid import UUID

import attrs

from akapulu_async.errors import ConfigurationError
from akapulu_async.secret import excerpt

A_UUID = "a UUID such as '123e4567-e89b-12d3-a456-426614174000'"

LARGEST = sys.float_info.max

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid_text(value: object) -> str:
    """Return the canonical text of a UUID, given as a `uuid.UUID` or as text with hyphens.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value.lower()
    raise ValueError(f"must be {A_UUID}")


def shown(value: object, limit: int = 80) -> str:
    """Return an argument for a message, on one line and with what looks like a credential masked."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a caller's class may raise anything, and an int may have too many digits
        text = f"<{type(value).__name__}>"
    return excerpt(text, limit=limit)


def refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Raise the ConfigurationError that says what an argument must be."""
    raise ConfigurationError(f"{name} must be {wanted}, not {shown(value)}")


def refuse_kind(name: str, value: object, wanted: str) -> NoReturn:
    """Do as `refuse()`, but show only the value's class: an API key in the wrong place looks like any other text."""
    raise ConfigurationError(f"{name} must be {wanted}, not {type(value).__name__}")


def checked_id(name: str, value: str | UUID) -> str:
    """Return the canonical text of an id."""
    with suppress(ValueError):
        return uuid_text(value)
    refuse(name, value, A_UUID)


def is_number(value: object) -> TypeGuard[float]:
    """Return True if the value is a number that fits into a float, and not a boolean, an infinity or NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def check_patience(name: str, seconds: object) -> None:
    """Check that a wait's limit is a number of seconds or None. NaN would disorder the event loop's timers."""
    if seconds is not None and not is_number(seconds):
        refuse(name, seconds, "a number of seconds or None")


def check_interval(name: str, seconds: object) -> None:
    """Check that an interval is a number of seconds greater than 0: without pauses, the service is flooded."""
    if not (is_number(seconds) and seconds > 0):
        refuse(name, seconds, "a number of seconds greater than 0")


def check_limit(name: str, limit: object, wanted: str = "a number of seconds") -> None:
    """Check that a limit is a number greater than 0 or None."""
    if limit is not None and not (is_number(limit) and limit > 0):
        refuse(name, limit, f"{wanted} greater than 0, or None for no limit")


def check_count(name: str, count: object, at_least: int = 1, none: str | None = None) -> None:
    """Check that a count is a whole number, or None if `none` says what that means."""
    if count is None and none is not None:
        return
    # No container holds more than sys.maxsize.
    if isinstance(count, bool) or not isinstance(count, int) or not at_least <= count <= sys.maxsize:
        refuse(name, count, f"a whole number, {at_least} or more" + ("" if none is None else f", or None for {none}"))


def check_pause(name: str, seconds: object) -> None:
    """Check that a pause is a number of seconds, 0 or more."""
    if not (is_number(seconds) and seconds >= 0):
        refuse(name, seconds, "a number of seconds, 0 or more")


def check_share(name: str, share: object) -> None:
    """Check that a share is a number from 0 to 1."""
    if not (is_number(share) and 0 <= share <= 1):
        refuse(name, share, "a number from 0 to 1")


def check_kind(name: str, value: object, kind: type[object]) -> None:
    """Check that an argument is an instance of a class."""
    if not isinstance(value, kind):
        refuse_kind(name, value, f"a {kind.__name__}")


def check_text(name: str, value: object, wanted: str = "a text", allowed: str = "") -> str:
    """Return a text. Refuses control characters and lone surrogates, except the allowed ones."""
    if not isinstance(value, str):
        refuse(name, value, wanted)
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in allowed:
            raise ConfigurationError(f"{name} must not contain the control character {character!r}")
    return value


def check_callable(name: str, value: object) -> None:
    """Check that an argument can be called."""
    if not callable(value):
        refuse_kind(name, value, "callable")


def checked_by(check: Callable[..., None], *options: object) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    """Return the validator of an attrs field that makes one of these checks, under the field's name."""
    return lambda _, attribute, value: check(attribute.name, value, *options)
