"""The examples and the README's code run as a user runs them.

Quick: each example against its own simulator, one wrong use of each, and the README's backend and tests. The others are
slow: they start many processes, and poll a live conversation every five seconds as users do.
"""

# ruff: noqa: S603 - runs Python on what is ours

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer
from anyio import fail_after, run_process, to_thread

from akapulu_async.simulator import Fault, Simulator

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
FIRST = ROOT / "examples" / "first_conversation.py"
FAN_OUT = ROOT / "examples" / "fan_out.py"

GUARD = 60.0
"""Seconds after which a test gives up."""

pytestmark = pytest.mark.timeout(2 * GUARD)

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

STATES = ["connecting", "room_joined", "bot_ready", "ended (completed)"]


def environment(sim: Simulator | None = None, **changes: str) -> dict[str, str]:
    """Return the environment for a process, with the simulator as its service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AKAPULU_")}
    if sim is not None:
        clean |= {"AKAPULU_API_KEY": sim.api_key, "AKAPULU_BASE_URL": sim.base_url}
    return {**clean, "PYTHONWARNINGS": "error", "COLUMNS": "80", **changes}


async def run_python(*arguments: object, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run Python; return its exit code, output and errors."""
    done = await run_process([sys.executable, *map(str, arguments)], env=env, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """Yield a service at 60 times the speed, whose calls end with their script."""
    async with Simulator(speed=60, seed=1, ready_time=10, end_with_script=True) as simulator:
        yield simulator


examples = pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=example.stem, marks=[] if example == FIRST else [pytest.mark.slow])
        for example in EXAMPLES
    ],
)


@examples
async def test_simulated(example: Path) -> None:
    """Every example runs with `--simulator`."""
    code, out, errors = await run_python(example, "--simulator", "--speed", 60, env=environment())
    assert (code, errors) == (0, "")
    assert out


@examples
async def test_help(example: Path) -> None:
    """Every example has a help text."""
    code, out, errors = await run_python(example, "--help", env=environment())
    assert (code, errors) == (0, "")
    assert "--simulator" in out


@pytest.mark.slow
@pytest.mark.shows_secrets  # the link, which the user opens
async def test_first_conversation(sim: Simulator, tmp_path: Path) -> None:
    """It prints each state and step as a plain line, then the transcript, and saves the recording."""
    recording = tmp_path / "call.mp4"
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
    assert re.search(r"^ +\d+\.\d\d s  \[#* *\] +\d+\.\d %  ", out, re.MULTILINE)
    states = re.findall(r"^ +\d+\.\d\d s  ([a-z_]+.*)$", out, re.MULTILINE)
    assert states == STATES
    assert TRANSCRIPT in out
    assert out.endswith(f"The recording is in {recording}.\n")
    assert recording.read_bytes()[4:8] == b"ftyp"  # an MP4 file
    assert "https://simulator.daily.co/" in out
    assert [character for character in out if not character.isprintable() and character != "\n"] == []
    assert max(len(line) for line in out.splitlines() if "://" not in line and str(tmp_path) not in line) <= 80


@pytest.mark.slow
@pytest.mark.shows_secrets  # the link, which the user opens
async def test_end_without_an_update() -> None:
    """A conversation that is gone has ended, and its transcript is shown."""
    async with Simulator(speed=25, seed=1, ready_time=10, end_with_script=True, after_end="gone") as sim:
        code, out, errors = await run_python(FIRST, "--scenario", uuid4(), "--avatar", uuid4(), env=environment(sim))
    assert (code, errors) == (0, "")
    assert "Goodbye!" in out


IDS = ["--scenario", str(uuid4()), "--avatar", str(uuid4())]

BAD_USE = {
    "nothing": (FIRST, [], "--scenario and --avatar are needed"),
    "no key": (FIRST, IDS, "AKAPULU_API_KEY"),
    "no id": (FIRST, [*IDS[:2], "--avatar", "x"], "avatar_id must be a UUID"),
    "no folder": (FIRST, ["--simulator", "--record", "/nowhere/call.mp4"], "/nowhere/call.mp4"),
    "a file that is there": (FIRST, ["--simulator", "--record", __file__], "it must be a new file"),
    "many of nothing": (FAN_OUT, [], "--scenario and --avatar are needed"),
    "many without a key": (FAN_OUT, IDS, "AKAPULU_API_KEY"),
    "many without an id": (FAN_OUT, [*IDS[:2], "--avatar", "x"], "avatar_id must be a UUID"),
    "no slots": (FAN_OUT, ["--simulator", "--slots", "0"], "0 is less than 1"),
    "no number": (FAN_OUT, ["--simulator", "--conversations", "many"], "invalid number value: 'many'"),
}


QUICK_CASES = {"nothing", "no slots"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in QUICK_CASES else [pytest.mark.slow]) for case in BAD_USE]
)
async def test_bad_use(case: str) -> None:
    """A wrong use gets one line that says what is wrong, after the usage if that helps."""
    example, arguments, told = BAD_USE[case]
    code, out, errors = await run_python(example, *arguments, env=environment())
    assert code in {1, 2}
    assert out == ""
    *usage, line = errors.splitlines()
    assert told in line
    assert len(usage) == errors.startswith("usage: ")


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
async def test_refused(sim: Simulator, status: int) -> None:
    """A refusal by the service gets one line."""
    sim.add_fault(Fault(route="connect", status=status, body={"error": "No.", "error_code": "AUTH_INVALID"}))
    code, _, errors = await run_python(FIRST, *IDS, env=environment(sim))
    assert code == 1
    assert "AUTH_INVALID" in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.shows_secrets  # the link, which the user opens
async def test_failed(sim: Simulator, after: int) -> None:
    """A poll that fails, before or after the bot was ready, never looks like a normal end."""
    sim.add_fault(Fault(route="updates", after=after, times=None, status=401))
    code, out, errors = await run_python(FIRST, *IDS, env=environment(sim))
    assert code == 1
    assert "ended (failed)\n" in out
    assert "Transcript" not in out
    assert "SCRIPTED_FAULT" in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
async def test_fan_out() -> None:
    """It waits for the account's slots, prints a line for each conversation, and a summary."""
    code, out, errors = await run_python(
        FAN_OUT, "--simulator", "--conversations", 8, "--slots", 6, "--account-slots", 4, env=environment()
    )
    assert (code, errors) == (0, "")
    assert len(re.findall(r"^ +\d+ of 8  [0-9a-f]{8}  completed +ready after \d\.\d\d s$", out, re.MULTILINE)) == 8
    assert "\n8 conversations in " in out
    assert re.search(r"^  ended +completed 8$", out, re.MULTILINE)
    ((connects, refused),) = re.findall(
        r"^  connects +(\d+), and (\d+) refused because all slots were taken$", out, re.MULTILINE
    )
    assert int(connects) == 8
    assert int(refused) > 0
    assert [character for character in out if not character.isprintable() and character != "\n"] == []
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
async def test_fan_out_failing(sim: Simulator) -> None:
    """A failure is shown with its conversation and in the exit code; the others continue."""
    sim.add_fault(Fault(route="connect", status=403, body={"error": "No.", "error_code": "FORBIDDEN"}))
    code, out, errors = await run_python(FAN_OUT, *IDS, "--conversations", 3, "--slots", 3, env=environment(sim))
    assert (code, errors) == (1, "")
    assert out.count("FORBIDDEN") == 1
    assert re.search(r"^  ended +completed 2, not started 1$", out, re.MULTILINE)


def interrupt(example: Path, env: Mapping[str, str]) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, example, "--simulator"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "%" in line or "completed" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_interrupted(example: Path) -> None:
    """Ctrl-C ends every example with one line, after those about conversations whose connect was under way."""
    code, errors = await to_thread.run_sync(interrupt, example, environment())
    assert code == 130
    *others, line = errors.splitlines()
    assert line.startswith("Stopped. The conversation")
    assert all("conversation " in other for other in others)


def run_on_terminal(arguments: list[str], env: Mapping[str, str]) -> str:
    """Run Python in a terminal of its own, and return what it wrote there."""
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


@pytest.mark.slow
async def test_terminal(sim: Simulator) -> None:
    """In a terminal one line is redrawn over its full width, and never wider."""
    out = await to_thread.run_sync(run_on_terminal, [str(FIRST), *IDS], environment(sim, COLUMNS="50"))
    redrawn = re.findall(r"\r([^\r\n]*\d %[^\r\n]*)", out)
    assert len(redrawn) > 1
    assert {len(text) for text in redrawn} == {49}
    assert re.findall(r"[\r\n] +\d+\.\d\d s  ([a-z_]+[^\r\n]*)", out) == STATES
    assert "\x1b" not in out
    assert "Goodbye!" in out


class Screen:
    """As much of a terminal as the table uses: text, colours, up, clear the rest of the line or screen."""

    def __init__(self, out: str) -> None:
        self.lines: list[str] = [""]
        self.row = 0
        self.tables: list[list[str]] = []
        for text, up, clear in re.findall(r"([^\x1b]+)|\x1b\[(\d+)A|(\x1b\[J)|\x1b\[[\d;]*[mK]", out):
            if up:
                self.tables.append(self.lines[:])
                self.row -= int(up)
            elif clear:
                del self.lines[self.row + 1 :]
            for piece in re.findall(r"\r|\n|[^\r\n]+", text):
                self.write(piece)

    def write(self, piece: str) -> None:
        if piece == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        else:
            self.lines[self.row] = "" if piece == "\r" else self.lines[self.row] + piece


@pytest.mark.slow
@pytest.mark.parametrize(("no_color", "term"), [("", "xterm"), ("1", "xterm"), ("", "dumb")])
async def test_table(no_color: str, term: str) -> None:
    """In a terminal the table is redrawn in place, fits, and has colours unless the user wants none."""
    env = environment(COLUMNS="60", LINES="16", NO_COLOR=no_color, TERM=term)
    arguments = ["--simulator", "--conversations", "12", "--slots", "12"]
    out = await to_thread.run_sync(run_on_terminal, [str(FAN_OUT), *arguments], env)
    assert re.search(r"^  ended +completed 12$", out, re.MULTILINE)
    if term == "dumb":
        assert "\x1b" not in out
        return
    assert bool(re.search(r"\x1b\[\d+m", out)) is not bool(no_color)
    screen = Screen(out)
    assert len(screen.tables) > 5
    assert max(len(table) for table in screen.tables) <= 1 + 16  # the line above the table, and the cursor's
    assert max(len(line) for table in screen.tables for line in table[1:]) < 60
    assert any("more" in line for line in screen.tables[3])
    assert [line for line in screen.lines if line.startswith("  ended  ")] == [
        f"  ended          12  {'#' * 12}",
        "  ended            completed 12",
    ]


README_BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
PROGRAMS = [block for block in README_BLOCKS if "asyncio.run(" in block]
BACKENDS = [block for block in README_BLOCKS if "web.Application(" in block]
TESTS = [block for block in README_BLOCKS if "async def test_" in block]


def test_readme_blocks() -> None:
    """Every block of the README is a program, a web backend or a test, and so is run below."""
    assert PROGRAMS
    assert BACKENDS
    assert TESTS
    assert len(PROGRAMS) + len(BACKENDS) + len(TESTS) == len(README_BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.shows_secrets  # the link, which the user opens
async def test_readme_program(program: str, sim: Simulator) -> None:
    """The README's programs run as they are, with fewer conversations."""
    code, out, errors = await run_python("-c", program.replace("range(50)", "range(3)"), env=environment(sim))
    assert (code, errors) == (0, "")
    connects = 3 if "range(50)" in program else 1
    assert len(re.findall(r"ready after \d\.\d s", out)) == connects
    assert sim.count("connect") == connects


@pytest.mark.parametrize("source", BACKENDS)
async def test_readme_backend(source: str, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's web backend starts a conversation, which outlives the request, and reports its state."""
    monkeypatch.setenv("AKAPULU_API_KEY", sim.api_key)
    monkeypatch.setenv("AKAPULU_BASE_URL", sim.base_url)
    (tmp_path / "backend.py").write_text(source, "utf-8")
    app = runpy.run_path(str(tmp_path / "backend.py"))["app"]
    async with TestClient(TestServer(app)) as browser:
        async with browser.post("/connect") as answer:
            started = await answer.json()
        assert set(started) == {"conversation_session_id", "room_url", "token"}
        ready = False
        with fail_after(GUARD):
            while not ready:
                params = {"conversation_session_id": started["conversation_session_id"]}
                async with browser.get("/updates", params=params) as answer:
                    ready = (await answer.json())["call_is_ready"]
        for params, status in ({}, 400), ({"conversation_session_id": str(uuid4())}, 404):
            async with browser.get("/updates", params=params) as answer:
                assert answer.status == status
                assert "error" in await answer.json()
    assert sim.count("connect") == 1


@pytest.mark.parametrize("source", TESTS)
async def test_readme_test(source: str) -> None:
    """The README's tests pass."""
    calls = "\n".join(f"asyncio.run({name}())" for name in re.findall(r"^async def (test_\w+)", source, re.MULTILINE))
    assert await run_python("-c", f"{source}\nimport asyncio\n{calls}", env=environment()) == (0, "", "")
