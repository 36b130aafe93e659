"""What the service says of a conversation: how far it has come, and its detail with the transcript."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

import attrs

from akapulu_async.models.connection import raw_field


@attrs.frozen
class ConversationUpdate:
    """How far a conversation has come."""

    conversation_session_id: str
    """The conversation."""

    call_is_ready: bool
    """True when bot and participant are ready: the gate into the live call."""

    completion_percent: float = 0.0
    """0 to 100, may be fractional; 100 when ready [documented]. A value outside is clamped; none is 0."""

    latest_update_text: str = ""
    """The latest state in words, for people; the full list is not published. Empty if there is none."""

    raw: Mapping[str, Any] = raw_field()
    """The answer as it came."""


@attrs.frozen
class Avatar:
    """The avatar of a conversation."""

    id: str
    href: str
    """Where the avatar's page is; empty if the service sent null."""

    profile_image_url: str = attrs.field(repr=False)
    """A signed link to a picture, which ends working some time later. Empty if the service sent null."""


@attrs.frozen
class RecordingStatus:
    """Whether there is a recording, and whether it can be downloaded."""

    has_recording: bool
    is_ready: bool
    """True some time after the end of the conversation."""

    status_text: str
    """The state in words, for people; empty if the service sent null."""


@attrs.frozen
class TranscriptRow:
    """One row of a transcript. A role or a kind of content that is new to this library passes through."""

    role: str
    """`user`, `assistant`, `tool`, or what the service adds."""

    content: Any = None
    """What was said: a text; in tool rows it may be structured JSON [seen]. None if the row has none."""

    node_id: str | None = None
    """The scenario's node in which it was said. None if the row names none."""

    tool_call_id: str | None = None
    """Which call a tool row answers. None in other rows."""

    tool_calls: Any = None
    """The calls that a row asks for, as the service wrote them. None if there are none."""

    raw: Mapping[str, Any] = raw_field()
    """The row as it came."""

    @property
    def text(self) -> str:
        """The content as text: structured content as compact JSON, none as the empty text."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


@attrs.frozen
class NodeTurn:
    """Consecutive transcript rows of one node of the scenario."""

    node_id: str | None
    """The node. None for rows that name none."""

    rows: tuple[TranscriptRow, ...]


@attrs.frozen
class ConversationDetail:
    """All that the service keeps of a conversation."""

    id: str
    """The conversation's id: the `conversation_session_id` of its connect."""

    created_at: datetime
    """When it was connected, with its zone."""

    created_at_text: str
    """The same for people; empty if the service sent null."""

    duration_text: str
    """How long it took, for people, such as `4 minutes`; empty if the service sent null."""

    avatar: Avatar
    scenario_id: str
    recording: RecordingStatus
    transcript_rows: tuple[TranscriptRow, ...]
    """What was said, in order; it grows while the conversation goes on."""

    raw: Mapping[str, Any] = raw_field()
    """The answer as it came."""

    def transcript_by_node(self) -> tuple[NodeTurn, ...]:
        """Group the transcript by the scenario's nodes, in the order in which they were visited.

        A node that the conversation comes back to has a turn each time.
        """
        groups = groupby(self.transcript_rows, key=lambda row: row.node_id)
        return tuple(NodeTurn(node_id, tuple(rows)) for node_id, rows in groups)

    def transcript_text(self) -> str:
        """Return the transcript for people: a heading a node, a line a row, `role: text`."""
        return "\n\n".join(_node_text(turn) for turn in self.transcript_by_node())


def _node_text(turn: NodeTurn) -> str:
    heading = [] if turn.node_id is None else [f"[{turn.node_id}]"]
    return "\n".join([*heading, *map(_row_text, turn.rows)])


def _row_text(row: TranscriptRow) -> str:
    calls = "" if row.tool_calls is None else json.dumps(row.tool_calls, ensure_ascii=False, separators=(",", ":"))
    words = " ".join(part for part in (row.text, calls) if part)
    # A row stays one paragraph: its further lines are indented below its role.
    return f"{row.role}: {words}".replace("\n", "\n    ")
