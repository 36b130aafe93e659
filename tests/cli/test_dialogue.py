"""A transcript as a dialogue, and as JSON."""

from datetime import UTC, datetime

import pytest

from akapulu_async import Avatar, ConversationDetail, RecordingStatus, TranscriptRow
from akapulu_async.cli.dialogue import rows_json, show_dialogue
from akapulu_async.cli.screen import Screen
from tests.cli.running import ID


def detail(*rows: TranscriptRow) -> ConversationDetail:
    return ConversationDetail(
        ID, datetime.now(UTC), "", "", Avatar(ID, "", ""), ID, RecordingStatus(False, False, ""), rows
    )


def shown(capsys: pytest.CaptureFixture[str], *rows: TranscriptRow) -> str:
    show_dialogue(detail(*rows), Screen())
    return capsys.readouterr().out


def test_by_node(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stand below their node, in paragraphs of the screen's width; a node that is come back to stands again."""
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


def test_what_would_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that was said reaches the terminal as a control code."""
    out = shown(capsys, TranscriptRow("us\x1ber", "a\x1b[2J\r\nb\x07", "no\x00de"))
    assert out == "\nno de\n  us er:     a [2J b\n"


def test_nothing_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty transcript is said to be one."""
    assert shown(capsys) == "\nNothing was said.\n"


def test_json() -> None:
    """For scripts, each row has its node, its role and its text."""
    rows = TranscriptRow("tool", [1, "ä"], "n"), TranscriptRow("user", "a\nb")
    assert rows_json(detail(*rows)) == [
        {"node_id": "n", "role": "tool", "text": '[1,"ä"]'},
        {"node_id": None, "role": "user", "text": "a\nb"},
    ]
