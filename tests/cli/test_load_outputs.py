"""Where the results of a load test go."""

from pathlib import Path
from typing import Any

import pytest

from akapulu_async import ConfigurationError
from akapulu_async.cli.load_outputs import Files, tell
from akapulu_async.cli.screen import Screen
from tests.support.measured import attempt, result

MEASURED = result([attempt(0)])


def test_only_what_is_asked_for_is_written(tmp_path: Path, capsys: Any) -> None:
    """Each file is written if it is named, and where is told on stderr."""
    Files(report=None, csv=None).write(MEASURED, Screen())
    assert list(tmp_path.iterdir()) == []
    rows = tmp_path / "load.csv"
    Files(report=None, csv=rows).write(MEASURED, Screen())
    assert list(tmp_path.iterdir()) == [rows]
    assert capsys.readouterr() == ("", f"attempts: {rows}\n")


@pytest.mark.parametrize("option", ["report", "csv"])
def test_what_cannot_be_written_is_known_before(tmp_path: Path, option: str) -> None:
    """A place where no file can be is refused with the option's name."""
    usual = {"report": None, "csv": None}
    with pytest.raises(ConfigurationError, match=f"--{option} .*there is no folder"):
        Files(**{**usual, option: tmp_path / "none" / "file"})
    with pytest.raises(ConfigurationError, match=f"--{option} .*it is a folder"):
        Files(**{**usual, option: tmp_path})


def test_people_get_tables_and_scripts_an_object(capsys: Any) -> None:
    """The same result is told as text, or in one line of JSON."""
    tell(MEASURED, [], Screen())
    assert capsys.readouterr().out.startswith("2 conversations, 2 at once: took 10.0 s\n")
    tell(MEASURED, [], Screen(json=True))
    out = capsys.readouterr().out
    assert out.startswith('{"title": "2 conversations, 2 at once"')
    assert out.count("\n") == 1
