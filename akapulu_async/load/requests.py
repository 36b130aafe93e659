"""The connect requests of a load test: one request repeated, or a file of requests taken in turns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from akapulu_async import ConfigurationError, ConnectRequest

FIELDS: Mapping[str, str] = {
    "scenario": "scenario_id",
    "avatar": "avatar_id",
    "variables": "runtime_vars",
    "stt_keywords": "stt_keywords",
    "record_conversation": "record_conversation",
    "wait_for_client_ready": "wait_for_client_ready",
    "voice_only_mode": "voice_only_mode",
    "show_ai_label": "show_ai_label",
    "extra": "extra",
}
"""The fields of a line, and their names in `ConnectRequest`."""

_EXPECTED = 'expected a JSON object such as {"scenario": "<UUID>", "avatar": "<UUID>", "variables": {"name": "Ada"}}'


def read_requests(path: Path) -> tuple[ConnectRequest, ...]:
    """Read a file of JSON objects, one per line; empty lines are skipped.

    Raises:
        ConfigurationError: It cannot be read, or a line is not a request; the message names file and line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigurationError(f"--requests {path}: {reason}") from None
    lines = enumerate(text.split("\n"), start=1)
    requests = tuple(_parse(line, f"--requests {path}: line {number}") for number, line in lines if line.strip())
    if not requests:
        raise ConfigurationError(f"--requests {path}: the file is empty; {_EXPECTED} on each line")
    return requests


def in_turns(requests: Sequence[ConnectRequest]) -> Iterator[ConnectRequest]:
    """Yield the requests in turns, endlessly."""
    return cycle(requests)


def _parse(line: str, where: str) -> ConnectRequest:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: not JSON ({error}); {_EXPECTED}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: {_EXPECTED}")
    return _request(values, where)


def _request(values: Mapping[str, Any], where: str) -> ConnectRequest:
    unknown = sorted(values.keys() - FIELDS.keys())
    if unknown:
        raise ConfigurationError(f"{where}: unknown field {unknown[0]!r:.80}; the fields are {', '.join(FIELDS)}")
    missing = [name for name in ("scenario", "avatar") if name not in values]
    if missing:
        raise ConfigurationError(f"{where}: {missing[0]} is missing; {_EXPECTED}")
    try:
        return ConnectRequest(**{FIELDS[name]: value for name, value in values.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {_with_field_name(str(error))}") from None


def _with_field_name(message: str) -> str:
    """Replace the argument's name at the start of a message with the file's name for it."""
    for name, argument in FIELDS.items():
        if message.startswith(argument):
            return name + message.removeprefix(argument)
    return message
