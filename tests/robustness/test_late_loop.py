"""An answer that came in time is delivered, although the event loop was blocked until the limit had passed."""

import asyncio
import fcntl
import json
import math
import os
import struct
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from akapulu_async import (
    AkapuluClient,
    Connection,
    ConnectOutcomeUnknownError,
    PollPolicy,
    RequestTimeoutError,
    SessionEndedError,
    SessionManager,
    SessionState,
    Timeouts,
    WaitTimeoutError,
)
from akapulu_async.limits import TURNS
from akapulu_async.observing import Attempt, Observer
from akapulu_async.session import ConversationSession
from akapulu_async.session import session as session_module
from tests.support.calls import GOOD, JSON, both_loops, error_of
from tests.support.managed import soon
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
    client_of,
    connect,
    hang,
    http,
    poll,
)
from tests.support.steered import READY, Clock, steered
from tests.support.storing import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what has arrived, as Linux does")

LIMIT, BLOCKED = 5.0, 6.0
CONNECTED = http(200, JSON, json.dumps(CONNECTION).encode())
IS_READY = http(200, JSON, json.dumps({**UPDATE, **READY}).encode())


def block(seconds: float, clock: Clock | None = None) -> None:
    """Block the event loop, or move its clock, which is the same to its timers and takes no time."""
    loop: Any = asyncio.get_running_loop()
    before = loop.time
    if type(loop).__module__.startswith("asyncio."):
        loop.time = lambda: before() + seconds
    else:
        time.sleep(seconds)
    if clock is not None:
        clock.now += seconds


def late(data: bytes, clock: Clock | None = None, seconds: float = BLOCKED) -> Behaviour:
    """Answer, and block the event loop when that is in the other side's socket, before anybody can read it."""

    async def behave(peer: Peer, _: Seen) -> None:
        socket = peer.writer.get_extra_info("socket").fileno()
        assert os.write(socket, data) == len(data)  # not through the loop, which might send it only later
        while struct.unpack("i", fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4)))[0]:
            os.sched_yield()
        block(seconds, clock)

    return behave


async def request(client: AkapuluClient) -> object:
    return await client.request("POST", "/things/", json={"a": 1})


async def wait_for_recording(client: AkapuluClient) -> object:
    return await client.conversations.wait_for_recording(SESSION, timeout=LIMIT)


CALLS: dict[str, tuple[Callable[[AkapuluClient], Awaitable[object]], bytes]] = {
    "connect": (connect, CONNECTED),
    "poll": (poll, http(200, JSON, GOOD)),
    "request": (request, http(200, JSON, b"{}")),
    "recording": (read, http(200, {"Content-Type": "video/mp4"}, b"film")),
    "wait_for_recording": (wait_for_recording, http(200, JSON, json.dumps(DETAIL).encode())),
}


@pytest.mark.parametrize(("call", "data"), CALLS.values(), ids=CALLS)
async def test_calls(call: Callable[[AkapuluClient], Awaitable[object]], data: bytes) -> None:
    """A call returns an answer that was in its socket when its deadline passed."""
    total = None if call is wait_for_recording else LIMIT
    async with Server(late(data)) as server, client_of(server, timeouts=Timeouts(total=total)) as client:
        await call(client)
    assert len(server.requests) == 1


@pytest.mark.slow  # uvloop's clock cannot be moved
@both_loops
@pytest.mark.parametrize(("call", "data"), CALLS.values(), ids=CALLS)
async def test_calls_while_the_loop_sleeps(call: Callable[[AkapuluClient], Awaitable[object]], data: bytes) -> None:
    """The same on uvloop, which looks at its timers before it reads."""
    async with Server(late(data)) as server, client_of(server, timeouts=Timeouts(total=LIMIT)) as client:
        await call(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"debug": False}), pytest.param(("asyncio", {"use_uvloop": True}), marks=pytest.mark.slow)],
    ids=["asyncio", "uvloop"],
)
async def test_a_piece_of_a_recording() -> None:
    """A further piece of a recording that was in the socket is delivered, and the recording goes on."""
    gate = asyncio.Event()

    async def behave(peer: Peer, seen: Seen) -> None:
        await peer.send(http(200, {"Content-Type": "video/mp4"}, b"fi", length=4))
        await gate.wait()
        await late(b"lm")(peer, seen)

    async with (
        Server(behave) as server,
        client_of(server, timeouts=Timeouts(total=LIMIT)) as client,
        client.conversations.recording(SESSION) as recording,
    ):
        pieces = [await anext(recording.iter_bytes())]
        gate.set()
        pieces += [piece async for piece in recording.iter_bytes()]
    assert b"".join(pieces) == b"film"


async def test_a_refusal() -> None:
    """A refusal that came in time is the outcome of a connect, not an unknown one."""
    refused = http(400, JSON, b'{"error": "No."}')
    async with Server(late(refused)) as server, client_of(server, timeouts=Timeouts(total=LIMIT)) as client:
        error = await error_of(connect(client))
    assert getattr(error, "status", error) == 400


@pytest.mark.parametrize("call", [connect, poll])
async def test_no_answer(call: Callable[[AkapuluClient], Awaitable[object]]) -> None:
    """Without an answer, a blocked loop does not extend the deadline."""
    async with Server(late(b"")) as server, client_of(server, timeouts=Timeouts(total=LIMIT)) as client:
        error = await error_of(call(client))
    assert isinstance(error, ConnectOutcomeUnknownError | RequestTimeoutError)
    assert error.reason == f"{LIMIT:g} s passed while waiting for the answer"


async def test_cancelled_connect() -> None:
    """A cancelled connect knows its conversation if the answer came within the wait for it."""
    known = list[Connection]()
    gate = asyncio.Event()

    async def behave(peer: Peer, seen: Seen) -> None:
        await gate.wait()
        await late(CONNECTED)(peer, seen)

    async with Server(behave) as server, client_of(server) as client:
        task = asyncio.create_task(client.conversations.connect(REQUEST, on_late_answer=known.append))
        await server.seen(1)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [connection.conversation_session_id for connection in known] == [SESSION]


def expire(client: AkapuluClient) -> None:
    """Let the deadlines of all calls pass, without further turns of the loop."""
    client._transport._deadlines._look(math.inf, TURNS)


async def test_connect_that_is_cancelled_as_its_deadline_passes(caplog: pytest.LogCaptureFixture) -> None:
    """If its caller cancels a connect as its deadline passes, a warning says that it may have been carried out."""
    async with Server(hang) as server, client_of(server) as client:
        task = asyncio.create_task(connect(client))
        await server.seen(1)
        expire(client)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [record.getMessage() for record in caplog.records if "may have been carried out" in record.getMessage()]


@pytest.mark.parametrize("turns", range(12))
async def test_observers_see_what_the_caller_gets(turns: int) -> None:
    """When a deadline passes while an answer is read, the attempt failed only if the call did."""
    attempts = list[Attempt]()

    class Watching(Observer):
        def attempt_finished(self, attempt: Attempt) -> None:
            attempts.append(attempt)

    async def behave(peer: Peer, seen: Seen) -> None:
        await late(CONNECTED, seconds=0)(peer, seen)
        for _ in range(turns):
            await asyncio.sleep(0)
        expire(client)

    async with Server(behave) as server, client_of(server, observers=[Watching()]) as client:
        try:
            await connect(client)
        except ConnectOutcomeUnknownError:
            assert attempts[0].error == "unreachable"
        else:
            assert attempts[0].error is None
    assert len(attempts) == 1


async def test_wait_for() -> None:
    """A wait for a state returns if the answer that brings it was there when the wait's timeout passed."""
    async with steered() as world, world.client.session(REQUEST) as session:
        world.service.update = late(IS_READY)
        await session.wait_for(SessionState.BOT_READY, timeout=LIMIT)
        world.service.update = hang
        with pytest.raises(WaitTimeoutError):
            await session.wait_for(SessionState.ENDED, timeout=0.01)


async def test_start() -> None:
    """A start returns its session if the connect's answer was there when the start's timeout passed."""
    async with steered() as world, SessionManager(world.client) as manager:
        world.service.connect = late(CONNECTED)
        session = await manager.start(REQUEST, timeout=LIMIT)
        assert manager.sessions == (session,)


async def test_drain() -> None:
    """A drain is complete if the answer that ends the last session was there when its timeout passed."""
    async with steered() as world, SessionManager(world.client) as manager:
        session = await manager.start(REQUEST)
        over = json.dumps({**UPDATE, **READY, "latest_update_text": "The call has ended."}).encode()
        world.service.update = late(http(200, JSON, over))
        assert await manager.drain(timeout=LIMIT)
        assert session.end_reason == "completed"


async def test_ready_timeout_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose ready answer was in the socket when its ready timeout passed is ready."""
    clock = Clock(monkeypatch, ConversationSession)
    async with steered() as world, world.client.session(REQUEST, ready_timeout=LIMIT) as session:
        world.service.update = late(IS_READY, clock)
        await soon(session.bot_ready.wait())


async def test_ready_timeout_between_two_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no poll was under way, one is sent before the session is judged; after that, it is."""
    clock = Clock(monkeypatch, ConversationSession)
    async with steered(poll=PollPolicy(interval=1000.0, jitter=0.0)) as world:
        for ends, fields in ((False, READY), (True, {})):
            world.service.says(**fields)
            async with world.client.session(REQUEST, ready_timeout=LIMIT) as session:
                block(BLOCKED, clock)
                await soon(session.ended.wait() if ends else session.bot_ready.wait())
                assert session.end_reason == ("ready_timeout" if ends else None)
                assert session.polls == 1


async def test_ready_timeout_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that gets no answer extends the ready timeout by a bounded time."""
    monkeypatch.setattr(session_module, "LATE_POLL", 0.01)
    clock = Clock(monkeypatch, ConversationSession)
    async with steered() as world, world.client.session(REQUEST, ready_timeout=LIMIT) as session:
        world.service.update = hang
        await world.polled()
        block(BLOCKED, clock)
        with pytest.raises(SessionEndedError, match="ready_timeout"):
            await soon(session.bot_ready.wait())
