"""The progress of a conversation, and its detail with the transcript."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

import attrs

from akapulu_async.models.connection import raw_field


@attrs.frozen
class ConversationUpdate:
    """The progress of a conversation.

    Attributes:
        conversation_session_id: The conversation.
        call_is_ready: True once bot and participant are ready, so that the live call can begin.
        completion_percent: 0 to 100, may be fractional; 100 when ready [documented]. Values outside are clamped; a
            missing one is 0.
        latest_update_text: The latest status in words, for people; the full list is not published. Empty if there is
            none.
        raw: The JSON of the answer.
    """

    conversation_session_id: str
    call_is_ready: bool
    completion_percent: float = 0.0
    latest_update_text: str = ""
    raw: Mapping[str, Any] = raw_field()


@attrs.frozen
class Avatar:
    """The avatar of a conversation.

    Attributes:
        id: The avatar's UUID.
        href: The avatar's page; empty if the service sent null.
        profile_image_url: A signed link to a picture, which expires. Empty if the service sent null.
    """

    id: str
    href: str
    profile_image_url: str = attrs.field(repr=False)


@attrs.frozen
class RecordingStatus:
    """The state of a conversation's recording.

    Attributes:
        has_recording: True if the conversation is recorded.
        is_ready: True once the recording can be downloaded, some time after the conversation's end.
        status_text: The state in words, for people; empty if the service sent null.
    """

    has_recording: bool
    is_ready: bool
    status_text: str


@attrs.frozen
class TranscriptRow:
    """One row of a transcript. New roles and new kinds of content pass through.

    Attributes:
        role: `user`, `assistant`, `tool`, or another that the service adds.
        content: The spoken text; in tool rows it may be structured JSON [seen]. None if the row has none.
        node_id: The node of the scenario to which the row belongs. None if the row names none.
        tool_call_id: The call that a tool row answers. None in other rows.
        tool_calls: The calls that the row makes, as the service sent them. None if there are none.
        raw: The JSON of the row.
    """

    role: str
    content: Any = None
    node_id: str | None = None
    tool_call_id: str | None = None
    tool_calls: Any = None
    raw: Mapping[str, Any] = raw_field()

    @property
    def text(self) -> str:
        """The content as text: structured content as compact JSON, none as the empty text."""
        if self.content is None:
            return ""
        return self.content if isinstance(self.content, str) else _compact(self.content)


@attrs.frozen
class NodeTurn:
    """Consecutive transcript rows of one node of the scenario.

    Attributes:
        node_id: The node. None for rows that name none.
        rows: The rows, in order; at least one.
    """

    node_id: str | None
    rows: tuple[TranscriptRow, ...]


@attrs.frozen
class ConversationDetail:
    """Everything that the service stores about a conversation.

    `transcript_text()` formats the transcript for people; `transcript_by_node()` groups it by the scenario's nodes.

    Attributes:
        id: The conversation: the `conversation_session_id` of its connect.
        created_at: The time of its connect, with a time zone.
        created_at_text: The same for people; empty if the service sent null.
        duration_text: Its duration for people, such as `4 minutes`; empty if the service sent null.
        avatar: Its avatar.
        scenario_id: The UUID of its scenario.
        recording: The state of its recording.
        transcript_rows: The transcript, in order; it grows during the conversation.
        raw: The JSON of the answer.
    """

    id: str
    created_at: datetime
    created_at_text: str
    duration_text: str
    avatar: Avatar
    scenario_id: str
    recording: RecordingStatus
    transcript_rows: tuple[TranscriptRow, ...]
    raw: Mapping[str, Any] = raw_field()

    def transcript_by_node(self) -> tuple[NodeTurn, ...]:
        """Group the transcript by the scenario's nodes, in the order in which they were visited.

        A node that is visited again has another turn.
        """
        groups = groupby(self.transcript_rows, key=lambda row: row.node_id)
        return tuple(NodeTurn(node_id, tuple(rows)) for node_id, rows in groups)

    def transcript_text(self) -> str:
        """Return the transcript for people: a heading per node, and per row a line `role: text`."""
        return "\n\n".join(_node_text(turn) for turn in self.transcript_by_node())


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _node_text(turn: NodeTurn) -> str:
    heading = [] if turn.node_id is None else [f"[{turn.node_id}]"]
    return "\n".join([*heading, *map(_row_text, turn.rows)])


def _row_text(row: TranscriptRow) -> str:
    calls = "" if row.tool_calls is None else _compact(row.tool_calls)
    words = " ".join(part for part in (row.text, calls) if part)
    # A row stays one paragraph: its further lines are indented below its role.
    return f"{row.role}: {words}".replace("\n", "\n    ")
