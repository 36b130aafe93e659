"""What the texts of options mean. Each function raises a `ValueError` that shows the text and says what is wanted."""

import math

from akapulu_async.checks import A_UUID, uuid_text
from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.urls import check_base_url
from akapulu_async.secret import excerpt


def seconds(text: str) -> float:
    """Read seconds greater than 0."""
    return _number(text, "a number of seconds greater than 0")


def seconds_or_none(text: str) -> float:
    """Read seconds greater than 0, or `none` for no limit, which is infinity here."""
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
    """Read NAME=VALUE. The value may be empty, and may have `=` in it."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise ValueError(f"{shown(text)} is not NAME=VALUE")
    return name, value


def base_url(text: str) -> str:
    """Read where the service is."""
    try:
        return check_base_url(text)
    except ConfigurationError as error:
        raise ValueError(str(error).removeprefix("base_url: ")) from None


def _number(text: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{shown(text)} is not {wanted}")
    return number


def shown(text: str) -> str:
    """Return what somebody typed, for a message. It may be a token in the wrong place."""
    return excerpt(repr(text), limit=80)
