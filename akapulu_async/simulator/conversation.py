"""One conversation: its state is computed from its plan and the clock, without a task. Pure."""

import math
from bisect import bisect_right
from enum import StrEnum

from attrs import define, frozen

from akapulu_async.simulator.milestones import MILESTONES, NOT_STARTED, ConversationProgress
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.requests import ConnectRequest
from akapulu_async.simulator.scripts import Script

__all__ = ["Conversation", "ConversationEnd", "ConversationState", "ConversationView"]


class ConversationEnd(StrEnum):
    """Why a conversation ended.

    All causes are documented; two names are seen, the others are invented.
    """

    USER_LEFT = "user_left"
    """The participant left the room."""
    SCENARIO_ENDED = "scenario_ended"
    """The scenario reached an ending node."""
    DURATION_LIMIT_REACHED = "duration_limit_reached"
    """The call reached its cap. The name is seen."""
    PARTICIPANT_JOIN_TIMEOUT = "participant_join_timeout"
    """Nobody joined in time. The name is seen."""
    EXPIRED = "expired"
    """The conversation reached its maximum lifetime."""


class ConversationState(StrEnum):
    """The state of a conversation."""

    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"


@frozen(kw_only=True)
class ConversationView:
    """A snapshot of a conversation.

    Times are simulated seconds since the simulator was made.

    Attributes:
        conversation_session_id: its id.
        state: starting, ready or ended.
        end_reason: why it ended; None while it is open.
        progress: as reported by `/updates/`, at the end if it has ended.
        request: the connect request; `request.raw` is the JSON object as received.
        minutes: whole minutes counted so far.
        call_cap: seconds this call may last; None means no cap.
        connected_at: when it was connected.
        joined_at: when the participant joined; None: not yet.
        client_ready_at: when the participant said `client-ready`; None: not yet.
        ready_at: when the call became ready; None: not yet.
        ended_at: when it ended; None while it is open.

    """

    conversation_session_id: str
    state: ConversationState
    end_reason: ConversationEnd | None
    progress: ConversationProgress
    request: ConnectRequest
    minutes: int
    call_cap: float | None
    connected_at: float
    joined_at: float | None
    client_ready_at: float | None
    ready_at: float | None
    ended_at: float | None


@define(eq=False, kw_only=True)
class Conversation:
    """A conversation with its planned times. Only the world changes it.

    A time may lie in the future (the pretend participant's arrival): methods that take `now` ignore later times.
    """

    id: str
    request: ConnectRequest
    room_url: str
    token: str
    connected_at: float
    offsets: tuple[float, ...]
    plan: Plan
    call_cap: float | None
    script: Script
    end_with_script: bool
    joined_at: float | None = None
    client_ready_at: float | None = None
    stay: float | None = None
    """Seconds the pretend participant stays once the call is ready; None: until something else ends it."""
    ended_at: float | None = None
    end_reason: ConversationEnd | None = None

    def ready_at(self) -> float | None:
        """Return when both bot and participant are ready. None: unknown yet."""
        participant = self.client_ready_at if self.request.wait_for_client_ready else self.joined_at
        if participant is None:
            return None
        return max(self.connected_at + self.offsets[-1], participant)

    def counted_from(self) -> float | None:
        """Return when minutes and the cap start to count. None: unknown yet."""
        if self.plan.counted_from == "connect":
            return self.connected_at
        return self.ready_at() if self.plan.counted_from == "ready" else self.joined_at

    def next_end(self) -> tuple[float, ConversationEnd]:
        """Return when and why it ends if nothing else happens. Infinity: never."""
        return min(
            (self._after(self.connected_at, self.plan.max_lifetime), ConversationEnd.EXPIRED),
            (self._nobody_joined_at(), ConversationEnd.PARTICIPANT_JOIN_TIMEOUT),
            (self._after(self.counted_from(), self.call_cap), ConversationEnd.DURATION_LIMIT_REACHED),
            (
                self._after(self.ready_at(), self.script.duration if self.end_with_script else None),
                ConversationEnd.SCENARIO_ENDED,
            ),
            (self._after(self.ready_at(), self.stay), ConversationEnd.USER_LEFT),
            key=lambda end: end[0],
        )

    def end(self, at: float, reason: ConversationEnd) -> None:
        """End it, and drop the times planned for later."""
        self.ended_at, self.end_reason = at, reason
        self.joined_at = _by(self.joined_at, at)
        self.client_ready_at = _by(self.client_ready_at, at)

    def call_seconds(self, now: float) -> float:
        """Return how many seconds of the call count so far; 0 before it started."""
        start = self.counted_from()
        return 0.0 if start is None else max(0.0, self._until(now) - start)

    def spoken_seconds(self, now: float) -> float | None:
        """Return how many seconds the call has been ready, up to its end. None: not yet."""
        ready_at = _by(self.ready_at(), self._until(now))
        return None if ready_at is None else self._until(now) - ready_at

    def progress(self, now: float) -> ConversationProgress:
        """Return its progress, at its end if it has ended."""
        until = self._until(now)
        elapsed = self.spoken_seconds(until)
        if elapsed is not None:
            return self.script.progress(elapsed)
        reached = bisect_right(self.offsets, until - self.connected_at)
        return MILESTONES[reached - 1] if reached else NOT_STARTED

    def state(self, now: float) -> ConversationState:
        """Return its state."""
        if self.ended_at is not None:
            return ConversationState.ENDED
        return ConversationState.STARTING if self.spoken_seconds(now) is None else ConversationState.READY

    def view(self, now: float) -> ConversationView:
        """Return a snapshot."""
        until = self._until(now)
        return ConversationView(
            conversation_session_id=self.id,
            state=self.state(now),
            end_reason=self.end_reason,
            progress=self.progress(now),
            request=self.request,
            minutes=self.plan.whole_minutes(self.call_seconds(now)),
            call_cap=self.call_cap,
            connected_at=self.connected_at,
            joined_at=_by(self.joined_at, until),
            client_ready_at=_by(self.client_ready_at, until),
            ready_at=_by(self.ready_at(), until),
            ended_at=self.ended_at,
        )

    def _until(self, now: float) -> float:
        return now if self.ended_at is None else self.ended_at

    def _nobody_joined_at(self) -> float:
        deadline = self._after(self.connected_at, self.plan.participant_join_timeout)
        return deadline if self.joined_at is None or self.joined_at > deadline else math.inf

    @staticmethod
    def _after(start: float | None, seconds: float | None) -> float:
        return math.inf if start is None or seconds is None else start + seconds


def _by(time: float | None, now: float) -> float | None:
    return time if time is not None and time <= now else None
