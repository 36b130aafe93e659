"""Requests lead to routes, and connect requests are checked as documented."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.answers import RefusedError
from akapulu_async.simulator.requests import METHODS, Match, match, parse_connect_request


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/conversations/connect/", Match("connect")),
        ("/api/conversations/connect?a=/", Match("connect", None, slash=False)),
        ("/api/conversations/AB-1/updates/?x=1", Match("updates", "ab-1")),
        ("/api/conversations/ab/updates", Match("updates", "ab", slash=False)),
        ("/api/conversations/ab/", Match("detail", "ab")),
        ("/api/conversations/ab/recording/", Match("recording", "ab")),
        ("/api/conversations/ab/else/", Match()),
        ("/api/conversations/ab/updates/more/", Match()),
        ("/api/conversations/", Match()),
        ("/api/conversations//updates/", Match()),
        ("/conversations/ab/", Match()),
        ("*", Match()),
        ("", Match()),
    ],
)
def test_where_a_target_leads(target: str, expected: Any) -> None:
    """Known paths lead to their route and id, with or without the slash; others to no route."""
    assert match(target) == expected


@given(st.text())
def test_any_target_leads_somewhere_or_nowhere(target: str) -> None:
    """Any target matches a known route or none."""
    assert match(target).route in {None, *METHODS}


def refusal(body: Any) -> Any:
    with pytest.raises(RefusedError) as caught:
        parse_connect_request(body)
    return caught.value.refusal


def test_the_defaults_are_the_documented_ones(connect_body: Any) -> None:
    """Fields left out have their documented defaults."""
    request = parse_connect_request(connect_body())
    assert not request.wait_for_client_ready
    assert not request.record_conversation
    assert (request.runtime_vars, request.stt_keywords) == ({}, ())


def test_unknown_fields_are_kept(connect_body: Any) -> None:
    """Unknown fields are accepted and kept."""
    assert parse_connect_request(connect_body(new_field=[1])).raw["new_field"] == [1]


def test_keywords_come_as_a_list_or_a_text(connect_body: Any) -> None:
    """Five keywords are accepted in both forms."""
    as_list = parse_connect_request(connect_body(stt_keywords=["a", "b", "c", "d", "e"]))
    as_text = parse_connect_request(connect_body(stt_keywords="a, b,c ,d,e,"))
    assert as_list.stt_keywords == as_text.stt_keywords == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scenario_id": "x"}, "scenario_id"),
        ({"scenario_id": None}, "scenario_id"),
        ({"scenario_id": "{11111111-1111-4111-8111-111111111111}"}, "scenario_id"),
        ({"avatar_id": 5}, "avatar_id"),
        ({"runtime_vars": {"a": 1}}, "runtime_vars"),
        ({"runtime_vars": []}, "runtime_vars"),
        ({"stt_keywords": ["a"] * 6}, "5 keywords"),
        ({"stt_keywords": "a,b,c,d,e,f"}, "5 keywords"),
        ({"stt_keywords": [1]}, "stt_keywords"),
        ({"stt_keywords": None}, "stt_keywords"),
        ({"record_conversation": "yes"}, "record_conversation"),
        ({"wait_for_client_ready": 1}, "wait_for_client_ready"),
        ({"voice_only_mode": "no"}, "voice_only_mode"),
    ],
)
def test_wrong_fields_get_400_and_are_named(connect_body: Any, fields: Any, named: str) -> None:
    """A field of the wrong form is refused with 400 and its name."""
    refused = refusal(connect_body(**fields))
    assert (refused.status, refused.error_code) == (400, "INVALID_REQUEST")
    assert named in refused.error


@pytest.mark.parametrize("name", ["scenario_id", "avatar_id"])
def test_the_ids_are_required(connect_body: Any, name: str) -> None:
    """Without one of the two ids a connect is refused."""
    fields = json.loads(connect_body())
    del fields[name]
    assert refusal(json.dumps(fields).encode()).error == f"{name} is required."


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 100_000])
def test_what_is_not_json_gets_400(body: Any) -> None:
    """Truncated, undecodable, non-standard and too deeply nested JSON is refused."""
    assert refusal(body).error_code == "INVALID_JSON"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_the_body_is_an_object(body: Any) -> None:
    """Any other JSON value is refused."""
    assert refusal(body).error == "The body must be a JSON object."


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) |
                    st.dictionaries(st.text() | st.just("scenario_id"), inner), max_leaves=10))  # fmt: skip
def test_no_json_breaks_it(value: Any) -> None:
    """Any JSON is accepted or refused."""
    with contextlib.suppress(RefusedError):
        assert parse_connect_request(json.dumps(value).encode()).raw == value
