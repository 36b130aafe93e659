"""What tests of policies share: the checks of their settings."""

import math
from typing import Any

import attrs
import pytest

from akapulu_async.errors import ConfigurationError

ABOVE_0 = "is not a number of seconds greater than 0"
NO_LIMIT = f"{ABOVE_0}, nor None for no limit"
FROM_0 = "is not a number of seconds, 0 or more"
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, False, "5", [], -1]
TOO_LARGE = r"(10{78}…|<int>) is too large"
"""What is said of numbers of which Python makes no float, nor a text of the longest."""


def check_setting(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """See that a policy's setting takes what is good, and refuses what is not in these words."""
    for value in good:
        assert getattr(policy(**{name: value}), name) is value
    for value in bad:
        with pytest.raises(ConfigurationError) as caught:
            policy(**{name: value})
        assert str(caught.value) == f"{name}: {value!r} {text}"
    for value in (10**400, 10**5000):
        with pytest.raises(ConfigurationError, match=f"^{name}: {TOO_LARGE}$"):
            policy(**{name: value})
    with pytest.raises(ConfigurationError, match=f"^{name}: <int> is not "):
        policy(**{name: -(10**5000)})


def check_table(settings: list[tuple[type[Any], str, list[Any], list[Any], str]], *policies: type[Any]) -> None:
    """See that a table has each setting of each policy, and that none can be changed."""
    for policy in policies:
        assert {name for each, name, *_ in settings if each is policy} == {each.name for each in attrs.fields(policy)}
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(policy(), attrs.fields(policy)[0].name, 1)
