"""Managers and sessions against the simulator, or against a service that gives each conversation its own id."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import attrs
import pytest

from akapulu_async import AkapuluClient, Connection, ConversationSession, Participant, SessionEvent, SessionManager
from akapulu_async.simulator import Simulator
from tests.support.misbehaving import (
    CONNECTION,
    PATIENCE,
    REQUEST,
    UPDATE,
    Peer,
    Seen,
    Server,
    answer,
    client_of,
    gated,
    http,
)
from tests.support.steered import QUICK_POLL, session_tasks

LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"debug": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
"""Runs a test on asyncio's own loop and on uvloop."""


@asynccontextmanager
async def simulated(*, speed: float = 0, **options: Any) -> AsyncGenerator[tuple[Simulator, AkapuluClient]]:
    """Open a simulator whose clock stands still, and a client of it. Checks that no task of a session is left."""
    async with Simulator(speed=speed, **{"seed": 1, "ready_time": 5.0, **options}) as sim:
        async with AkapuluClient(sim.api_key, base_url=sim.base_url, poll=QUICK_POLL) as client:
            yield sim, client
        assert session_tasks() == []


async def get_ready(sim: Simulator, *sessions: ConversationSession) -> None:
    """Advance the simulator until the bots of these sessions are ready: 8 s in all."""
    sim.advance(3)  # the simulator's own participant joins after 2 s
    await sim.wait_until(lambda: all(sim.conversations[session.id].joined_at is not None for session in sessions))
    sim.advance(5)
    await soon(asyncio.gather(*(session.bot_ready.wait() for session in sessions)))


class Crowd:
    """A service that gives each conversation its own id. While the gate is closed, it answers no connect."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals: list[tuple[int, str]] = []
        """Status and code of the refusals of the next connects. They wait at the gate, too."""
        self.ready = False
        self.ids: list[str] = []

    async def __call__(self, peer: Peer, seen: Seen) -> None:
        if seen.method == "GET":
            session_id = seen.target.split("/")[-3]
            await answer({**UPDATE, "conversation_session_id": session_id, "call_is_ready": self.ready})(peer, seen)
            return
        if self.refusals:
            status, code = self.refusals.pop(0)
            body: dict[str, Any] = {"error": "no", "error_code": code}
        else:
            self.ids.append(str(uuid4()))
            status, body = 200, {**CONNECTION, "conversation_session_id": self.ids[-1]}
        data = http(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
        await gated(b"", self.gate, data)(peer, seen)


FULL = (429, "CONCURRENCY_LIMIT_REACHED")
NO_MINUTES = (402, "MINUTES_LIMIT_REACHED")


@attrs.define
class Crowded:
    """A crowd, and a client of it."""

    crowd: Crowd
    server: Server
    client: AkapuluClient

    @property
    def connects(self) -> int:
        """How many connects arrived."""
        return sum(seen.method == "POST" for seen in self.server.requests)

    async def connecting(self, count: int = 1) -> None:
        """Wait until this many connects have arrived."""
        await self.server.until(lambda: self.connects >= count)


@asynccontextmanager
async def crowded(**options: Any) -> AsyncGenerator[Crowded]:
    """Open a crowd and a client of it. Checks that no task and no connection is left."""
    crowd = Crowd()
    async with Server(crowd) as server, client_of(server, **{"poll": QUICK_POLL, **options}) as client:
        yield Crowded(crowd, server, client)


def starting(manager: SessionManager, **options: Any) -> "asyncio.Task[ConversationSession]":
    """Start a session in a task of its own."""
    return asyncio.create_task(manager.start(REQUEST, **options))


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that no event reports."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.001)


async def loop_rounds(count: int = 20) -> None:
    """Let the event loop run everything that needs neither time nor the network."""
    for _ in range(count):
        await asyncio.sleep(0)


def slow_to_leave(log: list[str]) -> Participant:
    """Return a participant that takes some turns of the loop to leave, and then notes it."""

    @asynccontextmanager
    async def participant(_: Connection) -> AsyncGenerator[None]:
        yield
        await loop_rounds(5)
        log.append("left")

    return participant


async def soon(awaited: Awaitable[Any]) -> Any:
    """Return the result of something that needs no time, or fail instead of hanging."""
    async with asyncio.timeout(PATIENCE):
        return await awaited


def kept_events(session: ConversationSession) -> list[SessionEvent]:
    """Return the events that a session's log keeps, in order."""
    return [*(event for _, event in session._event_log._old), *session._event_log._recent]
