"""Managers with something to talk to: the simulator, or a crowd of conversations that answer as the test says."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import attrs
import pytest

from akapulu_async import AkapuluClient, ConversationSession, PollPolicy, SessionEvent, SessionManager
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
from tests.support.steered import session_tasks

QUICK = PollPolicy(interval=0.02, live_interval=0.02, jitter=0.1, max_failures=2)
LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"debug": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


@asynccontextmanager
async def simulated(*, speed: float = 100, **options: Any) -> AsyncGenerator[tuple[Simulator, AkapuluClient]]:
    """Open a quick simulator and a client of it; see to it that no task is left."""
    async with Simulator(speed=speed, **{"seed": 1, "ready_time": 5.0, **options}) as sim:
        async with AkapuluClient(sim.api_key, base_url=sim.base_url, poll=QUICK) as client:
            yield sim, client
        assert session_tasks() == []


class Crowd:
    """A service that gives each conversation an id of its own. As long as the gate is closed, it answers no connect."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals: list[tuple[int, str]] = []
        """What the next connects are refused with, behind the gate: status and code."""
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
    """A client of a crowd."""

    crowd: Crowd
    server: Server
    client: AkapuluClient

    @property
    def connects(self) -> int:
        """How many connects were seen."""
        return sum(seen.method == "POST" for seen in self.server.requests)

    async def connecting(self, count: int = 1) -> None:
        """Return when so many connects were seen."""
        await self.server.until(lambda: self.connects >= count)


@asynccontextmanager
async def crowded(**options: Any) -> AsyncGenerator[Crowded]:
    """Open a crowd and a client of it; see to it that no task and no connection is left."""
    crowd = Crowd()
    async with Server(crowd) as server, client_of(server, **{"poll": QUICK, **options}) as client:
        yield Crowded(crowd, server, client)


def starting(manager: SessionManager, **options: Any) -> "asyncio.Task[ConversationSession]":
    """Start a session in a task of its own."""
    return asyncio.create_task(manager.start(REQUEST, **options))


async def until(condition: Callable[[], object]) -> None:
    """Return when a condition holds that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


async def soon(what: Awaitable[Any]) -> Any:
    """Return what should come at once."""
    async with asyncio.timeout(PATIENCE):
        return await what


def kept_events(session: ConversationSession) -> list[SessionEvent]:
    """Return what a session's log keeps, in order."""
    return [*(event for _, event in session._event_log._old), *session._event_log._recent]
