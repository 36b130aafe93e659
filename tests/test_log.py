"""The log: what it tells of each call, and what it never says."""

import logging
import re

import pytest

from tests.support.calls import Marks, error_of
from tests.support.misbehaving import UPDATE, UPDATES, Server, answer, client_of, connect, poll, reset


async def test_log_tells_each_attempt(marks: Marks) -> None:
    """At DEBUG each attempt has its lines: sent, answered with status and time, failed, pausing."""
    script = (reset, answer({}, 503), answer(UPDATE))
    async with Server(*script) as server, client_of(server) as client:
        await poll(client)
    wanted = [
        rf"> GET {UPDATES} attempt 1",
        rf"! GET {UPDATES} unreachable",
        rf"~ GET {UPDATES} again in \d+\.\d\d s",
        rf"> GET {UPDATES} attempt 2",
        rf"< GET {UPDATES} 503 \d+ ms server",
        rf"~ GET {UPDATES} again in \d+\.\d\d s",
        rf"> GET {UPDATES} attempt 3",
        rf"< GET {UPDATES} 200 \d+ ms",
    ]
    assert len(marks.lines) == len(wanted), marks.lines
    for line, pattern in zip(marks.lines, wanted, strict=True):
        assert re.fullmatch(pattern, line)


async def test_log_is_silent_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged at INFO and above, whatever fails, and no handler is installed."""
    caplog.set_level(logging.INFO)
    async with Server(reset, answer({}, 503), answer({}, 500)) as server, client_of(server) as client:
        await error_of(poll(client))
        await error_of(connect(client))
    assert caplog.records == []
    assert logging.getLogger("akapulu_async").handlers == []
