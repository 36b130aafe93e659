"""What the benchmarks share: cores, CPU seconds, and an allocator whose state does not depend on what ran before."""

import contextlib
import logging
import os
import resource
import sys
from importlib.metadata import version
from pathlib import Path

# What goes on when a benchmark leaves is meant to, and there are thousands.
logging.getLogger("akapulu_async").setLevel(logging.ERROR)


def cores() -> tuple[int, int]:
    """Return the core for this process and the one for its peer; -1 twice where processes cannot be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def pin(pid: int, core: int) -> None:
    """Keep a process (0: this one) on a core; -1 leaves it as it is."""
    if core >= 0:
        os.sched_setaffinity(pid, {core})


def own_cpu_seconds() -> float:
    """Return the CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far; 0 where /proc cannot tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settle_allocator() -> None:
    """Free a large block once, so that reading from a socket costs the same in all that is compared.

    asyncio reads into a buffer of 256 KiB. glibc takes one of that size from the system and gives it back each time,
    until the program has once freed a larger block, which happens sooner or later, and to one of two peers first.
    """
    block = bytearray(16 * 2**20)
    del block


def resident() -> int:
    """Return the bytes of memory that this process has; 0 where /proc cannot tell."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptors() -> list[str]:
    """Return what each file descriptor of this process leads to; none where /proc cannot tell."""
    found = []
    for path in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # the one that lists them is gone by now
            found.append(str(path.readlink()))
    return found


def machine() -> dict[str, str]:
    """Return what was measured on, and with what."""
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model or "unknown",
        "cores": str(os.cpu_count()),
        "system": sys.platform,
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("aiohttp", "anyio", "attrs", "cattrs")},
    }
