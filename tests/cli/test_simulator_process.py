"""A simulator in its own process."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from akapulu_async import AkapuluClient
from akapulu_async.cli import simulator_process as module
from akapulu_async.cli.simulator_process import Address, simulator_process
from tests.support.misbehaving import REQUEST

# ruff: noqa: S310, S603 - runs this package's own code and asks its loopback address

HOLDER = """
import asyncio, os, signal, sys
from akapulu_async.cli.simulator_process import simulator_process

async def main():
    async with simulator_process(speed=1) as address:
        print(address.base_url, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

STUBBORN = """
import json, os, time
print(json.dumps({"base_url": str(os.getpid()), "api_key": ""}), flush=True)
time.sleep(60)
"""


def answers(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(base_url.removesuffix("/api") + "/_simulator/stats", timeout=5) as answer:
            return "open" in json.loads(answer.read())
    except OSError:
        return False


@pytest.mark.shows_secrets  # the simulator's key, to the process that started it
async def test_it_serves_for_the_time_of_a_block() -> None:
    """Within the block, conversations can be connected; after it, the simulator is gone."""
    async with (
        simulator_process(speed=10) as address,
        AkapuluClient(address.api_key, base_url=address.base_url) as client,
    ):
        assert (await client.conversations.connect(REQUEST)).conversation_session_id
    assert not answers(address.base_url)


async def test_it_ends_with_an_error_too() -> None:
    """An error in the block is raised, and the simulator has ended."""
    seen: list[Address] = []

    async def fail() -> None:
        async with simulator_process(speed=1) as address:
            seen.append(address)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not answers(seen[0].base_url)


async def test_it_does_not_outlive_its_parent() -> None:
    """If its parent is killed, it ends by itself."""
    holder = subprocess.run([sys.executable, "-c", HOLDER], capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert holder.returncode < 0
    base_url = holder.stdout.strip()
    assert base_url.startswith("http://127.0.0.1:")
    while answers(base_url):  # noqa: ASYNC110 - another process ends
        await asyncio.sleep(0.01)


async def test_it_is_killed_if_it_does_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If it does not end in time, it is killed."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "MODULE", "stubborn")
    monkeypatch.setattr(module, "GRACE", 0.1)
    async with simulator_process(speed=1) as address:
        number = int(address.base_url)
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


async def test_it_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot start, the error says what to do."""
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.name == "posix" else "hostname")
    with pytest.raises(OSError, match="the simulator did not start"):
        async with simulator_process(speed=1):
            pytest.fail("it started")
