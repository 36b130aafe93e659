"""The gate for starts: the futures and the timer around the decisions of `Admission`."""

import asyncio

import pytest

from akapulu_async import AkapuluError, FullPolicy, ManagerClosedError, MinutesLimitError
from akapulu_async.manager.gate import StartGate
from akapulu_async.observing import Observers
from akapulu_async.sansio.admission import Admission, Pace
from tests.support.managed import LOOPS, loop_rounds, soon

pytestmark = LOOPS


def gate(limit: int | None = None, rate: float | None = None, full: FullPolicy | None = None) -> StartGate:
    return StartGate(Admission(limit, Pace(rate, burst=0.0), full, lambda: 1.0), Observers())


class Start:
    """A start that enters the gate in a task of its own."""

    def __init__(self, gate: StartGate) -> None:
        self.task = asyncio.create_task(gate.enter())

    async def admitted(self) -> int:
        """Wait for its admission. Returns its ticket."""
        await soon(asyncio.shield(self.task))
        return self.task.result()


async def test_first_come_first_served() -> None:
    """Starts are admitted in the order of arrival, one more with each end."""
    it = gate(limit=1)
    starts = [Start(it) for _ in range(4)]
    for number, start in enumerate(starts):
        ticket = await start.admitted()
        await loop_rounds()
        assert [other.task.done() for other in starts] == [place <= number for place in range(4)]
        assert (it.admission.running, it.admission.waiting) == (1, 3 - number)
        it.connected(ticket)
        it.ended(started_here=True)
    assert (it.admission.running, it.admission.waiting) == (0, 0)


async def test_a_failure_admits_the_next() -> None:
    """A start that fails gives its place to the next."""
    it = gate(limit=1)
    first, second = Start(it), Start(it)
    it.failed(await first.admitted())
    await second.admitted()
    assert (it.admission.running, it.admission.waiting) == (1, 0)


async def test_the_pace() -> None:
    """A start that waits only for the pace is admitted by time alone."""
    it = gate(rate=100.0)
    starts = [Start(it) for _ in range(4)]
    began = asyncio.get_running_loop().time()
    for start in starts:
        await start.admitted()
    assert asyncio.get_running_loop().time() - began >= 0.028


async def test_a_full_account() -> None:
    """A refused start is admitted again after a pause."""
    it = gate(full=FullPolicy(base=0.01))
    await soon(it.enter_again(await Start(it).admitted()))
    assert (it.admission.running, it.admission.waiting) == (1, 0)


async def test_cancelled_while_waiting() -> None:
    """A cancelled start gives up its place; the others keep their order."""
    it = gate(limit=1)
    first, second, third, fourth = (Start(it) for _ in range(4))
    ticket = await first.admitted()
    second.task.cancel()
    await loop_rounds()
    assert second.task.cancelled()
    assert (it.admission.running, it.admission.waiting) == (1, 2)
    it.failed(ticket)
    await third.admitted()
    assert not fourth.task.done()
    assert len(it._admissions) == 1
    fourth.task.cancel()


async def test_cancelled_while_admitted() -> None:
    """A place given to a start that is being cancelled goes to the next, whichever came first."""
    for cancelled_first in (True, False):
        it = gate(limit=1)
        first, second, third = Start(it), Start(it), Start(it)
        ticket = await first.admitted()
        await loop_rounds()
        if cancelled_first:
            second.task.cancel()
        it.failed(ticket)
        second.task.cancel()
        await third.admitted()
        assert second.task.cancelled()
        assert (it.admission.running, it.admission.waiting) == (1, 0)


async def test_cancelled_while_dismissed() -> None:
    """A dismissal that meets a cancellation changes no count, whichever came first."""
    for cancelled_first in (True, False):
        it = gate(limit=1)
        first, second = Start(it), Start(it)
        await first.admitted()
        await loop_rounds()
        if cancelled_first:
            second.task.cancel()
        it.dismiss(ManagerClosedError("closed"))
        second.task.cancel()
        await loop_rounds()
        assert second.task.cancelled()
        assert (it.admission.running, it.admission.waiting) == (1, 0)


async def test_dismissed() -> None:
    """A dismissal fails all waiting starts, each with its own copy of the error, and no admitted one."""
    it = gate(limit=1)
    first, *others = (Start(it) for _ in range(4))
    await first.admitted()
    error = MinutesLimitError(method="POST", path="/", status=402, error_code="MINUTES", message="none left")
    it.dismiss(error)
    caught: list[AkapuluError] = []
    for other in others:
        with pytest.raises(MinutesLimitError, match="none left") as info:
            await other.task
        caught.append(info.value)
    assert len({id(one) for one in [error, *caught]}) == 4
    assert (it.admission.running, it.admission.waiting) == (1, 0)
    assert not it._admissions
    it.dismiss(error)


async def test_no_timer_without_waiting_starts() -> None:
    """The timer is cancelled with the last start that waits for it."""
    it = gate(rate=0.001)
    first, second = Start(it), Start(it)
    await first.admitted()
    timer = it._timer
    assert timer is not None
    second.task.cancel()
    await loop_rounds()
    assert timer.cancelled()
    assert it._timer is None
    assert not it._admissions


async def test_a_slot_freed_by_an_attached_session() -> None:
    """A slot freed by an attached session admits a start that waits for the account."""
    it = gate(full=FullPolicy(base=1000.0, cap=1000.0))
    again = asyncio.create_task(it.enter_again(await Start(it).admitted()))
    await loop_rounds()
    assert (it.admission.running, it.admission.waiting) == (0, 1)
    it.ended(started_here=False)
    await soon(again)
    assert (it.admission.running, it.admission.waiting) == (1, 0)
