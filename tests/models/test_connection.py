"""Connect requests are checked when built, and connections keep their token secret."""

import copy
import json
import math
import pickle
from collections.abc import Iterable
from itertools import count
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

from akapulu_async.errors import ConfigurationError
from akapulu_async.models import connection as module
from akapulu_async.models.connection import MAX_STT_KEYWORDS, Connection, ConnectRequest
from akapulu_async.secret import Secret
from tests.support.frozen import check_documented, check_frozen

SCENARIO = "11111111-1111-4111-8111-11111111111a"
AVATAR = "22222222-2222-4222-8222-22222222222b"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"


def request(**options: Any) -> ConnectRequest:
    return ConnectRequest(SCENARIO, AVATAR, **options)


def test_ids_are_checked() -> None:
    """Both ids become canonical, or are refused by name."""
    assert ConnectRequest(SCENARIO.upper(), UUID(AVATAR)) == request()
    with pytest.raises(ConfigurationError, match=r"^scenario_id must be a UUID .*, not 'abc'$"):
        ConnectRequest("abc", AVATAR)
    with pytest.raises(ConfigurationError, match=r"^avatar_id must be a UUID .*, not 7$"):
        ConnectRequest(SCENARIO, 7)  # type: ignore[arg-type]


def test_the_least_request() -> None:
    """Unset fields are left to the service, except whether to record."""
    assert request().to_json() == {"scenario_id": SCENARIO, "avatar_id": AVATAR, "record_conversation": False}


def test_the_full_request() -> None:
    """Every argument has its field."""
    full = request(
        runtime_vars={"name": "Ada"},
        stt_keywords=["Akapulu", "Daily"],
        record_conversation=True,
        wait_for_client_ready=False,
        voice_only_mode=False,
        show_ai_label=True,
        extra={"later": {"a": [1, 2.5, None, "x"]}},
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
    """A comma-separated text is split; blanks around keywords and empty keywords are dropped."""
    assert request(stt_keywords=given_keywords).stt_keywords == sent


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"stt_keywords": "a,b,c,d,e,f"}, "stt_keywords must be at most 5, not 6"),
    ({"stt_keywords": ["a"] * 7}, "stt_keywords must be at most 5, not 7"),
    ({"stt_keywords": 7}, "stt_keywords must be a text or a list of texts, not int"),
    ({"stt_keywords": None}, "stt_keywords must be a text or a list of texts, not NoneType"),
    ({"stt_keywords": ["a", 1]}, "stt_keywords must be a text, not 1"),
    ({"stt_keywords": b"a"}, "stt_keywords must be a text, not 97"),
    ({"stt_keywords": "a\nb"}, r"stt_keywords must not contain the control character '\n'"),
    ({"stt_keywords": ["a\x7f"]}, r"stt_keywords must not contain the control character '\x7f'"),
    ({"stt_keywords": ["a\ud800"]}, r"stt_keywords must not contain the control character '\ud800'"),
    ({"runtime_vars": [("a", "b")]}, "runtime_vars must be a mapping of names to texts, not list"),
    ({"runtime_vars": None}, "runtime_vars must be a mapping of names to texts, not NoneType"),
    ({"runtime_vars": {1: "a"}}, "runtime_vars: a name must be a text, not 1"),
    ({"runtime_vars": {"a\n": "a"}}, r"runtime_vars: a name must not contain the control character '\n'"),
    ({"runtime_vars": {"n": 7}}, "runtime_vars['n'] must be a text, such as '7', not 7"),
    ({"runtime_vars": {"n": 1.5}}, "runtime_vars['n'] must be a text, such as '1.5', not 1.5"),
    ({"runtime_vars": {"n": True}}, "runtime_vars['n'] must be a text, such as 'true', not True"),
    ({"runtime_vars": {"n": False}}, "runtime_vars['n'] must be a text, such as 'false', not False"),
    ({"runtime_vars": {"n": 10**5000}}, "runtime_vars['n'] must be a text, such as '<int>', not <int>"),
    ({"runtime_vars": {10**5000: "a"}}, "runtime_vars: a name must be a text, not <int>"),
    ({"runtime_vars": {TOKEN: 7}}, "runtime_vars['***'] must be a text, such as '7', not 7"),
    ({"runtime_vars": {"n": None}}, "runtime_vars['n'] must be a text, not None"),
    ({"runtime_vars": {"n": ["a"]}}, "runtime_vars['n'] must be a text, not ['a']"),
    ({"runtime_vars": {"n": Secret("a")}}, "runtime_vars['n'] must be a text, not ***"),
    ({"runtime_vars": {"n": "a\x00"}}, r"runtime_vars['n'] must not contain the control character '\x00'"),
    ({"runtime_vars": {"n": "\x1b[2J"}}, r"runtime_vars['n'] must not contain the control character '\x1b'"),
    ({"runtime_vars": {"n": "\x85"}}, r"runtime_vars['n'] must not contain the control character '\x85'"),
    ({"runtime_vars": {"n": "\udfff"}}, r"runtime_vars['n'] must not contain the control character '\udfff'"),
    ({"record_conversation": 1}, "record_conversation must be True or False, not 1"),
    ({"record_conversation": 10**5000}, "record_conversation must be True or False, not <int>"),
    ({"record_conversation": "yes"}, "record_conversation must be True or False, not 'yes'"),
    ({"record_conversation": None}, "record_conversation must be True or False, not None"),
    ({"show_ai_label": "no"}, "show_ai_label must be True, False or None, not 'no'"),
    ({"wait_for_client_ready": 0}, "wait_for_client_ready must be True, False or None, not 0"),
    ({"voice_only_mode": 0}, "voice_only_mode must be True, False or None, not 0"),
    ({"extra": [1]}, "extra must be a mapping of field names to values, not list"),
    ({"extra": None}, "extra must be a mapping of field names to values, not NoneType"),
    ({"extra": {1: "a"}}, "extra: a name must be a text, not 1"),
    ({"extra": {None: "a"}}, "extra: a name must be a text, not None"),
    ({"extra": {"a\x00": 1}}, r"extra: a name must not contain the control character '\x00'"),
    ({"extra": {"a": {1, 2}}}, "extra must be writable as JSON: Object of type set is not JSON serializable"),
    ({"extra": {"a": Secret("b")}}, "extra must be writable as JSON: Object of type Secret is not JSON serializable"),
    ({"extra": {"scenario_id": AVATAR}}, "extra must not contain scenario_id: use the arguments of these names"),
    (
        {"extra": {"voice_only_mode": None, "runtime_vars": {}, "new": 1}},
        "extra must not contain runtime_vars, voice_only_mode: use the arguments of these names",
    ),
]


@pytest.mark.parametrize(("options", "text"), REFUSED, ids=count())
def test_what_is_refused(options: dict[str, Any], text: str) -> None:
    """An argument that cannot be sent is refused by name when the request is built."""
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
    """Values that JSON cannot express are refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"^extra must be writable as JSON: "):
        request(extra={"a": {"b": [value]}})


def test_prompts_may_have_paragraphs() -> None:
    """Line breaks and tabs are allowed in runtime variables only."""
    text = "one\r\n\ttwo\n"
    assert request(runtime_vars={"prompt": text}).to_json()["runtime_vars"] == {"prompt": text}


def test_arguments_beyond_the_ids_are_named() -> None:
    """Options are keyword-only, so that a new one cannot change the meaning of an old call."""
    with pytest.raises(TypeError, match="positional"):
        ConnectRequest(SCENARIO, AVATAR, {})  # type: ignore[call-arg]


def test_callers_changes_do_not_reach_a_request() -> None:
    """Later changes to the arguments, or to a returned body, do not change a request."""
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
    """Requests compare and hash by value, and can be pickled, copied and evolved."""
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
    wait_for_client_ready=st.none() | st.booleans(),
    voice_only_mode=st.none() | st.booleans(),
    show_ai_label=st.none() | st.booleans(),
    extra=st.dictionaries(texts.filter(lambda name: name not in named_fields), json_values, max_size=3)
    | st.fixed_dictionaries({"custom_rtvi_connection": st.booleans()}),
)


def connect_schema() -> Any:
    document = yaml.safe_load((Path(__file__).parents[1] / "support" / "openapi.yaml").read_text(encoding="utf-8"))
    return jsonschema_rs.Draft202012Validator(
        document["components"]["schemas"]["ConnectRequest"], validate_formats=True
    )


SCHEMA = connect_schema()


@given(requests)
def test_bodies_are_what_the_interface_says(built: ConnectRequest) -> None:
    """Every request that can be built has a body that the published schema allows."""
    body = built.to_json()
    SCHEMA.validate(body)
    assert json.loads(json.dumps(body, allow_nan=False)) == body


def test_the_schema_can_fail() -> None:
    """The schema refuses wrong bodies."""
    for wrong in ({"scenario_id": "x"}, {"stt_keywords": ["a"] * 6}, {"runtime_vars": {"a": 1}}):
        assert not SCHEMA.is_valid({**request().to_json(), **wrong})


CONNECTION = Connection("https://x.daily.co/room", Secret(TOKEN), AVATAR, raw={"token": Secret(TOKEN)})


def test_models_are_frozen() -> None:
    """No field of a request or a connection can be changed, and none added."""
    check_frozen(module, request(), CONNECTION)


def test_fields_are_documented() -> None:
    """`help()` explains each field."""
    check_documented(module)


def test_a_connection_does_not_show_its_token() -> None:
    """Neither a connection's repr nor its raw answer shows the token, and it cannot be pickled."""
    assert "***" in repr(CONNECTION)
    assert "eyJ" not in f"{CONNECTION!r} {CONNECTION} {CONNECTION.raw} {attrs.asdict(CONNECTION)}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(CONNECTION)


def test_what_a_browser_needs() -> None:
    """A browser gets room, token in plain text and id, as JSON, under the names that the vendor's page reads."""
    assert json.loads(json.dumps(CONNECTION.to_browser())) == {
        "room_url": "https://x.daily.co/room",
        "token": TOKEN,
        "conversation_session_id": AVATAR,
    }


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
    """The link has the token as one query parameter, whatever the room's URL contains."""
    assert Connection(room_url, Secret(token), AVATAR).join_url == join_url
