"""The results of a load test."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from akapulu_async import ConfigurationError
from akapulu_async.cli.load_summary import Files, as_json, show
from akapulu_async.cli.screen import Screen
from akapulu_async.load.metrics import NAMES, judge, parse
from akapulu_async.load.results import LoadResult
from tests.support.measured import attempt, latencies, result

MEASURED = result(
    [*(attempt(number) for number in range(1999)), attempt(1999, ready=None, failure="ready_timeout")],
    title="2,000 conversations, 500 at once",
    seconds=61.25,
    loop_lag=latencies(0.004),
    arrival_lag=latencies(0.001),
    resolution=0.55,
    cpu_share=0.31,
)


def shown(measured: LoadResult, *thresholds: str) -> list[str]:
    """Return the lines of a summary in a terminal of 80 columns, without padding."""
    screen, out = Screen(), io.StringIO()
    screen.out = Console(file=out, width=80, force_terminal=False)
    show(measured, [judge(parse(text), measured) for text in thresholds], screen)
    rows = out.getvalue().splitlines()
    assert max(map(len, rows)) <= 80
    return [" ".join(row.split()) for row in rows]


def test_the_summary_of_a_test() -> None:
    """It has counts with shares, latencies in seconds, causes of failure, notes and verdicts."""
    assert shown(MEASURED, "ready_p95>20", "failures>=1") == [
        "2,000 conversations, 500 at once: took 61.2 s",
        "",
        "conversations 2,000 100.00%",
        "connected 2,000 100.00%",
        "ready 1,999 99.95%",
        "failed 1 0.05%",
        "",
        "seconds mean p50 p90 p95 p99 max",
        "connect 0.250 0.250 0.250 0.250 0.250 0.250",
        "time to ready 2.000 2.000 2.000 2.000 2.000 2.000",
        "own loop's lag 0.004 0.004 0.004 0.004 0.004 0.004",
        "own arrivals' lag 0.001 0.001 0.001 0.001 0.001 0.001",
        "",
        "cause of failure",
        "ready_timeout 1",
        "",
        "Latencies count from the time a conversation was due. Time to ready covers only",
        "the conversations that became ready. Polling sees readiness up to 0.55 s late.",
        "The load generator used 31% of a core.",
        "ready_p95>20: kept, it is 2",
        "failures>=1: crossed, it is 1",
    ]


def test_notes_without_failures() -> None:
    """If all became ready, there is no note on those that did not."""
    rows = shown(result([attempt(0)]))
    assert rows[-1] == "Latencies count from the time a conversation was due."


def test_an_empty_test() -> None:
    """Without conversations there are counts and warnings, but no latencies."""
    rows = shown(result(warnings=("It was interrupted.",)))
    assert "conversations 0" in rows
    assert not any(row.startswith(("connect ", "time to ready", "own arrivals")) for row in rows)
    assert rows[-1] == "Warning: It was interrupted."


def test_scripts_get_the_same_figures() -> None:
    """The JSON object has every figure by the name used in thresholds."""
    told = json.loads(json.dumps(as_json(MEASURED, [judge(parse("failures>0"), MEASURED)])))
    assert told["figures"].keys() == set(NAMES)
    assert told["figures"]["failures"] == 1
    assert told["started_at"] == "2026-03-01T00:00:00+00:00"
    assert told["failures"] == {"ready_timeout": 1}
    assert told["thresholds"] == [{"threshold": "failures>0", "value": 1, "crossed": True}]
    assert told["interrupted"] is False
    assert "session_id" not in json.dumps(told)


SMALL = result([attempt(0)])


def test_files_are_optional(tmp_path: Path, capsys: Any) -> None:
    """Only the named files are written, and their paths are printed on stderr."""
    Files(report=None, csv=None).write(SMALL, Screen())
    assert list(tmp_path.iterdir()) == []
    rows = tmp_path / "load.csv"
    Files(report=None, csv=rows).write(SMALL, Screen())
    assert list(tmp_path.iterdir()) == [rows]
    assert capsys.readouterr() == ("", f"attempts: {rows}\n")


@pytest.mark.parametrize("option", ["report", "csv"])
def test_bad_paths(tmp_path: Path, option: str) -> None:
    """A path where no file can be written is refused with the option's name."""
    usual = {"report": None, "csv": None}
    with pytest.raises(ConfigurationError, match=f"--{option} .*there is no folder"):
        Files(**{**usual, option: tmp_path / "none" / "file"})
    with pytest.raises(ConfigurationError, match=f"--{option} .*must be a file"):
        Files(**{**usual, option: tmp_path})


def test_people_get_tables_and_scripts_an_object(capsys: Any) -> None:
    """The result is printed as text, or as one line of JSON."""
    show(SMALL, [], Screen())
    assert capsys.readouterr().out.startswith("2 conversations, 2 at once: took 10.0 s\n")
    show(SMALL, [], Screen(json=True))
    out = capsys.readouterr().out
    assert out.startswith('{"title": "2 conversations, 2 at once"')
    assert out.count("\n") == 1
