"""The operations of the matrix: each does what a user does, and checks the result closely."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from akapulu_async import AkapuluClient, ConversationSession, SessionState
from akapulu_async.simulator import ScriptRow, Simulator
from akapulu_async.simulator.requests import Route
from tests.robustness.faults.proxy import Link
from tests.support.misbehaving import API_KEY, REQUEST
from tests.support.storing import files

_READY = 1.0  # seconds from a connect until the bot is ready
_SPOKEN = 0.5  # seconds that a recorded call lasts: a recording of some 4 KB
_LONGER = 0.6


@attrs.frozen
class Bench:
    """A service with one conversation that has ended and was recorded."""

    simulator: Simulator
    operation: str
    """The operation that it is set up for."""

    session_id: str
    content: bytes
    """Its recording."""

    folder: Path
    """An empty folder for downloads."""

    live_id: str
    """Another conversation, which has not ended."""

    link: Link
    """The link to the host below, if it is slow."""

    @property
    def host(self) -> str:
        """The URL of the host that the faults strike: the service, or the one to which it redirects."""
        return self.simulator.storage_url if _redirected(self.operation) else self.simulator.base_url

    def behind(self, url: str) -> str:
        """Put that host behind this URL, and return a client's base URL."""
        if not _redirected(self.operation):
            return url
        self.simulator._storage.base_url = url
        return self.simulator.base_url

    def seen(self) -> int:
        """Return how often that host handled the operation's requests."""
        return self.simulator.count(_ROUTES[self.operation])

    async def do(self, client: AkapuluClient) -> None:
        """Do the operation."""
        await _DO[self.operation](self, client)

    async def prepare(self, client: AkapuluClient) -> None:
        """Read something from that host, so that there is a kept connection to it."""
        await _READ.get(_ROUTES[self.operation], _updates)(self, client)

    async def other(self) -> "Bench":
        """Return the same service with another conversation. Only for a host that is not behind another URL."""
        async with AkapuluClient(API_KEY, base_url=self.simulator.base_url) as client:
            session_id, content = await _record(self.simulator, client, _LONGER)
        return attrs.evolve(self, session_id=session_id, content=content)


@asynccontextmanager
async def bench(operation: str, folder: Path) -> AsyncGenerator[Bench]:
    """Set up a service."""
    recorded = Simulator(
        speed=0,
        seed=1,
        api_key=API_KEY,
        ready_time=_READY,
        join_after=0,
        call_seconds=None,
        script=[ScriptRow(role="user", content="Hello! " * 20, seconds=_SPOKEN / 2)],
        recording_form="redirect" if _redirected(operation) else "bytes",
        recording_format="wav",  # as long as the call, so that two recordings differ
        recording_delay=0,
    )
    async with recorded as simulator:
        async with AkapuluClient(API_KEY, base_url=simulator.base_url) as client:
            session_id, content = await _record(simulator, client, _SPOKEN)
            live_id = await _begin(client) if operation == "attach" else ""
        yield Bench(simulator, operation, session_id, content, folder, live_id, Link())


def _redirected(operation: str) -> bool:
    return _ROUTES[operation] == "storage"


async def _begin(client: AkapuluClient) -> str:
    connection = await client.conversations.connect(attrs.evolve(REQUEST, record_conversation=True))
    return connection.conversation_session_id


async def _record(simulator: Simulator, client: AkapuluClient, seconds: float) -> tuple[str, bytes]:
    """Simulate a recorded call of so many seconds; return its id and its recording."""
    session_id = await _begin(client)
    simulator.advance(_READY + seconds)
    simulator.end(session_id)
    simulator.advance(1)
    async with client.conversations.recording(session_id) as recording:
        content = b"".join([piece async for piece in recording.iter_bytes()])
    assert content
    return session_id, content


async def _connect(bench: Bench, client: AkapuluClient) -> None:
    connection = await client.conversations.connect(REQUEST)
    assert connection.conversation_session_id in bench.simulator.conversations


async def _updates(bench: Bench, client: AkapuluClient) -> None:
    update = await client.conversations.updates(bench.session_id)
    assert update.conversation_session_id == bench.session_id


async def _detail(bench: Bench, client: AkapuluClient) -> None:
    detail = await client.conversations.detail(bench.session_id)
    assert (detail.id, len(detail.transcript_rows)) == (bench.session_id, 1)


async def _request(bench: Bench, client: AkapuluClient) -> None:
    update = await client.request("GET", f"/conversations/{bench.session_id}/updates/")
    assert update["conversation_session_id"] == bench.session_id


async def _wait_for_recording(bench: Bench, client: AkapuluClient) -> None:
    detail = await client.conversations.wait_for_recording(bench.session_id, timeout=None)
    assert (detail.id, detail.recording.is_ready) == (bench.session_id, True)


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


async def _get_ready(bench: Bench, session: ConversationSession) -> None:
    async with session:
        bench.simulator.advance(_READY)
        await session.bot_ready.wait()
        assert session.state is SessionState.BOT_READY


async def _session(bench: Bench, client: AkapuluClient) -> None:
    await _get_ready(bench, client.session(REQUEST))


async def _attach(bench: Bench, client: AkapuluClient) -> None:
    bench.simulator.advance(_READY)  # entering polls
    await _get_ready(bench, client.attach(bench.live_id))


_Deed = Callable[[Bench, AkapuluClient], Awaitable[None]]

_DO: Mapping[str, _Deed] = {
    "connect": _connect,
    "updates": _updates,
    "detail": _detail,
    "wait_for_recording": _wait_for_recording,
    "request": _request,
    "recording": _recording,
    "redirected recording": _recording,
    "download_recording": _download,
    "redirected download_recording": _download,
    "session": _session,
    "attach": _attach,
}

_ROUTES: Mapping[str, Route] = {
    "connect": "connect",
    "updates": "updates",
    "detail": "detail",
    "wait_for_recording": "detail",
    "request": "updates",
    "recording": "recording",
    "redirected recording": "storage",
    "download_recording": "recording",
    "redirected download_recording": "storage",
    "session": "updates",
    "attach": "updates",
}

_READ: Mapping[Route, _Deed] = {"detail": _detail, "recording": _recording, "storage": _recording}


def left_behind() -> list[str]:
    """Return the files of the library's tasks that still run."""
    tasks = (task.get_coro() for task in asyncio.all_tasks())
    files_of = [getattr(coroutine, "cr_code").co_filename for coroutine in tasks if hasattr(coroutine, "cr_code")]  # noqa: B009
    return [name for name in files_of if "akapulu_async" in name and "simulator" not in name]


__all__ = ["Bench", "bench", "left_behind"]
