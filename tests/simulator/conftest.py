"""Fixtures of the simulator's tests: simulators, worlds and a plain HTTP client."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import aiohttp
import pytest

from akapulu_async.simulator import Simulator
from akapulu_async.simulator.conversation import Conversation
from akapulu_async.simulator.requests import parse_connect_request
from akapulu_async.simulator.settings import Settings
from akapulu_async.simulator.world import World

SCENARIO = "11111111-1111-4111-8111-111111111111"
AVATAR = "22222222-2222-4222-8222-222222222222"
EPOCH = datetime(2026, 3, 10, 18, 10, 2, 221_500, tzinfo=UTC)


class User:
    """Talks to a simulator with a plain aiohttp session."""

    def __init__(self, sim: Simulator, http: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.http = http

    async def request(self, method: str, path: str, *, key: str | None = None, **options: Any) -> tuple[int, Any, Any]:
        """Return status, headers and body (parsed if JSON) of a request. Redirects are not followed."""
        headers = {"Authorization": f"Bearer {key or self.sim.api_key}", **options.pop("headers", {})}
        url = path if path.startswith("http") else self.sim.base_url + path
        async with self.http.request(method, url, headers=headers, allow_redirects=False, **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json" and body
            return response.status, response.headers, json.loads(body) if is_json else body

    async def connect(self, **fields: Any) -> str:
        """Connect and return the conversation's id."""
        status, _, answer = await self.request(
            "POST", "/conversations/connect/", json={"scenario_id": SCENARIO, "avatar_id": AVATAR, **fields}
        )
        assert status == 200, answer
        return str(answer["conversation_session_id"])

    async def updates(self, conversation_id: str) -> tuple[int, Any]:
        """Poll once."""
        status, _, answer = await self.request("GET", f"/conversations/{conversation_id}/updates/")
        return status, answer

    async def control(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send a control request, without a key."""
        url = self.sim.base_url.removesuffix("/api") + f"/_simulator/{path}"
        async with self.http.request(method, url, **options) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None


OpenSim = Callable[..., AbstractAsyncContextManager[User]]


@pytest.fixture
def open_sim() -> OpenSim:
    """Open a simulator, by default with speed 0, and a user of it."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[User]:
        options = {"speed": 0, "seed": 1, **options}
        connector = aiohttp.TCPConnector(force_close=True)  # no silent second try on a kept connection
        async with Simulator(**options) as sim, aiohttp.ClientSession(connector=connector) as http:
            yield User(sim, http)

    return opened


@pytest.fixture
def connect_body() -> Callable[..., bytes]:
    """Make a connect request's body."""
    return lambda **fields: json.dumps({"scenario_id": SCENARIO, "avatar_id": AVATAR, **fields}).encode()


class Scene:
    """A world with short options."""

    def __init__(self, **options: Any) -> None:
        self.settings = Settings(**{"epoch": EPOCH, "ready_time": lambda _: 11.0, **options})
        self.world = World(self.settings, Random(1))

    def connect(self, now: float = 0.0, **fields: Any) -> Conversation:
        """Connect at a simulated second."""
        body = json.dumps({"scenario_id": SCENARIO, "avatar_id": AVATAR, **fields}).encode()
        return self.world.connect(parse_connect_request(body), now)


@pytest.fixture(scope="session")
def scene() -> type[Scene]:
    """Make a world whose bots need 11 s."""
    return Scene
