"""JSON bodies, read strictly and written safely."""

import json
from typing import Any, NoReturn

from akapulu_async.errors import ConfigurationError

MAX_JSON_BYTES = 8 * 1024 * 1024
"""Largest JSON body. A day's transcript is a hundredth of it; more is a fault or an attack."""

MAX_JSON_DEPTH = 100
"""Deepest nesting of objects and lists. Five levels were seen; pickle fails at depths that json still reads."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse_json(body: bytes) -> Any:
    """Parse a JSON body, strictly: UTF-8, no NaN, no infinity.

    Raises:
        ValueError: It is not JSON.
    """
    text = str(body, "utf-8").removeprefix("\N{BYTE ORDER MARK}")
    try:
        payload = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # Each level takes two characters, so a short text cannot be too deep.
    if len(text) > 2 * MAX_JSON_DEPTH and text.count("[") + text.count("{") > MAX_JSON_DEPTH and _is_too_deep(payload):
        raise ValueError("it is nested too deeply")
    return payload


def _is_too_deep(payload: Any) -> bool:
    """Return True if the nesting is too deep. Goes level by level: recursion would exceed Python's own limit."""
    level = [payload]
    for _ in range(MAX_JSON_DEPTH + 1):
        groups = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        if not groups:
            return False
        level = [value for group in groups for value in group]
    return True


def encode_json(payload: Any) -> bytes:
    """Return a JSON body.

    Raises:
        ConfigurationError: The payload cannot be written as JSON.
    """
    try:
        return json.dumps(payload, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"json must be writable as JSON: {error}") from None
