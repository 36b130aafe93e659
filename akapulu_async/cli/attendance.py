"""Attending a conversation: following it to its end, and offering its transcript then."""

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
from akapulu_async.cli.target import Target
from akapulu_async.models.conversation import ConversationDetail
from akapulu_async.sansio.polling import PollPolicy
from akapulu_async.session import ConversationSession

INTERVAL, LIVE_INTERVAL = 0.5, 2.0
"""Seconds between two polls until the bot is ready, and during the call, to notice its end."""

ReadyTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--ready-timeout",
        metavar="SECONDS",
        parser=values.seconds_or_none,
        help="How long the bot may take to get ready; none: as long as it likes. [default: 100]",
        show_default=False,
    ),
]
WithTranscript: TypeAlias = Annotated[
    bool, typer.Option("--transcript", help="Show the transcript at the end; in a terminal you are asked.")
]


@attrs.frozen
class Held:
    """What came of a conversation."""

    code: ExitCode
    detail: ConversationDetail | None
    """With its transcript; None if nobody wants that."""


def poll_policy(target: Target) -> PollPolicy:
    """Return how often to poll what may be faster than life."""
    return PollPolicy(INTERVAL / target.speed, LIVE_INTERVAL / target.speed)


async def attend(
    session: ConversationSession,
    screen: Screen,
    *,
    transcript: bool,
    connected: Callable[[ConversationSession], object] | None = None,
) -> Held:
    """Follow a session to its end, or to a first Ctrl-C, after which the transcript so far is brought all the same.

    Args:
        session: Not entered yet.
        screen: Where to show it.
        transcript: Whether the transcript is wanted, whatever people would say.
        connected: Called once its connect is answered.
    """
    wanted = transcript or can_ask(screen)
    is_connected = False

    def note_connected(session: ConversationSession) -> None:
        nonlocal is_connected
        is_connected = True
        if connected is not None:
            connected(session)

    try:
        await follow(session, screen, connected=note_connected)
        code = await verdict(session)
    except asyncio.CancelledError:
        if not is_connected:
            raise
        screen.note("Stopped; the conversation goes on until its user leaves the room. To see more of it:")
        screen.note(f"  akapulu-async watch {session.id}")
        task = asyncio.current_task()
        if not wanted or task is None:
            raise
        task.uncancel()
        code = ExitCode.INTERRUPTED
    return Held(code, await session.detail() if wanted else None)


def can_ask(screen: Screen) -> bool:
    """Whether there is somebody who can be asked."""
    return screen.redraws and sys.stdin.isatty()


def finish(held: Held, screen: Screen, *, ask: bool) -> int:
    """Show the transcript, if it was brought and is wanted; returns the exit code."""
    if held.detail is not None:
        screen.emit({"event": "transcript", "session_id": held.detail.id, "rows": rows_json(held.detail)})
        if not screen.json and (not ask or confirm("Show the transcript?")):
            show_dialogue(held.detail, screen)
    return held.code
