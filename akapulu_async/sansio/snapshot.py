"""Snapshots: the state of a session, for another worker or a restart to attach to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import attrs

from akapulu_async.checks import checked_id, uuid_text
from akapulu_async.converter import moment
from akapulu_async.errors import ClosedError, ConfigurationError
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionState
from akapulu_async.secret import excerpt


@attrs.frozen
class SessionSnapshot:
    """The state of a session at one moment. It holds no secret and may be stored anywhere."""

    session_id: str
    """The conversation."""
    began_at: datetime
    """When its connect was sent, with a time zone."""
    elapsed: Mapping[SessionState, float] = attrs.field(hash=False)
    """Seconds from `began_at` to each state that was entered; the last is the current one."""
    end_reason: EndReason | None = None
    """Why it ended; None while it has not."""

    @classmethod
    def of(cls, lifecycle: Lifecycle) -> Self:
        """Take a snapshot.

        Raises:
            ClosedError: Its connect was not answered yet.
        """
        if lifecycle.session_id is None or lifecycle.began_at is None:
            raise ClosedError("the session is not connected yet, so there is no snapshot of it; wait for its connect")
        elapsed = {state: seconds for state in SessionState if (seconds := lifecycle.elapsed(state)) is not None}
        return cls(lifecycle.session_id, lifecycle.began_at, elapsed, lifecycle.end_reason)

    def restore(self, lifecycle: Lifecycle, now: float, at: datetime) -> None:
        """Bring a new state machine into the state of the snapshot.

        Args:
            lifecycle: The machine; it has received nothing yet.
            now: Its clock, in seconds.
            at: The same as a time in UTC. If it is earlier than the snapshot's latest time, because the clocks of two
                hosts differ, no time has passed since the snapshot.
        """
        began = now - max((at - self.began_at).total_seconds(), 0.0, *self.elapsed.values())
        lifecycle.receive_connecting(began, self.began_at)
        lifecycle.receive_connected(self.session_id)
        for state, seconds in self.elapsed.items():
            if state is SessionState.ENDED:
                lifecycle.receive_ended(self.end_reason or EndReason.FAILED, began + seconds)
            else:
                lifecycle.receive_reached(state, began + seconds)

    def checked(self) -> Self:
        """Return a validated copy: it may have been built by hand. Raises as `from_json()`."""
        try:
            payload = self.to_json()
        except AttributeError as error:
            raise ConfigurationError(f"snapshot: {excerpt(str(error))}") from None
        return self.from_json(payload)

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as `json.dumps()` takes it."""
        return {
            "session_id": self.session_id,
            "began_at": self.began_at.isoformat(),
            "elapsed": {state.value: seconds for state, seconds in self.elapsed.items()},
            "end_reason": self.end_reason and self.end_reason.value,
        }

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Read what `to_json()` returned.

        Raises:
            ConfigurationError: The payload is not a snapshot.
        """
        try:
            reason = payload["end_reason"]
            return cls(
                uuid_text(payload["session_id"]),
                _began_at(payload["began_at"]),
                _elapsed(payload["elapsed"]),
                None if reason is None else EndReason(reason),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(f"snapshot: this did not come from to_json(): {excerpt(repr(error))}") from None


_LONGEST = 10.0**9
"""Seconds (30 years): no conversation lasts longer."""

_LAST_YEAR = 9000
"""Seconds are added to `began_at`, and datetime ends with the year 9999."""


def _began_at(text: object) -> datetime:
    began_at = moment(text, datetime).astimezone(UTC)
    if began_at.year > _LAST_YEAR:
        raise ValueError("began_at is too far in the future")
    return began_at


def _elapsed(payload: Mapping[str, Any]) -> dict[SessionState, float]:
    # In the order of the states: JSON stores may reorder them.
    elapsed = {state: float(payload[state]) for state in SessionState if state in payload}
    before = 0.0
    for state, seconds in elapsed.items():
        if not before <= seconds <= _LONGEST:
            raise ValueError(f"elapsed: the time of {state} is out of order")
        before = seconds
    return elapsed


def as_start(session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> str | SessionSnapshot:
    """Return the id or the snapshot to attach to.

    Raises:
        ConfigurationError: The argument is neither.
    """
    if isinstance(session, SessionSnapshot):
        return session.checked()
    if isinstance(session, Mapping):
        return SessionSnapshot.from_json(session)
    return checked_id("session", session)
