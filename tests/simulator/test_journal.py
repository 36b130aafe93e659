"""The journal counts requests and wakes waiters."""

import asyncio
from typing import Any

import pytest

from akapulu_async.simulator.journal import Journal
from akapulu_async.simulator.requests import Match

UPDATES = Match("updates", "a")


def record(journal: Any, where: Any = UPDATES) -> None:
    journal.record(0.0, "GET", "/", where, 200, None)


def test_counts_are_by_route_and_conversation() -> None:
    """Requests are numbered without gaps, and counted by route and by conversation."""
    journal = Journal(keep=None)
    for where in (UPDATES, Match("updates", "b"), Match("connect"), Match(), Match("detail", "a")):
        record(journal, where)
    assert [request.number for request in journal.requests] == [1, 2, 3, 4, 5]
    assert (journal.count(), journal.count("updates"), journal.count("connect")) == (5, 2, 1)
    assert (journal.count("updates", "b"), journal.count(None, "a"), journal.count("recording")) == (1, 2, 0)


def test_old_requests_are_dropped_but_counted() -> None:
    """Only the latest requests are kept; all are counted."""
    journal = Journal(keep=2)
    for _ in range(5):
        record(journal)
    assert ([request.number for request in journal.requests], journal.count()) == ([4, 5], 5)


async def test_a_condition_that_holds_is_not_waited_for() -> None:
    """A condition that holds ends the wait at once."""
    await Journal(keep=None).wait_until(lambda: True, 0.001)


async def test_waiters_are_woken_by_what_happens() -> None:
    """Each waiter wakes when its own condition holds."""
    journal = Journal(keep=None)
    waits = [
        asyncio.create_task(journal.wait_until(condition, 5))
        for condition in (lambda: journal.count() >= 1, lambda: journal.count() >= 3)
    ]
    await asyncio.sleep(0)
    record(journal)
    await waits[0]
    assert not waits[1].done()
    record(journal)
    record(journal)
    await waits[1]


async def test_patience_ends() -> None:
    """After the timeout a wait raises TimeoutError, and the journal works on."""
    journal = Journal(keep=None)
    with pytest.raises(TimeoutError):
        await journal.wait_until(lambda: False, 0.01)
    record(journal)
    assert journal.count() == 1


def test_unknown_ids_take_no_memory() -> None:
    """A request for an unknown conversation is counted by its route only, and a look-up stores nothing."""
    journal = Journal(keep=0, conversations={"a"})
    for number in range(100):
        record(journal, Match("updates", f"unknown {number}"))
        assert journal.count("updates", f"other {number}") == 0
    record(journal)
    assert (journal.count("updates"), journal.count("updates", "unknown 1"), journal.count(None, "a")) == (101, 0, 1)
    assert len(journal._counts) == 3


def test_forgotten_conversations_take_no_memory() -> None:
    """The counts of forgotten conversations are dropped; those of routes stay."""
    known: set[str] = set()
    journal = Journal(keep=0, conversations=known)
    for number in range(5000):
        known.clear()
        known.add(str(number))
        record(journal, Match("updates", str(number)))
    assert (journal.count("updates"), journal.count("updates", "4999")) == (5000, 1)
    assert len(journal._counts) <= 1000
    assert len(journal._polls) <= 1000
