"""Hold many conversations, so many at a time, and watch them all in a table.

    export AKAPULU_API_KEY=...
    python examples/fan_out.py --scenario UUID --avatar UUID [--conversations 50] [--slots 10]

Without an account, with the simulator, whose account has as many slots:

    python examples/fan_out.py --simulator
"""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from uuid import UUID

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConnectRequest,
    ConversationSession,
    ManagerStatistics,
    Outcome,
    PollPolicy,
    SessionManager,
    SessionState,
    StateChanged,
)
from akapulu_async.simulator import Fault, Simulator

SIMULATED = UUID("00000000-0000-4000-8000-000000000000")  # the simulator takes any id
SPEED = 12.0  # how much faster than life the simulator runs
CALL_SECONDS = 15.0  # simulated seconds from ready until the simulated participant leaves
REDRAW_INTERVAL = 0.1  # seconds

LIVE = (SessionState.CONNECTING, SessionState.ROOM_JOINED, SessionState.BOT_READY)
COLOURS = {"connecting": "33", "room_joined": "36", "bot_ready": "32", "ended": "2"}


async def fan_out(client: AkapuluClient, request: ConnectRequest, arguments: argparse.Namespace) -> int:
    """Hold all conversations, show them, and return how many did not get to their end as they should."""
    async with SessionManager(client, max_sessions=arguments.slots, when_full="wait") as manager:
        board = Board(manager, arguments.conversations)
        showing = [asyncio.create_task(board.count()), asyncio.create_task(board.redraw())]
        requests = (request for _ in range(arguments.conversations))
        async with manager.run(requests, follow) as outcomes:
            async for outcome in outcomes:
                board.finished(outcome)
        for task in showing:
            task.cancel()
        board.close()
        return board.failed


async def follow(session: ConversationSession) -> None:
    """Do what is to be done with one conversation: here, wait for its bot and for its end."""
    await session.bot_ready.wait()  # raises if it ends before
    await session.ended.wait()


class Board:
    """What is shown: on a terminal a table that is redrawn, elsewhere a line for each conversation that finished."""

    def __init__(self, manager: SessionManager, conversations: int) -> None:
        self.manager = manager
        self.conversations = conversations
        self.redraws = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = self.redraws and not os.environ.get("NO_COLOR")
        self.start = time.monotonic()
        self.drawn = 0
        self.done = self.failed = self.connects = 0
        self.ends: Counter[str] = Counter()

    async def count(self) -> None:
        """Count the connects: one that was refused for want of a slot is sent again, and so counted again."""
        async for event in self.manager.events():
            self.connects += isinstance(event, StateChanged) and event.state is SessionState.CONNECTING

    def finished(self, outcome: Outcome[None]) -> None:
        """Take note of a conversation that is over."""
        self.done += 1
        self.failed += outcome.error is not None
        session = outcome.session
        end = "not started" if session is None else str(session.end_reason)
        self.ends[end] += 1
        if not self.redraws:
            ready = "never ready" if session is None else ready_after(session)
            print(f"{self.done:4} of {self.conversations}  {name(session)}  {end:<12} {ready}", flush=True)
            if outcome.error is not None:
                print(f"     {outcome.error}", flush=True)

    async def redraw(self) -> None:
        """Draw the table again and again."""
        while self.redraws:
            self.draw()
            await asyncio.sleep(REDRAW_INTERVAL)

    def draw(self) -> None:
        """Draw the table over the one before."""
        width, height = shutil.get_terminal_size()
        lines = [self.painted(line[: width - 1], colour) for line, colour in self.table(height - 1)]
        up = f"\x1b[{self.drawn}A" if self.drawn else ""
        print(up + "".join(f"\r{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)
        self.drawn = len(lines)

    def painted(self, text: str, colour: str) -> str:
        """Return a text in a colour, if there are colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and colour else text

    def table(self, height: int) -> Iterator[tuple[str, str]]:
        """Give the table, line by line, with the colour of each; at most so many lines."""
        statistics, sessions = self.manager.statistics(), self.manager.sessions
        wait = f", {statistics.waiting} wait for a slot of the account" if statistics.waiting else ""
        yield f"{time.monotonic() - self.start:7.1f} s   {self.done} of {self.conversations} finished{wait}", ""
        yield "", ""
        states = {state.value: statistics.live[state] for state in LIVE} | {"ended": sum(statistics.ended.values())}
        for state, count in states.items():
            yield f"  {state:<12} {count:4}  {'#' * round(count * 50 / max(50, self.conversations))}", COLOURS[state]
        running = sorted((session for session in sessions if session.entered_at(LIVE[0])), key=began)
        if running:
            yield "", ""
            yield f"  {'conversation':<12}  {'state':<11}  {'progress':<30}  ready after", ""
        for session in running[: max(0, height - 9)]:
            bar = f"[{'#' * round(session.progress.percent / 5):<20}] {session.progress.percent:5.1f} %"
            after = "" if session.time_to_ready is None else f"{session.time_to_ready:5.2f} s"
            yield f"  {name(session):<12}  {session.state:<11}  {bar:<30}  {after}", COLOURS[session.state]
        if len(running) > height - 9:
            yield f"  and {len(running) - max(0, height - 9)} more", ""

    def close(self) -> None:
        """Draw the last table, and print the summary below it."""
        if self.redraws:
            self.draw()
        print("\n".join(self.summary(self.manager.statistics())), flush=True)

    def summary(self, statistics: ManagerStatistics) -> Iterator[str]:
        """Give the summary, line by line."""
        ready = statistics.time_to_ready
        quantiles = (f"{which} {'-' if seconds is None else f'{seconds:.2f} s'}" for which, seconds in ready.items())
        yield f"\n{self.done} conversations in {time.monotonic() - self.start:.1f} s"
        yield f"  ended            {', '.join(f'{reason} {count}' for reason, count in self.ends.most_common())}"
        yield f"  time to ready    {', '.join(quantiles)}"
        yield f"  polls            {statistics.polls}, of which {statistics.poll_failures} failed and were borne"
        refused = self.connects - statistics.started
        yield f"  connects         {self.connects}, of which {refused} refused for want of a slot"


def began(session: ConversationSession) -> float:
    """Return a key that sorts sessions by the time of their connect."""
    at = session.entered_at(SessionState.CONNECTING)
    return 0.0 if at is None else at.timestamp()


def name(session: ConversationSession | None) -> str:
    """Return the beginning of a conversation's id, which is enough for people."""
    try:
        return "-" * 8 if session is None else session.id[:8]
    except AkapuluError:  # its connect is not answered yet
        return "-" * 8


def ready_after(session: ConversationSession) -> str:
    """Return how long it took until the bot was ready."""
    return "never ready" if session.time_to_ready is None else f"ready after {session.time_to_ready:.2f} s"


async def run(arguments: argparse.Namespace) -> int:
    """Hold the conversations that the arguments ask for."""
    request = ConnectRequest(arguments.scenario, arguments.avatar)
    async with AsyncExitStack() as stack:
        if not arguments.simulator:
            client = await stack.enter_async_context(AkapuluClient())  # takes AKAPULU_API_KEY and AKAPULU_BASE_URL
        else:
            speed = arguments.speed
            poll = PollPolicy(interval=0.5 / speed, live_interval=2 / speed)  # as much faster as the simulator
            simulator = await stack.enter_async_context(
                Simulator(speed=speed, seed=1, max_concurrent=arguments.account_slots, call_seconds=CALL_SECONDS)
            )
            simulator.add_fault(Fault(route="updates", rate=0.02, status=503))  # now and then a poll fails
            client = await stack.enter_async_context(
                AkapuluClient(simulator.api_key, base_url=simulator.base_url, poll=poll)
            )
            print(f"The simulator runs {speed:g} times as fast as life; its account has", end=" ")
            print(f"{arguments.account_slots} slots.", flush=True)
        return await fan_out(client, request, arguments)


def number(text: str) -> int:
    """Return a whole number, 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments; leaves with a line for people if they make no sense."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s (--scenario UUID --avatar UUID | --simulator) [--conversations N] [--slots N]",
        description="Hold many conversations with Akapulu avatars, so many at a time.",
        allow_abbrev=False,
    )
    parser.add_argument("--scenario", metavar="UUID", help="what the assistants do")
    parser.add_argument("--avatar", metavar="UUID", help="their face and voice")
    parser.add_argument("--conversations", metavar="N", type=number, default=50, help="how many in all (50)")
    parser.add_argument("--slots", metavar="N", type=number, default=10, help="how many at a time (10)")
    parser.add_argument("--simulator", action="store_true", help="use a local simulator instead of the service")
    parser.add_argument("--speed", metavar="X", type=float, default=SPEED, help="of the simulator (12)")
    parser.add_argument("--account-slots", metavar="N", type=number, help="of the simulated account (as --slots)")
    arguments = parser.parse_args()
    if arguments.simulator:
        arguments.scenario = arguments.scenario or SIMULATED
        arguments.avatar = arguments.avatar or SIMULATED
        arguments.account_slots = arguments.account_slots or arguments.slots
    if not (arguments.scenario and arguments.avatar):
        parser.exit(2, "--scenario and --avatar are needed, or --simulator\n")
    return arguments


def main() -> int:
    """Run, and return the exit code."""
    arguments = parse_arguments()
    try:
        return 1 if asyncio.run(run(arguments)) else 0
    except KeyboardInterrupt:
        print("Stopped. The conversations end when their participants leave.", file=sys.stderr)
        return 130
    except (AkapuluError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
