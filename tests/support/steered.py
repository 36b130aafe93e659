"""A service that says at each moment what the test wants it to say, and sessions with it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from akapulu_async import AkapuluClient, PollPolicy
from tests.support.misbehaving import CONNECTION, SESSION, UPDATE, Behaviour, Peer, Seen, Server, answer, client_of

QUICK_POLL = PollPolicy(interval=0.01, live_interval=0.01, jitter=0.0, max_failures=2)
READY = {"call_is_ready": True, "completion_percent": 100, "latest_update_text": "bot ready"}


class Service:
    """Answers connects with a connection, and polls with what was last said."""

    def __init__(self) -> None:
        self.connect: Behaviour = answer(CONNECTION)
        self.update: Behaviour = answer({**UPDATE, "latest_update_text": "starting", "completion_percent": 0})

    def says(self, **fields: Any) -> None:
        """Change what polls are answered."""
        self.update = answer({**UPDATE, "latest_update_text": "starting", "completion_percent": 0, **fields})

    def refuses(self, status: int, **headers: str) -> None:
        """Answer polls with a refusal."""
        self.update = answer({"error": "no"}, status, headers)

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
        """How many connects were seen."""
        return sum(seen.method == "POST" for seen in self.server.requests)

    @property
    def polls(self) -> int:
        """How many polls were seen."""
        return sum(seen.method == "GET" for seen in self.server.requests)

    async def polled(self, count: int = 1) -> None:
        """Return when so many more polls were seen."""
        wanted = self.polls + count
        await self.server.until(lambda: self.polls >= wanted)


@asynccontextmanager
async def steered(**options: Any) -> AsyncGenerator[Steered]:
    """Open a service to be steered, and a client of it; see to it that no task and no connection is left."""
    service = Service()
    async with Server(service) as server, client_of(server, **{"poll": QUICK_POLL, **options}) as client:
        yield Steered(service, server, client)


def session_tasks() -> list[str]:
    """Return the names of the tasks that sessions have running."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("akapulu ")]


__all__ = ["QUICK_POLL", "READY", "SESSION", "Service", "Steered", "session_tasks", "steered"]
