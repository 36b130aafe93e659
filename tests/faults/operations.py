"""The operations of the matrix: each does what a user does, and looks closely at what it gets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import attrs

from akapulu_async import AkapuluClient, SessionState
from akapulu_async.simulator import Simulator
from akapulu_async.simulator.routing import Route
from tests.faults.cells import OPERATIONS
from tests.misbehaving import API_KEY, PATIENCE, REQUEST
from tests.storing import ended, files

RECORDING_SIZE = 4000


@attrs.frozen
class Bench:
    """A service with one conversation that has ended and was recorded."""

    simulator: Simulator
    session_id: str
    content: bytes
    """Its recording."""

    folder: Path
    """Where downloads go; empty."""

    def seen(self, operation: str) -> int:
        """Return how often the service handled the requests that are counted for an operation."""
        return self.simulator.count(_ROUTES[operation])


@asynccontextmanager
async def bench(folder: Path) -> AsyncGenerator[Bench]:
    """Set up a service."""
    recorded = Simulator(
        speed=0, seed=1, api_key=API_KEY, recording_form="bytes", recording_size=RECORDING_SIZE, recording_delay=0
    )
    async with recorded as simulator, AkapuluClient(API_KEY, base_url=simulator.base_url) as client:
        session_id = await ended(simulator, client)
        simulator.advance(1)
        async with client.conversations.recording(session_id) as recording:
            content = b"".join([piece async for piece in recording.iter_bytes()])
        assert len(content) == RECORDING_SIZE
        yield Bench(simulator, session_id, content, folder)


async def _connect(bench: Bench, client: AkapuluClient) -> None:
    connection = await client.conversations.connect(REQUEST)
    assert connection.conversation_session_id in bench.simulator.conversations


async def _updates(bench: Bench, client: AkapuluClient) -> None:
    update = await client.conversations.updates(bench.session_id)
    assert update.conversation_session_id == bench.session_id


async def _detail(bench: Bench, client: AkapuluClient) -> None:
    detail = await client.conversations.detail(bench.session_id)
    assert detail.transcript_rows


async def _recording(bench: Bench, client: AkapuluClient) -> None:
    async with client.conversations.recording(bench.session_id) as recording:
        assert b"".join([piece async for piece in recording.iter_bytes()]) == bench.content


async def _download(bench: Bench, client: AkapuluClient) -> None:
    target = bench.folder / "call.wav"
    try:
        await client.conversations.download_recording(bench.session_id, target)
        assert target.read_bytes() == bench.content
    finally:
        assert files(bench.folder) in ([], [".part"], ["call.wav"])
        assert target.exists() == (target.is_file() and target.read_bytes() == bench.content)


async def _session(bench: Bench, client: AkapuluClient) -> None:
    async with client.session(REQUEST) as session:
        bench.simulator.advance(60)
        await session.wait_for(SessionState.BOT_READY, timeout=PATIENCE)
        assert session.state is SessionState.BOT_READY


DO: Mapping[str, Callable[[Bench, AkapuluClient], Awaitable[None]]] = dict(
    zip(OPERATIONS, (_connect, _updates, _detail, _recording, _download, _session), strict=True)
)

_ROUTES = cast(
    "Mapping[str, Route]",
    dict(zip(OPERATIONS, ("connect", "updates", "detail", "recording", "recording", "updates"), strict=True)),
)


def left_behind() -> list[str]:
    """Return the library's tasks that still run."""
    tasks = (task.get_coro() for task in asyncio.all_tasks())
    files_of = [getattr(coroutine, "cr_code").co_filename for coroutine in tasks if hasattr(coroutine, "cr_code")]  # noqa: B009
    return [name for name in files_of if "akapulu_async" in name and "simulator" not in name]


__all__ = ["DO", "Bench", "bench", "left_behind"]
