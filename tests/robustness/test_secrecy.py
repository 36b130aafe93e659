"""Logs, messages, tracebacks and pickles contain neither the API key nor a room token."""

import asyncio
import gzip
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from akapulu_async import AkapuluClient, AkapuluError, ConfigurationError, RecordingTimeoutError, RetryPolicy, Timeouts
from akapulu_async.http import transport as transport_module
from akapulu_async.simulator import Simulator
from tests.support.misbehaving import (
    CONNECTION,
    DETAIL,
    REQUEST,
    SESSION,
    UPDATE,
    Behaviour,
    Peer,
    Seen,
    Server,
    answer,
    close,
    hang,
    http,
    raw,
    reset,
)
from tests.support.scanning import linked, variables_of
from tests.support.storing import redirect, store

GUARD = 20.0
"""Seconds after which a call gives up."""

# Neither has the shape of a credential, so no pattern can find them. Their parts are searched for.
KEY = "violet/canyon+harvest=lantern"
TOKEN = "marble.orchid-thimble_saffron"
PARTS = ("canyon", "harvest", "lantern", "orchid", "thimble", "saffron")

JSON = {"Content-Type": "application/json"}
GOOD = {**CONNECTION, "token": TOKEN}


def hidden(text: str, where: str) -> None:
    """Fail if a text contains a secret or a part of one."""
    found = [part for part in PARTS if part in text]
    assert not found, f"{found} in {where}: {text[:2000]}"


async def echo(peer: Peer, seen: Seen) -> None:
    """Send the request back with its key, as the error pages of web frameworks do."""
    await peer.send(http(500, {"Content-Type": "text/html"}, repr(seen).encode()))


async def echo_in_head(peer: Peer, seen: Seen) -> None:
    """Break the protocol with the caller's own headers."""
    await peer.send(f"HTTP/1.1 200 OK\r\n{seen.headers['authorization']}\r\n\r\n".encode())
    peer.open = False


def said(text: str, status: int = 200) -> Behaviour:
    """Answer with a text that contains the secrets."""
    return answer({"error": text, "error_code": text, "detail": text}, status)


def connection(**fields: Any) -> Behaviour:
    """Answer a connect with the token and a wrong field."""
    return answer({**GOOD, **fields})


CALLS: dict[str, Callable[[AkapuluClient], Awaitable[object]]] = {
    "connect": lambda client: client.conversations.connect(REQUEST),
    "updates": lambda client: client.conversations.updates(SESSION),
    "detail": lambda client: client.conversations.detail(SESSION),
    "request": lambda client: client.request("POST", "/things/", json={"a": 1}, params={"b": True}),
    "recording": lambda client: client.conversations.recording(SESSION).__aenter__(),
    "download": lambda client: client.conversations.download_recording(SESSION, "unused.mp4"),
}

BEHAVIOURS: dict[str, Behaviour] = {
    "reset": reset,
    "closed": close,
    "hang": hang,
    "echo": echo,
    "echo in the head": echo_in_head,
    "echo in a refusal": said(f"Bad key {KEY} in request", 401),
    "echo in words": said(f"Bad key {KEY} in request"),
    "key in a body": answer({**UPDATE, "latest_update_text": 5, "debug": f"Authorization: Bearer {KEY}"}),
    "wrong room": connection(room_url=5),
    "wrong id": connection(conversation_session_id="1"),
    "nested token": answer({"room_url": "ftp://x", "token": {"token": TOKEN}, "conversation_session_id": SESSION}),
    "JSON cut off after the token": raw(http(200, JSON, b'{"token": "' + TOKEN.encode() + b'", "room')),
    "more than was told": raw(http(200, JSON, b'{}"' + TOKEN.encode(), length=2)),
    "nonsense between chunks": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + TOKEN.encode() + b"\r\n"
    ),
    "body too short": raw(http(200, JSON, TOKEN.encode(), length=1000)),
    "key as a compression": answer(body=b"", headers={"Content-Type": "a/b", "Content-Encoding": f"gzip, {KEY}"}),
    "compressed JSON cut off after the token": answer(
        body=gzip.compress(b'{"token": "' + TOKEN.encode() + b'", "room'), headers={**JSON, "Content-Encoding": "gzip"}
    ),
    "unknown compression": answer(body=TOKEN.encode(), headers={**JSON, "Content-Encoding": "br"}),
    "redirect": redirect("https://files.example.invalid/a", 307),
    "redirect to http": redirect("http://files.example/a"),
}


class Everything(logging.Handler):
    """Keeps each line of each logger, formatted with its exception."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.args!r}")


@pytest.fixture
def everything() -> Iterator[Everything]:
    """Log everything at DEBUG, also of asyncio and aiohttp."""
    root, handler = logging.getLogger(), Everything()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    hidden("\n".join(handler.lines), "the log")


def inspect(error: BaseException) -> None:
    """Search an error and all errors linked to it for secrets."""
    for here in linked(error):
        for text in (str(here), repr(here), repr(here.args), repr(vars(here)), repr(getattr(here, "__notes__", ""))):
            hidden(text, type(here).__name__)
        hidden(pickle.dumps(here).decode("latin-1"), "the pickle")
        assert not type(here).__module__.startswith("aiohttp"), here
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    hidden("".join(report.format()), "the traceback")
    look_into_variables(error)


def look_into_variables(error: BaseException) -> None:
    """Search the variables of the frames for secrets, as error reporters show them."""
    for text in variables_of(error):
        hidden(text, "the variables")


async def raised(call: Awaitable[object]) -> AkapuluError | None:
    """Return what a call raises, without the frames of this file, which hold the secrets."""
    try:
        await call
    except AkapuluError as error:
        frames = error.__traceback__
        while frames is not None and "tests" in Path(frames.tb_frame.f_code.co_filename).parts:
            frames = frames.tb_next
        return error.with_traceback(frames)
    return None


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
async def test_failures_show_no_secret(
    name: str, behaviour: Behaviour, everything: Everything, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a call fails, its error, those linked to it and the log contain neither the key nor the token."""
    monkeypatch.chdir(tmp_path)
    silent = behaviour in {BEHAVIOURS["hang"], BEHAVIOURS["body too short"]}
    timeouts, retry = Timeouts(total=0.2 if silent else GUARD), RetryPolicy(attempts=2, base=0)
    async with (
        Server(behaviour) as server,
        AkapuluClient(KEY, base_url=server.base_url, timeouts=timeouts, retry=retry) as client,
    ):
        error = await raised(CALLS[name](client))
        assert silent or server.requests
        assert all(seen.headers["authorization"] == f"Bearer {KEY}" for seen in server.requests)
    if error is not None:
        inspect(error)
    assert any("GET" in line or "POST" in line for line in everything.lines)


async def half_answered(peer: Peer, _: Seen) -> None:
    """Begin an answer, and never finish it."""
    await peer.send(http(200, JSON, b"{", length=1000))
    await peer.gone()


ANSWERED: dict[str, Behaviour] = {"connect": answer(GOOD), "updates": answer(UPDATE), "download": store(b"film")}
"""Answers with which the calls succeed."""

Waiting = Callable[[], Awaitable[None]]


async def timed_out(call: Coroutine[Any, Any, object], under_way: Waiting) -> BaseException:
    """Let the caller's own timeout expire while a call is under way, and return the error."""
    limit = asyncio.timeout(None)

    async def expire() -> None:
        await under_way()
        limit.reschedule(0)

    expiring = asyncio.create_task(expire())
    with pytest.raises(TimeoutError) as caught:
        async with limit:
            await call
    await expiring
    return caught.value


async def cancelled(call: Coroutine[Any, Any, object], under_way: Waiting) -> BaseException:
    """Cancel a call while it is under way, and return the error."""
    task = asyncio.create_task(call)
    await under_way()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


@pytest.mark.parametrize("name", ANSWERED)
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("behaviour", [hang, half_answered])
@pytest.mark.parametrize("interrupted", [timed_out, cancelled])
@pytest.mark.parametrize("borrowed", [False, True])
async def test_interrupted_calls_show_no_secret(
    name: str,
    before: int,
    behaviour: Behaviour,
    interrupted: Callable[[Coroutine[Any, Any, object], Waiting], Awaitable[BaseException]],
    borrowed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a caller's timeout or cancel, in a first or a later call, no variable of a frame contains the key."""
    monkeypatch.setattr(transport_module, "LATE_ANSWER", 0.05)
    script = (*[ANSWERED[name]] * before, behaviour)

    async def under_way() -> None:
        await server.seen(before + 1)
        for _ in range(10):  # turns of the loop, to read the begun answer
            await asyncio.sleep(0)

    async with (
        Server(*script) as server,
        aiohttp.ClientSession() as http_session,
        AkapuluClient(KEY, base_url=server.base_url, http=http_session if borrowed else None) as client,
    ):
        conversations = client.conversations
        calls: dict[str, Callable[[int], Coroutine[Any, Any, object]]] = {
            "connect": lambda _: conversations.connect(REQUEST),
            "updates": lambda _: conversations.updates(SESSION),
            "download": lambda number: conversations.download_recording(SESSION, tmp_path / f"{number}.mp4"),
        }
        for number in range(before):
            await calls[name](number)
        error = await interrupted(calls[name](before), under_way)
    assert server.requests[before].headers["authorization"] == f"Bearer {KEY}"
    for here in linked(error):
        report = traceback.TracebackException.from_exception(here, capture_locals=True)
        hidden("".join(report.format(chain=False)), f"the traceback of {type(here).__name__}")
    look_into_variables(error)


async def test_words_on_a_recording_show_no_secret(everything: Everything) -> None:
    """The service's text about a missing recording is shown as a short line without the key."""
    status = {"has_recording": True, "is_ready": False, "status_text": f"No\x1b[2J\n{KEY}" + "!" * 1000}
    async with (
        Server(answer({**DETAIL, "recording": status})) as server,
        AkapuluClient(KEY, base_url=server.base_url) as client,
    ):
        error = await raised(client.conversations.wait_for_recording(SESSION, timeout=0))
    assert isinstance(error, RecordingTimeoutError)
    inspect(error)
    assert error.status_text.startswith("No [2J ***!!!")
    assert len(error.status_text) == 200


async def test_results_show_no_secret(everything: Everything) -> None:
    """The `repr()` and `str()` of results and of the client contain no secret."""
    script = (answer(GOOD), answer(UPDATE), answer(DETAIL), store(b"film"))
    async with Server(*script) as server, AkapuluClient(KEY, base_url=server.base_url) as client:
        connection = await client.conversations.connect(REQUEST)
        results: list[object] = [connection, connection.raw, connection.token, client, client.conversations]
        results += [await client.conversations.updates(SESSION), await client.conversations.detail(SESSION)]
        async with client.conversations.recording(SESSION) as recording:
            results += [recording]
        for result in results:
            hidden(f"{result} {result!r} {[result]}", type(result).__name__)
        hidden(repr(vars(client)) + repr(vars(client._transport)), "the client's own variables")
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(connection)
    assert connection.token.reveal() == TOKEN


async def test_log_of_a_debugging_loop_shows_no_secret(everything: Everything) -> None:
    """A loop in debug mode, which logs tasks and callbacks, logs no secret."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    try:
        async with Server(answer(GOOD), hang) as server, AkapuluClient(KEY, base_url=server.base_url) as client:
            await client.conversations.connect(REQUEST)
            task = asyncio.create_task(client.conversations.updates(SESSION))
            await server.seen(2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        loop.set_debug(False)
    assert any("asyncio" in line or "took" in line for line in everything.lines)


async def test_storage_never_sees_the_key() -> None:
    """The host that a recording redirects to gets no header with the key."""
    async with (
        Simulator(speed=0, seed=1, recording_delay=0, recording_size=10_000, api_key=KEY) as simulator,
        Server(store(b"film")) as storage,
        Server(redirect(storage.url)) as server,
        AkapuluClient(KEY, base_url=server.base_url) as client,
    ):
        async with client.conversations.recording(SESSION) as recording:
            assert b"".join([piece async for piece in recording.iter_bytes()]) == b"film"
        assert simulator.leaked_credentials == 0
    hidden(repr(storage.requests), "what the storage host saw")


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://remote.example"},
        {"base_url": "https://akapulu.com/api?x"},
        {"pool_size": 0},
        {"recording_path": "/"},
        {"error_types": {"A": int}},
        {"api_key": f"{KEY} {KEY}"},
        {"api_key": f"{KEY}\0"},
        {"api_key": KEY.encode()},
    ],
)
def test_refused_settings_show_no_key(options: dict[str, Any]) -> None:
    """A client that cannot be made says why without the key, also in the variables of the frames."""
    try:
        AkapuluClient(**{"api_key": KEY, **options})
    except ConfigurationError as error:
        inspect(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
    else:
        pytest.fail("it was accepted")


@pytest.mark.parametrize("key", [f"{KEY} {KEY}", KEY.encode(), KEY], ids=["two words", "bytes", "good"])
async def test_key_of_a_function_is_not_shown(key: Any, everything: Everything) -> None:
    """Neither a key that is refused nor one that is sent and echoed stays in the variables of an error's frames."""
    async with (
        Server(answer({"error": KEY}, 400)) as server,
        AkapuluClient(lambda: key, base_url=server.base_url) as client,
    ):
        for call in (client.conversations.connect(REQUEST), client.conversations.updates(SESSION)):
            error = await raised(call)
            assert error is not None
            inspect(error)
        hidden(repr(client) + repr(vars(client._transport)), "the client's own variables")
