"""Cost of one poll of a live session, compared with a loop written by hand.

    python benchmarks/poll.py [--rounds 7] [--seconds 1.0] [--conversations 50 500] [--quick] [--json [FILE]]

Each figure is the median of the rounds, in which all clients take turns, each in a separate process. See
benchmarks/README.md for details.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import aiohttp
import trustme

from akapulu_async import AkapuluClient, ConversationSession, PollPolicy
from output import add_json_option, show
from processes import cores, own_cpu_seconds, pin, settle_allocator

KEY = "benchmark-key"
INTERVAL = 0.001  # seconds: so short that every poll is due when the one before is answered
WARM_UP = 0.3  # seconds

Counter = Callable[[], int]
Client = Callable[[str, Sequence[str]], contextlib.AbstractAsyncContextManager[Counter]]


def ids(count: int) -> list[str]:
    """Return ids of conversations; the stand-in accepts any."""
    return [str(UUID(int=number)) for number in range(count)]


@contextlib.asynccontextmanager
async def polled(count: int, poll: Callable[[int], Awaitable[object]]) -> AsyncIterator[Counter]:
    """Poll this number of conversations, each in its own loop as one would write by hand."""
    loop, polls = asyncio.get_running_loop(), 0

    async def keep_polling(number: int) -> None:
        nonlocal polls
        due = loop.time()
        while True:
            await poll(number)
            polls += 1
            due = max(due + INTERVAL, loop.time())
            await asyncio.sleep(due - loop.time())

    tasks = [loop.create_task(keep_polling(number)) for number in range(count)]
    try:
        yield lambda: polls
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def yardstick(base_url: str, conversations: Sequence[str]) -> AsyncIterator[Counter]:
    """Poll with aiohttp as its documentation shows."""
    urls = [f"{base_url}/conversations/{each}/updates/" for each in conversations]
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:

        async def poll(number: int) -> None:
            async with http.get(urls[number]) as response:
                update = await response.json()
            if update["call_is_ready"]:
                raise RuntimeError("the stand-in never reports ready")

        async with polled(len(urls), poll) as counter:
            yield counter


@contextlib.asynccontextmanager
async def with_httpx(base_url: str, conversations: Sequence[str]) -> AsyncIterator[Counter]:
    """Poll with httpx as its documentation shows."""
    import httpx  # noqa: PLC0415 - measured only where it is installed

    urls = [f"{base_url}/conversations/{each}/updates/" for each in conversations]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:

        async def poll(number: int) -> None:
            response = await http.get(urls[number])
            if response.json()["call_is_ready"]:
                raise RuntimeError("the stand-in never reports ready")

        async with polled(len(urls), poll) as counter:
            yield counter


@contextlib.asynccontextmanager
async def ours(base_url: str, conversations: Sequence[str]) -> AsyncIterator[Counter]:
    """Poll with full sessions, each with a watcher that gets an event for every poll."""
    told = 0

    async def watch(session: ConversationSession) -> None:
        nonlocal told
        async for _ in session.events():
            told += 1

    async with AkapuluClient(KEY, base_url=base_url, poll=PollPolicy(interval=INTERVAL)) as client:
        async with contextlib.AsyncExitStack() as stack:
            sessions = [
                await stack.enter_async_context(client.attach(each, ready_timeout=3600)) for each in conversations
            ]
            watchers = [asyncio.create_task(watch(session)) for session in sessions]
            yield lambda: sum(session.polls for session in sessions)
            polls = sum(session.polls for session in sessions)
            if not polls <= told + 2 * len(sessions) or any(session.poll_failures for session in sessions):
                raise RuntimeError(f"{polls} polls, but {told} events")
        await asyncio.gather(*watchers)


CLIENTS: dict[str, Client] = {"yardstick": yardstick, "akapulu_async": ours, "httpx": with_httpx}


async def measure(client: Client, base_url: str, conversations: int, seconds: float) -> dict[str, float]:
    """Return the CPU microseconds per poll, measured for `seconds`, or longer until there is a poll."""
    async with client(base_url, ids(conversations)) as counter:
        await asyncio.sleep(WARM_UP)
        gc.collect()
        before, cpu = counter(), own_cpu_seconds()
        polls = 0
        while not polls:
            await asyncio.sleep(seconds)
            polls = counter() - before
        cpu = own_cpu_seconds() - cpu
    return {"microseconds": cpu / polls * 1e6, "polls": polls}


def measure_here(name: str, base_url: str, conversations: int, seconds: float, *, uvloop: bool) -> None:
    """Measure one client in this process, and print the figures."""
    pin(0, cores()[0])
    settle_allocator()
    factory = importlib.import_module("uvloop").new_event_loop if uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(measure(CLIENTS[name], base_url, conversations, seconds))))


@contextlib.contextmanager
def stand_in(*arguments: str) -> Iterator[str]:
    """Run the server on a separate core; yields its address."""
    command = [sys.executable, str(Path(__file__).with_name("stand_in.py")), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, cores()[1])
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure_apart(
    name: str, base_url: str, conversations: int, *, seconds: float, loop: str = "asyncio", ca: Path
) -> float:
    """Measure one client in a separate process, and return the microseconds."""
    command = [sys.executable, __file__, "--here", name, "--url", base_url, "--seconds", str(seconds), "--loop", loop]
    done = subprocess.run(
        [*command, "--conversations", str(conversations)],
        stdout=subprocess.PIPE,
        env={**os.environ, "SSL_CERT_FILE": str(ca)},
        check=True,
    )
    microseconds: float = json.loads(done.stdout)["microseconds"]
    return microseconds


def run(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Measure all clients by turns, and return a row for each case."""
    clients = ["yardstick", "akapulu_async"]
    cases = [
        (conversations, scheme, loop)
        for conversations in arguments.conversations
        for scheme, loop in (("http", "asyncio"), ("https", "asyncio"), ("http", "uvloop"))
    ]
    taken: dict[tuple[int, str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        certificate, ca = Path(folder) / "server.pem", Path(folder) / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(ca)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        with stand_in() as plain, stand_in("--tls", str(certificate)) as encrypted:
            urls = {"http": plain, "https": encrypted}
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
                for case in cases:
                    conversations, scheme, loop = case
                    for name in clients if number % 2 else clients[::-1]:
                        microseconds = measure_apart(
                            name, urls[scheme], conversations, seconds=arguments.seconds, loop=loop, ca=ca
                        )
                        taken.setdefault((*case, name), []).append(microseconds)
            if importlib.util.find_spec("httpx") is not None and not arguments.quick:
                for conversations in arguments.conversations:
                    microseconds = measure_apart("httpx", plain, conversations, seconds=arguments.seconds, ca=ca)
                    taken[conversations, "http", "asyncio", "httpx"] = [microseconds]
    return [row(case, taken) for case in cases]


def row(case: tuple[int, str, str], taken: dict[tuple[int, str, str, str], list[float]]) -> dict[str, object]:
    """Return the figures of one case."""
    yard, own = taken[*case, "yardstick"], taken[*case, "akapulu_async"]
    ratios = sorted(mine / theirs for mine, theirs in zip(own, yard, strict=True))
    figures: dict[str, object] = {
        "conversations": case[0],
        "scheme": case[1],
        "loop": case[2],
        "yardstick_us": statistics.median(yard),
        "akapulu_async_us": statistics.median(own),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
    }
    if (*case, "httpx") in taken:
        figures["httpx_us"] = statistics.median(taken[*case, "httpx"])
        figures["httpx_times"] = statistics.median(taken[*case, "httpx"]) / statistics.median(own)
    return figures


def rendered(rows: Sequence[dict[str, object]]) -> str:
    """Return the table as text."""
    lines = [f"{'conversations':>13} {'':<14} {'yardstick':>10} {'ours':>10} {'ratio':>7} {'spread':>13} {'httpx':>8}"]
    for each in rows:
        httpx = f"{each['httpx_us']:,.0f} us" if "httpx_us" in each else ""
        lines.append(
            f"{each['conversations']:>13,} {each['scheme']!s:<6}{each['loop']!s:<8} {each['yardstick_us']:>7.0f} us "
            f"{each['akapulu_async_us']:>7.0f} us {each['ratio']:>7.2f} "
            f"{each['ratio_low']:>6.2f}-{each['ratio_high']:<6.2f} {httpx:>8}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the cost of a poll.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each client is measured in each round (1)")
    parser.add_argument("--conversations", type=int, nargs="+", default=[50, 500])
    add_json_option(parser)
    parser.add_argument("--quick", action="store_true", help="one short round with few conversations, without httpx")
    parser.add_argument("--here", choices=CLIENTS, help="measure only this client, in this process")
    parser.add_argument("--url", help="address of the stand-in, with --here")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="with --here")
    arguments = parser.parse_args()
    if arguments.here:
        (conversations,) = arguments.conversations
        uvloop = arguments.loop == "uvloop"
        measure_here(arguments.here, arguments.url, conversations, arguments.seconds, uvloop=uvloop)
        return
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.conversations = 1, 0.1, [5]
    rows = run(arguments)
    show({"polls": rows}, rendered(rows), arguments.json)


if __name__ == "__main__":
    main()
