"""A session's participant: available while it is in the room, and able to report what it sees there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from akapulu_async import Connection, EndReason, PollPolicy, SessionState
from akapulu_async.session import session as session_module
from akapulu_async.session.attendance import Attendance
from tests.support.managed import soon, until
from tests.support.misbehaving import REQUEST
from tests.support.steered import READY, session_tasks, steered


class Room:
    """A participant's value that can report."""

    def __init__(self) -> None:
        self.reports: Attendance | None = None
        self.calls = 0

    def report_to(self, attendance: Attendance) -> None:
        self.reports = attendance
        self.calls += 1


class Guest:
    """A participant that joins and leaves when the test lets it."""

    def __init__(self) -> None:
        self.room = Room()
        self.may_join, self.may_leave = asyncio.Event(), asyncio.Event()
        self.leaving = asyncio.Event()

    @asynccontextmanager
    async def __call__(self, _: Connection) -> AsyncGenerator[Room]:
        await self.may_join.wait()
        try:
            yield self.room
        finally:
            self.leaving.set()
            await self.may_leave.wait()


async def test_the_value_while_the_participant_is_in_the_room() -> None:
    """`session.participant` is the value of the participant's context while it is in the room."""
    guest = Guest()
    async with steered() as world:
        session = world.client.session(REQUEST, participant=guest)
        assert session.participant is None
        async with session:
            assert session.participant is None
            guest.may_join.set()
            await session.room_joined.wait()
            assert session.participant is guest.room
            ending = asyncio.create_task(session.end())
            await guest.leaving.wait()
            assert session.participant is guest.room
            guest.may_leave.set()
            await ending
            assert session.participant is None
        assert guest.room.calls == 1


async def test_without_a_participant() -> None:
    """`session.participant` is None without a participant and for an attached session."""
    async with steered() as world, world.client.session(REQUEST) as session:
        assert session.participant is None
        async with world.client.attach(session.id) as attached:
            assert attached.participant is None


async def joined(guest: Guest) -> Attendance:
    guest.may_join.set()
    guest.may_leave.set()
    await until(lambda: guest.room.reports)
    assert guest.room.reports is not None
    return guest.room.reports


@pytest.mark.parametrize(("ready", "reason"), [(True, EndReason.COMPLETED), (False, EndReason.FAILED)])
async def test_a_report_that_the_bot_left_ends_the_session(ready: bool, reason: EndReason) -> None:
    """`left()` ends the session at once: completed if the bot was ready, else failed."""
    guest = Guest()
    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        reports = await joined(guest)
        if ready:
            world.service.says(**READY)
            await session.bot_ready.wait()
        reports.left()
        assert (session.end_reason, session.cause) == (reason, None)
        reports.left()
        reports.joined()
        assert session.state is SessionState.ENDED
    assert session_tasks() == []


async def test_a_report_that_the_bot_is_ready_makes_the_session_poll() -> None:
    """`bot_ready()` makes the session poll at once; only the answer makes it ready."""
    guest = Guest()
    never = PollPolicy(interval=1000.0, live_interval=1000.0, jitter=0.0)
    async with steered(poll=never) as world, world.client.session(REQUEST, participant=guest) as session:
        reports = await joined(guest)
        assert (world.polls, session.polls) == (0, 0)  # the first poll is due in up to 1000 s
        reports.bot_ready()
        await world.polled()
        assert not session.bot_ready.is_set()
        world.service.says(**READY)
        await until(lambda: session.polls)
        reports.bot_ready()
        await soon(session.bot_ready.wait())


async def test_a_report_of_a_join_enters_the_state() -> None:
    """`joined()` enters `room_joined`, unless entering the context has done so."""
    guest = Guest()
    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        reports = await joined(guest)
        assert session.room_joined.is_set()
        reports.joined()
        assert session.state is SessionState.ROOM_JOINED


async def test_a_participant_that_does_not_leave_is_cancelled_while_the_block_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A participant has its time to leave from the end of the session on, whether or not somebody closes it."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", 0.01)
    guest = Guest()
    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        guest.may_join.set()
        await session.room_joined.wait()
        world.service.refuses(404)
        await guest.leaving.wait()
        await until(lambda: session.participant is None)
        assert session.ended.is_set()
