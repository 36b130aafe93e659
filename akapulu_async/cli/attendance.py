"""Follow a conversation to its end, then offer its transcript."""

import asyncio
import sys
from collections.abc import Callable
from typing import Annotated, TypeAlias

import attrs
import typer

from akapulu_async.cli import values
from akapulu_async.cli.display import follow, rows_json, show_dialogue, verdict
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.screen import Screen, confirm
from akapulu_async.cli.streams import PROGRAM, complain
from akapulu_async.cli.target import Target
from akapulu_async.models.conversation import ConversationDetail
from akapulu_async.sansio.polling import PollPolicy
from akapulu_async.session import ConversationSession

INTERVAL, LIVE_INTERVAL = 0.5, 2.0
"""Seconds between polls until the bot is ready, and after that."""

ReadyTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--ready-timeout",
        metavar="SECONDS",
        parser=values.seconds_or_none,
        help="Time within which the bot must be ready; none: no limit. [default: 100]",
        show_default=False,
    ),
]
WithTranscript: TypeAlias = Annotated[
    bool, typer.Option("--transcript", help="Show the transcript at the end, without asking.")
]


@attrs.frozen
class Held:
    """The outcome of a conversation."""

    code: ExitCode
    detail: ConversationDetail | None
    """With its transcript; None if it was not fetched."""


def poll_policy(target: Target) -> PollPolicy:
    """Return a poll policy that fits the target's speed."""
    return PollPolicy(INTERVAL / target.speed, LIVE_INTERVAL / target.speed)


async def attend(
    session: ConversationSession,
    screen: Screen,
    target: Target,
    *,
    transcript: bool,
    connected: Callable[[ConversationSession], object] | None = None,
) -> Held:
    """Follow a session to its end or to the first Ctrl-C, then fetch the transcript so far.

    Args:
        session: Not entered yet.
        screen: The output.
        target: The service or the embedded simulator.
        transcript: Fetch the transcript without asking. Nobody is asked after Ctrl-C.
        connected: Called when the connect has succeeded.
    """
    is_connected = False

    def note_connected(session: ConversationSession) -> None:
        nonlocal is_connected
        is_connected = True
        if connected is not None:
            connected(session)

    try:
        await follow(session, screen, connected=note_connected)
        code = await verdict(session)
    except OSError:
        if is_connected and not target.simulator:  # the log does not warn, as it does after Ctrl-C
            complain(f"conversation {session.id} continues; to watch it: {PROGRAM} watch {session.id}")
        raise
    except asyncio.CancelledError:
        if not is_connected:
            raise
        if target.simulator:
            screen.note("Stopped. The simulator ends, and its conversation with it.")
        else:
            screen.note(f"To watch it again: {PROGRAM} watch {session.id}")
        task = asyncio.current_task()
        if not transcript or task is None:
            raise
        task.uncancel()
        return Held(ExitCode.INTERRUPTED, await session.detail())
    return Held(code, await session.detail() if transcript or can_ask(screen) else None)


def can_ask(screen: Screen) -> bool:
    """Return True if a person can be asked, in a terminal."""
    return screen.redraws and sys.stdin.isatty()


def finish(held: Held, screen: Screen, *, ask: bool) -> int:
    """Show the transcript if it was fetched and is wanted; return the exit code."""
    if held.detail is not None:
        screen.emit({"event": "transcript", "session_id": held.detail.id, "rows": rows_json(held.detail)})
        if not screen.json and (not ask or confirm("Show the transcript?")):
            show_dialogue(held.detail, screen)
    return held.code
