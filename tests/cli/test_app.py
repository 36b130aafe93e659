"""The common options and errors of all commands."""

import re
import subprocess
import sys

import pytest
import typer

from akapulu_async import cli
from akapulu_async.cli.app import app, main
from akapulu_async.cli.exits import ExitCode, table
from akapulu_async.version import __version__
from tests.cli.running import CONTROL_CODES, run

# ruff: noqa: S603 - runs our own code

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined] # it is a group


def test_commands() -> None:
    """The commands are those of the table."""
    assert set(COMMANDS) == set(cli.COMMANDS)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists each command with its line, and the exit codes."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert dict(re.findall(r"^  ([a-z]+) +([A-Z].*\.)$", out, re.MULTILINE)) == cli.COMMANDS
    assert all(line in out for line in table().splitlines())


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "simulate"])
def test_help_of_commands(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """The help of a command fits in 80 columns and lists the common options, but none for the key."""
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert all(option in out for option in ("--json", "--simulator", "--base-url", "--speed"))
    assert "--api-key" not in out


def test_lazy_imports() -> None:
    """Importing the commands does not import the simulator."""
    code = "import sys, akapulu_async.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"akapulu_async.simulator", "aiohttp.web"} & set(done.stdout.split())


def test_simulate_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`simulate` parses its own options, also when it runs as one of the commands."""
    assert main(["simulate", "--help"]) == 0
    assert "--max-concurrent" in capsys.readouterr().out
    assert main(["simulate", "--port", "x"]) == 2
    assert capsys.readouterr().err == (
        "akapulu-async: argument --port: must be a whole number, not 'x'; see akapulu-async simulate --help\n"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"akapulu-async {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "akapulu-async: Missing command; see akapulu-async --help"),
        (["dance"], "akapulu-async: No such command 'dance'; see akapulu-async --help"),
        (["show", "x\ny"], r"akapulu-async: ID: 'x\\ny' is not a UUID .*; see akapulu-async show --help"),
        (["show", "--wait"], "akapulu-async: No such option: --wait; see akapulu-async show --help"),
        (["load", "--conversations", "x"], "akapulu-async: --conversations: 'x' should be a valid integer.*"),
        (["load", "--conversations", "0"], "akapulu-async: --conversations: '0' should be greater than or .* 1;.*"),
        (["download", "--wait"], "akapulu-async: Option '--wait' requires an argument; see .*"),
    ],
)
def test_bad_use(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """A usage error is one line that points to the help."""
    assert main(arguments) == ExitCode.BAD_USE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(f"{said}\n", captured.err)


async def test_no_terminal_is_no_terminal() -> None:
    """Help and errors are plain text in a pipe, whatever the environment says."""
    forced = dict.fromkeys(("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"), "1")
    for arguments in (["connect", "--help"], ["connect", "--colour"]):
        done = await run(*arguments, environ=forced)
        assert not CONTROL_CODES.search(done.out + done.err)
        assert "╭" not in done.out + done.err
