"""Arguments are checked, and refused by name."""

import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from akapulu_async.checks import (
    check_callable,
    check_count,
    check_interval,
    check_kind,
    check_limit,
    check_patience,
    check_text,
    checked_id,
    uuid_text,
)
from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.polling import PollPolicy, ProgressPollPolicy

ID = "11111111-1111-4111-8111-11111111111a"
EXAMPLE = "123e4567-e89b-12d3-a456-426614174000"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"


CHECKS: list[tuple[Callable[[str, Any], object], list[Any], list[Any]]] = [
    (check_patience, [None, -1, 0, 0.5, 1e308], ["5", True, math.nan, math.inf, 10**400, -(10**400), 10**5000]),
    (check_interval, [1, 0.5], [None, 0, "5", True, math.nan, math.inf, 10**400, 10**5000]),
    (check_limit, [None, 1, 0.5], [0, "5", True, math.nan, math.inf, 10**400, 10**5000]),
    (check_count, [1, sys.maxsize], [None, 0, 1.0, "5", True, math.nan, sys.maxsize + 1, 10**5000]),
    (partial(check_count, at_least=0, none="any"), [None, 0], [-1, 1.0, False, 10**5000]),
    (partial(check_kind, kind=PollPolicy), [PollPolicy(), ProgressPollPolicy()], [None, 5, PollPolicy, 10**5000]),
    (check_text, ["", "naïve"], [None, 5, b"text", 10**5000]),
    (check_callable, [print, PollPolicy], [None, 5, "print", 10**5000]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CHECKS, ids=count())
def test_arguments_are_checked(check: Callable[[str, Any], object], good: list[Any], bad: list[Any]) -> None:
    """Valid values pass, and all others are refused by name."""
    for value in good:
        check("it", value)
    for value in bad:
        with pytest.raises(ConfigurationError, match=r"^it must be .*, not "):
            check("it", value)


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x7f", "\x85", "\ud800"])
def test_control_characters_are_refused_unless_allowed(character: str) -> None:
    """A text must not contain a control character or a lone surrogate, except the allowed ones."""
    with pytest.raises(ConfigurationError, match=r"^it must not contain the control character '\\"):
        check_text("it", f"a{character}b")
    assert check_text("it", f"a{character}b", allowed=character) == f"a{character}b"


@pytest.mark.parametrize(
    "value", [ID, ID.upper(), UUID(ID)], ids=["lower", "upper", "UUID"]
)  # fmt: skip
def test_ids_become_canonical(value: str | UUID) -> None:
    """A UUID, as an object or as text in any case, becomes its canonical text."""
    assert uuid_text(value) == checked_id("session_id", value) == ID


class Unshowable:
    """An object whose repr fails."""

    def __repr__(self) -> str:
        raise LookupError


NO_IDS: list[tuple[Any, str]] = [
    ("abc", "'abc'"),
    ("", "''"),
    (None, "None"),
    (7, "7"),
    (UUID(ID).bytes, r"b'\x11\x11"),
    (UUID(ID).hex, "'1111111111114111811111111111111a'"),
    (f"{{{ID}}}", f"'{{{ID}}}'"),
    (f"urn:uuid:{ID}", f"'urn:uuid:{ID}'"),
    (f"{ID}\n", f"'{ID}\\n'"),
    (f" {ID}", f"' {ID}'"),
    (f"{ID}/../..", f"'{ID}/../..'"),
    (ID.replace("1", "\u0661"), "'\u0661"),
    ("x" * 10_000, "'" + "x" * 78 + "…"),
    (10**5000, "<int>"),
    (Unshowable(), "<Unshowable>"),
]


@pytest.mark.parametrize(("value", "shown"), NO_IDS, ids=count())
def test_other_ids_are_refused(value: Any, shown: str) -> None:
    """Other ids are refused with the argument's name, an example, and the value."""
    with pytest.raises(ConfigurationError) as caught:
        checked_id("session_id", value)
    assert str(caught.value).startswith(f"session_id must be a UUID such as '{EXAMPLE}', not {shown}")
    assert caught.value.__context__ is None


def test_a_token_in_the_place_of_an_id_is_not_shown() -> None:
    """A token passed as an id is masked in the error."""
    with pytest.raises(ConfigurationError, match=r"^session_id must be a UUID .*, not '\*\*\*'$"):
        checked_id("session_id", TOKEN)
