"""`load` load-tests the service from the command line."""

import asyncio
import csv
import gc
import json
import os
import platform
import re
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from akapulu_async import AkapuluClient, __version__
from akapulu_async.cli import load as load_command
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.target import Target
from akapulu_async.load.calls import CallObserver
from akapulu_async.load.plan import LoadPlan
from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import (
    CONTROL_CODES,
    HANG,
    ID,
    IDS,
    SCRIPT,
    as_read,
    connecting,
    reaching,
    rest_of,
    run,
    running,
    terminal,
)
from tests.support.managed import crowded
from tests.support.misbehaving import REQUEST

NOBODY = {"AKAPULU_API_KEY": "k", "AKAPULU_BASE_URL": "http://127.0.0.1:1"}
BASH = shutil.which("bash") or "bash"
QUICK = ("--hold", "0", "--poll-interval", "0.02")
SMALL = ("--conversations", "6", "--concurrency", "3", "--ramp", "0", *QUICK, *IDS)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A service whose bots are ready after a twentieth of a second."""
    async with Simulator(speed=100, seed=1, ready_time=5.0) as sim:
        yield sim


async def test_the_figures_of_a_test(sim: Simulator) -> None:
    """It ends with 0 and shows its figures in plain lines, without the key."""
    done = await run("load", *SMALL, sim=sim)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("6 conversations, 3 at once: took ")
    rows = [" ".join(line.split()) for line in done.out.splitlines()]
    assert rows[2:6] == ["conversations 6 100.00%", "connected 6 100.00%", "ready 6 100.00%", "failed 0 0.00%"]
    assert rows[7] == "seconds mean p50 p90 p95 p99 max"
    assert not CONTROL_CODES.search(done.out)
    assert max(map(len, done.out.splitlines())) <= 80
    assert sim.api_key not in done.out
    assert len(sim.conversations) == 6


async def test_scripts_get_one_object(sim: Simulator) -> None:
    """With --json, stdout has one object whose figures agree with the service, and stderr is empty."""
    sim.add_fault(Fault(route="connect", status=500, times=2))
    done = await run("load", *SMALL, "--json", "--fail-if", "failures>5", "--fail-if", "ready_p50>60", sim=sim)
    assert (done.code, done.err) == (0, "")
    (told,) = done.objects
    assert told["figures"]["conversations"] == 6
    assert told["figures"]["connected"] == told["figures"]["ready"] == len(sim.conversations) == 4
    assert told["failures"] == {"ConnectOutcomeUnknownError 500": 2}
    assert told["figures"]["failure_rate"] == pytest.approx(1 / 3)
    assert told["figures"]["ready_p50"] >= 0.05
    assert told["settings"]["service"] == sim.base_url
    assert told["thresholds"] == [
        {"threshold": "failures>5", "value": 2, "unit": "", "crossed": False},
        {"threshold": "ready_p50>60", "value": told["figures"]["ready_p50"], "unit": "s", "crossed": False},
    ]


async def test_a_crossed_threshold_has_a_code_of_its_own(sim: Simulator) -> None:
    """If a threshold is crossed, the exit code says so, and the summary says which."""
    done = await run("load", *SMALL, "--fail-if", "ready_p99>600", "--fail-if", "ready_p50>=0.01", sim=sim)
    assert done.code == 9
    assert re.search(r"^PASS ready_p99 [\d.]+ s <= 600 s$", done.out, re.MULTILINE)
    assert re.search(r"^FAIL ready_p50 [\d.]+ s >= 0.01 s$", done.out, re.MULTILINE)


async def test_nothing_ready_is_a_failure(sim: Simulator) -> None:
    """If no conversation becomes ready, the test fails, and thresholds on readiness are crossed."""
    sim.add_fault(Fault(route="connect", status=401, body={"error_code": "AUTH_INVALID"}, times=None))
    done = await run("load", *SMALL, sim=sim)
    assert done.code == 1
    assert "AuthenticationError 401" in done.out
    done = await run("load", *SMALL, "--fail-if", "ready_p50>5", sim=sim)
    assert done.code == 9


async def test_refused_connects_are_retried_by_default(sim: Simulator) -> None:
    """A connect refused with 503 is retried; with --no-retries it is a failure."""
    sim.add_fault(Fault(route="connect", status=503, times=1))
    done = await run("load", *SMALL, "--json", sim=sim)
    assert done.objects[0]["failures"] == {}
    sim.add_fault(Fault(route="connect", status=503, times=1))
    done = await run("load", *SMALL, "--json", "--no-retries", sim=sim)
    assert done.objects[0]["failures"] == {"ServerError 503": 1}


async def test_requests_come_from_a_file(sim: Simulator, tmp_path: Path) -> None:
    """The requests of a file are used in turns, with their variables."""
    path = tmp_path / "requests.jsonl"
    lines = [{"scenario": ID, "avatar": ID, "variables": {"name": name}} for name in ("Ada", "Grace")]
    path.write_text("\n".join(map(json.dumps, lines)))
    done = await run("load", "--requests", path, "--conversations", 5, "--concurrency", 1, *QUICK, sim=sim)
    assert done.code == 0
    names = [each.request.raw["runtime_vars"]["name"] for each in sim.conversations.values()]
    assert names == ["Ada", "Grace", "Ada", "Grace", "Ada"]


async def test_files_are_written(sim: Simulator, tmp_path: Path) -> None:
    """The report is a page, the CSV has a row per attempt, and their paths are printed on stderr."""
    page, rows = tmp_path / "load.html", tmp_path / "load.csv"
    done = await run("load", *SMALL, "--report", page, "--csv", rows, sim=sim)
    assert done.code == 0
    assert done.err == f"attempts: {rows}\nreport: {page}\n"
    assert "6 conversations, 3 at once" in page.read_text(encoding="utf-8")
    with rows.open(encoding="utf-8", newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == list("012345")


def quoted(*arguments: object) -> str:
    return shlex.join(map(str, arguments))


@pytest.mark.parametrize(
    "into",
    [
        "> /dev/full 2>&1",
        "2>&1 | true",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("> /dev/full", "2> /dev/full", "| true")),
        pytest.param("--json > /dev/full", marks=pytest.mark.slow),
    ],
)
async def test_no_output_that_fails_loses_a_file(sim: Simulator, tmp_path: Path, into: str) -> None:
    """Files are written whatever becomes of stdout and stderr; the exit code tells if figures were lost."""
    page, rows = tmp_path / "load.html", tmp_path / "load.csv"
    command = quoted(SCRIPT, "load", *SMALL, "--report", page, "--csv", rows)
    # `true` is gone long before the test is over.
    done = await run("-c", f"{command} {into}; exit ${{PIPESTATUS[0]}}", sim=sim, program=BASH)
    assert done.code == (0 if into.startswith("2> ") else 1), done.err
    assert "Traceback" not in done.err
    assert page.read_text(encoding="utf-8").endswith("</html>\n")
    assert rows.read_text(encoding="utf-8").count("\n") == 7


async def test_a_crossed_threshold_shows_in_the_code_of_a_lost_output(sim: Simulator) -> None:
    """If the test has an exit code of its own, a lost output does not hide it."""
    command = quoted(SCRIPT, "load", *SMALL, "--fail-if", "conversations>0")
    done = await run("-c", f"{command} > /dev/full", sim=sim, program=BASH)
    assert done.code == 9
    assert done.err == "akapulu-async: the figures: No space left on device\n"


async def test_a_file_that_cannot_be_written_loses_nothing_else(sim: Simulator, tmp_path: Path) -> None:
    """A full disk is one line on stderr with code 1; the other file and the figures are there."""
    rows = tmp_path / "load.csv"
    done = await run("load", *SMALL, "--report", "/dev/full", "--csv", rows, sim=sim)
    assert done.code == 1
    assert done.out.startswith("6 conversations, 3 at once: took ")
    assert done.err == f"attempts: {rows}\nakapulu-async: report /dev/full: No space left on device\n"
    assert rows.exists()


async def test_a_terminal_that_closes_ends_it_with_its_files(sim: Simulator, tmp_path: Path) -> None:
    """SIGHUP, which comes more than once, ends the test like Ctrl-C: the files are written."""
    page = tmp_path / "load.html"
    options = ("--duration", "600", "--concurrency", "3", "--ramp", "0", "--hold", "600", "--poll-interval", "0.02")
    async with running("load", *options, "--report", page, *IDS, sim=sim) as process:
        await sim.wait_for_request("updates", count=3, timeout=HANG)
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        done = await rest_of(process)
    assert done.code == 130
    assert "; interrupted." in page.read_text(encoding="utf-8")


async def test_an_earlier_test_is_laid_beside(sim: Simulator, tmp_path: Path) -> None:
    """The output of --json is what --compare reads, for the terminal and for the page."""
    earlier, page = tmp_path / "earlier.json", tmp_path / "load.html"
    done = await run("load", *SMALL, "--json", sim=sim)
    earlier.write_text(done.out)
    done = await run("load", *SMALL, "--compare", earlier, "--report", page, sim=sim)
    assert done.code == 0
    heading = f"6 conversations, 3 at once, {json.loads(earlier.read_text())['started_at'][:10]}"
    assert f"compared with {heading}" in done.out
    assert f"Earlier: {heading}" in page.read_text(encoding="utf-8")


async def test_the_report_has_what_repeats_the_test(sim: Simulator, tmp_path: Path) -> None:
    """The page has the command line, the host, the versions and the seed, but not the key."""
    page = tmp_path / "load.html"
    await run("load", *SMALL, "--seed", 7, "--report", page, sim=sim)
    text = page.read_text(encoding="utf-8")
    for part in (
        f"akapulu-async load {quoted(*SMALL)} --seed 7 --report",
        f"CPython {platform.python_version()}",
        f"akapulu_async {__version__}",
        platform.node(),
    ):
        assert part in text
    assert sim.api_key not in text


async def test_a_signal_during_the_clean_up_loses_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a signal comes when the test is over and its client is being closed, the result is returned."""
    async with crowded(observers=[CallObserver()]) as service:
        service.crowd.ready = True

        @asynccontextmanager
        async def client(_: Target, **__: Any) -> AsyncIterator[AkapuluClient]:
            yield service.client
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        monkeypatch.setattr(load_command, "_client", client)
        plan = LoadPlan(conversations=3, concurrency=3, hold=0.0, poll_interval=0.01)
        target, screen = Target(base_url=service.client.base_url), Screen(json=True)
        task = asyncio.create_task(load_command._run(plan, target, repeat(REQUEST), screen, retries=True))
        try:
            assert (await task).ready.count == 3
        finally:
            gc.unfreeze()


WATCHED = """
import sys
from akapulu_async.__main__ import main
from akapulu_async.load import runner

class Watched(runner.Recorder):
    def __init__(self):
        super().__init__()
        self.before = set(sys.modules)

    def close(self):
        super().close()
        print("imported:", sorted(set(sys.modules) - self.before), flush=True)

runner.Recorder = Watched
sys.exit(main(["load", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("in_terminal", [False, True])
async def test_nothing_is_imported_during_the_run(sim: Simulator, in_terminal: bool) -> None:
    """All modules are imported before the test: an import stops the event loop, whose lag is measured."""
    command = [sys.executable, "-c", WATCHED, *map(str, SMALL)]
    if in_terminal:  # what forks the commands of tests has imported everything
        program = f"import os; os.execv({sys.executable!r}, {command!r})"
        async with terminal(sim=sim, program=program) as screen:
            assert await screen.end() == 0
            out = screen.shown
    else:
        out = (await run(*command[1:], sim=sim, program=sys.executable)).out
    assert "imported: []" in out


async def test_ctrl_c_ends_it_with_the_figures_so_far(sim: Simulator, tmp_path: Path) -> None:
    """The first Ctrl-C ends the test; the figures so far are shown and written, and marked as interrupted."""
    page = tmp_path / "load.html"
    options = ("--duration", "600", "--concurrency", "3", "--ramp", "0", "--hold", "600", "--poll-interval", "0.02")
    async with running("load", *options, "--report", page, *IDS, sim=sim) as process:
        await sim.wait_for_request("updates", count=3, timeout=HANG)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert done.code == 130
    assert done.out.startswith("conversations, 3 at once, for 600 s: took ")
    assert "Warning: The test was interrupted" in done.out
    assert "Traceback" not in done.err
    assert page.exists()


async def test_an_interrupt_reports_the_slots_that_are_still_held() -> None:
    """Conversations that were connected during the interrupt hold slots, which is one warning with their number."""
    options = ("--conversations", 3, "--concurrency", 3, "--ramp", 0, "--json")
    async with crowded() as service:
        service.crowd.gate.clear()
        async with running("load", *options, *IDS, environ=reaching(service)) as process:
            await connecting(service, 3)
            process.send_signal(signal.SIGINT)  # delivered before the answers, so it is handled first
            service.crowd.gate.set()
            done = await rest_of(process)
    assert (done.code, done.err) == (130, "")
    held = re.compile(r"conversation [0-9a-f-]{36} .* \(the same of 2 other conversations\)\.")
    assert [warning for warning in done.objects[0]["warnings"] if held.fullmatch(warning)]
    assert (done.objects[0]["figures"]["interrupted"], done.objects[0]["failures"]) == (3, {})


async def test_the_second_ctrl_c_leaves_at_once(sim: Simulator) -> None:
    """While the test is being ended, another signal ends the process at once, without figures."""
    sim.add_fault(Fault(route="connect", delay=60.0, times=None))  # a connect in flight is waited for
    async with running("load", "--conversations", 3, "--concurrency", 3, "--ramp", 0, *IDS, sim=sim) as process:
        await sim.wait_for_request("connect", count=3, timeout=HANG)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        done = await rest_of(process)
    assert (done.code, done.out) == (130, "")


async def test_a_terminal_shows_it_live() -> None:
    """In a terminal the view is redrawn until the summary replaces it; the simulator is a process of its own."""
    options = ("--conversations", 12, "--rate", 12, "--hold", 1e6, "--poll-interval", 0.1)
    async with terminal("load", "--simulator", "--speed", 50, *options) as screen:
        await screen.expect("12 of 12 due")
        await screen.expect("time to ready: ")
        await screen.expect(r"\d+%  about .* left")
        screen.type("\x03")
        assert await screen.end() == 130
    shown = as_read(screen.shown)
    for name in ("waiting", "connecting", "room_joined", "bot_ready", "polls/s", "took", "own arrivals' lag"):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--concurrency", "3", *IDS), "--conversations or --duration is required"),
        (("--conversations", "3", *IDS), "--rate (conversations per second) or --concurrency (at once) is required"),
        (
            ("--conversations", "0", "--concurrency", "3", *IDS),
            "--conversations: '0' should be greater than or equal to 1",
        ),
        (("--rate", "fast", "--duration", "3", *IDS), "--rate: 'fast' is not a number greater than 0"),
        (("--rate", "3", "--ramp", "2", "--duration", "3", *IDS), "--ramp 2 cannot be combined with --rate"),
        (("--hold", "-1", *SMALL[:4], *IDS), "--hold: '-1' is not a number of seconds, 0 or more"),
        (("--hold", "soon", *SMALL[:4], *IDS), "--hold: 'soon' is not a number of seconds, 0 or more"),
        (("--arrivals", "weekly", "--rate", "3", "--duration", "3", *IDS), "--arrivals: 'weekly' is not one of"),
        (SMALL[:4], "--scenario is missing"),
        ((*SMALL[:4], "--scenario", ID), "--avatar is missing"),
        ((*SMALL, "--requests", "x"), "--requests x cannot be combined with --scenario or --avatar"),
        ((*SMALL[:4], "--requests", "no/file"), "--requests no/file: No such file"),
        ((*SMALL, "--fail-if", "ready_p95=20"), "--fail-if: 'ready_p95=20': must be a figure, one of"),
        ((*SMALL, "--fail-if", "ready>x"), "--fail-if: 'ready>x': x is not a number"),
        ((*SMALL, "--report", "no/folder/x.html"), "--report no/folder/x.html: there is no folder no/folder"),
        ((*SMALL, "--csv", "/"), "--csv /: must be a file, not a folder"),
        ((*SMALL, "--compare", "no/file"), "--compare no/file: No such file"),
        ((*SMALL, "--compare", os.devnull), f"--compare {os.devnull}: it is not the output of load --json"),
        ((*SMALL, "--simulator", "--base-url", "http://localhost:1"), "cannot be combined with --simulator"),
    ],
)
async def test_bad_input_is_one_line(sim: Simulator, arguments: Any, said: str) -> None:
    """Bad input is one line on stderr with code 2, before anything is sent."""
    done = await run("load", *arguments, sim=sim)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert sim.count() == 0


async def test_an_unreachable_service_is_a_cause_of_failure() -> None:
    """If the service is unreachable, each attempt fails with that cause."""
    done = await run("load", *SMALL, "--no-retries", "--json", environ=NOBODY)
    assert done.code == 1
    assert done.objects[0]["failures"] == {"TransportError": 6}
