"""No argument of a public call escapes into a header, another request, another path or another host."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConfigurationError,
    ConnectRequest,
    SessionManager,
    SessionSnapshot,
)
from tests.support.calls import error_of
from tests.support.misbehaving import API_KEY, REQUEST, SESSION, Seen, Server, answer
from tests.support.storing import read

IDS = (REQUEST.scenario_id, REQUEST.avatar_id)

# Separators, escapes and terminators of HTTP, URLs, JSON and format strings.
PIECES = [
    *("\r\n", "\r", "\n", "\0", "\x0b", "\x85", "\u2028", " ", "\t", "\ud800", "\u200b", "é", "\uff0f", "\u2025"),
    *("X-Injected: 1", "\r\n\r\nGET /injected HTTP/1.1\r\n\r\n", "Authorization: Bearer other", "HTTP/1.1"),
    *("/", "//", "\\", "..", "/../", "%2e%2e", "%2f", "%0d%0a", "%00", "%", ";", "?", "#", "&", "=", "@", ":", "+"),
    *("evil.example", "https://evil.example/", "{session_id}", "{0.__class__}", "{{runtime.x}}", "%s", "${x}"),
    *('"', "'", '","injected":"1', "\\u000d", "]", "}", ",", SESSION, "a", "GET", "POST"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=20)

Sends = Callable[[AkapuluClient, str], Awaitable[object]]
Belongs = Callable[[Seen, str], bool]


def body_of(seen: Seen) -> Any:
    return json.loads(seen.body)


def in_body(made: Callable[[str], dict[str, Any]]) -> Belongs:
    """Return a check that a connect has the text in that member of its body and nowhere else."""
    usual = {"scenario_id", "avatar_id", "record_conversation"}

    def belongs(seen: Seen, text: str) -> bool:
        further = {name: value for name, value in body_of(seen).items() if name not in usual}
        # Empty members are left out.
        return seen.target == "/api/conversations/connect/" and further in ({}, made(text))

    return belongs


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def connecting(**options: Callable[[str], Any]) -> Sends:
    """Return a connect with the text in one argument."""

    async def send(client: AkapuluClient, text: str) -> object:
        made = {name: make(text) for name, make in options.items()}
        ids = [made.pop(name, value) for name, value in zip(("scenario_id", "avatar_id"), IDS, strict=True)]
        return await client.conversations.connect(ConnectRequest(*ids, **made))

    return send


async def recording(client: AkapuluClient, text: str) -> None:
    async with client.conversations.recording(text):
        pass


async def attached(client: AkapuluClient, text: str) -> None:
    async with client.attach(text):
        pass


async def managed(client: AkapuluClient, text: str) -> None:
    async with SessionManager(client) as manager:
        await manager.attach(text)


def never(_: Seen, __: str) -> bool:
    """Nothing is sent unless the text is a UUID, as only one of the pieces is."""
    return False


def queried(name: Callable[[str], str], value: Callable[[str], str]) -> Belongs:
    """Return a check that the query decodes to one name and one value, as passed."""

    def belongs(seen: Seen, text: str) -> bool:
        parts = urlsplit(seen.target)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        return parts.path == "/api/things/" and pairs == [(name(text), value(text))]

    return belongs


def below(seen: Seen) -> bool:
    """Return True if a target has no query and is below the base URL, also when decoded first."""
    segments = unquote(seen.target).replace("\\", "/").split("/")
    return not {"?", "#"} & set(seen.target) and not {".", ".."} & set(segments)


@attrs.frozen
class Place:
    """An argument: how a text is passed in it, and a check of the request that the service saw."""

    send: Sends
    belongs: Belongs
    method: str = "GET"


def posted(send: Sends, belongs: Belongs) -> Place:
    return Place(send, belongs, "POST")


PLACES: Mapping[str, Place] = {
    "updates": Place(lambda client, text: client.conversations.updates(text), never),
    "poller": Place(lambda client, text: client.conversations.poller(text)(), never),
    "detail": Place(lambda client, text: client.conversations.detail(text), never),
    "recording": Place(recording, never),
    "wait_for_recording": Place(lambda client, text: client.conversations.wait_for_recording(text, timeout=1), never),
    "download_recording": Place(lambda client, text: client.conversations.download_recording(text, "x"), never),
    "attach": Place(attached, never),
    "manager's attach": Place(managed, never),
    "scenario_id": posted(connecting(scenario_id=str), never),
    "avatar_id": posted(connecting(avatar_id=str), never),
    "runtime_vars' name": posted(
        connecting(runtime_vars=lambda text: {text: "x"}), in_body(lambda text: {"runtime_vars": {text: "x"}})
    ),
    "runtime_vars' value": posted(
        connecting(runtime_vars=lambda text: {"x": text}), in_body(lambda text: {"runtime_vars": {"x": text}})
    ),
    "stt_keywords": posted(
        connecting(stt_keywords=lambda text: [text]), in_body(lambda text: {"stt_keywords": [text.strip()]})
    ),
    "stt_keywords as one text": posted(
        connecting(stt_keywords=str), in_body(lambda text: {"stt_keywords": words(text)})
    ),
    "extra's name": posted(connecting(extra=lambda text: {text: "x"}), in_body(lambda text: {text: "x"})),
    "extra's value": posted(
        connecting(extra=lambda text: {"x": {"y": text}}), in_body(lambda text: {"x": {"y": text}})
    ),
    "method": Place(
        lambda client, text: client.request(text, "/things/"), lambda seen, _: seen.target == "/api/things/", "any"
    ),
    "path": Place(
        lambda client, text: client.request("GET", f"/{text}"),
        lambda seen, text: seen.target == f"/api/{text}" and below(seen),
    ),
    "param's name": Place(
        lambda client, text: client.request("GET", "/things/", params={text: "x"}), queried(str, lambda _: "x")
    ),
    "param's value": Place(
        lambda client, text: client.request("GET", "/things/", params={"x": text}), queried(lambda _: "x", str)
    ),
    "json": posted(
        lambda client, text: client.request("POST", "/things/", json={text: text}),
        lambda seen, text: seen.target == "/api/things/" and body_of(seen) == {text: text},
    ),
}

USUAL = {
    "GET": {"host", "user-agent", "accept-encoding", "accept", "authorization"},
    "POST": {
        *("host", "user-agent", "accept-encoding", "accept", "authorization"),
        *("connection", "content-type", "content-length"),
    },
}


def in_order(seen: Seen) -> bool:
    """Return True if a request has the usual headers, with the key, and no other."""
    usual = USUAL["GET"] if seen.method in {"GET", "HEAD"} else USUAL["POST"]
    return seen.headers.keys() == usual and seen.headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.parametrize("name", PLACES)
@given(text=texts)
@example(text="\r\nX-Injected: 1")
@example(text="../../scenarios/delete/")
@example(text=f"{SESSION}\n")
@example(text="a?b")
@example(text="\ud800")
async def test_argument_stays_in_its_place(name: str, text: str) -> None:
    """Any text is refused before anything is sent, or there is one request with the text in its place alone."""
    place = PLACES[name]
    async with Server(answer({})) as server, AkapuluClient(API_KEY, base_url=server.base_url) as client:
        error: Exception | None = None
        try:
            await place.send(client, text)
        except AkapuluError as raised:
            error = raised
        sent = list(server.requests)
    if isinstance(error, ConfigurationError):
        assert sent == []
        return
    if place.belongs is never:
        assert text.lower() == SESSION  # which is an id
        return
    (seen,) = sent
    assert seen.method == place.method or (place.method == "any" and seen.method == text.upper())
    assert in_order(seen), seen
    assert place.belongs(seen, text), seen


@given(text=texts)
@example(text="\r\nX-Injected: 1")
@pytest.mark.shows_secrets  # the keys are words that occur elsewhere too
async def test_key_stays_in_its_header(text: str) -> None:
    """An accepted key is sent as it is, stripped of white space, and adds no header."""
    async with Server(answer({})) as server:
        try:
            client = AkapuluClient(text, base_url=server.base_url)
        except ConfigurationError:
            return
        async with client:
            await client.request("GET", "/things/")
    (seen,) = server.requests
    assert seen.headers["authorization"] == f"Bearer {text.strip()}"
    assert seen.headers.keys() == USUAL["GET"]


@given(text=texts)
@example(text="/{session_id}/../x/")
async def test_recordings_path_stays_a_path(text: str) -> None:
    """An accepted template leads to its own path with the conversation's id, and nowhere else."""
    template = f"/{text}{{session_id}}/{text}"
    async with Server(answer({})) as server:
        try:
            client = AkapuluClient(API_KEY, base_url=server.base_url, recording_path=template)
        except ConfigurationError:
            return
        async with client:
            await error_of(read(client))
    assert {seen.target for seen in server.requests} == {f"/api{template.replace('{session_id}', SESSION)}"}
    assert all(in_order(seen) and below(seen) for seen in server.requests)


@given(text=texts)
def test_base_url_stays_where_it_says(text: str) -> None:
    """An accepted base URL stays at its host: an appended path cannot send the key elsewhere."""
    try:
        client = AkapuluClient(API_KEY, base_url=f"https://akapulu.example/{text}")
    except ConfigurationError:
        return
    parts = urlsplit(client.base_url + "/conversations/connect/")
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "akapulu.example", "", "")
    assert not re.search(r"[^!-~]", client.base_url)


SNAPSHOT = {"began_at": "2026-03-10T18:10:02+00:00", "elapsed": {"connecting": 0.0}, "end_reason": None}


@given(text=texts)
@example(text=SESSION)
def test_snapshot_takes_only_ids(text: str) -> None:
    """The conversation of a stored snapshot is an id, or the snapshot is refused."""
    try:
        taken = SessionSnapshot.from_json({**SNAPSHOT, "session_id": text})
    except ConfigurationError:
        return
    assert taken.session_id == text.lower()
    assert re.fullmatch("[0-9a-f-]{36}", taken.session_id)
