"""A conversation on the screen: its events as lines, a progress bar or JSON, and its transcript."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from akapulu_async.cli.exits import ExitCode, end_code
from akapulu_async.cli.screen import Screen, paragraph
from akapulu_async.cli.streams import complain, plain
from akapulu_async.errors import SessionEndedError
from akapulu_async.models.conversation import ConversationDetail
from akapulu_async.sansio.lifecycle import EndReason, SessionEvent, SessionState, StateChanged
from akapulu_async.session import ConversationSession

STYLES: Mapping[str, str] = {"connecting": "", "room_joined": "cyan", "bot_ready": "green", "ended": "bold"}


REST = 52
"""Columns of everything but the service's text, with three left free."""


class Clock(ProgressColumn):
    """Elapsed time. Unlike rich's own column, it does not stop at 100 %, where the call begins."""

    def render(self, task: Task) -> Text:
        """Return minutes and seconds."""
        minutes, seconds = divmod(int(task.elapsed or 0), 60)
        return Text(f"{minutes}:{seconds:02}", style="yellow")


class Display:
    """Shows the events of one session, with a progress bar within its context if the screen can be redrawn."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._ready = False

    def __enter__(self) -> Self:
        if self._screen.redraws:
            # Narrower than the terminal, so that the `^C` printed at the cursor does not start a new line.
            words = Column(no_wrap=True, overflow="ellipsis", max_width=max(8, self._screen.out.width - REST))
            self._bar = Progress(
                TextColumn("{task.description:<11}", markup=False),
                BarColumn(20),
                TextColumn("{task.percentage:5.1f} %", markup=False),
                Clock(),
                TextColumn("{task.fields[words]}", markup=False, table_column=words),
                console=self._screen.out,
                transient=True,
            )
            self._task = self._bar.add_task("connecting", total=100.0, words="")
            self._bar.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, event: SessionEvent) -> None:
        """Show one event."""
        self._screen.emit(event_json(event))
        if isinstance(event, StateChanged):
            why = f" ({event.end_reason})" if event.end_reason else ""
            self._screen.say(f"{event.elapsed:7.2f} s  {event.state}{why}", STYLES[event.state])
            self._update(description=event.state)
            self._ready = self._ready or event.state is SessionState.BOT_READY
        elif self._bar is None:
            percent = "" if self._ready else f"{event.percent:5.1f} %  "
            self._screen.say(f"{event.elapsed:7.2f} s  {percent}{plain(event.text)}".rstrip())
        else:
            self._update(completed=event.percent, words=plain(event.text))

    def _update(self, **changes: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, **changes)


async def follow(
    session: ConversationSession, screen: Screen, *, connected: Callable[[ConversationSession], object] | None = None
) -> None:
    """Enter a session, and show it until it ends.

    Raises what entering the session raises; its end raises nothing, see `verdict()`.

    Args:
        session: Not entered yet.
        screen: The output.
        connected: Called when the connect has succeeded.
    """
    events = session.events()
    with Display(screen) as display:
        try:
            async with session:
                display.show(await anext(events))  # connecting
                if connected is not None:
                    connected(session)
                await _show_all(events, display)
        finally:
            # The end, if it was not shown yet: the block was left, or the connect failed.
            if session.end_reason is not None:
                await _show_all(events, display)


async def _show_all(events: AsyncIterator[SessionEvent], display: Display) -> None:
    with suppress(SessionEndedError):  # already shown as the end
        async for event in events:
            display.show(event)


async def verdict(session: ConversationSession) -> ExitCode:
    """Return the exit code of a session that ended, and print the error if it ended badly."""
    if session.end_reason is EndReason.UNKNOWN:
        return ExitCode.OK  # over, like a conversation that was over before it was watched
    try:
        await session.bot_ready.wait()
        async for _ in session.events():
            pass  # raises at the end, if it failed
    except SessionEndedError as error:
        complain(str(error))
        return end_code(error, ready=session.bot_ready.is_set())
    return ExitCode.OK


def event_json(event: SessionEvent) -> dict[str, Any]:
    """Return an event for scripts."""
    head = {"session_id": event.session_id, "at": event.at.isoformat(), "elapsed": round(event.elapsed, 3)}
    if not isinstance(event, StateChanged):
        return {"event": "progress", **head, "percent": event.percent, "text": event.text}
    if event.state is not SessionState.ENDED:
        return {"event": "state", **head, "state": event.state}
    return {"event": "state", **head, "state": event.state, "end_reason": event.end_reason}


INDENT = 13
WIDTHS = 40, 100
"""Narrowest and widest lines of a dialogue."""

ROLE_STYLES = {"assistant": "green", "user": "cyan", "tool": "dim"}


def show_dialogue(detail: ConversationDetail, screen: Screen) -> None:
    """Show the transcript, grouped by node of the scenario."""
    if not detail.transcript_rows:
        screen.say("\nNothing was said.")
    width = min(max(screen.out.width, WIDTHS[0]), WIDTHS[1])
    for turn in detail.transcript_by_node():
        screen.say(f"\n{plain(turn.node_id or '(no node)')}", "bold")
        for row in turn.rows:
            role = f"  {plain(row.role)}: ".ljust(INDENT)
            screen.say(paragraph(role, plain(row.text) or "-", width), ROLE_STYLES.get(row.role, ""))


def rows_json(detail: ConversationDetail) -> list[dict[str, Any]]:
    """Return the rows of a transcript for scripts."""
    return [{"node_id": row.node_id, "role": row.role, "text": row.text} for row in detail.transcript_rows]
