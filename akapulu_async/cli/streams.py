"""The standard streams, which may be closed, full or without a reader. Needs no extra."""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

PROGRAM = "akapulu-async"

FAILURE = 1
"""The exit code, as in `ExitCode`."""

UNWRITABLE = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
"""Errors of stdout, or of the file that a command writes."""


def open_closed() -> None:
    """Replace streams that were closed before the start, as with `>&-`, by the null device."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # It gets the closed stream's number, which would else be that of the first socket.
            descriptor = os.open(os.devnull, os.O_RDWR)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def complain(text: str) -> None:
    """Print an error on stderr, in one line."""
    with suppress(OSError):  # nobody can be told
        sys.stderr.write(f"{PROGRAM}: {plain(text)}\n")
        sys.stderr.flush()


def printable(text: str) -> str:
    """Return a text with control characters, also invisible ones that change the order of others, as spaces."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def plain(text: str) -> str:
    """Return a text on one line, without control characters."""
    return " ".join(printable(text).split())


def finish(code: int, error: OSError | None = None) -> int:
    """Write what is buffered, and print the error of the system that ended the command; return the exit code.

    A reader that has stopped reading, as `head` does, needs no message.
    """
    error = _flush(sys.stdout) or error
    if error is not None:
        code = code or FAILURE
        if not isinstance(error, BrokenPipeError):
            complain(f"cannot write the output: {error.strerror}" if error.errno in UNWRITABLE else str(error))
    _flush(sys.stderr)
    return code


def _flush(stream: TextIO) -> OSError | None:
    try:
        stream.flush()
    except OSError as error:
        # Python would try again at exit, report it and end with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
