"""The benchmarks run, and their figures are consistent. How good the figures are is not tested.

Quick: the layer's benchmark, and `test_trends.py` for the soak's judgement. The others are slow.
"""

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

pytestmark = pytest.mark.timeout(600)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# No coverage of the benchmarks: tracing would slow down what they measure.
ENV = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


async def run(name: str, *arguments: str, errors: bytes = b"") -> str:
    done = await run_process([sys.executable, str(BENCHMARKS / name), *arguments], env=ENV)
    assert done.stderr == errors
    return done.stdout.decode()


@pytest.mark.slow
async def test_manager() -> None:
    """With a few sessions, every transition is delivered, and no session or task is left."""
    (figures,) = json.loads(await run("manager.py", "--sessions", "20", "--seconds", "1", "--json"))["sizes"]
    assert figures["sessions"] == 20
    assert figures["transitions"] == 80
    assert [figures[name] for name in ("transitions_missing", "sessions_left", "tasks_left")] == [0, 0, 0]
    assert figures["ready_p50"] <= figures["ready_p99"]
    assert figures["polls_per_second"] > 0


@pytest.mark.slow
async def test_polling(tmp_path: Path) -> None:
    """With a few simulated sessions per case, the default policy keeps its bars, and the chart is drawn."""
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


@pytest.mark.slow
async def test_poll() -> None:
    """With a few conversations, either client is measured with HTTP, with HTTPS and on uvloop."""
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
    """With a few rounds, every poll has its event. With a file for the JSON, the table is printed too."""
    told = tmp_path / "new" / "layer.json"
    table = await run("layer.py", "--rounds", "2", "--seconds", "0.05", "--json", str(told))
    figures = json.loads(told.read_text("utf-8"))
    assert 0 < figures["best_us"] <= figures["median_us"]
    assert {"cpu", "python", "aiohttp"} <= figures["machine"].keys()
    assert f"best {figures['best_us']:.1f} us" in table
    assert f"aiohttp {figures['machine']['aiohttp']}" in table


@pytest.mark.slow
async def test_sustained() -> None:
    """With a few sessions for a second, polls are made and counted."""
    (figures,) = json.loads(await run("sustained.py", "--sessions", "20", "--seconds", "1", "--json"))["rows"]
    assert figures["sessions"] == 20
    assert figures["polls_per_second"] > 0
    assert figures["share_on_time"] > 0


@pytest.mark.slow
async def test_growth() -> None:
    """With a few sessions for a second, polls are made and what one costs is computed."""
    arguments = ("--sessions", "10", "--polls", "100", "--seconds", "1", "--json")
    told = await run("growth.py", *arguments, errors=b"measuring 10 sessions\n")
    (figures,) = json.loads(told)["rows"]
    assert figures["polls_per_second"] > 0
    assert figures["microseconds"] > 0


@pytest.mark.slow
async def test_imports() -> None:
    """Two imports of the library, and two of its dependencies alone, are measured and compared."""
    figures = json.loads(await run("imports.py", "--quick", "--json"))
    assert figures["bar"] is None
    assert 0 < figures["libraries_ms"]["low"] <= figures["libraries_ms"]["median"] <= figures["libraries_ms"]["high"]
    assert figures["ratio"]["median"] > 0


@pytest.mark.slow
async def test_download() -> None:
    """Two small downloads are measured, also by curl where it is installed."""
    figures = json.loads(await run("download.py", "--quick", "--json"))
    assert (figures["mebibytes"], figures["rounds"], figures["bar"]) == (8, 2, None)
    assert figures["akapulu_async_speed"]["low"] > 0
    assert ("ratio" in figures) == (shutil.which("curl") is not None)


@pytest.mark.slow
async def test_simulator() -> None:
    """A few open conversations answer polls, which are counted."""
    arguments = ("--seconds", "0.2", "--conversations", "5", "--connections", "2", "--json")
    figures = json.loads(await run("simulator.py", *arguments))
    assert figures["open conversations"] == 5
    assert figures["requests"] > 0


async def soak(page: Path, *arguments: str, enough: Callable[["CompletedProcess[bytes]"], object]) -> Any:
    """Soak for some seconds; again and longer while too little has happened, as it does on a busy machine."""
    usual = (str(BENCHMARKS / "soak.py"), "--sessions", "50", "--speed", "50", "--json", "--page", str(page))
    for minutes in ("0.1", "0.5", "3"):
        done = await run_process([sys.executable, *usual, *arguments, "--minutes", minutes], env=ENV, check=False)
        if enough(done):
            break
    return done


def outcomes(done: "CompletedProcess[bytes]") -> dict[str, int]:
    """Return how many sessions ended in which way; nothing if there were too few samples."""
    found: dict[str, int] = json.loads(done.stdout)["outcomes"] if done.stdout else {}
    return found


@pytest.mark.slow
async def test_soak(tmp_path: Path) -> None:
    """In some seconds sessions turn over, nothing grows, nothing is left, and the charts are drawn."""
    done = await soak(tmp_path / "charts" / "soak.html", enough=lambda done: sum(outcomes(done).values()) > 100)
    assert done.stdout, done.stderr.decode()
    found = json.loads(done.stdout)
    # The lag, and how many sessions run at once, depend on the machine.
    machines = ("loop lag", "sessions ran at once")
    assert [problem for problem in found["problems"] if not any(word in problem for word in machines)] == []
    assert done.returncode == (1 if found["problems"] else 0)
    assert found["left"] == {"sessions": 0, "tasks": 0, "file descriptors": 0}
    assert found["outcomes"].keys() == {"well", "LookupError", "TimeoutError"}
    page = (tmp_path / "charts" / "soak.html").read_text("utf-8")
    assert [name for name in ("memory, MB", "file descriptors", "tasks", "loop lag") if name not in page] == []


@pytest.mark.slow
async def test_soak_finds_a_leak(tmp_path: Path) -> None:
    """If the sessions are kept, the soak fails and names what grew."""
    done = await soak(tmp_path / "soak.html", "--leak", enough=lambda done: b"StateChanged grew by" in done.stderr)
    assert done.returncode == 1
    assert b"StateChanged grew by" in done.stderr
    assert any("StateChanged grew by" in problem for problem in json.loads(done.stdout)["problems"])
