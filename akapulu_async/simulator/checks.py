"""Checks of option values, with messages that name the option. Pure."""

import math
from collections.abc import Callable
from typing import Any

__all__ = ["number", "of_type", "one_of", "optional"]

Validator = Callable[[Any, Any, Any], None]


def number(minimum: float = 0, maximum: float = math.inf, *, whole: bool = False, above: bool = False) -> Validator:
    """Return an attrs validator for a finite number in a range.

    `whole` asks for an integer, `above` for more than the minimum. Raises `ValueError`.
    """
    kind = "a whole number" if whole else "a number"
    bounds = f"{'above' if above else 'from'} {minimum}" + ("" if maximum == math.inf else f" to {maximum}")

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not minimum <= value <= maximum or value == math.inf or (above and value == minimum):
            raise ValueError(f"{attribute.name} must be {kind} {bounds}, not {value!r}")

    return check


def one_of(*allowed: str) -> Validator:
    """Return an attrs validator for one of some texts. Raises `ValueError`."""

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(allowed)}, not {value!r}")

    return check


def of_type(kind: type[Any]) -> Validator:
    """Return an attrs validator for a value of a type. Raises `TypeError`."""

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{attribute.name} must be of type {kind.__name__}, not {value!r}")

    return check


def optional(validator: Validator) -> Validator:
    """Return an attrs validator that lets None pass, and leaves all else to another."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check
