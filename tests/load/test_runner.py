"""The load test as a whole: what is measured of a service whose times are known."""

import asyncio
import math
import random
import statistics
import subprocess
import sys
from typing import Any

import pytest

from akapulu_async import EndReason
from akapulu_async.load.plan import Arrivals
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Latencies
from akapulu_async.load.runner import RESERVE, connections
from akapulu_async.simulator import Fault
from tests.support.loaded import Punctual, loaded
from tests.support.managed import crowded, simulated, until
from tests.support.misbehaving import PATIENCE, Server, client_of

SHARES = (0.5, 0.9, 0.99)


class Kept:
    """Lets a test see what is noted while the load test runs."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    async def __call__(self, recorder: Recorder) -> None:
        self.recorder = recorder


def lognormal(count: int, median: float, spread: float) -> list[float]:
    """Return figures that are spread exactly so, in an order that says nothing."""
    normal = statistics.NormalDist(math.log(median), spread)
    figures = [math.exp(normal.inv_cdf((place + 0.5) / count)) for place in range(count)]
    random.Random(1).shuffle(figures)
    return figures


def answered(recorder: Recorder, when: dict[str, float]) -> list[float]:
    """Return the latencies that the service itself saw: seconds from when each was due to when it answered."""
    origin = recorder._origin
    return [when[each.session_id] - origin - each.due for each in recorder.attempts if each.session_id is not None]


def agree(measured: Latencies, exact: list[float], within: float) -> None:
    assert measured.count == len(exact)
    assert measured.mean == pytest.approx(statistics.fmean(exact), rel=within)
    for share in SHARES:
        assert measured.at(share) == pytest.approx(quantile(exact, share), rel=within), share


def quantile(exact: list[float], share: float) -> float:
    return sorted(exact)[math.ceil(share * len(exact)) - 1]


async def test_figures_agree_with_a_known_distribution() -> None:
    """Connects and readinesses that are spread in a known way are measured as spread so, within two per cent."""
    # Five seconds, since the longer they are, the less it weighs how late a busy machine runs this.
    connect, ready = lognormal(100, 1.6, 0.15), lognormal(100, 3.4, 0.1)
    service = Punctual(connect=connect, ready=ready)
    async with Server(service) as server, client_of(server, pool_size=100) as client:
        recorder = await loaded(
            client, conversations=100, rate=100.0, arrivals=Arrivals.CONSTANT, hold=0.0, poll_interval=0.1
        )
    # On a busy machine the service is later than its script, which is no error of the measurement.
    for measured, scripted, when in (
        (recorder.connect, connect, service.connected),
        (recorder.ready, ready, service.readied),
    ):
        exact = answered(recorder, when)
        agree(measured, exact, 0.02)
        late = statistics.fmean(exact) - statistics.fmean(scripted)
        assert 0 <= late < 0.5
    assert recorder.failures == {}


async def test_polling_tells_of_a_readiness_late_by_its_interval_at_the_most() -> None:
    """A readiness that only polls tell of is measured late by between nothing and the resolution that is stated."""
    async with simulated(speed=1, ready_time=1.0, join_after=0.1) as (_, client):
        recorder = await loaded(client, conversations=60, concurrency=60, ramp=0.5, hold=0.0, poll_interval=0.4)
    late = [each.time_to_ready - 1.0 for each in recorder.attempts if each.time_to_ready is not None]
    assert len(late) == 60
    assert min(late) > 0
    assert max(late) < 0.44 + 0.3  # and what the polls and the loop take on a busy machine
    assert statistics.fmean(late) == pytest.approx(0.2, abs=0.1)


async def test_a_stall_of_the_service_shows_in_all_that_were_due_meanwhile() -> None:
    """In the open loop, a service that answers nobody for a second is measured by each who came in that second."""
    waits = [max(0.0, 1.0 - number / 100) for number in range(150)]
    async with Server(Punctual(connect=waits)) as server, client_of(server, pool_size=150) as client:
        recorder = await loaded(client, conversations=150, rate=100.0, arrivals=Arrivals.CONSTANT, hold=0.0)
    due = [each.due for each in sorted(recorder.attempts, key=lambda each: each.index)]
    assert due == [number / 100 for number in range(150)]
    # Half of them waited a quarter of a second or more, and more on a busy machine; nobody's wait may be left out.
    for share in SHARES:
        assert (recorder.connect.at(share) or 0) >= quantile(waits, share) - 0.001
    assert (recorder.connect.mean or 0) >= statistics.fmean(waits)


async def test_a_service_that_does_not_answer_does_not_slow_the_arrivals() -> None:
    """In the open loop, all come up when they are due, though no connect is answered."""
    stop = asyncio.Event()
    async with crowded(pool_size=50) as crowded_:
        crowded_.crowd.gate.clear()
        running = asyncio.create_task(
            loaded(crowded_.client, stop=stop, conversations=50, rate=100.0, arrivals=Arrivals.CONSTANT)
        )
        await crowded_.connecting(50)
        stop.set()
        crowded_.crowd.gate.set()
        recorder = await running
    assert recorder.arrived == 50
    assert recorder.arrival_lag.count == 50
    assert sorted(each.due for each in recorder.attempts) == [number / 100 for number in range(50)]
    assert recorder.failures == {"interrupted": 50}


async def test_the_wait_for_a_place_counts() -> None:
    """With a limit at once, who is due waits for a place on its own time, and no more run than there are places."""
    async with Server(Punctual(ready=(0.2,))) as server, client_of(server) as client:
        recorder = await loaded(
            client,
            conversations=40,
            rate=200.0,
            arrivals=Arrivals.CONSTANT,
            concurrency=4,
            hold=0.0,
            poll_interval=0.01,
        )
    attempts = sorted(recorder.attempts, key=lambda each: each.index)
    for number, each in enumerate(attempts):
        # Ten rounds of four, each of 0.2 s.
        assert each.time_to_ready is not None
        assert each.time_to_ready >= (number // 4 + 1) * 0.2 - each.due - 0.001
    assert most_at_once(recorder) == 4


def most_at_once(recorder: Recorder) -> int:
    """Return how many of the sessions lived at the same time at the most."""
    begins = [(each.began or 0.0, 1) for each in recorder.attempts]
    ends = [((each.ended or 0.0) - 0.001, -1) for each in recorder.attempts]  # so exactly are their times compared
    running = most = 0
    for _, change in sorted(begins + ends):
        running += change
        most = max(most, running)
    return most


async def test_a_closed_loop_keeps_so_many_going() -> None:
    """Without a rate, there are as many at once as asked for, and never more, until all have had their turn."""
    async with simulated() as (sim, client):
        recorder = await loaded(client, conversations=23, concurrency=5, ramp=0.0, hold=0.0, poll_interval=0.02)
        assert len(sim.conversations) == 23
    assert sorted(each.index for each in recorder.attempts) == list(range(23))
    assert most_at_once(recorder) == 5
    assert recorder.arrival_lag.count == 0


async def test_fewer_conversations_than_places_do_not_wait_for_the_rest() -> None:
    """A test of three conversations ends with the third, however long it would take until all places are open."""
    async with simulated() as (_, client), asyncio.timeout(PATIENCE):
        recorder = await loaded(client, conversations=3, concurrency=10, ramp=1e6, hold=0.0, poll_interval=0.02)
    assert recorder.arrived == len(recorder.attempts) == 3


@pytest.mark.parametrize("load", [{"rate": 50.0}, {"concurrency": 4}])
async def test_the_duration_ends_the_arrivals_and_not_what_runs(load: Any) -> None:
    """After the duration nothing begins, and what began is held to its end."""
    async with simulated() as (_, client):
        recorder = await loaded(client, duration=0.5, hold=0.3, poll_interval=0.02, **load)
    assert 0.5 < max(each.ended or 0.0 for each in recorder.attempts) < 5
    assert all(each.due < 0.5 for each in recorder.attempts)
    assert len(recorder.attempts) > 4
    assert recorder.failures == {}


async def test_each_is_held_as_long_as_asked() -> None:
    """From its readiness on, a conversation is held for the time that is given, and then left."""
    async with simulated(call_seconds=None) as (_, client):
        recorder = await loaded(client, conversations=5, concurrency=5, hold=0.25, poll_interval=0.02)
    for each in recorder.attempts:
        assert each.ended is not None
        assert each.ready is not None
        assert 0.25 <= each.ended - each.ready < 1
        assert each.end_reason is EndReason.LEFT


async def test_without_a_hold_each_ends_by_itself() -> None:
    """If no time is given, a conversation is watched until the service says that it ended."""
    async with simulated(call_seconds=20.0) as (sim, client):  # five seconds: so often those that are ready are polled
        recorder = await loaded(client, conversations=2, concurrency=2, poll_interval=0.02)
        assert sim.open_conversations == 0
    assert {each.end_reason for each in recorder.attempts} == {EndReason.COMPLETED}


async def test_causes_of_failure_are_counted() -> None:
    """Connects that are refused, conversations that are lost and those that do not get ready are told apart."""
    async with simulated(speed=1, ready_time=30.0) as (sim, client):
        sim.add_fault(Fault(route="connect", status=500, times=2))
        sim.add_fault(Fault(route="updates", status=404, times=1))
        recorder = await loaded(client, conversations=6, concurrency=6, ready_timeout=0.5, poll_interval=0.05)
    assert recorder.failures == {"ServerError 500": 2, "NotFoundError 404": 1, "ready_timeout": 3}
    ends = [each.end_reason for each in recorder.attempts]
    assert {reason: ends.count(reason) for reason in set(ends)} == {
        EndReason.CONNECT_FAILED: 2,
        EndReason.FAILED: 1,
        EndReason.READY_TIMEOUT: 3,
    }
    assert (recorder.connect.count, recorder.ready.count) == (4, 0)


async def test_an_interrupt_ends_what_runs_and_keeps_what_was_measured() -> None:
    """When told to stop, nothing more begins, what runs is left, and what got ready stays measured."""
    stop, kept = asyncio.Event(), Kept()
    async with simulated(speed=20, call_seconds=None) as (_, client):
        plan = {"duration": 60.0, "concurrency": 4, "ramp": 0.0, "hold": 60.0, "poll_interval": 0.02}
        running = asyncio.create_task(loaded(client, stop=stop, follow=kept, **plan))
        await until(lambda: kept.recorder and kept.recorder.ready.count == 4)
        stop.set()
        recorder = await running
    assert recorder.interrupted
    assert recorder.ready.count == 4
    assert recorder.failures == {}
    assert {each.end_reason for each in recorder.attempts} == {EndReason.LEFT}


async def test_an_interrupt_names_what_waited_and_what_was_not_ready() -> None:
    """What was due and had no place, and what had not got ready, is counted as interrupted, and as nothing else."""
    stop, kept = asyncio.Event(), Kept()
    async with simulated(speed=0) as (_, client):
        plan = {"conversations": 9, "rate": 1000.0, "concurrency": 3, "poll_interval": 0.02}
        running = asyncio.create_task(loaded(client, stop=stop, follow=kept, **plan))
        await until(lambda: kept.recorder and kept.recorder.connect.count == 3)
        stop.set()
        recorder = await running
    assert recorder.failures == {"interrupted": recorder.arrived}
    assert sum(each.began is None for each in recorder.attempts) == recorder.arrived - 3
    assert all(each.end_reason is None for each in recorder.attempts if each.began is None)


async def test_samples_are_taken_all_along() -> None:
    """About each second, and at the end, it is noted how things stand; counts never go back."""
    async with simulated(speed=1, ready_time=1.5, call_seconds=None) as (_, client):
        recorder = await loaded(client, conversations=3, concurrency=3, ramp=0.0, hold=1.0, poll_interval=0.1)
    samples = recorder.samples
    assert [round(each.at) for each in samples[:3]] == [0, 1, 2]
    assert sum(samples[1].states.values()) == 3
    assert samples[-1].connects == 3
    assert samples[-1].polls >= 3
    assert sum(samples[-1].states.values()) == 0
    assert [each.polls for each in samples] == sorted(each.polls for each in samples)
    assert recorder.lag.lag.count > 100


# ruff: noqa: S603 - runs this package's own code

resource = pytest.importorskip("resource")

LIMITED = """
import resource, sys
from akapulu_async.load.runner import connections
soft, hard, wanted = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
print(connections(None if wanted == "None" else int(wanted)), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(soft: int, hard: int, wanted: int | None) -> list[int]:
    """Return the connections allowed with such limits of open files, and the limits afterwards."""
    command = [sys.executable, "-c", LIMITED, str(soft), str(hard), str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return [int(word) for word in done.stdout.split()]


def test_few_conversations_need_no_more_than_usual() -> None:
    """A small test has the library's usual number of connections."""
    assert connections(3) == 64


def test_the_limit_of_open_files_is_raised_as_needed() -> None:
    """For more conversations than files may be open, the limit is raised, and no further."""
    assert limited(256, 2000, 500) == [500, 500 + RESERVE, 2000]


def test_what_the_system_forbids_is_not_allowed() -> None:
    """Past the hard limit, so many connections are allowed as fit into it."""
    assert limited(256, 400, 500) == [400 - RESERVE, 400, 400]
    assert limited(256, 400, None) == [400 - RESERVE, 400, 400]


def test_a_limit_that_is_enough_is_left_alone() -> None:
    """Where enough files may be open, nothing is changed."""
    assert limited(900, 2000, 500) == [500, 900, 2000]
