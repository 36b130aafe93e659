"""A connect and its answer: `ConnectRequest` and `Connection`."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import attrs

from akapulu_async.checks import checked_id, refuse, refuse_kind, shown
from akapulu_async.errors import ConfigurationError
from akapulu_async.secret import Secret

MAX_STT_KEYWORDS = 5
"""How many speech recognition hints a connect takes [documented]."""


def _check_text(name: str, value: object, allowed: str = "") -> str:
    """Return a text that has no control character (nor a lone surrogate) but those allowed."""
    if not isinstance(value, str):
        refuse(name, value, "a text")
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in allowed:
            raise ConfigurationError(f"{name} must not contain the control character {character!r}")
    return value


def _runtime_vars(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        refuse_kind("runtime_vars", value, "a mapping of names to texts")
    return {_check_text("runtime_vars: a name", key): _runtime_var(key, text) for key, text in value.items()}


def _runtime_var(name: str, value: object) -> str:
    where = f"runtime_vars[{shown(name)}]"
    if isinstance(value, bool | int | float):
        written = shown(value).lower() if isinstance(value, bool) else shown(value)
        refuse(where, value, f"a text, such as {written!r}")
    # Line breaks and tabs are text: variables fill prompts, and prompts have paragraphs.
    return _check_text(where, value, allowed="\n\r\t")


def _stt_keywords(value: str | Iterable[str]) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, Iterable):
        refuse_kind("stt_keywords", value, "a text or a list of texts")
    keywords = tuple(stripped for word in words if (stripped := _check_text("stt_keywords", word).strip()))
    if len(keywords) > MAX_STT_KEYWORDS:
        raise ConfigurationError(f"stt_keywords: {len(keywords)} are too many; the service takes {MAX_STT_KEYWORDS}")
    return keywords


def _flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool) and not (value is None and field.default is None):
        refuse(field.name, value, "True, False or None" if field.default is None else "True or False")


def _scenario_id(value: str | UUID) -> str:
    return checked_id("scenario_id", value)


def _avatar_id(value: str | UUID) -> str:
    return checked_id("avatar_id", value)


def _extra(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        refuse_kind("extra", value, "a mapping of field names to values")
    for name in value:
        # JSON would make a text of a number or a boolean, and one field of two names.
        _check_text("extra: a name", name)
    try:
        # A round trip also takes a copy that the caller cannot change later.
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"extra must be writable as JSON: {error}") from None
    return copy


@attrs.frozen
class ConnectRequest:
    """What to ask for when a conversation is connected. It checks itself when built.

    Raises:
        ConfigurationError: An argument cannot be sent; the message names it and says what is wanted.
    """

    scenario_id: str = attrs.field(converter=_scenario_id)
    """What the assistant does: a UUID, as text or `uuid.UUID` [documented]."""

    avatar_id: str = attrs.field(converter=_avatar_id)
    """The face and the voice: a UUID, as text or `uuid.UUID` [documented]."""

    runtime_vars: Mapping[str, str] = attrs.field(factory=dict, converter=_runtime_vars, kw_only=True, hash=False)
    """Texts by name, which fill `{{runtime.*}}` in the scenario [documented]."""

    stt_keywords: tuple[str, ...] = attrs.field(default=(), converter=_stt_keywords, kw_only=True)
    """Hints for speech recognition, five at most; one comma-separated text is split [documented]."""

    record_conversation: bool = attrs.field(default=False, validator=_flag, kw_only=True)
    """Whether the service records the conversation [documented]."""

    wait_for_client_ready: bool = attrs.field(default=True, validator=_flag, kw_only=True)
    """True: ready only once the client in the room has said so (the RTVI `client-ready` message). False: ready
    once bot and participant are there [documented]."""

    voice_only_mode: bool | None = attrs.field(default=None, validator=_flag, kw_only=True)
    """Whether to do without the video [documented in older pages]. None: the service decides."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_extra, kw_only=True, hash=False)
    """Fields that this library does not know yet, sent as they are. They may not override a named field."""

    def __attrs_post_init__(self) -> None:
        named = sorted(self.extra.keys() & {field.name for field in attrs.fields(ConnectRequest)})
        if named:
            raise ConfigurationError(f"extra must not contain {', '.join(named)}: use the arguments of these names")

    def to_json(self) -> dict[str, Any]:
        """Return the body of the connect. What is empty or None is left to the service."""
        optional = {
            "runtime_vars": dict(self.runtime_vars) or None,
            "stt_keywords": list(self.stt_keywords) or None,
            "voice_only_mode": self.voice_only_mode,
        }
        return {
            "scenario_id": self.scenario_id,
            "avatar_id": self.avatar_id,
            "record_conversation": self.record_conversation,
            "wait_for_client_ready": self.wait_for_client_ready,
            **{name: value for name, value in optional.items() if value is not None},
            **self.extra,
        }


def check_request(request: object) -> None:
    """See to it that what is to be connected is a request.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(request, ConnectRequest):
        refuse_kind("request", request, "a ConnectRequest (to follow a conversation by its id, use attach())")


def raw_field() -> Any:
    """Return the attrs field in which an answer keeps the JSON that it was read from."""
    return attrs.field(factory=dict, kw_only=True, repr=False, eq=False)


@attrs.frozen
class Connection:
    """The way into the room of a conversation that was connected. Who has the token is in.

    It cannot be pickled: see `Secret`.
    """

    room_url: str
    """The Daily room, such as `https://your-team.daily.co/room-name`."""

    token: Secret
    """The participant's credential for the room (a JWT)."""

    conversation_session_id: str
    """The id under which the service knows the conversation."""

    raw: Mapping[str, Any] = raw_field()
    """The answer as it came, but for the token, which stays a `Secret`."""

    @property
    def join_url(self) -> str:
        """A link that a browser opens to join [seen]. It contains the token: show it to that user alone."""
        parts = urlsplit(self.room_url)
        token = f"t={quote(self.token.reveal(), safe='')}"
        return parts._replace(query=f"{parts.query}&{token}" if parts.query else token).geturl()
