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

    def arrive(self) -> int:
        """Take a place in the queue. Returns its ticket."""
        ticket = self.admission.arrive()
        # Created as soon as the ticket waits: it may be admitted before its task starts to wait.
        self._admissions[ticket] = asyncio.get_running_loop().create_future()
        return ticket

    async def enter(self, ticket: int) -> None:
        """Wait for admission. If cancelled, the place is given up.

        Raises:
            AkapuluError: The queue was dismissed with it.
        """
        self._admit()
        admitted, began = self._admissions[ticket], self._now()
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

    def refused(self, ticket: int) -> None:
        """An admitted start met a full account: it waits again, at its old place."""
        self.admission.refused(ticket, self._now())
        self._admissions[ticket] = asyncio.get_running_loop().create_future()
        self._tell(GateStep.REFUSED)

    def failed(self, ticket: int) -> None:
        """An admitted start failed for another reason."""
        self.admission.failed(ticket)
        self._admit()

    def ended(self) -> None:
        """A session that was started here ended."""
        self.admission.ended()
        self._admit()

    def freed(self) -> None:
        """An attached session ended, which freed a slot of the account."""
        self.admission.freed()
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
