"""How many connections a load test may have open at once."""

import contextlib
import sys

from akapulu_async.http.transport import POOL_SIZE

RESERVE = 100
"""Open files that are left to all else."""

MOST = 30_000
"""About as many as one address can have open to another."""


def connections(wanted: int | None) -> int:
    """Return how many connections to allow, so that no call waits in this program for another one's answer.

    The limit of open files is raised for that as far as the system lets this process.

    Args:
        wanted: How many conversations may run at once, each with one call at most on its way; None for any number.
    """
    wanted = MOST if wanted is None else min(max(wanted, POOL_SIZE), MOST)
    return max(POOL_SIZE, min(wanted, _allow_files(wanted + RESERVE) - RESERVE))


def _allow_files(wanted: int) -> int:
    """Raise the limit of open files, if need be and as far as can be; returns how many of those may be open."""
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = (
        wanted if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    if soft >= wanted:
        return wanted
    with contextlib.suppress(ValueError, OSError):  # some systems have another limit below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return min(wanted, hard)
    return soft
