"""One conversation of a load test."""

import asyncio
from typing import Any

import pytest

from akapulu_async import ConcurrencyLimitError, ConnectOutcomeUnknownError, EndReason, ServerError, SessionManager
from akapulu_async.load.attempts import INTERRUPTED, attempt, failure
from akapulu_async.load.recorder import Recorder
from tests.support.loaded import Punctual
from tests.support.managed import crowded, simulated
from tests.support.misbehaving import REQUEST, Server, client_of


async def test_the_times_of_an_attempt() -> None:
    """All times are by the test's clock, and those of the service's steps are exact, whenever the loop came to them."""
    async with Server(Punctual(connect=(0.2,), ready=(0.9,))) as server, client_of(server) as client:
        recorder = Recorder()
        async with SessionManager(client) as manager:
            await attempt(manager, recorder, REQUEST, due=-0.5, hold=0.1)
    (noted,) = recorder.attempts
    assert (noted.index, noted.due, noted.failure, noted.end_reason) == (0, -0.5, None, EndReason.LEFT)
    assert noted.began is not None
    assert noted.connected is not None
    assert noted.ready is not None
    assert noted.ended is not None
    assert noted.connected - noted.began == pytest.approx(0.2, abs=0.1)
    assert noted.ready - noted.began == pytest.approx(0.9, abs=0.1)
    assert noted.ended - noted.ready == pytest.approx(0.1, abs=0.1)
    assert 0 <= noted.began < 0.1
    assert recorder.connect.mean == pytest.approx(noted.connected + 0.5, abs=1e-5)
    assert recorder.ready.mean == pytest.approx(noted.ready + 0.5, abs=1e-5)


async def test_a_refused_connect_is_an_attempt_too() -> None:
    """What was refused has an end, a reason and a cause, and neither a beginning nor latencies."""
    async with crowded() as crowd:
        crowd.crowd.refusals = [(401, "AUTH_INVALID")]
        recorder = Recorder()
        async with SessionManager(crowd.client) as manager:
            await attempt(manager, recorder, REQUEST, due=None, hold=None)
    (noted,) = recorder.attempts
    assert (noted.end_reason, noted.failure) == (EndReason.CONNECT_FAILED, "AuthenticationError 401")
    assert (noted.began, noted.session_id, noted.connect_latency, noted.time_to_ready) == (None, None, None, None)
    assert noted.ended is not None
    assert recorder.connect.count == 0


async def test_a_manager_that_is_closed_breaks_it_off() -> None:
    """What was not begun when the manager closed is interrupted, and was refused by nobody."""
    async with crowded() as crowd:
        crowd.crowd.gate.clear()
        recorder = Recorder()
        async with SessionManager(crowd.client, max_sessions=1) as manager:
            running = [asyncio.create_task(attempt(manager, recorder, REQUEST, due=None, hold=None)) for _ in range(2)]
            await crowd.connecting()
            closing = asyncio.create_task(manager.aclose())
            await running[1]
            crowd.crowd.gate.set()
            await asyncio.gather(*running, closing)
    assert [(each.end_reason, each.failure) for each in recorder.attempts] == [(None, "interrupted")] * 2


async def test_a_conversation_that_ends_while_it_is_held() -> None:
    """An end that comes before the hold is over ends the attempt, as a success."""
    async with simulated(call_seconds=None) as (sim, client):
        recorder = Recorder()
        async with SessionManager(client) as manager:
            running = asyncio.create_task(attempt(manager, recorder, REQUEST, due=None, hold=60.0))
            await sim.wait_until(lambda: bool(recorder.ready.count) or running.done())
            sim.end(next(iter(sim.conversations)))
            await running
    (noted,) = recorder.attempts
    assert (noted.end_reason, noted.failure) == (EndReason.COMPLETED, None)


UNWELL = ServerError(status=503, method="GET", path="/x/", message="a different sentence each time")


@pytest.mark.parametrize("reason", sorted(set(EndReason) - {EndReason.FAILED}))
def test_what_got_ready_did_not_fail(reason: Any) -> None:
    """A conversation that got ready succeeded, however it ended, unless an error broke it off."""
    assert failure(reason, None, ready=True) is None


@pytest.mark.parametrize("ready", [False, True])
def test_an_error_is_named_by_its_kind_and_status(ready: Any) -> None:
    """Equal errors have one name, whatever their sentences say."""
    assert failure(EndReason.FAILED, UNWELL, ready=ready) == "ServerError 503"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ConcurrencyLimitError(status=429, method="POST", path="/x/"), "ConcurrencyLimitError 429"),
        (ConnectOutcomeUnknownError(scenario_id="a", avatar_id="b", reason="c"), "ConnectOutcomeUnknownError"),
        (RuntimeError("of a participant"), "connect_failed"),
        (None, "connect_failed"),
    ],
)
def test_a_failed_connect_is_named_by_its_error(error: Any, name: Any) -> None:
    """What kept a conversation from beginning is named; without an error of the library, the end is."""
    assert failure(EndReason.CONNECT_FAILED, error, ready=False) == name


@pytest.mark.parametrize("reason", [EndReason.READY_TIMEOUT, EndReason.PARTICIPANT_JOIN_TIMEOUT, EndReason.FAILED])
def test_an_end_before_readiness_is_named_by_its_reason(reason: Any) -> None:
    """Where no error is behind an end, its reason is the name."""
    assert failure(reason, None, ready=False) == str(reason)


@pytest.mark.parametrize("reason", [None, EndReason.LEFT, EndReason.CANCELLED])
def test_what_was_broken_off_is_not_the_services_fault(reason: Any) -> None:
    """What did not come to its readiness because the test was broken off has a name of its own."""
    assert failure(reason, None, ready=False) == INTERRUPTED
