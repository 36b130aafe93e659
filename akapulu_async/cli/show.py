"""`show`: a conversation's details and transcript."""

from datetime import UTC
from typing import Any

from akapulu_async.cli import signals
from akapulu_async.cli.display import rows_json, show_dialogue
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.streams import plain
from akapulu_async.cli.target import AsJson, BaseUrl, ConversationId, Speed, Target, UseSimulator
from akapulu_async.models.conversation import ConversationDetail, RecordingStatus


def show(
    session_id: ConversationId = None,
    *,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Show a conversation's details and transcript."""
    target, screen = Target(base_url=base_url, simulator=simulator, speed=speed), Screen(json=as_json)

    async def ask() -> ConversationDetail:
        async with target.conversation(session_id, over=True) as (client, known):
            return await client.conversations.detail(known)

    detail = signals.run(ask())
    screen.emit(detail_json(detail))
    screen.say(f"Conversation {detail.id}", "bold")
    for name, value in _facts(detail).items():
        screen.say(f"  {name:<11}{value}")
    show_dialogue(detail, screen)
    return 0


def _facts(detail: ConversationDetail) -> dict[str, str]:
    return {
        "created": detail.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "duration": plain(detail.duration_text) or "unknown",
        "scenario": detail.scenario_id,
        "avatar": detail.avatar.id,
        "recording": recording_text(detail.recording),
    }


def recording_text(recording: RecordingStatus) -> str:
    """Return the state of a recording in words."""
    state = "ready" if recording.is_ready else "not ready" if recording.has_recording else "none"
    said = plain(recording.status_text)
    return f"{state} ({said})" if said and said.lower().removeprefix("recording ") != state else state


def detail_json(detail: ConversationDetail) -> dict[str, Any]:
    """Return a conversation for scripts, without the avatar's picture, whose link is signed."""
    recording = detail.recording
    return {
        "id": detail.id,
        "created_at": detail.created_at.isoformat(),
        "duration_text": detail.duration_text,
        "scenario_id": detail.scenario_id,
        "avatar_id": detail.avatar.id,
        "recording": {
            "has_recording": recording.has_recording,
            "is_ready": recording.is_ready,
            "status_text": recording.status_text,
        },
        "transcript": rows_json(detail),
    }
