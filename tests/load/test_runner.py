"""The load test as a whole. Services answer when the test says so: no figure depends on the speed of the machine."""

import subprocess
import sys
from typing import Any

import pytest

from akapulu_async import EndReason
from akapulu_async.load import runner
from akapulu_async.load.plan import Arrivals
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.runner import RESERVED_FILES, connections
from akapulu_async.simulator import Fault
from tests.support.loaded import Running, crowded, loaded, simulated
from tests.support.managed import Crowded, until

# ruff: noqa: S603 - runs this package's own code

EXACT = 0.01
"""Seconds by which the comparison of two clocks may be wrong."""


def open_gate(service: Crowded) -> None:
    """Answer all connects, and have all bots ready."""
    service.crowd.ready = True
    service.crowd.gate.set()


async def test_a_stall_delays_no_arrival_and_shows_in_all_that_were_due() -> None:
    """In the open loop, a service that answers nobody slows no arrival, and each latency includes the stall."""
    async with crowded(pool_size=50) as service:
        service.crowd.gate.clear()
        load = Running(service.client, conversations=50, rate=500.0, arrivals=Arrivals.CONSTANT, hold=0.0)
        await service.connecting(50)
        answered = load.recorder.clock()
        open_gate(service)
        result = await load.result
    assert [each.due for each in result.attempts] == [number / 500 for number in range(50)]
    assert result.arrival_lag.count == result.connect.count == result.ready.count == 50
    for each in result.attempts:
        assert each.connect_latency is not None
        assert each.connect_latency >= answered - each.due - EXACT
    assert result.failures == {}


async def test_the_wait_for_a_place_counts() -> None:
    """With a limit at once, no more connects are sent, and the wait for a place is part of the latency."""
    async with crowded() as service:
        service.crowd.gate.clear()
        load = Running(service.client, conversations=6, rate=1000.0, concurrency=2, hold=0.0, poll_interval=0.01)
        await service.connecting(2)
        await until(lambda: load.recorder.arrived == 6)
        assert service.connects == 2
        answered = load.recorder.clock()
        open_gate(service)
        result = await load.result
    assert service.connects == 6
    for each in result.attempts:
        assert each.connect_latency is not None
        assert each.connect_latency >= answered - each.due - EXACT


async def test_a_closed_loop_keeps_its_places_busy() -> None:
    """Without a rate, as many run at once as asked for, until all had their turn."""
    async with crowded() as service:
        service.crowd.gate.clear()
        load = Running(service.client, conversations=23, concurrency=5, ramp=0.0, hold=0.0, poll_interval=0.01)
        await service.connecting(5)
        assert (load.recorder.arrived, service.connects) == (5, 5)
        open_gate(service)
        result = await load.result
    assert [each.index for each in result.attempts] == list(range(23))
    assert result.ready.count == service.connects == 23
    assert result.arrival_lag.count == 0


async def test_fewer_conversations_than_places_do_not_wait_for_the_rest() -> None:
    """A test of three conversations ends with the third, however long all places would take to open."""
    async with crowded() as service:
        service.crowd.ready = True
        result = await loaded(service.client, conversations=3, concurrency=10, ramp=1e6, hold=0.0, poll_interval=0.01)
    assert len(result.attempts) == 3


async def test_the_duration_ends_a_closed_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the duration nothing starts, and running conversations continue to their end."""
    now = [1.0]
    monkeypatch.setattr(Recorder, "clock", lambda _: now[0])
    async with crowded() as service:
        service.crowd.gate.clear()
        load = Running(service.client, duration=10.0, concurrency=3, ramp=0.0, hold=0.0, poll_interval=0.01)
        await service.connecting(3)
        now[0] = 10.0
        open_gate(service)
        result = await load.result
    assert (len(result.attempts), result.ready.count, result.failures) == (3, 3, {})


async def test_each_is_held_as_long_as_asked() -> None:
    """A ready conversation is held for the given time, and then left."""
    async with crowded() as service:
        service.crowd.ready = True
        result = await loaded(service.client, conversations=3, concurrency=3, hold=0.25, poll_interval=0.01)
    for each in result.attempts:
        assert each.ended is not None
        assert each.ready is not None
        assert each.ended - each.ready >= 0.25 - EXACT
        assert each.end_reason is EndReason.LEFT


async def test_causes_of_failure_are_counted() -> None:
    """Refused connects and lost conversations are counted by cause."""
    async with simulated(speed=0) as (sim, client):
        sim.add_fault(Fault(route="connect", status=500, times=2))
        sim.add_fault(Fault(route="updates", status=401, times=None))
        result = await loaded(client, conversations=6, concurrency=6, poll_interval=0.01)
    assert result.failures == {"ConnectOutcomeUnknownError 500": 2, "AuthenticationError 401": 4}
    ends = [each.end_reason for each in result.attempts]
    assert (ends.count(EndReason.CONNECT_FAILED), ends.count(EndReason.FAILED)) == (2, 4)
    assert (result.connect.count, result.ready.count) == (4, 0)


async def test_an_interrupt_ends_what_runs_and_keeps_the_measurements() -> None:
    """When the test is stopped, nothing more starts, running conversations are left, and the figures stay."""
    async with crowded() as service:
        service.crowd.ready = True
        load = Running(service.client, duration=1e6, concurrency=4, ramp=0.0, poll_interval=0.01)
        await load.begun()
        await until(lambda: load.recorder.ready.count == 4)
        result = await load.stop()
    assert result.interrupted
    assert "was interrupted" in result.warnings[0]
    assert (result.ready.count, result.failures) == (4, {})
    assert {each.end_reason for each in result.attempts} == {EndReason.LEFT}


async def test_an_interrupt_is_no_failure() -> None:
    """Conversations that waited for a place or were not ready count as interrupted, not as failed."""
    async with crowded() as service:
        load = Running(service.client, conversations=9, rate=1000.0, concurrency=3, poll_interval=0.01)
        await load.begun()
        await until(lambda: load.recorder.connect.count == 3 and load.recorder.arrived == 9)
        result = await load.stop()
    assert (result.failures, result.cut_short) == ({}, 9)
    assert "9 conversations were not ready by then" in result.warnings[0]
    assert [each.end_reason for each in result.attempts if each.began is None] == [None] * 6


async def test_samples_are_taken_all_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the test is sampled at the interval and at the end; counts never fall."""
    monkeypatch.setattr(runner, "SAMPLE_INTERVAL", 0.01)
    async with crowded() as service:
        load = Running(service.client, conversations=3, concurrency=3, ramp=0.0, poll_interval=0.01)
        await load.begun()
        await until(lambda: load.recorder.samples and sum(load.recorder.samples[-1].states.values()) == 3)
        await until(lambda: load.recorder.samples[-1].polls >= 3 and load.recorder.lag.lag.count)
        result = await load.stop()
    samples = result.samples
    assert len(samples) >= 3
    assert all(each.at >= number * 0.01 - EXACT for number, each in enumerate(samples[:-1]))
    assert [each.polls for each in samples] == sorted(each.polls for each in samples)
    assert (samples[-1].connects, sum(samples[-1].states.values())) == (3, 0)


# Connections.

resource = pytest.importorskip("resource")

LIMITED = """
import resource, sys
from akapulu_async.load.runner import connections
soft, hard, wanted = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
print(connections(None if wanted == "None" else int(wanted)), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(soft: int, hard: int, wanted: int | None) -> list[int]:
    """Return the connections allowed with these limits of open files, and the limits afterwards."""
    command = [sys.executable, "-c", LIMITED, str(soft), str(hard), str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_few_conversations_need_no_more_than_usual() -> None:
    """A small test gets the library's usual number of connections."""
    assert connections(3) == 64


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed"),
    [
        pytest.param(256, 2000, 500, [500, 500 + RESERVED_FILES, 2000], id="raised as needed"),
        pytest.param(256, 400, 500, [400 - RESERVED_FILES, 400, 400], id="up to the hard limit"),
        pytest.param(256, 400, None, [400 - RESERVED_FILES, 400, 400], id="without a bound", marks=pytest.mark.slow),
        pytest.param(900, 2000, 500, [500, 900, 2000], id="enough already", marks=pytest.mark.slow),
    ],
)
def test_the_limit_of_open_files_is_raised(soft: int, hard: int, wanted: Any, allowed: list[int]) -> None:
    """The limit of open files is raised as far as needed and allowed, and the connections fit into it."""
    assert limited(soft, hard, wanted) == allowed
