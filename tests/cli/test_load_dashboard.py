"""The live view of a load test."""

import asyncio
import io
import json
import sys
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from akapulu_async import SessionState
from akapulu_async.cli import load_dashboard
from akapulu_async.cli.load_dashboard import MOST_CAUSES, follow, line, picture
from akapulu_async.cli.screen import Screen
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.series import Bins
from akapulu_async.load.view import View

PLAN = LoadPlan(conversations=5, concurrency=1)

VIEW = View(
    at=12.4,
    arrived=1200,
    planned=2000,
    left=37.2,
    states={SessionState.CONNECTING: 100, SessionState.ROOM_JOINED: 50, SessionState.BOT_READY: 1},
    waiting=0,
    connected=1190,
    ready=900,
    over=1000,
    failed_polls=0,
    retries=0,
    connects_per_second=98.7,
    polls_per_second=1999.6,
    ready_p50=12.0,
    ready_p95=14.25,
    bins=Bins(2.0, 5, (200, 100)),
    failures={"ServerError 503": 3, "ready_timeout": 10},
    loop_lag=0.0042,
    stopping=False,
)


def drawn(part: RenderableType, width: int = 80) -> list[str]:
    """Return the lines as a terminal of this width shows them."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(row.split()) for row in console.file.getvalue().splitlines()]


def test_the_picture_shows_how_it_stands() -> None:
    """It has states, speeds, the times to ready and the causes of failure, with bars to scale."""
    assert drawn(picture(VIEW)) == [
        "12 s 1,200 of 2,000 due, 1,000 over",
        f"{'#' * 10}{'.' * 30} 25% about 37 s left",
        "",
        "waiting 0",
        f"connecting 100 {'#' * 40}",
        f"room_joined 50 {'#' * 20}",
        "bot_ready 1 #",
        "",
        "98.7 connects/s 2,000 polls/s own loop's lag 4 ms",
        "",
        "time to ready: 900, p50 12.00 s, p95 14.25 s",
        f"10-12 s 200 {'#' * 40}",
        f"12-14 s 100 {'#' * 20}",
        "",
        "failed: 13",
        f"ready_timeout 10 {'#' * 40}",
        f"ServerError 503 3 {'#' * 12}",
    ]


def test_the_picture_fits_into_80_columns() -> None:
    """No line is wider than 80 columns, however long names and figures are, and rare causes are summed up."""
    causes = {f"SomeVeryLongErrorNameIndeed{number} 503": 10**6 + number for number in range(20)}
    seen = attrs.evolve(
        VIEW, arrived=10**7, planned=10**7, over=10**7, waiting=10**6, failures=causes, stopping=True, ready=10**7
    )
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(picture(seen))
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    assert max(len(row.rstrip()) for row in rows) <= 80
    assert sum("VeryLong" in row for row in rows) == MOST_CAUSES
    assert any(row.startswith("others ") for row in rows)
    assert sum("Ctrl-C again" in row for row in rows) == 1


def test_fine_spreads_keep_their_digits() -> None:
    """Bars narrower than a second have fractional bounds."""
    seen = attrs.evolve(VIEW, bins=Bins(0.05, 10, (4,)))
    assert f"0.5-0.55 s 4 {'#' * 40}" in drawn(picture(seen))


def test_nothing_yet_is_no_histogram() -> None:
    """Before anything became ready or failed, those parts are left out."""
    seen = attrs.evolve(VIEW, bins=None, failures={}, ready=0, ready_p50=None, ready_p95=None)
    rows = drawn(picture(seen))
    assert not any("ready:" in row or "failed" in row for row in rows)
    assert rows[-1].endswith("lag 4 ms")


def test_failed_polls_and_retries_are_shown_if_there_are_any() -> None:
    """Failed polls and retries have a line of their own."""
    assert "7 failed polls 2 retries" in drawn(picture(attrs.evolve(VIEW, failed_polls=7, retries=2)))


def test_a_test_that_is_being_stopped_says_so() -> None:
    """While it is being stopped, that takes the place of the progress bar."""
    rows = drawn(picture(attrs.evolve(VIEW, stopping=True)))
    assert rows[1] == "stopping: leaving the running conversations; Ctrl-C again quits at once"


def test_an_unknown_end_is_no_time_left() -> None:
    """Before the time left is known, the bar is empty."""
    assert drawn(picture(attrs.evolve(VIEW, left=None)))[1] == f"{'.' * 40} 0%"


def test_a_line_has_the_same_in_short() -> None:
    """A line has the same figures, and leaves out those that are not known."""
    assert line(VIEW) == "  0:12   25%  1,200/2,000 due, 1,000 over, 13 failed, ready p50 12 s, p95 14.2 s"
    bare = attrs.evolve(VIEW, at=754.0, planned=None, left=None, waiting=7, ready_p50=None, ready_p95=None)
    assert line(bare) == " 12:34        1,200 due, 1,000 over, 13 failed, 7 waiting, 2,000 polls/s"


@given(
    st.builds(
        View,
        at=st.floats(0, 1e6),
        arrived=st.integers(0, 10**7),
        planned=st.none() | st.integers(0, 10**7),
        left=st.none() | st.floats(0, 1e6),
        waiting=st.integers(0, 10**7),
        over=st.integers(0, 10**7),
        failures=st.dictionaries(st.just("cause"), st.integers(0, 10**7)),
        failed_polls=st.integers(0, 10**7),
        ready_p50=st.none() | st.floats(0, 1e4),
        ready_p95=st.floats(0, 1e4),
        polls_per_second=st.floats(0, 1e6),
        states=st.just(VIEW.states),
        **dict.fromkeys(("connected", "ready", "retries", "connects_per_second", "loop_lag"), st.just(0)),
        bins=st.none(),
        stopping=st.booleans(),
    )
)
def test_a_line_fits_into_80_columns(seen: Any) -> None:
    """No line is longer than 80 characters, whatever the figures, and figures are left out whole."""
    shown = line(seen)
    assert len(shown) <= 80
    assert " due" in shown
    assert " failed" in shown


async def test_scripts_are_shown_nothing(capsys: Any) -> None:
    """With JSON output, nothing is shown."""
    await follow(Recorder(), Screen(json=True), PLAN)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


async def test_without_a_terminal_lines_come_now_and_then(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, plain lines are printed on stderr until the test is over."""
    monkeypatch.setattr(load_dashboard, "LINE_INTERVAL", 0.01)
    screen, shown = Screen(), ""
    following = asyncio.create_task(follow(Recorder(), screen, PLAN))
    while shown.count("0/5 due, 0 over") < 2:  # a thread prints them, and no event reports that
        await asyncio.sleep(0.001)
        shown += capsys.readouterr().err
    following.cancel()
    assert capsys.readouterr().out == ""


class Closed(io.StringIO):
    """A stream whose reader is gone."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


async def test_an_output_that_is_gone_ends_the_progress_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """If progress cannot be drawn, no more is shown, and nothing is raised."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Closed(terminal=True))
    await follow(Recorder(), Screen(), PLAN)


@pytest.mark.parametrize("width", [80, 200])
def test_a_wide_terminal_changes_nothing(width: int) -> None:
    """The drawing is the same in wide terminals."""
    assert json.dumps(drawn(picture(VIEW), width)) == json.dumps(drawn(picture(VIEW)))
