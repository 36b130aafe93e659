"""Two load tests side by side."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from akapulu_async import ConfigurationError
from akapulu_async.load.metrics import metric, shown
from akapulu_async.load.results import LoadResult

COMPARED = (
    "conversations",
    "ready",
    "failure_rate",
    "failed_polls",
    "retries",
    "connect_p50",
    "connect_p95",
    "ready_mean",
    "ready_p50",
    "ready_p95",
    "ready_p99",
    "loop_lag_p99",
)
"""The figures that are compared."""


@attrs.frozen
class Earlier:
    """An earlier test."""

    name: str
    """Its title and start, for people."""

    figures: Mapping[str, Any] = attrs.field(hash=False)
    """Its figures by name; those that are no numbers are ignored."""


def read_earlier(path: Path) -> Earlier:
    """Read the output of `load --json` from a file.

    Raises:
        ConfigurationError: It cannot be read, or is something else.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        name = f"{told['title']}, {told['started_at'][:16].replace('T', ' ')} UTC"
        figures = dict(told["figures"])
    except OSError as error:
        raise ConfigurationError(f"--compare {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(f"--compare {path}: it is not the output of load --json") from None
    return Earlier(name, figures)


def compared(result: LoadResult, earlier: Earlier) -> Iterator[tuple[str, str, str, str]]:
    """Yield the compared figures: name, earlier, now, change."""
    for name in COMPARED:
        before, now = earlier.figures.get(name), metric(result, name)
        if not isinstance(before, int | float):
            before = None
        change = "" if not before or now is None else f"{100 * (now - before) / before:+.0f} %"
        yield name, shown(name, before), shown(name, now), change
