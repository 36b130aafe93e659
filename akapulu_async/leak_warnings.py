"""Warnings about objects that were opened and never closed."""

import os
import sys
import warnings
import weakref
from collections.abc import Callable

from akapulu_async.log import logger

_NOT_THE_USER = {"akapulu_async", "anyio", "asyncio", "contextlib"}


def warn_unless_closed(
    owner: object, name: str, closing: str, clean_up: Callable[[], object] = lambda: None
) -> Callable[[], object]:
    """Warn once if an owner is dropped, or the interpreter exits, before the returned function is called.

    The warning names the line that opened it. It is logged, since Python shows a `ResourceWarning` only on request
    (`-X dev`), and issued, since test runners fail for it. `clean_up` is called after it, and must not know the owner.
    A forked child does neither: what was opened before the fork is the parent's.
    """
    frame = sys._getframe()  # noqa: SLF001 - as `inspect` and `logging` do; a stack would be a thousand times slower
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USER:
        frame = frame.f_back
    message = f"{name} was opened here and never closed: {closing}"
    where = frame.f_code.co_filename, frame.f_lineno
    return weakref.finalize(owner, _warn, os.getpid(), message, *where, clean_up).detach


def _warn(process: int, message: str, file: str, line: int, clean_up: Callable[[], object]) -> None:
    if process != os.getpid():
        return
    try:
        logger.warning("%s:%d: %s", file, line, message)
        warnings.warn_explicit(message, ResourceWarning, file, line)
    finally:
        clean_up()
