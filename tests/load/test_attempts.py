"""One conversation of a load test."""

import asyncio
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from akapulu_async import ConcurrencyLimitError, ConnectOutcomeUnknownError, EndReason, ServerError, SessionManager
from akapulu_async.load.attempts import LONGEST_TEXT, attempt, failure
from akapulu_async.load.recorder import Recorder
from akapulu_async.simulator import Fault
from tests.support.loaded import crowded, simulated
from tests.support.misbehaving import REQUEST


async def test_the_times_of_an_attempt() -> None:
    """All times are by the recorder's clock, in the order in which the service answered; latencies count from due."""
    async with crowded() as service:
        service.crowd.gate.clear()
        recorder = Recorder()
        async with SessionManager(service.client) as manager:
            running = asyncio.create_task(attempt(manager, recorder, REQUEST, due=-0.5, hold=0.05))
            await service.connecting()
            sent = recorder.clock()
            service.crowd.gate.set()
            await service.server.until(lambda: len(service.server.requests) > 1)
            polled = recorder.clock()
            service.crowd.ready = True
            await running
    (noted,) = recorder.attempts
    assert (noted.index, noted.due, noted.failure, noted.end_reason) == (0, -0.5, None, EndReason.LEFT)
    assert noted.began is not None
    assert noted.connected is not None
    assert noted.ready is not None
    assert noted.ended is not None
    times = [0.0, noted.began, sent, noted.connected, polled, noted.ready, noted.ended - 0.05, recorder.clock()]
    assert all(before <= after + EXACT for before, after in pairwise(times))
    assert recorder.connect.mean == pytest.approx(noted.connected + 0.5, abs=1e-5)
    assert recorder.ready.mean == pytest.approx(noted.ready + 0.5, abs=1e-5)


async def test_a_refused_connect_is_an_attempt_too() -> None:
    """A refused connect has an end, a reason and a cause, but no beginning and no latencies."""
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


async def test_closing_the_manager_interrupts_it() -> None:
    """An attempt that had not begun when the manager closed is interrupted, neither refused nor failed."""
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
    assert [(each.end_reason, each.outcome) for each in recorder.attempts] == [(None, "interrupted")] * 2
    assert recorder.failures == {}


@pytest.mark.parametrize("hold", [1e6, None])
async def test_a_conversation_that_ends_by_itself(hold: Any) -> None:
    """An end that comes before the hold is over, or is waited for, ends the attempt as a success."""
    async with simulated(speed=100, call_seconds=None) as (sim, client):
        recorder = Recorder()
        async with SessionManager(client) as manager:
            running = asyncio.create_task(attempt(manager, recorder, REQUEST, due=None, hold=hold))
            await sim.wait_until(lambda: bool(recorder.ready.count) or running.done())
            sim.end(next(iter(sim.conversations)))
            await running
    (noted,) = recorder.attempts
    assert (noted.end_reason, noted.failure) == (EndReason.COMPLETED, None)


EXACT = 0.01
"""Seconds by which the comparison of two clocks may be wrong."""

UNWELL = ServerError(status=503, method="GET", path="/x/", message="a different sentence each time")


@pytest.mark.parametrize("reason", sorted(set(EndReason) - {EndReason.FAILED}))
def test_a_ready_conversation_succeeded(reason: Any) -> None:
    """A conversation that became ready succeeded, however it ended, unless an error ended it."""
    assert failure(reason, None, ready=True) is None


@pytest.mark.parametrize("ready", [False, True])
def test_an_error_is_named_by_its_kind_and_status(ready: Any) -> None:
    """Equal errors have one name, whatever their messages say."""
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
    """A failed connect is named after the library's error, or else after the end reason."""
    assert failure(EndReason.CONNECT_FAILED, error, ready=False) == name


@pytest.mark.parametrize("reason", [EndReason.READY_TIMEOUT, EndReason.PARTICIPANT_JOIN_TIMEOUT, EndReason.FAILED])
def test_an_end_before_readiness_is_named_by_its_reason(reason: Any) -> None:
    """An end without an error is named after its reason."""
    assert failure(reason, None, ready=False) == str(reason)


@pytest.mark.parametrize("reason", [None, EndReason.LEFT, EndReason.CANCELLED])
def test_an_interrupted_attempt_is_not_the_services_fault(reason: Any) -> None:
    """An attempt that the end of the test cut short before readiness has not failed."""
    assert failure(reason, None, ready=False) is None


def test_an_end_without_an_error_is_named_with_what_the_service_said() -> None:
    """The cause has the last status text, shortened, and the statuses of failed polls, but not their number."""
    cause = failure(
        EndReason.FAILED, None, ready=False, last_text="conversation ended", errors={"timeout": 1, "503": 3}
    )
    assert cause == "failed: conversation ended (failed polls: 503, timeout)"
    long = failure(EndReason.READY_TIMEOUT, None, ready=False, last_text="\x1b\n" + "x" * 999)
    assert long == f"ready_timeout:   {'x' * (LONGEST_TEXT - 2)}"


async def test_failed_polls_and_retries_are_counted_by_attempt() -> None:
    """An attempt counts its own failed polls and retries, the recorder those of all."""
    async with simulated(speed=100) as (sim, client):
        sim.add_fault(Fault(route="connect", status=503, times=1, headers={"Retry-After": "0"}))
        sim.add_fault(Fault(route="updates", status=503, times=2))
        recorder = Recorder()
        async with SessionManager(client) as manager:
            for _ in range(2):
                await attempt(manager, recorder, REQUEST, due=None, hold=0.0)
    first, second = recorder.attempts
    assert (first.retries, first.poll_errors, first.outcome) == (1, {"503": 2}, "ready")
    assert (second.retries, second.poll_errors, second.outcome) == (0, {}, "ready")
    assert (recorder.calls.retries, recorder.calls.poll_errors) == (1, {"503": 2})
    assert first.polls > 2


async def test_the_service_that_failed_shows_in_the_cause() -> None:
    """If polls fail until the conversation is over, the cause names their status, not only `failed`."""
    async with simulated(speed=0, end_with_script=True) as (sim, client):
        recorder = Recorder()
        async with SessionManager(client) as manager:
            running = asyncio.create_task(attempt(manager, recorder, REQUEST, due=None, hold=0.0))
            await sim.wait_for_request("updates")
            sim.add_fault(Fault(route="updates", status=503, times=2))
            await sim.wait_for_request("updates", count=4)
            sim.advance(600)
            await running
    (cause,) = recorder.failures
    assert cause.startswith("failed: ")
    assert cause.endswith(" (failed polls: 503)")


async def test_a_step_of_the_wall_clock_changes_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies are those of the monotonic clock, if the wall clock is set an hour on or back during a connect."""
    for step in (3600.0, -3600.0):
        with monkeypatch.context() as patched:
            async with crowded() as service:
                service.crowd.ready = True
                service.crowd.gate.clear()
                recorder = Recorder()
                async with SessionManager(service.client) as manager:
                    running = asyncio.create_task(attempt(manager, recorder, REQUEST, due=None, hold=0.0))
                    await service.connecting()
                    step_wall_clock(patched, step)
                    service.crowd.gate.set()
                    await running
                    passed = recorder.clock()
        (noted,) = recorder.attempts
        assert noted.connect_latency is not None
        assert noted.time_to_ready is not None
        assert 0 <= noted.connect_latency <= noted.time_to_ready <= passed


def step_wall_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the wall clock that the library reads on by some seconds."""

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith("akapulu_async") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Stepped)
