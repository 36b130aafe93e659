"""The standard streams may be closed, full or without a reader."""

import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.cli.streams import complain, plain
from tests.cli.running import SCRIPT, Done, run

COMMANDS = ["show --simulator", "show --simulator --json", "download --simulator -o -"]


async def shell(line: str) -> Done:
    """Run a line in which `akapulu-async` is this package's."""
    return await run(
        "-c", f'set -o pipefail; akapulu-async() {{ {shlex.quote(SCRIPT)} "$@"; }}; {line}', program="bash"
    )


@pytest.mark.parametrize("command", COMMANDS)
async def test_no_reader(command: str) -> None:
    """A reader that closes the pipe early ends a command with 1, without a word."""
    done = await shell(f"akapulu-async {command} | {shlex.quote(sys.executable)} -c ''")
    assert (done.code, done.err) == (1, "")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_full_disk(command: str) -> None:
    """If stdout cannot be written, a command ends with 1 and says so in one line."""
    done = await shell(f"akapulu-async {command} > /dev/full")
    assert (done.code, done.err) == (1, "akapulu-async: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "2> /dev/full"])
async def test_streams_that_are_not_there(closed: str) -> None:
    """A closed stream, or a stderr that is full, changes neither the exit code nor the other stream."""
    for command, code in (("show --simulator", 0), ("simulate --seed x", 2)):
        done = await shell(f"akapulu-async {command} {closed}")
        expected = (code, bool(code) and "2>" not in closed)
        assert (done.code, bool(done.err)) == expected
        assert "Traceback" not in done.err
        assert bool(done.out) == (code == 0 and ">&-" not in closed.replace("2>&-", ""))


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line on stderr, whatever it quotes."""
    complain("a\nb\x1b[2Jc\u2028d")
    assert capsys.readouterr().err == "akapulu-async: a b [2Jc d\n"


@given(st.text())
def test_plain(text: str) -> None:
    """Control characters are removed; printable characters stay, in order."""
    shown = plain(text)
    assert shown.isprintable()
    assert shown.split() == "".join(letter if letter.isprintable() else " " for letter in text).split()
    assert plain(shown) == shown
