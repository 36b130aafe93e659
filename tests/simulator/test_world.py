"""The world enforces the account's plan."""

import base64
import json
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from akapulu_async.simulator.answers import RefusedError
from akapulu_async.simulator.conversation import ConversationEnd
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.world import (
    ConversationStateError,
    UnknownConversationError,
    _room_name,
    _session_id,
    room_token,
)

ID = "33333333-3333-4333-8333-333333333333"


def refused(scene: Any, now: float, **fields: Any) -> Any:
    with pytest.raises(RefusedError) as caught:
        scene.connect(now, **fields)
    return caught.value.refusal.error_code


@pytest.mark.parametrize(
    ("options", "plan", "at", "reason"),
    [
        ({"call_seconds": 60}, {}, 71, ConversationEnd.USER_LEFT),
        ({"end_with_script": True}, {}, 51, ConversationEnd.SCENARIO_ENDED),
        ({}, {"max_call_seconds": 30}, 41, ConversationEnd.DURATION_LIMIT_REACHED),
        ({}, {"minutes": 1, "max_call_seconds": None}, 71, ConversationEnd.DURATION_LIMIT_REACHED),
        ({"auto_join": False}, {"participant_join_timeout": 20}, 20, ConversationEnd.PARTICIPANT_JOIN_TIMEOUT),
        ({"join_after": 30}, {"participant_join_timeout": 20}, 20, ConversationEnd.PARTICIPANT_JOIN_TIMEOUT),
        ({}, {"max_lifetime": 40}, 40, ConversationEnd.EXPIRED),
    ],
)
def test_how_conversations_end(scene: Any, options: Any, plan: Any, at: float, reason: Any) -> None:
    """Each documented cause ends a conversation in its second and frees its slot."""
    scene = scene(**{"call_seconds": None, **options}, plan=Plan(max_concurrent=1, **plan))
    conversation = scene.connect()
    assert scene.world.open_count(at - 0.001) == 1
    assert scene.world.open_count(at) == 0
    assert (conversation.ended_at, conversation.end_reason) == (at, reason)


def test_a_participant_in_time_stops_the_join_timeout(scene: Any) -> None:
    """A participant that has joined stops the join timeout."""
    scene = scene(auto_join=False, plan=Plan(participant_join_timeout=20))
    conversation = scene.connect()
    scene.world.join(conversation.id, 19)
    assert scene.world.open_count(100) == 1


def test_slots_are_freed_by_the_end(scene: Any) -> None:
    """A full account refuses until a conversation ends, and the peak is remembered."""
    scene = scene(plan=Plan(max_concurrent=2), call_seconds=60)
    first = scene.connect(0)
    scene.connect(1)
    assert refused(scene, 2) == "CONCURRENCY_LIMIT_REACHED"
    scene.world.end(first.id, 3, ConversationEnd.USER_LEFT)
    scene.connect(3)
    assert refused(scene, 4) == "CONCURRENCY_LIMIT_REACHED"
    scene.connect(72)
    statistics = scene.world.statistics(72)
    assert (statistics.connected, statistics.open, statistics.peak) == (4, 2, 2)
    assert statistics.ended == {ConversationEnd.USER_LEFT: 2}


def test_old_conversations_can_be_forgotten(scene: Any) -> None:
    """Beyond `conversations_kept`, those that ended first are unknown but counted; open ones are kept."""
    scene = scene(conversations_kept=1, call_seconds=60)
    first, second, third = (scene.connect(now).id for now in (0, 1, 500))
    assert set(scene.world.conversations) == {second, third}
    with pytest.raises(UnknownConversationError):
        scene.world.find(first, 500)
    assert scene.world.statistics(500).connected == 3
    scene.world.settle(1000)
    assert set(scene.world.conversations) == {third}


def test_the_peak_is_remembered(scene: Any) -> None:
    """The peak stays when conversations end and new ones begin."""
    scene = scene(call_seconds=60)
    for now in (0, 1, 2, 500):
        scene.connect(now)
    statistics = scene.world.statistics(500)
    assert (statistics.open, statistics.peak) == (1, 3)


def test_minutes_are_used_up(scene: Any) -> None:
    """Whole minutes add up; the cap is the minutes left; with none left, connect is refused."""
    scene = scene(plan=Plan(minutes=3, max_call_seconds=None), call_seconds=61)
    scene.connect(0)
    assert scene.world.statistics(11).minutes == 0
    assert scene.world.statistics(12).minutes == 1
    assert scene.world.statistics(72).minutes == 2
    second = scene.connect(80)
    assert second.call_cap == 60
    scene.world.settle(1000)
    assert (second.ended_at, second.end_reason) == (151, ConversationEnd.DURATION_LIMIT_REACHED)
    assert refused(scene, 1000) == "MINUTES_LIMIT_REACHED"


@given(st.floats(0, 1e6), st.integers(1, 9))
@example(0.4, 1)  # (11.4 + 60.0) - 11.4 is more than 60.0
def test_a_call_of_whole_minutes_counts_as_many(scene: Any, now: float, minutes: int) -> None:
    """A call of whole minutes counts exactly these, whenever it begins, as does one that is cut off."""
    for options in ({"call_seconds": 60.0 * minutes}, {"call_seconds": None, "plan": Plan(minutes=minutes)}):
        played = scene(**options)
        played.connect(now)
        assert played.world.statistics(now + 1000).minutes == minutes


def test_what_does_not_exist_is_refused_before_the_plan_is_asked(scene: Any) -> None:
    """An unknown scenario or avatar gets 404, even on a full account, and takes no slot."""
    scene = scene(scenarios=frozenset({ID}), avatars=frozenset({ID}), plan=Plan(max_concurrent=0))
    assert refused(scene, 0) == "SCENARIO_NOT_FOUND"
    assert refused(scene, 0, scenario_id=ID) == "AVATAR_NOT_FOUND"
    assert refused(scene, 0, scenario_id=ID, avatar_id=ID) == "CONCURRENCY_LIMIT_REACHED"


def test_conversations_are_found_by_any_form_of_the_id(scene: Any) -> None:
    """Text in either case and UUID find it; another id does not."""
    scene = scene()
    conversation = scene.connect()
    for identifier in (conversation.id, conversation.id.upper(), UUID(conversation.id)):
        assert scene.world.find(identifier, 0) is conversation
    with pytest.raises(UnknownConversationError, match=ID):
        scene.world.find(ID, 0)


def test_a_participant_takes_the_pretend_ones_place(scene: Any) -> None:
    """A participant that joins by call stays until it leaves, even when the pretend one would have left."""
    scene = scene(auto_join=True, call_seconds=60)
    conversation = scene.connect()
    scene.world.join(conversation.id, 1)
    assert conversation.joined_at == 1
    assert scene.world.open_count(500) == 1


def test_a_participant_that_is_not_ready_takes_back_the_pretend_ones_word(scene: Any) -> None:
    """After a join without `client-ready` the call waits, even if a pretend participant was to come."""
    scene = scene(auto_join=True)
    conversation = scene.connect(wait_for_client_ready=True)
    scene.world.join(conversation.id, 1, client_ready=False)
    assert not conversation.progress(200).call_is_ready


def test_nobody_joins_after_the_end(scene: Any) -> None:
    """After the end, joining and client-ready raise, and a second end changes nothing."""
    scene = scene(auto_join=False)
    conversation = scene.connect()
    with pytest.raises(ConversationStateError, match="not joined"):
        scene.world.client_ready(conversation.id, 1)
    scene.world.end(conversation.id, 2, ConversationEnd.EXPIRED)
    scene.world.end(conversation.id, 3, ConversationEnd.USER_LEFT)
    assert (conversation.ended_at, conversation.end_reason) == (2, ConversationEnd.EXPIRED)
    for act in (scene.world.join, scene.world.client_ready):
        with pytest.raises(ConversationStateError, match="ended: expired"):
            act(conversation.id, 4)


def test_the_seed_repeats_a_run(scene: Any) -> None:
    """The same seed gives the same ids, rooms and progress."""
    one, other = scene().connect(), scene().connect()
    assert (one.id, one.room_url, one.token, one.offsets) == (
        other.id, other.room_url, other.token, other.offsets
    )  # fmt: skip


STEPS = st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["connect", "join", "end", "look"])), max_size=40)


@given(STEPS, st.integers(1, 4), st.integers(1, 20))
def test_the_plan_is_never_exceeded(scene: Any, steps: Any, slots: int, minutes: int) -> None:
    """In any order of events, slots stay within the plan, and minutes and ends only grow."""
    scene = scene(plan=Plan(max_concurrent=slots, minutes=minutes, max_lifetime=300), call_seconds=40)
    now, statistics, ids = 0.0, [scene.world.statistics(0)], [ID]
    for seconds, action in steps:
        now += seconds
        try:
            match action:
                case "connect":
                    ids.append(scene.connect(now).id)
                case "join":
                    scene.world.join(ids[-1], now)
                case "end":
                    scene.world.end(ids[-1], now, ConversationEnd.USER_LEFT)
        except (RefusedError, ConversationStateError, UnknownConversationError):
            pass
        statistics.append(scene.world.statistics(now))
    assert all(each.open <= each.peak <= slots for each in statistics)
    assert all(each.connected == each.open + sum(each.ended.values()) for each in statistics)
    assert all(one.minutes <= two.minutes for one, two in pairwise(statistics))
    assert scene.world.statistics(now + 301).open == 0


def test_ids_are_random_uuids() -> None:
    """Ids are version 4 UUIDs, all different."""
    rng = Random(1)
    ids = [_session_id(rng) for _ in range(100)]
    assert {UUID(each).version for each in ids} == {4}
    assert len(set(ids)) == 100


def test_a_token_is_a_jwt_for_its_room() -> None:
    """A token has a header, claims that name the room and its lifetime, and a signature."""
    header, claims, signature = room_token(Random(1), "room-1", issued_at=1000.9).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (decoded["r"], decoded["iat"], decoded["exp"]) == ("room-1", 1000, 8200)
    assert len(base64.urlsafe_b64decode(signature + "==")) == 32


def test_tokens_differ() -> None:
    """Two tokens for the same room and second are not the same."""
    rng = Random(1)
    assert room_token(rng, "room-1", issued_at=0) != room_token(rng, "room-1", issued_at=0)


def test_the_seed_repeats_them() -> None:
    """The same seed draws the same room."""
    assert _room_name(Random(5)) == _room_name(Random(5)) != _room_name(Random(6))
