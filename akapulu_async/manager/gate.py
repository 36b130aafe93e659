"""The gate for starts: the futures, the timer and the observers around `Admission`."""

import asyncio
import copy
from datetime import UTC, datetime

from akapulu_async.errors import AkapuluError
from akapulu_async.observing import GateEvent, GateStep, Observers
from akapulu_async.sansio.admission import Admission


class StartGate:
    """Admits starts in the order of arrival. Belongs to the running loop."""

    def __init__(self, admission: Admission, observers: Observers) -> None:
        self.admission = admission
        self._observers = observers
        self._admissions: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> int:
        """Queue a start and wait for its admission. Returns its ticket. If cancelled, the place is given up.

        Raises:
            AkapuluError: The queue was dismissed with it.
        """
        ticket = self.admission.arrive()
        await self._admission_of(ticket)
        return ticket

    async def enter_again(self, ticket: int) -> None:
        """An admitted start met a full account: it waits again, at its old place. Otherwise like `enter()`."""
        self.admission.refused(ticket, self._now())
        self._tell(GateStep.REFUSED)
        await self._admission_of(ticket)

    async def _admission_of(self, ticket: int) -> None:
        admitted, began = asyncio.get_running_loop().create_future(), self._now()
        self._admissions[ticket] = admitted
        self._admit()
        try:
            if not admitted.done():
                self._tell(GateStep.WAITING)
            await admitted
        except asyncio.CancelledError:
            self.admission.leave(ticket)
            self._admit()
            raise
        finally:
            del self._admissions[ticket]
        self._tell(GateStep.ADMITTED, self._now() - began)

    def connected(self, ticket: int) -> None:
        """An admitted start was connected."""
        self.admission.connected(ticket, self._now())
        self._admit()

    def failed(self, ticket: int) -> None:
        """An admitted start failed for another reason."""
        self.admission.failed(ticket)
        self._admit()

    def ended(self, *, started_here: bool) -> None:
        """A session ended, which freed a slot of the account."""
        self.admission.ended(started_here=started_here)
        self._admit()

    def dismiss(self, error: AkapuluError) -> None:
        """Fail all waiting starts, each with its own copy of an error."""
        for ticket in self.admission.dismiss():
            admitted = self._admissions[ticket]
            if not admitted.done():
                admitted.set_exception(copy.copy(error))
        self._admit()

    def _admit(self) -> None:
        """Admit whoever may start now, and set the timer for the next who may by time alone."""
        now = self._now()
        for ticket in self.admission.admitted(now):
            admitted = self._admissions[ticket]
            if not admitted.done():
                admitted.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.admission.due(now)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(due, self._admit)

    def _tell(self, step: GateStep, waited: float = 0.0) -> None:
        if hooks := self._observers.gate:
            self._observers.tell(hooks, GateEvent(step=step, at=datetime.now(UTC), waited=waited))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
