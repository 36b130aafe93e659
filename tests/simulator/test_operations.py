"""A test drives and observes a running simulator."""

import asyncio
import contextlib
import gc
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from akapulu_async.simulator import (
    ConversationEnd,
    ConversationState,
    ConversationStateError,
    Fault,
    UnknownConversationError,
)
from akapulu_async.simulator.answers import RefusedError
from akapulu_async.simulator.operations import Clock, Conversations, Operations
from akapulu_async.simulator.requests import Match, parse_connect_request
from akapulu_async.simulator.settings import Settings

UNKNOWN = "33333333-3333-4333-8333-333333333333"


async def test_the_caller_drives(open_sim: Any) -> None:
    """Without a pretend participant the call is not ready until the caller joins, and ends when it leaves."""
    async with open_sim(auto_join=False, ready_time=10) as user:
        identifier = await user.connect(wait_for_client_ready=True)
        user.sim.advance(100)
        assert (await user.updates(identifier))[1]["latest_update_text"] == "bot ready"
        user.sim.join(identifier, client_ready=False)
        assert not (await user.updates(identifier))[1]["call_is_ready"]
        user.sim.client_ready(UUID(identifier))
        assert (await user.updates(identifier))[1]["call_is_ready"]
        assert user.sim.open_conversations == 1
        user.sim.leave(identifier)
        assert user.sim.open_conversations == 0
        assert user.sim.conversations[identifier].end_reason is ConversationEnd.USER_LEFT


@pytest.mark.parametrize("auto_join", [False, True])
async def test_a_participant_for_the_client(open_sim: Any, auto_join: Any) -> None:
    """The participant joins on entry, says client-ready, and leaves on exit, even after an error."""
    async with open_sim(auto_join=auto_join, ready_time=10) as user:
        connection = SimpleNamespace(conversation_session_id=UUID(await user.connect()))
        identifier = str(connection.conversation_session_id)
        with contextlib.suppress(KeyError):
            async with user.sim.participant(connection):
                user.sim.advance(500)
                assert user.sim.conversations[identifier].state is ConversationState.READY
                raise KeyError
        assert user.sim.conversations[identifier].end_reason is ConversationEnd.USER_LEFT
        with pytest.raises(ConversationStateError):
            await user.sim.participant(connection).__aenter__()


async def test_a_conversation_can_be_ended_for_any_reason(open_sim: Any) -> None:
    """`end` takes each reason by its name, and refuses others."""
    async with open_sim() as user:
        for reason in ConversationEnd:
            identifier = await user.connect()
            user.sim.end(identifier, reason=reason.value)
            assert user.sim.conversations[identifier].end_reason is reason
        with pytest.raises(ValueError, match="boredom"):
            user.sim.end(identifier, reason="boredom")
        with pytest.raises(UnknownConversationError):
            user.sim.end(UNKNOWN)


async def test_requests_can_be_waited_for(open_sim: Any) -> None:
    """`wait_for_request` returns once `count` were seen since the start, and raises after its timeout."""
    async with open_sim() as user:
        identifier = await user.connect()
        wait = asyncio.create_task(user.sim.wait_for_request("updates", count=2, conversation_id=identifier))
        await user.updates(UNKNOWN)
        await user.updates(identifier)
        assert not wait.done()
        await user.updates(identifier)
        await wait
        assert (user.sim.count("updates"), user.sim.count()) == (3, 4)
        with pytest.raises(TimeoutError):
            await user.sim.wait_for_request("detail", timeout=0.01)


async def test_conditions_can_be_waited_for(open_sim: Any) -> None:
    """`wait_until` checks again after each change."""
    async with open_sim(ready_time=10) as user:
        identifier = await user.connect()
        ready = asyncio.create_task(
            user.sim.wait_until(lambda: user.sim.conversations[identifier].ready_at is not None)
        )
        await asyncio.sleep(0)
        user.sim.advance(5)
        await asyncio.sleep(0)
        assert not ready.done()
        user.sim.advance(5)
        await ready


async def test_what_time_alone_brings_can_be_waited_for(open_sim: Any) -> None:
    """With a speed, `wait_until` notices what time alone changes."""
    async with open_sim(speed=1000, ready_time=10) as user:
        identifier = await user.connect()
        await user.sim.wait_until(lambda: user.sim.conversations[identifier].ready_at is not None)


async def test_only_who_is_there_can_leave(open_sim: Any) -> None:
    """Leaving a conversation that nobody joined raises, ending it does not; after the end neither raises."""
    async with open_sim(join_after=2) as user:
        identifier = await user.connect()
        with pytest.raises(ConversationStateError, match="has not joined yet"):
            user.sim.leave(identifier)
        assert (await user.control("POST", f"conversations/{identifier}/leave"))[0] == 409
        user.sim.end(identifier)
        user.sim.leave(identifier)
        assert user.sim.conversations[identifier].end_reason is ConversationEnd.SCENARIO_ENDED
        joined = await user.connect()
        user.sim.advance(2)
        user.sim.leave(joined)
        assert user.sim.conversations[joined].end_reason is ConversationEnd.USER_LEFT


async def test_the_storage_host_fails_on_demand(open_sim: Any) -> None:
    """Faults hit the storage host by its route."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(route="storage", status=503))
        assert (await user.updates(UNKNOWN))[0] == 404
        assert (await user.request("GET", user.sim.storage_url + "/x"))[0] == 503


async def test_faults_come_and_go(open_sim: Any) -> None:
    """A handle removes its fault and counts its hits; clearing removes all."""
    async with open_sim() as user:
        handle = user.sim.add_fault(Fault(status=503, times=None))
        assert user.sim.faults == (handle,)
        assert (await user.updates(UNKNOWN))[0] == 503
        handle.remove()
        assert (await user.updates(UNKNOWN))[0] == 404
        user.sim.add_fault(Fault(status=503))
        user.sim.clear_faults()
        assert (handle.hits, user.sim.faults) == (1, ())


UNKNOWN = "33333333-3333-4333-8333-333333333333"


def test_a_view_is_of_the_moment(scene: Any) -> None:
    """Each look-up shows the present state; a view does not change."""
    scene, clock = scene(), Clock(0)
    identifier = scene.connect().id
    views = Conversations(scene.world, clock)
    before = views[identifier]
    clock.advance(100)
    assert (before.state, views[identifier].state) == ("starting", "ended")


def test_ids_in_any_form(scene: Any) -> None:
    """Text in either case and UUID lead to the same conversation, others to KeyError."""
    scene = scene()
    ids = [scene.connect().id for _ in range(3)]
    views = Conversations(scene.world, Clock(0))
    assert list(views) == ids
    assert len(views) == 3
    assert views[ids[1]] == views[ids[1].upper()] == views[UUID(ids[1])]
    assert UNKNOWN not in views
    with pytest.raises(KeyError, match=UNKNOWN):
        _ = views[UNKNOWN]


BODY = b'{"scenario_id": "11111111-1111-4111-8111-111111111111", "avatar_id": "22222222-2222-4222-8222-222222222222"}'


def drawn(seed: int | None) -> tuple[str, str]:
    """Return two random values: a conversation's id and a signed URL."""
    parts = Operations(Settings(speed=0, seed=seed, requests_kept=None))
    conversation = parts._world.connect(parse_connect_request(BODY), parts.now)
    return conversation.id, parts._storage.recording_url("a", 50, "wav", 0)


def test_one_seed_repeats_all_parts() -> None:
    """World and storage repeat with the seed, and differ without one or with another."""
    assert drawn(1) == drawn(1)
    assert not {*drawn(1)} & {*drawn(2)}
    assert not {*drawn(None)} & {*drawn(None)}


def test_parts_obey_one_set_of_settings() -> None:
    """Clock, journal, plan and storage follow the settings given."""
    settings = Settings(speed=0, requests_kept=7, max_concurrent=1, signed_url_lifetime=9, recording_ranges=False)
    parts = Operations(settings)
    assert (parts.now, parts.requests.maxlen) == (0, 7)
    parts.advance(5)
    conversation = parts._world.connect(parse_connect_request(BODY), parts.now)
    assert conversation.connected_at == 5
    with pytest.raises(RefusedError):
        parts._world.connect(parse_connect_request(BODY), parts.now)
    url = parts._storage.recording_url(conversation.id, 50, "wav", 0)
    assert "expires=9.000" in url
    assert parts._storage.answer("GET", url, {}, 0).headers["Accept-Ranges"] == "none"


def test_speed_multiplies_real_time() -> None:
    """At speed 20, a real second is 20 simulated ones, counted from the start of the clock."""
    real = iter((100.0, 100.0, 101.0))
    clock = Clock(20, real=lambda: next(real))
    assert (clock.now(), clock.now()) == (0, 20)


def test_advance_adds_at_once() -> None:
    """Advances add up, even at speed 0."""
    clock = Clock(0)
    clock.advance(5)
    clock.advance(0.5)
    assert clock.now() == 5.5


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_goes_forward_only(seconds: float) -> None:
    """An advance that is negative, infinite or NaN is refused."""
    with pytest.raises(ValueError, match="seconds"):
        Clock().advance(seconds)


def reachable(start: object) -> int:
    """Return the number of objects that an object keeps alive, apart from code."""
    seen, found = {id(start)}, [start]
    for each in found:  # grows meanwhile
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType):
                seen.add(id(other))
                found.append(other)
    return len(found)


@pytest.mark.parametrize("step", [0, 30], ids=["time stands still", "time passes"])
def test_nothing_more_is_kept_than_promised(step: float) -> None:
    """After many conversations, only the latest ended ones and the latest requests are kept."""
    sim = Operations(Settings(speed=0, max_lifetime=None, conversations_kept=10, requests_kept=10))
    before = reachable(sim)
    for _ in range(5000):
        identifier = sim._world.connect(parse_connect_request(BODY), sim.now).id
        sim.join(identifier)
        sim._journal.record(sim.now, "GET", "/", Match("updates", identifier), 200, None)
        sim.advance(step)
        sim.end(identifier)
    assert (len(sim.conversations), len(sim.requests), sim.statistics().connected) == (10, 10, 5000)
    assert reachable(sim) - before < 5000  # less than one object a conversation
