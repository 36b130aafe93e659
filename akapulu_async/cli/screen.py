"""Output for people and for scripts, and questions in a terminal."""

import json
import select
import signal
import socket
import sys
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from akapulu_async.cli.streams import printable


class Screen:
    """The output of one command: text for people, or with `json` one object per line for scripts.

    Results go to stdout, notes and errors to stderr. Without a terminal, lines are plain, whole and free of control
    codes. `NO_COLOR` turns colours off.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.out = console(sys.stdout)
        self.err = console(sys.stderr)

    def say(self, text: str, style: str = "") -> None:
        """Print a line of the result for people."""
        if not self.json:
            _write(self.out, text, style)

    def note(self, text: str, style: str = "dim") -> None:
        """Print a line for people on stderr that is not a result."""
        if not self.json:
            # If both are one terminal, the console that draws the bar must write.
            with suppress(OSError):  # nobody reads them; the command continues
                _write(self.out if self.redraws and self.err.is_terminal else self.err, text, style)

    def emit(self, value: Mapping[str, Any]) -> None:
        """Print an object for scripts, in one line of printable ASCII, which every encoding has."""
        if self.json:
            sys.stdout.write(json.dumps(value, default=str).replace("\x7f", r"\u007f") + "\n")
            sys.stdout.flush()

    @property
    def redraws(self) -> bool:
        """True if stdout is a terminal that can be redrawn, and not JSON."""
        return not self.json and redraws(self.out)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError` being handled, as every other stream does, instead of ending the process."""
        raise  # noqa: PLE0704


def console(stream: TextIO) -> Console:
    """Return a console that prints text literally."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a character outside of the encoding must not end the command
    # Only the stream decides whether it is a terminal, not FORCE_COLOR: control codes do not belong into files.
    return _Console(file=stream, force_terminal=stream.isatty(), markup=False, emoji=False, highlight=False)


def redraws(shown: Console) -> bool:
    """Return True if lines can be redrawn there."""
    return shown.is_terminal and not shown.is_dumb_terminal


def confirm(question: str) -> bool:
    """Ask a yes/no question in the terminal; yes is the default.

    Raises:
        KeyboardInterrupt: Ctrl-C, or the end of the input.
    """
    # Ready before the question is seen, so that no signal can come in between.
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)  # noqa: FBT003 - positional only
        before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            while True:
                sys.stdout.write(f"{question} [Y/n]: ")
                sys.stdout.flush()
                answer = _read_line(woken).strip().lower()
                if answer in {"", "y", "yes", "n", "no"}:
                    return not answer.startswith("n")
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            raise
        finally:
            signal.set_wakeup_fd(before)


def _read_line(woken: socket.socket) -> str:
    """Read a line from the terminal. Raises `KeyboardInterrupt` on Ctrl-C and at the end of the input.

    A signal just before a blocking read does not interrupt it, and Python calls the handler only afterwards. The
    wake-up socket is written to as soon as the signal arrives, and ends the wait.
    """
    if sys.platform != "win32":  # where select() takes only sockets, and Ctrl-C ends the console's read
        while sys.stdin not in select.select([sys.stdin, woken], [], [])[0]:
            woken.recv(4096)
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line


def paragraph(head: str, text: str, width: int) -> str:
    """Return a text wrapped into lines, the first after the head, the others indented below it.

    Neither words nor links are cut: one that is longer than a line gets its own.
    """
    indent = " " * len(head)
    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _write(shown: Console, text: str, style: str) -> None:
    # soft_wrap: lines are never wrapped or cut, so links and paths stay whole.
    shown.print(Text(printable(text), style=style), soft_wrap=True)
    shown.file.flush()
