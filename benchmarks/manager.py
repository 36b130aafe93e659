"""Cost of thousands of sessions at once, on one core, with one poll budget.

    python benchmarks/manager.py [--sessions 1000 5000 10000] [--polls 2000] [--seconds 10] [--uvloop] [--json [FILE]]

Each size is measured in a client process and a simulator process of its own, pinned to one core each where the system
can do that. What is measured, and how, is in benchmarks/README.md.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from akapulu_async import (
    AkapuluClient,
    ConnectRequest,
    EventsMissed,
    PollPolicy,
    SessionManager,
    SessionState,
    StateChanged,
)
from output import add_json_option, show
from processes import cores, cpu_seconds, descriptors, own_cpu_seconds, pin, resident, settle_allocator

Figures = dict[str, float]

STARTERS = 100  # tasks that start sessions
LAG_INTERVAL = 0.005  # seconds between two samples of the loop's lag
READY_SECONDS = 30.0  # simulated seconds until all bots are ready
CALL_SECONDS = 60.0  # and from then until all calls are over
PATIENCE = 60.0  # seconds that any phase may take

ROWS = (
    ("sessions at once", "sessions", "{:,.0f}"),
    ("connects/s", "connects_per_second", "{:,.0f}"),
    ("polls/s", "polls_per_second", "{:,.0f}"),
    ("CPU, share of a core", "cpu", "{:.2f}"),
    ("  of bare aiohttp loops", "bare_cpu", "{:.2f}"),
    ("  ratio, a poll", "ratio", "{:.2f}"),
    ("CPU of the simulator", "simulator_cpu", "{:.2f}"),
    ("interval by the budget, s", "interval", "{:.2f}"),
    ("ready to event, p50 s", "ready_p50", "{:.3f}"),
    ("  the interval explains", "explained_p50", "{:.3f}"),
    ("ready to event, p99 s", "ready_p99", "{:.3f}"),
    ("  the interval explains", "explained_p99", "{:.3f}"),
    ("one poll, p50 ms", "poll_p50_ms", "{:.2f}"),
    ("loop lag, p99 ms", "lag_p99_ms", "{:.2f}"),
    ("loop lag, max ms", "lag_max_ms", "{:.1f}"),
    ("  p99 from start to end", "lag_all_p99_ms", "{:.2f}"),
    ("  max from start to end", "lag_all_max_ms", "{:.1f}"),
    ("memory a session, KB", "session_kb", "{:.1f}"),
    ("file descriptors", "descriptors", "{:,.0f}"),
    ("  of these, sockets", "sockets", "{:,.0f}"),
    ("transitions delivered", "transitions", "{:,.0f}"),
    ("  missing", "transitions_missing", "{:,.0f}"),
    ("afterwards: sessions", "sessions_left", "{:,.0f}"),
    ("afterwards: tasks", "tasks_left", "{:,.0f}"),
)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the session manager.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 5_000, 10_000])
    parser.add_argument("--polls", type=float, default=2_000.0, help="poll budget, per second (2000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the steady state is measured (10)")
    parser.add_argument("--uvloop", action="store_true", help="on uvloop instead of asyncio's own loop")
    add_json_option(parser)
    arguments = parser.parse_args()
    if len(arguments.sessions) == 1:
        table = [measure(arguments.sessions[0], arguments.polls, arguments.seconds, uvloop=arguments.uvloop)]
    else:
        table = [measure_apart(sessions, arguments) for sessions in arguments.sessions]
    show({"sizes": table}, rendered(table), arguments.json)


def measure_apart(sessions: int, arguments: argparse.Namespace) -> Figures:
    """Measure in a separate process, so that no size inherits another's memory."""
    print(f"measuring {sessions:,} sessions", file=sys.stderr, flush=True)
    options = ["--sessions", str(sessions), "--polls", str(arguments.polls), "--seconds", str(arguments.seconds)]
    command = [sys.executable, str(Path(__file__)), *options, "--json", *(["--uvloop"] if arguments.uvloop else [])]
    (figures,) = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["sizes"]
    found: Figures = figures
    return found


def rendered(table: Sequence[Figures]) -> str:
    """Return the table as text, one column per size."""
    return "\n".join(
        f"{title:<28}" + "".join(f"{form.format(figures[name]):>12}" for figures in table) for title, name, form in ROWS
    )


def measure(sessions: int, polls: float, seconds: float, *, uvloop: bool) -> Figures:
    """Start a simulator whose time stands still, run this number of sessions with it, and return the figures."""
    ours, theirs = cores()
    pin(0, ours)
    settle_allocator()
    options = ["--speed", "0", "--ready-time", str(READY_SECONDS), "--call-seconds", str(CALL_SECONDS)]
    command = [sys.executable, "-m", "akapulu_async", "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, theirs)
        assert process.stdout is not None
        try:
            base_url, key = (process.stdout.readline().strip().partition("=")[2] for _ in range(2))
            if not base_url:
                raise RuntimeError("the simulator did not start; its error is above")
            with asyncio.Runner(loop_factory=_loop_factory(uvloop=uvloop)) as runner:
                size = _Measurement(base_url, key, pid=process.pid, sessions=sessions, polls=polls, seconds=seconds)
                return runner.run(size.run())
        finally:
            process.terminate()


class _Measurement:
    """One size: warm-up, connects, the steady state, all ready at once, all ended at once, what is left."""

    def __init__(self, base_url: str, key: str, *, pid: int, sessions: int, polls: float, seconds: float) -> None:
        self._base_url = base_url
        self._key = key
        self._pid = pid
        self._sessions = sessions
        self._polls = polls
        self._seconds = seconds
        self._entered: Counter[SessionState] = Counter()
        self._missed = 0
        self._ready_at: list[float] = []
        self._progress = asyncio.Event()
        self._ids: list[str] = []

    async def run(self) -> Figures:
        lags: list[float] = []
        policy = PollPolicy(live_interval=min(5.0, self._seconds / 2))
        async with AkapuluClient(self._key, base_url=self._base_url, poll=policy) as client:
            await self._warm_up(client)
            tasks, began = len(asyncio.all_tasks()), resident()
            async with _background(self._sample_lag(lags)):
                manager = SessionManager(client, max_polls_per_second=self._polls, ready_timeout=None)
                async with manager, _background(self._listen(manager)):
                    figures = await self._hold(client, manager, lags, began)
                    figures["sessions_left"] = len(manager.sessions)
            figures |= {f"lag_all_{name}": value for name, value in _lag_figures(lags).items()}
            figures["tasks_left"] = len(asyncio.all_tasks()) - tasks
        rate, figures["bare_cpu"] = await self._bare_loops()
        figures["ratio"] = figures["cpu"] / figures["polls_per_second"] / (figures["bare_cpu"] / rate)
        return figures

    async def _hold(self, client: AkapuluClient, manager: SessionManager, lags: list[float], memory: float) -> Figures:
        connecting = await self._connect(manager)
        # Before the clock starts, the garbage of the connects is collected and the polls are evenly spaced.
        gc.collect()
        await asyncio.sleep(min(3.0, self._seconds))
        figures = await self._steady(client, manager, lags) | {
            "sessions": len(manager.sessions),
            "connects_per_second": self._sessions / connecting,
            "session_kb": (resident() - memory) / self._sessions / 1024,
        }
        self._ids = [session.id for session in manager.sessions]
        figures |= self._delays(await self._advance(READY_SECONDS, SessionState.BOT_READY))
        await self._advance(CALL_SECONDS, SessionState.ENDED)
        await manager.drain(timeout=PATIENCE)
        expected = self._sessions * len(SessionState)
        delivered = sum(self._entered.values())
        return figures | {"transitions": delivered, "transitions_missing": expected - delivered + self._missed}

    async def _bare_loops(self) -> tuple[float, float]:
        """Poll at the same rate with bare aiohttp; return polls per second and CPU as a share of a core."""
        answers = 0
        interval = max(0.5, self._sessions / self._polls)

        async def poll(url: str) -> None:
            nonlocal answers
            await asyncio.sleep(random.random() * interval)
            while True:
                async with http.get(url) as answer:
                    json.loads(await answer.read())
                answers += 1
                await asyncio.sleep(interval)

        connector = aiohttp.TCPConnector(limit=64)
        headers = {"Authorization": f"Bearer {self._key}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as http, asyncio.TaskGroup() as group:
            urls = (f"{self._base_url}/conversations/{each}/updates/" for each in self._ids)
            polling = [group.create_task(poll(url)) for url in urls]
            gc.collect()
            await asyncio.sleep(min(3.0, self._seconds))
            before, cpu, start = answers, own_cpu_seconds(), time.perf_counter()
            await asyncio.sleep(self._seconds)
            elapsed = time.perf_counter() - start
            rate, share = (answers - before) / elapsed, (own_cpu_seconds() - cpu) / elapsed
            for task in polling:
                task.cancel()
        return rate, share

    async def _warm_up(self, client: AkapuluClient) -> None:
        """Open all connections, trigger late imports, and grow the heap by everything but sessions."""
        async with SessionManager(client, max_polls_per_second=self._polls) as manager:
            await asyncio.gather(*(manager.start(_request()) for _ in range(2 * STARTERS)))
            await asyncio.sleep(1.0)
        gc.collect()

    async def _connect(self, manager: SessionManager) -> float:
        """Start all sessions, and return the seconds that it took."""
        waiting = iter(range(self._sessions))
        start = time.perf_counter()
        await asyncio.gather(*(self._start(manager, waiting) for _ in range(STARTERS)))
        return time.perf_counter() - start

    async def _start(self, manager: SessionManager, waiting: Iterator[int]) -> None:
        for _ in waiting:
            await manager.start(_request())

    async def _steady(self, client: AkapuluClient, manager: SessionManager, lags: list[float]) -> Figures:
        """Measure while there are only polls, whose answers bring nothing new."""
        polls, sampled = manager.statistics().polls, len(lags)
        theirs, ours, start = cpu_seconds(self._pid), own_cpu_seconds(), time.perf_counter()
        await asyncio.sleep(self._seconds)
        elapsed = time.perf_counter() - start
        ours, theirs = own_cpu_seconds() - ours, cpu_seconds(self._pid) - theirs
        lag, opened = _lag_figures(lags[sampled:]), descriptors()
        statistics = manager.statistics()
        if statistics.poll_failures:
            raise RuntimeError(f"{statistics.poll_failures} polls failed")
        return {
            "polls_per_second": (statistics.polls - polls) / elapsed,
            "cpu": ours / elapsed,
            "simulator_cpu": theirs / elapsed,
            "poll_p50_ms": 1000 * await self._round_trip(client, manager),
            "descriptors": len(opened),
            "sockets": sum(each.startswith("socket:") for each in opened),
            **{f"lag_{name}": value for name, value in lag.items()},
        }

    async def _round_trip(self, client: AkapuluClient, manager: SessionManager) -> float:
        """Return the median of a few polls of our own, among those of the sessions."""
        times = []
        for session in manager.sessions[:50]:
            start = time.perf_counter()
            await client.conversations.updates(session.id)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    async def _advance(self, seconds: float, state: SessionState) -> float:
        """Move the simulator's time on, wait until all sessions are in a state, and return when it was moved.

        That is the moment before the simulator was told, so that what it took to tell counts as delay.
        """
        url = self._base_url.removesuffix("/api") + "/_simulator/advance"
        async with aiohttp.ClientSession() as http:
            moved = time.perf_counter()
            async with http.post(url, json={"seconds": seconds}) as answer:
                answer.raise_for_status()
        async with asyncio.timeout(PATIENCE):
            while self._entered[state] + self._missed < self._sessions:
                self._progress.clear()
                await self._progress.wait()
        return moved

    def _delays(self, moved: float) -> Figures:
        interval = max(0.5, self._sessions / self._polls)
        percentiles = statistics.quantiles((at - moved for at in self._ready_at), n=100)
        return {
            "interval": interval,
            "ready_p50": percentiles[49],
            "ready_p99": percentiles[98],
            # At a random moment, the next poll is anywhere in the interval.
            "explained_p50": 0.50 * interval,
            "explained_p99": 0.99 * interval,
        }

    async def _listen(self, manager: SessionManager) -> None:
        async for event in manager.events():
            if isinstance(event, EventsMissed):
                self._missed += event.count
            elif isinstance(event, StateChanged):
                self._entered[event.state] += 1
                if event.state is SessionState.BOT_READY:
                    self._ready_at.append(time.perf_counter())
            self._progress.set()

    async def _sample_lag(self, lags: list[float]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            lags.append(loop.time() - due)


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine while the block runs, and raise its error."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _request() -> ConnectRequest:
    return ConnectRequest(uuid4(), uuid4())


def _lag_figures(lags: Sequence[float]) -> Figures:
    return {"p99_ms": 1000 * statistics.quantiles(lags, n=100)[98], "max_ms": 1000 * max(lags)}


def _loop_factory(*, uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    if not uvloop:
        return asyncio.new_event_loop
    module = importlib.import_module("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = module.new_event_loop
    return factory


if __name__ == "__main__":
    main()
