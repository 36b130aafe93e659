"""Hold one conversation: connect it, follow it until it is ready and to its end, and print the transcript.

    export AKAPULU_API_KEY=...
    python examples/first_conversation.py --scenario UUID --avatar UUID [--record FILE]

Without an account, with the simulator:

    python examples/first_conversation.py --simulator
"""

import argparse
import asyncio
import shutil
import sys
import textwrap
from pathlib import Path
from uuid import UUID

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConnectRequest,
    ConversationDetail,
    ConversationSession,
    PollPolicy,
    SessionEndedError,
    StateChanged,
)
from akapulu_async.simulator import Simulator

INTERVAL = 0.5  # seconds between two polls until the bot is ready
LIVE_INTERVAL = 2.0  # seconds between two polls during the call, to notice its end
RECORDING_TIMEOUT = 300.0  # seconds to wait for the recording after the end

SIMULATED = UUID("00000000-0000-4000-8000-000000000000")  # the simulator accepts any id
SPEED = 6.0  # simulated seconds per real second


async def converse(client: AkapuluClient, request: ConnectRequest, record: Path | None, *, invite: bool) -> None:
    """Hold a conversation from its connect to its transcript."""
    async with client.session(request) as session:  # connects; leaving the block ends the session
        print(f"Connected to {session.room_url}", flush=True)
        if invite:
            print(f"Open this link to join, and keep it to yourself: {session.join_url}", flush=True)
        watching = asyncio.create_task(watch(session))
        try:
            async with session.ready():  # waits for the bot; the block is cancelled when the conversation ends
                await asyncio.Event().wait()  # nothing to do here: the conversation takes place in the room
        except SessionEndedError:
            await watching  # raises if the conversation failed
            if not session.bot_ready.is_set():
                raise
    print_transcript(await session.detail())
    if record is not None:
        await client.conversations.download_recording(session.id, record, wait=RECORDING_TIMEOUT)
        print(f"\nThe recording is in {record}.")


async def watch(session: ConversationSession) -> None:
    """Show a session's lifecycle as it happens: a line per state, and a progress bar between them."""
    display = Display()
    try:
        async for event in session.events():
            time = f"{event.elapsed:7.2f} s  "
            if isinstance(event, StateChanged):
                display.keep(time + event.state + (f" ({event.end_reason})" if event.end_reason else ""))
            else:
                bar = f"[{'#' * round(event.percent / 5):<20}] {event.percent:5.1f} %"
                display.show(f"{time}{bar}  {one_line(event.text)}")
    finally:
        display.close()


class Display:
    """Prints lines that stay, and below them a line that is redrawn in a terminal."""

    def __init__(self) -> None:
        self.redraws = sys.stdout.isatty()
        self.below = ""

    def keep(self, line: str) -> None:
        """Print a line that stays, above the redrawn one."""
        below = self.below
        self.close()
        print(line, flush=True)
        if below:
            self.show(below)

    def show(self, line: str) -> None:
        """Replace the redrawn line."""
        if not self.redraws:
            print(line, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="", flush=True)
        self.below = line

    def close(self) -> None:
        """Remove the redrawn line."""
        if self.below:
            self.show("")
            print("\r", end="", flush=True)


def print_transcript(detail: ConversationDetail) -> None:
    """Print the transcript, grouped by the nodes of the scenario."""
    print(f"\nTranscript of {detail.id}, {one_line(detail.duration_text)}")
    width = max(40, min(100, shutil.get_terminal_size().columns))
    for turn in detail.transcript_by_node():
        print(f"\n{one_line(turn.node_id or '(no node)')}")
        for row in turn.rows:
            role = f"  {one_line(row.role)}: ".ljust(13)
            print(textwrap.fill(one_line(row.text) or "-", width, initial_indent=role, subsequent_indent=" " * 13))


def one_line(text: str) -> str:
    """Return a text without line breaks and without characters that control the terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


async def run(arguments: argparse.Namespace) -> None:
    """Hold a conversation with the given arguments."""
    request = ConnectRequest(
        arguments.scenario,
        arguments.avatar,
        runtime_vars=dict(arguments.var),
        record_conversation=arguments.record is not None,
        wait_for_client_ready=False,  # a plain link never says "client-ready"
    )
    if not arguments.simulator:
        # Reads AKAPULU_API_KEY and AKAPULU_BASE_URL.
        async with AkapuluClient(poll=PollPolicy(INTERVAL, LIVE_INTERVAL)) as client:
            await converse(client, request, arguments.record, invite=True)
        return
    speed = arguments.speed
    poll = PollPolicy(INTERVAL / speed, LIVE_INTERVAL / speed)
    async with (
        Simulator(speed=speed, seed=1, end_with_script=True) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url, poll=poll) as client,
    ):
        print(f"The simulator runs at {speed:g} times real time, and its user joins by itself.")
        await converse(client, request, arguments.record, invite=False)


def variable(text: str) -> tuple[str, str]:
    """Return the name and the value of NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def parse_arguments() -> argparse.Namespace:
    """Return the arguments. Exits with a line for people if they are wrong."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s (--scenario UUID --avatar UUID | --simulator) [--var NAME=VALUE] [--record FILE]",
        description="Hold one conversation with an Akapulu avatar.",
        allow_abbrev=False,
    )
    parser.add_argument("--scenario", metavar="UUID", help="the assistant's scenario")
    parser.add_argument("--avatar", metavar="UUID", help="the avatar")
    parser.add_argument(
        "--var",
        metavar="NAME=VALUE",
        type=variable,
        action="append",
        default=[],
        help="fills {{runtime.NAME}} in the scenario; repeatable",
    )
    parser.add_argument("--record", metavar="FILE", type=Path, help="record the conversation into a new file")
    parser.add_argument("--speed", metavar="X", type=float, default=SPEED, help="speed of the simulator (6)")
    parser.add_argument("--simulator", action="store_true", help="use a local simulator instead of the service")
    arguments = parser.parse_args()
    if arguments.simulator:
        arguments.scenario = arguments.scenario or SIMULATED
        arguments.avatar = arguments.avatar or SIMULATED
        arguments.var = arguments.var or [("user_name", "Ada")]  # used in the simulator's dialogue
    if not (arguments.scenario and arguments.avatar):
        parser.exit(2, "--scenario and --avatar are needed, or --simulator\n")
    if arguments.record is not None and (arguments.record.exists() or not arguments.record.parent.is_dir()):
        parser.exit(2, f"--record {arguments.record}: it must be a new file in an existing folder\n")
    return arguments


def main() -> int:
    """Run the program. Returns the exit code."""
    arguments = parse_arguments()
    try:
        asyncio.run(run(arguments))
    except KeyboardInterrupt:
        print("Stopped. The conversation continues until its user leaves the room.", file=sys.stderr)
        return 130
    except (AkapuluError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
