"""The results of a load test."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from akapulu_async import ConfigurationError
from akapulu_async.cli.load_summary import Files, as_json, deliver, show
from akapulu_async.cli.screen import Screen
from akapulu_async.load.comparison import Earlier
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


def shown(measured: LoadResult, *thresholds: str, earlier: Earlier | None = None) -> list[str]:
    """Return the lines of a summary in a terminal of 80 columns, without padding."""
    screen, out = Screen(), io.StringIO()
    screen.out = Console(file=out, width=80, force_terminal=False)
    show(measured, [judge(parse(text), measured) for text in thresholds], earlier, screen)
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
        "PASS ready_p95 2 s <= 20 s",
        "FAIL failures 1 >= 1",
    ]


def test_notes_without_failures() -> None:
    """If all became ready, there is no note on those that did not."""
    rows = shown(result([attempt(0)]))
    assert rows[-1] == "Latencies count from the time a conversation was due."


def test_a_simulator_is_said_to_be_one() -> None:
    """The second line says that it was a simulator, and how fast it ran."""
    rows = shown(result([attempt(0)], simulator_speed=6.0))
    assert rows[1] == "A simulator at 6 times real speed; the figures say nothing about Akapulu."


def test_failed_polls_retries_and_interrupted_conversations() -> None:
    """Failed polls by status, retries and interrupted conversations are shown if there were any."""
    rows = shown(
        result([attempt(0), attempt(1, ready=None)], polls=1234, retries=1, poll_errors={"timeout": 1, "503": 30})
    )
    assert "interrupted 1 50.00%" in rows
    first = rows.index("1,234 polls, 1 retry of calls")
    assert rows[first + 1 : first + 4] == ["failed polls", "503 30", "timeout 1"]


def test_an_earlier_test_is_laid_beside() -> None:
    """Each figure is beside the earlier one, with the change."""
    rows = shown(MEASURED, earlier=Earlier("2 conversations, 2026-03-01 10:00 UTC", {"ready_p50": 4.0}))
    first = rows.index("compared with 2 conversations, 2026-03-01 10:00 UTC")
    assert rows[first + 1 : first + 3] == ["figure earlier now change", "conversations - 2,000"]
    assert "ready_p50 4 s 2 s -50 %" in rows
    assert "failure_rate - 0.05 %" in rows


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
    assert told["thresholds"] == [{"threshold": "failures>0", "value": 1, "unit": "", "crossed": True}]
    assert told["interrupted"] is False
    assert "session_id" not in json.dumps(told)


SMALL = result([attempt(0)])


def test_files_are_optional(tmp_path: Path, capsys: Any) -> None:
    """Only the named files are written, and their paths are printed on stderr."""
    assert deliver(SMALL, [], None, Files(report=None, csv=None), Screen(json=True))
    assert list(tmp_path.iterdir()) == []
    rows = tmp_path / "load.csv"
    assert deliver(SMALL, [], None, Files(report=None, csv=rows), Screen())
    assert list(tmp_path.iterdir()) == [rows]
    assert capsys.readouterr().err == f"attempts: {rows}\n"


def test_one_file_that_cannot_be_written_loses_no_other(tmp_path: Path, capsys: Any) -> None:
    """A file that cannot be written is one line on stderr; the other file and the figures are there."""
    for broken, whole in (("csv", "report"), ("report", "csv")):
        path = tmp_path / f"load.{whole}"
        files = Files(**{broken: Path("/dev/full"), whole: path})
        assert not deliver(SMALL, [], None, files, Screen())
        shown = capsys.readouterr()
        assert shown.out.startswith("2 conversations, 2 at once: took 10.0 s\n")
        assert "/dev/full: No space left on device\n" in shown.err
        assert path.stat().st_size > 100


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
    show(SMALL, [], None, Screen())
    assert capsys.readouterr().out.startswith("2 conversations, 2 at once: took 10.0 s\n")
    show(SMALL, [], None, Screen(json=True))
    out = capsys.readouterr().out
    assert out.startswith('{"title": "2 conversations, 2 at once"')
    assert out.count("\n") == 1
