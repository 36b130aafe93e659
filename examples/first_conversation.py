"""Hold one conversation: connect it, watch it get ready, wait for its end, print what was said.

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
import time
from pathlib import Path
from uuid import UUID

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConnectRequest,
    ConversationDetail,
    ConversationUpdate,
    NotFoundError,
)
from akapulu_async.simulator import Simulator

READY_TIMEOUT = 100.0  # seconds for the bot to get ready, and for you to open the link
READY_INTERVAL = 0.5  # seconds between two polls until the bot is ready
CALL_INTERVAL = 2.0  # seconds between two polls during the call
RECORDING_TIMEOUT = 300.0  # seconds for the recording to become ready after the end

SIMULATED = UUID("00000000-0000-4000-8000-000000000000")  # the simulator takes any id
SPEED = 10.0  # how much faster than life the simulator runs


class Display:
    """The latest state: one line that is redrawn on a terminal, else a line for each change."""

    def __init__(self) -> None:
        self.redraws = sys.stdout.isatty()
        self.shown = ""
        self.start = time.monotonic()

    def show(self, update: ConversationUpdate) -> None:
        """Show how far a conversation has come."""
        filled = round(update.completion_percent / 5)
        line = f"[{'#' * filled:<20}] {update.completion_percent:5.1f} %  {one_line(update.latest_update_text)}"
        if self.redraws:
            seconds = int(time.monotonic() - self.start)
            width = shutil.get_terminal_size().columns - 1
            print("\r" + f"{seconds // 60:02}:{seconds % 60:02} {line}"[:width].ljust(width), end="", flush=True)
        elif line != self.shown:
            print(line, flush=True)
        self.shown = line

    def close(self) -> None:
        """Keep the line and go on below it."""
        if self.redraws and self.shown:
            print(flush=True)
        self.shown = ""


async def converse(client: AkapuluClient, request: ConnectRequest, record: Path | None, speed: float) -> None:
    """Hold a conversation from its connect to its transcript."""
    connection = await client.conversations.connect(request)
    session_id = connection.conversation_session_id
    print(f"Connected to {connection.room_url}", flush=True)
    if speed == 1:
        print(f"Open this link to join, and keep it to yourself: {connection.join_url}", flush=True)

    display = Display()
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            while not (update := await client.conversations.updates(session_id)).call_is_ready:
                display.show(update)
                await asyncio.sleep(READY_INTERVAL / speed)
        # What follows an end is not published: take both "not ready any more" and "not found" for one.
        while update.call_is_ready:
            display.show(update)
            await asyncio.sleep(CALL_INTERVAL / speed)
            update = await client.conversations.updates(session_id)
        display.show(update)
    except NotFoundError:
        if not display.shown:
            raise
    finally:
        display.close()

    print_transcript(await client.conversations.detail(session_id))
    if record is not None:
        await client.conversations.download_recording(session_id, record, wait=RECORDING_TIMEOUT)
        print(f"\nThe recording is in {record}.")


def print_transcript(detail: ConversationDetail) -> None:
    """Print what was said, under the node of the scenario in which it was said."""
    print(f"\nTranscript of {detail.id}, {one_line(detail.duration_text)}")
    width = max(40, min(100, shutil.get_terminal_size().columns))
    for turn in detail.transcript_by_node():
        print(f"\n{one_line(turn.node_id or '(no node)')}")
        for row in turn.rows:
            role = f"  {one_line(row.role)}: ".ljust(13)
            print(textwrap.fill(one_line(row.text) or "-", width, initial_indent=role, subsequent_indent=" " * 13))


def one_line(text: str) -> str:
    """Return a text without line breaks, and without characters that would steer the terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


async def run(arguments: argparse.Namespace) -> None:
    """Hold the conversation that the arguments ask for."""
    request = ConnectRequest(
        arguments.scenario,
        arguments.avatar,
        runtime_vars=dict(arguments.var),
        record_conversation=arguments.record is not None,
    )
    if not arguments.simulator:
        async with AkapuluClient() as client:  # takes AKAPULU_API_KEY and AKAPULU_BASE_URL
            await converse(client, request, arguments.record, speed=1)
        return
    async with (
        Simulator(speed=SPEED, seed=1, end_with_script=True) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url) as client,
    ):
        print(f"The simulator runs {SPEED:g} times as fast as life, and joins for you.")
        await converse(client, request, arguments.record, speed=SPEED)


def variable(text: str) -> tuple[str, str]:
    """Return name and value of a NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def parse_arguments() -> argparse.Namespace:
    """Return the arguments; leaves with a line for people if they make no sense."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s (--scenario UUID --avatar UUID | --simulator) [--var NAME=VALUE] [--record FILE]",
        description="Hold one conversation with an Akapulu avatar.",
        allow_abbrev=False,
    )
    parser.add_argument("--scenario", metavar="UUID", help="what the assistant does")
    parser.add_argument("--avatar", metavar="UUID", help="the face and the voice")
    parser.add_argument(
        "--var",
        metavar="NAME=VALUE",
        type=variable,
        action="append",
        default=[],
        help="fills {{runtime.NAME}} in the scenario; repeatable",
    )
    parser.add_argument("--record", metavar="FILE", type=Path, help="record the conversation into a new file")
    parser.add_argument("--simulator", action="store_true", help="use a local simulator instead of the service")
    arguments = parser.parse_args()
    if arguments.simulator:
        arguments.scenario = arguments.scenario or SIMULATED
        arguments.avatar = arguments.avatar or SIMULATED
    if not (arguments.scenario and arguments.avatar):
        parser.exit(2, "--scenario and --avatar are needed, or --simulator\n")
    if arguments.record is not None and (arguments.record.exists() or not arguments.record.parent.is_dir()):
        parser.exit(2, f"--record {arguments.record}: it must be a new file in a folder that is there\n")
    return arguments


def main() -> int:
    """Run, and return the exit code."""
    arguments = parse_arguments()
    try:
        asyncio.run(run(arguments))
    except KeyboardInterrupt:
        print("Stopped. The conversation ends when its participant leaves the room.", file=sys.stderr)
        return 130
    except AkapuluError as error:
        print(error, file=sys.stderr)
        return 1
    except TimeoutError:
        print(f"The bot was not ready after {READY_TIMEOUT:g} s. Has anybody joined the room?", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
