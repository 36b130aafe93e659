"""`watch` follows a conversation that was connected elsewhere."""

import signal

import pytest

from akapulu_async.simulator import Fault, Simulator
from akapulu_async.simulator.settings import AfterEnd
from tests.cli.running import CONTROL_CODES, HANG, ID, connected, rest_of, run, running


async def test_to_the_end(still: Simulator) -> None:
    """It shows a running conversation to its end, and then the transcript."""
    session_id = await connected(still)
    still.join(session_id)
    still.advance(20)
    async with running("watch", session_id, "--json", "--transcript", sim=still) as process:
        await still.wait_for_request("updates", count=2, timeout=HANG)
        still.end(session_id)
        done = await rest_of(process)
    assert (done.code, done.err) == (0, "")
    states = [line["state"] for line in done.objects if line["event"] == "state"]
    assert states == ["connecting", "room_joined", "bot_ready", "ended"]
    assert {line["session_id"] for line in done.objects} == {session_id}
    assert done.objects[-1]["event"] == "transcript"


@pytest.mark.parametrize("after_end", ["text", "gone"])
async def test_over_already(after_end: AfterEnd) -> None:
    """A conversation that has ended is reported as over, with success."""
    async with Simulator(speed=0, seed=1, after_end=after_end) as sim:
        session_id = await connected(sim)
        sim.end(session_id)
        done = await run("watch", session_id, "--transcript", sim=sim)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Conversation {session_id} is over.\n")


async def test_unknown(still: Simulator) -> None:
    """A conversation that does not exist is reported at once, with an exit code of its own."""
    done = await run("watch", ID, sim=still)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert still.count() == 2  # its state, and whether its detail is kept


async def test_a_failure(still: Simulator) -> None:
    """When the service refuses a poll, the exit code says why."""
    session_id = await connected(still)
    still.add_fault(Fault(route="updates", after=1, status=401, body={"error_code": "AUTH_INVALID"}, times=None))
    done = await run("watch", session_id, sim=still)
    assert done.code == 3
    assert "ended (failed)" in done.out
    assert done.err.count("\n") == 1


async def test_ctrl_c(still: Simulator) -> None:
    """Ctrl-C ends the watching, not the conversation."""
    session_id = await connected(still)
    async with running("watch", session_id, sim=still) as process:
        await still.wait_for_request("updates", count=3, timeout=HANG)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert done.code == 130
    assert f"akapulu-async watch {session_id}" in done.err
    assert still.open_conversations == 1


async def test_embedded() -> None:
    """`--simulator` has a conversation to watch."""
    done = await run("watch", "--simulator", "--speed", 60)
    assert done.code == 0
    assert "ended (completed)" in done.out
    assert not CONTROL_CODES.search(done.out)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "ID is missing"),
        (["x"], "ID: 'x' is not a UUID"),
        ([ID, "--simulator"], f"ID {ID} cannot be combined with --simulator"),
        ([ID], "AKAPULU_API_KEY"),
    ],
)
async def test_bad_use(arguments: list[str], named: str) -> None:
    """Bad input is one line, and code 2."""
    done = await run("watch", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert named in done.err
