"""From JSON to models, strictly: what has the wrong type is refused, not bent until it fits.

A new field breaks nothing and is found in `.raw`; a null text is the empty text. In an update, whose percent
and text are for people and gate nothing, a percent outside 0 to 100 is clamped and either may be missing or
null, since the vendor's own browser code guards against that [seen]. All else that the interface does not allow
is a `PayloadError`, which names the field.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from akapulu_async.checks import uuid_text
from akapulu_async.models.connection import Connection
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.secret import Secret

Model = TypeVar("Model")

_JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


_NUMBERS = (int, float)

_FULL = 100.0  # percent


class PayloadError(ValueError):
    """A payload is not what the interface says. `field` names the culprit; None is the payload as a whole."""

    def __init__(self, field: str | None, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem


def _wanted(what: str, value: object) -> TypeError:
    return TypeError(f"{what} is wanted, not {_JSON_NAMES.get(type(value), type(value).__name__)}")


def _bool(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wanted("a boolean", value)


def _text(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise _wanted("a text", value)


def _optional_text(value: object, _: object) -> str | None:
    return None if value is None else _text(value, str)


def _percent(value: object, _: object) -> float:
    if value is None:
        return 0.0
    if value.__class__ not in _NUMBERS:  # not by isinstance(), to which booleans are numbers
        raise _wanted("a number", value)
    number = cast(float, value)
    if not 0.0 <= number <= _FULL:
        if isinstance(value, float) and math.isnan(value):
            raise ValueError("a number is wanted, not NaN")
        # Clamped before it becomes a float: an integer of JSON may be too large for one.
        number = min(max(number, 0.0), _FULL)
    return float(number)


def _uuid(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise _wanted("a UUID", value)
    return uuid_text(value)


def _secret(value: object, _: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise _wanted("a text that is not empty", value)
    if not value.isprintable():  # a lone surrogate, say, with which no link can be made
        raise ValueError("a text of printable characters is wanted")
    return Secret(value)


def _moment(value: object, _: object) -> datetime:
    if not isinstance(value, str):
        raise _wanted("an ISO 8601 time", value)
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() is None:
        raise ValueError("the time has no zone")
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time has no equivalent in UTC") from None
    return moment


def _web_url(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise _wanted("a URL", value)
    try:
        parts = urlsplit(value)
    except ValueError:  # whose words quote it
        raise ValueError("an http(s) URL is wanted") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not value.isprintable():
        raise ValueError("an http(s) URL is wanted")
    return value


def _teach(converter: cattrs.Converter, model: type[Any], **hooks: Any) -> None:
    """Teach the converter a model whose fields are read by the given hooks, the others by their types.

    A model with `.raw` keeps there what it was read from.
    """
    overrides: dict[str, Any] = {name: override(struct_hook=hook) for name, hook in hooks.items()}
    keeps_raw = "raw" in attrs.fields_dict(model)
    if keeps_raw:
        overrides["raw"] = override(omit=True)
    fill = make_dict_structure_fn(model, converter, **overrides)

    def structure(payload: object, _: object) -> Any:
        if not isinstance(payload, dict):  # which is all that JSON has
            raise _wanted("an object", payload)
        whole = fill(payload, model)
        if keeps_raw:
            object.__setattr__(whole, "raw", payload)
        return whole

    converter.register_structure_hook(model, structure)


def _make_converter(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(bool, _bool)
    converter.register_structure_hook(str, _text)

    def rows(value: object, _: object) -> tuple[TranscriptRow, ...]:
        if not isinstance(value, list):
            raise _wanted("a list", value)
        return converter.structure(_until_bad(value) if detailed else value, tuple[TranscriptRow, ...])

    optional = _optional_text
    _teach(converter, Avatar, id=_uuid)
    _teach(converter, RecordingStatus)
    _teach(converter, TranscriptRow, node_id=optional, tool_call_id=optional)
    _teach(converter, ConversationDetail, id=_uuid, created_at=_moment, scenario_id=_uuid, transcript_rows=rows)
    _teach(converter, ConversationUpdate, conversation_session_id=_uuid, completion_percent=_percent)
    _teach(converter, Connection, room_url=_web_url, token=_secret, conversation_session_id=_uuid)
    return converter


def _until_bad(rows: list[object]) -> list[object]:
    """Return the rows up to the first that is bad: an error for each of millions would take gigabytes."""
    read = _converter().get_structure_hook(TranscriptRow)
    for number, row in enumerate(rows):
        try:
            read(row, TranscriptRow)
        except Exception:  # noqa: BLE001 - as in structure()
            return rows[: number + 1]
    return rows


# Made when first needed: generating their code costs an import milliseconds.
@cache
def _converter() -> cattrs.Converter:
    return _make_converter(detailed=False)


# Naming the field costs time that only a bad payload is worth, so it is read a second time for that.
@cache
def _naming_converter() -> cattrs.Converter:
    return _make_converter(detailed=True)


@cache
def _reading(model: Any) -> Callable[[object, object], Any]:
    return _converter().get_structure_hook(model)


def structure(payload: object, model: type[Model]) -> Model:
    """Read a model from parsed JSON.

    Raises:
        PayloadError: The payload is not what the interface says.
    """
    try:
        whole: Model = _reading(model)(payload, model)  # type: ignore[arg-type]  # a class can be hashed
    except Exception:  # noqa: BLE001, S110 - cattrs raises whatever the hooks raise; the second reading tells
        pass
    else:
        return whole
    try:
        return _naming_converter().structure(payload, model)
    except Exception as error:  # noqa: BLE001 - as above
        problem = _named(error)
    raise problem


def _named(error: Exception) -> PayloadError:
    """Return what is wrong, and where, of the first of a validation's errors."""
    first = cattrs.transform_error(error, path="", format_exception=_problem)[0]
    problem, _, path = first.rpartition(" @ ")
    return PayloadError(path.removeprefix(".") or None, problem)


def _problem(error: BaseException, _: object) -> str:
    return "it is missing" if isinstance(error, KeyError) else str(error)


def read_connection(payload: object) -> Connection:
    """Read the answer to a connect."""
    if isinstance(payload, Mapping) and isinstance(payload.get("token"), str):
        connection = structure(payload, Connection)
        object.__setattr__(connection, "raw", {**payload, "token": connection.token})
        return connection
    return structure(payload, Connection)


def update_reader(session_id: str) -> Callable[[object], ConversationUpdate]:
    """Return what reads an update of this conversation and refuses another's."""
    return _reader(ConversationUpdate, "conversation_session_id", session_id)


def detail_reader(session_id: str) -> Callable[[object], ConversationDetail]:
    """Return what reads the detail of this conversation and refuses another's."""
    return _reader(ConversationDetail, "id", session_id)


def _reader(model: type[Model], field: str, session_id: str) -> Callable[[object], Model]:
    def read(payload: object) -> Model:
        whole = structure(payload, model)
        answered = getattr(whole, field)
        if answered != session_id:
            raise PayloadError(field, f"it is of another conversation ({answered})")
        return whole

    return read
