"""A connect and its answer."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import attrs

from akapulu_async.checks import check_text, checked_id, refuse, refuse_kind, shown
from akapulu_async.errors import ConfigurationError
from akapulu_async.secret import Secret

MAX_STT_KEYWORDS = 5
"""Maximum number of speech recognition hints of a connect [documented]."""


def _runtime_vars(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        refuse_kind("runtime_vars", value, "a mapping of names to texts")
    texts = {}
    for name, text in value.items():
        check_text("runtime_vars: a name", name)
        where = f"runtime_vars[{shown(name)}]"
        if isinstance(text, int | float):
            refuse(where, text, f"a text, such as {shown(text).lower()!r}")
        # Line breaks and tabs are allowed: variables fill prompts, and prompts have paragraphs.
        texts[name] = check_text(where, text, allowed="\n\r\t")
    return texts


def _stt_keywords(value: str | Iterable[str]) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, Iterable):
        refuse_kind("stt_keywords", value, "a text or a list of texts")
    keywords = tuple(stripped for word in words if (stripped := check_text("stt_keywords", word).strip()))
    if len(keywords) > MAX_STT_KEYWORDS:
        raise ConfigurationError(f"stt_keywords must be at most {MAX_STT_KEYWORDS}, not {len(keywords)}")
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
        # JSON turns a number or a boolean into a text, which may equal another name.
        check_text("extra: a name", name)
    try:
        # The round trip also makes a copy that the caller cannot change later.
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"extra must be writable as JSON: {error}") from None
    return copy


@attrs.frozen
class ConnectRequest:
    """The parameters of a connect. Checked when built.

    Attributes:
        scenario_id: The scenario, which scripts the assistant: a UUID, as text or `uuid.UUID` [documented].
        avatar_id: The avatar, which gives face and voice: a UUID, as text or `uuid.UUID` [documented].
        runtime_vars: Texts by name, which fill `{{runtime.*}}` in the scenario [documented].
        stt_keywords: Hints for speech recognition, at most five; a single comma-separated text is split [documented].
        record_conversation: True records the conversation [documented].
        wait_for_client_ready: True: the bot is ready only once the client in the room has sent the RTVI `client-ready`
            message, which a plain Daily page opened by `join_url` never does. False: once bot and participant are in
            the room [documented]. None leaves it to the service: older pages say True, the newest does not list it.
        voice_only_mode: True omits the video [documented in older pages]. None leaves it to the service.
        show_ai_label: Whether a label says that the avatar is an AI [seen]. None leaves it to the service.
        extra: Fields that this library does not know yet, sent as given. It must not contain a named field.

    Raises:
        ConfigurationError: An argument cannot be sent; the message names it and says what it must be.
    """

    scenario_id: str = attrs.field(converter=_scenario_id)
    avatar_id: str = attrs.field(converter=_avatar_id)
    runtime_vars: Mapping[str, str] = attrs.field(factory=dict, converter=_runtime_vars, kw_only=True, hash=False)
    stt_keywords: tuple[str, ...] = attrs.field(default=(), converter=_stt_keywords, kw_only=True)
    record_conversation: bool = attrs.field(default=False, validator=_flag, kw_only=True)
    wait_for_client_ready: bool | None = attrs.field(default=None, validator=_flag, kw_only=True)
    voice_only_mode: bool | None = attrs.field(default=None, validator=_flag, kw_only=True)
    show_ai_label: bool | None = attrs.field(default=None, validator=_flag, kw_only=True)
    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_extra, kw_only=True, hash=False)

    def __attrs_post_init__(self) -> None:
        named = sorted(self.extra.keys() & {field.name for field in attrs.fields(ConnectRequest)})
        if named:
            raise ConfigurationError(f"extra must not contain {', '.join(named)}: use the arguments of these names")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON body. Empty and None fields are left to the service."""
        named = attrs.asdict(self, filter=attrs.filters.exclude("extra"))
        named["stt_keywords"] = list(self.stt_keywords)
        return {**{name: value for name, value in named.items() if value not in (None, {}, [])}, **self.extra}


def check_request(request: object) -> None:
    """Check that an argument is a `ConnectRequest`.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(request, ConnectRequest):
        refuse_kind("request", request, "a ConnectRequest (to follow a conversation by its id, use attach())")


def raw_field() -> Any:
    """Return the attrs field in which a model keeps the JSON that it was read from."""
    return attrs.field(factory=dict, kw_only=True, repr=False, eq=False)


@attrs.frozen
class Connection:
    """The answer to a connect: access to the conversation's room. It cannot be pickled: see `Secret`.

    Attributes:
        room_url: The Daily room, such as `https://your-team.daily.co/room-name`.
        token: The participant's credential for the room (a JWT). Anyone who has it can join.
        conversation_session_id: The conversation's id at the service.
        raw: The JSON of the answer; its token is a `Secret` too.
    """

    room_url: str
    token: Secret
    conversation_session_id: str
    raw: Mapping[str, Any] = raw_field()

    @property
    def join_url(self) -> str:
        """A link that joins the room in a browser [seen]. It contains the token: give it to that user only."""
        parts = urlsplit(self.room_url)
        token = f"t={quote(self.token.reveal(), safe='')}"
        return parts._replace(query=f"{parts.query}&{token}" if parts.query else token).geturl()

    def to_browser(self) -> dict[str, str]:
        """Return the JSON that Akapulu's React provider expects of a backend [documented].

        It contains the token in plain text: send it to the browser of that user only, over https, and do not log it.
        """
        return {
            "room_url": self.room_url,
            "token": self.token.reveal(),
            "conversation_session_id": self.conversation_session_id,
        }
