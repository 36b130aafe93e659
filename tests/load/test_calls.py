"""Calls are counted where they belong."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from akapulu_async import Attempt, ErrorKind
from akapulu_async.load.calls import CallObserver, Calls, count_in

POLL = Attempt(
    method="GET",
    template="/conversations/{session_id}/updates/",
    host="127.0.0.1",
    session_id="33333333-3333-4333-8333-333333333333",
    started_at=datetime(2026, 3, 1, tzinfo=UTC),
    number=1,
)


def noted(*, ready: bool = False, **fields: Any) -> Calls:
    """Return what is counted of an attempt."""
    calls = Calls(ready=ready)
    calls.note(attrs.evolve(POLL, **fields))
    return calls


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"error": ErrorKind.SERVER, "status": 503}, "503"),
        ({"error": ErrorKind.INVALID_RESPONSE, "status": 200}, "invalid_response"),
        ({"error": ErrorKind.TIMEOUT}, "timeout"),
        ({"error": ErrorKind.NOT_FOUND, "status": 404}, "404"),
        ({"error": ErrorKind.NOT_FOUND, "status": 404, "ready": True}, None),
        ({"error": ErrorKind.SERVER, "status": 503, "ready": True}, "503"),
        ({"error": ErrorKind.SERVER, "status": 500, "session_id": None}, None),
        ({"status": 200}, None),
    ],
)
def test_failed_polls_count_by_status(fields: Any, name: Any) -> None:
    """A failed poll counts by status or kind; not a connect, nor the 404 with which a ready conversation ends."""
    assert noted(**fields).poll_errors == ({} if name is None else {name: 1})


def test_retries_count() -> None:
    """A second or later attempt of a call is a retry."""
    assert [noted(number=number).retries for number in (1, 2, 3)] == [0, 1, 1]


async def test_each_task_counts_its_own_calls() -> None:
    """A call counts for the conversation whose task, or a task of it, made it; other calls count nowhere."""
    of_all = Calls()
    observer = CallObserver()
    failed = attrs.evolve(POLL, number=2, error=ErrorKind.TIMEOUT)

    async def poller() -> None:
        observer.attempt_finished(failed)

    async def conversation(polls: int) -> Calls:
        calls = Calls(within=of_all)
        count_in(calls)
        for _ in range(polls):
            await asyncio.create_task(poller())
        return calls

    one, two, _ = await asyncio.gather(conversation(1), conversation(2), poller())
    assert [(calls.retries, calls.poll_errors) for calls in (one, two, of_all)] == [
        (1, {"timeout": 1}),
        (2, {"timeout": 2}),
        (3, {"timeout": 3}),
    ]
