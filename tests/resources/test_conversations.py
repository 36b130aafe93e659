"""Requests about conversations, over real sockets."""

import asyncio
import gc
import json
import weakref
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest

from akapulu_async import (
    AkapuluClient,
    ApiError,
    AuthenticationError,
    ConcurrencyLimitError,
    ConfigurationError,
    Connection,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    MinutesLimitError,
    NotFoundError,
    RecordingTimeoutError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    Timeouts,
    TransportError,
)
from akapulu_async.resources import conversations as module
from akapulu_async.resources.conversations import Conversations
from akapulu_async.simulator import Simulator
from tests.support.calls import error_of
from tests.support.misbehaving import (
    CONNECTION,
    DETAIL,
    OTHER_SESSION,
    PATIENCE,
    QUICK,
    REQUEST,
    SESSION,
    TOKEN,
    UPDATE,
    Behaviour,
    Server,
    answer,
    client_of,
    close,
    connect,
    gated,
    hang,
    http,
    poll,
    raw,
    reset,
)
from tests.support.storing import redirect

NOT_YET = {**DETAIL, "recording": {"has_recording": True, "is_ready": False, "status_text": "Processing"}}


async def test_conversation_from_connect_to_recording(tmp_path: Path) -> None:
    """A conversation on the simulator goes from its connect to the download of its recording."""
    async with (
        Simulator(speed=0, seed=1, recording_delay=5, recording_size=100_000) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url, retry=QUICK) as client,
    ):
        request = attrs.evolve(REQUEST, record_conversation=True, runtime_vars={"name": "Ada"}, stt_keywords=("a", "b"))
        connection = await client.conversations.connect(request)
        session_id = connection.conversation_session_id
        assert connection.join_url == f"{connection.room_url}?t={connection.token.reveal()}"
        assert not (await client.conversations.updates(session_id)).call_is_ready
        simulator.advance(60)
        assert (await client.conversations.updates(UUID(session_id))).call_is_ready
        simulator.end(session_id)
        detail = await client.conversations.detail(session_id.upper())
        assert (detail.id, detail.recording.is_ready) == (session_id, False)
        assert detail.created_at.tzinfo is not None
        simulator.advance(10)
        target = await client.conversations.download_recording(session_id, tmp_path / "call.mp4", wait=5)
        assert target.stat().st_size == 100_000


async def test_connect_sends_what_was_asked() -> None:
    """A connect's body has the request's fields, and its answer becomes a Connection."""
    request = attrs.evolve(REQUEST, runtime_vars={"name": "Ada"}, show_ai_label=True, extra={"later": 1})
    async with Server(answer(CONNECTION)) as server, client_of(server) as client:
        connection = await client.conversations.connect(request)
    (seen,) = server.requests
    assert (seen.method, seen.target) == ("POST", "/api/conversations/connect/")
    assert seen.headers["content-type"] == "application/json"
    assert b'"runtime_vars": {"name": "Ada"}' in seen.body
    assert b'"show_ai_label": true' in seen.body
    assert b'"later": 1' in seen.body
    assert b"wait_for_client_ready" not in seen.body, "the service's default may change"
    assert connection.token.reveal() == TOKEN
    assert connection.conversation_session_id == SESSION


async def test_connect_answered_with_nonsense_says_what_it_may_have_done() -> None:
    """The error of a connect with a bad answer says that the conversation may exist."""
    async with Server(answer({"token": TOKEN})) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert isinstance(error, InvalidResponseError)
    assert error.__notes__ == ["The conversation may exist and hold a slot."]


def test_requests_name_their_conversation() -> None:
    """A request has its conversation, and its path without the id for logs and figures."""
    request = module.update_request(SESSION)
    assert (request.path, request.session_id) == (f"/conversations/{SESSION}/updates/", SESSION)
    assert request.template == "/conversations/{session_id}/updates/"


async def test_connect_answered_with_nonsense_names_its_conversation() -> None:
    """If the bad answer has the conversation's id, a note names it; an id that is not a UUID is not quoted."""
    script = (answer({**CONNECTION, "room_url": 5}), answer({**CONNECTION, "conversation_session_id": "5"}))
    async with Server(*script) as server, client_of(server) as client:
        errors = [await error_of(connect(client)) for _ in range(2)]
    assert [error.__notes__ for error in errors] == [
        [f"Conversation {SESSION} exists and holds a slot until it ends."],
        ["The conversation may exist and hold a slot."],
    ]
    assert all(isinstance(error, InvalidResponseError) and error.outcome_unknown for error in errors)


async def test_connect_refused_at_length_holds_no_slot() -> None:
    """A refusal that is too large to be read is an invalid answer, but it did nothing."""
    large = raw(http(403, {}, length=9 * 2**20))
    async with Server(large) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert isinstance(error, InvalidResponseError)
    assert not error.outcome_unknown
    assert not hasattr(error, "__notes__")


async def test_connects_damaged_answer_does_not_show_its_token() -> None:
    """The error does not show a token that is in the wrong field."""
    damaged = answer({**CONNECTION, "token": None, "tokn": "room-0123456789"})
    async with Server(damaged) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert isinstance(error, InvalidResponseError)
    assert error.field == "token"
    assert "room-0123456789" not in f"{error} {vars(error)}"


@pytest.mark.parametrize(
    ("options", "kind"), [({"max_concurrent": 0}, ConcurrencyLimitError), ({"minutes": 0}, MinutesLimitError)]
)
async def test_limits_of_the_account_have_their_errors(options: dict[str, Any], kind: type[ApiError]) -> None:
    """An account without free slots or minutes has its own error, after one request."""
    async with (
        Simulator(speed=0, **options) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url, retry=QUICK) as client,
    ):
        error = await error_of(connect(client))
        assert type(error) is kind
        assert simulator.count("connect") == 1


async def test_lost_connect_names_its_scenario() -> None:
    """The error of a lost connect names scenario and avatar, and retry loops do not catch it."""
    async with Server(reset) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert isinstance(error, ConnectOutcomeUnknownError)
    assert (error.scenario_id, error.avatar_id) == (REQUEST.scenario_id, REQUEST.avatar_id)
    assert not isinstance(error, TransportError | TimeoutError | OSError)
    assert isinstance(error.__cause__, TransportError)


@pytest.mark.parametrize(
    "session_id",
    ["", "1", "../../scenarios", f"{SESSION}/../{OTHER_SESSION}", f"{SESSION}\n", 5, 10**5000],
    ids=count(),
)
async def test_id_that_is_no_uuid_is_refused(session_id: Any) -> None:
    """Only UUIDs are put into paths."""
    async with Server(answer(UPDATE)) as server, client_of(server) as client:
        conversations = client.conversations
        for call in (
            conversations.updates,
            conversations.detail,
            lambda wrong: conversations.wait_for_recording(wrong, timeout=1),
            lambda wrong: conversations.download_recording(wrong, "call.mp4"),
        ):
            error = await error_of(call(session_id))
            assert type(error) is ConfigurationError
            assert str(error).startswith("session_id must be a UUID")
        with pytest.raises(ConfigurationError, match=r"^session_id must be a UUID"):
            conversations.recording(session_id)
    assert server.connections == 0


UNUSABLE: list[tuple[str, Callable[[Conversations, Any], Awaitable[object]], list[Any]]] = [
    ("request", lambda conversations, wrong: conversations.connect(wrong), [None, SESSION, {}]),
    (
        "on_late_answer",
        lambda conversations, wrong: conversations.connect(REQUEST, on_late_answer=wrong),
        [0, "on_late_answer"],
    ),
    ("attempts", lambda conversations, wrong: conversations.updates(SESSION, attempts=wrong), [0, 1.0, "1", True]),
    (
        "path",
        lambda conversations, wrong: conversations.download_recording(SESSION, wrong),
        [None, 5, b"call.mp4", ["call.mp4"], 10**5000, "\0", "\ud800"],
    ),
    (
        "progress",
        lambda conversations, wrong: conversations.download_recording(SESSION, "unused.mp4", progress=wrong),
        [0, "progress"],
    ),
]


@pytest.mark.parametrize(("name", "call", "bad"), UNUSABLE, ids=[name for name, *_ in UNUSABLE])
async def test_unusable_arguments_are_told(
    name: str, call: Callable[[Conversations, Any], Awaitable[object]], bad: list[Any]
) -> None:
    """A wrong argument is refused by name, before anything is sent."""
    async with Server(answer(UPDATE)) as server, client_of(server) as client:
        for wrong in bad:
            error = await error_of(call(client.conversations, wrong))
            assert type(error) is ConfigurationError
            assert str(error).startswith(f"{name} must be ")
    assert server.requests == []


async def test_unknown_conversation_is_not_found() -> None:
    """A conversation that does not exist is a NotFoundError."""
    async with Simulator(speed=0) as simulator, AkapuluClient(simulator.api_key, base_url=simulator.base_url) as client:
        for call in (client.conversations.updates, client.conversations.detail):
            assert type(await error_of(call(SESSION))) is NotFoundError


# Waiting for a recording


@pytest.mark.parametrize("timeout", [5.0, None])
async def test_wait_ends_when_the_recording_is_ready(timeout: float | None) -> None:
    """The wait checks repeatedly, and returns the detail that says "ready"."""
    async with Server(answer(NOT_YET), answer(NOT_YET), answer(DETAIL)) as server, client_of(server) as client:
        detail = await client.conversations.wait_for_recording(SESSION, timeout=timeout, interval=0.01)
    assert detail.recording.is_ready
    assert len(server.requests) == 3


@pytest.mark.parametrize("interval", [0.01, 60])
async def test_wait_ends_when_patience_does(interval: float) -> None:
    """A recording that is not ready in time raises a RecordingTimeoutError with the service's status text."""
    async with Server(answer(NOT_YET)) as server, client_of(server) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=1, interval=interval))
    assert type(error) is RecordingTimeoutError
    assert isinstance(error, TimeoutError)
    assert "Processing" in str(error)
    assert "record_conversation=True" in str(error)


@pytest.mark.parametrize("timeout", [0, 0.0, -1])
async def test_wait_of_no_time_is_one_look(timeout: float, target: Path) -> None:
    """A wait of no time checks once."""
    film = raw(http(200, {"Content-Type": "video/mp4"}, b"film"))
    async with Server(answer(NOT_YET), answer(DETAIL), answer(DETAIL), film) as server, client_of(server) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=timeout))
        assert type(error) is RecordingTimeoutError
        assert error.status_text == "Processing"
        assert len(server.requests) == 1
        detail = await client.conversations.wait_for_recording(SESSION, timeout=timeout)
        assert detail.recording.is_ready
        await client.conversations.download_recording(SESSION, target, wait=timeout)
    assert target.read_bytes() == b"film"  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": float("nan")}, "timeout must be a number of seconds or None, not nan"),
        ({"timeout": "5"}, "timeout must be a number of seconds or None, not '5'"),
        ({"timeout": 5, "interval": 0}, "interval must be a number of seconds greater than 0, not 0"),
        ({"timeout": 5, "interval": float("nan")}, "interval must be a number of seconds greater than 0, not nan"),
        ({"timeout": 10**400}, "timeout must be a number of seconds or None, not 10"),
        ({"timeout": 10**5000}, "timeout must be a number of seconds or None, not <int>"),
        ({"timeout": 5, "interval": 10**400}, "interval must be a number of seconds greater than 0, not 10"),
    ],
    ids=count(),
)
async def test_unusable_waits_are_told(options: dict[str, Any], words: str) -> None:
    """A wait without an end, or without pauses, is refused before anything is sent."""
    async with Server(answer(NOT_YET)) as server, client_of(server) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, **options))
        (wait, *interval) = options.values()
        if not interval:
            download = client.conversations.download_recording(SESSION, "unused.mp4", wait=wait)
            assert str(await error_of(download)).startswith("wait must be a number of seconds or None, not ")
    assert type(error) is ConfigurationError
    assert str(error).startswith(words)
    assert server.requests == []


OUTAGE: list[Behaviour] = [
    close,
    answer(body=b"<html>502 Bad Gateway</html>", status=502),
    answer({"error": "slow down"}, 429, {"Retry-After": "0"}),
    answer({"error": "unavailable"}, 503),
    answer(body=b"", status=404),
    answer(body=b"<html>We'll be back soon</html>"),
]


async def test_wait_outlasts_an_outage(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks, and the download after them, may fail until the timeout."""
    monkeypatch.setattr(module, "RECORDING_INTERVAL", 0.01)
    film = raw(http(200, {"Content-Type": "video/mp4"}, b"film"))
    once = RetryPolicy(attempts=1)
    async with Server(answer(NOT_YET), *OUTAGE, answer(DETAIL)) as server, client_of(server, retry=once) as client:
        detail = await client.conversations.wait_for_recording(SESSION, timeout=PATIENCE, interval=0.01)
        assert detail.recording.is_ready
        assert len(server.requests) == len(OUTAGE) + 2
    script = [*OUTAGE, answer(DETAIL), *OUTAGE, answer({"status_text": "almost"}), film]
    async with Server(*script) as server, client_of(server, retry=once) as client:
        await client.conversations.download_recording(SESSION, target, wait=PATIENCE)
        assert len(server.requests) == len(script)
    assert target.read_bytes() == b"film"  # noqa: ASYNC240


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (404, NotFoundError)])
async def test_a_final_refusal_ends_the_wait(status: int, kind: type[ApiError], target: Path) -> None:
    """A refusal that the service wrote, and that no later check changes, is raised at once."""
    async with Server(answer({"error": "no"}, status)) as server, client_of(server) as client:
        assert type(await error_of(client.conversations.wait_for_recording(SESSION, timeout=None))) is kind
        assert type(await error_of(client.conversations.wait_for_recording(SESSION, timeout=PATIENCE))) is kind
    async with Server(answer(DETAIL), answer({"error": "no"}, status)) as server, client_of(server) as client:
        wait = client.conversations.download_recording(SESSION, target, wait=PATIENCE)
        assert type(await error_of(wait)) is kind
        assert len(server.requests) == 2


async def test_a_proxys_refusal_ends_the_wait(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not accept the password is asked once by a wait: more could lock the account."""
    film = redirect("https://storage.example/film")
    async with Server(raw(http(407))) as proxy, Server(answer(DETAIL), film) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AkapuluClient("key", base_url="https://akapulu.example/api") as proxied, client_of(server) as direct:
            wait = error_of(proxied.conversations.wait_for_recording(SESSION, timeout=PATIENCE))
            download = error_of(direct.conversations.download_recording(SESSION, target, wait=PATIENCE))
            errors = await asyncio.gather(wait, download)
    assert ["the proxy refused with 407" in str(error) for error in errors] == [True, True]
    assert len(proxy.requests) == 2


async def test_wait_that_ends_in_an_outage() -> None:
    """A wait that ends in an outage names the last failure; one that was answered after it does not."""
    down, once = answer({"error": "maintenance"}, 503), RetryPolicy(attempts=1)
    async with Server(answer(NOT_YET), down) as server, client_of(server, retry=once) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=1, interval=0.01))
        assert type(error) is RecordingTimeoutError
        assert type(error.__cause__) is ServerError
        assert error.status_text == "Processing"
        assert "The last check failed: GET " in str(error)
        assert "maintenance" in str(error)
        for timeout in (0, None):  # once, or without an end: nothing would report the failure
            wait = client.conversations.wait_for_recording(SESSION, timeout=timeout)
            assert type(await error_of(wait)) is ServerError
    async with Server(down, answer(NOT_YET)) as server, client_of(server, retry=once) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=1, interval=0.01))
        assert (type(error), error.__cause__, "check failed" in str(error)) == (RecordingTimeoutError, None, False)


async def test_wait_ends_during_a_call() -> None:
    """A call that hangs does not prolong the wait."""
    async with Server(hang) as server, client_of(server) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=0.2))
    assert type(error) is RecordingTimeoutError


async def test_waits_calls_keep_their_own_deadline() -> None:
    """A call that times out within the wait raises its own error."""
    async with Server(hang) as server, client_of(server, timeouts=Timeouts(total=0.2)) as client:
        error = await error_of(client.conversations.wait_for_recording(SESSION, timeout=None))
    assert type(error) is RequestTimeoutError


async def test_cancelled_wait_is_cancelled() -> None:
    """A cancelled wait raises CancelledError."""
    async with Server(answer(NOT_YET)) as server, client_of(server) as client:
        task = asyncio.create_task(client.conversations.wait_for_recording(SESSION, timeout=None, interval=60))
        await server.seen(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_download_waits_as_long_as_it_may(tmp_path: Path) -> None:
    """`download_recording(wait=...)` waits for the recording first, and leaves no file if that fails."""
    ready = raw(http(200, {"Content-Type": "video/mp4"}, b"film"))
    async with Server(answer(NOT_YET)) as server, client_of(server) as client:
        wait = client.conversations.download_recording(SESSION, tmp_path / "a.mp4", wait=0.2)
        assert type(await error_of(wait)) is RecordingTimeoutError
    async with Server(answer(DETAIL), ready) as server, client_of(server) as client:
        target = await client.conversations.download_recording(SESSION, str(tmp_path / "b.mp4"), wait=5)
    assert (target, target.read_bytes()) == (tmp_path / "b.mp4", b"film")
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]  # noqa: ASYNC240


async def test_recordings_path_can_be_given() -> None:
    """The recording's path is a setting."""
    async with (
        Server(raw(http(200, {"Content-Type": "video/mp4"}, b"film"))) as server,
        client_of(server, recording_path="/media/{session_id}/film/") as client,
        client.conversations.recording(SESSION) as recording,
    ):
        assert [piece async for piece in recording.iter_bytes()] == [b"film"]
    assert server.requests[0].target == f"/api/media/{SESSION}/film/"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/recording/",
        "/{id}/",
        "/{session_id}/{}",
        "/{session_id",
        "/{session_id.x}/",
        "/{session_id[0]}/",
        "/{session_id!r}/",
        "/{session_id:>9}/",
        None,
        b"/{session_id}/",
        10**5000,
    ],
    ids=count(),
)
def test_recordings_path_must_bear_the_id(path: Any) -> None:
    """A path without the id, or with other braces, is refused."""
    with pytest.raises(ConfigurationError, match=r"^recording_path must be a path with "):
        AkapuluClient("key", recording_path=path)


HOSTILE_PATHS = [
    "@evil.example/{session_id}",
    ".evil.example/{session_id}",
    ":80/{session_id}",
    "//evil.example/{session_id}",
    "https://evil.example/{session_id}",
    "/../{session_id}",
    "/{session_id}/%2e%2e/",
    "/\\{session_id}",
    "{session_id}/",
    "/{session_id}?to=",
    "/{session_id}#",
    "/{session_id}\n",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_recordings_path_stays_below_the_base_url(path: str) -> None:
    """A recording path that would send the API key to another host, or outside the base URL, is refused."""
    with pytest.raises(ConfigurationError, match=r"^recording_path must be a path with "):
        AkapuluClient("key", recording_path=path)


# What is freed


async def test_errors_are_freed_at_once() -> None:
    """An unreferenced error is freed without the garbage collector, and its frames with it."""
    script = (*[answer({"error": "no"}, 401)] * 2, answer({"error": "no"}, 500), reset)
    async with Server(*script) as server, client_of(server) as client:

        async def refused(call: Callable[[AkapuluClient], Awaitable[object]]) -> "weakref.ref[Exception]":
            return weakref.ref(await error_of(call(client)))

        gc.collect()
        gc.disable()
        try:
            references = [await refused(call) for call in (connect, poll, connect, connect)]
            assert [reference() for reference in references] == [None] * 4
        finally:
            gc.enable()


# A cancelled connect


async def test_cancelled_connects_answer_is_not_lost() -> None:
    """A connect that is cancelled after it was sent waits for its answer and passes it on."""
    gate, late = asyncio.Event(), list[Connection]()
    body = json.dumps(CONNECTION).encode()
    async with Server(gated(b"", gate, http(200, {}, body))) as server, client_of(server) as client:
        task = asyncio.create_task(client.conversations.connect(REQUEST, on_late_answer=late.append))
        await server.seen(1)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [connection.conversation_session_id for connection in late] == [SESSION]


class Unusual(BaseException):
    """An error that is not an Exception, as some test tools raise."""


@pytest.mark.parametrize("kind", [LookupError, asyncio.CancelledError, Unusual])
async def test_failing_callback_does_not_hide_the_cancel(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """If `on_late_answer` raises, error and conversation are logged, without the token, and the cancel continues."""

    def fail(connection: Connection) -> None:
        raise kind(f"I dislike {connection.join_url}")

    gate = asyncio.Event()
    body = json.dumps(CONNECTION).encode()
    async with Server(gated(b"", gate, http(200, {}, body))) as server, client_of(server) as client:
        task = asyncio.create_task(client.conversations.connect(REQUEST, on_late_answer=fail))
        await server.seen(1)
        task.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert "dislike" not in str(caught.value)
    orphan, failure = caplog.records
    assert f"Conversation {SESSION} was connected by a call that was cancelled" in orphan.getMessage()
    assert f"on_late_answer raised {kind.__name__} for conversation {SESSION}: I dislike" in failure.getMessage()
    assert {record.session_id for record in caplog.records} == {SESSION}  # type: ignore[attr-defined]
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("late", "warned"),
    [(http(400, {}, b'{"error": "No."}'), False), (http(502), True), (http(200, {}, b"<html>"), True), (b"", True)],
    ids=["refused", "502", "junk", "none"],
)
async def test_cancelled_connect_that_may_exist_is_logged(
    late: bytes, warned: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled connect without a conversation is warned of, unless it was surely refused."""
    monkeypatch.setattr("akapulu_async.http.transport.LATE_ANSWER", 5.0 if late else 0.01)
    gate = asyncio.Event()
    async with Server(gated(b"", gate, late)) as server, client_of(server) as client:
        task = asyncio.create_task(connect(client))
        await server.seen(1)
        task.cancel()
        if late:
            gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ["it may have been carried out" in record.getMessage() for record in caplog.records] == [True] * warned
