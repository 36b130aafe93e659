"""`akapulu-async` and `python -m akapulu_async` run the commands, with or without the extra."""

# ruff: noqa: S603 - runs this package's own command

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from akapulu_async.__main__ import main
from akapulu_async.cli import COMMANDS
from akapulu_async.simulator.control import CONTROLS
from akapulu_async.version import __version__

SCRIPT = str(Path(sys.executable).with_name("akapulu-async"))
COMMAND = re.compile(r"^  ([a-z]+) +([A-Z].*\.)$", re.MULTILINE)
MODULE = (sys.executable, "-m", "akapulu_async")
BARE = "import sys; sys.modules['typer'] = None; from akapulu_async.__main__ import main; sys.exit(main())"


def run(*command: str) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "Missing command"),
        (["dance"], "dance"),
        (["--colour", "red"], "--colour"),
        (["simulate", "dance"], "dance"),
        (["simulate", "--colour", "red"], "--colour"),
        (["simulate", "--port", "x"], "--port"),
        (["simulate", "--speed", "fast"], "--speed"),
        (["simulate", "--after-end", "boom"], "--after-end"),
        (["simulate", "--scenario", "x"], "--scenario"),
        (["simulate", "--spee", "2"], "--spee"),
        (["simulate", "--minutes", "x"], "--minutes: must be a whole number or none, not 'x'"),
        (["simulate", "--call-seconds", "x"], "--call-seconds: must be a number or none, not 'x'"),
        (["simulate", "--seed", "x"], "--seed: must be a whole number, not 'x'"),
        (["simulate", "--speed", "-1"], "--speed must be"),
        (["simulate", "--max-concurrent", "-2"], "--max-concurrent must be a whole number from 0, not -2"),
        (["simulate", "--recording-size", "1"], "--recording-size must be"),
        (
            ["simulate", "--recording-size", "9999", "--recording-seconds", "1"],
            "--recording-seconds and recording_size",
        ),
        (["simulate", "--api-key", ""], "--api-key must be"),
        (["simulate", "--ready-time", "nan"], "--ready-time must be"),
        (["simulate", "--port", "99999"], "--port must be a whole number from 0 to 65535, not 99999"),
        (["simulate", "--api-key", "sch\u00f6n"], "--api-key must be printable ASCII"),
    ],
)
def test_bad_arguments_are_one_line(capsys: pytest.CaptureFixture[str], arguments: Any, named: str) -> None:
    """Bad arguments are named in one line on stderr, with exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("akapulu-async")
    assert named in captured.err


HELP = (["--help"], ["simulate", "--help"], ["--version"])


def test_help_shows_the_controls(capsys: pytest.CaptureFixture[str]) -> None:
    """`simulate --help` lists every control over HTTP and shows two as they are typed."""
    assert main(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"{control} " in out for control in CONTROLS)
    assert out.count("  curl -X POST localhost:8080/_simulator/") == 2


@pytest.mark.parametrize(
    "arguments", [["dance"], *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in HELP)], ids=" ".join
)
def test_script_and_module_are_the_same(arguments: list[str]) -> None:
    """`akapulu-async` and `python -m akapulu_async` print the same and exit with the same code."""
    assert run(SCRIPT, *arguments) == run(*MODULE, *arguments)


def test_simulate_works_without_the_extra() -> None:
    """The simulator runs without the extra."""
    code, out, err = run(sys.executable, "-c", BARE, "simulate", "--help")
    assert (code, err) == (0, "")
    assert "--port" in out


def test_a_broken_installation_is_not_hidden() -> None:
    """A missing module that the extra does not bring is shown with its traceback."""
    code, _, err = run(sys.executable, "-c", BARE.replace("typer", "pydantic"), "doctor")
    assert code == 1
    assert err.endswith("ModuleNotFoundError: import of pydantic halted; None in sys.modules\n")


EARLY = """
import sys
from akapulu_async.__main__ import main
from akapulu_async.cli import COMMANDS

class Impatient:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
sys.exit(main())
"""


def test_ctrl_c_while_it_starts() -> None:
    """Ctrl-C during the imports shows no traceback."""
    assert run(sys.executable, "-c", EARLY, "doctor") == (130, "", "")


@pytest.mark.parametrize(
    "arguments",
    [["doctor"], *(pytest.param(other, marks=pytest.mark.slow) for other in ([], ["dance"], ["connect", "--help"]))],
)
def test_other_commands_ask_for_the_extra(arguments: list[str]) -> None:
    """Without the extra, the other commands say in one line what to install."""
    code, out, err = run(sys.executable, "-c", BARE, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "typer is not installed" in err
    assert "the extra cli" in err
    assert "pip install '.[cli]'" in err


@pytest.mark.parametrize("option", ["--help", pytest.param("-h", marks=pytest.mark.slow)])
def test_help_without_the_extra(option: str) -> None:
    """Without the extra, the help lists all commands with their lines, and says what to install."""
    code, out, err = run(sys.executable, "-c", BARE, option)
    assert (code, err) == (0, "")
    assert dict(COMMAND.findall(out)) == COMMANDS
    assert "pip install '.[cli]'" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version_without_the_extra() -> None:
    """The version is the same with and without the extra."""
    assert run(sys.executable, "-c", BARE, "--version") == (0, f"akapulu-async {__version__}\n", "")
