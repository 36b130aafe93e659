"""Ctrl-C and SIGTERM."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from akapulu_async.cli import signals

# ruff: noqa: S603 - runs our own code


def test_the_value_is_returned() -> None:
    """Without a signal, the coroutine's value is returned and the handlers are restored."""
    before = [signal.getsignal(number) for number in signals.SIGNALS]

    async def main() -> str:
        return "done"

    assert signals.run(main()) == "done"
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_cancels(number: signal.Signals) -> None:
    """The first signal cancels, waits for the clean-up, and raises KeyboardInterrupt."""
    clean: list[str] = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            clean.append("up")

    with pytest.raises(KeyboardInterrupt):
        signals.run(main())
    assert clean == ["up"]


def test_a_terminal_that_closes_may_say_so_twice() -> None:
    """SIGHUP after the first signal is ignored, since a closing terminal and its shell both send it."""

    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.raises(KeyboardInterrupt):
        signals.run(main())


def test_a_hang_up_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under nohup, the end of the terminal ends nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    try:
        assert signals.run(main()) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handled_cancellation_returns() -> None:
    """A coroutine that handles the cancellation and returns has its value returned."""

    async def main() -> str:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        return "so far"

    assert signals.run(main()) == "so far"


def test_other_cancellations() -> None:
    """A cancellation without a signal stays one."""

    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        signals.run(main())


STUBBORN = """
import asyncio, os, signal, time
from akapulu_async.cli import signals

async def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        print("cleaning", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        {blocked}
        print("never", flush=True)

signals.run(main())
"""


@pytest.mark.parametrize("blocked", ["await asyncio.sleep(60)", "time.sleep(60)", "while True: pass"])
def test_the_second_ends_at_once(blocked: str) -> None:
    """The second signal ends the process at once, even if the loop is blocked."""
    code = STUBBORN.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaning\n", "")
