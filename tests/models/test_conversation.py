"""Updates and details are frozen, and the transcript is easy to read."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.models import conversation as module
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    NodeTurn,
    RecordingStatus,
    TranscriptRow,
)
from tests.support.frozen import check_documented, check_frozen

SCENARIO = "11111111-1111-4111-8111-11111111111a"
AVATAR = "22222222-2222-4222-8222-22222222222b"


def detail(*rows: TranscriptRow) -> ConversationDetail:
    return ConversationDetail(
        id=AVATAR,
        created_at=datetime(2026, 3, 10, tzinfo=UTC),
        created_at_text="",
        duration_text="",
        avatar=Avatar(AVATAR, "", ""),
        scenario_id=SCENARIO,
        recording=RecordingStatus(has_recording=False, is_ready=False, status_text=""),
        transcript_rows=rows,
    )


ROWS = (
    TranscriptRow("user", "Hi", "greeting"),
    TranscriptRow("assistant", "Hello!\nHow are you?", "greeting"),
    TranscriptRow("assistant", None, "look_up", tool_calls=[{"name": "über"}]),
    TranscriptRow("tool", {"rows": [1, None]}, "look_up", tool_call_id="call-1"),
    TranscriptRow("narrator", "Music.", None),
    TranscriptRow("assistant", "Bye.", "greeting", tool_calls=[]),
    TranscriptRow("user", "", "greeting"),
)


MODELS: list[Any] = [
    ConversationUpdate(AVATAR, call_is_ready=True),
    Avatar(AVATAR, "", "https://signed/"),
    RecordingStatus(has_recording=True, is_ready=False, status_text=""),
    ROWS[0],
    NodeTurn(None, ROWS),
    detail(*ROWS),
]


def test_models_are_frozen() -> None:
    """No field of an answer can be changed, and none added."""
    check_frozen(module, *MODELS)


def test_fields_are_documented() -> None:
    """`help()` explains each field."""
    check_documented(module)


def test_signed_links_are_not_shown() -> None:
    """A repr shows neither the avatar's signed link nor the raw answer."""
    assert "signed" not in repr(Avatar(AVATAR, "", "https://signed/"))
    assert "whole" not in repr(TranscriptRow("user", raw={"a": "whole"}))


def test_transcript_by_node() -> None:
    """Rows are grouped in the order of visited nodes; a node visited again has another turn."""
    turns = detail(*ROWS).transcript_by_node()
    assert [(turn.node_id, len(turn.rows)) for turn in turns] == [
        ("greeting", 2), ("look_up", 2), (None, 1), ("greeting", 2)
    ]  # fmt: skip
    assert detail().transcript_by_node() == ()


@given(st.lists(st.builds(TranscriptRow, st.just("user"), st.text(), st.sampled_from(["a", "b", None]))))
def test_turns_lose_no_row(rows: list[TranscriptRow]) -> None:
    """The turns contain all rows in order, and neighbouring turns have different nodes."""
    turns = detail(*rows).transcript_by_node()
    assert [row for turn in turns for row in turn.rows] == rows
    assert all(one.node_id != other.node_id for one, other in pairwise(turns))


def test_transcript_text() -> None:
    """The text has a heading per node and `role: text` per row, further lines indented, structures as JSON."""
    assert detail(*ROWS).transcript_text().split("\n") == [
        "[greeting]",
        "user: Hi",
        "assistant: Hello!",
        "    How are you?",
        "",
        "[look_up]",
        'assistant: [{"name":"über"}]',
        'tool: {"rows":[1,null]}',
        "",
        "narrator: Music.",
        "",
        "[greeting]",
        "assistant: Bye. []",
        "user: ",
    ]
    assert detail().transcript_text() == ""


@pytest.mark.parametrize(
    ("content", "text"), [(None, ""), ("", ""), ("a\n", "a\n"), ({"ä": [1]}, '{"ä":[1]}'), (0, "0"), (False, "false")]
)
def test_a_row_as_text(content: Any, text: str) -> None:
    """A text stays itself, None becomes the empty text, and anything else compact JSON."""
    assert TranscriptRow("tool", content).text == text
