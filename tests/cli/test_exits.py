"""Exit codes: one table, from the errors to what scripts branch on."""

from pathlib import Path
from typing import Any

import pytest

from akapulu_async import errors
from akapulu_async.cli.exits import ExitCode, end_code, exit_code, table

REFUSED: dict[str, Any] = {"status": 400, "method": "GET", "path": "/"}
LOST: dict[str, Any] = {"method": "GET", "path": "/", "reason": "gone", "sent": True}
ENDED: dict[str, Any] = {"reason": "failed", "session_id": None}


def all_errors(base: type[Exception]) -> set[type[Exception]]:
    return {base}.union(*map(all_errors, base.__subclasses__()))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (errors.ConfigurationError("x"), 2),
        (errors.AuthenticationError(**REFUSED), 3),
        (errors.PermissionDeniedError(**REFUSED), 3),
        (errors.NotFoundError(**REFUSED), 4),
        (errors.ConcurrencyLimitError(**REFUSED), 5),
        (errors.MinutesLimitError(**REFUSED), 5),
        (errors.RateLimitError(**REFUSED), 5),
        (errors.RecordingNotReadyError(session_id="x"), 7),
        (errors.RecordingTimeoutError(session_id="x"), 7),
        (errors.WaitTimeoutError(session_id=None, awaited="a", state="b", timeout=1, progress=""), 7),
        (errors.StartTimeoutError(timeout=1, connecting=False, goes_on=False, running=0, waiting=0), 7),
        (errors.TransportError(**LOST), 8),
        (errors.RequestTimeoutError(**LOST), 8),
        (errors.ServerError(**REFUSED), 8),
        (errors.InvalidResponseError(method="GET", path="/", status=200, problem="x"), 8),
        (errors.ConnectOutcomeUnknownError(scenario_id="x", avatar_id="x", reason="x"), 8),
        (errors.BadRequestError(**REFUSED), 1),
        (errors.ApiError(**REFUSED), 1),
        (errors.SessionEndedError(**ENDED), 1),
        (errors.ManagerClosedError("x"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_have_codes(error: BaseException, code: int) -> None:
    """Each error leads to one code."""
    assert exit_code(error) == code


def test_no_error_was_forgotten() -> None:
    """Each public error of the library stands in the test above."""
    told = {type(mark[0]) for mark in test_errors_have_codes.pytestmark[0].args[1]}  # type: ignore[attr-defined]
    public = {kind for kind in all_errors(errors.AkapuluError) if kind.__module__ == "akapulu_async.errors"}
    assert {kind for kind in public - told if not kind.__name__.startswith("_")} == {errors.AkapuluError}


@pytest.mark.parametrize(("ready", "code"), [(True, 1), (False, 6)])
def test_a_bad_end(ready: bool, code: int) -> None:
    """The end of a session without a cause is told by whether the bot ever got ready."""
    assert end_code(errors.SessionEndedError(**ENDED), ready=ready) == code


@pytest.mark.parametrize("ready", [True, False])
def test_a_bad_end_with_a_cause(ready: bool) -> None:
    """The end of a session with a cause has the cause's code."""
    error = errors.SessionEndedError(**ENDED)
    error.__cause__ = errors.AuthenticationError(**REFUSED)
    assert end_code(error, ready=ready) == ExitCode.NOT_AUTHORISED


def test_table() -> None:
    """The table has each code once, with its meaning, in lines that fit a terminal."""
    lines = table().splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(code.value for code in ExitCode)
    assert all(code.meaning in line for code, line in zip(ExitCode, lines, strict=True))
    assert max(map(len, lines)) <= 78
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


def test_the_readme_has_the_table() -> None:
    """README.md tells of each code, in the same words."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8").replace("`", "")
    for code in ExitCode:
        assert f"| {int(code)} | {code.meaning} |" in readme
