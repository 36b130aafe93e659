"""The live view of a load test: redrawn in a terminal, a line now and then elsewhere."""

import asyncio
from collections.abc import Iterable
from functools import partial
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from akapulu_async import SessionState
from akapulu_async.cli.screen import Screen
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.series import Bins
from akapulu_async.load.view import View, view
from akapulu_async.tasks import in_thread

REFRESH = 0.5
"""Seconds between two redraws."""

LINE_INTERVAL = 5.0
"""Seconds between two lines where nothing can be redrawn."""

WIDEST = 40
"""Characters of the longest bar."""

MOST_CAUSES = 5
"""Most causes of failure listed."""


async def follow(recorder: Recorder, screen: Screen, planned: int | None) -> None:
    """Show the progress of a test until cancelled; with JSON output, show nothing.

    Args:
        recorder: The measurements so far.
        screen: The output.
        planned: Conversations in total; None if the plan has no limit.
    """
    if screen.redraws:
        await _draw(recorder, screen, planned)
    elif not screen.json:
        await _print_lines(recorder, screen, planned)


async def _draw(recorder: Recorder, screen: Screen, planned: int | None) -> None:
    with Live(console=screen.out, auto_refresh=False, transient=True) as live:
        while True:
            # In a thread: drawing takes milliseconds, which would delay the event loop.
            await in_thread(partial(live.update, picture(view(recorder, planned)), refresh=True))
            await asyncio.sleep(REFRESH)


async def _print_lines(recorder: Recorder, screen: Screen, planned: int | None) -> None:
    while True:
        await asyncio.sleep(LINE_INTERVAL)
        screen.note(line(view(recorder, planned)))


def line(seen: View) -> str:
    """Return a view as one line."""
    parts = [f"{seen.at:7.1f} s", f"{_arrived(seen)} due"]
    parts += [f"{seen.waiting:,} waiting"] if seen.waiting else []
    parts += [f"{count:,} {state}" for state, count in seen.states.items() if count]
    parts += [f"{seen.over:,} over", f"{seen.failed:,} failed", f"{seen.polls_per_second:,.0f} polls/s"]
    if seen.ready_p50 is not None:
        parts.append(f"ready p50 {seen.ready_p50:.2f} s, p95 {seen.ready_p95:.2f} s")
    return f"{parts[0]}  {', '.join(parts[1:])}"


def picture(seen: View) -> RenderableType:
    """Return a view as a drawing of at most 80 columns."""
    head = Text(f"{seen.at:,.0f} s   {_arrived(seen)} due, {seen.over:,} over", style="bold")
    if seen.stopping:
        head.append("   stopping: ending the running conversations; Ctrl-C again quits at once", style="yellow")
    parts: list[RenderableType] = [head, Text(), _states(seen), Text(), _speeds(seen)]
    if seen.bins is not None:
        parts += [Text(), Text(_readiness(seen), style="bold"), _histogram(seen.bins)]
    if seen.failures:
        parts += [Text(), Text(f"failed: {seen.failed:,}", style="bold red"), _causes(seen)]
    return Group(*parts)


def _arrived(seen: View) -> str:
    return f"{seen.arrived:,}" if seen.planned is None else f"{seen.arrived:,} of {seen.planned:,}"


def _states(seen: View) -> RenderableType:
    styles = {"waiting": "dim", SessionState.CONNECTING: "yellow", SessionState.ROOM_JOINED: "cyan"}
    counts = {"waiting": seen.waiting, **{str(state): count for state, count in seen.states.items()}}
    return _bars((name, count, styles.get(name, "green")) for name, count in counts.items())


def _histogram(bins: Bins) -> RenderableType:
    return _bars(
        (f"{low:g}-{high:g} s", count, "green")
        for (low, high), count in zip(pairwise(bins.edges), bins.counts, strict=True)
    )


def _causes(seen: View) -> RenderableType:
    causes = sorted(seen.failures.items(), key=lambda each: (-each[1], each[0]))
    rows = [(cause, count, "red") for cause, count in causes[:MOST_CAUSES]]
    rest = sum(count for _, count in causes[MOST_CAUSES:])
    return _bars([*rows, ("others", rest, "red")] if rest else rows)


def _bars(rows: Iterable[tuple[str, int, str]]) -> RenderableType:
    listed = list(rows)
    longest = max((count for _, count, _ in listed), default=0)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=22, no_wrap=True)
    table.add_column(width=9, justify="right")
    table.add_column(width=WIDEST)
    for name, count, style in listed:
        length = round(WIDEST * count / longest) if longest else 0
        # Even the smallest count gets a mark.
        table.add_row(Text(name, overflow="ellipsis"), f"{count:,}", Text("#" * max(length, count > 0), style=style))
    return table


def _speeds(seen: View) -> Text:
    return Text(
        f"{seen.connects_per_second:,.1f} connects/s   {seen.polls_per_second:,.0f} polls/s   "
        f"own loop's lag {1000 * seen.loop_lag:.0f} ms"
    )


def _readiness(seen: View) -> str:
    return f"time to ready: {seen.ready:,}, p50 {seen.ready_p50 or 0:.2f} s, p95 {seen.ready_p95 or 0:.2f} s"
