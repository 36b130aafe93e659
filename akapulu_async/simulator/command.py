"""The command `simulate`: the simulator in a process of its own."""

import argparse
import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NoReturn, TypeVar

from akapulu_async.simulator.checks import check_id
from akapulu_async.simulator.control import CONTROLS
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.recordings import FORMATS
from akapulu_async.simulator.server import CannotListenError
from akapulu_async.simulator.settings import AFTER_END, RECORDING_FORMS
from akapulu_async.simulator.simulator import Simulator
from akapulu_async.simulator.world import Statistics

__all__ = ["live_line", "main"]

_N = TypeVar("_N", int, float)

_ERASE = "\r\033[K"
_REDRAWN = 0.5  # real seconds

_BAD_OPTION = 2  # exit code, as argparse has it


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports an error in one line on stderr."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(_BAD_OPTION, f"akapulu-async: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str]) -> int:
    """Run the simulator until SIGINT or SIGTERM. Returns the exit code."""
    parser = _parser()
    try:
        return _run(parser, vars(parser.parse_args(arguments)))
    except SystemExit as leaving:  # raised by argparse after --help and on errors
        return int(leaving.code or 0)


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="akapulu-async simulate",
        description="Run a local Akapulu until interrupted. Durations are in simulated seconds; none means no limit.\n"
        "Defaults are in parentheses.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # options left out keep the simulator's defaults
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--host",
        help="address to listen on (127.0.0.1); anyone who can connect can control the simulator, without a key",
    )
    add("--port", type=_whole, help="port to listen on (a free one)")
    add("--storage-port", type=_whole, help="port of the storage host, which serves recordings (a free one)")
    add("--storage-url", help="URL of the storage host in signed URLs (the address it listens on)")
    add("--api-key", help="API key to accept (simulator-key)")
    add("--speed", type=_seconds, help="simulated seconds per real second (1); 0: time moves only when advanced")
    add("--seed", type=_whole, help="seed of everything random")
    add("--free-plan", dest="plan", action="store_const", const=Plan.free(), help="apply the free plan's limits")
    add("--max-concurrent", type=_whole_or_none, help="conversations open at once (none)")
    add("--minutes", type=_whole_or_none, help="minutes per month (none)")
    add("--max-call-seconds", type=_seconds_or_none, help="longest call (3600)")
    add(
        "--participant-join-timeout",
        type=_seconds_or_none,
        help="end a conversation that nobody has joined after this time (300)",
    )
    add("--max-lifetime", type=_seconds_or_none, help="end every conversation after this time (7200)")
    add("--scenario", dest="scenarios", type=_identifier, action="append", help="id of a scenario; repeatable (any)")
    add("--avatar", dest="avatars", type=_identifier, action="append", help="id of an avatar; repeatable (any)")
    add("--ready-time", type=_seconds, help="time from connect until the bot is ready (random, about 12)")
    add("--no-auto-join", dest="auto_join", action="store_false", help="do not let a participant join by itself")
    add("--join-after", type=_seconds, help="time from connect until the pretend participant joins (2)")
    add("--call-seconds", type=_seconds_or_none, help="how long the pretend participant stays (60)")
    add("--end-with-script", action="store_true", help="end the call after the last row of the script")
    add("--django-errors", action="store_true", help="HTML 404s and empty 405s before the key is checked, as in Django")
    add("--after-end", choices=AFTER_END, help="how updates are answered after the end (text)")
    add("--recording-form", choices=RECORDING_FORMS, help="how a recording is delivered (redirect)")
    add("--recording-delay", type=_seconds, help="time from the end until the recording is ready (3)")
    add("--recording-format", choices=FORMATS, help="a short video or a tone (mp4)")
    add("--recording-seconds", type=_seconds_or_none, help="length of every recording, for wav (that of the call)")
    add("--recording-size", type=_whole, help="size of every recording in bytes (from its format and length)")
    add(
        "--conversations-kept",
        type=_whole_or_none,
        help="ended conversations kept, at about 2.5 KB each; older ones get 404 (10000)",
    )
    return parser


def _run(parser: OneLineParser, options: dict[str, Any]) -> int:
    try:
        simulator = Simulator(**options)
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(" ")
        return _refuse(parser, f"--{name.replace('_', '-')} {rest}")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(simulator))
    except CannotListenError as error:
        option = error.option.replace("_", "-")
        return _refuse(parser, f"--{option} {options.get(error.option, '')}: {error.strerror}")
    return 0


async def _serve(simulator: Simulator) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: SIGINT is a KeyboardInterrupt there
            loop.add_signal_handler(number, stopped.set)
    async with simulator as sim:
        settings = {"AKAPULU_BASE_URL": sim.base_url, "AKAPULU_API_KEY": sim.api_key}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
        async with _live_line(sim):
            await stopped.wait()


@contextlib.asynccontextmanager
async def _live_line(sim: Simulator) -> AsyncIterator[None]:
    """Show a status line on stderr, if that is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    drawing = asyncio.create_task(_draw(sim))
    try:
        yield
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])
        sys.stderr.write(_ERASE)
        sys.stderr.flush()


async def _draw(sim: Simulator) -> None:
    seen, at = sim.count(), time.monotonic()
    rate = 0.0
    while True:
        line = live_line(sim.statistics(), rate)[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(_ERASE + line)
        sys.stderr.flush()
        await asyncio.sleep(_REDRAWN)
        count, now = sim.count(), time.monotonic()
        rate, seen, at = (count - seen) / (now - at), count, now


def live_line(account: Statistics, rate: float) -> str:
    """Return the status line: conversations, and requests per real second."""
    return f"{account.open:,} open (peak {account.peak:,}), {account.connected:,} connected; {rate:,.0f} requests/s"


def _epilog() -> str:
    width = max(map(len, CONTROLS))
    controls = "\n".join(f"  {control:<{width}}  {what}" for control, what in CONTROLS.items())
    return f"""Control over HTTP, without a key:
{controls}

For example:
  curl -X POST localhost:8080/_simulator/advance -d '{{"seconds": 60}}'
  curl -X POST localhost:8080/_simulator/faults -d '{{"route": "updates", "status": 503, "times": 3}}'
"""


def _refuse(parser: OneLineParser, message: str) -> int:
    sys.stderr.write(f"akapulu-async: {message}; see {parser.prog} --help\n")
    return _BAD_OPTION


def _identifier(text: str) -> str:
    try:
        return check_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole(text: str) -> int:
    return _number(int, "a whole number", text)


def _seconds(text: str) -> float:
    return _number(float, "a number", text)


def _whole_or_none(text: str) -> int | None:
    return None if text == "none" else _number(int, "a whole number or none", text)


def _seconds_or_none(text: str) -> float | None:
    return None if text == "none" else _number(float, "a number or none", text)


def _number(kind: Callable[[str], _N], what: str, text: str) -> _N:
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}") from error
