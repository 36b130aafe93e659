"""The API answers every request as documented."""

import json
from random import Random
from typing import Any

import pytest

from akapulu_async.simulator.api import Api
from akapulu_async.simulator.conversation import ConversationEnd
from akapulu_async.simulator.requests import Call, match
from akapulu_async.simulator.storage import Storage

UNKNOWN = "33333333-3333-4333-8333-333333333333"
KEY = {"Authorization": "Bearer simulator-key"}


@pytest.fixture
def api(scene: Any) -> Any:
    """Return a function that makes an API and returns its scene and a function that asks it."""

    def opened(**options: Any) -> Any:
        opened_scene = scene(**options)
        storage = Storage(Random(1), url_lifetime=100, ranges=opened_scene.settings.recording_ranges)
        answers = Api(opened_scene.world, storage, opened_scene.settings)

        def ask(target: str, now: float = 0.0, method: str = "GET", headers: Any = KEY, body: Any = b"") -> Any:
            return answers.answer(Call(method, target, match(target), headers, body), now)

        return opened_scene, ask

    return opened


def code(answer: Any) -> Any:
    body = json.loads(answer.body)
    assert body["error"]
    return answer.status, body["error_code"]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic simulator-key", "simulator-key"])
def test_every_call_needs_the_key(api: Any, authorization: str) -> None:
    """Without the key every path gets 401 AUTH_INVALID."""
    _, ask = api()
    for target in ("/api/conversations/connect/", f"/api/conversations/{UNKNOWN}/", "/api/else/"):
        answer = ask(target, headers={"Authorization": authorization})
        assert code(answer) == (401, "AUTH_INVALID")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_is_known_in_either_case(api: Any) -> None:
    """The scheme is accepted in any case."""
    _, ask = api()
    assert ask(f"/api/conversations/{UNKNOWN}/", headers={"Authorization": "bearer simulator-key"}).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_slash_is_a_301(api: Any, method: str) -> None:
    """A path without the slash is redirected to the one with it, for any method, and the query is kept."""
    _, ask = api()
    answer = ask("/api/conversations/connect?a=1", method=method)
    assert (answer.status, answer.headers["Location"]) == (301, "/api/conversations/connect/?a=1")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/scenarios/", (404, "NOT_FOUND")),
        ("GET", f"/api/conversations/{UNKNOWN}/", (404, "CONVERSATION_NOT_FOUND")),
        ("GET", f"/api/conversations/{UNKNOWN}/updates/", (404, "CONVERSATION_NOT_FOUND")),
        ("GET", f"/api/conversations/{UNKNOWN}/recording/", (404, "CONVERSATION_NOT_FOUND")),
        ("GET", "/api/conversations/12/updates/", (400, "INVALID_ID")),
        ("GET", "/api/conversations/connect/", (405, "METHOD_NOT_ALLOWED")),
        ("POST", f"/api/conversations/{UNKNOWN}/updates/", (405, "METHOD_NOT_ALLOWED")),
        ("POST", "/api/conversations/connect/", (400, "INVALID_JSON")),
    ],
)
def test_refusals(api: Any, method: str, target: str, expected: Any) -> None:
    """Each wrong call has its status and code."""
    _, ask = api()
    assert code(ask(target, method=method)) == expected


def test_a_refused_method_names_the_allowed(api: Any) -> None:
    """A 405 has an `Allow` header."""
    _, ask = api()
    assert ask("/api/conversations/connect/").headers["Allow"] == "POST"
    assert ask(f"/api/conversations/{UNKNOWN}/recording/", method="PUT").headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("headers", [KEY, {}])
def test_django_errors_come_before_the_key(api: Any, headers: Any) -> None:
    """With `django_errors`, wrong paths and ids get an HTML 404 and wrong methods an empty 405, whatever the key."""
    _, ask = api(django_errors=True)
    for target in ("/api/scenarios/", "/api/else", "/api/conversations/12/updates/", "/api/conversations/12/updates"):
        answer = ask(target, headers=headers)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert answer.body.startswith(b"<!doctype html>")
    answer = ask(f"/api/conversations/{UNKNOWN}/recording/", method="PUT", headers=headers)
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "GET, HEAD", b"")
    assert ask(f"/api/conversations/{UNKNOWN}", method="PUT", headers=headers).status == 301


def test_django_errors_change_nothing_else(api: Any) -> None:
    """Behind a good path, id and method, errors are JSON, and the key is needed."""
    _, ask = api(django_errors=True)
    assert code(ask(f"/api/conversations/{UNKNOWN}/", headers={})) == (401, "AUTH_INVALID")
    assert code(ask(f"/api/conversations/{UNKNOWN}/")) == (404, "CONVERSATION_NOT_FOUND")
    assert code(ask("/api/conversations/connect/", method="POST")) == (400, "INVALID_JSON")


def test_a_conversation_from_connect_to_detail(api: Any, connect_body: Any) -> None:
    """A connected conversation has updates and a detail."""
    _, ask = api()
    connected = ask("/api/conversations/connect/", method="POST", body=connect_body())
    identifier = json.loads(connected.body)["conversation_session_id"]
    assert json.loads(ask(f"/api/conversations/{identifier}/updates/", 11).body)["call_is_ready"]
    assert json.loads(ask(f"/api/conversations/{identifier.upper()}/", 11).body)["id"] == identifier


@pytest.mark.parametrize(
    ("after_end", "status", "expected"),
    [
        ("not_found", 404, ("error_code", "CONVERSATION_NOT_FOUND")),
        ("gone", 410, ("error_code", "CONVERSATION_ENDED")),
        ("text", 200, ("latest_update_text", "duration_limit_reached")),
        ("unchanged", 200, ("latest_update_text", "bot ready")),
    ],
)
def test_four_ways_to_answer_after_the_end(api: Any, after_end: str, status: int, expected: Any) -> None:
    """Polls after the end are answered as `after_end` says; the detail stays available."""
    scene, ask = api(after_end=after_end)
    conversation = scene.connect()
    scene.world.end(conversation.id, 12, ConversationEnd.DURATION_LIMIT_REACHED)
    answer = ask(f"/api/conversations/{conversation.id}/updates/", 99)
    name, value = expected
    assert (answer.status, json.loads(answer.body)[name]) == (status, value)
    assert ask(f"/api/conversations/{conversation.id}/", 99).status == 200


def recorded(scene: Any) -> Any:
    conversation = scene.connect(record_conversation=True)
    scene.world.end(conversation.id, 21, ConversationEnd.USER_LEFT)
    return f"/api/conversations/{conversation.id}/recording/"


def test_a_recording_that_is_not_ready(api: Any) -> None:
    """Before it is ready, the answer is JSON with the status and a code."""
    scene, ask = api()
    answer = ask(recorded(scene), 23.9)
    assert code(answer) == (409, "RECORDING_NOT_READY")
    assert json.loads(answer.body)["status_text"] == "Recording processing"
    scene, ask = api(recording_not_ready_status=202)
    assert ask(recorded(scene), 23.9).status == 202


def test_no_recording_is_a_404(api: Any) -> None:
    """A conversation that is not recorded has no recording, before its end and after."""
    scene, ask = api()
    target = f"/api/conversations/{scene.connect().id}/recording/"
    assert code(ask(target, 12)) == code(ask(target, 500)) == (404, "RECORDING_NOT_FOUND")


def test_a_recording_in_three_forms(api: Any) -> None:
    """It is delivered as a redirect, as bytes, or as JSON."""
    scene, ask = api(recording_form="redirect")
    answer = ask(recorded(scene), 24)
    assert (answer.status, answer.headers["Location"].startswith("/recordings/")) == (302, True)
    scene, ask = api(recording_form="bytes")
    answer = ask(recorded(scene), 24)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "video/mp4")
    scene, ask = api(recording_form="json")
    answer = ask(recorded(scene), 24)
    assert (answer.status, json.loads(answer.body)["is_ready"]) == (200, True)


def test_a_recordings_size_can_be_chosen(api: Any) -> None:
    """It is chosen in bytes or, for a WAV file, in seconds, by default those of the call."""
    scene, ask = api(recording_form="bytes", recording_format="wav")
    assert ask(recorded(scene), 24).size == 44 + 10 * 8000
    scene, ask = api(recording_form="bytes", recording_format="wav", recording_seconds=2)
    assert ask(recorded(scene), 24).size == 44 + 2 * 8000
    scene, ask = api(recording_form="bytes", recording_size=7777)
    assert ask(recorded(scene), 24, headers=KEY | {"Range": "bytes=0-9"}).headers["Content-Range"].endswith("/7777")


def test_one_format_behind_every_way(api: Any) -> None:
    """The bytes and the signed URL have the chosen format, in the URL's path and the file's name, too."""
    for kind, content_type in (("mp4", "video/mp4"), ("wav", "audio/wav")):
        scene, ask = api(recording_form="bytes", recording_format=kind)
        answer = ask(recorded(scene), 24)
        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Content-Disposition"].endswith(f'.{kind}"')
        scene, ask = api(recording_format=kind)
        assert f".{kind}?" in ask(recorded(scene), 24).headers["Location"]
