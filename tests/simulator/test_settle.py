"""`settle()` returns when every client has seen the last change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from akapulu_async import AkapuluClient, ConnectRequest, EndReason, PollPolicy
from akapulu_async.simulator import Fault, Simulator, UnknownConversationError

REQUEST = ConnectRequest("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
UNKNOWN = "33333333-3333-4333-8333-333333333333"
LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"debug": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


@asynccontextmanager
async def clients(*, interval: float = 0.01, **options: Any) -> AsyncIterator[tuple[Simulator, AkapuluClient]]:
    """Open a simulator whose clock stands still, and a client that polls often."""
    poll = PollPolicy(interval=interval, live_interval=interval, max_failures=None)
    async with (
        Simulator(speed=0, seed=1, call_seconds=None, **options) as sim,
        AkapuluClient(sim.api_key, base_url=sim.base_url, poll=poll) as client,
    ):
        yield sim, client


@LOOPS
async def test_a_client_has_seen_the_time_that_was_advanced(anyio_backend: object) -> None:
    """Each change has been seen when it returns, even one before the first poll."""
    async with clients() as (sim, client), client.session(REQUEST) as session:
        sim.advance(5)
        await sim.settle()
        assert session.progress.percent > 0
        assert not session.bot_ready.is_set()
        sim.advance(30)
        await sim.settle()
        assert session.bot_ready.is_set()


async def test_it_waits_for_every_client() -> None:
    """However often each of many clients polls, all have seen the change."""
    async with AsyncExitStack() as stack:
        sim, client = await stack.enter_async_context(clients())
        sessions = []
        for number in range(20):
            interval = 0.002 * (1 + number)
            poll = PollPolicy(interval=interval, live_interval=interval)
            sessions.append(await stack.enter_async_context(client.session(REQUEST, poll=poll)))
        for seconds, ready in ((5, False), (30, True)):
            sim.advance(seconds)
            await sim.settle()
            assert all(session.progress.percent for session in sessions)
            assert {session.bot_ready.is_set() for session in sessions} == {ready}
        for session in sessions[::2]:
            sim.end(session.id)
        await sim.settle()
        assert [session.ended.is_set() for session in sessions] == [True, False] * 10


@LOOPS
@pytest.mark.parametrize("after_end", ["text", "gone", "not_found"])
@pytest.mark.parametrize("kept", [None, 0])
async def test_a_client_has_seen_the_end(anyio_backend: object, after_end: Any, kept: Any) -> None:
    """The last answer that a client polls for has been read, and later changes do not wait for that client."""
    async with (
        clients(after_end=after_end, conversations_kept=kept) as (sim, client),
        client.session(REQUEST) as session,
    ):
        sim.advance(30)
        await sim.settle()
        sim.end(session.id)
        await sim.settle()
        assert session.ended.is_set()
        assert session.end_reason is EndReason.COMPLETED
        sim.advance(30)
        await sim.settle()


async def test_an_end_that_no_answer_reports() -> None:
    """With `after_end="unchanged"` clients poll on, and each change waits for them."""
    async with clients(after_end="unchanged") as (sim, client), client.session(REQUEST) as session:
        sim.end(session.id)
        for _ in range(2):
            polls = session.polls
            await sim.settle()
            sim.advance(1)
        assert session.polls > polls
        assert not session.ended.is_set()


@pytest.mark.parametrize(
    "effect",
    [{"status": 503}, {"status": 429}, {"reset": "before"}, {"reset": "after"}, {"truncate_at": 3}, {"body": "<html>"}],
    ids=str,
)
async def test_an_answer_that_fails_is_seen_too(effect: Any) -> None:
    """A failed poll counts as answered, and removing the fault is another change."""
    async with clients(ready_time=1) as (sim, client), client.session(REQUEST) as session:
        fault = sim.add_fault(Fault(route="updates", times=None, **effect))
        sim.advance(30)
        await sim.settle()
        assert fault.hits
        assert not session.bot_ready.is_set()
        fault.remove()
        await sim.settle()
        assert session.bot_ready.is_set()


@pytest.mark.parametrize("effect", [{"status": 401}, {"status": 401, "delay": 0.01}], ids=str)
async def test_a_refusal_for_good_ends_polling(effect: Any) -> None:
    """A made-up refusal has been seen, and later changes do not wait for the client that gave up."""
    async with clients() as (sim, client), client.session(REQUEST) as session:
        sim.add_fault(Fault(route="updates", **effect))
        await sim.settle()
        assert session.ended.is_set()
        sim.advance(1)
        await sim.settle()


async def test_a_lost_refusal_is_asked_for_again() -> None:
    """A 404 that does not arrive whole is not the last answer: the client polls again, and sees the next one."""
    async with clients(after_end="not_found") as (sim, client), client.session(REQUEST) as session:
        faults = [
            sim.add_fault(Fault(route="updates", **effect)) for effect in ({"reset": "after"}, {"truncate_at": 5})
        ]
        sim.end(session.id)
        await sim.settle()
        assert faults[0].hits
        await session.ended.wait()
        assert faults[1].hits


def join(sim: Simulator, identifier: str) -> None:
    sim.join(identifier, client_ready=False)


def client_ready(sim: Simulator, identifier: str) -> None:
    sim.client_ready(identifier)


def leave(sim: Simulator, identifier: str) -> None:
    sim.leave(identifier)


def add_and_remove_a_fault(sim: Simulator, _identifier: str) -> None:
    sim.add_fault(Fault(route="detail", status=500)).remove()


def clear_faults(sim: Simulator, _identifier: str) -> None:
    sim.clear_faults()


async def settling(sim: Simulator, **options: Any) -> asyncio.Task[None]:
    """Begin to settle."""
    task = asyncio.create_task(sim.settle(**options))
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("change", [join, client_ready, leave, add_and_remove_a_fault, clear_faults])
async def test_the_second_poll_after_a_change_is_the_proof(open_sim: Any, change: Callable[..., None]) -> None:
    """The first poll proves only an earlier answer; without a change there is nothing to wait for."""
    async with open_sim(auto_join=False, after_end="unchanged") as user:
        identifier = await user.connect()
        user.sim.join(identifier, client_ready=False)
        await user.updates(identifier)
        await user.updates(identifier)
        await user.sim.settle()
        change(user.sim, identifier)
        settled = await settling(user.sim)
        await user.updates(identifier)
        assert not settled.done()
        await user.updates(identifier)
        await settled
        await user.sim.settle()


async def test_later_changes_are_not_waited_for(open_sim: Any) -> None:
    """A change or a connect during the wait does not prolong it."""
    async with open_sim() as user:
        identifier = await user.connect()
        settled = await settling(user.sim)
        await user.updates(identifier)
        user.sim.advance(1)
        await user.connect()
        await user.updates(identifier)
        await settled


async def test_one_conversation_alone(open_sim: Any) -> None:
    """With an id, in any form, no other conversation is waited for."""
    async with open_sim() as user:
        identifier, _ = await user.connect(), await user.connect()
        settled = await settling(user.sim, conversation_id=identifier.upper())
        await user.updates(identifier)
        await user.updates(identifier)
        await settled
        with pytest.raises(UnknownConversationError):
            await user.sim.settle(conversation_id=UNKNOWN)


async def test_a_client_that_went_away_is_named(open_sim: Any) -> None:
    """A client that stops in silence makes it time out, and the error says which, why and what to do."""
    async with open_sim() as user:
        identifier = await user.connect()

        async def why() -> str:
            with pytest.raises(TimeoutError, match=identifier) as caught:
                await user.sim.settle(timeout=0.01)
            return str(caught.value)

        assert "has not been polled yet" in await why()
        await user.updates(identifier)
        assert "but not a second time" in await why()
        user.sim.advance(1)
        assert "has not been polled since the last change" in await why()
        await user.connect()
        assert "(nor have 1 others)" in await why()
        assert "conversation_id=" in await why()


async def test_a_session_that_was_left_is_named() -> None:
    """A session that was left makes it time out; another session is waited for by its id."""
    async with clients() as (sim, client):
        async with client.session(REQUEST) as left:
            await sim.settle()
        async with client.session(REQUEST) as session:
            sim.advance(30)
            with pytest.raises(TimeoutError, match=left.id):
                await sim.settle(timeout=0.01)
            await sim.settle(conversation_id=session.id)
            assert session.bot_ready.is_set()


async def test_over_http(open_sim: Any) -> None:
    """The control settles too: it takes an id and a timeout, and answers 504 after that."""
    async with open_sim(after_end="gone") as user:
        identifier = await user.connect()
        status, answer = await user.control("POST", "settle", json={"timeout": 0.01})
        assert (status, answer["error_code"], identifier in answer["error"]) == (504, "NOT_SETTLED", True)
        settled = asyncio.create_task(user.control("POST", "settle", json={"conversation_id": identifier}))
        user.sim.end(identifier)
        assert (await user.updates(identifier))[0] == 410
        assert await settled == (200, {"now": 0})
