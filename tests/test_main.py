"""`python -m akapulu_async` leads to its commands."""

import subprocess
import sys
from typing import Any

import pytest

from akapulu_async.__main__ import main
from akapulu_async.simulator.control import CONTROLS


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["simulate", "--colour", "red"], "--colour"),
        (["simulate", "--port", "x"], "--port"),
        (["simulate", "--speed", "fast"], "--speed"),
        (["simulate", "--after-end", "boom"], "--after-end"),
        (["simulate", "--scenario", "x"], "--scenario"),
        (["simulate", "--spee", "2"], "--spee"),
        (["simulate", "--minutes", "x"], "--minutes: must be a whole number or none, not 'x'"),
        (["simulate", "--call-seconds", "x"], "--call-seconds: must be a number or none, not 'x'"),
        (["simulate", "--seed", "x"], "--seed: must be a whole number, not 'x'"),
    ],
)
def test_bad_arguments_are_one_line(capsys: pytest.CaptureFixture[str], arguments: Any, named: str) -> None:
    """What is wrong is named in one line on stderr, with exit code 2."""
    code, out, err = refused(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "-1"], "--speed must be"),
        (["--max-concurrent", "-2"], "--max-concurrent must be a whole number from 0, not -2"),
        (["--recording-size", "1"], "--recording-size must be"),
        (["--recording-size", "99", "--recording-seconds", "1"], "--recording-seconds and recording_size"),
        (["--api-key", ""], "--api-key must be"),
        (["--ready-time", "nan"], "--ready-time must be"),
        (["--port", "99999"], "--port must be a whole number from 0 to 65535, not 99999"),
        (["--api-key", "sch\u00f6n"], "--api-key must be a text of ASCII"),
    ],
)
def test_values_out_of_range_are_one_line(capsys: pytest.CaptureFixture[str], arguments: Any, message: str) -> None:
    """What the simulator refuses is told by the option's name, not as a traceback."""
    assert main(["simulate", *arguments]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists them and ends with 0."""
    code, out, _ = refused(capsys, "--help")
    assert code == 0
    assert "simulate" in out


def test_help_tells_how_to_control(capsys: pytest.CaptureFixture[str]) -> None:
    """`simulate --help` lists every control over HTTP and shows two as they are typed."""
    code, out, _ = refused(capsys, "simulate", "--help")
    assert code == 0
    assert all(f"{control} " in out for control in CONTROLS)
    assert out.count("  curl -X POST localhost:8080/_simulator/") == 2


def test_it_runs_as_a_module() -> None:
    """`python -m akapulu_async` is the same."""
    done = subprocess.run(
        [sys.executable, "-m", "akapulu_async", "simulate", "--help"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, "--port" in done.stdout) == (0, True)
