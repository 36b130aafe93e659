"""The scan finds a secret wherever a test shows one, and nothing elsewhere."""

import json
import subprocess
import sys
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

from akapulu_async.errors import AkapuluError, ConfigurationError
from tests.support.scanning import find, is_secret, opened, texts_of, variables_of

# ruff: noqa: S603 - runs pytest on our own files

ROOT = Path(__file__).parents[2]
SECRET = "marble/orchid.thimble-saffron"

BELOW = f"""
def send():
    key = "{SECRET}"
    try:
        write(key)
    except OSError:
        raise TimeoutError from None

def write(key):
    raise OSError
"""
"""Plays a module that the library calls."""

CONFTEST = """
import json
from pathlib import Path
import pytest
from tests.conftest import pytest_addoption, pytest_configure

@pytest.fixture
def anyio_backend():
    return "asyncio"

def pytest_runtest_logreport(report):
    with Path(__file__).with_name("reports").open("a") as reports:
        reports.write(json.dumps([report.head_line, report.when, report.outcome, report.longreprtext]) + "\\n")
"""

TESTS = f'''
import asyncio, io, logging, os, pickle, random, subprocess, sys
import anyio, attrs, pytest
from akapulu_async import AkapuluClient, ConfigurationError
from akapulu_async.resources.conversations import read_connection
from akapulu_async.simulator import Simulator, world

SECRET = "{SECRET}"
ID = "123e4567-e89b-12d3-a456-426614174000"
PRINT = [sys.executable, "-c", f"print({{SECRET!r}})"]
IN_PIECES = [sys.executable, "-c", f"""
import time
print({{SECRET[:12]!r}}, end="", flush=True)
time.sleep(0.1)
print({{SECRET[12:]!r}})
"""]
NAMES = {{"__name__": "akapulu_async.made_up"}}
exec("def call(function): function()\\ndef cause(key): raise RuntimeError", NAMES)
BELOW = {{"__name__": "aiohttp.made_up"}}
exec({BELOW!r}, BELOW)

@pytest.fixture
def client():
    return AkapuluClient(SECRET)

@attrs.frozen
class Holder:
    text: str

def test_clean(client, capsys):
    logging.getLogger("aiohttp").debug("key %s", client)
    print(client, vars(client))
    assert "AkapuluClient" in capsys.readouterr().out
    assert pickle.loads(pickle.dumps(ConfigurationError("text"))).args
    pickle.dump(ID, io.BytesIO())
    with pytest.raises(RuntimeError):
        NAMES["cause"](client)
    assert subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True, text=True).stdout == "5\\n"

async def test_clean_process(client):
    assert (await anyio.run_process([sys.executable, "-c", "print(5)"])).stdout == b"5\\n"

def test_other_secrets_are_none():
    print(SECRET)

def test_printed(client):
    print("key", SECRET)

def test_printed_and_read(client, capsys):
    print("key", SECRET)
    assert SECRET in capsys.readouterr().out

def test_written_and_read(client, capfdbinary):
    os.write(2, SECRET.encode())
    assert SECRET.encode() in capfdbinary.readouterr().err

def test_logged(client):
    logging.getLogger("aiohttp.client").debug("key %s", SECRET)

def test_logged_beside(client):
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("asyncio").debug("broken", exc_info=True)

def test_raised(client):
    with pytest.raises(ConfigurationError):
        raise ConfigurationError(f"the key {{SECRET[:20]}} is bad")

def test_raised_and_let_die(client):
    try:
        raise ConfigurationError(SECRET)
    except ConfigurationError:
        pass

def test_raised_by_others(client):
    with pytest.raises(RuntimeError):
        raise RuntimeError(SECRET)

def test_raised_in_a_group(client):
    try:
        NAMES["cause"](SECRET)
    except RuntimeError as error:
        member = error
    with pytest.RaisesGroup(RuntimeError):
        raise ExceptionGroup("several", [member])

@pytest.mark.xfail(raises=RuntimeError)
def test_let_out(client):
    raise RuntimeError(SECRET)

def test_in_a_frame(client):
    with pytest.raises(RuntimeError):
        NAMES["cause"](SECRET)

def test_in_a_frame_of_a_context(client):
    with pytest.raises(OSError):
        try:
            NAMES["cause"](SECRET)
        except RuntimeError:
            raise OSError from None

def test_in_a_frame_below(client):
    with pytest.raises(TimeoutError):
        NAMES["call"](BELOW["send"])

def test_in_a_frame_elsewhere(client):
    with pytest.raises(TimeoutError):
        BELOW["send"]()

def test_pickled(client):
    pickle.dumps(Holder(SECRET))

def test_pickled_to_a_file(client):
    file = io.BytesIO()
    pickle.dump(Holder(SECRET), file)
    assert pickle.loads(file.getvalue()) == Holder(SECRET)

def test_token_in_a_link():
    connection = read_connection({{"room_url": "https://x/", "token": SECRET, "conversation_session_id": ID}})
    print(connection.join_url)

def test_token_of_a_simulator():
    print(world.room_token(random.Random(1), "room", issued_at=0))

def test_key_of_a_simulator():
    Simulator(api_key=SECRET)
    print(SECRET)

def test_key_of_a_process():
    subprocess.run(PRINT, env={{**os.environ, "AKAPULU_API_KEY": SECRET}}, capture_output=True)

@pytest.mark.shows_secrets
def test_asked_for(client):
    print(SECRET)

def test_printed_by_a_run(client):
    assert SECRET in subprocess.run(PRINT, capture_output=True, text=True).stdout

def test_printed_by_an_opened_process(client):
    with subprocess.Popen(PRINT, stdout=subprocess.PIPE) as process:
        assert SECRET.encode() in process.communicate()[0]

async def test_printed_by_a_process(client):
    assert SECRET.encode() in (await anyio.run_process(PRINT)).stdout

async def test_printed_by_a_process_of_anyio(client):
    async with await anyio.open_process(IN_PIECES) as process:
        assert SECRET.encode() in b"".join([piece async for piece in process.stdout])

async def test_printed_by_a_process_of_asyncio(client):
    process = await asyncio.create_subprocess_exec(*PRINT, stdout=subprocess.PIPE)
    assert SECRET.encode() in (await process.communicate())[0]
'''

LEAKS = {
    "printed": "Captured stdout call",
    "printed_and_read": "captured output",
    "written_and_read": "captured output",
    "logged": "log of aiohttp.client",
    "logged_beside": "log of asyncio",
    "raised": "ConfigurationError",
    "raised_and_let_die": "ConfigurationError",
    "raised_by_others": "RuntimeError",
    "raised_in_a_group": "frames of ExceptionGroup",
    "let_out": "RuntimeError",
    "in_a_frame": "frames of RuntimeError",
    "in_a_frame_of_a_context": "frames of OSError",
    "in_a_frame_below": "frames of TimeoutError",
    "pickled": "pickle of Holder",
    "pickled_to_a_file": "pickle of Holder",
    "token_in_a_link": "Captured stdout call",
    "token_of_a_simulator": "Captured stdout call",
    "key_of_a_simulator": "Captured stdout call",
    "key_of_a_process": "output of [",
    "printed_by_a_run": "output of [",
    "printed_by_an_opened_process": "output of [",
    "printed_by_a_process": "stdout of a process",
    "printed_by_a_process_of_anyio": "stdout of a process",
    "printed_by_a_process_of_asyncio": "stdout of a process",
}
"""The tests that leak, and where."""

CLEAN = {"clean", "clean_process", "other_secrets_are_none", "in_a_frame_elsewhere", "asked_for"}


def run(folder: Path, *options: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Run the tests of leaks in a process of their own; return outcome and message of each phase of each."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_leaks.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\n")
    plugins = ("-p", "no:schemathesis", "-p", "no:xdist", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plugins, "-c", str(folder / "pytest.ini"), *options, str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    reports = map(json.loads, (folder / "reports").read_text().splitlines())
    return {(name.removeprefix("test_"), part): (outcome, message) for name, part, outcome, message in reports}


def outcomes(*, scanned: bool) -> dict[tuple[str, str], str]:
    """Return the expected outcome of each phase of each test."""
    parts = {(name, part): "passed" for name in {*LEAKS, *CLEAN} for part in ("setup", "call", "teardown")}
    leaks = {(name, "teardown"): "failed" for name in LEAKS} if scanned else {}
    return {**parts, ("let_out", "call"): "skipped", **leaks}  # what pytest calls an expected failure


@pytest.mark.slow
def test_nothing_is_found_without_the_scan(tmp_path: Path) -> None:
    """Without the scan, the tests that leak pass."""
    assert {part: outcome for part, (outcome, _) in run(tmp_path).items()} == outcomes(scanned=False)


def test_leaks_are_found(tmp_path: Path) -> None:
    """A secret that is printed, logged, raised, pickled or shown by a process fails its test, and no other."""
    ends = run(tmp_path, "--scan-secrets")
    assert {part: outcome for part, (outcome, _) in ends.items()} == outcomes(scanned=True)
    for name, where in LEAKS.items():
        message = ends[name, "teardown"][1]
        assert message.startswith("secrets were shown\n")
        assert f"\n{where}" in message, (name, message)
        assert "[HERE]" in message


@pytest.mark.parametrize(
    "shown", [SECRET, "?t=marble%2Forchid.thimble-saffron", f"x{SECRET[:19]}", f"{SECRET}{SECRET}"]
)
def test_forms(shown: str) -> None:
    """A secret is found as it is, quoted in a link, and cut off."""
    assert find({SECRET}, {f"before {shown} after": "log"})
    assert not find({SECRET}, {SECRET[:13]: "log", "***": "log"})


def test_short_texts_are_not_secrets() -> None:
    """A text that is short or has few different letters is not searched for."""
    assert is_secret(SECRET)
    assert not is_secret("secret")
    assert not is_secret("a" * 40)


def test_errors_are_looked_at_whole() -> None:
    """An error's texts, attributes, linked errors and pickle are searched."""
    error = ConfigurationError("text")
    error.__cause__ = OSError("cause")
    error.fact = SECRET  # type: ignore[attr-defined]
    texts = list(texts_of(error))
    assert {"text", "cause"} <= set(texts)
    assert sum(SECRET in text for text in texts) == 2  # variables and pickle


def test_frames_of_the_library_are_looked_at() -> None:
    """The variables of the library's frames are searched, not those of the tests, which hold the secrets."""
    namespace = {"__name__": "akapulu_async.made_up", "AkapuluError": AkapuluError}
    exec("def leak(key):\n    raise AkapuluError()", namespace)  # noqa: S102 - a module of ours for a moment
    leak = namespace["leak"]
    assert callable(leak)
    with pytest.raises(AkapuluError) as caught:
        leak(SECRET)
    assert list(variables_of(caught.value)) == [f"leak: key = {SECRET!r}"]


class Reticent(dict[str, object]):
    """Shows nothing by its `repr`."""

    def __repr__(self) -> str:
        return "<reticent>"


@pytest.mark.parametrize("value", [Reticent(key=SECRET), [Reticent({SECRET: 1})], Reticent(headers=[("key", SECRET)])])
def test_what_variables_hold_is_looked_at(value: object) -> None:
    """The contents of a mapping or sequence are searched, also if its `repr` does not show them."""
    assert SECRET not in repr(value)
    assert any(SECRET in text for text in opened(value))


@pytest.mark.parametrize("value", ["text", b"bytes", range(10**9), Reticent(), {"a": [1]}])
def test_looking_into_a_value_ends(value: object) -> None:
    """A plain value is searched once; of a large container, or one that contains itself, only the beginning."""
    itself: list[object] = [value]
    itself.append(itself)
    assert next(opened(value)) == repr(value)
    assert len(list(opened(itself))) < 1000


def test_half_initialised_mapping_is_skipped() -> None:
    """A value without a working `repr` is replaced by its error."""
    assert list(opened(UserDict.__new__(UserDict))) == ["not to be shown: 'UserDict' object has no attribute 'data'"]


def test_frames_that_the_library_called_are_looked_at() -> None:
    """Where aiohttp raised an error during another, the frames of both are searched if the library called it."""
    below: dict[str, Any] = {"__name__": "aiohttp.made_up"}
    ours: dict[str, Any] = {"__name__": "akapulu_async.made_up"}
    exec(BELOW, below)  # noqa: S102 - a module of ours for a moment
    exec("def call(send): send()", ours)  # noqa: S102 - a module of ours for a moment
    for call, shown in ((lambda: ours["call"](below["send"]), 3), (below["send"], 0)):
        with pytest.raises(TimeoutError) as caught:
            call()
        assert sum(SECRET in variable for variable in variables_of(caught.value)) == shown
