"""Polls per second that the simulator can answer, on one core, with many open conversations.

    python benchmarks/simulator.py [--seconds 5] [--conversations 2000] [--connections 50] [--json [FILE]]

The simulator runs in a process of its own, pinned to one core where the system can do that; the load comes from
this process, pinned to another. Each connection sends its next request when it has the answer to the last one.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import uuid4

from output import add_json_option, show
from processes import cores, cpu_seconds, pin

_KEY = "simulator-key"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the simulator.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=50)
    add_json_option(parser)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.conversations, arguments.connections)
    show(figures, "\n".join(f"{name:<28}{value:>12,.2f}" for name, value in figures.items()), arguments.json)


def measure(seconds: float, conversations: int, connections: int) -> dict[str, float]:
    """Start a simulator, load it for some seconds and return the figures."""
    connections = min(connections, conversations)  # each polls conversations of its own
    ours, theirs = cores()
    pin(0, ours)
    command = [sys.executable, "-m", "akapulu_async", "simulate", "--call-seconds", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, theirs)
        assert process.stdout is not None
        try:
            base_url = process.stdout.readline().strip().partition("=")[2]
            if not base_url:
                raise RuntimeError("the simulator did not start; its own words are above")
            return asyncio.run(_load(base_url, process.pid, seconds, conversations, connections))
        finally:
            process.terminate()


async def _load(base_url: str, pid: int, seconds: float, conversations: int, connections: int) -> dict[str, float]:
    address = urlsplit(base_url)
    body = json.dumps({"scenario_id": str(uuid4()), "avatar_id": str(uuid4())}).encode()
    connect = _request(address.netloc, "POST", f"{address.path}/conversations/connect/", body)
    pairs = [await asyncio.open_connection(address.hostname, address.port) for _ in range(connections)]
    ids = [
        json.loads(await _exchange(*pairs[number % connections], connect))["conversation_session_id"]
        for number in range(conversations)
    ]
    polls = [_request(address.netloc, "GET", f"{address.path}/conversations/{each}/updates/") for each in ids]
    latencies: list[float] = []
    cpu, start = cpu_seconds(pid), time.perf_counter()
    await asyncio.gather(
        *(_poll(pair, polls[number::connections], start + seconds, latencies) for number, pair in enumerate(pairs))
    )
    elapsed, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu
    for _, writer in pairs:
        writer.close()
    return _figures(latencies, elapsed, cpu, conversations, connections)


async def _poll(
    pair: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    requests: Sequence[bytes],
    until: float,
    latencies: list[float],
) -> None:
    number = 0
    while (sent := time.perf_counter()) < until:
        await _exchange(*pair, requests[number % len(requests)])
        latencies.append(time.perf_counter() - sent)
        number += 1


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the simulator answered {head[:40]!r}")
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0]))


def _request(host: str, method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {_KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _figures(
    latencies: Sequence[float], elapsed: float, cpu: float, conversations: int, connections: int
) -> dict[str, float]:
    percentiles = statistics.quantiles(latencies, n=100)
    return {
        "open conversations": conversations,
        "connections": connections,
        "requests": len(latencies),
        "requests/s": len(latencies) / elapsed,
        "share of the simulator's core": cpu / elapsed,
        "requests/s of its CPU": len(latencies) / cpu if cpu else 0.0,
        "p50 ms": percentiles[49] * 1000,
        "p99 ms": percentiles[98] * 1000,
    }


if __name__ == "__main__":
    main()
