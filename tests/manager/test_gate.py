"""Where starts wait: futures and a timer around decisions that are tested elsewhere."""

import asyncio
from typing import Any

import pytest

from akapulu_async import AkapuluError, FullPolicy, ManagerClosedError, MinutesLimitError
from akapulu_async.manager.gate import StartGate
from akapulu_async.observing import Observers
from akapulu_async.sansio.admission import Admission, Pace

PATIENCE = 5.0


@pytest.fixture(params=[{"debug": False}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each test on asyncio's own loop and on uvloop."""
    return "asyncio", request.param


def gate(limit: int | None = None, rate: float | None = None, full: FullPolicy | None = None) -> StartGate:
    return StartGate(Admission(limit, Pace(rate, burst=0.0), full, lambda: 1.0), Observers())


class Visitor:
    """One that wants to come in, in a task of its own."""

    def __init__(self, gate: StartGate) -> None:
        self.ticket = gate.arrive()
        self.task = asyncio.create_task(gate.enter(self.ticket))

    async def inside(self) -> None:
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)


async def settled() -> None:
    """Let everything happen that can happen without time."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_let_in_in_the_order_of_arrival() -> None:
    """Who arrives first comes in first, and each end lets one more in."""
    it = gate(limit=1)
    visitors = [Visitor(it) for _ in range(4)]
    for number, visitor in enumerate(visitors):
        await visitor.inside()
        await settled()
        assert [other.task.done() for other in visitors] == [place <= number for place in range(4)]
        assert (it.running, it.waiting) == (1, 3 - number)
        it.connected(visitor.ticket)
        it.ended()
    assert (it.running, it.waiting) == (0, 0)


async def test_a_failure_lets_the_next_in() -> None:
    """A place is given on when its owner cannot start."""
    it = gate(limit=1)
    first, second = Visitor(it), Visitor(it)
    await first.inside()
    it.failed(first.ticket)
    await second.inside()
    assert (it.running, it.waiting) == (1, 0)


async def test_the_pace_alone_lets_in() -> None:
    """When only time keeps somebody out, time lets it in, and nothing else has to happen."""
    it = gate(rate=100.0)
    visitors = [Visitor(it) for _ in range(4)]
    began = asyncio.get_running_loop().time()
    for visitor in visitors:
        await visitor.inside()
    assert asyncio.get_running_loop().time() - began >= 0.028


async def test_a_full_account_is_looked_at_again() -> None:
    """Who was refused comes in again when the pause is over."""
    it = gate(full=FullPolicy(base=0.01))
    assert it.waits_when_full
    visitor = Visitor(it)
    await visitor.inside()
    it.refused(visitor.ticket)
    assert (it.running, it.waiting) == (0, 1)
    await asyncio.wait_for(it.enter(visitor.ticket), PATIENCE)
    assert (it.running, it.waiting) == (1, 0)
    assert not gate().waits_when_full


async def test_cancelled_while_waiting() -> None:
    """A cancelled one loses its place and nothing else; those behind it keep their order."""
    it = gate(limit=1)
    first, second, third, fourth = (Visitor(it) for _ in range(4))
    await first.inside()
    second.task.cancel()
    await settled()
    assert second.task.cancelled()
    assert (it.running, it.waiting) == (1, 2)
    it.failed(first.ticket)
    await third.inside()
    assert not fourth.task.done()
    assert not it._admissions.keys() - {fourth.ticket}
    fourth.task.cancel()


async def test_cancelled_in_the_moment_of_being_let_in() -> None:
    """A place that is given to one who is being cancelled goes to the next, whichever of the two came first."""
    for cancelled_first in (True, False):
        it = gate(limit=1)
        first, second, third = Visitor(it), Visitor(it), Visitor(it)
        await first.inside()
        await settled()
        if cancelled_first:
            second.task.cancel()
        it.failed(first.ticket)
        second.task.cancel()
        await third.inside()
        assert second.task.cancelled()
        assert (it.running, it.waiting) == (1, 0)


async def test_cancelled_in_the_moment_of_being_sent_away() -> None:
    """A dismissal that meets a cancellation changes no count, whichever of the two came first."""
    for cancelled_first in (True, False):
        it = gate(limit=1)
        first, second = Visitor(it), Visitor(it)
        await first.inside()
        await settled()
        if cancelled_first:
            second.task.cancel()
        it.dismiss(ManagerClosedError("closed"))
        second.task.cancel()
        await settled()
        assert second.task.cancelled()
        assert (it.running, it.waiting) == (1, 0)


async def test_sent_away() -> None:
    """All who wait get an error each, its own, and those who are in stay."""
    it = gate(limit=1)
    first, *others = (Visitor(it) for _ in range(4))
    await first.inside()
    error = MinutesLimitError(method="POST", path="/", status=402, error_code="MINUTES", message="none left")
    it.dismiss(error)
    caught: list[AkapuluError] = []
    for other in others:
        with pytest.raises(MinutesLimitError, match="none left") as info:
            await other.task
        caught.append(info.value)
    assert len({id(one) for one in [error, *caught]}) == 4
    assert (it.running, it.waiting) == (1, 0)
    assert not it._admissions
    it.dismiss(error)


async def test_nothing_is_left_when_nobody_waits() -> None:
    """The timer goes with the last one who waits for it."""
    it = gate(rate=0.001)
    first, second = Visitor(it), Visitor(it)
    await first.inside()
    timer = it._timer
    assert timer is not None
    second.task.cancel()
    await settled()
    assert timer.cancelled()
    assert it._timer is None
    assert not it._admissions


async def test_a_slot_that_another_gave_back_lets_in() -> None:
    """Who waits for the account comes in when one is seen to end that never came in here."""
    it = gate(full=FullPolicy(base=1000.0, cap=1000.0))
    visitor = Visitor(it)
    await visitor.inside()
    it.refused(visitor.ticket)
    it.freed()
    await asyncio.wait_for(it.enter(visitor.ticket), PATIENCE)
    assert (it.running, it.waiting) == (1, 0)
