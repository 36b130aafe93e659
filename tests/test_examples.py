"""The examples, and the code in the README, run as a user runs them."""

# ruff: noqa: S603 - runs Python on what is ours

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from anyio import run_process, to_thread

from akapulu_async.simulator import Fault, Simulator

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
FIRST = ROOT / "examples" / "first_conversation.py"

TRANSCRIPT = """
greeting
  assistant: Hello! I am here to help. How are you today?
  user:      Fine, thanks. I have a question about my order.
  assistant: Gladly. Which order is it about?

lookup
  user:      The one I placed last Tuesday, number 1042.
  assistant: One moment, I am looking it up.
  tool:      {"order_number":"1042","status":"shipped","customer":"Ada"}
"""


def environment(sim: Simulator | None = None, **changes: str) -> dict[str, str]:
    """Return the process's environment, with a simulator as the service or with none."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AKAPULU_")}
    if sim is not None:
        clean |= {"AKAPULU_API_KEY": sim.api_key, "AKAPULU_BASE_URL": sim.base_url}
    return {**clean, "PYTHONWARNINGS": "error", "COLUMNS": "80", **changes}


async def run_python(*arguments: object, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run Python; return its exit code, what it printed, and its errors."""
    done = await run_process([sys.executable, *map(str, arguments)], env=env, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A service 50 times as fast as life, whose calls end with their script."""
    async with Simulator(speed=50, seed=1, ready_time=10, end_with_script=True) as simulator:
        yield simulator


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_simulated(example: Path) -> None:
    """Every example runs with `--simulator` and nothing else."""
    code, out, errors = await run_python(example, "--simulator", env=environment())
    assert (code, errors) == (0, "")
    assert out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_help(example: Path) -> None:
    """Every example tells what it takes."""
    code, out, errors = await run_python(example, "--help", env=environment())
    assert (code, errors) == (0, "")
    assert "--simulator" in out


async def test_first_conversation(sim: Simulator, tmp_path: Path) -> None:
    """It shows each step as a plain line, ends with the transcript, and saves the recording."""
    recording = tmp_path / "call.wav"
    code, out, errors = await run_python(
        FIRST,
        "--scenario",
        uuid4(),
        "--avatar",
        uuid4(),
        "--var",
        "user_name=Ada",
        "--record",
        recording,
        env=environment(sim),
    )
    assert (code, errors) == (0, "")
    assert re.search(r"^\[#* *\] +\d+\.\d %  ", out, re.MULTILINE)
    assert "100.0 %  conversation ended\n" in out
    assert TRANSCRIPT in out
    assert out.endswith(f"The recording is in {recording}.\n")
    assert recording.read_bytes().startswith(b"RIFF")
    assert "https://simulator.daily.co/" in out
    assert [character for character in out if not character.isprintable() and character != "\n"] == []
    assert max(len(line) for line in out.splitlines() if "://" not in line and str(tmp_path) not in line) <= 80


async def test_end_without_an_update() -> None:
    """It takes a conversation that is gone for one that ended."""
    async with Simulator(speed=50, seed=1, ready_time=10, end_with_script=True, after_end="gone") as sim:
        code, out, errors = await run_python(FIRST, "--scenario", uuid4(), "--avatar", uuid4(), env=environment(sim))
    assert (code, errors) == (0, "")
    assert "Goodbye!" in out


BAD_USE = {
    "nothing": ([], "--scenario and --avatar are needed"),
    "no key": (["--scenario", str(uuid4()), "--avatar", str(uuid4())], "AKAPULU_API_KEY"),
    "no id": (["--scenario", "x", "--avatar", str(uuid4())], "scenario_id: 'x'"),
    "a folder that is not there": (["--simulator", "--record", "/nowhere/call.wav"], "/nowhere/call.wav"),
    "a file that is there": (["--simulator", "--record", __file__], "it must be a new file"),
}


@pytest.mark.parametrize("case", BAD_USE)
async def test_bad_use(case: str) -> None:
    """What is wrong is told in a line."""
    arguments, told = BAD_USE[case]
    code, out, errors = await run_python(FIRST, *arguments, env=environment())
    assert code in {1, 2}
    assert out == ""
    assert told in errors
    assert errors.count("\n") == 1


async def test_refused(sim: Simulator) -> None:
    """What the service refuses is told in a line."""
    sim.add_fault(Fault(route="connect", status=401, body={"error": "No.", "error_code": "AUTH_INVALID"}))
    code, _, errors = await run_python(FIRST, "--scenario", uuid4(), "--avatar", uuid4(), env=environment(sim))
    assert code == 1
    assert "AUTH_INVALID" in errors
    assert errors.count("\n") == 1


def interrupt(env: Mapping[str, str]) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, FIRST, "--simulator"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "%" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        return process.returncode, errors


async def test_interrupted() -> None:
    """Ctrl-C ends it with a line."""
    code, errors = await to_thread.run_sync(interrupt, environment())
    assert code == 130
    assert errors == "Stopped. The conversation ends when its participant leaves the room.\n"


def run_on_terminal(arguments: list[str], env: Mapping[str, str]) -> str:
    """Run Python on a terminal of its own, and return what that was sent."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([sys.executable, *arguments], env=env, stdout=theirs, stdin=subprocess.DEVNULL):
            os.close(theirs)
            pieces = []
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError:  # Linux: the other side is closed
                    break
                if not piece:
                    break
                pieces.append(piece)
        return b"".join(pieces).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


async def test_terminal(sim: Simulator) -> None:
    """On a terminal one line is redrawn, is never wider than that, and leaves nothing of what it showed before."""
    out = await to_thread.run_sync(
        run_on_terminal,
        [str(FIRST), "--scenario", str(uuid4()), "--avatar", str(uuid4())],
        environment(sim, COLUMNS="50"),
    )
    redrawn = [text.split("\n")[0] for text in out.split("\r")[1:]]
    assert len(redrawn) > 1
    assert {len(text) for text in redrawn} == {49}
    assert "\x1b" not in out
    assert "Goodbye!" in out


README_BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
PROGRAMS = [block for block in README_BLOCKS if "asyncio.run(" in block]
TESTS = [block for block in README_BLOCKS if "async def test_" in block]


def test_readme_blocks() -> None:
    """The README has a program and a test, and nothing that is neither: both are run below."""
    assert PROGRAMS
    assert TESTS
    assert len(PROGRAMS) + len(TESTS) == len(README_BLOCKS)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_readme_program(program: str, sim: Simulator) -> None:
    """The README's program runs as it stands."""
    code, out, errors = await run_python("-c", program, env=environment(sim))
    assert (code, errors) == (0, "")
    assert "ready" in out
    assert sim.count("connect") == 1


@pytest.mark.parametrize("source", TESTS)
async def test_readme_test(source: str) -> None:
    """The README's tests pass."""
    calls = "\n".join(f"asyncio.run({name}())" for name in re.findall(r"^async def (test_\w+)", source, re.MULTILINE))
    assert await run_python("-c", f"{source}\nimport asyncio\n{calls}", env=environment()) == (0, "", "")
