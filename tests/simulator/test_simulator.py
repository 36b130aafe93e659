"""`Simulator`: what its users are promised."""

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
    Plan,
    Simulator,
    UnknownConversationError,
)

UNKNOWN = "33333333-3333-4333-8333-333333333333"


def test_constructing_needs_no_loop_and_opens_nothing() -> None:
    """Without a running loop it can be made; its address is known only once it is entered."""
    sim = Simulator()
    assert sim.api_key == "simulator-key"
    with pytest.raises(RuntimeError, match="async with"):
        _ = sim.base_url


@pytest.mark.parametrize("options", [{"speed": -1}, {"max_concurrent": -1}, {"after_end": "x"}, {"ready_time": -1}])
def test_wrong_options_are_refused(options: Any) -> None:
    """An option out of range raises ValueError with its name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Simulator(**options)


async def test_ready_after_a_while_without_any_help(open_sim: Any) -> None:
    """A plain simulator at speed gets a conversation ready and ends it by itself."""
    async with open_sim(speed=1000, call_seconds=5) as user:
        identifier = await user.connect()
        seen = set()
        async with asyncio.timeout(10):
            while (view := user.sim.conversations[identifier]).state is not ConversationState.ENDED:
                seen.add(view.state)
                await user.updates(identifier)
        assert view.end_reason is EndReason.USER_LEFT
        assert view.ended_at - view.ready_at == pytest.approx(5)
        assert ConversationState.STARTING in seen


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


async def test_limits_stand_in_for_the_plans(open_sim: Any) -> None:
    """A single limit replaces the plan's, None takes it away, the others stay."""
    async with open_sim(plan=Plan.free(), max_concurrent=1) as user:
        await user.connect()
        status, _, answer = await user.request(
            "POST", "/conversations/connect/", json={"scenario_id": UNKNOWN, "avatar_id": UNKNOWN}
        )
        assert (status, answer["error_code"]) == (429, "CONCURRENCY_LIMIT_REACHED")
    async with open_sim(plan=Plan.free(), max_concurrent=None) as user:
        views = [user.sim.conversations[await user.connect()] for _ in range(4)]
        assert {view.call_cap for view in views} == {180}


async def test_what_exists_can_be_chosen(open_sim: Any) -> None:
    """With given scenarios and avatars, others get 404."""
    async with open_sim(scenarios={UUID(UNKNOWN)}, avatars=[UNKNOWN]) as user:
        await user.connect(scenario_id=UNKNOWN, avatar_id=UNKNOWN)
        status, _, answer = await user.request(
            "POST", "/conversations/connect/", json={"scenario_id": UNKNOWN, "avatar_id": str(UUID(int=5))}
        )
        assert (status, answer["error_code"]) == (404, "AVATAR_NOT_FOUND")


async def test_ready_time_can_be_drawn_by_the_caller(open_sim: Any) -> None:
    """A function gets the simulator's generator and gives the seconds."""
    async with open_sim(ready_time=lambda rng: 100 + rng.random(), join_after=0) as user:
        view = user.sim.conversations
        identifier = await user.connect()
        user.sim.advance(200)
        assert 100 <= view[identifier].ready_at < 101


async def test_a_script_of_ones_own(open_sim: Any) -> None:
    """Rows are given as plain objects, and their end may be the conversation's."""
    script = [{"role": "assistant", "content": "Hi {{runtime.name}}", "seconds": 1}]
    async with open_sim(script=script, end_with_script=True, call_seconds=None) as user:
        identifier = await user.connect(runtime_vars={"name": "Ann"})
        user.sim.advance(100)
        _, _, detail = await user.request("GET", f"/conversations/{identifier}/")
        assert detail["transcript_rows"] == [
            {"role": "assistant", "content": "Hi Ann", "node_id": "main"}
        ]  # fmt: skip
        assert user.sim.conversations[identifier].end_reason is EndReason.SCENARIO_ENDED


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


async def test_conversations_are_a_mapping(open_sim: Any) -> None:
    """They are listed oldest first, and an unknown id is a KeyError."""
    async with open_sim() as user:
        ids = [await user.connect() for _ in range(3)]
        assert list(user.sim.conversations) == ids
        assert len(user.sim.conversations) == 3
        assert UNKNOWN not in user.sim.conversations
        assert user.sim.statistics().peak == 3


async def test_the_seed_repeats_a_run(open_sim: Any) -> None:
    """The same seed gives the same conversations; none gives others."""
    ids = []
    for seed in (5, 5, None):
        async with open_sim(seed=seed) as user:
            ids.append(await user.connect())
    assert ids[0] == ids[1] != ids[2]
