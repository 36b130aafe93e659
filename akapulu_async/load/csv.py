"""`--csv`: one row an attempt, for tools of one's own."""

import csv
from pathlib import Path

import attrs

from akapulu_async.load.results import Attempt, LoadResult

COLUMNS = (*(field.name for field in attrs.fields(Attempt)), "connect_latency", "time_to_ready")
"""What `Attempt` has, by the same names. What is None is left empty."""


def write_csv(result: LoadResult, path: Path) -> None:
    """Write all attempts, with a line of names above; raises `OSError`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(map(_row, result.attempts))


def _row(attempt: Attempt) -> list[object]:
    return [_cell(getattr(attempt, name)) for name in COLUMNS]


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value
