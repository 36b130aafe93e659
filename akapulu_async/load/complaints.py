"""What the library warns of while a load test runs: counted, since hundreds of lines would bury everything else."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from akapulu_async.log import logger

_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Complaints(logging.Handler):
    """Counts warnings; those that differ in the conversation alone count together."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self._counts[_ID.sub("...", record.getMessage()).removeprefix("! ")] += 1

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to the library for the time of a block."""
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    @property
    def told(self) -> tuple[str, ...]:
        """What was warned of, in a sentence each, with how often if more than once."""
        return tuple(f"{text}." if count == 1 else f"{text} ({count:,} times)." for text, count in self._counts.items())
