"""Where starts wait for their admission: the futures and the timer around `Admission`."""

import asyncio
import copy

from akapulu_async.errors import AkapuluError
from akapulu_async.sansio.admission import Admission


class StartGate:
    """Lets in who may start, in the order of arrival. Belongs to the running loop."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._admissions: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._admission.waiting

    @property
    def running(self) -> int:
        """How many were let in and have not ended."""
        return self._admission.running

    @property
    def takes_refusals(self) -> bool:
        """Whether who meets a full account may wait again."""
        return self._admission.full is not None

    def arrive(self) -> int:
        """Take a place in the queue. Returns its ticket."""
        return self._expect(self._admission.arrive())

    async def enter(self, ticket: int) -> None:
        """Wait to be let in. When cancelled, the place is given up.

        Raises:
            AkapuluError: What the waiting was dismissed with.
        """
        self._admit()
        try:
            await self._admissions[ticket]
        except asyncio.CancelledError:
            self._admission.leave(ticket)
            self._admit()
            raise
        finally:
            del self._admissions[ticket]

    def connected(self, ticket: int) -> None:
        """Who was let in has started."""
        self._admission.connected(ticket, self._now())
        self._admit()

    def refused(self, ticket: int) -> None:
        """Who was let in was told that the account is full, and waits again."""
        self._admission.refused(ticket, self._now())
        self._expect(ticket)

    def failed(self, ticket: int) -> None:
        """Who was let in could not start."""
        self._admission.failed(ticket)
        self._admit()

    def ended(self) -> None:
        """Who had started has ended."""
        self._admission.ended()
        self._admit()

    def freed(self) -> None:
        """Who never came in has ended, which gives a slot of the account back."""
        self._admission.freed()
        self._admit()

    def dismiss(self, error: AkapuluError) -> None:
        """Send all who wait away with an error, of which each gets its own copy."""
        for ticket in self._admission.dismiss():
            admitted = self._admissions[ticket]
            if not admitted.done():
                admitted.set_exception(copy.copy(error))
        self._admit()

    def _expect(self, ticket: int) -> int:
        # Made as soon as the ticket waits, since it may be let in before its task comes to wait.
        self._admissions[ticket] = asyncio.get_running_loop().create_future()
        return ticket

    def _admit(self) -> None:
        """Let in who may come in now, and look again when time may let in more."""
        now = self._now()
        for ticket in self._admission.admitted(now):
            admitted = self._admissions[ticket]
            if not admitted.done():
                admitted.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._admission.due(now)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(due, self._admit)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
