"""What a test does with a running simulator."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from akapulu_async.simulator import (
    ConversationState,
    ConversationStateError,
    EndReason,
    Fault,
    UnknownConversationError,
)

UNKNOWN = "33333333-3333-4333-8333-333333333333"


async def test_the_caller_drives(open_sim: Any) -> None:
    """Without a pretend participant, nothing happens until the caller joins, and it ends when the caller leaves."""
    async with open_sim(auto_join=False, ready_time=10) as user:
        identifier = await user.connect()
        user.sim.advance(100)
        assert (await user.updates(identifier))[1]["completion_percent"] == 81.8
        user.sim.join(identifier, client_ready=False)
        assert (await user.updates(identifier))[1]["completion_percent"] == 90.9
        user.sim.client_ready(UUID(identifier))
        assert (await user.updates(identifier))[1]["call_is_ready"]
        assert user.sim.open_conversations == 1
        user.sim.leave(identifier)
        assert user.sim.open_conversations == 0
        assert user.sim.conversations[identifier].end_reason is EndReason.USER_LEFT


@pytest.mark.parametrize("auto_join", [False, True])
async def test_a_participant_for_the_client(open_sim: Any, auto_join: Any) -> None:
    """Entering joins and says client-ready, leaving leaves, however the body ends."""
    async with open_sim(auto_join=auto_join, ready_time=10) as user:
        connection = SimpleNamespace(conversation_session_id=UUID(await user.connect()))
        identifier = str(connection.conversation_session_id)
        with contextlib.suppress(KeyError):
            async with user.sim.participant(connection):
                user.sim.advance(500)
                assert user.sim.conversations[identifier].state is ConversationState.READY
                raise KeyError
        assert user.sim.conversations[identifier].end_reason is EndReason.USER_LEFT
        with pytest.raises(ConversationStateError):
            await user.sim.participant(connection).__aenter__()


async def test_a_conversation_can_be_ended_for_any_reason(open_sim: Any) -> None:
    """`end` takes each reason, as a name or a member, and refuses others."""
    async with open_sim() as user:
        for reason in EndReason:
            identifier = await user.connect()
            user.sim.end(identifier, reason=reason.value)
            assert user.sim.conversations[identifier].end_reason is reason
        with pytest.raises(ValueError, match="boredom"):
            user.sim.end(identifier, reason="boredom")
        with pytest.raises(UnknownConversationError):
            user.sim.end(UNKNOWN)


async def test_requests_can_be_waited_for(open_sim: Any) -> None:
    """`wait_for_request` returns once so many were seen, counted since the start, and gives up in time."""
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
    """`wait_until` looks again after controls and after time is moved on."""
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
    """At a speed, `wait_until` sees what comes about without a request or a call."""
    async with open_sim(speed=1000, ready_time=10) as user:
        identifier = await user.connect()
        await user.sim.wait_until(lambda: user.sim.conversations[identifier].ready_at is not None)


async def test_only_who_is_there_can_leave(open_sim: Any) -> None:
    """Leaving a conversation that nobody joined raises, ending it does not; after its end, neither does."""
    async with open_sim(join_after=2) as user:
        identifier = await user.connect()
        with pytest.raises(ConversationStateError, match="has not joined yet"):
            user.sim.leave(identifier)
        assert (await user.control("POST", f"conversations/{identifier}/leave"))[0] == 409
        user.sim.end(identifier)
        user.sim.leave(identifier)
        assert user.sim.conversations[identifier].end_reason is EndReason.SCENARIO_ENDED
        joined = await user.connect()
        user.sim.advance(2)
        user.sim.leave(joined)
        assert user.sim.conversations[joined].end_reason is EndReason.USER_LEFT


async def test_the_storage_host_fails_on_demand(open_sim: Any) -> None:
    """Faults reach the storage host too, by its own route."""
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
