"""How the cost grows with the number of sessions that one manager holds.

    python benchmarks/growth.py [--sessions 100 300 1000 3000 10000] [--polls 2000] [--seconds 5] [--json [FILE]]

All sizes make the same number of polls per second together, so the cost of one poll can be compared: its session, the
manager and the event. Each size is measured in a separate process, against the stand-in on another core.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from akapulu_async import AkapuluClient, EventsMissed, PollPolicy, SessionManager
from output import add_json_option, show
from poll import KEY, ids, stand_in
from processes import cores, own_cpu_seconds, pin, settle_allocator

Figures = dict[str, float]

FLAT = 0.20  # the bar: a poll of any size may cost this much more than of the first
SETTLE = 2.0  # seconds until the polls are evenly spaced


async def measure(base_url: str, sessions: int, polls: float, seconds: float) -> Figures:
    """Return the CPU microseconds per poll with this number of sessions."""
    told = 0

    async def listen() -> None:
        nonlocal told
        async for event in manager.events():
            told += event.count if isinstance(event, EventsMissed) else 1

    policy = PollPolicy(interval=sessions / polls)
    async with AkapuluClient(KEY, base_url=base_url, poll=policy) as client:
        manager = SessionManager(client, max_polls_per_second=2 * polls, ready_timeout=None)
        async with manager:
            listening = asyncio.create_task(listen())
            await asyncio.sleep(0)
            for each in ids(sessions):
                await manager.attach(each)
            gc.collect()
            await asyncio.sleep(SETTLE)
            before, heard, cpu = manager.statistics().polls, told, own_cpu_seconds()
            await asyncio.sleep(seconds)
            done, heard, cpu = manager.statistics().polls - before, told - heard, own_cpu_seconds() - cpu
            statistics = manager.statistics()
        await listening
    if statistics.poll_failures or abs(heard - done) > 2 * sessions:
        raise RuntimeError(f"{done} polls, of which {statistics.poll_failures} failed, but {heard} events")
    return {"sessions": sessions, "polls_per_second": done / seconds, "microseconds": cpu / done * 1e6}


def measure_apart(sessions: int, arguments: argparse.Namespace) -> Figures:
    """Measure in a separate process."""
    print(f"measuring {sessions:,} sessions", file=sys.stderr, flush=True)
    options = ["--sessions", str(sessions), "--polls", str(arguments.polls), "--seconds", str(arguments.seconds)]
    with stand_in() as url:
        command = [sys.executable, str(Path(__file__)), *options, "--url", url]
        figures: Figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def rendered(rows: Sequence[Figures]) -> str:
    """Return the table as text."""
    first = rows[0]["microseconds"]
    lines = [f"{'sessions':>10} {'polls/s':>10} {'a poll':>10} {'of the first':>13}"]
    lines += [
        f"{row['sessions']:>10,.0f} {row['polls_per_second']:>10,.0f} {row['microseconds']:>7.0f} us "
        f"{row['microseconds'] / first:>13.2f}"
        for row in rows
    ]
    flat = all(row["microseconds"] <= (1 + FLAT) * first for row in rows)
    lines.append(f"at most {FLAT:.0%} above the first: {'yes' if flat else 'NO'}")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure how the cost grows with the sessions.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[100, 300, 1_000, 3_000, 10_000])
    parser.add_argument("--polls", type=float, default=2_000.0, help="polls per second of all sessions together (2000)")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--url", help="address of a stand-in: measure one number of sessions in this process")
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.url:
        pin(0, cores()[0])
        settle_allocator()
        (sessions,) = arguments.sessions
        print(json.dumps(asyncio.run(measure(arguments.url, sessions, arguments.polls, arguments.seconds))))
        return
    rows = [measure_apart(sessions, arguments) for sessions in arguments.sessions]
    show({"rows": rows}, rendered(rows), arguments.json)


if __name__ == "__main__":
    main()
