"""`simulate` runs the simulator in a process of its own."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import Any

import pytest

from akapulu_async.simulator.command import live_line
from akapulu_async.simulator.world import Statistics

# ruff: noqa: S310, S603 - runs this package's own command and asks its loopback address

pytestmark = pytest.mark.timeout(2 * 60)

BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}  # as an ordinary shell has it
PATIENCE = 60.0  # seconds, for a process on a busy machine
COMMAND = [sys.executable, "-m", "akapulu_async", "simulate"]


@contextmanager
def running(*options: Any) -> Any:
    """Run the command, and yield its process and the settings that it prints."""
    with subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=BUFFERED
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().removeprefix("export ").rstrip("\n") for _ in range(2)]
            yield process, dict(line.partition("=")[::2] for line in lines)
        finally:
            if process.poll() is None:
                process.kill()


def get(url: Any, **headers: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def connect(url: str, key: str) -> Any:
    """Connect a conversation, and return its id."""
    body = {"scenario_id": "11111111-1111-4111-8111-111111111111", "avatar_id": "22222222-2222-4222-8222-222222222222"}
    request = urllib.request.Request(
        f"{url}/conversations/connect/", data=json.dumps(body).encode(), headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())["conversation_session_id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(number: Any) -> None:
    """It prints the exports at once, serves, and exits with 0 on a signal, without further output."""
    with running("--seed", "1", "--max-concurrent", "5", "--api-key", "my key") as (process, settings):
        assert settings["AKAPULU_API_KEY"] == "'my key'"
        base_url = settings["AKAPULU_BASE_URL"]
        assert base_url.startswith("http://127.0.0.1:")
        assert get(base_url.removesuffix("/api") + "/_simulator/stats")["open"] == 0
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")


def read_until(terminal: int, pattern: str) -> str:
    """Return the output of a terminal up to a pattern."""
    shown = ""
    while not re.search(pattern, shown):
        shown += os.read(terminal, 4096).decode()
    return shown


def test_the_live_line() -> None:
    """If stderr is a terminal, it shows a status line that is updated, and erased at the end."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=inside, text=True, env=BUFFERED | {"TERM": "xterm"}
    ) as process:
        os.close(inside)
        assert process.stdout is not None
        settings = dict(process.stdout.readline().removeprefix("export ").strip().split("=") for _ in range(2))
        shown = read_until(terminal, r"0 open \(peak 0\), 0 connected; 0 requests/s")
        connect(settings["AKAPULU_BASE_URL"], settings["AKAPULU_API_KEY"])
        shown += read_until(terminal, r"1 open \(peak 1\), 1 connected; \d+ requests/s")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
        shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert shown.endswith("\r\x1b[K")


def test_the_live_line_of_a_busy_simulator() -> None:
    """Large numbers fit into 80 columns."""
    account = Statistics(connected=1_234_567, open=10_000, peak=10_000, minutes=1, ended={})
    line = live_line(account, 12_345.6)
    assert line == "10,000 open (peak 10,000), 1,234,567 connected; 12,346 requests/s"


@pytest.mark.parametrize("option", ["--port", "--storage-port"])
def test_a_port_in_use_is_one_line(option: Any) -> None:
    """A port in use is reported in one line that names the option, with exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, option, str(port)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f" {option} {port}: " in done.stderr
    assert "in use" in done.stderr


def test_every_option_reaches_the_simulator() -> None:
    """A simulator started with all options obeys them."""
    options = (
        "--host 127.0.0.1 --port 0 --storage-port 0 --storage-url http://a.example "
        "--speed 0 --seed 1 --free-plan --max-concurrent 3 --minutes none "
        "--max-call-seconds 60 --participant-join-timeout 5 --max-lifetime none --ready-time 1 "
        "--scenario 11111111-1111-4111-8111-111111111111 --avatar 22222222-2222-4222-8222-222222222222 "
        "--no-auto-join --join-after 1 --call-seconds none --end-with-script --django-errors --after-end gone "
        "--recording-form bytes --recording-format wav --recording-delay 1 --recording-seconds 2 --conversations-kept 0"
    )
    with running(*options.split()) as (_, settings):
        url = settings["AKAPULU_BASE_URL"]
        control = f"{url.removesuffix('/api')}/_simulator"
        identifier = connect(url, settings["AKAPULU_API_KEY"])
        view = get(f"{control}/conversations/{identifier}")
        assert (view["call_cap"], view["joined_at"]) == (60, None)
        urllib.request.urlopen(f"{control}/conversations/{identifier}/end", data=b"").close()
        assert get(f"{control}/conversations") == []
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            get(f"{url}/else/")
        assert caught.value.headers["Content-Type"].startswith("text/html")
        caught.value.close()
