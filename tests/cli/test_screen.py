"""What is shown, and where."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.cli.screen import Screen, complain, paragraph, plain, redraws


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to stdout, notes to stderr, each whole in its line, and JSON nowhere."""
    screen = Screen()
    screen.say("x" * 200, "bold red")
    screen.note("[red]as it is[/red] :smile:")
    screen.emit({"a": 1})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("x" * 200 + "\n", "[red]as it is[/red] :smile:\n")


def test_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """With `json`, stdout has one object a line, and nothing else is said."""
    screen = Screen(json=True)
    screen.say("a result")
    screen.note("a note")
    screen.emit({"a": "ä\n"})
    screen.emit({"b": None})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ('{"a": "ä\\n"}\n{"b": null}\n', "")


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


def test_notes_keep_clear_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout and stderr are terminals, notes go through the console that draws the bar."""
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    Screen().note("mind")
    assert "mind" in out.getvalue()
    assert not err.getvalue()


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_what_can_be_drawn_anew(monkeypatch: pytest.MonkeyPatch, term: str, drawn: bool) -> None:
    """A dumb terminal gets lines, and JSON is never drawn."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert Screen().redraws is redraws(Screen().out) is drawn
    assert not Screen(json=True).redraws


def test_what_an_encoding_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal without the letters gets them in another way, instead of a traceback."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    Screen().say("ä 字")
    assert stream.buffer.getvalue() == b"\xe4 \\u5b57\n"


def test_complaints_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong takes one line on stderr, whatever it quotes."""
    complain("a\nb\x1b[2Jc\u2028d")
    assert capsys.readouterr().err == "a b [2Jc d\n"


@given(st.text())
def test_plain(text: str) -> None:
    """Nothing of a text steers the terminal; what can be printed stays, in order."""
    shown = plain(text)
    assert shown.isprintable()
    assert shown.split() == "".join(letter if letter.isprintable() else " " for letter in text).split()
    assert plain(shown) == shown


@given(st.lists(st.text("abc-", min_size=1, max_size=30), min_size=1), st.integers(20, 100))
def test_paragraphs(words: list[str], width: int) -> None:
    """A paragraph has all words, whole and in order, below each other, within the width where that can be."""
    lines = paragraph("head: ", " ".join(words), width).splitlines()
    assert lines[0].startswith("head: ")
    assert all(line.startswith(" " * 6) for line in lines[1:])
    assert " ".join(line[6:] for line in lines).split() == words
    assert all(len(line) <= width or " " not in line[6:] for line in lines)
