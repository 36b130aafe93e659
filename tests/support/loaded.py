"""A service that takes exactly as long as it is told to, and load tests of it."""

import asyncio
import json
import time
from collections.abc import Sequence
from itertools import repeat
from typing import Any
from uuid import UUID

from akapulu_async import AkapuluClient
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.runner import Follower, run_load
from tests.support.misbehaving import CONNECTION, REQUEST, UPDATE, Peer, Seen, answer, http

READY = {"call_is_ready": True, "completion_percent": 100, "latest_update_text": "bot ready"}


class Punctual:
    """Connects in so many seconds, and tells of the readiness exactly so many after the connect's arrival.

    To be exact, it answers the poll that asks for it only then. The lists are taken in turns, a place a conversation.
    On a busy machine it may be late all the same: `connected` and `readied` say when, by `time.monotonic()`, it
    answered whom.
    """

    def __init__(self, *, connect: Sequence[float] = (0.0,), ready: Sequence[float] = (0.0,)) -> None:
        self._connect = connect
        self._ready = ready
        self._due: dict[str, float] = {}
        self.connects = 0
        self.connected: dict[str, float] = {}
        self.readied: dict[str, float] = {}

    async def __call__(self, peer: Peer, seen: Seen) -> None:
        if seen.method == "POST":
            await self._connected(peer)
        else:
            await self._polled(peer, seen)

    async def _connected(self, peer: Peer) -> None:
        now, number = asyncio.get_running_loop().time(), self.connects
        self.connects += 1
        session_id = str(UUID(int=number))
        self._due[session_id] = now + self._ready[number % len(self._ready)]
        await _until(now + self._connect[number % len(self._connect)])
        self.connected[session_id] = time.monotonic()
        body = json.dumps({**CONNECTION, "conversation_session_id": session_id}).encode()
        await peer.send(http(200, {"Content-Type": "application/json"}, body))

    async def _polled(self, peer: Peer, seen: Seen) -> None:
        session_id = seen.target.split("/")[-3]
        await _until(self._due[session_id])
        self.readied.setdefault(session_id, time.monotonic())
        await answer({**UPDATE, **READY, "conversation_session_id": session_id})(peer, seen)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


async def unseen(_: Recorder) -> None:
    """Show nothing."""


async def loaded(
    client: AkapuluClient, *, stop: asyncio.Event | None = None, follow: Follower = unseen, **plan: Any
) -> Recorder:
    """Run a load test of one request."""
    return await run_load(client, LoadPlan(**plan), repeat(REQUEST), stop=stop or asyncio.Event(), follow=follow)
