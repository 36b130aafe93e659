"""`akapulu-async` and `python -m akapulu_async` lead to the commands, with or without what the extra brings."""

# ruff: noqa: S603 - runs this package's own command

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from akapulu_async.__main__ import main
from akapulu_async.simulator.control import CONTROLS

SCRIPT = str(Path(sys.executable).with_name("akapulu-async"))
MODULE = (sys.executable, "-m", "akapulu_async")
BARE = "import sys; sys.modules['typer'] = None; from akapulu_async.__main__ import main; sys.exit(main())"


def run(*command: str) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
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
        (["simulate", "--recording-size", "99", "--recording-seconds", "1"], "--recording-seconds and recording_size"),
        (["simulate", "--api-key", ""], "--api-key must be"),
        (["simulate", "--ready-time", "nan"], "--ready-time must be"),
        (["simulate", "--port", "99999"], "--port must be a whole number from 0 to 65535, not 99999"),
        (["simulate", "--api-key", "sch\u00f6n"], "--api-key must be printable ASCII"),
    ],
)
def test_bad_arguments_are_one_line(capsys: pytest.CaptureFixture[str], arguments: Any, named: str) -> None:
    """What is wrong is named in one line on stderr, with exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("akapulu-async")
    assert named in captured.err


def test_help_tells_how_to_control(capsys: pytest.CaptureFixture[str]) -> None:
    """`simulate --help` lists every control over HTTP and shows two as they are typed."""
    assert main(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"{control} " in out for control in CONTROLS)
    assert out.count("  curl -X POST localhost:8080/_simulator/") == 2


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--help"], ["--version"], ["dance"]])
def test_script_and_module_are_the_same(arguments: list[str]) -> None:
    """`akapulu-async` and `python -m akapulu_async` say the same and leave with the same code."""
    assert run(SCRIPT, *arguments) == run(*MODULE, *arguments)


def test_simulate_works_without_the_extra() -> None:
    """Who installed the library alone has the simulator."""
    code, out, err = run(sys.executable, "-c", BARE, "simulate", "--help")
    assert (code, err) == (0, "")
    assert "--port" in out


def test_a_broken_installation_is_not_hidden() -> None:
    """What is missing besides the extra is a fault of the installation, and is shown as one."""
    code, _, err = run(sys.executable, "-c", BARE.replace("typer", "pydantic"), "doctor")
    assert code == 1
    assert err.endswith("ModuleNotFoundError: import of pydantic halted; None in sys.modules\n")


EARLY = """
import sys
from akapulu_async.__main__ import main

class Impatient:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
sys.exit(main())
"""


def test_ctrl_c_while_it_starts() -> None:
    """Who is quicker than the imports sees no traceback."""
    assert run(sys.executable, "-c", EARLY, "doctor") == (130, "", "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["connect", "--simulator"], ["doctor"]])
def test_all_else_asks_for_the_extra(arguments: list[str]) -> None:
    """Without the extra, the other commands say in one line what to install."""
    code, out, err = run(sys.executable, "-c", BARE, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'akapulu-async[cli]'" in err
