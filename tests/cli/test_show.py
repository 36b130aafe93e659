"""`show` prints a conversation's details and transcript."""

import pytest

from akapulu_async import RecordingStatus
from akapulu_async.cli.show import recording_text
from akapulu_async.simulator import Simulator
from tests.cli.running import CONTROL_CODES, ID, connected, run


async def test_text() -> None:
    """It shows details and transcript, by node, in plain lines of 80 columns."""
    done = await run("show", "--simulator")
    assert (done.code, done.err) == (0, "")
    assert "\n  duration   1 minute\n" in done.out
    assert "\n  recording  ready\n" in done.out
    assert "\n\ngreeting\n  assistant: Hello! I am here to help. How are you today?\n  user:      Fine" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert not CONTROL_CODES.search(done.out)


async def test_json(still: Simulator) -> None:
    """`--json` prints one object, without the avatar's signed picture."""
    session_id = await connected(still)
    still.join(session_id)
    still.advance(30)
    done = await run("show", session_id, "--json", sim=still)
    assert (done.code, done.err) == (0, "")
    [shown] = done.objects
    assert (shown["id"], shown["scenario_id"], shown["avatar_id"]) == (session_id, ID, ID)
    assert shown["recording"]["has_recording"] is False
    assert shown["transcript"][0] == {
        "node_id": "greeting", "role": "assistant", "text": "Hello! I am here to help. How are you today?",
    }  # fmt: skip
    assert "http" not in done.out


async def test_unknown(still: Simulator) -> None:
    """A conversation that does not exist has an exit code of its own."""
    done = await run("show", ID, sim=still)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)


async def test_unreachable() -> None:
    """An unreachable service has an exit code of its own, and one line says why."""
    done = await run("show", ID, "--base-url", "http://127.0.0.1:9/api", environ={"AKAPULU_API_KEY": "key"})
    assert (done.code, done.out, done.err.count("\n")) == (8, "", 1)
    assert "127.0.0.1:9" in done.err


@pytest.mark.parametrize(
    ("has", "ready", "said", "text"),
    [
        (True, True, "ready", "ready"),
        (True, True, "Recording ready", "ready"),  # documented
        (True, False, "processing", "not ready (processing)"),
        (False, False, "", "none"),
        (True, True, "\x1b[31mfine\n", "ready ([31mfine)"),
    ],
)
def test_recording_in_words(has: bool, ready: bool, said: str, text: str) -> None:
    """The state of a recording is one word, followed by the service's text if that adds anything."""
    assert recording_text(RecordingStatus(has, ready, said)) == text
