"""Snapshots: the state of a session, for another worker or a restart to attach to."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self
from uuid import UUID

import attrs

from akapulu_async.checks import checked_id, shown
from akapulu_async.errors import ClosedError, ConfigurationError
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionState
from akapulu_async.secret import excerpt

_LONGEST = 10.0**9
"""Seconds (30 years): no conversation lasts longer."""

_YEARS_END = 9000
"""Seconds are added to `began_at`, and datetime ends with the year 9999."""


def _session_id(value: str | UUID) -> str:
    return checked_id("session_id", value)


def _began_at(value: datetime | str) -> datetime:
    with suppress(TypeError, AttributeError, ValueError, OverflowError):
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        if time.utcoffset() is not None and time.astimezone(UTC).year < _YEARS_END:
            return time.astimezone(UTC)
    raise ConfigurationError(
        f"began_at must be a time with a time zone, before the year {_YEARS_END}, not {shown(value)}"
    )


def _elapsed(value: Mapping[SessionState, float]) -> dict[SessionState, float]:
    with suppress(TypeError, ValueError, OverflowError):
        # In the order of the states: JSON stores may reorder them.
        elapsed = {state: float(value[state]) for state in SessionState if state in value}
        if all(before <= after for before, after in pairwise((0.0, *elapsed.values(), _LONGEST))):
            return elapsed
    raise ConfigurationError(f"elapsed must be seconds by state, in the order of the states, not {shown(value)}")


def _end_reason(value: EndReason | str | None) -> EndReason | None:
    with suppress(ValueError):
        return None if value is None else EndReason(value)
    raise ConfigurationError(f"end_reason must be an EndReason or None, not {shown(value)}")


@attrs.frozen
class SessionSnapshot:
    """The state of a session at one moment. Checked when built. It holds no secret and may be stored anywhere."""

    session_id: str = attrs.field(converter=_session_id)
    """The conversation."""
    began_at: datetime = attrs.field(converter=_began_at)
    """When its connect was sent, in UTC."""
    elapsed: Mapping[SessionState, float] = attrs.field(converter=_elapsed, hash=False)
    """Seconds from `began_at` to each state that was entered; the last is the current one."""
    end_reason: EndReason | None = attrs.field(default=None, converter=_end_reason)
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
        lifecycle.receive_attached(self.session_id, confirmed=True)
        for state, seconds in self.elapsed.items():
            entered_at = self.began_at + timedelta(seconds=seconds)
            if state is SessionState.ENDED:
                lifecycle.receive_ended(self.end_reason or EndReason.FAILED, began + seconds, at=entered_at)
            else:
                lifecycle.receive_reached(state, began + seconds, entered_at)

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
            return cls(**{field.name: payload[field.name] for field in attrs.fields(cls)})
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigurationError(f"snapshot: this did not come from to_json(): {excerpt(repr(error))}") from None


def as_start(session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> str | SessionSnapshot:
    """Return the id or the snapshot to attach to.

    Raises:
        ConfigurationError: The argument is neither.
    """
    if isinstance(session, SessionSnapshot):
        return session
    if isinstance(session, Mapping):
        return SessionSnapshot.from_json(session)
    return checked_id("session", session)
