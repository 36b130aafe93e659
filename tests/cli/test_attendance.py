"""Following a conversation, and offering its transcript."""

import asyncio
import json

import pytest

from akapulu_async import AkapuluClient, ConnectRequest
from akapulu_async.cli.attendance import Held, attend, finish, poll_policy
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.target import Target
from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import HANG, ID


def client_of(sim: Simulator) -> AkapuluClient:
    return AkapuluClient(sim.api_key, base_url=sim.base_url)


def test_polls_are_as_fast_as_the_service() -> None:
    """A faster target is polled as much faster."""
    assert (poll_policy(Target()).interval, poll_policy(Target()).live_interval) == (0.5, 2)
    assert poll_policy(Target(simulator=True, speed=10)).live_interval == 0.2


async def test_cancelled_before_it_is_connected(still: Simulator) -> None:
    """Before the connect has succeeded, cancellation passes, and no transcript is fetched."""
    still.add_fault(Fault(route="connect", delay=0.2))
    async with client_of(still) as client:
        task = asyncio.create_task(attend(client.session(ConnectRequest(ID, ID)), Screen(), Target(), transcript=True))
        await still.wait_for_request("connect", timeout=HANG)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert still.count("detail") == 0


@pytest.mark.parametrize("transcript", [True, False])
async def test_cancelled(still: Simulator, capsys: pytest.CaptureFixture[str], transcript: bool) -> None:
    """Cancellation returns the transcript so far if it is wanted; otherwise it passes."""
    async with client_of(still) as client:
        session = client.session(ConnectRequest(ID, ID))
        task = asyncio.create_task(attend(session, Screen(), Target(), transcript=transcript))
        await still.wait_for_request("updates", timeout=HANG)
        task.cancel()
        if transcript:
            held = await task
            assert held.code is ExitCode.INTERRUPTED
            assert held.detail is not None
        else:
            with pytest.raises(asyncio.CancelledError):
                await task
    assert f"akapulu-async watch {session.id}" in capsys.readouterr().err


async def test_no_reader(still: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """If nobody reads the output any more, the error names the conversation, which continues."""

    def connected(_: object) -> None:
        raise BrokenPipeError

    async with client_of(still) as client:
        session = client.session(ConnectRequest(ID, ID))
        with pytest.raises(BrokenPipeError):
            await attend(session, Screen(json=True), Target(), transcript=False, connected=connected)
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"akapulu-async: conversation {session.id} continues; to watch it: akapulu-async watch {session.id}"


async def test_finish(still: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The transcript is shown as a dialogue, as JSON, or not at all."""
    async with client_of(still) as client:
        session_id = (await client.conversations.connect(ConnectRequest(ID, ID))).conversation_session_id
        detail = await client.conversations.detail(session_id)
    assert finish(Held(ExitCode.OK, None), Screen(), ask=False) == 0
    assert capsys.readouterr().out == ""
    assert finish(Held(ExitCode.NOT_READY, detail), Screen(), ask=False) == 6
    assert capsys.readouterr().out == "\nNothing was said.\n"
    assert finish(Held(ExitCode.OK, detail), Screen(json=True), ask=False) == 0
    assert json.loads(capsys.readouterr().out) == {"event": "transcript", "session_id": session_id, "rows": []}
