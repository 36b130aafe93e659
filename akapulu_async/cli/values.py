"""Reads the values of options. Each function raises a `ValueError` that shows the text and says what it must be."""

import math

from akapulu_async import ConfigurationError
from akapulu_async.checks import A_UUID, uuid_text
from akapulu_async.sansio.urls import check_base_url
from akapulu_async.secret import excerpt


def seconds(text: str) -> float:
    """Read seconds greater than 0."""
    return _number(text, "a number of seconds greater than 0")


def seconds_from_0(text: str) -> float:
    """Read seconds, 0 or more."""
    return _number(text, "a number of seconds, 0 or more", zero=True)


def seconds_or_none(text: str) -> float:
    """Read seconds greater than 0, or `none` for no limit, returned as infinity."""
    return math.inf if text == "none" else _number(text, "a number of seconds greater than 0, or none for no limit")


def factor(text: str) -> float:
    """Read a factor greater than 0."""
    return _number(text, "a number greater than 0")


def identifier(text: str) -> str:
    """Read a UUID; returns its canonical text."""
    try:
        return uuid_text(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not {A_UUID}") from None


def variable(text: str) -> tuple[str, str]:
    """Read NAME=VALUE. The value may be empty, and may contain `=`."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise ValueError(f"{shown(text)} is not NAME=VALUE")
    return name, value


def base_url(text: str) -> str:
    """Read the base URL of the service."""
    try:
        return check_base_url(text)
    except ConfigurationError as error:
        raise ValueError(str(error).removeprefix("base_url: ")) from None


def _number(text: str, expected: str, *, zero: bool = False) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf or (zero and number == 0)):
        raise ValueError(f"{shown(text)} is not {expected}")
    return number


def shown(text: str) -> str:
    """Return a value for a message, shortened and masked: it may be a token in the wrong place."""
    return excerpt(repr(text), limit=80)
