"""The live view of a load test: redrawn in a terminal, a line now and then elsewhere."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from akapulu_async import SessionState
from akapulu_async.cli.screen import Screen
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import ordered
from akapulu_async.load.series import Bins
from akapulu_async.load.view import View, view
from akapulu_async.load.wording import figure, span
from akapulu_async.tasks import in_thread

REFRESH = 0.5
"""Seconds between two redraws."""

LINE_INTERVAL = 5.0
"""Seconds between two lines where nothing can be redrawn."""

WIDEST, BAR = 40, 40
"""Characters of the longest bar of a count, and of the progress bar."""

COLUMNS = 80
"""Most characters of a line."""

MOST_CAUSES = 5
"""Most causes of failure listed."""


async def follow(recorder: Recorder, screen: Screen, plan: LoadPlan) -> None:
    """Show the progress of a test until cancelled, or until it cannot be drawn; with JSON output, show nothing."""
    if not screen.json:
        await (_draw if screen.redraws else _print_lines)(recorder, screen, plan)


async def _draw(recorder: Recorder, screen: Screen, plan: LoadPlan) -> None:
    # A closed terminal ends no test.
    with suppress(OSError), Live(console=screen.out, auto_refresh=False, transient=True) as live:

        def show(seen: View) -> None:
            live.update(picture(seen), refresh=True)

        while True:
            # In a thread: drawing takes milliseconds, which would delay the event loop.
            await in_thread(show, view(recorder, plan))
            await asyncio.sleep(REFRESH)


async def _print_lines(recorder: Recorder, screen: Screen, plan: LoadPlan) -> None:
    while True:
        await asyncio.sleep(LINE_INTERVAL)
        await in_thread(screen.note, line(view(recorder, plan)))


def line(seen: View) -> str:
    """Return a view as one line of at most 80 columns; what does not fit is left out."""
    share = f"{'' if seen.left is None else f'{seen.share:.0%}':>4}"
    parts = [f"{_clock(seen.at)}  {share}", f"{_arrived(seen, '/')} due", f"{seen.over:,} over"]
    parts += [f"{seen.failed:,} failed"]
    if seen.ready_p50 is not None:
        parts.append(f"ready p50 {figure(seen.ready_p50)} s, p95 {figure(seen.ready_p95 or 0)} s")
    parts += [f"{seen.failed_polls:,} failed polls"] if seen.failed_polls else []
    parts += [f"{seen.waiting:,} waiting"] if seen.waiting else []
    parts += [f"{seen.polls_per_second:,.0f} polls/s"]
    parts += [f"{sum(seen.states.values()):,} running"]
    shown = parts[0]
    for part in parts[1:]:
        longer = f"{shown}{'  ' if shown == parts[0] else ', '}{part}"
        shown = longer if len(longer) <= COLUMNS else shown
    return shown


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"


def _bar(seen: View) -> Text:
    done = round(BAR * seen.share)
    bar = Text("#" * done, style="green").append("." * (BAR - done), style="dim")
    left = "" if seen.left is None else f"  about {span(round(seen.left))} left"
    return bar.append(f"  {seen.share:.0%}{left}", style="not dim")


def picture(seen: View) -> RenderableType:
    """Return a view as a drawing of at most 80 columns."""
    head = Text(f"{seen.at:,.0f} s   {_arrived(seen)} due, {seen.over:,} over", style="bold")
    stopping = Text("stopping: leaving the running conversations; Ctrl-C again quits at once", style="yellow")
    parts: list[RenderableType] = [head, stopping if seen.stopping else _bar(seen)]
    parts += [Text(), _states(seen), Text(), _speeds(seen)]
    if seen.bins is not None:
        parts += [Text(), Text(_readiness(seen), style="bold"), _histogram(seen.bins)]
    if seen.failures:
        parts += [Text(), Text(f"failed: {seen.failed:,}", style="bold red"), _causes(seen)]
    return Group(*parts)


def _arrived(seen: View, of: str = " of ") -> str:
    return f"{seen.arrived:,}" if seen.planned is None else f"{seen.arrived:,}{of}{seen.planned:,}"


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
    causes = ordered(seen.failures)
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
    shown = Text(
        f"{seen.connects_per_second:,.1f} connects/s   {seen.polls_per_second:,.0f} polls/s   "
        f"own loop's lag {1000 * seen.loop_lag:.0f} ms"
    )
    if seen.failed_polls or seen.retries:
        shown.append(f"\n{seen.failed_polls:,} failed polls   {seen.retries:,} retries", style="yellow")
    return shown


def _readiness(seen: View) -> str:
    return f"time to ready: {seen.ready:,}, p50 {seen.ready_p50 or 0:.2f} s, p95 {seen.ready_p95 or 0:.2f} s"
