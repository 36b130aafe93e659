"""The life of a conversation as a state machine without I/O: facts in, events out.

::

    connecting ──> room_joined ──> bot_ready ──> ended
        └───────────────┴──────────────────────────^

Pass facts to the `receive_*()` methods and collect what followed with `events_received()`. A state is entered at most
once, none is skipped on the way to `bot_ready`, and facts that arrive after `ended` are dropped.
"""

import math
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import attrs

from akapulu_async.errors import AkapuluError, ApiError
from akapulu_async.models.conversation import ConversationUpdate
from akapulu_async.sansio.retry import is_temporary


class SessionState(StrEnum):
    """The state of a conversation. Compares equal to its text."""

    CONNECTING = "connecting"
    """The connect is about to be sent, or was sent."""
    ROOM_JOINED = "room_joined"
    """Somebody joined the room: the session's participant, the application's user, or the bot."""
    BOT_READY = "bot_ready"
    """Bot and participant are ready: the service said `call_is_ready`."""
    ENDED = "ended"
    """The conversation is over; see `EndReason`."""


class EndReason(StrEnum):
    """Why a session ended. Compares equal to its text."""

    LEFT = "left"
    """The caller left the context or called `end()`, or the manager shut down. The conversation itself may continue."""
    COMPLETED = "completed"
    """The service reported the end of a conversation whose bot had been ready."""
    READY_TIMEOUT = "ready_timeout"
    """The bot did not get ready within the session's `ready_timeout`."""
    DURATION_LIMIT_REACHED = "duration_limit_reached"
    """The service reported it: the plan's cap on one call, or the month's minutes."""
    PARTICIPANT_JOIN_TIMEOUT = "participant_join_timeout"
    """The service reported it: nobody joined the room in time."""
    CONNECT_FAILED = "connect_failed"
    """The service refused the connect, or did not answer it."""
    FAILED = "failed"
    """The service or a proxy refused the polls, or the service was unreachable for longer than the poll policy allows;
    or the session's participant could not join."""
    CANCELLED = "cancelled"
    """The task that held the session was cancelled."""
    UNKNOWN = "unknown"
    """Nobody here saw whether the conversation completed: it is over, and an attached session never saw its bot ready;
    or it was followed for the session's `max_duration`, and may even continue."""


PATH = (SessionState.CONNECTING, SessionState.ROOM_JOINED, SessionState.BOT_READY)
"""The order in which states are entered: readiness implies the join. `ended` can follow each of them."""


@attrs.frozen
class Progress:
    """How far the bot has come in getting ready, for display."""

    percent: float = 0.0
    """0 to 100. Never decreases: lower figures from the service are ignored. 100 once the bot is ready."""
    text: str = ""
    """The service's latest status text, as it came."""


def _kind(error: BaseException | None) -> str:
    return "None" if error is None else type(error).__name__


@attrs.frozen(kw_only=True)
class _Event:
    session_id: str | None
    """The conversation; None until its connect is answered."""

    at: datetime
    """When, in UTC, by the wall clock of this machine."""
    elapsed: float
    """Seconds since the connect was sent, by a monotonic clock; see `Lifecycle.began`."""

    def _json(self, kind: str) -> dict[str, Any]:
        return {
            "event": kind,
            "session_id": self.session_id,
            "at": self.at.isoformat(),
            "elapsed": round(self.elapsed, 3),
        }


@attrs.frozen(kw_only=True)
class StateChanged(_Event):
    """A session entered a state."""

    state: SessionState
    """The state that was entered."""
    end_reason: EndReason | None = None
    """Why it ended; None for the other states."""
    cause: BaseException | None = attrs.field(default=None, eq=False, repr=_kind)
    """The error that ended it; None if none did. `repr` shows its class alone, since its text may quote the token."""

    def to_json(self) -> dict[str, Any]:
        """Return the event as `json.dumps()` takes it, without the cause. `end_reason` is there for `ended` alone."""
        end = {} if self.end_reason is None else {"end_reason": self.end_reason.value}
        return {**self._json("state"), "state": self.state.value, **end}


@attrs.frozen(kw_only=True)
class ProgressChanged(_Event):
    """The percentage or the status text changed; after `bot_ready`, the status text."""

    percent: float
    """See `Progress.percent`."""
    text: str
    """See `Progress.text`."""

    def to_json(self) -> dict[str, Any]:
        """Return the event as `json.dumps()` takes it."""
        return {**self._json("progress"), "percent": self.percent, "text": self.text}


SessionEvent = StateChanged | ProgressChanged

E = TypeVar("E", StateChanged, ProgressChanged)


class Signals(Protocol):
    """Interprets updates and refusals of the service. `UpdateSignals` is the default."""

    def reads_as_join(self, text: str) -> bool:
        """Return True if the text reports that somebody joined the room."""

    def reads_as_end(self, text: str) -> EndReason | None:
        """Return why the conversation ended if the text reports an end. `COMPLETED` for no special reason."""

    def refused(self, error: ApiError, *, ready: bool) -> EndReason | None:
        """Return why the conversation ended if a refused poll means that. None: it is a failed poll like any other."""


@attrs.define(eq=False)
class Lifecycle:
    """The state machine. Times are seconds on a monotonic clock, passed in as `now`.

    Args:
        signals: Interprets updates.
        max_failures: How many polls in a row may fail; None for any number.
        wall_clock: Returns the time in UTC. Read at each event: a monotonic clock stands still while the machine
            sleeps.
        max_duration: How many seconds after `began` a poll ends the session, whatever it says.
    """

    _signals: Signals
    _max_failures: int | None
    _wall_clock: Callable[[], datetime]
    _max_duration: float = math.inf

    session_id: str | None = attrs.field(default=None, init=False)
    """The conversation; None until its connect is answered."""
    attached: bool = attrs.field(default=False, init=False)
    """True if the conversation was connected elsewhere, so that it may have been ready before."""
    end_reason: EndReason | None = attrs.field(default=None, init=False)
    """Why it ended; None while it has not."""
    cause: BaseException | None = attrs.field(default=None, init=False)
    """The error that ended it; None if none did."""
    progress: Progress = attrs.field(factory=Progress, init=False)
    """How far the bot has come in getting ready."""
    failures: int = attrs.field(default=0, init=False)
    """How many polls in a row failed."""
    polls: int = attrs.field(default=0, init=False)
    """How many polls were completed, successful or not."""
    poll_failures: int = attrs.field(default=0, init=False)
    """How many of the polls failed."""
    began: float = attrs.field(default=0.0, init=False)
    """The clock when the connect was about to be sent: its last try, if the account was full before. Durations count
    from here."""
    began_at: datetime | None = attrs.field(default=None, init=False)
    """`began` as a time in UTC; None before."""
    rose: float = attrs.field(default=0.0, init=False)
    """The clock when the percentage last rose; `began` if it never did."""
    outlived: bool = attrs.field(default=False, init=False)
    """True if it ended since its longest duration passed, and for no other reason."""

    # By state, in the order in which they were entered.
    _entered: dict[SessionState, StateChanged] = attrs.field(factory=dict, init=False)
    _events: list[SessionEvent] = attrs.field(factory=list, init=False)
    _unconfirmed: bool = attrs.field(default=False, init=False)  # nothing has shown yet that the conversation exists

    @property
    def state(self) -> SessionState:
        """The state; `connecting` before anything was received, too."""
        return next(reversed(self._entered), SessionState.CONNECTING)

    @property
    def ready(self) -> bool:
        """True if the bot is ready, or was."""
        return SessionState.BOT_READY in self._entered

    def elapsed(self, state: SessionState) -> float | None:
        """Return how many seconds after `began` a state was entered; None if it was not."""
        return self._entered[state].elapsed if state in self._entered else None

    def entered_at(self, state: SessionState) -> datetime | None:
        """Return when a state was entered, in UTC; None if it was not."""
        return self._entered[state].at if state in self._entered else None

    def events_received(self) -> list[SessionEvent]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def receive_connecting(self, now: float, at: datetime | None = None) -> None:
        """The connect is about to be sent, for the first time or again, or a conversation is attached.

        The state is entered once; durations count from the last call.

        Args:
            now: The clock.
            at: The same as a time in UTC; None: the wall clock's.
        """
        if self.began_at is None or (self.state is SessionState.CONNECTING and self.session_id is None):
            at = at or self._wall_clock()
            self.began, self.began_at, self.rose = now, at, now
        self.receive_reached(SessionState.CONNECTING, now, at)

    def receive_connected(self, session_id: str) -> None:
        """The connect was answered."""
        self.session_id = session_id

    def receive_attached(self, session_id: str, *, confirmed: bool) -> None:
        """The conversation was connected elsewhere. `confirmed` is False if only its id is known."""
        self.session_id, self.attached, self._unconfirmed = session_id, True, not confirmed

    def receive_reached(self, state: SessionState, now: float, at: datetime | None = None) -> None:
        """A state other than `ended` was reached: somebody joined the room, or a snapshot says so.

        Enters first the states before it that were not entered. Does nothing if it was entered. `at` is the same as
        `now`, as a time in UTC; None: the wall clock's.
        """
        if self.end_reason is None and state not in self._entered:
            for passed in PATH[: PATH.index(state) + 1]:
                if passed not in self._entered:
                    self._enter(passed, now, at)

    def receive_update(self, update: ConversationUpdate, now: float) -> None:
        """A poll was answered."""
        if self.end_reason is not None:
            return
        self.polls += 1
        self.failures = 0
        self._unconfirmed = False
        before, text = self.progress, update.latest_update_text
        percent = 100.0 if update.call_is_ready else max(before.percent, update.completion_percent)
        if percent > before.percent:
            self.rose = now
        if percent != before.percent or text != before.text:
            self.progress = Progress(percent, text)
            self._add(ProgressChanged, now, None, percent=percent, text=text)
        if update.call_is_ready:
            self.receive_reached(SessionState.BOT_READY, now)
        elif SessionState.ROOM_JOINED not in self._entered and self._signals.reads_as_join(text):
            self.receive_reached(SessionState.ROOM_JOINED, now)
        reason = self._signals.reads_as_end(text)
        if reason is EndReason.COMPLETED and not self.ready:
            # There was nothing to complete; but an attached conversation may have been ready before.
            reason = EndReason.UNKNOWN if self.attached else EndReason.FAILED
        if reason is not None:
            self.receive_ended(reason, now)
        self._end_in_time(now)

    def receive_poll_failure(self, error: AkapuluError, now: float) -> None:
        """A poll failed."""
        if self.end_reason is not None:
            return
        self.polls += 1
        self.poll_failures += 1
        self.failures += 1
        reason = self._meaning(error)
        if reason is not None:
            self.receive_ended(reason, now, None if reason is EndReason.COMPLETED else error)
        self._end_in_time(now)

    def receive_ready_timeout(self, now: float) -> None:
        """The time within which the bot had to get ready has passed."""
        if not self.ready:
            self.receive_ended(EndReason.READY_TIMEOUT, now)

    def receive_ended(
        self, reason: EndReason, now: float, cause: BaseException | None = None, at: datetime | None = None
    ) -> None:
        """The session ended. See `receive_reached()` for `at`."""
        if self.end_reason is None:
            self.end_reason, self.cause = reason, cause
            self._enter(SessionState.ENDED, now, at)

    def _end_in_time(self, now: float) -> None:
        """End a session whose longest duration has passed: the service may never report the end."""
        if self.end_reason is None and now - self.began >= self._max_duration:
            self.outlived = True
            self.receive_ended(EndReason.UNKNOWN, now)

    def _meaning(self, error: AkapuluError) -> EndReason | None:
        """Return why a failed poll ends the session; None if it does not."""
        gone = isinstance(error, ApiError) and error.from_service and error.status in {404, 410}
        if gone and self._unconfirmed:
            return EndReason.UNKNOWN
        if isinstance(error, ApiError):
            reason = self._signals.refused(error, ready=self.ready)
        else:
            reason = None if is_temporary(error) else EndReason.FAILED
        if reason is None and self._max_failures is not None and self.failures > self._max_failures:
            reason = EndReason.FAILED
        if reason is EndReason.FAILED and gone and self.attached and not self.ready:
            return EndReason.UNKNOWN
        return reason

    def _enter(self, state: SessionState, now: float, at: datetime | None) -> None:
        """Change the state. The one place that does."""
        event = self._add(StateChanged, now, at, state=state, end_reason=self.end_reason, cause=self.cause)
        self._entered[state] = event

    def _add(self, kind: type[E], now: float, at: datetime | None, **facts: Any) -> E:
        event = kind(session_id=self.session_id, at=at or self._wall_clock(), elapsed=now - self.began, **facts)
        self._events.append(event)
        return event
