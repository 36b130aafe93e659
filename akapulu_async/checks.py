"""Checks of arguments: each returns the value or raises a `ConfigurationError` that names the argument."""

import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeGuard
from uuid import UUID

import attrs

from akapulu_async.errors import ConfigurationError
from akapulu_async.secret import excerpt

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
    raise ValueError("must be a UUID such as '123e4567-e89b-12d3-a456-426614174000'")


def shown(value: object, limit: int = 80) -> str:
    """Return what a caller gave, for a message. It may be a token or a key in the wrong place."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a caller's class may raise anything, and an int may have too many digits
        text = f"<{type(value).__name__}>"
    return excerpt(text, limit=limit)


def checked_id(name: str, value: str | UUID) -> str:
    """Return the canonical text of an id that a caller gave.

    Raises:
        ConfigurationError: It is not a UUID; the message names the argument.
    """
    try:
        return uuid_text(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} {error}, not {shown(value)}") from None


LARGEST = sys.float_info.max


def is_number(value: object) -> TypeGuard[float]:
    """Return True if the value is a number that a clock can take, and not a boolean."""
    # A boolean is an int, but nobody means it as one second. And an int may be too large for a clock, which is a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def refuse(name: str, number: object, why: str) -> NoReturn:
    """Raise the ConfigurationError for a number."""
    if isinstance(number, int) and number > sys.maxsize:
        why = "is too large"
    raise ConfigurationError(f"{name}: {shown(number)} {why}")


def check_patience(name: str, seconds: object) -> None:
    """See to it that a wait's limit is a number of seconds, or None.

    Raises:
        ConfigurationError: It is something else. NaN, above all, would put the event loop's timers in disorder.
    """
    if seconds is not None and not is_number(seconds):
        refuse(name, seconds, "is neither a number of seconds nor None for no limit")


def check_interval(name: str, seconds: object) -> None:
    """See to it that an interval is a number of seconds greater than 0: without a pause, the service is flooded.

    Raises:
        ConfigurationError: It is something else.
    """
    if not (is_number(seconds) and seconds > 0):
        refuse(name, seconds, "is not a number of seconds greater than 0")


def check_limit(name: str, limit: object, wanted: str = "a number of seconds") -> None:
    """See to it that a limit is a number greater than 0, or None.

    Raises:
        ConfigurationError: It is something else.
    """
    if limit is not None and not (is_number(limit) and limit > 0):
        refuse(name, limit, f"is not {wanted} greater than 0, nor None for no limit")


def check_count(name: str, count: object, at_least: int = 1, none: str | None = None) -> None:
    """See to it that a count is a whole number, or None if that means something.

    Raises:
        ConfigurationError: It is something else. NaN, above all, would bound nothing.
    """
    if count is None and none is not None:
        return
    # No container holds more than the last of these.
    if isinstance(count, bool) or not isinstance(count, int) or not at_least <= count <= sys.maxsize:
        or_none = "" if none is None else f", nor None for {none}"
        refuse(name, count, f"is not a whole number, {at_least} or more{or_none}")


def check_kind(name: str, value: object, kind: type[object]) -> None:
    """See to it that an argument is an object of a class.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, kind):
        # By its class alone: what stands in the wrong place may be the API key.
        raise ConfigurationError(f"{name}: {type(value).__name__} is no {kind.__name__}; write {kind.__name__}(...)")


def check_callable(name: str, value: object) -> None:
    """See to it that an argument can be called.

    Raises:
        ConfigurationError: It cannot.
    """
    if not callable(value):
        raise ConfigurationError(f"{name}: {type(value).__name__} cannot be called")


def checked_by(check: Callable[..., None], *options: object) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    """Return the validator of an attrs field that makes one of these checks, under the field's name."""
    return lambda _, attribute, value: check(attribute.name, value, *options)


def check_pause(name: str, seconds: object) -> None:
    """Check that a pause is a number of seconds, 0 or more."""
    if not (is_number(seconds) and seconds >= 0):
        refuse(name, seconds, "is not a number of seconds, 0 or more")


def check_share(name: str, share: object) -> None:
    """Check that a share is a number from 0 to 1."""
    if not (is_number(share) and 0 <= share <= 1):
        refuse(name, share, "is not a share from 0 to 1")
