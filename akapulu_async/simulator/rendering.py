"""Rendering: conversations in the service's own JSON. Pure."""

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from attrs import frozen

from akapulu_async.simulator.conversation import Conversation, ConversationEnd
from akapulu_async.simulator.milestones import ConversationProgress

__all__ = ["RecordingStatus", "connect_json", "detail_json", "recording_status", "updates_after_end", "updates_json"]

_END_TEXTS = {
    ConversationEnd.DURATION_LIMIT_REACHED: ConversationEnd.DURATION_LIMIT_REACHED.value,
    ConversationEnd.PARTICIPANT_JOIN_TIMEOUT: ConversationEnd.PARTICIPANT_JOIN_TIMEOUT.value,
    ConversationEnd.EXPIRED: "conversation expired",
}
_END_TEXT = "conversation ended"


@frozen
class RecordingStatus:
    """The `recording` object of a detail. `Recording ready` is documented, the other texts are invented."""

    has_recording: bool
    is_ready: bool
    status_text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"has_recording": self.has_recording, "is_ready": self.is_ready, "status_text": self.status_text}


def recording_status(conversation: Conversation, now: float, delay: float) -> RecordingStatus:
    """Return the status of a recording.

    It begins when the call is ready and is processed for `delay` seconds after the end: assumed.
    """
    if not conversation.request.record_conversation:
        return RecordingStatus(has_recording=False, is_ready=False, status_text="Not recorded")
    started = conversation.spoken_seconds(now) is not None
    if conversation.ended_at is None:
        text = "Recording in progress" if started else "Waiting for the call"
        return RecordingStatus(has_recording=started, is_ready=False, status_text=text)
    if not started:
        return RecordingStatus(has_recording=False, is_ready=False, status_text="Not recorded")
    ready = conversation.ended_at + delay <= now
    return RecordingStatus(
        has_recording=True, is_ready=ready, status_text="Recording ready" if ready else "Recording processing"
    )


def connect_json(conversation: Conversation) -> dict[str, Any]:
    """Return the answer to a connect."""
    return {"room_url": conversation.room_url, "token": conversation.token, "conversation_session_id": conversation.id}


def updates_json(conversation_id: str, progress: ConversationProgress) -> bytes:
    """Return the answer to a poll, already as bytes: most of it is the same for all conversations."""
    return b'{"conversation_session_id": "' + conversation_id.encode() + b'", ' + _tail(progress)


@lru_cache(maxsize=1024)
def _tail(progress: ConversationProgress) -> bytes:
    values = {
        "call_is_ready": progress.call_is_ready,
        "completion_percent": progress.percent,
        "latest_update_text": progress.text,
    }
    return json.dumps(values).encode()[1:]


def updates_after_end(conversation: Conversation, now: float) -> ConversationProgress:
    """Return the update after the end: a text that says so, the last percentage, and not ready.

    Assumed: what the service answers then is not published.
    """
    reason = conversation.end_reason
    text = _END_TEXT if reason is None else _END_TEXTS.get(reason, _END_TEXT)
    return ConversationProgress(conversation.progress(now).percent, text, call_is_ready=False)


def detail_json(
    conversation: Conversation, now: float, recording: RecordingStatus, *, epoch: datetime, image_url: str
) -> dict[str, Any]:
    """Return a conversation's detail; `epoch` is the aware time of the simulated second 0."""
    created_at = epoch + timedelta(seconds=conversation.connected_at)
    minutes = conversation.plan.whole_minutes(conversation.call_seconds(now))
    avatar_id = conversation.request.avatar_id
    spoken = conversation.spoken_seconds(now)
    rows = () if spoken is None else conversation.script.spoken(spoken)
    return {
        "id": conversation.id,
        "created_at": f"{created_at:%Y-%m-%dT%H:%M:%S}.{created_at.microsecond // 1000:03d}Z",
        "created_at_text": f"{created_at:%b %d, %Y %I:%M %p}",
        "duration_text": f"{minutes} minute" if minutes == 1 else f"{minutes} minutes",
        "avatar": {"id": avatar_id, "href": f"/catalog/{avatar_id}/", "profile_image_url": image_url},
        "scenario_id": conversation.request.scenario_id,
        "recording": recording.to_json(),
        "transcript_rows": [row.render(conversation.request.runtime_vars) for row in rows],
    }
