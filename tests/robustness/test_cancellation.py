"""Cancellation in every form and at every await: the right error, one connect at most, and nothing left behind."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from akapulu_async import Connection, ConversationSession, EndReason, SessionState
from akapulu_async.http import transport as transport_module
from akapulu_async.session import session as session_module
from tests.support.far_timer import NEVER, far_timer
from tests.support.misbehaving import REQUEST, SESSION, TOKEN, Peer, Seen, hang
from tests.support.steered import READY, Steered, session_tasks, steered

GUARD = 20.0
"""Seconds after which a test gives up."""


@pytest.fixture(
    params=[pytest.param({}, id="asyncio"), pytest.param({"use_uvloop": True}, id="uvloop", marks=pytest.mark.slow)]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each test on asyncio's own loop and on uvloop."""
    return "asyncio", request.param


# How: each runs something, cancels it when the point is reached, and checks the error.

Step = Callable[[], Awaitable[object]]


async def task_cancel(run: Step, point: Step, after: Step) -> None:
    task = asyncio.ensure_future(run())
    await point()
    task.cancel()
    await after()
    with pytest.raises(asyncio.CancelledError):
        await task


async def two_task_cancels(run: Step, point: Step, after: Step) -> None:
    task = asyncio.ensure_future(run())
    await point()
    task.cancel()
    asyncio.get_running_loop().call_later(0.005, task.cancel)
    await after()
    with pytest.raises(asyncio.CancelledError):
        await task


async def timeout(run: Step, point: Step, after: Step) -> None:
    limit = asyncio.timeout(None)

    async def limited() -> None:
        async with limit:
            await run()

    task = asyncio.create_task(limited())
    await point()
    limit.reschedule(asyncio.get_running_loop().time())
    await after()
    with pytest.raises(TimeoutError):
        await task


async def failing_sibling(run: Step, point: Step, after: Step) -> None:
    async def fail() -> None:
        await point()
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, after())
        raise ZeroDivisionError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_as_coroutine(run))
            tasks.create_task(fail())

    task = asyncio.create_task(group())
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


async def _as_coroutine(run: Step) -> None:
    await run()


async def cancel_scope(run: Step, point: Step, after: Step) -> None:
    scope = anyio.CancelScope()

    async def scoped() -> None:
        with scope:
            await run()
            await asyncio.Event().wait()  # a cancel during shielded clean-up takes effect here

    task = asyncio.create_task(scoped())
    await point()
    scope.cancel()
    await after()
    await task
    assert scope.cancelled_caught


async def move_on_after(run: Step, point: Step, after: Step) -> None:
    scopes: list[anyio.CancelScope] = []

    async def scoped() -> None:
        with anyio.move_on_after(None) as scope:
            scopes.append(scope)
            await run()
            await asyncio.Event().wait()  # as above

    task = asyncio.create_task(scoped())
    await point()
    scopes[0].deadline = anyio.current_time()
    await after()
    await task
    assert scopes[0].cancelled_caught


async def wait_for(run: Step, point: Step, after: Step) -> None:
    with far_timer() as strike:
        task = asyncio.create_task(asyncio.wait_for(_as_coroutine(run), NEVER))
        await point()
    strike()
    await after()
    with pytest.raises(TimeoutError):
        await task


HOWS = [task_cancel, two_task_cancels, timeout, failing_sibling, cancel_scope, move_on_after, wait_for]


# Where: each is a place in a session's life at which it is cancelled.


class Guest:
    """A participant whose joining and leaving can be delayed."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.may_join, self.may_leave = asyncio.Event(), asyncio.Event()
        self.may_join.set()
        self.may_leave.set()
        self._changed = asyncio.Event()

    async def reached(self, word: str) -> None:
        """Return once the guest is at this point."""
        while word not in self.log:
            self._changed.clear()
            await self._changed.wait()

    @asynccontextmanager
    async def __call__(self, connection: Connection) -> AsyncGenerator[None]:
        self._note("joins")
        await self.may_join.wait()
        self._note("joined")
        try:
            yield
        finally:
            self._note("leaves")
            await self.may_leave.wait()
            self._note("left")

    def _note(self, word: str) -> None:
        self.log.append(word)
        self._changed.set()


def soon(action: Callable[[], object]) -> None:
    """Do something after the cancel has been delivered."""
    asyncio.get_running_loop().call_later(0.02, action)


class Place:
    """In the block of a session, with a guest in the room: the guest leaves, and only the cancel is raised."""

    late_answer = leave_grace = GUARD
    connects = 1
    known = True
    shielded = False
    reason = EndReason.CANCELLED
    log: tuple[str, ...] = ("joins", "joined", "leaves", "left")

    def __init__(self, world: Steered) -> None:
        self.world = world
        self.guest = Guest()
        self.here = asyncio.Event()
        self.errors: list[BaseException] = []
        self.prepare()
        self.session = world.client.session(REQUEST, participant=self.guest)

    def prepare(self) -> None:
        """Prepare the service."""

    async def run(self) -> None:
        """Run the session, and note its error."""
        try:
            await self.live()
        except BaseException as error:
            self.errors.append(error)
            raise

    async def live(self) -> None:
        async with self.session:
            await self.session.room_joined.wait()
            await self.inside()

    async def inside(self) -> None:
        self.here.set()
        await asyncio.Event().wait()

    async def point(self) -> None:
        """Return once the session is at the place."""
        await self.here.wait()

    async def after(self) -> None:
        """Act after the cancel."""

    async def finish(self) -> None:
        """Stop what is not part of the session."""

    def check(self, warnings: str, *, by_scope: bool) -> None:
        """Check the error, the requests, and what the session knows."""
        # A scope cancels only at awaits, and those of the clean-up are shielded.
        out = [] if by_scope and self.shielded else [asyncio.CancelledError]
        assert [type(error) for error in self.errors] == out
        assert self.world.connects == self.connects
        assert self.session.state is SessionState.ENDED
        assert self.session.end_reason is self.reason
        assert self.session.cause is None
        assert tuple(self.guest.log) == self.log
        if self.known:
            assert self.session.id == SESSION
        self.check_more([note for error in self.errors for note in getattr(error, "__notes__", [])], warnings)

    def check_more(self, notes: list[str], warnings: str) -> None:
        assert notes == []
        assert not warnings


class WaitingForASlot(Place):
    """All connections of the pool are in use: the connect is never sent."""

    connects, known, log = 0, False, ()

    def prepare(self) -> None:
        self.world.service.update = hang
        self.hogs = [
            asyncio.create_task(self.world.client.conversations.updates(SESSION), name=f"hog {number}")
            for number in range(2)
        ]

    async def point(self) -> None:
        await anext(self.session.events())

    async def live(self) -> None:
        await self.world.server.seen(2)
        await super().live()

    async def finish(self) -> None:
        for hog in self.hogs:
            hog.cancel()
        await asyncio.wait(self.hogs)


class ConnectAnsweredLate(Place):
    """The connect was sent: the session waits for the answer, and reports the conversation."""

    log = ()

    def prepare(self) -> None:
        gate, connect = asyncio.Event(), self.world.service.connect

        async def gated(peer: Peer, seen: Seen) -> None:
            await gate.wait()
            await connect(peer, seen)

        self.gate, self.world.service.connect = gate, gated

    async def point(self) -> None:
        await self.world.server.seen(1)

    async def after(self) -> None:
        soon(self.gate.set)

    def check_more(self, notes: list[str], warnings: str) -> None:
        assert notes == [f"conversation {SESSION} was connected meanwhile; it holds a slot until it ends"]
        assert f"conversation {SESSION} was connected, but its session was cancelled" in warnings


class ConnectNeverAnswered(Place):
    """The connect was sent and is not answered in time: it is given up with a warning, and not sent again."""

    late_answer = 0.05
    known, log = False, ()

    def prepare(self) -> None:
        self.world.service.connect = hang

    async def point(self) -> None:
        await self.world.server.seen(1)

    def check_more(self, notes: list[str], warnings: str) -> None:
        assert notes == []
        assert "POST /conversations/connect/ was cancelled, and its answer did not come" in warnings


class InTheBlock(Place):
    __doc__ = Place.__doc__


class InWaitFor(Place):
    """In wait_for, with and without a timeout of its own, which does not interfere."""

    async def inside(self) -> None:
        self.here.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.session.wait_for(SessionState.BOT_READY))
            await self.session.wait_for(SessionState.BOT_READY, timeout=60)


class InAWait(Place):
    """Waiting for a state's event."""

    async def inside(self) -> None:
        self.here.set()
        await self.session.ended.wait()


class InEvents(Place):
    """Iterating over events."""

    async def inside(self) -> None:
        self.here.set()
        async for _event in self.session.events():
            pass


class DuringAPoll(Place):
    """While a poll is under way: it is cancelled too."""

    def prepare(self) -> None:
        self.world.service.update = hang

    async def point(self) -> None:
        await self.here.wait()
        await self.world.server.until(lambda: self.world.polls == 1)


class BeforeReady(Place):
    """While ready() waits for the bot."""

    async def inside(self) -> None:
        self.here.set()
        async with self.session.ready():
            raise AssertionError("not to be run")


class InReady(Place):
    """In the body of ready()."""

    def prepare(self) -> None:
        self.world.service.says(**READY)

    async def inside(self) -> None:
        async with self.session.ready():
            await super().inside()


class InDetail(Place):
    """In another request of the session."""

    def prepare(self) -> None:
        self.world.service.update = hang

    async def inside(self) -> None:
        self.here.set()
        await self.session.detail()

    async def point(self) -> None:
        await self.here.wait()
        await self.world.server.until(lambda: any("updates" not in seen.target for seen in self.gets()))

    def gets(self) -> list[Seen]:
        return [seen for seen in self.world.server.requests if seen.method == "GET"]


class WhileJoining(Place):
    """While the guest still joins: it is cancelled and has nothing to leave, so the conversation is named."""

    log = ("joins",)

    def prepare(self) -> None:
        self.guest.may_join.clear()

    async def point(self) -> None:
        await self.guest.reached("joins")

    def check_more(self, notes: list[str], warnings: str) -> None:
        assert notes == []
        assert f"conversation {SESSION} may continue without this program" in warnings


class WhileLeaving(Place):
    """In clean-up, while the guest leaves: it leaves, and the end reason is `left`."""

    shielded = True
    reason = EndReason.LEFT

    def prepare(self) -> None:
        self.guest.may_leave.clear()

    async def inside(self) -> None:
        pass

    async def point(self) -> None:
        await self.guest.reached("leaves")

    async def after(self) -> None:
        soon(self.guest.may_leave.set)


class WhileHangingUp(WhileLeaving):
    """In clean-up, while the guest does not leave: after the grace period it is cancelled, with a warning."""

    log = ("joins", "joined", "leaves")

    async def after(self) -> None:
        assert self.session._attendance is not None
        self.session._participant_late(self.session._attendance.task)  # as the timer does

    def check_more(self, notes: list[str], warnings: str) -> None:
        assert notes == []
        assert "its participant did not leave in time and is cancelled" in warnings


class InEnd(WhileLeaving):
    """In end(), while the guest leaves."""

    async def inside(self) -> None:
        await self.session.end()


PLACES = [
    WaitingForASlot,
    ConnectAnsweredLate,
    ConnectNeverAnswered,
    InTheBlock,
    InWaitFor,
    InAWait,
    InEvents,
    DuringAPoll,
    BeforeReady,
    InReady,
    InDetail,
    WhileJoining,
    WhileLeaving,
    WhileHangingUp,
    InEnd,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", HOWS)
async def test_cancel(
    how: Callable[[Step, Step, Step], Awaitable[None]],
    place: type[Place],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever and however a session is cancelled, the cancel is raised, the service sees one connect at most, and no
    task, connection or session is left.
    """
    monkeypatch.setattr(transport_module, "LATE_ANSWER", place.late_answer)
    monkeypatch.setattr(session_module, "LEAVE_GRACE", place.leave_grace)
    caplog.set_level(logging.WARNING)
    async with steered(pool_size=2) as world:
        session = await _cancel(how, place(world), caplog)
        # steered() checks the client's tasks and connections; this checks the session's.
        assert session_tasks() == []
        # asyncio holds a cancelled task's error, and so its frames, for one more turn of the loop.
        await asyncio.sleep(0)
        gc.collect()
        assert session() is None


async def _cancel(
    how: Callable[[Step, Step, Step], Awaitable[None]], scene: Place, caplog: pytest.LogCaptureFixture
) -> "weakref.ref[ConversationSession]":
    async with asyncio.timeout(GUARD):
        await how(scene.run, scene.point, scene.after)
        await scene.finish()
    scene.check(caplog.text, by_scope=how in {cancel_scope, move_on_after})
    assert TOKEN not in caplog.text
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    return weakref.ref(scene.session)
