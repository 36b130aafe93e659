"""A conversation on the screen."""

import asyncio
import json
import sys
from datetime import UTC, datetime

import pytest

from akapulu_async import (
    AkapuluClient,
    Avatar,
    ConnectRequest,
    ConversationDetail,
    EndReason,
    PermissionDeniedError,
    PollPolicy,
    ProgressChanged,
    RecordingStatus,
    SessionState,
    StateChanged,
    TranscriptRow,
)
from akapulu_async.cli.display import Display, event_json, follow, rows_json, show_dialogue, verdict
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.screen import Screen
from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import ID

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def state(state: SessionState, reason: EndReason | None = None) -> StateChanged:
    return StateChanged(session_id=ID, at=AT, elapsed=1.23456, state=state, end_reason=reason)


def progress(percent: float, text: str) -> ProgressChanged:
    return ProgressChanged(session_id=ID, at=AT, elapsed=1.23456, percent=percent, text=text)


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """On a screen that cannot be redrawn, each event is a line; once the bot is ready, without the percent."""
    with Display(Screen()) as display:
        display.show(state(SessionState.CONNECTING))
        display.show(progress(63.6, "bot joined\x1b[2J"))
        display.show(state(SessionState.BOT_READY))
        display.show(progress(100, "node changed"))
        display.show(state(SessionState.ENDED, EndReason.COMPLETED))
    assert capsys.readouterr().out.splitlines() == [
        "   1.23 s  connecting",
        "   1.23 s   63.6 %  bot joined [2J",
        "   1.23 s  bot_ready",
        "   1.23 s  node changed",
        "   1.23 s  ended (completed)",
    ]


def test_json() -> None:
    """For scripts, each event is an object of plain values."""
    head = {"session_id": ID, "at": "2026-01-02T03:04:05+00:00", "elapsed": 1.235}
    assert json.loads(json.dumps(event_json(state(SessionState.CONNECTING)))) == {
        "event": "state", **head, "state": "connecting",
    }  # fmt: skip
    assert event_json(state(SessionState.ENDED, EndReason.LEFT)) == {
        "event": "state", **head, "state": "ended", "end_reason": "left",
    }  # fmt: skip
    assert event_json(progress(1, "x")) == {"event": "progress", **head, "percent": 1, "text": "x"}


async def test_a_good_end(still: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A session is shown to its end; `connected` is called after `connecting` was shown."""
    async with AkapuluClient(still.api_key, base_url=still.base_url, poll=PollPolicy(0.02, 0.02)) as client:
        session = client.session(ConnectRequest(ID, ID))

        def connected(_: object) -> None:
            sys.stdout.write("connected\n")
            still.join(session.id)
            still.advance(30)

        async with asyncio.TaskGroup() as group:
            group.create_task(follow(session, Screen(), connected=connected))
            await still.wait_until(lambda: session.bot_ready.is_set() if session.state != "connecting" else False)
            still.end(session.id)
        assert await verdict(session) is ExitCode.OK
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:2] == ["   0.00 s  connecting", "connected"]
    assert captured.out.endswith("ended (completed)\n")
    assert captured.err == ""


async def test_a_failed_connect(still: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the connect is raised after the end was shown."""
    still.add_fault(Fault(route="connect", status=403))
    async with AkapuluClient(still.api_key, base_url=still.base_url) as client:
        with pytest.raises(PermissionDeniedError):
            await follow(client.session(ConnectRequest(ID, ID)), Screen())
    assert capsys.readouterr().out.endswith("ended (connect_failed)\n")


@pytest.mark.parametrize(
    ("status", "times", "code"),
    [(401, 1, ExitCode.NOT_AUTHORISED), (404, None, ExitCode.NOT_FOUND), (500, None, ExitCode.UNREACHABLE)],
)
async def test_a_bad_end(
    still: Simulator, capsys: pytest.CaptureFixture[str], status: int, times: int | None, code: ExitCode
) -> None:
    """A failed session is shown to its end, its error is one line, and its cause decides the code."""
    still.add_fault(Fault(route="updates", status=status, times=times))
    poll = PollPolicy(0.02, max_failures=1)
    async with AkapuluClient(still.api_key, base_url=still.base_url, poll=poll) as client:
        session = client.session(ConnectRequest(ID, ID))
        await follow(session, Screen())
        assert await verdict(session) is code
    captured = capsys.readouterr()
    assert captured.out.endswith("ended (failed)\n")
    assert captured.err.startswith(f"akapulu-async: Conversation {session.id} ended (failed)")
    assert captured.err.count("\n") == 1


async def test_an_end_before_ready(still: Simulator) -> None:
    """A conversation that ends before its bot is ready has a code of its own."""
    async with AkapuluClient(still.api_key, base_url=still.base_url, poll=PollPolicy(0.02, max_failures=1)) as client:
        session = client.session(ConnectRequest(ID, ID))
        await follow(session, Screen(), connected=lambda _: still.end(session.id))
        assert await verdict(session) is ExitCode.NOT_READY


async def test_an_unknown_end(still: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A conversation that was attached and is over, whether it completed or not, is no failure."""
    still.add_fault(Fault(route="updates", after=1, status=404, times=None))
    async with AkapuluClient(still.api_key, base_url=still.base_url, poll=PollPolicy(0.02, max_failures=1)) as client:
        connection = await client.conversations.connect(ConnectRequest(ID, ID))
        session = client.attach(connection.conversation_session_id)
        await follow(session, Screen())
        assert await verdict(session) is ExitCode.OK
    captured = capsys.readouterr()
    assert captured.out.endswith("ended (unknown)\n")
    assert captured.err == ""


def detail(*rows: TranscriptRow) -> ConversationDetail:
    return ConversationDetail(
        ID, datetime.now(UTC), "", "", Avatar(ID, "", ""), ID, RecordingStatus(False, False, ""), rows
    )


def shown(capsys: pytest.CaptureFixture[str], *rows: TranscriptRow) -> str:
    show_dialogue(detail(*rows), Screen())
    return capsys.readouterr().out


def test_by_node(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are grouped by node in order, in paragraphs of the screen's width; a node can come again."""
    monkeypatch.setenv("COLUMNS", "50")
    rows = [
        TranscriptRow("assistant", "Hello! How are you today, and what can I do for you?", "start"),
        TranscriptRow("user", None, "start"),
        TranscriptRow("tool", {"order": 1042}, "look up"),
        TranscriptRow("user", "Thanks.", "start"),
        TranscriptRow("a new and rather long role", "Bye.", None),
    ]
    assert (
        shown(capsys, *rows)
        == """
start
  assistant: Hello! How are you today, and what
             can I do for you?
  user:      -

look up
  tool:      {"order":1042}

start
  user:      Thanks.

(no node)
  a new and rather long role: Bye.
"""
    )


def test_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Control codes in a transcript do not reach the terminal."""
    out = shown(capsys, TranscriptRow("us\x1ber", "a\x1b[2J\r\nb\x07", "no\x00de"))
    assert out == "\nno de\n  us er:     a [2J b\n"


def test_nothing_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty transcript is reported."""
    assert shown(capsys) == "\nNothing was said.\n"


def test_a_transcript_as_json() -> None:
    """For scripts, each row has its node, its role and its text."""
    rows = TranscriptRow("tool", [1, "ä"], "n"), TranscriptRow("user", "a\nb")
    assert rows_json(detail(*rows)) == [
        {"node_id": "n", "role": "tool", "text": '[1,"ä"]'},
        {"node_id": None, "role": "user", "text": "a\nb"},
    ]
