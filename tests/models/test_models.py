"""What goes over the wire is checked, frozen, and easy to read."""

import copy
import json
import math
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import attrs
import jsonschema_rs
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import models
from akapulu_async.checks import checked_id, uuid_text
from akapulu_async.errors import ConfigurationError
from akapulu_async.models.connection import MAX_STT_KEYWORDS, Connection, ConnectRequest
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    NodeTurn,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.secret import Secret

SCENARIO = "11111111-1111-4111-8111-11111111111a"
AVATAR = "22222222-2222-4222-8222-22222222222b"
EXAMPLE = "123e4567-e89b-12d3-a456-426614174000"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"


def request(**options: Any) -> ConnectRequest:
    return ConnectRequest(SCENARIO, AVATAR, **options)


@pytest.mark.parametrize(
    "value", [SCENARIO, SCENARIO.upper(), UUID(SCENARIO)], ids=["lower", "upper", "UUID"]
)  # fmt: skip
def test_ids_become_canonical(value: str | UUID) -> None:
    """A UUID, as an object or as text in any case, becomes its canonical text."""
    assert uuid_text(value) == checked_id("session_id", value) == SCENARIO
    assert ConnectRequest(value, value).avatar_id == SCENARIO


class Unshowable:
    """What cannot be written into a message."""

    def __repr__(self) -> str:
        raise LookupError


NO_IDS: list[tuple[Any, str]] = [
    ("abc", "'abc'"),
    ("", "''"),
    (None, "None"),
    (7, "7"),
    (UUID(SCENARIO).bytes, r"b'\x11\x11"),
    (UUID(SCENARIO).hex, "'1111111111114111811111111111111a'"),
    (f"{{{SCENARIO}}}", f"'{{{SCENARIO}}}'"),
    (f"urn:uuid:{SCENARIO}", f"'urn:uuid:{SCENARIO}'"),
    (f"{SCENARIO}\n", f"'{SCENARIO}\\n'"),
    (f" {SCENARIO}", f"' {SCENARIO}'"),
    (f"{SCENARIO}/../..", f"'{SCENARIO}/../..'"),
    (SCENARIO.replace("1", "\u0661"), "'\u0661"),
    ("x" * 10_000, "'" + "x" * 78 + "…"),
    (10**5000, "<int>"),
    (Unshowable(), "<Unshowable>"),
]


@pytest.mark.parametrize(("value", "shown"), NO_IDS, ids=count())
def test_other_ids_are_refused(value: Any, shown: str) -> None:
    """What is not a UUID with hyphens is refused with the argument's name, what was given, and an example."""
    with pytest.raises(ConfigurationError) as caught:
        ConnectRequest(value, AVATAR)
    assert str(caught.value).startswith(f"scenario_id: {shown}")
    assert str(caught.value).endswith(f"is not a UUID such as '{EXAMPLE}'")
    with pytest.raises(ConfigurationError, match=r"^avatar_id: "):
        ConnectRequest(SCENARIO, value)
    with pytest.raises(ConfigurationError, match=r"^session_id: "):
        checked_id("session_id", value)
    assert caught.value.__suppress_context__


def test_a_token_in_the_place_of_an_id_is_not_shown() -> None:
    """Who mixes up a connection's fields does not find the token in the log."""
    with pytest.raises(ConfigurationError, match=r"^session_id: '\*\*\*' is not a UUID"):
        checked_id("session_id", TOKEN)


def test_the_least_request() -> None:
    """What was not asked for is left to the service, but for the two documented defaults."""
    assert request().to_json() == {
        "scenario_id": SCENARIO,
        "avatar_id": AVATAR,
        "record_conversation": False,
        "wait_for_client_ready": True,
    }


def test_the_full_request() -> None:
    """Every argument has its field."""
    full = request(
        runtime_vars={"name": "Ada"},
        stt_keywords=["Akapulu", "Daily"],
        record_conversation=True,
        wait_for_client_ready=False,
        voice_only_mode=False,
        extra={"show_ai_label": True, "later": {"a": [1, 2.5, None, "x"]}},
    )
    assert full.to_json() == {
        "scenario_id": SCENARIO,
        "avatar_id": AVATAR,
        "runtime_vars": {"name": "Ada"},
        "stt_keywords": ["Akapulu", "Daily"],
        "record_conversation": True,
        "wait_for_client_ready": False,
        "voice_only_mode": False,
        "show_ai_label": True,
        "later": {"a": [1, 2.5, None, "x"]},
    }


@pytest.mark.parametrize(
    ("given_keywords", "sent"),
    [
        ((), ()),
        ("", ()),
        (" , ,", ()),
        ("Akapulu", ("Akapulu",)),
        (" Akapulu , Daily room,, ", ("Akapulu", "Daily room")),
        (["Akapulu", "  ", " Daily "], ("Akapulu", "Daily")),
        ((word for word in "abcde"), ("a", "b", "c", "d", "e")),
        ("a,b,c,d,e,", ("a", "b", "c", "d", "e")),
        (["a, b"], ("a, b",)),
    ],
    ids=count(),
)
def test_keywords(given_keywords: str | Iterable[str], sent: tuple[str, ...]) -> None:
    """One comma-separated text is split; blanks around keywords, and empty ones, go."""
    assert request(stt_keywords=given_keywords).stt_keywords == sent


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"stt_keywords": "a,b,c,d,e,f"}, "stt_keywords: 6 are too many, the service takes 5"),
    ({"stt_keywords": ["a"] * 7}, "stt_keywords: 7 are too many, the service takes 5"),
    ({"stt_keywords": 7}, "stt_keywords: int is neither a text nor a list of texts"),
    ({"stt_keywords": None}, "stt_keywords: NoneType is neither a text nor a list of texts"),
    ({"stt_keywords": ["a", 1]}, "stt_keywords: 1 is int, a text is wanted"),
    ({"stt_keywords": b"a"}, "stt_keywords: 97 is int, a text is wanted"),
    ({"stt_keywords": "a\nb"}, r"stt_keywords: the control character '\n' is not allowed"),
    ({"stt_keywords": ["a\x7f"]}, r"stt_keywords: the control character '\x7f' is not allowed"),
    ({"stt_keywords": ["a\ud800"]}, r"stt_keywords: the control character '\ud800' is not allowed"),
    ({"runtime_vars": [("a", "b")]}, "runtime_vars: list is no mapping of names to texts"),
    ({"runtime_vars": None}, "runtime_vars: NoneType is no mapping of names to texts"),
    ({"runtime_vars": {1: "a"}}, "runtime_vars: a name: 1 is int, a text is wanted"),
    ({"runtime_vars": {"a\n": "a"}}, r"runtime_vars: a name: the control character '\n' is not allowed"),
    ({"runtime_vars": {"n": 7}}, "runtime_vars['n']: values are texts, so write '7' instead of 7"),
    ({"runtime_vars": {"n": 1.5}}, "runtime_vars['n']: values are texts, so write '1.5' instead of 1.5"),
    ({"runtime_vars": {"n": True}}, "runtime_vars['n']: values are texts, so write 'true' instead of True"),
    ({"runtime_vars": {"n": False}}, "runtime_vars['n']: values are texts, so write 'false' instead of False"),
    ({"runtime_vars": {"n": 10**5000}}, "runtime_vars['n']: values are texts, so write '<int>' instead of <int>"),
    ({"runtime_vars": {10**5000: "a"}}, "runtime_vars: a name: <int> is int, a text is wanted"),
    ({"runtime_vars": {TOKEN: 7}}, "runtime_vars['***']: values are texts, so write '7' instead of 7"),
    ({"runtime_vars": {"n": None}}, "runtime_vars['n']: None is NoneType, a text is wanted"),
    ({"runtime_vars": {"n": ["a"]}}, "runtime_vars['n']: ['a'] is list, a text is wanted"),
    ({"runtime_vars": {"n": Secret("a")}}, "runtime_vars['n']: *** is Secret, a text is wanted"),
    ({"runtime_vars": {"n": "a\x00"}}, r"runtime_vars['n']: the control character '\x00' is not allowed"),
    ({"runtime_vars": {"n": "\x1b[2J"}}, r"runtime_vars['n']: the control character '\x1b' is not allowed"),
    ({"runtime_vars": {"n": "\x85"}}, r"runtime_vars['n']: the control character '\x85' is not allowed"),
    ({"runtime_vars": {"n": "\udfff"}}, r"runtime_vars['n']: the control character '\udfff' is not allowed"),
    ({"record_conversation": 1}, "record_conversation: 1 is int, True or False is wanted"),
    ({"record_conversation": 10**5000}, "record_conversation: <int> is int, True or False is wanted"),
    ({"record_conversation": "yes"}, "record_conversation: 'yes' is str, True or False is wanted"),
    ({"record_conversation": None}, "record_conversation: None is NoneType, True or False is wanted"),
    ({"wait_for_client_ready": None}, "wait_for_client_ready: None is NoneType, True or False is wanted"),
    ({"wait_for_client_ready": 0}, "wait_for_client_ready: 0 is int, True or False is wanted"),
    ({"voice_only_mode": 0}, "voice_only_mode: 0 is int, True or False is wanted"),
    ({"extra": [1]}, "extra: list is no mapping of field names to values"),
    ({"extra": None}, "extra: NoneType is no mapping of field names to values"),
    ({"extra": {1: "a"}}, "extra: a name: 1 is int, a text is wanted"),
    ({"extra": {None: "a"}}, "extra: a name: None is NoneType, a text is wanted"),
    ({"extra": {"a\x00": 1}}, r"extra: a name: the control character '\x00' is not allowed"),
    ({"extra": {"a": {1, 2}}}, "extra: not writable as JSON: Object of type set is not JSON serializable"),
    ({"extra": {"a": Secret("b")}}, "extra: not writable as JSON: Object of type Secret is not JSON serializable"),
    ({"extra": {"scenario_id": AVATAR}}, "extra: scenario_id has an argument of its own, use that"),
    (
        {"extra": {"voice_only_mode": None, "runtime_vars": {}, "new": 1}},
        "extra: runtime_vars, voice_only_mode has an argument of its own, use that",
    ),
]


@pytest.mark.parametrize(("options", "text"), REFUSED, ids=count())
def test_what_is_refused(options: dict[str, Any], text: str) -> None:
    """What cannot be sent is refused when the request is built, in words that name the argument."""
    with pytest.raises(ConfigurationError) as caught:
        request(**options)
    assert str(caught.value) == text


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, nested(100_000), circular()], ids=["nan", "inf", "-inf", "deep", "circle"]
)
def test_extra_is_json(value: Any) -> None:
    """What JSON has no way to write is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"^extra: not writable as JSON: "):
        request(extra={"a": {"b": [value]}})


def test_prompts_may_have_paragraphs() -> None:
    """Line breaks and tabs are allowed where prompts are filled, and nowhere else."""
    text = "one\r\n\ttwo\n"
    assert request(runtime_vars={"prompt": text}).to_json()["runtime_vars"] == {"prompt": text}


def test_arguments_beyond_the_ids_are_named() -> None:
    """Options are given by name, so that one more can never change the meaning of an old call."""
    with pytest.raises(TypeError, match="positional"):
        ConnectRequest(SCENARIO, AVATAR, {})  # type: ignore[call-arg]


def test_callers_changes_do_not_reach_a_request() -> None:
    """What the caller does later to what was passed, or to a body that was made, changes no request."""
    runtime_vars, keywords, extra = {"a": "b"}, ["a"], {"new": {"list": [1]}}
    built = request(runtime_vars=MappingProxyType(runtime_vars), stt_keywords=keywords, extra=extra)
    before = json.dumps(built.to_json())
    runtime_vars["a"] = "changed"
    keywords.append("b")
    extra["new"]["list"].append(2)
    body = built.to_json()
    body["runtime_vars"]["a"] = body["stt_keywords"] = body["later"] = "changed"
    assert json.dumps(built.to_json()) == before


def test_requests_are_values() -> None:
    """Equal requests are equal, hash alike, and survive a pickle, a copy and a change of one field."""
    one = request(runtime_vars={"a": "b"}, extra={"x": [1]})
    other = ConnectRequest(UUID(SCENARIO), AVATAR.upper(), runtime_vars={"a": "b"}, extra={"x": [1]})
    assert one == other != request()
    assert len({one, other}) == 1
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one  # noqa: S301 - our own
    assert attrs.evolve(one, record_conversation=True).to_json() == {**one.to_json(), "record_conversation": True}


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
named_fields = {field.name for field in attrs.fields(ConnectRequest)}
requests = st.builds(
    ConnectRequest,
    st.uuids() | st.uuids().map(str),
    st.uuids() | st.uuids().map(lambda each: str(each).upper()),
    runtime_vars=st.dictionaries(
        texts, st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t")), max_size=3
    ),
    stt_keywords=st.lists(texts, max_size=MAX_STT_KEYWORDS) | texts.filter(lambda text: text.count(",") < 5),
    record_conversation=st.booleans(),
    wait_for_client_ready=st.booleans(),
    voice_only_mode=st.none() | st.booleans(),
    extra=st.dictionaries(texts.filter(lambda name: name not in named_fields), json_values, max_size=3)
    | st.fixed_dictionaries({"show_ai_label": st.booleans(), "custom_rtvi_connection": st.booleans()}),
)


def connect_schema() -> Any:
    document = yaml.safe_load((Path(__file__).parents[1] / "support" / "openapi.yaml").read_text(encoding="utf-8"))
    return jsonschema_rs.Draft202012Validator(
        document["components"]["schemas"]["ConnectRequest"], validate_formats=True
    )


SCHEMA = connect_schema()


@given(requests)
def test_bodies_are_what_the_interface_says(built: ConnectRequest) -> None:
    """Whatever request can be built has a body that the published schema allows, and JSON can write."""
    body = built.to_json()
    SCHEMA.validate(body)
    assert json.loads(json.dumps(body, allow_nan=False)) == body


def test_the_schema_can_fail() -> None:
    """The schema that bodies are held against does refuse."""
    for wrong in ({"scenario_id": "x"}, {"stt_keywords": ["a"] * 6}, {"runtime_vars": {"a": 1}}):
        assert not SCHEMA.is_valid({**request().to_json(), **wrong})


ROW = TranscriptRow("user", "Hello")
CONNECTION = Connection("https://x.daily.co/room", Secret(TOKEN), AVATAR, raw={"token": Secret(TOKEN)})
MODELS: list[Any] = [
    request(),
    CONNECTION,
    ConversationUpdate(AVATAR, call_is_ready=True),
    Avatar(AVATAR, "", "https://signed/"),
    RecordingStatus(has_recording=True, is_ready=False, status_text=""),
    ROW,
    NodeTurn(None, (ROW,)),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_are_frozen(model: Any) -> None:
    """No field can be changed, and none added."""
    for field in attrs.fields(type(model)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(model, field.name, None)
    with pytest.raises(AttributeError):
        model.new = 1
    assert not hasattr(model, "__dict__")


def test_all_models_are_frozen_and_slotted() -> None:
    """The same holds for each class of the module, also for those of tomorrow."""
    classes = [each for each in vars(models).values() if attrs.has(each) and isinstance(each, type)]
    assert {type(model) for model in MODELS} | {ConversationDetail} == set(classes)
    for each in classes:
        assert "__slots__" in vars(each)
        assert each.__setattr__ is not object.__setattr__


def test_a_connection_does_not_show_its_token() -> None:
    """Neither its text nor what it keeps of the answer shows the token, and a pickle is refused."""
    assert "***" in repr(CONNECTION)
    assert "eyJ" not in f"{CONNECTION!r} {CONNECTION} {CONNECTION.raw} {attrs.asdict(CONNECTION)}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(CONNECTION)


def test_signed_links_are_not_shown() -> None:
    """A repr does not show the avatar's signed link, nor what came as a whole."""
    assert "signed" not in repr(Avatar(AVATAR, "", "https://signed/"))
    assert "whole" not in repr(TranscriptRow("user", raw={"a": "whole"}))


@pytest.mark.parametrize(
    ("room_url", "token", "join_url"),
    [
        ("https://x.daily.co/room", TOKEN, f"https://x.daily.co/room?t={TOKEN}"),
        ("https://x.daily.co/room?lang=de", "ab", "https://x.daily.co/room?lang=de&t=ab"),
        ("https://x.daily.co/room?", "ab", "https://x.daily.co/room?t=ab"),
        ("https://x.daily.co/room#tiles", "ab", "https://x.daily.co/room?t=ab#tiles"),
        ("https://x.daily.co/room?a=%20#tiles", "a b&c=/+", "https://x.daily.co/room?a=%20&t=a%20b%26c%3D%2F%2B#tiles"),
    ],
    ids=count(),
)
def test_join_url(room_url: str, token: str, join_url: str) -> None:
    """The link bears the token as one query parameter, whatever the room's URL has already."""
    assert Connection(room_url, Secret(token), AVATAR).join_url == join_url


def detail(*rows: TranscriptRow) -> ConversationDetail:
    return ConversationDetail(
        id=AVATAR,
        created_at=datetime(2026, 3, 10, tzinfo=UTC),
        created_at_text="",
        duration_text="",
        avatar=Avatar(AVATAR, "", ""),
        scenario_id=SCENARIO,
        recording=RecordingStatus(has_recording=False, is_ready=False, status_text=""),
        transcript_rows=rows,
    )


ROWS = (
    TranscriptRow("user", "Hi", "greeting"),
    TranscriptRow("assistant", "Hello!\nHow are you?", "greeting"),
    TranscriptRow("assistant", None, "look_up", tool_calls=[{"name": "über"}]),
    TranscriptRow("tool", {"rows": [1, None]}, "look_up", tool_call_id="call-1"),
    TranscriptRow("narrator", "Music.", None),
    TranscriptRow("assistant", "Bye.", "greeting", tool_calls=[]),
    TranscriptRow("user", "", "greeting"),
)


def test_transcript_by_node() -> None:
    """Rows are grouped as the nodes were visited; one that is come back to has a turn each time."""
    turns = detail(*ROWS).transcript_by_node()
    assert [(turn.node_id, len(turn.rows)) for turn in turns] == [
        ("greeting", 2), ("look_up", 2), (None, 1), ("greeting", 2)
    ]  # fmt: skip
    assert detail().transcript_by_node() == ()


@given(st.lists(st.builds(TranscriptRow, st.just("user"), st.text(), st.sampled_from(["a", "b", None]))))
def test_turns_lose_no_row(rows: list[TranscriptRow]) -> None:
    """The turns are the rows, in order, and no two neighbours are of the same node."""
    turns = detail(*rows).transcript_by_node()
    assert [row for turn in turns for row in turn.rows] == rows
    assert all(one.node_id != other.node_id for one, other in pairwise(turns))


def test_transcript_text() -> None:
    """For people: a heading a node, `role: text` a row, further lines indented, structures as JSON."""
    assert detail(*ROWS).transcript_text().split("\n") == [
        "[greeting]",
        "user: Hi",
        "assistant: Hello!",
        "    How are you?",
        "",
        "[look_up]",
        'assistant: [{"name":"über"}]',
        'tool: {"rows":[1,null]}',
        "",
        "narrator: Music.",
        "",
        "[greeting]",
        "assistant: Bye. []",
        "user: ",
    ]
    assert detail().transcript_text() == ""


@pytest.mark.parametrize(
    ("content", "text"), [(None, ""), ("", ""), ("a\n", "a\n"), ({"ä": [1]}, '{"ä":[1]}'), (0, "0"), (False, "false")]
)
def test_a_row_as_text(content: Any, text: str) -> None:
    """A text is itself, nothing is the empty text, and all else is compact JSON."""
    assert TranscriptRow("tool", content).text == text
