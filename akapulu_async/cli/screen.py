"""What is shown: consoles that know whether they are a terminal, lines, and JSON."""

import json
import sys
import textwrap
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text


class Screen:
    """The output of one command: for people, or with `json` for scripts, one object a line.

    Results go to stdout; what is only of the moment, and what is wrong, goes to stderr. What is no terminal gets plain
    lines, however long, without control codes. `NO_COLOR` takes the colours away.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.out = console(sys.stdout)
        self.err = console(sys.stderr)

    def say(self, text: str, style: str = "") -> None:
        """Show a line of the result to people."""
        if not self.json:
            _write(self.out, text, style)

    def note(self, text: str, style: str = "dim") -> None:
        """Show people a line that is no result, on stderr."""
        if not self.json:
            # Where both are one terminal, only one console may write: it knows of the bar that it draws.
            _write(self.out if self.redraws and self.err.is_terminal else self.err, text, style)

    def emit(self, value: Mapping[str, Any]) -> None:
        """Give scripts an object, in a line of its own."""
        if self.json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()

    @property
    def redraws(self) -> bool:
        """Whether people see stdout, in a terminal where lines can be drawn anew."""
        return not self.json and redraws(self.out)


def console(stream: TextIO) -> Console:
    """Return a console that shows texts as they are."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding has not is no reason to break off
    # What there is decides whether it is a terminal, not FORCE_COLOR and its like: nobody wants its codes in a file.
    return Console(file=stream, force_terminal=stream.isatty(), markup=False, emoji=False, highlight=False)


def redraws(shown: Console) -> bool:
    """Whether lines can be drawn anew there."""
    return shown.is_terminal and not shown.is_dumb_terminal


def complain(text: str) -> None:
    """Show on stderr what is wrong, in one line."""
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()


def plain(text: str) -> str:
    """Return a text on one line, without characters that would steer the terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def paragraph(head: str, text: str, width: int) -> str:
    """Return a text broken into lines, the first after the head, the others below it.

    Neither words nor links are cut: what is longer than a line has one of its own.
    """
    indent = " " * len(head)
    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _write(shown: Console, text: str, style: str) -> None:
    # soft_wrap: no line is broken or cut, so that links and paths stay whole, and scripts get what they ask for.
    shown.print(Text(text, style=style), soft_wrap=True)
    shown.file.flush()
