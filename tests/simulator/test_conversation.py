"""A conversation's state follows from its plan and the time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.conversation import ConversationState
from akapulu_async.simulator.plan import Plan


def progress(conversation: Any, now: float) -> Any:
    update = conversation.progress(now)
    return update.percent, update.text, update.call_is_ready


def test_alone_the_bot_stops_short_of_ready(scene: Any) -> None:
    """Without a participant the bot gets ready, and says so, but not the call, however long it takes."""
    conversation = scene(auto_join=False).connect()
    assert progress(conversation, 0) == (0.0, "starting", False)
    assert progress(conversation, 11) == progress(conversation, 99) == (90.9, "bot ready", False)


def test_a_participant_that_is_not_ready_stops_short_of_ready(scene: Any) -> None:
    """Joined without `client-ready`, which the request waits for, the call is not ready."""
    scene = scene(auto_join=False)
    conversation = scene.connect(wait_for_client_ready=True)
    scene.world.join(conversation.id, 5, client_ready=False)
    assert progress(conversation, 99) == (90.9, "bot ready", False)
    scene.world.client_ready(conversation.id, 100)
    assert progress(conversation, 100) == (100.0, "bot ready", True)


def test_without_waiting_the_participant_is_enough(scene: Any) -> None:
    """Unless the request waits for `client-ready`, bot and participant make the call ready."""
    scene = scene(auto_join=False)
    conversation = scene.connect()
    scene.world.join(conversation.id, 5, client_ready=False)
    assert not conversation.progress(10.9).call_is_ready
    assert conversation.progress(11).call_is_ready


def test_the_bot_decides_when_the_participant_is_early(scene: Any) -> None:
    """An early participant does not make the bot faster."""
    conversation = scene(join_after=0).connect(now=100)
    assert [conversation.progress(100 + at).call_is_ready for at in (0, 10.9, 11)] == [False, False, True]
    assert conversation.ready_at() == 111


def test_what_lies_ahead_is_not_seen(scene: Any) -> None:
    """A view shows no event before it has happened."""
    conversation = scene(join_after=2).connect()
    assert conversation.view(1.9).joined_at is None
    assert conversation.view(2).joined_at == 2
    assert conversation.view(10).ready_at is None
    assert conversation.view(11).ready_at == 11


def test_states(scene: Any) -> None:
    """A conversation is starting, ready, then ended."""
    scene = scene(call_seconds=60)
    conversation = scene.connect()
    states = []
    for now in (0, 11, 70.9, 71):
        scene.world.settle(now)
        states.append(conversation.state(now))
    assert states == [
        ConversationState.STARTING, ConversationState.READY, ConversationState.READY, ConversationState.ENDED
    ]  # fmt: skip


@pytest.mark.parametrize(("counted_from", "seconds"), [("connect", 20), ("joined", 18), ("ready", 9)])
def test_what_counts_as_the_call(scene: Any, counted_from: Any, seconds: float) -> None:
    """Minutes count from connect, from the participant's arrival or from readiness, as the plan says."""
    conversation = scene(plan=Plan(counted_from=counted_from)).connect()
    assert conversation.call_seconds(20) == seconds


@given(st.floats(0, 200), st.floats(0, 200), st.booleans(), st.booleans())
def test_progress_never_goes_back(scene: Any, one: float, other: float, auto_join: Any, wait: Any) -> None:
    """Progress only grows, and 100 % means ready."""
    conversation = scene(auto_join=auto_join).connect(wait_for_client_ready=wait)
    earlier, later = conversation.progress(min(one, other)), conversation.progress(max(one, other))
    assert earlier.percent <= later.percent
    assert earlier.call_is_ready <= later.call_is_ready
    assert (later.percent == 100) == later.call_is_ready
