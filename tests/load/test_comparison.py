"""Two load tests side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from akapulu_async import ConfigurationError
from akapulu_async.load.comparison import COMPARED, Earlier, compared, read_earlier
from akapulu_async.load.metrics import NAMES
from tests.support.measured import attempt, result

TOLD = {"title": "6 conversations", "started_at": "2026-03-01T10:00:59+00:00", "figures": {"ready_p50": 2.0}}


def test_an_earlier_test_is_read(tmp_path: Path) -> None:
    """An earlier test has its title and start as its name, and its figures."""
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(TOLD), encoding="utf-8")
    assert read_earlier(path) == Earlier("6 conversations, 2026-03-01 10:00 UTC", {"ready_p50": 2.0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "\udcff",
        "[" * 100_000,
        json.dumps({**TOLD, "figures": 3}),
        json.dumps({**TOLD, "started_at": 3}),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is something else is refused by name."""
    path = tmp_path / "earlier.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match=r"--compare .*earlier\.json: it is not the output of load --json"):
        read_earlier(path)


def test_each_figure_is_beside_the_earlier_one() -> None:
    """A row has name, earlier figure, figure now and change; what is not known is a dash, and has no change."""
    now = result([attempt(0), attempt(1, ready=None, failure="failed")])
    figures: dict[str, Any] = {"ready_p50": 4.0, "conversations": 1, "failure_rate": 0, "ready_p95": "fast"}
    rows = {name: rest for name, *rest in compared(now, Earlier("", figures))}
    assert tuple(rows) == COMPARED
    assert rows["ready_p50"] == ["4 s", "2 s", "-50 %"]
    assert rows["conversations"] == ["1", "2", "+100 %"]
    assert rows["failure_rate"] == ["0 %", "50 %", ""]
    assert rows["ready_p95"] == ["-", "2 s", ""]
    assert set(COMPARED) <= set(NAMES)
