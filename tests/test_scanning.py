"""The scan finds a secret wherever a test shows one, and finds nothing where none is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from akapulu_async.errors import AkapuluError, ConfigurationError
from tests.scanning import find, is_secret, texts_of, variables_of

# ruff: noqa: S603 - runs pytest on what is ours

ROOT = Path(__file__).parent.parent
SECRET = "marble/orchid.thimble-saffron"

TESTS = f"""
import logging, sys
import anyio, pytest
from akapulu_async import AkapuluClient, ConfigurationError
from akapulu_async.converter import read_connection

SECRET = "{SECRET}"
ID = "123e4567-e89b-12d3-a456-426614174000"

@pytest.fixture
def client():
    return AkapuluClient(SECRET)

def test_clean(client):
    logging.getLogger("aiohttp").debug("key %s", client)
    print(client, vars(client))

def test_other_secrets_are_none():
    print(SECRET)

def test_printed(client):
    print("key", SECRET)

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

def test_token_in_a_link():
    connection = read_connection({{"room_url": "https://x/", "token": SECRET, "conversation_session_id": ID}})
    print(connection.join_url)

@pytest.mark.shows_secrets
def test_asked_for(client):
    print(SECRET)

async def test_printed_by_a_process(client):
    await anyio.run_process([sys.executable, "-c", f"print({{SECRET!r}})"])

@pytest.fixture
async def anyio_backend():
    return "asyncio"
"""

LEAKS = {
    "test_printed", "test_logged", "test_logged_beside", "test_raised", "test_token_in_a_link",
    "test_printed_by_a_process",
}  # fmt: skip


def run(folder: Path, *options: str) -> dict[str, set[str]]:
    """Run tests of leaks in a process of their own, and return which ones ended how."""
    (folder / "conftest.py").write_text("from tests.conftest import pytest_addoption, pytest_configure\n")
    (folder / "test_leaks.py").write_text(TESTS)
    ini = folder / "pytest.ini"
    ini.write_text("[pytest]\nanyio_mode = auto\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rA",
        "-p",
        "no:schemathesis",
        "-p",
        "no:xdist",
        "-c",
        str(ini),
        *options,
    ]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    ends: dict[str, set[str]] = {}
    for end, name in re.findall(r"^(PASSED|ERROR|FAILED) \S+::(\w+)", done.stdout, re.MULTILINE):
        ends.setdefault(end, set()).add(name)
    return ends


def test_leaks_are_found(tmp_path: Path) -> None:
    """What is printed, logged, raised, and shown by a process fails the test that did it; what is clean passes."""
    # It may take over 5 s on a busy machine: two runs of pytest.
    assert "FAILED" not in run(tmp_path)
    ends = run(tmp_path, "--scan-secrets")
    assert ends["ERROR"] == LEAKS
    assert "FAILED" not in ends


@pytest.mark.parametrize(
    "shown", [SECRET, "?t=marble%2Forchid.thimble-saffron", f"x{SECRET[:19]}", f"{SECRET}{SECRET}"]
)
def test_forms(shown: str) -> None:
    """A secret is found as it is, as a link writes it, and cut off."""
    assert find({SECRET}, {f"before {shown} after": "log"})
    assert not find({SECRET}, {SECRET[:13]: "log", "***": "log"})


def test_what_is_no_secret() -> None:
    """What is short, or of few letters, is not looked for."""
    assert is_secret(SECRET)
    assert not is_secret("secret")
    assert not is_secret("a" * 40)


def test_errors_are_looked_at_whole() -> None:
    """An error's texts, its variables, what hangs on it, and its pickle are looked at."""
    error = ConfigurationError("text")
    error.__cause__ = OSError("cause")
    error.fact = SECRET  # type: ignore[attr-defined]
    texts = list(texts_of(error))
    assert {"text", "cause"} <= set(texts)
    assert sum(SECRET in text for text in texts) == 2  # variables and pickle


def test_frames_of_the_library_are_looked_at() -> None:
    """The variables of the library's frames are looked at, and not those of the tests, which know the secrets."""
    namespace = {"__name__": "akapulu_async.made_up", "AkapuluError": AkapuluError}
    exec("def leak(key):\n    raise AkapuluError()", namespace)  # noqa: S102 - a module of ours for a moment
    leak = namespace["leak"]
    assert callable(leak)
    with pytest.raises(AkapuluError) as caught:
        leak(SECRET)
    assert list(variables_of(caught.value)) == [f"leak: key = {SECRET!r}"]
