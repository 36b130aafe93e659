"""Hold many conversations, a limited number at a time, and watch them in a table.

    export AKAPULU_API_KEY=...
    python examples/fan_out.py --scenario UUID --avatar UUID [--conversations 50] [--slots 10]

Without an account, with the simulator, which has the same number of slots:

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
from datetime import datetime
from uuid import UUID

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConnectRequest,
    ConversationSession,
    GateEvent,
    GateStep,
    ManagerStatistics,
    Observer,
    Outcome,
    PollPolicy,
    SessionManager,
    SessionState,
)
from akapulu_async.simulator import Fault, Simulator

SIMULATED = UUID("00000000-0000-4000-8000-000000000000")  # the simulator accepts any id
SPEED = 12.0  # simulated seconds per real second
CALL_SECONDS = 15.0  # simulated seconds from ready until the simulated participant leaves
REDRAW_INTERVAL = 0.1  # seconds

LIVE = (SessionState.CONNECTING, SessionState.ROOM_JOINED, SessionState.BOT_READY)
COLOURS = {"connecting": "33", "room_joined": "36", "bot_ready": "32", "ended": "2"}


class Refusals(Observer):
    """Counts the connects that were refused because all slots of the account were taken."""

    count = 0

    def gate(self, event: GateEvent) -> None:
        """Count a refusal; the manager tries again by itself."""
        self.count += event.step is GateStep.REFUSED


async def fan_out(
    client: AkapuluClient, refusals: Refusals, request: ConnectRequest, arguments: argparse.Namespace
) -> int:
    """Hold all conversations and show them. Returns the number that failed."""
    async with SessionManager(client, max_sessions=arguments.slots, when_full="wait") as manager:
        board = Board(manager, refusals, arguments.conversations)
        drawing = asyncio.create_task(board.redraw())
        requests = (request for _ in range(arguments.conversations))
        async with manager.run(requests, follow) as outcomes:
            async for outcome in outcomes:
                board.finished(outcome)
        drawing.cancel()
        board.close()
        return board.failed


async def follow(session: ConversationSession) -> None:
    """Handle one conversation: here, wait for its bot and for its end."""
    await session.bot_ready.wait()  # raises if the session ends before
    await session.ended.wait()


class Board:
    """Shows the conversations: in a terminal as a table that is redrawn, elsewhere as a line for each that finished."""

    def __init__(self, manager: SessionManager, refusals: Refusals, conversations: int) -> None:
        self.manager = manager
        self.refusals = refusals
        self.conversations = conversations
        self.redraws = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = self.redraws and not os.environ.get("NO_COLOR")
        self.start = time.monotonic()
        self.drawn = 0
        self.done = self.failed = 0
        self.ends: Counter[str] = Counter()

    def finished(self, outcome: Outcome[None]) -> None:
        """Record a conversation that has finished."""
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
        """Redraw the table until cancelled."""
        while self.redraws:
            self.draw()
            await asyncio.sleep(REDRAW_INTERVAL)

    def draw(self) -> None:
        """Draw the table over the previous one."""
        width, height = shutil.get_terminal_size()
        lines = [self.painted(line[: width - 1], colour) for line, colour in self.table(height - 1)]
        up = f"\x1b[{self.drawn}A" if self.drawn else ""
        print(up + "".join(f"\r{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)
        self.drawn = len(lines)

    def painted(self, text: str, colour: str) -> str:
        """Return a text in a colour, if colours are on."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and colour else text

    def table(self, height: int) -> Iterator[tuple[str, str]]:
        """Yield the lines of the table with their colours, at most `height` of them."""
        statistics = self.manager.statistics()
        wait = f", {statistics.waiting} waiting for a slot" if statistics.waiting else ""
        yield f"{time.monotonic() - self.start:7.1f} s   {self.done} of {self.conversations} finished{wait}", ""
        yield "", ""
        states = {state.value: statistics.live[state] for state in LIVE} | {"ended": sum(statistics.ended.values())}
        for state, count in states.items():
            yield f"  {state:<12} {count:4}  {'#' * round(count * 50 / max(50, self.conversations))}", COLOURS[state]
        running = sorted(self.manager.sessions, key=began)
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
        """Draw the table a last time, and print the summary below it."""
        if self.redraws:
            self.draw()
        print("\n".join(self.summary(self.manager.statistics())), flush=True)

    def summary(self, statistics: ManagerStatistics) -> Iterator[str]:
        """Yield the lines of the summary."""
        ready = statistics.time_to_ready
        quantiles = (f"{which} {'-' if seconds is None else f'{seconds:.2f} s'}" for which, seconds in ready.items())
        yield f"\n{self.done} conversations in {time.monotonic() - self.start:.1f} s"
        yield f"  ended            {', '.join(f'{reason} {count}' for reason, count in self.ends.most_common())}"
        yield f"  time to ready    {', '.join(quantiles)}"
        yield f"  polls            {statistics.polls}, {statistics.poll_failures} of them failed"
        yield f"  connects         {statistics.started}, and {self.refusals.count} refused because all slots were taken"


def began(session: ConversationSession) -> datetime:
    """Return the time of a session's connect."""
    return session.snapshot().began_at


def name(session: ConversationSession | None) -> str:
    """Return the first digits of a conversation's id, which are enough for people."""
    return "-" * 8 if session is None else session.id[:8]


def ready_after(session: ConversationSession) -> str:
    """Return the time to ready in words."""
    return "never ready" if session.time_to_ready is None else f"ready after {session.time_to_ready:.2f} s"


async def run(arguments: argparse.Namespace) -> int:
    """Run with the given arguments. Returns the number of conversations that failed."""
    request = ConnectRequest(arguments.scenario, arguments.avatar)
    refusals = Refusals()
    async with AsyncExitStack() as stack:
        if not arguments.simulator:  # reads AKAPULU_API_KEY and AKAPULU_BASE_URL
            client = await stack.enter_async_context(AkapuluClient(observers=[refusals]))
        else:
            speed = arguments.speed
            poll = PollPolicy(interval=0.5 / speed, live_interval=2 / speed)  # as fast as the simulator
            simulator = await stack.enter_async_context(
                Simulator(speed=speed, seed=1, max_concurrent=arguments.account_slots, call_seconds=CALL_SECONDS)
            )
            simulator.add_fault(Fault(route="updates", rate=0.02, status=503))  # some polls fail
            client = await stack.enter_async_context(
                AkapuluClient(simulator.api_key, base_url=simulator.base_url, poll=poll, observers=[refusals])
            )
            print(f"The simulator runs at {speed:g} times real time, with {arguments.account_slots} slots.", flush=True)
        return await fan_out(client, refusals, request, arguments)


def number(text: str) -> int:
    """Return the whole number in a text; it must be 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments. Exits with a line for people if they are wrong."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s (--scenario UUID --avatar UUID | --simulator) [--conversations N] [--slots N]",
        description="Hold many conversations with Akapulu avatars, a limited number at a time.",
        allow_abbrev=False,
    )
    parser.add_argument("--scenario", metavar="UUID", help="the assistants' scenario")
    parser.add_argument("--avatar", metavar="UUID", help="the avatar")
    parser.add_argument("--conversations", metavar="N", type=number, default=50, help="conversations in total (50)")
    parser.add_argument("--slots", metavar="N", type=number, default=10, help="conversations at a time (10)")
    parser.add_argument("--simulator", action="store_true", help="use a local simulator instead of the service")
    parser.add_argument("--speed", metavar="X", type=float, default=SPEED, help="speed of the simulator (12)")
    parser.add_argument("--account-slots", metavar="N", type=number, help="slots of the simulated account (as --slots)")
    arguments = parser.parse_args()
    if arguments.simulator:
        arguments.scenario = arguments.scenario or SIMULATED
        arguments.avatar = arguments.avatar or SIMULATED
        arguments.account_slots = arguments.account_slots or arguments.slots
    if not (arguments.scenario and arguments.avatar):
        parser.exit(2, "--scenario and --avatar are needed, or --simulator\n")
    return arguments


def main() -> int:
    """Run the program. Returns the exit code."""
    arguments = parse_arguments()
    try:
        return 1 if asyncio.run(run(arguments)) else 0
    except KeyboardInterrupt:
        print("Stopped. The conversations continue until their users leave the rooms.", file=sys.stderr)
        return 130
    except (AkapuluError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
