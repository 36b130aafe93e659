"""What a load test connects: one request over and over, or a file of them, taken in turns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from akapulu_async.errors import ConfigurationError
from akapulu_async.models.connection import ConnectRequest

FIELDS: Mapping[str, str] = {
    "scenario": "scenario_id",
    "avatar": "avatar_id",
    "variables": "runtime_vars",
    "stt_keywords": "stt_keywords",
    "record_conversation": "record_conversation",
    "wait_for_client_ready": "wait_for_client_ready",
    "voice_only_mode": "voice_only_mode",
    "extra": "extra",
}
"""What a line may hold, and what it is called in `ConnectRequest`."""

_WANTED = (
    'a JSON object such as {"scenario": "<UUID>", "avatar": "<UUID>", "variables": {"name": "Ada"}} is wanted'  # for 1
)


def read_requests(path: Path) -> tuple[ConnectRequest, ...]:
    """Read a file of JSON objects, one a line; empty lines are passed over.

    Raises:
        ConfigurationError: It cannot be read, or a line is no request; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigurationError(f"--requests {path}: {reason}") from None
    lines = enumerate(text.splitlines(), start=1)
    requests = tuple(_parse(line, f"--requests {path}: line {number}") for number, line in lines if line.strip())
    if not requests:
        raise ConfigurationError(f"--requests {path}: it has no lines; {_WANTED} on each")
    return requests


def in_turns(requests: Sequence[ConnectRequest]) -> Iterator[ConnectRequest]:
    """Yield the requests in turns, for ever."""
    return cycle(requests)


def _parse(line: str, where: str) -> ConnectRequest:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: no JSON ({error}); {_WANTED}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: {_WANTED}")
    return _request(values, where)


def _request(values: Mapping[str, Any], where: str) -> ConnectRequest:
    unknown = sorted(values.keys() - FIELDS.keys())
    if unknown:
        raise ConfigurationError(f"{where}: there is no field {unknown[0]!r:.80}; there are {', '.join(FIELDS)}")
    missing = [name for name in ("scenario", "avatar") if name not in values]
    if missing:
        raise ConfigurationError(f"{where}: {missing[0]} is missing; {_WANTED}")
    try:
        return ConnectRequest(**{FIELDS[name]: value for name, value in values.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {_by_its_name_there(str(error))}") from None


def _by_its_name_there(message: str) -> str:
    """Have a message name the field as the file does."""
    for name, argument in FIELDS.items():
        if message.startswith(argument):
            return name + message.removeprefix(argument)
    return message
