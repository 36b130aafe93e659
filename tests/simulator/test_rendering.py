"""Conversations are rendered in the service's form."""

import json
from typing import Any

import pytest

from akapulu_async.simulator.conversation import ConversationEnd
from akapulu_async.simulator.rendering import (
    connect_json,
    detail_json,
    recording_status,
    updates_after_end,
    updates_json,
)


def detail(scene: Any, conversation: Any, now: float) -> Any:
    status = recording_status(conversation, now, 3)
    return detail_json(conversation, now, status, epoch=scene.settings.epoch, image_url="https://i")


def test_the_answer_to_a_connect(scene: Any) -> None:
    """It contains the room, the token and the id."""
    conversation = scene().connect()
    answer = connect_json(conversation)
    assert answer.keys() == {"room_url", "token", "conversation_session_id"}
    assert answer["room_url"].startswith("https://simulator.daily.co/")


def test_the_answer_to_a_poll_is_json(scene: Any) -> None:
    """The answer is JSON with the four documented fields."""
    conversation = scene().connect()
    assert json.loads(updates_json(conversation.id, conversation.progress(11))) == {
        "conversation_session_id": conversation.id,
        "call_is_ready": True,
        "completion_percent": 100.0,
        "latest_update_text": "bot ready",
    }


def test_a_detail_has_the_documented_form(scene: Any) -> None:
    """Times, texts, avatar and scenario look as in the documented example."""
    scene = scene()
    conversation = scene.connect(now=1.0)
    answer = detail(scene, conversation, 12)
    assert answer["created_at"] == "2026-03-10T18:10:03.221Z"
    assert answer["created_at_text"] == "Mar 10, 2026 06:10 PM"
    avatar_id = "22222222-2222-4222-8222-222222222222"
    assert answer["avatar"] == {"id": avatar_id, "href": f"/catalog/{avatar_id}/", "profile_image_url": "https://i"}
    assert answer["scenario_id"] == "11111111-1111-4111-8111-111111111111"
    assert answer["transcript_rows"] == []


@pytest.mark.parametrize(
    ("now", "text"), [(11, "0 minutes"), (12, "1 minute"), (200, "4 minutes"), (1000, "4 minutes")]
)
def test_the_duration_in_words(scene: Any, now: float, text: str) -> None:
    """It counts whole minutes until the end, with a singular for one."""
    scene = scene(call_seconds=200)
    conversation = scene.connect()
    scene.world.settle(now)
    assert detail(scene, conversation, now)["duration_text"] == text


def test_the_transcript_grows_while_the_call_is_live(scene: Any) -> None:
    """Rows appear as they are spoken, stop at the end, and contain the runtime variables."""
    scene = scene(call_seconds=23)
    conversation = scene.connect(runtime_vars={"user_name": "Ann"})
    counts = []
    for now in (11, 12, 20, 34, 100):
        scene.world.settle(now)
        counts.append(len(detail(scene, conversation, now)["transcript_rows"]))
    assert counts == [0, 1, 3, 7, 7]
    assert detail(scene, conversation, 100)["transcript_rows"][5]["content"]["customer"] == "Ann"


def test_a_recording_is_made_and_processed(scene: Any) -> None:
    """A recording waits for the call, is recorded, processed, and ready after the delay."""
    scene = scene(call_seconds=9)
    conversation = scene.connect(record_conversation=True)
    seen = []
    for now in (0, 11, 20, 22.9, 23):
        scene.world.settle(now)
        status = recording_status(conversation, now, 3)
        seen.append((status.has_recording, status.is_ready, status.status_text))
    assert seen == [
        (False, False, "Waiting for the call"),
        (True, False, "Recording in progress"),
        (True, False, "Recording processing"),
        (True, False, "Recording processing"),
        (True, True, "Recording ready"),
    ]


def test_nothing_is_recorded_unasked_or_without_a_call(scene: Any) -> None:
    """There is no recording if none was requested, or if the call was never ready."""
    scene = scene(auto_join=False)
    unasked, uncalled = scene.connect(), scene.connect(record_conversation=True)
    scene.world.end(uncalled.id, 5, ConversationEnd.EXPIRED)
    for conversation in (unasked, uncalled):
        assert recording_status(conversation, 100, 3).to_json() == {
            "has_recording": False,
            "is_ready": False,
            "status_text": "Not recorded",
        }


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ConversationEnd.USER_LEFT, "conversation ended"),
        (ConversationEnd.SCENARIO_ENDED, "conversation ended"),
        (ConversationEnd.EXPIRED, "conversation expired"),
        (ConversationEnd.DURATION_LIMIT_REACHED, "duration_limit_reached"),
        (ConversationEnd.PARTICIPANT_JOIN_TIMEOUT, "participant_join_timeout"),
    ],
)
def test_an_end_in_words(scene: Any, reason: Any, text: str) -> None:
    """Each end has its text; the percentage stays, and the call is not ready."""
    scene = scene()
    conversation = scene.connect()
    scene.world.end(conversation.id, 12, reason)
    update = updates_after_end(conversation, 99)
    assert (update.percent, update.text, update.call_is_ready) == (100.0, text, False)
