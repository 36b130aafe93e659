"""Connect requests as they arrive: checked the way the service is documented to. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from attrs import frozen

from akapulu_async.simulator.refusals import Refusal, RefusedError

__all__ = ["ConnectRequest", "is_uuid", "parse_connect_request", "parse_json_object"]

MAX_STT_KEYWORDS = 5  # documented: a sixth gets 400

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@frozen(kw_only=True)
class ConnectRequest:
    """A connect request that passed the checks.

    Attributes:
        scenario_id: in lower case.
        avatar_id: in lower case.
        runtime_vars: what fills `{{runtime.*}}`.
        stt_keywords: hints for speech recognition, also when they came as one comma-separated string.
        record_conversation: whether there will be a recording.
        wait_for_client_ready: whether readiness waits for the participant's `client-ready`.
        raw: the whole JSON object as it came, with the fields that the simulator does not know.

    """

    scenario_id: str
    avatar_id: str
    runtime_vars: Mapping[str, str]
    stt_keywords: tuple[str, ...]
    record_conversation: bool
    wait_for_client_ready: bool
    raw: Mapping[str, Any]


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID in its canonical form, in either case."""
    return _UUID.fullmatch(text) is not None


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; raises `RefusedError` (400) on anything else."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(Refusal(400, "INVALID_JSON", f"The body is not valid JSON: {error}")) from error
    if not isinstance(value, dict):
        raise _invalid("The body must be a JSON object.")
    return value


def parse_connect_request(body: bytes) -> ConnectRequest:
    """Check a connect request's body; raises `RefusedError` (400) naming the first field that is wrong."""
    raw = parse_json_object(body)
    for name in ("voice_only_mode", "custom_rtvi_connection", "show_ai_label"):
        _boolean(raw, name, default=False)
    return ConnectRequest(
        scenario_id=_identifier(raw, "scenario_id"),
        avatar_id=_identifier(raw, "avatar_id"),
        runtime_vars=_runtime_vars(raw.get("runtime_vars", {})),
        stt_keywords=_stt_keywords(raw.get("stt_keywords", [])),
        record_conversation=_boolean(raw, "record_conversation", default=False),
        wait_for_client_ready=_boolean(raw, "wait_for_client_ready", default=True),
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
    if len(value) > MAX_STT_KEYWORDS:
        raise _invalid(f"stt_keywords takes {MAX_STT_KEYWORDS} keywords at most.")
    return tuple(value)


def _all_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
