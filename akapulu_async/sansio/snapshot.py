"""A session on paper: what another worker, or the same after a restart, needs to go on watching."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import attrs

from akapulu_async.checks import checked_id, uuid_text
from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionState
from akapulu_async.secret import excerpt


@attrs.frozen
class SessionSnapshot:
    """What was known of a session at one moment. It bears no secret, so that it may be stored anywhere."""

    session_id: str
    """The conversation."""

    began_at: datetime
    """When its connect was about to be sent, with its zone."""

    elapsed: Mapping[SessionState, float] = attrs.field(hash=False)
    """After how many seconds each state was entered; the last is the one it was in."""

    end_reason: EndReason | None = None
    """Why it ended; None if it did not."""

    @classmethod
    def of(cls, lifecycle: Lifecycle) -> Self:
        """Take a snapshot.

        Raises:
            ConfigurationError: The conversation is not known yet: its connect was not answered.
        """
        if lifecycle.session_id is None or lifecycle.began_at is None:
            raise ConfigurationError("there is nothing to take a snapshot of: the conversation is not connected yet")
        elapsed = {state: seconds for state in SessionState if (seconds := lifecycle.elapsed(state)) is not None}
        return cls(lifecycle.session_id, lifecycle.began_at, elapsed, lifecycle.end_reason)

    def restore(self, lifecycle: Lifecycle, now: float, at: datetime) -> None:
        """Tell a new machine what was known, as if it had seen it.

        Args:
            lifecycle: The machine, which has received nothing yet.
            now: Its clock, in seconds.
            at: The same as a time in UTC. If it lies before what the snapshot has seen, since the clocks of two hosts
                differ, then no time has passed since that.
        """
        began = now - max((at - self.began_at).total_seconds(), 0.0, *self.elapsed.values())
        lifecycle.receive_connecting(began, self.began_at)
        lifecycle.receive_connected(self.session_id)
        for state, seconds in self.elapsed.items():
            if state is SessionState.ROOM_JOINED:
                lifecycle.receive_joined(began + seconds)
            elif state is SessionState.BOT_READY:
                lifecycle.receive_ready(began + seconds)
            elif state is SessionState.ENDED:
                lifecycle.receive_ended(self.end_reason or EndReason.FAILED, began + seconds)

    def checked(self) -> Self:
        """Return it as `of()` could have made it: somebody may have made it by hand.

        Raises:
            ConfigurationError: `of()` could not.
        """
        try:
            payload = self.to_json()
        except AttributeError as error:
            raise ConfigurationError(f"snapshot: {excerpt(str(error))}") from None
        return self.from_json(payload)

    def to_json(self) -> dict[str, Any]:
        """Return it as what `json.dumps()` takes."""
        return {
            "session_id": self.session_id,
            "began_at": self.began_at.isoformat(),
            "elapsed": {state.value: seconds for state, seconds in self.elapsed.items()},
            "end_reason": self.end_reason and self.end_reason.value,
        }

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Read what `to_json()` gave.

        Raises:
            ConfigurationError: It is something else.
        """
        try:
            reason = payload["end_reason"]
            return cls(
                uuid_text(payload["session_id"]),
                _moment(payload["began_at"]),
                _elapsed(payload["elapsed"]),
                None if reason is None else EndReason(reason),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(f"snapshot: not one that to_json() gave: {excerpt(repr(error))}") from None


_LONGEST = 10.0**9
"""Seconds (30 years): no conversation lasts as long."""

_LAST_YEAR = 9000
"""What is added to a moment must remain one, and there are none after 9999."""


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("began_at has no zone")
    if moment.year > _LAST_YEAR:
        raise ValueError("began_at is too far in the future")
    return moment.astimezone(UTC)


def _elapsed(payload: Mapping[str, Any]) -> dict[SessionState, float]:
    # In the order of the states, whatever the order in which they were stored.
    elapsed = {state: float(payload[state]) for state in SessionState if state in payload}
    before = 0.0
    for state, seconds in elapsed.items():
        if not before <= seconds <= _LONGEST:
            raise ValueError(f"elapsed: {state} has no time that fits")
        before = seconds
    return elapsed


def as_start(session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> str | SessionSnapshot:
    """Return what to take up: a conversation's id, or a snapshot.

    Raises:
        ConfigurationError: It is neither an id nor a snapshot.
    """
    if isinstance(session, SessionSnapshot):
        return session.checked()
    if isinstance(session, Mapping):
        return SessionSnapshot.from_json(session)
    return checked_id("session", session)
