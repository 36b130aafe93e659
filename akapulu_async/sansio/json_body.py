"""JSON bodies, read strictly and written safely."""

import json
from typing import Any, NoReturn

from akapulu_async.errors import ConfigurationError

MAX_JSON_BYTES = 8 * 1024 * 1024
"""How large a JSON body may be. A day's transcript is a hundredth of it; more is a fault or an attack."""


MAX_JSON_DEPTH = 100
"""How many objects and lists may stand in each other. Seen are five; what json just so reads, pickle does not bear."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


_BYTE_ORDER_MARK = "\ufeff"


_WHITE_SPACE = " \t\n\r"  # of JSON


_GROUPS = (dict, list)


def parse_json(body: bytes) -> Any:
    """Parse a JSON body, strictly: UTF-8, no NaN, no infinity.

    Raises:
        ValueError: It is not JSON.
    """
    text = str(body, "utf-8").removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    try:
        payload, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if end != len(text):
        extra = text[end:].lstrip(_WHITE_SPACE)
        raise json.JSONDecodeError("Extra data", text, len(text) - len(extra))
    # A short text, as most are, cannot be: each level opens and closes.
    if len(text) > 2 * MAX_JSON_DEPTH and text.count("[") + text.count("{") > MAX_JSON_DEPTH and _is_too_deep(payload):
        raise ValueError("it is nested too deeply")
    return payload


def _is_too_deep(payload: Any) -> bool:
    """Whether there is more nesting than allowed, found level by level: going down would meet Python's own limit."""
    level = [payload]
    for _ in range(MAX_JSON_DEPTH + 1):
        groups = [value.values() if isinstance(value, dict) else value for value in level if value.__class__ in _GROUPS]
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
