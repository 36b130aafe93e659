"""Output for people and scripts, and questions in a terminal."""

import io
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.cli.screen import Screen, paragraph, redraws
from tests.cli.running import terminal


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to stdout and notes to stderr, each whole in its line, and no JSON is printed."""
    screen = Screen()
    screen.say("x" * 200, "bold red")
    screen.note("[red]as it is[/red] :smile:")
    screen.emit({"a": 1})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("x" * 200 + "\n", "[red]as it is[/red] :smile:\n")


def test_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """With `json`, stdout has one object of printable ASCII per line, and nothing else is printed."""
    screen = Screen(json=True)
    screen.say("a result")
    screen.note("a note")
    screen.emit({"a": "ä\n\x7f\x85\u202e"})
    screen.emit({"b": None})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ('{"a": "\\u00e4\\n\\u007f\\u0085\\u202e"}\n{"b": null}\n', "")


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "PY_COLORS"])
def test_no_terminal_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """No variable makes a file a terminal."""
    monkeypatch.setenv(variable, "1")
    screen = Screen()
    screen.say("text", "bold red")
    assert not screen.redraws
    assert capsys.readouterr().out == "text\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_notes_go_through_the_console_with_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """If stdout and stderr are terminals, notes go through the console that draws the bar."""
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    Screen().note("mind")
    assert "mind" in out.getvalue()
    assert not err.getvalue()


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_which_terminals_are_redrawn(monkeypatch: pytest.MonkeyPatch, term: str, drawn: bool) -> None:
    """A dumb terminal gets lines, and JSON is never redrawn."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert Screen().redraws is redraws(Screen().out) is drawn
    assert not Screen(json=True).redraws


def test_characters_outside_of_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters outside of the terminal's encoding are escaped."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    Screen().say("ä 字")
    assert stream.buffer.getvalue() == b"\xe4 \\u5b57\n"


def test_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters reach people as spaces, also invisible ones that change the order of others."""
    Screen().say("  a\x1b[2J\x7f\x85b\u202ec\nd")
    assert capsys.readouterr().out == "  a [2J  b c\nd\n"


@given(st.lists(st.text("abc-", min_size=1, max_size=30), min_size=1), st.integers(20, 100))
def test_paragraphs(words: list[str], width: int) -> None:
    """A paragraph has all words, whole and in order, within the width where possible."""
    lines = paragraph("head: ", " ".join(words), width).splitlines()
    assert lines[0].startswith("head: ")
    assert all(line.startswith(" " * 6) for line in lines[1:])
    assert " ".join(line[6:] for line in lines).split() == words
    assert all(len(line) <= width or " " not in line[6:] for line in lines)


ASKING = """
import _thread, signal, threading
from akapulu_async.cli.screen import confirm

def interrupt():
    while True:
        signal.sigwait({signal.SIGUSR1})
        _thread.interrupt_main()  # interrupts no system call, like a SIGINT that arrives just before it

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
threading.Thread(target=interrupt, daemon=True).start()
while True:
    try:
        print("answer:", confirm("Well?"), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("typed", "answer"), [("", True), ("y", True), ("YES", True), ("n", False), (" no ", False)])
async def test_answers(typed: str, answer: bool) -> None:
    """Yes is the default, and a question is repeated until it is answered."""
    async with terminal(program=ASKING) as shown:
        await shown.expect(r"Well\? \[Y/n\]: ")
        shown.type("perhaps\n")
        await shown.expect(r"perhaps\s+Well\? \[Y/n\]: ")
        shown.type(f"{typed}\n")
        await shown.expect(f"answer: {answer}")


async def test_the_end_of_the_input_is_an_interrupt() -> None:
    """Ctrl-D at a question is like Ctrl-C."""
    async with terminal(program=ASKING) as shown:
        await shown.expect(r"Well\? \[Y/n\]: ")
        shown.type("\x04")
        await shown.expect("interrupted")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGUSR1])
async def test_a_signal_at_any_moment_ends_the_question(sent: signal.Signals) -> None:
    """An interrupt ends a question, whenever it comes after the prompt was printed."""
    async with terminal(program=ASKING) as shown:
        for number in range(200):
            await shown.expect(r"Well\? \[Y/n\]: ")
            shown.shown = ""
            for _ in range(number * 10):  # some hundred microseconds at most
                pass
            shown.process.send_signal(sent)
            await shown.expect(r"^\s*interrupted")
