"""Requests as they arrive: where a path leads, and connect requests, checked as documented. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn, TypeAlias

from attrs import frozen

from akapulu_async.simulator.answers import Refusal, RefusedError
from akapulu_async.simulator.checks import is_uuid

__all__ = [
    "API_PREFIX",
    "METHODS",
    "Call",
    "ConnectRequest",
    "Match",
    "Route",
    "match",
    "parse_connect_request",
    "parse_json_object",
]

Route: TypeAlias = Literal["connect", "updates", "detail", "recording", "storage"]
"""The routes of the simulator. `storage` is the host behind a recording's signed URL."""

API_PREFIX = "/api"

METHODS: dict[Route, tuple[str, ...]] = {
    "connect": ("POST",),
    "updates": ("GET",),
    "detail": ("GET",),
    "recording": ("GET", "HEAD"),
    "storage": ("GET", "HEAD"),
}
_CONVERSATIONS = f"{API_PREFIX}/conversations/"
_CONNECT = f"{API_PREFIX}/conversations/connect"
_MAX_STT_KEYWORDS = 5  # documented: a sixth gets 400


@frozen
class Match:
    """Where a path leads.

    Attributes:
        route: None for an unknown path.
        conversation_id: from the path, in lower case; None: the route has none.
        slash: whether the path ends with a slash, as every path of the service does (seen).

    """

    route: Route | None = None
    conversation_id: str | None = None
    slash: bool = True


_NOWHERE = Match()
_BY_LAST_PART: dict[str, Route] = {"updates": "updates", "recording": "recording"}


@frozen
class Call:
    """A request: its method and target, the route that the target leads to, its headers and body."""

    method: str
    target: str
    where: Match
    headers: Mapping[str, str]
    body: bytes = b""


def match(target: str) -> Match:
    """Return where a request target (path and query) leads."""
    path = target.partition("?")[0]
    slash = path.endswith("/")
    path = path.removesuffix("/")
    if path == _CONNECT:
        return Match("connect", None, slash)
    if not path.startswith(_CONVERSATIONS):
        return _NOWHERE
    identifier, *rest = path[len(_CONVERSATIONS) :].split("/")
    if not identifier or len(rest) > 1:
        return _NOWHERE
    route = _BY_LAST_PART.get(rest[0]) if rest else "detail"
    return Match(route, identifier.lower(), slash) if route else _NOWHERE


@frozen(kw_only=True)
class ConnectRequest:
    """A connect request that passed the checks.

    Attributes:
        scenario_id: in lower case.
        avatar_id: in lower case.
        runtime_vars: values of `{{runtime.*}}`.
        stt_keywords: hints for speech recognition, given as a list or as one comma-separated string.
        record_conversation: whether to record.
        wait_for_client_ready: whether readiness waits for the participant's `client-ready`. Older documentation says
            that it does by default; here, as in the newest, it does not.
        raw: the JSON object as received, unknown fields included.

    """

    scenario_id: str
    avatar_id: str
    runtime_vars: Mapping[str, str]
    stt_keywords: tuple[str, ...]
    record_conversation: bool
    wait_for_client_ready: bool
    raw: Mapping[str, Any]


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises `RefusedError` (400) for anything else."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(Refusal(400, "INVALID_JSON", f"The body is not valid JSON: {error}")) from error
    if not isinstance(value, dict):
        raise _invalid("The body must be a JSON object.")
    return value


def parse_connect_request(body: bytes) -> ConnectRequest:
    """Check a connect request's body. Raises `RefusedError` (400) naming the first wrong field."""
    raw = parse_json_object(body)
    for name in ("voice_only_mode", "custom_rtvi_connection", "show_ai_label"):
        _boolean(raw, name, default=False)
    return ConnectRequest(
        scenario_id=_identifier(raw, "scenario_id"),
        avatar_id=_identifier(raw, "avatar_id"),
        runtime_vars=_runtime_vars(raw.get("runtime_vars", {})),
        stt_keywords=_stt_keywords(raw.get("stt_keywords", [])),
        record_conversation=_boolean(raw, "record_conversation", default=False),
        wait_for_client_ready=_boolean(raw, "wait_for_client_ready", default=False),
        raw=raw,
    )


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _invalid(error: str) -> RefusedError:
    return RefusedError(Refusal(400, "INVALID_REQUEST", error))


def _identifier(raw: Mapping[str, Any], name: str) -> str:
    if name not in raw:
        raise _invalid(f"{name} is required.")
    value = raw[name]
    if not isinstance(value, str) or not is_uuid(value):
        raise _invalid(f"{name} must be a UUID.")
    return value.lower()


def _boolean(raw: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = raw.get(name, default)
    if not isinstance(value, bool):
        raise _invalid(f"{name} must be true or false.")
    return value


def _runtime_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not _all_strings(value.values()):
        raise _invalid("runtime_vars must be an object whose values are strings.")
    return value


def _stt_keywords(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [keyword for part in value.split(",") if (keyword := part.strip())]
    if not isinstance(value, list) or not _all_strings(value):
        raise _invalid("stt_keywords must be a list of strings or one comma-separated string.")
    if len(value) > _MAX_STT_KEYWORDS:
        raise _invalid(f"stt_keywords takes at most {_MAX_STT_KEYWORDS} keywords.")
    return tuple(value)


def _all_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
