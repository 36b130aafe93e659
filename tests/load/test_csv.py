"""One row an attempt."""

import csv
from pathlib import Path

import pytest

from akapulu_async import EndReason
from akapulu_async.load.csv import COLUMNS, write_csv
from akapulu_async.load.results import Attempt
from tests.support.measured import attempt, result


def test_each_attempt_is_a_row(tmp_path: Path) -> None:
    """All that is known of an attempt is in its row, by the names of the values; what is not known is empty."""
    path = tmp_path / "load.csv"
    never = Attempt(index=1, due=2.5, ended=3.0, failure='Odd,"Error"\n503')
    write_csv(result([attempt(0), never]), path)
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert (first["index"], first["end_reason"], first["failure"]) == ("0", str(EndReason.LEFT), "")
    assert float(first["connect_latency"]) == pytest.approx(0.25)
    assert float(first["time_to_ready"]) == pytest.approx(2.0)
    assert (second["due"], second["began"], second["ready"], second["failure"]) == ("2.500000", "", "", never.failure)
