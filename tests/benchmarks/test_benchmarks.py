"""The benchmarks run, and their figures hang together: how good they are is not tested."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from anyio import run_process

pytestmark = pytest.mark.timeout(120)  # where others take the processor

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# What is measured is not traced for the coverage.
ENV = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


async def run(name: str, *arguments: str, errors: bytes = b"") -> str:
    done = await run_process([sys.executable, str(BENCHMARKS / name), *arguments], env=ENV)
    assert done.stderr == errors
    return done.stdout.decode()


async def test_manager() -> None:
    """A few sessions: everything is delivered, and nothing is left."""
    # Over 5 s: it runs what it measures twice, and a server in a process of its own.
    (figures,) = json.loads(await run("manager.py", "--sessions", "20", "--seconds", "1", "--json"))["sizes"]
    assert figures["sessions"] == 20
    assert figures["transitions"] == 80
    assert [figures[name] for name in ("transitions_missing", "sessions_left", "tasks_left")] == [0, 0, 0]
    assert figures["ready_p50"] <= figures["ready_p99"]
    assert figures["polls_per_second"] > 0


async def test_polling(tmp_path: Path) -> None:
    """A few sessions a case: the policy as shipped keeps its bars, which no clock can break, and the chart is drawn."""
    # It may take over 5 s: a hundred and thirty cases, and the library that draws.
    chart = tmp_path / "charts" / "polling.html"
    arguments = ("--sessions", "300", "--processes", "2", "--chart", str(chart), "--json")
    figures = json.loads(await run("polling.py", *arguments))
    assert len(figures["bars"]) == 10
    assert [bar for bar in figures["bars"] if not bar["kept"] or bar["is"] > bar["at_most"]] == []
    for row in figures["rows"]:
        assert 0 < row["p95"] <= row["p99"] <= row["longest"]
        assert row["mean"] < row["p99"]
        assert row["requests"] > 1
    page, drawn = chart.read_text("utf-8"), {row["policy"] for row in figures["rows"] if row["table"] == "curves"}
    assert len(drawn) == 5
    assert [policy for policy in drawn if f'"name":"{policy}"' not in page] == []


async def test_poll() -> None:
    """A few conversations polled by either client, plain, encrypted and on uvloop: each is measured in each case."""
    # Over 5 s: each client is measured in a process of its own in each case.
    figures = json.loads(await run("poll.py", "--quick", "--json", errors=b"round 1 of 1\n"))
    assert [(row["scheme"], row["loop"]) for row in figures["polls"]] == [
        ("http", "asyncio"),
        ("https", "asyncio"),
        ("http", "uvloop"),
    ]
    for row in figures["polls"]:
        assert row["ratio"] == pytest.approx(row["akapulu_async_us"] / row["yardstick_us"])
    assert {"cpu", "python", "aiohttp"} <= figures["machine"].keys()


async def test_layer(tmp_path: Path) -> None:
    """A few rounds without I/O: every poll has its event. With a file for the JSON, the table is printed, too."""
    told = tmp_path / "new" / "layer.json"
    table = await run("layer.py", "--rounds", "2", "--seconds", "0.05", "--json", str(told))
    figures = json.loads(told.read_text("utf-8"))
    assert 0 < figures["best_us"] <= figures["median_us"]
    assert {"cpu", "python", "aiohttp"} <= figures["machine"].keys()
    assert f"best {figures['best_us']:.1f} us" in table
    assert f"aiohttp {figures['machine']['aiohttp']}" in table


async def test_sustained() -> None:
    """A few sessions for a moment: about as many polls as are due."""
    # Over 5 s: the polls get into their pace for two seconds, and two processes start.
    (figures,) = json.loads(await run("sustained.py", "--sessions", "20", "--seconds", "1", "--json"))["rows"]
    assert figures["sessions"] == 20
    assert 0.5 < figures["share_on_time"] < 1.5


async def test_growth() -> None:
    """A few sessions for a moment: about as many polls as are due."""
    # It may take over 5 s: the polls get into their pace for two seconds, and three processes start.
    arguments = ("--sessions", "10", "--polls", "100", "--seconds", "1", "--json")
    told = await run("growth.py", *arguments, errors=b"measuring 10 sessions\n")
    (figures,) = json.loads(told)["rows"]
    assert 50 < figures["polls_per_second"] < 150
    assert figures["microseconds"] > 0


async def test_imports() -> None:
    """Two imports of either."""
    figures = json.loads(await run("imports.py", "--quick", "--json"))
    assert figures["bar"] is None
    assert 0 < figures["libraries_ms"]["low"] <= figures["libraries_ms"]["median"] <= figures["libraries_ms"]["high"]
    assert figures["ratio"]["median"] > 0


async def test_download() -> None:
    """Two small downloads by either, whose bytes are compared."""
    figures = json.loads(await run("download.py", "--quick", "--json"))
    assert (figures["mebibytes"], figures["rounds"], figures["bar"]) == (8, 2, None)
    assert figures["akapulu_async_speed"]["low"] > 0
    assert ("ratio" in figures) == (shutil.which("curl") is not None)


async def test_simulator() -> None:
    """A few polls."""
    arguments = ("--seconds", "0.2", "--conversations", "5", "--connections", "2", "--json")
    figures = json.loads(await run("simulator.py", *arguments))
    assert figures["open conversations"] == 5
    assert figures["requests"] > 0


async def soak(page: Path, *arguments: str, enough: Callable[["CompletedProcess[bytes]"], object]) -> Any:
    """Soak for some seconds, or for longer where other tests leave little of the machine, so that little happens."""
    usual = (str(BENCHMARKS / "soak.py"), "--sessions", "100", "--speed", "50", "--json", "--page", str(page))
    for minutes in ("0.06", "0.4"):
        done = await run_process([sys.executable, *usual, *arguments, "--minutes", minutes], env=ENV, check=False)
        if enough(done):
            break
    return done


async def test_soak(tmp_path: Path) -> None:
    """A few seconds: sessions turn over, nothing grows and nothing is left, and the charts are drawn."""
    # It takes over 5 s: a server in a process of its own, and the library that draws.
    done = await soak(tmp_path / "charts" / "soak.html", enough=lambda done: done.stdout)
    assert done.stdout, done.stderr.decode()
    found = json.loads(done.stdout)
    # In so short a time, the lag is that of a machine with other tests to run.
    assert [problem for problem in found["problems"] if not problem.startswith("loop lag")] == []
    assert done.returncode == (1 if found["problems"] else 0)
    assert found["left"] == {"sessions": 0, "tasks": 0, "file descriptors": 0}
    assert found["outcomes"].keys() == {"well", "LookupError", "TimeoutError"}
    assert sum(found["outcomes"].values()) > 100
    page = (tmp_path / "charts" / "soak.html").read_text("utf-8")
    assert [name for name in ("memory, MB", "file descriptors", "tasks", "loop lag") if name not in page] == []


async def test_soak_finds_a_leak(tmp_path: Path) -> None:
    """If what each session had is kept, the soak fails, and names what grew."""
    # It takes over 5 s, as above.
    done = await soak(tmp_path / "soak.html", "--leak", enough=lambda done: b"StateChanged grew by" in done.stderr)
    assert done.returncode == 1
    assert b"StateChanged grew by" in done.stderr
    assert any("StateChanged grew by" in problem for problem in json.loads(done.stdout)["problems"])
