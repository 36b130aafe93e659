"""`load` puts a load on the service, from the command line."""

import csv
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import CONTROL_CODES, ID, IDS, as_read, rest_of, run, running, terminal

NOBODY = {"AKAPULU_API_KEY": "k", "AKAPULU_BASE_URL": "http://127.0.0.1:1"}
QUICK = ("--hold", "0", "--poll-interval", "0.02")
SMALL = ("--conversations", "6", "--concurrency", "3", "--ramp", "0", *QUICK, *IDS)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A service in which bots are ready after a twentieth of a second."""
    async with Simulator(speed=100, seed=1, ready_time=5.0) as sim:
        yield sim


async def test_the_figures_of_a_test(sim: Simulator) -> None:
    """It ends by itself, with 0, and shows what it measured in plain lines; the key is nowhere."""
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
    """With --json, stdout has one object and stderr nothing; its figures are those of what the service saw."""
    sim.add_fault(Fault(route="connect", status=500, times=2))
    done = await run("load", *SMALL, "--json", "--fail-if", "failures>5", "--fail-if", "ready_p50>60", sim=sim)
    assert (done.code, done.err) == (0, "")
    (told,) = done.objects
    assert told["figures"]["conversations"] == 6
    assert told["figures"]["connected"] == told["figures"]["ready"] == len(sim.conversations) == 4
    assert told["failures"] == {"ServerError 500": 2}
    assert told["figures"]["failure_rate"] == pytest.approx(1 / 3)
    assert 0.05 <= told["figures"]["ready_p50"] < 1
    assert told["settings"]["service"] == sim.base_url
    assert told["thresholds"] == [
        {"threshold": "failures>5", "value": 2, "crossed": False},
        {"threshold": "ready_p50>60", "value": told["figures"]["ready_p50"], "crossed": False},
    ]


async def test_a_crossed_threshold_has_a_code_of_its_own(sim: Simulator) -> None:
    """If any threshold is crossed, the exit code says so, and the summary which."""
    done = await run("load", *SMALL, "--fail-if", "ready_p99>60", "--fail-if", "ready_p50>=0.01", sim=sim)
    assert done.code == 9
    assert "ready_p99>60: kept, it is 0." in done.out
    assert "ready_p50>=0.01: crossed, it is 0." in done.out


async def test_nothing_ready_is_a_failure(sim: Simulator) -> None:
    """If no conversation gets ready, the test has failed; a threshold on readiness is crossed then."""
    sim.add_fault(Fault(route="connect", status=401, body={"error_code": "AUTH_INVALID"}, times=None))
    done = await run("load", *SMALL, sim=sim)
    assert done.code == 1
    assert "AuthenticationError 401" in done.out
    done = await run("load", *SMALL, "--fail-if", "ready_p50>5", sim=sim)
    assert done.code == 9


async def test_refusals_before_any_work_are_tried_again_unless_told_otherwise(sim: Simulator) -> None:
    """A 503 on a connect is borne as the library bears it; with --no-retries it is a failure."""
    sim.add_fault(Fault(route="connect", status=503, times=1))
    done = await run("load", *SMALL, "--json", sim=sim)
    assert done.objects[0]["failures"] == {}
    sim.add_fault(Fault(route="connect", status=503, times=1))
    done = await run("load", *SMALL, "--json", "--no-retries", sim=sim)
    assert done.objects[0]["failures"] == {"ServerError 503": 1}


async def test_requests_come_from_a_file(sim: Simulator, tmp_path: Path) -> None:
    """The lines of a file are connected in turns, with their variables."""
    path = tmp_path / "requests.jsonl"
    lines = [{"scenario": ID, "avatar": ID, "variables": {"name": name}} for name in ("Ada", "Grace")]
    path.write_text("\n".join(map(json.dumps, lines)))
    done = await run("load", "--requests", path, "--conversations", 5, "--concurrency", 1, *QUICK, sim=sim)
    assert done.code == 0
    names = [each.request.raw["runtime_vars"]["name"] for each in sim.conversations.values()]
    assert names == ["Ada", "Grace", "Ada", "Grace", "Ada"]


async def test_files_are_written(sim: Simulator, tmp_path: Path) -> None:
    """The report is a page, and the CSV has a row an attempt; where they are is told on stderr."""
    page, rows = tmp_path / "load.html", tmp_path / "load.csv"
    done = await run("load", *SMALL, "--report", page, "--csv", rows, sim=sim)
    assert done.code == 0
    assert done.err == f"attempts: {rows}\nreport: {page}\n"
    assert "6 conversations, 3 at once" in page.read_text(encoding="utf-8")
    with rows.open(encoding="utf-8", newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == list("012345")


async def test_ctrl_c_ends_it_with_the_figures_so_far(sim: Simulator, tmp_path: Path) -> None:
    """The first Ctrl-C ends what runs; what was measured is shown and written, and said to be interrupted."""
    page = tmp_path / "load.html"
    options = ("--duration", "600", "--concurrency", "3", "--ramp", "0", "--hold", "600", "--poll-interval", "0.02")
    async with running("load", *options, "--report", page, *IDS, sim=sim) as process:
        await sim.wait_for_request("updates", count=3)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert done.code == 130
    assert done.out.startswith("conversations, 3 at once, for 600 s: took ")
    assert "! It was interrupted: what ran was ended" in done.out
    assert "Traceback" not in done.err
    assert page.exists()


async def test_what_an_interrupt_leaves_behind_is_told_once(sim: Simulator) -> None:
    """Conversations that were connected while the test was broken off hold slots: that is one warning with a number."""
    sim.add_fault(Fault(route="connect", delay=1.0, times=None))
    options = ("--conversations", 3, "--concurrency", 3, "--ramp", 0, "--json")
    async with running("load", *options, *IDS, sim=sim) as process:
        await sim.wait_for_request("connect", count=3)
        process.send_signal(signal.SIGINT)
        done = await rest_of(process)
    assert (done.code, done.err) == (130, "")
    (left,) = [warning for warning in done.objects[0]["warnings"] if "holds a slot" in warning]
    assert left.endswith(" (3 times).")


async def test_the_second_ctrl_c_leaves_at_once(sim: Simulator) -> None:
    """While what runs is being ended, another Ctrl-C ends the process on the spot, without figures."""
    sim.add_fault(Fault(route="connect", delay=60.0, times=None))  # a connect that is on its way is waited for, 5 s
    async with running("load", "--conversations", 3, "--concurrency", 3, "--ramp", 0, *IDS, sim=sim) as process:
        await sim.wait_for_request("connect", count=3)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        done = await rest_of(process)
    assert (done.code, done.out) == (130, "")


async def test_a_terminal_shows_it_live() -> None:
    """In a terminal the view is drawn anew until it gives way to the summary; the simulator is its own."""
    options = (
        "--simulator",
        "--speed",
        "20",
        "--conversations",
        "12",
        "--rate",
        "12",
        "--hold",
        "0.5",
        "--poll-interval",
        "0.1",
    )
    async with terminal("load", *options) as screen:
        await screen.expect("of 12 due")
        await screen.expect("time to ready: ")
        code = await screen.end()
    assert code == 0
    shown = as_read(screen.shown)
    for name in ("waiting", "connecting", "room_joined", "bot_ready", "polls/s", "took", "own arrivals' lag"):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--concurrency", "3", *IDS), "--conversations or --duration: one of them is wanted"),
        (("--conversations", "3", *IDS), "--rate or --concurrency: one of them is wanted"),
        (
            ("--conversations", "0", "--concurrency", "3", *IDS),
            "--conversations: '0' should be greater than or equal to 1",
        ),
        (("--rate", "fast", "--duration", "3", *IDS), "--rate: 'fast' is not a number greater than 0"),
        (("--rate", "3", "--ramp", "2", "--duration", "3", *IDS), "--ramp 2: not with --rate"),
        (("--hold", "-1", *SMALL[:4], *IDS), "--hold: '-1' is not a number of seconds, 0 or more"),
        (("--hold", "soon", *SMALL[:4], *IDS), "--hold: 'soon' is not a number of seconds, 0 or more"),
        (("--arrivals", "weekly", "--rate", "3", "--duration", "3", *IDS), "--arrivals: 'weekly' is not one of"),
        (SMALL[:4], "--scenario: it is missing"),
        ((*SMALL[:4], "--scenario", ID), "--avatar: it is missing"),
        ((*SMALL, "--requests", "x"), "--requests x: not with --scenario or --avatar"),
        ((*SMALL[:4], "--requests", "no/file"), "--requests no/file: No such file"),
        ((*SMALL, "--fail-if", "ready_p95=20"), "--fail-if: 'ready_p95=20': wanted is a figure, one of"),
        ((*SMALL, "--fail-if", "ready>x"), "--fail-if: 'ready>x': x is no number"),
        ((*SMALL, "--report", "no/folder/x.html"), "--report no/folder/x.html: there is no folder no/folder"),
        ((*SMALL, "--csv", "/"), "--csv /: it is a folder; a file is wanted"),
        ((*SMALL, "--simulator", "--base-url", "http://localhost:1"), "not with --simulator"),
    ],
)
async def test_bad_input_is_one_line(sim: Simulator, arguments: Any, said: str) -> None:
    """What cannot be used is told in one line on stderr, with the code for it, before anything is sent."""
    done = await run("load", *arguments, sim=sim)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert sim.count() == 0


async def test_a_service_that_is_not_there_is_a_cause_like_others() -> None:
    """If nobody answers, each attempt failed by that."""
    done = await run("load", *SMALL, "--no-retries", "--json", environ=NOBODY)
    assert done.code == 1
    assert done.objects[0]["failures"] == {"TransportError": 6}
