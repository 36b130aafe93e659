"""Stored sessions: what is written, that it is read back unchanged, and that anything else is refused."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.errors import ClosedError, ConfigurationError
from akapulu_async.models.conversation import ConversationUpdate
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionState, StateChanged
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot, as_start

SESSION = "33333333-3333-4333-8333-333333333333"
EPOCH = datetime(2026, 3, 10, 18, 10, 2, 221_000, tzinfo=UTC)
START = 1000.0
CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState


def machine(at: datetime = EPOCH) -> Lifecycle:
    """Return a machine whose wall clock stands still."""
    return Lifecycle(UpdateSignals(), 3, lambda: at)


def live(*, joined: float | None = None, ready: float | None = None, ended: float | None = None) -> Lifecycle:
    """Return a machine that entered the states after the given seconds."""
    lifecycle = machine()
    lifecycle.receive_connecting(START)
    lifecycle.receive_connected(SESSION)
    if joined is not None:
        lifecycle.receive_reached(ROOM_JOINED, START + joined)
    if ready is not None:
        lifecycle.receive_update(ConversationUpdate(SESSION, call_is_ready=True), START + ready)
    if ended is not None:
        lifecycle.receive_ended(EndReason.DURATION_LIMIT_REACHED, START + ended)
    return lifecycle


STORED: dict[str, Any] = SessionSnapshot.of(live(joined=2, ready=11.5)).to_json()


def test_json() -> None:
    """A snapshot is plain JSON: id, time, the seconds of each state, the reason, and nothing else."""
    assert STORED == {
        "session_id": SESSION,
        "began_at": "2026-03-10T18:10:02.221000+00:00",
        "elapsed": {"connecting": 0.0, "room_joined": 2.0, "bot_ready": 11.5},
        "end_reason": None,
    }
    assert SessionSnapshot.of(live(ended=3)).to_json()["end_reason"] == "duration_limit_reached"


seconds = st.floats(0, 1e6)


@given(st.lists(seconds, max_size=3).map(sorted), st.booleans())
def test_round_trip(times: list[float], ended: bool) -> None:
    """Through JSON and into a new machine with another clock, all states keep their times."""
    names = ["joined", "ready", "ended"]
    known = dict(zip(names, times, strict=False)) if ended else dict(zip(names[:2], times, strict=False))
    old = live(**known)
    snapshot = SessionSnapshot.of(old)
    again = SessionSnapshot.from_json(json.loads(json.dumps(snapshot.to_json())))
    assert again == snapshot
    new = machine()
    again.restore(new, 77.0, EPOCH + timedelta(days=20))
    assert (new.session_id, new.state, new.end_reason) == (old.session_id, old.state, old.end_reason)
    for state in SessionState:
        assert new.elapsed(state) == pytest.approx(old.elapsed(state), abs=1e-6)
        after = old.elapsed(state)
        assert new.entered_at(state) == (None if after is None else EPOCH + timedelta(seconds=after))
    assert SessionSnapshot.of(new).began_at == EPOCH


def test_restored_events() -> None:
    """A restored machine publishes the states it had entered."""
    new = machine()
    SessionSnapshot.of(live(joined=2, ready=11.5, ended=30)).restore(new, 77.0, EPOCH + timedelta(seconds=40))
    events = [event for event in new.events_received() if isinstance(event, StateChanged)]
    assert [(event.state, event.elapsed) for event in events] == [
        (CONNECTING, 0.0),
        (ROOM_JOINED, 2.0),
        (BOT_READY, 11.5),
        (ENDED, 30.0),
    ]
    assert events[-1].end_reason is EndReason.DURATION_LIMIT_REACHED


def test_time_during_a_restart() -> None:
    """The seconds since the connect include the time of the restart."""
    new = machine(EPOCH + timedelta(seconds=41))
    SessionSnapshot.of(live(joined=2)).restore(new, 77.0, EPOCH + timedelta(seconds=40))
    new.receive_ended(EndReason.LEFT, 78.0)
    assert new.elapsed(ENDED) == pytest.approx(41.0)
    assert new.entered_at(ENDED) == EPOCH + timedelta(seconds=41)


@pytest.mark.parametrize("behind", [timedelta(seconds=1), timedelta(days=365)])
def test_clock_behind(behind: timedelta) -> None:
    """On a host whose clock is behind, durations do not go back before those in the snapshot."""
    here = EPOCH + timedelta(seconds=11) - behind
    new = machine(here)
    SessionSnapshot.of(live(joined=2, ready=11.5)).restore(new, 77.0, here)
    new.receive_ended(EndReason.LEFT, 78.0)
    assert new.elapsed(ENDED) == pytest.approx(12.5)
    assert new.entered_at(ENDED) == here


def test_end_without_a_reason() -> None:
    """An end without a stored reason counts as a failure."""
    new = machine()
    SessionSnapshot(SESSION, EPOCH, {CONNECTING: 0.0, ENDED: 1.0}).restore(new, 77.0, EPOCH)
    assert new.end_reason is EndReason.FAILED


def test_other_zone_and_order() -> None:
    """Another time zone and another order in the store make no difference."""
    stored = STORED | {
        "began_at": EPOCH.astimezone(timezone(timedelta(hours=5))).isoformat(),
        "elapsed": dict(reversed(STORED["elapsed"].items())),
        "more": "is ignored",
    }
    assert SessionSnapshot.from_json(stored) == SessionSnapshot.from_json(STORED)
    assert list(SessionSnapshot.from_json(stored).elapsed) == [CONNECTING, ROOM_JOINED, BOT_READY]


def test_before_the_conversation_is_known() -> None:
    """There is no snapshot before the conversation is known."""
    connecting = machine()
    connecting.receive_connecting(START)
    nameless = machine()
    nameless.receive_connected(SESSION)
    for lifecycle in (machine(), connecting, nameless):
        with pytest.raises(ClosedError, match="not connected yet"):
            SessionSnapshot.of(lifecycle)


@pytest.mark.parametrize(
    "change",
    [
        {"session_id": None},
        {"session_id": "../../admin"},
        {"began_at": None},
        {"began_at": 5},
        {"began_at": "yesterday"},
        {"began_at": "2026-03-10T18:10:02"},  # no time zone
        {"began_at": "0001-01-01T00:00:00+14:00"},
        {"began_at": "9999-12-31T23:59:59+00:00"},  # overflows if anything is added
        {"elapsed": None},
        {"elapsed": 7},
        {"elapsed": {"connecting": None}},
        {"elapsed": {"connecting": "soon"}},
        {"elapsed": {"connecting": float("nan")}},
        {"elapsed": {"connecting": float("inf")}},
        {"elapsed": {"connecting": -1}},
        {"elapsed": {"connecting": 10**400}},
        {"elapsed": {"connecting": 0, "room_joined": 5, "bot_ready": 4}},
        {"end_reason": "boredom"},
        {"end_reason": []},
    ],
)
def test_garbage(change: dict[str, Any]) -> None:
    """JSON that did not come from `to_json()` is refused, whatever is wrong with it."""
    with pytest.raises(ConfigurationError, match=r"this did not come from to_json\(\)"):
        SessionSnapshot.from_json(STORED | change)


@pytest.mark.parametrize("name", list(STORED))
def test_incomplete(name: str) -> None:
    """A store that lost a member is refused, and the member is named."""
    with pytest.raises(ConfigurationError, match=name):
        SessionSnapshot.from_json({key: value for key, value in STORED.items() if key != name})


def test_refusal_shows_no_secret() -> None:
    """The refusal does not show a token that was in the wrong place."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"
    with pytest.raises(ConfigurationError) as caught:
        SessionSnapshot.from_json(STORED | {"began_at": token})
    assert token not in str(caught.value)


def test_as_start() -> None:
    """An id, a snapshot and the JSON of one can be attached to."""
    snapshot = SessionSnapshot.from_json(STORED)
    assert as_start(snapshot) == snapshot
    assert as_start(STORED) == snapshot
    assert as_start(SESSION.upper()) == as_start(UUID(SESSION)) == SESSION
    with pytest.raises(ConfigurationError, match="session"):
        as_start("room-1")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"session_id": "room-1"}, "session_id"),
        ({"began_at": EPOCH.replace(tzinfo=None)}, "began_at"),
        ({"began_at": "2026-01-01"}, "began_at"),
        ({"elapsed": {CONNECTING: float("nan")}}, "elapsed"),
        ({"elapsed": {CONNECTING: 1.0, ROOM_JOINED: 0.5}}, "elapsed"),
        ({"end_reason": "boredom"}, "end_reason"),
    ],
    ids=count(),
)
def test_handmade_snapshots(change: dict[str, Any], name: str) -> None:
    """A handmade snapshot that no session could have is refused when it is built."""
    with pytest.raises(ConfigurationError, match=f"^{name} must be "):
        attrs.evolve(SessionSnapshot(SESSION, EPOCH, {CONNECTING: 0.0}), **change)
