"""How fast a recording is downloaded over loopback, against curl.

    python benchmarks/download.py [--mebibytes 1024] [--rounds 7] [--quick] [--json [FILE]]

A server in a process of its own, pinned to one core, sends one file over and over; curl and the library fetch it by
turns, each time in a fresh process, into the same folder: in memory where there is /dev/shm. What is measured, and how,
is in benchmarks/README.md.
"""

import argparse
import asyncio
import filecmp
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from akapulu_async import AkapuluClient
from output import add_json_option, show
from processes import cores, own_cpu_seconds, pin, resident

Figures = dict[str, dict[str, float]]

MIB = 2**20
BAR = 0.9  # of curl's throughput
QUICK = (8, 2)  # mebibytes and rounds of a run that judges nothing
SESSION = UUID(int=1)
HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {}\r\nETag: "v1"\r\nConnection: close\r\n\r\n'

ROWS = (
    ("curl, MiB/s", "curl_speed"),
    ("akapulu_async, MiB/s", "akapulu_async_speed"),
    ("  ratio", "ratio"),
    ("curl, CPU s a GiB", "curl_cpu"),
    ("akapulu_async, CPU s a GiB", "akapulu_async_cpu"),
    ("akapulu_async, growth of memory, MiB", "growth_mib"),
)


def main() -> None:
    """Measure, and print the table; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description="Measure downloads.")
    parser.add_argument("--mebibytes", type=int, default=1024, help="the recording's size (1024)")
    parser.add_argument("--rounds", type=int, default=7, help="downloads by either (7)")
    parser.add_argument("--quick", action="store_true", help="check only that it works")
    add_json_option(parser)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    elif arguments.fetch:
        print(json.dumps(asyncio.run(fetch(arguments.fetch[0], Path(arguments.fetch[1])))))
    else:
        mebibytes, rounds = QUICK if arguments.quick else (arguments.mebibytes, max(2, arguments.rounds))
        figures, bar = measure(mebibytes, rounds), None if arguments.quick else BAR
        whole = {"mebibytes": mebibytes, "rounds": rounds, "bar": bar, **figures}
        show(whole, rendered(figures, bar), arguments.json)


def measure(mebibytes: int, rounds: int) -> Figures:
    """Let curl, if there is one, and the library download by turns, and return medians and quartiles."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        original = folder / "original"
        with original.open("wb") as file:
            block = os.urandom(MIB)
            file.writelines(block for _ in range(mebibytes))
        with _server(original) as base_url:
            # The first of each warms up, and shows that all of it arrives.
            done = [_round(base_url, folder, original if first else None) for first in (True, *[False] * rounds)]
    return _summaries(done[1:], mebibytes)


def _round(base_url: str, folder: Path, expected: Path | None) -> dict[str, float]:
    """Let each download once, and return the figures of all; compare what they brought if there is something to."""
    figures: dict[str, float] = {}
    for name, fetched in FETCHERS.items():
        target = folder / name
        figures.update({f"{name}_{figure}": value for figure, value in fetched(base_url, target).items()})
        if expected is not None and not filecmp.cmp(expected, target, shallow=False):
            raise RuntimeError(f"what {name} brought is not what was sent")
        target.unlink()
    return figures


@contextmanager
def _server(original: Path) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(original)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, cores()[1])
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("the server did not start; its own words are above")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def serve(original: Path) -> None:
    """Send a file to whoever connects, one after the other, whatever is asked for; print the port first."""
    with socket.create_server(("127.0.0.1", 0)) as listener, original.open("rb") as file:
        print(listener.getsockname()[1], flush=True)
        head = HEAD.format(original.stat().st_size).encode()
        while True:
            connection, _ = listener.accept()
            with connection:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(65_536)
                connection.sendall(head)
                connection.sendfile(file)


async def fetch(base_url: str, target: Path) -> dict[str, float]:
    """Download with the library, and return what it took."""
    async with AkapuluClient("benchmark-key", base_url=base_url) as client:
        memory, cpu, began = resident(), own_cpu_seconds(), time.perf_counter()
        await client.conversations.download_recording(SESSION, target)
        seconds = time.perf_counter() - began
        cpu = own_cpu_seconds() - cpu
    return {"seconds": seconds, "cpu": cpu, "growth": max(0, _peak() - memory)}


def _fetch_with_library(base_url: str, target: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--fetch", base_url, str(target)]
    figures: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def _fetch_with_curl(base_url: str, target: Path) -> dict[str, float]:
    command = ["curl", "--silent", "--show-error", "--fail", "-o", str(target), "-w", "%{time_total}", base_url]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


FETCHERS: dict[str, Callable[[str, Path], dict[str, float]]] = {"akapulu_async": _fetch_with_library}
if shutil.which("curl"):
    FETCHERS = {"curl": _fetch_with_curl, **FETCHERS}


def _peak() -> int:
    """Return the most bytes of memory that this process ever had; 0 where /proc cannot tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _summaries(rounds: Sequence[dict[str, float]], mebibytes: int) -> Figures:
    figures: Figures = {}
    for name in FETCHERS:
        figures[f"{name}_speed"] = _summary([mebibytes / round_[f"{name}_seconds"] for round_ in rounds])
        figures[f"{name}_cpu"] = _summary([round_[f"{name}_cpu"] / mebibytes * 1024 for round_ in rounds])
    if "curl" in FETCHERS:
        figures["ratio"] = _summary([round_["curl_seconds"] / round_["akapulu_async_seconds"] for round_ in rounds])
    figures["growth_mib"] = _summary([round_["akapulu_async_growth"] / MIB for round_ in rounds])
    return figures


def _summary(values: Sequence[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def rendered(figures: Figures, bar: float | None) -> str:
    """Return the table as text."""
    lines = [f"{'':<42}{'median':>10}{'quartiles':>20}"]
    for title, name in ROWS:
        if name in figures:
            row = figures[name]
            lines.append(f"{title:<42}{row['median']:>10,.2f}{row['low']:>10,.2f}{row['high']:>10,.2f}")
    if "ratio" not in figures:
        lines.append("there is no curl to compare with")
    elif bar is not None:
        lines.append(f"at least {bar}: {'yes' if figures['ratio']['median'] >= bar else 'NO'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
