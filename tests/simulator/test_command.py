"""`simulate` runs the simulator in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import Any

import pytest

# ruff: noqa: S310, S603 - runs this package's own command and asks its loopback address

BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}  # as an ordinary shell has it
COMMAND = [sys.executable, "-m", "akapulu_async", "simulate"]


@contextmanager
def running(*options: Any) -> Any:
    """Run the command and give its process and the settings that it prints into a pipe."""
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
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(number: Any) -> None:
    """It prints what to export at once, serves, and ends on a signal with 0 and without a word."""
    with running("--seed", "1", "--max-concurrent", "5", "--api-key", "my key") as (process, settings):
        assert settings["AKAPULU_API_KEY"] == "'my key'"
        base_url = settings["AKAPULU_BASE_URL"]
        assert base_url.startswith("http://127.0.0.1:")
        assert get(base_url.removesuffix("/api") + "/_simulator/stats")["open"] == 0
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("option", ["--port", "--storage-port"])
def test_a_port_in_use_is_one_line(option: Any) -> None:
    """A taken port is told in one line that names its option, with exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, option, str(port)], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f" {option} {port}: " in done.stderr
    assert "in use" in done.stderr


def test_every_option_reaches_the_simulator() -> None:
    """All options together start a simulator that behaves by them."""
    options = (
        "--host 127.0.0.1 --port 0 --storage-port 0 --storage-url http://a.example "
        "--speed 0 --seed 1 --free-plan --max-concurrent 3 --minutes none "
        "--max-call-seconds 60 --participant-join-timeout 5 --max-lifetime none --ready-time 1 "
        "--scenario 11111111-1111-4111-8111-111111111111 --avatar 22222222-2222-4222-8222-222222222222 "
        "--no-auto-join --join-after 1 --call-seconds none --end-with-script --after-end gone "
        "--recording-form bytes --recording-delay 1 --recording-seconds 2"
    )
    with running(*options.split()) as (_, settings):
        url = settings["AKAPULU_BASE_URL"]
        body = {
            "scenario_id": "11111111-1111-4111-8111-111111111111",
            "avatar_id": "22222222-2222-4222-8222-222222222222",
        }
        request = urllib.request.Request(
            f"{url}/conversations/connect/",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {settings['AKAPULU_API_KEY']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            identifier = json.loads(answer.read())["conversation_session_id"]
        view = get(f"{url.removesuffix('/api')}/_simulator/conversations/{identifier}")
        assert (view["call_cap"], view["joined_at"]) == (60, None)
