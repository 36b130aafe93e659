"""How many connections a load test may have open."""

import subprocess
import sys

import pytest

from akapulu_async.load.connections import RESERVE, connections

# ruff: noqa: S603 - runs this package's own code

resource = pytest.importorskip("resource")

LIMITED = """
import resource, sys
from akapulu_async.load.connections import connections
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
