"""A service whose answers the test sets at any moment, sessions with it, and a clock that the test sets."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from akapulu_async import AkapuluClient, PollPolicy
from tests.support.misbehaving import CONNECTION, SESSION, UPDATE, Behaviour, Peer, Seen, Server, answer, client_of

QUICK_POLL = PollPolicy(interval=0.01, live_interval=0.01, jitter=0.0, max_failures=2)
READY = {"call_is_ready": True, "completion_percent": 100, "latest_update_text": "bot ready"}


class Service:
    """Answers connects with a connection, and polls with the latest `says()` or `refuses()`."""

    def __init__(self) -> None:
        self.connect: Behaviour = answer(CONNECTION)
        self.says()

    def says(self, **fields: Any) -> None:
        """Set the update that answers polls."""
        update = {**UPDATE, "latest_update_text": "starting", "completion_percent": 0, **fields}
        self.update: Behaviour = answer(update)

    def refuses(self, status: int, **headers: str) -> None:
        """Answer polls with a refusal."""
        self.update = answer({"error": "no"}, status, headers)

    def follows(self, *script: Behaviour) -> None:
        """Answer each poll as the script says, and all further ones like the last."""
        left = list(script)

        async def follow(peer: Peer, seen: Seen) -> None:
            await (left.pop(0) if len(left) > 1 else left[0])(peer, seen)

        self.update = follow

    async def __call__(self, peer: Peer, seen: Seen) -> None:
        await (self.connect if seen.method == "POST" else self.update)(peer, seen)


@attrs.define
class Steered:
    """A client, and the service that it talks to."""

    service: Service
    server: Server
    client: AkapuluClient

    @property
    def connects(self) -> int:
        """How many connects arrived."""
        return sum(seen.method == "POST" for seen in self.server.requests)

    @property
    def polls(self) -> int:
        """How many polls arrived."""
        return sum(seen.method == "GET" for seen in self.server.requests)

    async def polled(self, count: int = 1) -> None:
        """Wait until this many more polls have arrived."""
        wanted = self.polls + count
        await self.server.until(lambda: self.polls >= wanted)


@asynccontextmanager
async def steered(**options: Any) -> AsyncGenerator[Steered]:
    """Open such a service and a client of it. Checks that no task and no connection is left."""
    service = Service()
    async with Server(service) as server, client_of(server, **{"poll": QUICK_POLL, **options}) as client:
        yield Steered(service, server, client)


class Clock:
    """Stands in for the clock of a class, its `_now`, and stands still until the test sets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type) -> None:
        self.now = 1000.0
        monkeypatch.setattr(owner, "_now", staticmethod(lambda: self.now))


def session_tasks() -> list[str]:
    """Return the names of the running tasks of sessions."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("akapulu ")]


__all__ = ["QUICK_POLL", "READY", "SESSION", "Clock", "Service", "Steered", "session_tasks", "steered"]
