"""JSON becomes a model, or an error that names the field."""

import copy
import json
import math
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import converter
from akapulu_async.converter import PayloadError, register, structure
from akapulu_async.models.connection import Connection
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.resources.conversations import detail_request, read_connection, update_request
from akapulu_async.secret import Secret

ID = "33333333-3333-4333-8333-33333333333a"
OTHER = "44444444-4444-4444-8444-444444444444"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"

CONNECTION = {"room_url": "https://x.daily.co/room", "token": TOKEN, "conversation_session_id": ID}
UPDATE = {
    "conversation_session_id": ID,
    "call_is_ready": False,
    "completion_percent": 63.6,
    "latest_update_text": "bot joined daily room",
}
DETAIL: dict[str, Any] = {
    "id": ID,
    "created_at": "2026-03-10T18:10:02.221Z",
    "created_at_text": "March 10",
    "duration_text": "4 minutes",
    "avatar": {"id": OTHER, "href": "/avatars/4/", "profile_image_url": "https://signed/?sig=1"},
    "scenario_id": OTHER,
    "recording": {"has_recording": True, "is_ready": False, "status_text": "Processing"},
    "transcript_rows": [
        {"role": "assistant", "content": "Hello", "node_id": "greeting"},
        {"role": "assistant", "tool_calls": [{"id": "call-1"}]},
        {"role": "tool", "content": {"rows": [1]}, "node_id": "look_up", "tool_call_id": "call-1"},
        {"role": "narrator", "content": None, "node_id": None, "tool_call_id": None, "tool_calls": None},
    ],
}
READERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "connection": (read_connection, CONNECTION),
    "update": (update_request(ID).read, UPDATE),
    "detail": (detail_request(ID).read, DETAIL),
}


def test_a_connection() -> None:
    """The answer to a connect is read, and its token is not shown."""
    connection = read_connection({**CONNECTION, "conversation_session_id": ID.upper(), "region": "eu"})
    assert connection == Connection("https://x.daily.co/room", Secret(TOKEN), ID)
    assert connection.token.reveal() == TOKEN
    assert connection.raw["region"] == "eu"
    assert connection.raw["token"] == Secret(TOKEN)
    assert TOKEN not in f"{connection} {connection.raw}"


def test_the_answer_itself_is_not_changed() -> None:
    """Reading leaves the parsed JSON as it is."""
    for read, payload in READERS.values():
        before = copy.deepcopy(payload)
        read(payload)
        assert payload == before


def test_an_update() -> None:
    """An update is read, and `.raw` has its new fields."""
    update = update_request(ID).read({**UPDATE, "eta": {"seconds": 3}})
    assert update == ConversationUpdate(ID, False, 63.6, "bot joined daily room")
    assert update.raw == {**UPDATE, "eta": {"seconds": 3}}


def test_an_update_with_nothing_for_people() -> None:
    """Percent and text, which gate nothing, may be missing or null."""
    bare = {"conversation_session_id": ID.upper(), "call_is_ready": True}
    null = {**bare, "completion_percent": None, "latest_update_text": None}
    for payload in (bare, null):
        assert update_request(ID).read(payload) == ConversationUpdate(ID, call_is_ready=True)


@pytest.mark.parametrize(
    ("percent", "read"),
    [
        (0, 0.0), (7, 7.0), (63.6, 63.6), (100, 100.0), (100.01, 100.0), (-1, 0.0), (-0.5, 0.0),
        (10**400, 100.0), (-(10**400), 0.0), (math.inf, 100.0), (-math.inf, 0.0),
        (json.loads("1e400"), 100.0), (json.loads("-1e400"), 0.0),
    ],
    ids=count(),
)  # fmt: skip
def test_percent_is_clamped(percent: float, read: float) -> None:
    """A percent is clamped to 0 to 100, and always a float."""
    found = structure({**UPDATE, "completion_percent": percent}, ConversationUpdate).completion_percent
    assert (found, type(found)) == (read, float)


def test_a_detail() -> None:
    """Every documented field is read, also new roles and structured content."""
    detail = detail_request(ID).read(DETAIL)
    assert detail == ConversationDetail(
        id=ID,
        created_at=datetime(2026, 3, 10, 18, 10, 2, 221_000, UTC),
        created_at_text="March 10",
        duration_text="4 minutes",
        avatar=Avatar(OTHER, "/avatars/4/", "https://signed/?sig=1"),
        scenario_id=OTHER,
        recording=RecordingStatus(has_recording=True, is_ready=False, status_text="Processing"),
        transcript_rows=(
            TranscriptRow("assistant", "Hello", "greeting"),
            TranscriptRow("assistant", tool_calls=[{"id": "call-1"}]),
            TranscriptRow("tool", {"rows": [1]}, "look_up", tool_call_id="call-1"),
            TranscriptRow("narrator"),
        ),
    )


def test_what_is_new_is_kept() -> None:
    """Unknown fields break nothing; `.raw` of rows and detail keeps them, even one called `raw`."""
    payload = copy.deepcopy(DETAIL)
    payload |= {"sentiment": "good", "raw": 1}
    for inner in (payload["avatar"], payload["recording"], payload["transcript_rows"][0]):
        inner |= {"new": [None], "raw": 2}
    detail = detail_request(ID).read(payload)
    assert detail == detail_request(ID).read(DETAIL)
    assert detail.raw == payload
    assert detail.transcript_rows[0].raw == payload["transcript_rows"][0]


def test_null_texts_are_empty() -> None:
    """Texts for people may be null."""
    payload = copy.deepcopy(DETAIL)
    payload |= {"created_at_text": None, "duration_text": None}
    payload["avatar"] |= {"href": None, "profile_image_url": None}
    payload["recording"] |= {"status_text": None}
    payload["transcript_rows"][0] |= {"role": None}
    detail = detail_request(ID).read(payload)
    assert {
        detail.created_at_text,
        detail.duration_text,
        detail.avatar.href,
        detail.avatar.profile_image_url,
        detail.recording.status_text,
        detail.transcript_rows[0].role,
    } == {""}


@pytest.mark.parametrize(
    ("text", "moment", "offset"),
    [
        ("2026-03-10T18:10:02Z", datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC), 0),
        ("2026-03-10T18:10:02.5+02:00", datetime(2026, 3, 10, 16, 10, 2, 500_000, UTC), 7200),
        ("2026-03-10T18:10:02.123456789-0530", datetime(2026, 3, 10, 23, 40, 2, 123_456, UTC), -19800),
        ("2026-03-10 18:10:02+00:00", datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC), 0),
    ],
    ids=count(),
)
def test_moments_are_aware(text: str, moment: datetime, offset: int) -> None:
    """Times in ISO 8601 are read with their zone, whether `Z` or an offset, with any fraction of a second."""
    created_at = structure({**DETAIL, "created_at": text}, ConversationDetail).created_at
    assert created_at == moment
    assert created_at.utcoffset() == timedelta(seconds=offset)


def changed(payload: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return a copy with another value (or none, for `...`) at a path."""
    whole = copy.deepcopy(payload)
    place: Any = whole
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return whole


TIME_WANTED = "must be an ISO 8601 time with a time zone, not "
UUID_WANTED = "must be a UUID such as '123e4567-e89b-12d3-a456-426614174000'"
WRONG: list[tuple[str, tuple[str | int, ...], Any, str, str]] = [
    ("connection", ("room_url",), ..., "room_url", "is missing"),
    ("connection", ("room_url",), None, "room_url", "must be a URL, not null"),
    ("connection", ("room_url",), "javascript:alert(1)", "room_url", "must be an http(s) URL"),
    ("connection", ("room_url",), "https://", "room_url", "must be an http(s) URL"),
    ("connection", ("room_url",), "https://x/\n", "room_url", "must be an http(s) URL"),
    ("connection", ("room_url",), "https://[x/", "room_url", "must be an http(s) URL"),
    ("connection", ("token",), ..., "token", "is missing"),
    ("connection", ("token",), None, "token", "must be a text that is not empty, not null"),
    ("connection", ("token",), "", "token", "must be a text that is not empty, not a text"),
    ("connection", ("token",), "a\ud800", "token", "must have printable characters only"),
    ("connection", ("token",), ["a"], "token", "must be a text that is not empty, not a list"),
    ("connection", ("conversation_session_id",), ..., "conversation_session_id", "is missing"),
    ("connection", ("conversation_session_id",), None, "conversation_session_id", "must be a UUID, not null"),
    ("connection", ("conversation_session_id",), "../x", "conversation_session_id", UUID_WANTED),
    ("update", ("conversation_session_id",), ..., "conversation_session_id", "is missing"),
    ("update", ("conversation_session_id",), 7, "conversation_session_id", "must be a UUID, not a number"),
    (
        "update", ("conversation_session_id",), OTHER, "conversation_session_id",
        f"belongs to another conversation ({OTHER})",
    ),
    ("update", ("call_is_ready",), ..., "call_is_ready", "is missing"),
    ("update", ("call_is_ready",), None, "call_is_ready", "must be a boolean, not null"),
    ("update", ("call_is_ready",), "true", "call_is_ready", "must be a boolean, not a text"),
    ("update", ("call_is_ready",), 1, "call_is_ready", "must be a boolean, not a number"),
    ("update", ("completion_percent",), True, "completion_percent", "must be a number, not a boolean"),
    ("update", ("completion_percent",), "63.6", "completion_percent", "must be a number, not a text"),
    ("update", ("latest_update_text",), {}, "latest_update_text", "must be a text, not an object"),
    ("detail", ("id",), ..., "id", "is missing"),
    ("detail", ("id",), OTHER, "id", f"belongs to another conversation ({OTHER})"),
    ("detail", ("created_at",), ..., "created_at", "is missing"),
    ("detail", ("created_at",), None, "created_at", "must be an ISO 8601 time, not null"),
    ("detail", ("created_at",), 1773166202.2, "created_at", "must be an ISO 8601 time, not a number"),
    ("detail", ("created_at",), "yesterday", "created_at", f"{TIME_WANTED}'yesterday'"),
    ("detail", ("created_at",), "2026-03-10T18:10:02", "created_at", f"{TIME_WANTED}'2026-03-10T18:10:02'"),
    ("detail", ("created_at",), "9999-12-31T23:59:59-00:01", "created_at", f"{TIME_WANTED}'9999-12-31T23:59:59-00:01'"),
    ("detail", ("created_at",), "2026-03-10", "created_at", f"{TIME_WANTED}'2026-03-10'"),
    ("detail", ("created_at_text",), ..., "created_at_text", "is missing"),
    ("detail", ("duration_text",), 4, "duration_text", "must be a text, not a number"),
    ("detail", ("avatar",), None, "avatar", "must be an object, not null"),
    ("detail", ("avatar", "id"), ..., "avatar.id", "is missing"),
    ("detail", ("avatar", "id"), "x", "avatar.id", UUID_WANTED),
    ("detail", ("avatar", "href"), 1.5, "avatar.href", "must be a text, not a number"),
    ("detail", ("scenario_id",), None, "scenario_id", "must be a UUID, not null"),
    ("detail", ("recording",), [], "recording", "must be an object, not a list"),
    ("detail", ("recording", "is_ready"), None, "recording.is_ready", "must be a boolean, not null"),
    ("detail", ("recording", "has_recording"), ..., "recording.has_recording", "is missing"),
    ("detail", ("transcript_rows",), None, "transcript_rows", "must be a list, not null"),
    ("detail", ("transcript_rows",), {"0": {}}, "transcript_rows", "must be a list, not an object"),
    ("detail", ("transcript_rows",), "rows", "transcript_rows", "must be a list, not a text"),
    ("detail", ("transcript_rows", 2), "x", "transcript_rows[2]", "must be an object, not a text"),
    ("detail", ("transcript_rows", 3, "role"), ..., "transcript_rows[3].role", "is missing"),
    ("detail", ("transcript_rows", 0, "node_id"), 7, "transcript_rows[0].node_id", "must be a text, not a number"),
    (
        "detail", ("transcript_rows", 2, "tool_call_id"), [], "transcript_rows[2].tool_call_id",
        "must be a text, not a list",
    ),
]  # fmt: skip


@pytest.mark.shows_secrets  # the payload, in frames of an error that gets no further than the reading of answers
@pytest.mark.parametrize(("kind", "path", "value", "field", "problem"), WRONG, ids=count())
def test_what_is_wrong_is_named(
    kind: str, path: tuple[str | int, ...], value: Any, field: str, problem: str
) -> None:  # fmt: skip
    """A wrong type, a missing field and another conversation's id are refused, naming the field and what it must be."""
    read, payload = READERS[kind]
    with pytest.raises(PayloadError) as caught:
        read(changed(payload, path, value))
    assert (caught.value.field, caught.value.problem) == (field, problem)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("payload", "found"),
    [(None, "null"), ([], "a list"), ("x", "a text"), (True, "a boolean"), (7, "a number"), (0.5, "a number")],
)
def test_the_whole_is_wrong(kind: str, payload: Any, found: str) -> None:
    """A payload that is not an object is refused without a field."""
    with pytest.raises(PayloadError) as caught:
        READERS[kind][0](payload)
    assert (caught.value.field, caught.value.problem) == (None, f"it must be an object, not {found}")


def test_the_first_of_many_bad_rows() -> None:
    """Of many bad rows the first is named, using little memory."""
    good = DETAIL["transcript_rows"][0]
    payload = changed(DETAIL, ("transcript_rows",), [good] * 7 + [{}] * 20_000)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError) as caught:
            detail_request(ID).read(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.field == "transcript_rows[7].role"
    assert peak < 2**20


@pytest.mark.shows_secrets  # the payload, in frames of an error that gets no further than the reading of answers
def test_an_error_holds_no_payload() -> None:
    """The error has neither cause nor context, which would keep the answer with its token."""
    with pytest.raises(PayloadError) as caught:
        read_connection({**CONNECTION, "room_url": 7})
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert TOKEN not in str(caught.value)


@attrs.frozen
class Key:
    name: str
    key: Secret
    raw: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, eq=False)


@attrs.frozen
class Keys:
    owner: str
    keys: tuple[Key, ...]


@pytest.mark.shows_secrets  # frames of the first error hold a payload that no resource has registered yet
def test_a_resource_registers_its_models() -> None:
    """Models that a resource registers later are read too, by their hooks and types, with credentials masked in raw."""
    payload = {"owner": "Ada", "keys": [{"name": "first", "key": TOKEN, "new": 1}]}
    with pytest.raises(KeyError):
        structure(payload, Keys)
    register(Keys)
    register(Key, key=converter.secret)
    keys = structure(payload, Keys)
    assert keys == Keys("Ada", (Key("first", Secret(TOKEN)),))
    assert keys.keys[0].raw == {"name": "first", "key": Secret(TOKEN), "new": 1}
    with pytest.raises(PayloadError) as caught:
        structure(changed(payload, ("keys", 0, "key"), 7), Keys)
    assert caught.value.field == "keys[0].key"


numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308])
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=10) | st.just(ID),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from([(kind, path) for kind, path, *_ in WRONG])


@given(st.sampled_from(sorted(READERS)), json_values)
def test_any_json_is_read_or_refused(kind: str, payload: Any) -> None:
    """Any JSON gives a model or a PayloadError."""
    read, good = READERS[kind]
    try:
        model = read(payload)
    except PayloadError:
        return
    assert type(model) is type(read(good))


@given(places, json_values)
def test_any_field_is_read_or_refused(place: tuple[str, tuple[str | int, ...]], value: Any) -> None:
    """Any JSON in any field gives a model, or a PayloadError that names this field or one below it."""
    kind, path = place
    read, payload = READERS[kind]
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    refused: str | None = name
    try:
        model = read(changed(payload, path, value))
    except PayloadError as error:
        refused = error.field
    else:
        assert type(model) is type(read(payload))
    assert (refused or "").startswith(name)


@given(numbers | st.none())
def test_percent_is_always_a_percent(value: float | None) -> None:
    """Any number is read as 0 to 100. (`parse_json()` refuses NaN.)"""
    assert 0.0 <= update_request(ID).read({**UPDATE, "completion_percent": value}).completion_percent <= 100.0


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets))  # noqa: DTZ001 - with zones
def test_any_moment(moment: datetime) -> None:
    """Every aware time is read as the same moment, in the same zone."""
    created_at = structure({**DETAIL, "created_at": moment.isoformat()}, ConversationDetail).created_at
    assert (created_at, created_at.utcoffset()) == (moment, moment.utcoffset())
