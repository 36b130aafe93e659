"""Values of options."""

import math
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.cli import values

READERS: list[Callable[[str], object]] = [
    values.seconds, values.seconds_or_none, values.factor, values.identifier, values.variable, values.base_url,
]  # fmt: skip


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_numbers(number: float) -> None:
    """A positive finite number is read."""
    assert values.seconds(str(number)) == values.seconds_or_none(str(number)) == values.factor(str(number)) == number


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "-inf", "1e999", "1,5", "5s"])
@pytest.mark.parametrize("read", [values.seconds, values.seconds_or_none, values.factor])
def test_bad_numbers(read: Callable[[str], float], text: str) -> None:
    """Anything else is refused, with the text and what it must be."""
    with pytest.raises(ValueError, match="is not a number") as caught:
        read(text)
    assert repr(text) in str(caught.value)


def test_none() -> None:
    """`none` means no limit where that makes sense."""
    assert values.seconds_or_none("none") == math.inf
    with pytest.raises(ValueError, match="'none' is not a number of seconds"):
        values.seconds("none")


@given(st.uuids())
def test_identifiers(identifier: UUID) -> None:
    """A UUID is read in either case, and returned in canonical form."""
    assert values.identifier(str(identifier).upper()) == str(identifier)


@given(st.text(min_size=1).filter(lambda name: "=" not in name), st.text())
def test_variables(name: str, value: str) -> None:
    """The first `=` separates name and value."""
    assert values.variable(f"{name}={value}") == (name, value)


@pytest.mark.parametrize("text", ["", "x", "=", "=x"])
def test_bad_variables(text: str) -> None:
    """A variable needs a name and `=`."""
    with pytest.raises(ValueError, match="is not NAME=VALUE"):
        values.variable(text)


def test_base_url() -> None:
    """The base URL is checked as by the client."""
    assert values.base_url("https://a.example/api/") == "https://a.example/api"
    with pytest.raises(ValueError, match=r"^it contains a user name or a password; write one such as https://"):
        values.base_url("https://me:secret@a.example/api")


@given(st.sampled_from(READERS), st.text())
def test_refusals_are_one_short_line(read: Callable[[str], object], text: str) -> None:
    """Any text is read, or refused in one line."""
    said = ""
    try:
        read(text)
    except ValueError as error:
        said = str(error)
    assert said == "" or said.isprintable()
    assert len(said) < 400


def test_secrets_are_not_shown() -> None:
    """A token in the wrong place is not repeated."""
    with pytest.raises(ValueError, match=r"\*\*\*") as caught:
        values.identifier("eyJhbGciOiJIUzI1NiJ9.eyJyIjoieCJ9.c2lnbmF0dXJl")
    assert "eyJ" not in str(caught.value)
