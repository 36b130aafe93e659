"""The programs that `test_shutdown.py` shuts down: a fan-out over endless requests, alone and under a web server."""

# ruff: noqa: T201 - a program prints

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
    """Never end."""
    return itertools.repeat(REQUEST)


async def stay(session: ConversationSession) -> None:
    """Tell of a session, and stay with it."""
    print(session.id, flush=True)
    await session.ended.wait()


@asynccontextmanager
async def participant(connection: Connection) -> AsyncIterator[None]:
    """Join, and leave, in a simulator that runs elsewhere."""
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
    """Fan out; SIGTERM does what SIGINT does under `asyncio.run()`."""
    here = asyncio.current_task()
    assert here is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
    async with AkapuluClient() as client, SessionManager(client, participant=participant) as manager:
        async for outcome in manager.run(requests(), stay, concurrency=AT_WORK):
            raise AssertionError(outcome)


def web_server(backend: Path) -> None:
    """Fan out beside the README's web backend."""
    parts = run_path(str(backend))
    app: web.Application = parts["app"]

    async def fan_out(app: web.Application) -> None:
        async for outcome in app[parts["MANAGER"]].run(requests(), stay, concurrency=AT_WORK):
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
    """Run the program that is asked for."""
    if len(sys.argv) > 1:
        web_server(Path(sys.argv[1]))
        return
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(alone())


if __name__ == "__main__":
    main()
