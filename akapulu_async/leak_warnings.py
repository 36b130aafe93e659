"""Warnings about objects that were opened and dropped, or left at the interpreter's exit, without being closed."""

import sys
import warnings
import weakref
from collections.abc import Callable

from akapulu_async.log import logger

_NOT_THE_USER = {"akapulu_async", "anyio", "asyncio", "contextlib"}


def warn_unless_closed(
    owner: object, name: str, closing: str, clean_up: Callable[[], object] = lambda: None
) -> Callable[[], object]:
    """Warn once if an owner is dropped open, with the line that opened it: in the log, and as a `ResourceWarning`.

    Python does not show a `ResourceWarning` unless asked to (`-X dev`), but test runners fail for it. This is no
    `__del__`, which would run too late at the interpreter's exit to log anything.

    Args:
        owner: The object that is opened now.
        name: Its name for users.
        closing: How it is closed, in words.
        clean_up: Called after the warning, to close what would complain by itself. It must not know the owner.

    Returns:
        A function to call when the owner is closed.
    """
    message = f"{name} was opened here and never closed: {closing}"
    return weakref.finalize(owner, _warn, message, *_users_line(), clean_up).detach


def _warn(message: str, file: str, line: int, clean_up: Callable[[], object]) -> None:
    try:
        logger.warning("%s:%d: %s", file, line, message)
        warnings.warn_explicit(message, ResourceWarning, file, line)
    finally:
        clean_up()


def _users_line() -> tuple[str, int]:
    """Return the file and line of the user's that is being run."""
    frame = sys._getframe()  # noqa: SLF001 - as `inspect` and `logging` do; a stack would cost a thousand times more
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USER:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
