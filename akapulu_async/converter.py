"""Read JSON into models, strictly: a value of the wrong type is refused, never coerced.

Each resource registers its models and how their fields are read. A new field breaks nothing and is found in `.raw`;
a null text is the empty text. Anything else that the interface does not allow is a `PayloadError` that names the field.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from akapulu_async.checks import uuid_text
from akapulu_async.secret import Secret

Model = TypeVar("Model")

Hook = Callable[[object, Any], Any]
"""Reads a value, or raises any exception. The second argument is the field's type; cattrs passes it."""

_JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class PayloadError(ValueError):
    """The interface does not allow a payload. `field` is the offending field; None is the payload as a whole."""

    def __init__(self, field: str | None, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem


def _must_be(wanted: str, value: object) -> TypeError:
    return TypeError(f"must be {wanted}, not {_JSON_NAMES.get(type(value), type(value).__name__)}")


def _checked(kind: type[Model], wanted: str, value: object) -> Model:
    if isinstance(value, kind):
        return value
    raise _must_be(wanted, value)


def _boolean(value: object, _: object) -> bool:
    return _checked(bool, "a boolean", value)


def _text(value: object, _: object) -> str:
    return "" if value is None else _checked(str, "a text", value)


def optional_text(value: object, _: object) -> str | None:
    """Read a text; null stays None."""
    return None if value is None else _text(value, str)


def percent(value: object, _: object) -> float:
    """Read a percent for display: clamped to 0 to 100; null is 0."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _must_be("a number", value)
    # Clamped before it becomes a float: a JSON integer may be too large for one.
    return float(min(max(0.0, value), 100.0))


def uuid(value: object, _: object) -> str:
    """Read a UUID."""
    return uuid_text(_checked(str, "a UUID", value))


def secret(value: object, _: object) -> Secret:
    """Read a credential, which `.raw` keeps as a `Secret` too."""
    if not isinstance(value, str) or not value:
        raise _must_be("a text that is not empty", value)
    if not value.isprintable():  # a lone surrogate, say, cannot be part of a link
        raise ValueError("must have printable characters only")
    return Secret(value)


def moment(value: object, _: object) -> datetime:
    """Read an ISO 8601 time with its zone."""
    text = _checked(str, "an ISO 8601 time", value)
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(text)
        if time.utcoffset() is not None:
            time.astimezone(UTC)  # raises if UTC cannot express it
            return time
    raise ValueError(f"must be an ISO 8601 time with a time zone, not {text[:40]!r}")


def url(value: object, _: object) -> str:
    """Read an http(s) URL."""
    text = _checked(str, "a URL", value)
    with suppress(ValueError):  # its message quotes the URL
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.hostname and text.isprintable():
            return text
    raise ValueError("must be an http(s) URL")


_hooks: dict[type[Any], dict[str, Hook]] = {}


def register(model: type[Any], **hooks: Hook) -> None:
    """Let a model be read: the named fields by these hooks, the others by their types.

    A model with `.raw` keeps there the object that it was read from. Reading code is generated at first use.
    """
    _hooks[model] = hooks


def _reader_of_model(model: type[Any], converter: cattrs.Converter) -> Hook:
    hooks = _hooks[model]
    overrides: dict[str, Any] = {name: override(struct_hook=hook) for name, hook in hooks.items()}
    keeps_raw = "raw" in attrs.fields_dict(model)
    if keeps_raw:
        overrides["raw"] = override(omit=True)
    secrets = [name for name, hook in hooks.items() if hook is secret]
    fill = make_dict_structure_fn(model, converter, **overrides)

    def read(payload: object, _: object) -> Any:
        if not isinstance(payload, dict):
            raise _must_be("an object", payload)
        whole = fill(payload, model)
        if keeps_raw:
            raw = {**payload, **{name: getattr(whole, name) for name in secrets}} if secrets else payload
            object.__setattr__(whole, "raw", raw)
        return whole

    return read


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _reader_of_list(kind: Any, converter: cattrs.Converter) -> Hook:
    item = get_args(kind)[0]
    read_item = converter.get_structure_hook(item)

    def read(values: object, _: object) -> tuple[Any, ...]:
        items = []
        for index, value in enumerate(_checked(list, "a list", values)):
            try:
                items.append(read_item(value, item))
            except Exception as error:  # noqa: BLE001 - hooks raise anything
                # Only the first: an error for each of millions would take gigabytes.
                error.add_note(cattrs.IterableValidationNote("", index, item))
                raise cattrs.IterableValidationError("", [error], kind) from None
        return tuple(items)

    return read


@cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_factory(_is_list, _reader_of_list)
    converter.register_structure_hook_factory(attrs.has, _reader_of_model)
    return converter


def structure(payload: object, model: type[Model]) -> Model:
    """Read a registered model from parsed JSON.

    Raises:
        PayloadError: The interface does not allow the payload.
    """
    read = _converter(detailed=False).get_structure_hook(model)
    with suppress(Exception):  # hooks raise anything
        whole: Model = read(payload, model)
        return whole
    # Naming the field takes time, so only a bad payload is read that way.
    try:
        return _converter(detailed=True).structure(payload, model)
    except Exception as error:  # noqa: BLE001 - as above
        problem = _payload_error(error)
    raise problem


def _payload_error(error: Exception) -> PayloadError:
    """Return the problem and the field of the first of a validation's errors."""

    def problem_of(error: BaseException, _: object) -> str:
        return "is missing" if isinstance(error, KeyError) else str(error)

    problem, _, path = cattrs.transform_error(error, path="", format_exception=problem_of)[0].rpartition(" @ ")
    return PayloadError(path.removeprefix("."), problem) if path else PayloadError(None, f"it {problem}")
