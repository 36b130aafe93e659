"""Counts the calls of a load test, as an observer of its client."""

import time
from collections import Counter
from contextvars import ContextVar

import attrs

from akapulu_async import Attempt, ErrorKind, Observer, SessionEvent, SessionState, StateChanged


@attrs.define
class Calls:
    """The calls of one conversation, or of all."""

    within: "Calls | None" = None
    """The calls of all, which these are part of; None if these are all."""

    began: float | None = None
    """When the conversation's session began, by the monotonic clock; None if it has not."""

    ready: bool = False
    """True once its bot is ready: from then on, a 404 or 410 is how the service reports the end."""

    retries: int = 0
    """Calls that were sent again."""

    poll_errors: Counter[str] = attrs.field(factory=Counter)
    """Failed polls by HTTP status, or by kind of error where there was no answer or an unusable one."""

    def note(self, attempt: Attempt) -> None:
        """Count an attempt of a call."""
        error = self._poll_error(attempt)
        for calls in (self,) if self.within is None else (self, self.within):
            calls.retries += attempt.number > 1
            if error is not None:
                calls.poll_errors[error] += 1

    def _poll_error(self, attempt: Attempt) -> str | None:
        if attempt.error is None or attempt.session_id is None or (self.ready and attempt.status in {404, 410}):
            return None
        unusable = attempt.error is ErrorKind.INVALID_RESPONSE
        return str(attempt.error if unusable or attempt.status is None else attempt.status)


_calls: ContextVar[Calls | None] = ContextVar("calls", default=None)


def count_in(calls: Calls) -> None:
    """Count the calls of the current task, and of the tasks that it starts from now on."""
    _calls.set(calls)


class CallObserver(Observer):
    """The observer of a load test's client: counts each call where `count_in()` said, in the caller's context."""

    def attempt_finished(self, attempt: Attempt) -> None:
        """Count an attempt."""
        if (calls := _calls.get()) is not None:
            calls.note(attempt)

    def session_event(self, event: SessionEvent) -> None:
        """Note when a session begins: its own times count from then, and its events have only the wall clock."""
        if isinstance(event, StateChanged) and event.state is SessionState.CONNECTING and (calls := _calls.get()):
            calls.began = time.monotonic()
