"""What tests of policies share: the checks of their settings."""

import math
from typing import Any

import attrs
import pytest

from akapulu_async.errors import ConfigurationError

ABOVE_0 = "a number of seconds greater than 0"
NO_LIMIT = f"{ABOVE_0}, or None for no limit"
FROM_0 = "a number of seconds, 0 or more"
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, False, "5", [], -1]


def check_setting(policy: type[Any], name: str, good: list[Any], bad: list[Any], wanted: str) -> None:
    """Check that a policy takes the good values of a setting and refuses the bad ones, saying what is wanted."""
    for value in good:
        assert getattr(policy(**{name: value}), name) is value
    # Python makes no float of the first number, and no text of the others.
    huge = [(10**400, f"1{'0' * 78}…"), (10**5000, "<int>"), (-(10**5000), "<int>")]
    for value, shown in [*((value, repr(value)) for value in bad), *huge]:
        with pytest.raises(ConfigurationError) as caught:
            policy(**{name: value})
        assert str(caught.value) == f"{name} must be {wanted}, not {shown}"


def check_table(settings: list[tuple[type[Any], str, list[Any], list[Any], str]], *policies: type[Any]) -> None:
    """Check that a table has each setting of each policy, and that none can be changed."""
    for policy in policies:
        assert {name for each, name, *_ in settings if each is policy} == {each.name for each in attrs.fields(policy)}
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(policy(), attrs.fields(policy)[0].name, 1)
