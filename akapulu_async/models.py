"""What goes over the wire, as frozen values.

Each answer keeps the JSON object that it was read from in `.raw`, so that a field which the service adds
tomorrow can be used today. Ids are canonical lower-case UUID texts.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import attrs

from akapulu_async.checks import checked_id, shown
from akapulu_async.errors import ConfigurationError
from akapulu_async.secret import Secret

MAX_STT_KEYWORDS = 5
"""How many speech recognition hints a connect takes [documented]."""


def _check_text(name: str, value: object, allowed: str = "") -> str:
    """Return a text that has no control character (nor a lone surrogate) but those allowed."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: {shown(value)} is {type(value).__name__}, a text is wanted")
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in allowed:
            raise ConfigurationError(f"{name}: the control character {character!r} is not allowed")
    return value


def _runtime_vars(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"runtime_vars: {type(value).__name__} is no mapping of names to texts")
    return {_check_text("runtime_vars: a name", key): _runtime_var(key, text) for key, text in value.items()}


def _runtime_var(name: str, value: object) -> str:
    where = f"runtime_vars[{shown(name)}]"
    if isinstance(value, bool | int | float):
        written = shown(value).lower() if isinstance(value, bool) else shown(value)
        raise ConfigurationError(f"{where}: values are texts, so write {written!r} instead of {shown(value)}")
    # Line breaks and tabs are text: variables fill prompts, and prompts have paragraphs.
    return _check_text(where, value, allowed="\n\r\t")


def _stt_keywords(value: str | Iterable[str]) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, Iterable):
        raise ConfigurationError(f"stt_keywords: {type(value).__name__} is neither a text nor a list of texts")
    keywords = tuple(stripped for word in words if (stripped := _check_text("stt_keywords", word).strip()))
    if len(keywords) > MAX_STT_KEYWORDS:
        raise ConfigurationError(f"stt_keywords: {len(keywords)} are too many, the service takes {MAX_STT_KEYWORDS}")
    return keywords


def _flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool) and not (value is None and field.default is None):
        raise ConfigurationError(f"{field.name}: {shown(value)} is {type(value).__name__}, True or False is wanted")


def _scenario_id(value: str | UUID) -> str:
    return checked_id("scenario_id", value)


def _avatar_id(value: str | UUID) -> str:
    return checked_id("avatar_id", value)


def _extra(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"extra: {type(value).__name__} is no mapping of field names to values")
    for name in value:
        # JSON would make a text of a number or a boolean, and one field of two names.
        _check_text("extra: a name", name)
    try:
        # A round trip also takes a copy that the caller cannot change later.
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"extra: not writable as JSON: {error}") from None
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
            raise ConfigurationError(f"extra: {', '.join(named)} has an argument of its own, use that")

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
        raise ConfigurationError(f"request: {type(request).__name__} is no ConnectRequest; to take up an id, attach()")


def _raw() -> Any:
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

    raw: Mapping[str, Any] = _raw()
    """The answer as it came, but for the token, which stays a `Secret`."""

    @property
    def join_url(self) -> str:
        """A link that a browser opens to join [seen]. It contains the token: show it to that user alone."""
        parts = urlsplit(self.room_url)
        token = f"t={quote(self.token.reveal(), safe='')}"
        return parts._replace(query=f"{parts.query}&{token}" if parts.query else token).geturl()


@attrs.frozen
class ConversationUpdate:
    """How far a conversation has come."""

    conversation_session_id: str
    """The conversation."""

    call_is_ready: bool
    """True when bot and participant are ready: the gate into the live call."""

    completion_percent: float = 0.0
    """0 to 100, may be fractional; 100 when ready [documented]. A value outside is clamped; none is 0."""

    latest_update_text: str = ""
    """The latest state in words, for people; the full list is not published. Empty if there is none."""

    raw: Mapping[str, Any] = _raw()
    """The answer as it came."""


@attrs.frozen
class Avatar:
    """The avatar of a conversation."""

    id: str
    href: str
    """Where the avatar's page is; empty if the service sent null."""

    profile_image_url: str = attrs.field(repr=False)
    """A signed link to a picture, which ends working some time later. Empty if the service sent null."""


@attrs.frozen
class RecordingStatus:
    """Whether there is a recording, and whether it can be downloaded."""

    has_recording: bool
    is_ready: bool
    """True some time after the end of the conversation."""

    status_text: str
    """The state in words, for people; empty if the service sent null."""


@attrs.frozen
class TranscriptRow:
    """One row of a transcript. A role or a kind of content that is new to this library passes through."""

    role: str
    """`user`, `assistant`, `tool`, or what the service adds."""

    content: Any = None
    """What was said: a text; in tool rows it may be structured JSON [seen]. None if the row has none."""

    node_id: str | None = None
    """The scenario's node in which it was said. None if the row names none."""

    tool_call_id: str | None = None
    """Which call a tool row answers. None in other rows."""

    tool_calls: Any = None
    """The calls that a row asks for, as the service wrote them. None if there are none."""

    raw: Mapping[str, Any] = _raw()
    """The row as it came."""

    @property
    def text(self) -> str:
        """The content as text: structured content as compact JSON, none as the empty text."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


@attrs.frozen
class NodeTurn:
    """Consecutive transcript rows of one node of the scenario."""

    node_id: str | None
    """The node. None for rows that name none."""

    rows: tuple[TranscriptRow, ...]


@attrs.frozen
class ConversationDetail:
    """All that the service keeps of a conversation."""

    id: str
    """The conversation's id: the `conversation_session_id` of its connect."""

    created_at: datetime
    """When it was connected, with its zone."""

    created_at_text: str
    """The same for people; empty if the service sent null."""

    duration_text: str
    """How long it took, for people, such as `4 minutes`; empty if the service sent null."""

    avatar: Avatar
    scenario_id: str
    recording: RecordingStatus
    transcript_rows: tuple[TranscriptRow, ...]
    """What was said, in order; it grows while the conversation goes on."""

    raw: Mapping[str, Any] = _raw()
    """The answer as it came."""

    def transcript_by_node(self) -> tuple[NodeTurn, ...]:
        """Group the transcript by the scenario's nodes, in the order in which they were visited.

        A node that the conversation comes back to has a turn each time.
        """
        groups = groupby(self.transcript_rows, key=lambda row: row.node_id)
        return tuple(NodeTurn(node_id, tuple(rows)) for node_id, rows in groups)

    def transcript_text(self) -> str:
        """Return the transcript for people: a heading a node, a line a row, `role: text`."""
        return "\n\n".join(_node_text(turn) for turn in self.transcript_by_node())


def _node_text(turn: NodeTurn) -> str:
    heading = [] if turn.node_id is None else [f"[{turn.node_id}]"]
    return "\n".join([*heading, *map(_row_text, turn.rows)])


def _row_text(row: TranscriptRow) -> str:
    calls = "" if row.tool_calls is None else json.dumps(row.tool_calls, ensure_ascii=False, separators=(",", ":"))
    words = " ".join(part for part in (row.text, calls) if part)
    # A row stays one paragraph: its further lines are indented below its role.
    return f"{row.role}: {words}".replace("\n", "\n    ")
