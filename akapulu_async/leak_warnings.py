"""Telling of what was opened and dropped, or was there at the interpreter's exit, without being closed."""

import sys
import warnings
import weakref
from collections.abc import Callable

from akapulu_async.log import logger

_NOT_THE_USER = {"akapulu_async", "anyio", "asyncio", "contextlib"}


def warn_unless_closed(
    owner: object, name: str, closing: str, let_go: Callable[[], object] = lambda: None
) -> Callable[[], object]:
    """Tell once if an owner is dropped open, with where it was opened: in the log, which is seen, and as a warning.

    Python does not show a `ResourceWarning` unless asked to (`-X dev`), but test runners fail for it.

    Args:
        owner: What is opened now.
        name: What users call it.
        closing: How it is closed, in words.
        let_go: Called after the warning, to do away with what would complain by itself. It must not know the owner.

    Returns:
        What is to be called when the owner is closed.
    """
    return weakref.finalize(
        owner, _warn, f"{name} was opened here and never closed: {closing}", *_place(), let_go
    ).detach


def _warn(message: str, file: str, line: int, let_go: Callable[[], object]) -> None:
    try:
        logger.warning("! %s:%d: %s", file, line, message)
        warnings.warn_explicit(message, ResourceWarning, file, line)
    finally:
        let_go()


def _place() -> tuple[str, int]:
    """Return the file and line of the user's that is being run."""
    frame = sys._getframe()  # noqa: SLF001 - what `inspect` and `logging` use; a stack would be a thousand times dearer
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USER:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
