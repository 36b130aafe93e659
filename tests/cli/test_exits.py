"""Exit codes are chosen by the kind of the error."""

from pathlib import Path
from typing import Any

import pytest

from akapulu_async import (
    AuthenticationError,
    ErrorKind,
    RecordingTimeoutError,
    RequestTimeoutError,
    SessionEndedError,
    StartTimeoutError,
)
from akapulu_async.cli.exits import CODES, ExitCode, end_code, exit_code, table

REFUSED: dict[str, Any] = {"status": 401, "method": "GET", "path": "/"}
ENDED: dict[str, Any] = {"reason": "failed", "session_id": None}


def test_every_kind_has_a_code() -> None:
    """Each kind of error has a code of failure."""
    assert CODES.keys() == set(ErrorKind)
    assert not {ExitCode.OK, ExitCode.INTERRUPTED} & set(CODES.values())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError(**REFUSED), 3),
        (RecordingTimeoutError(session_id="x"), 7),
        (StartTimeoutError(timeout=1, connecting=False, goes_on=False, running=0, waiting=0), 7),
        (RequestTimeoutError(method="GET", path="/", reason="slow", sent=True), 8),
        (SessionEndedError(**ENDED), 1),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_have_codes(error: BaseException, code: int) -> None:
    """An error has the code of its kind; errors of the system are failures."""
    assert exit_code(error) == code


@pytest.mark.parametrize(("ready", "code"), [(True, 1), (False, 6)])
def test_a_bad_end(ready: bool, code: int) -> None:
    """A session that ended without a cause has its code by whether the bot became ready."""
    assert end_code(SessionEndedError(**ENDED), ready=ready) == code


@pytest.mark.parametrize("ready", [True, False])
def test_a_bad_end_with_a_cause(ready: bool) -> None:
    """A session that ended with a cause has the code of the cause."""
    error = SessionEndedError(**ENDED)
    error.__cause__ = AuthenticationError(**REFUSED)
    assert end_code(error, ready=ready) == ExitCode.NOT_AUTHORISED


def test_table() -> None:
    """The table has each code once, with its meaning, in lines that fit a terminal."""
    lines = table().splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(code.value for code in ExitCode)
    assert all(code.meaning in line for code, line in zip(ExitCode, lines, strict=True))
    assert max(map(len, lines)) <= 78
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


def test_the_readme_has_the_table() -> None:
    """README.md has each code with the same words."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8").replace("`", "")
    for code in ExitCode:
        assert f"| {int(code)} | {code.meaning} |" in readme
