"""Programs for `test_shutdown.py` to stop: a fan-out over endless requests, alone and under a web server."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from runpy import run_path
from typing import Any

import aiohttp
from aiohttp import web

from akapulu_async import AkapuluClient, Connection, ConnectRequest, ConversationSession, SessionManager
from tests.support.misbehaving import REQUEST

AT_WORK = 8
CONTROL = os.environ.get("AKAPULU_BASE_URL", "").removesuffix("/api") + "/_simulator/conversations"


def requests() -> Iterator[ConnectRequest]:
    """Yield requests without end."""
    return itertools.repeat(REQUEST)


async def stay(session: ConversationSession) -> None:
    """Wait for the end."""
    await session.ended.wait()


async def stay_in_the_room(session: ConversationSession) -> None:
    """Print a line once the participant is in the room, and wait for the end."""
    await session.room_joined.wait()
    sys.stdout.write("joined\n")
    sys.stdout.flush()
    await session.ended.wait()


@asynccontextmanager
async def participant(connection: Connection) -> AsyncIterator[None]:
    """Join and leave a room of a simulator in another process."""
    room = f"{CONTROL}/{connection.conversation_session_id}"
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{room}/join") as answer:
            answer.raise_for_status()
        try:
            yield
        finally:
            async with http.post(f"{room}/leave") as answer:
                answer.raise_for_status()


async def alone() -> None:
    """Fan out. SIGTERM does what SIGINT does under `asyncio.run()`."""
    here = asyncio.current_task()
    assert here is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
    async with (
        AkapuluClient() as client,
        SessionManager(client, participant=participant) as manager,
        manager.run(requests(), stay_in_the_room, concurrency=AT_WORK) as outcomes,
    ):
        async for outcome in outcomes:
            raise AssertionError(outcome)


def web_server(backend: Path) -> None:
    """Fan out beside the README's web backend."""
    parts = run_path(str(backend))
    app: web.Application = parts["app"]

    async def fan_out(app: web.Application) -> None:
        async with app[parts["MANAGER"]].run(requests(), stay, concurrency=AT_WORK) as outcomes:
            async for outcome in outcomes:
                raise AssertionError(outcome)

    async def work(app: web.Application) -> AsyncIterator[None]:
        task: asyncio.Task[Any] = asyncio.create_task(fan_out(app))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app.cleanup_ctx.append(work)
    web.run_app(app, host="127.0.0.1", port=0, print=None)


def main() -> None:
    """Run the web server if its file is given, else the fan-out alone."""
    if len(sys.argv) > 1:
        web_server(Path(sys.argv[1]))
        return
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(alone())


if __name__ == "__main__":
    main()
