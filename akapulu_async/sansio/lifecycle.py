"""The life of a conversation as a machine without I/O: facts in, events out.

::

    connecting ──> room_joined ──> bot_ready ──> ended
        └───────────────┴──────────────────────────^

Facts are told with the `receive_*()` methods, what followed is fetched with `events_received()`. A state is entered
at most once, none is skipped on the way to `bot_ready`, and after `ended` nothing is heard any more.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

import attrs

from akapulu_async.errors import AkapuluError, ApiError, InvalidResponseError, TransportError
from akapulu_async.models.conversation import ConversationUpdate
from akapulu_async.sansio.retry import RETRYABLE_STATUSES

Fact = TypeVar("Fact")


class SessionState(StrEnum):
    """Where a conversation is. Compares as its text."""

    CONNECTING = "connecting"
    """The connect is about to be sent, or was."""

    ROOM_JOINED = "room_joined"
    """Somebody joined the room: the session's participant, the application's, or the bot."""

    BOT_READY = "bot_ready"
    """Bot and participant are ready: the service said `call_is_ready`."""

    ENDED = "ended"
    """Over, see `EndReason`."""


class EndReason(StrEnum):
    """Why a conversation ended, for this session. Compares as its text."""

    LEFT = "left"
    """The caller left the context or called `end()`, or the manager was shut down."""

    COMPLETED = "completed"
    """The service reported the end of a conversation that had been ready."""

    READY_TIMEOUT = "ready_timeout"
    """The bot did not get ready within the session's `ready_timeout`."""

    DURATION_LIMIT_REACHED = "duration_limit_reached"
    """The service said so: the plan's cap for one call, or the month's minutes."""

    PARTICIPANT_JOIN_TIMEOUT = "participant_join_timeout"
    """The service said so: nobody joined the room in time."""

    CONNECT_FAILED = "connect_failed"
    """The connect was refused, or got no answer."""

    FAILED = "failed"
    """The service refused to tell more, or could not be reached for longer than the poll policy bears; or the
    session's participant could not join."""

    CANCELLED = "cancelled"
    """The task that held the session was cancelled."""


FOLLOWING: Mapping[SessionState | None, SessionState | None] = {
    None: SessionState.CONNECTING,
    SessionState.CONNECTING: SessionState.ROOM_JOINED,
    # A call that is ready has somebody in its room, so that readiness implies the join.
    SessionState.ROOM_JOINED: SessionState.BOT_READY,
    # The only way on is `ended`, which can be reached from everywhere.
    SessionState.BOT_READY: None,
    SessionState.ENDED: None,
}
"""The one table of what comes next. None: nothing, or only `ended`."""


@attrs.frozen
class Progress:
    """How far the bot's getting ready has come, for people."""

    percent: float = 0.0
    """0 to 100. It never goes back: a lower figure from the service is not shown. 100 once the bot is ready."""

    text: str = ""
    """The service's latest words, whatever they are."""


def _kind(error: BaseException | None) -> str:
    return "None" if error is None else type(error).__name__


@attrs.frozen(kw_only=True)
class StateChanged:
    """A session entered a state."""

    session_id: str | None
    """The conversation; None as long as its connect was not answered."""

    at: datetime
    """When, in UTC."""

    elapsed: float
    """Seconds since the connect was about to be sent."""

    state: SessionState
    """The state that was entered."""

    end_reason: EndReason | None = None
    """Why it ended; None for the other states."""

    cause: BaseException | None = attrs.field(default=None, eq=False, repr=_kind)
    """The error that ended it; None if none did. Shown by its kind alone: a participant's may quote the token."""


@attrs.frozen(kw_only=True)
class ProgressChanged:
    """The percent or the words of the getting ready changed; after `bot_ready`, the words."""

    session_id: str | None
    """The conversation."""

    at: datetime
    """When, in UTC."""

    elapsed: float
    """Seconds since the connect was about to be sent."""

    percent: float
    """See `Progress.percent`."""

    text: str
    """See `Progress.text`."""


SessionEvent = StateChanged | ProgressChanged


class Signals(Protocol):
    """What reads meaning into an update; `UpdateSignals` does it by default."""

    def reads_as_join(self, text: str) -> bool:
        """Whether the text reports that somebody joined the room."""

    def reads_as_end(self, text: str) -> EndReason | None:
        """Why the conversation ended, if the text reports that. `COMPLETED` for no special reason."""

    def gone(self, *, ready: bool) -> EndReason | None:
        """What it means that there is no such conversation (404, 410). None: a failed poll, no more."""


@attrs.define(eq=False)
class Lifecycle:
    """The machine. Times are seconds on a monotonic clock, passed in as `now`.

    Args:
        signals: What reads meaning into updates.
        max_failures: How many failed polls in a row are borne; None for any number.
    """

    _signals: Signals
    _max_failures: int | None

    session_id: str | None = attrs.field(default=None, init=False)
    """The conversation; None as long as its connect was not answered."""

    end_reason: EndReason | None = attrs.field(default=None, init=False)
    """Why it ended; None if it did not."""

    cause: BaseException | None = attrs.field(default=None, init=False)
    """The error that ended it; None if none did."""

    progress: Progress = attrs.field(factory=Progress, init=False)
    """How far the bot's getting ready has come."""

    failures: int = attrs.field(default=0, init=False)
    """How many polls in a row have failed."""

    began: float = attrs.field(default=0.0, init=False)
    """The clock when the connect was about to be sent."""

    began_at: datetime | None = attrs.field(default=None, init=False)
    """When the connect was about to be sent, in UTC; None before."""

    rose: float = attrs.field(default=0.0, init=False)
    """The clock when the percent was last seen to rise; as `began` if it never was."""

    _state: SessionState | None = attrs.field(default=None, init=False)
    _elapsed: dict[SessionState, float] = attrs.field(factory=dict, init=False)
    _events: list[SessionEvent] = attrs.field(factory=list, init=False)

    @property
    def state(self) -> SessionState:
        """The state; `connecting` also before anything was received."""
        return self._state or SessionState.CONNECTING

    @property
    def ready(self) -> bool:
        """Whether the bot is, or was, ready."""
        return SessionState.BOT_READY in self._elapsed

    def elapsed(self, state: SessionState) -> float | None:
        """Return after how many seconds a state was entered; None if it was not."""
        return self._elapsed.get(state)

    def entered_at(self, state: SessionState) -> datetime | None:
        """Return when a state was entered, in UTC; None if it was not."""
        elapsed = self._elapsed.get(state)
        return None if elapsed is None else self._at(elapsed)

    def events_received(self) -> list[SessionEvent]:
        """Return what followed from the facts since the last call."""
        events, self._events = self._events, []
        return events

    def receive_connecting(self, now: float, at: datetime) -> None:
        """The connect is about to be sent, or a conversation that was connected elsewhere is taken up.

        Args:
            now: The clock.
            at: The same as a time in UTC. All later times are told from this one by the clock.
        """
        if self.began_at is None:
            self.began, self.began_at, self.rose = now, at, now
        self._receive(self._on_reached, SessionState.CONNECTING, now)

    def receive_connected(self, session_id: str) -> None:
        """The connect was answered, or the conversation is known from elsewhere."""
        self.session_id = session_id

    def receive_joined(self, now: float) -> None:
        """Somebody joined the room, as the session's participant or the application says."""
        self._receive(self._on_reached, SessionState.ROOM_JOINED, now)

    def receive_ready(self, now: float) -> None:
        """The bot was ready already, as a snapshot says."""
        self._receive(self._on_reached, SessionState.BOT_READY, now)

    def receive_update(self, update: ConversationUpdate, now: float) -> None:
        """A poll was answered."""
        self._receive(self._on_update, update, now)

    def receive_poll_failure(self, error: AkapuluError, now: float) -> None:
        """A poll failed."""
        self._receive(self._on_poll_failure, error, now)

    def receive_ended(self, reason: EndReason, now: float, cause: BaseException | None = None) -> None:
        """The session is over for a reason that is no poll's."""
        self._receive(self._on_ended, (reason, cause), now)

    def receive_ready_timeout(self, now: float) -> None:
        """The time within which the bot had to get ready is over."""
        self._receive(self._on_ready_timeout, None, now)

    def _receive(self, handle: Callable[[Fact, float], None], fact: Fact, now: float) -> None:
        # The one place where what comes too late is dropped.
        if self._state is not SessionState.ENDED:
            handle(fact, now)

    def _on_reached(self, state: SessionState, now: float) -> None:
        """Enter a state and those before it that were not entered yet; nothing if it was."""
        while state not in self._elapsed:
            following = FOLLOWING[self._state]
            assert following is not None  # every state but `ended` is on this way
            self._enter(following, now)

    def _on_update(self, update: ConversationUpdate, now: float) -> None:
        self.failures = 0
        self._show(update, now)
        if update.call_is_ready:
            self._on_reached(SessionState.BOT_READY, now)
        elif SessionState.ROOM_JOINED not in self._elapsed and self._signals.reads_as_join(update.latest_update_text):
            self._on_reached(SessionState.ROOM_JOINED, now)
        reason = self._signals.reads_as_end(update.latest_update_text)
        if reason is not None:
            self._on_ended((self._if_ready(reason), None), now)

    def _if_ready(self, reason: EndReason) -> EndReason:
        """An end without a reason is a completion only if there was something to complete."""
        return EndReason.FAILED if reason is EndReason.COMPLETED and not self.ready else reason

    def _show(self, update: ConversationUpdate, now: float) -> None:
        before, text = self.progress, update.latest_update_text
        percent = 100.0 if update.call_is_ready else max(before.percent, update.completion_percent)
        if percent > before.percent:
            self.rose = now
        if percent != before.percent or text != before.text:
            self.progress = Progress(percent, text)
            elapsed = now - self.began
            self._events.append(
                ProgressChanged(
                    session_id=self.session_id, at=self._at(elapsed), elapsed=elapsed, percent=percent, text=text
                )
            )

    def _on_poll_failure(self, error: AkapuluError, now: float) -> None:
        self.failures += 1
        reason = self._meaning(error)
        if reason is not None:
            self._on_ended((reason, None if reason is EndReason.COMPLETED else error), now)

    def _meaning(self, error: AkapuluError) -> EndReason | None:
        """Return why a failed poll ends the session; None if it is borne."""
        if isinstance(error, ApiError) and error.status in {404, 410}:
            reason = self._signals.gone(ready=self.ready)
            if reason is not None:
                return reason
        elif not _may_pass(error):
            return EndReason.FAILED
        borne = self._max_failures is None or self.failures <= self._max_failures
        return None if borne else EndReason.FAILED

    def _on_ready_timeout(self, _: None, now: float) -> None:
        if not self.ready:
            self._on_ended((EndReason.READY_TIMEOUT, None), now)

    def _on_ended(self, end: tuple[EndReason, BaseException | None], now: float) -> None:
        self.end_reason, self.cause = end
        self._enter(SessionState.ENDED, now)

    def _enter(self, state: SessionState, now: float) -> None:
        """Change the state: the one place that does."""
        elapsed = now - self.began
        self._state = state
        self._elapsed[state] = elapsed
        self._events.append(
            StateChanged(
                session_id=self.session_id,
                at=self._at(elapsed),
                elapsed=elapsed,
                state=state,
                end_reason=self.end_reason,
                cause=self.cause,
            )
        )

    def _at(self, elapsed: float) -> datetime:
        assert self.began_at is not None  # nothing happens before `receive_connecting()`
        return self.began_at + timedelta(seconds=elapsed)


def _may_pass(error: AkapuluError) -> bool:
    """Whether a failed poll says nothing about the conversation, so that the next may succeed."""
    if isinstance(error, ApiError):
        # By status: a code that names a limit of the account says nothing about a conversation that has its slot.
        return error.status in RETRYABLE_STATUSES or error.status >= 500  # noqa: PLR2004 - the 5xx
    return isinstance(error, TransportError | InvalidResponseError)
