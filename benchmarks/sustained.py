"""How many sessions one core sustains at a fixed interval of 0.5 s.

    python benchmarks/sustained.py [--sessions 1000 2000 3000 4000] [--seconds 10] [--uvloop] [--json [FILE]]

Each number of sessions is measured in a process of its own, against the stand-in on another core. A row holds if 98 %
of the polls that are due are made, and the loop's lag stays below 50 ms (p99).
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from akapulu_async import AkapuluClient, PollPolicy
from output import add_json_option, show
from poll import KEY, ids, stand_in
from processes import cores, own_cpu_seconds, pin, settle_allocator

INTERVAL = 0.5  # seconds
LAG_INTERVAL = 0.005  # seconds between two samples of the loop's lag
SHARE, LAG = 0.98, 50.0  # the bars: share of the due polls that are made, and milliseconds


async def measure(base_url: str, sessions: int, seconds: float) -> dict[str, float]:
    """Return the figures for this number of sessions."""
    lags: list[float] = []

    async def sample() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            lags.append(1000 * (loop.time() - due))

    poll = PollPolicy(interval=INTERVAL)
    async with AkapuluClient(KEY, base_url=base_url, poll=poll) as client, contextlib.AsyncExitStack() as stack:
        running = []
        for number, each in enumerate(ids(sessions)):
            running.append(await stack.enter_async_context(client.attach(each, ready_timeout=None)))
            if number % 50 == 0:
                await asyncio.sleep(INTERVAL * 50 / sessions)  # spread over the interval, as a manager does
        gc.collect()
        await asyncio.sleep(2.0)
        sampling = asyncio.create_task(sample())
        before, cpu, loop = sum(each.polls for each in running), own_cpu_seconds(), asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(seconds)
        elapsed = loop.time() - start
        polls, cpu = sum(each.polls for each in running) - before, own_cpu_seconds() - cpu
        sampling.cancel()
        if failed := sum(each.poll_failures for each in running):
            raise RuntimeError(f"{failed} polls failed")
    return {
        "sessions": sessions,
        "polls_per_second": polls / elapsed,
        "share_on_time": polls / elapsed / (sessions / INTERVAL),
        "cpu": cpu / elapsed,
        "lag_p99_ms": statistics.quantiles(lags, n=100)[98],
    }


def measure_apart(sessions: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure in a separate process."""
    command = [sys.executable, str(Path(__file__)), "--sessions", str(sessions), "--seconds", str(arguments.seconds)]
    options = ["--uvloop"] if arguments.uvloop else []
    with stand_in() as url:
        done = subprocess.run([*command, *options, "--url", url], stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure how many sessions one core sustains.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 2000, 3000, 4000])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--uvloop", action="store_true")
    add_json_option(parser)
    parser.add_argument("--url", help="address of a stand-in: measure one number of sessions in this process")
    arguments = parser.parse_args()
    if arguments.url:
        pin(0, cores()[0])
        settle_allocator()
        factory = importlib.import_module("uvloop").new_event_loop if arguments.uvloop else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            print(json.dumps(runner.run(measure(arguments.url, arguments.sessions[0], arguments.seconds))))
        return
    rows = [measure_apart(sessions, arguments) for sessions in arguments.sessions]
    show({"rows": rows}, rendered(rows), arguments.json)


def rendered(rows: Sequence[dict[str, float]]) -> str:
    """Return the table as text."""
    lines = [f"{'sessions':>10} {'polls/s':>10} {'on time':>9} {'core':>6} {'lag p99':>10}"]
    for each in rows:
        holds = each["share_on_time"] >= SHARE and each["lag_p99_ms"] < LAG
        lines.append(
            f"{each['sessions']:>10,.0f} {each['polls_per_second']:>10,.0f} {each['share_on_time']:>9.1%} "
            f"{each['cpu']:>6.2f} {each['lag_p99_ms']:>7.1f} ms  {'holds' if holds else 'does not hold'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
