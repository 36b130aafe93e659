"""The meaning of the service's texts and refusals, each part of it replaceable."""

import pickle
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.errors import ApiError
from akapulu_async.sansio.lifecycle import EndReason, Signals
from akapulu_async.sansio.signals import LONGEST_TEXT, UpdateSignals

SIGNALS = UpdateSignals()


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("bot joined daily room", True),  # seen
        ("Bot joined Daily room.", True),
        ("Conversation engine joined the call", True),  # seen
        ("Conversation engine joined the call, waiting for you", True),
        ("the Conversation engine joined the call", False),
        ("conversation engine joined the callback", False),
        ("participant joined daily room", True),  # assumed
        ("user has joined the room", True),
        ("joined, and now in the room", True),
        ("bot joining daily room", False),
        ("room created", False),
        ("room joined by nobody", False),
        ("disjoined room", False),
        ("bot joined", False),
        ("bot joined the classroom", False),
        ("bot ready", False),
        ("", False),
    ],
)
def test_join(text: str, *, joined: bool) -> None:
    """The seen text and similar ones read as a join; others do not."""
    assert SIGNALS.reads_as_join(text) is joined


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("duration_limit_reached", EndReason.DURATION_LIMIT_REACHED),  # the name is documented
        ("Duration limit reached", EndReason.DURATION_LIMIT_REACHED),
        ("call ended: duration_limit_reached", EndReason.DURATION_LIMIT_REACHED),
        ("duration limit not reached", None),
        ("participant_join_timeout", EndReason.PARTICIPANT_JOIN_TIMEOUT),  # the name is documented
        ("ended by PARTICIPANT JOIN TIMEOUT", EndReason.PARTICIPANT_JOIN_TIMEOUT),
        ("participant joined", None),
        ("conversation ended", EndReason.COMPLETED),  # assumed, as all that follow
        ("The call has ended.", EndReason.COMPLETED),
        ("session is over", EndReason.COMPLETED),
        ("Conversation completed!", EndReason.COMPLETED),
        ("conversation expired", EndReason.COMPLETED),
        ("the session has expired", EndReason.COMPLETED),
        ("session token expired", None),
        ("the last conversation ended badly", None),
        ("conversation ended by a tool call", None),
        ("tool call completed", None),
        ("function call has ended", None),
        ("bot ready", None),
        ("", None),
    ],
)
def test_end(text: str, reason: EndReason | None) -> None:
    """The documented names are recognized anywhere in a text; a plain end only if the text says nothing else."""
    assert SIGNALS.reads_as_end(text) is reason


def refusal(status: int, *, from_service: bool = True) -> ApiError:
    return ApiError(method="GET", path="/", status=status, from_service=from_service)


@pytest.mark.parametrize(
    ("statuses", "before_ready", "after_ready"),
    [
        ((404, 410), None, EndReason.COMPLETED),
        ((403, 409, 423, 425, 499), None, EndReason.FAILED),
        ((400, 401, 402, 405, 422), EndReason.FAILED, EndReason.FAILED),
        ((408, 429, 500, 501, 502, 503, 504, 520), None, None),
    ],
)
def test_refusals(statuses: tuple[int, ...], before_ready: EndReason | None, after_ready: EndReason | None) -> None:
    """A 404 or 410 after ready is a completion. Before it, whatever a young conversation may get is a failed poll."""
    for status in statuses:
        assert SIGNALS.refused(refusal(status), ready=False) is before_ready
        assert SIGNALS.refused(refusal(status), ready=True) is after_ready


@given(st.integers(300, 599), st.booleans())
def test_refusals_that_the_service_did_not_write(status: int, ready: bool) -> None:
    """An answer that a gateway may have written says nothing about the conversation, whatever its status."""
    signals = UpdateSignals(gone_before_ready=EndReason.FAILED)
    assert signals.refused(refusal(status, from_service=False), ready=ready) is None


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is read without an error."""
    SIGNALS.reads_as_join(text)
    SIGNALS.reads_as_end(text)


@pytest.mark.parametrize("text", ["bot joined daily room", "duration_limit_reached", "conversation ended"])
def test_long_text(text: str) -> None:
    """A text of more than a thousand characters is ignored, and costs no time."""
    long = text + "!" * (LONGEST_TEXT - len(text))
    assert SIGNALS.reads_as_join(long) or SIGNALS.reads_as_end(long)
    assert not SIGNALS.reads_as_join(f"{long}!")
    assert SIGNALS.reads_as_end(f"{long}!") is None
    assert not SIGNALS.reads_as_join("joined " * 1_000_000)  # hours of searching


def test_every_part_can_be_replaced() -> None:
    """Each pattern and each end reason can be replaced alone."""
    word = re.compile("xyz")
    assert attrs.evolve(SIGNALS, joined=word).reads_as_join("xyz")
    for name, reason in (
        ("ended", EndReason.COMPLETED),
        ("duration_limit_reached", EndReason.DURATION_LIMIT_REACHED),
        ("participant_join_timeout", EndReason.PARTICIPANT_JOIN_TIMEOUT),
    ):
        part: dict[str, Any] = {name: word}
        changed = attrs.evolve(SIGNALS, **part)
        assert changed.reads_as_end("xyz") is reason
        assert changed.reads_as_end("conversation ended") is (None if name == "ended" else EndReason.COMPLETED)
    strict = UpdateSignals(
        gone_before_ready=EndReason.FAILED, gone_after_ready=EndReason.LEFT, passing_before_ready=frozenset()
    )
    assert strict.refused(refusal(404), ready=False) is EndReason.FAILED
    assert strict.refused(refusal(410), ready=True) is EndReason.LEFT
    assert strict.refused(refusal(403), ready=False) is EndReason.FAILED


def test_is_a_value() -> None:
    """Signals are a frozen value that compares, hashes and pickles, and fit the state machine's protocol."""
    signals: Signals = SIGNALS
    assert signals == UpdateSignals()
    assert hash(SIGNALS) == hash(UpdateSignals())
    assert pickle.loads(pickle.dumps(SIGNALS)) == SIGNALS  # noqa: S301 - our own
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        SIGNALS.ended = re.compile("")  # type: ignore[misc]
