"""A look for secrets in all that a run of the tests shows: `pytest --scan-secrets`.

All loggers log at DEBUG. What is logged, printed, warned of and raised in a test is kept until the test is over, and
then each key and token that came up in it is looked for in all of that; one that is found fails the test. A raised
error of the library's is looked at when it dies: its texts, its pickle, and the variables of the library's frames that
its traceback holds. Of processes that tests run, the output is looked at.

A test whose purpose is to show a secret to the user who asked for it, or to play a program that does not care, says so:
`@pytest.mark.shows_secrets`.
"""

import logging
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from akapulu_async.errors import AkapuluError
from akapulu_async.secret import Secret
from akapulu_async.simulator import world
from akapulu_async.simulator.credentials import room_token

SHORTEST = 13
"""Characters: a shorter text cannot be told from words that happen to be the same."""

LEAST_LETTERS = 6
"""Different characters that a secret has at the least, for the same reason."""

TRACEBACKS = 50
"""Errors of a test whose frames are looked at: tests of anything that can be drawn raise thousands that are alike."""

Shown = dict[str, str]
"""What was shown, and where."""


def find(secrets: set[str], shown: Shown) -> list[str]:
    """Return where secrets were shown, with what stands around."""
    found = []
    for secret in secrets:
        for form in _forms(secret):
            for text, where in shown.items():
                at = text.find(form)
                if at >= 0:
                    found.append(f"{where}: ...{text[max(0, at - 100) : at]}[HERE]{text[at + len(form) :][:60]}...")
    return sorted(set(found))


def _forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in a link, and cut short."""
    cut = len(secret) * 2 // 3
    beginning = {secret[:cut]} if cut >= SHORTEST else set()
    return {secret, quote(secret, safe="", errors="replace"), *beginning}


def is_secret(text: str) -> bool:
    """Whether a text is long and varied enough to be looked for."""
    return len(text) >= SHORTEST and len(set(text)) >= LEAST_LETTERS


def texts_of(error: BaseException) -> Iterator[str]:
    """Yield all that an error shows but for its frames, and what hangs on it."""
    yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
    if isinstance(error, AkapuluError):
        yield pickle.dumps(error).decode("latin-1")
    for further in (error.__cause__, error.__context__):
        if further is not None and not isinstance(further, AkapuluError):  # those come by themselves
            yield from (str(further), repr(further))


def variables_of(error: BaseException) -> Iterator[str]:
    """Yield the variables of the library's frames that an error holds, as tools show them that show variables."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.startswith("akapulu_async") and not module.startswith("akapulu_async.simulator"):
            for name, value in list(frame.f_locals.items()):
                yield f"{frame.f_code.co_name}: {name} = {_written(value)}"


def _written(value: object) -> str:
    try:
        return repr(value)
    except Exception as broken:  # noqa: BLE001 - it may be made only in part, be gone, or contain itself
        return f"not to be shown: {broken}"


class _Everything(logging.Handler):
    """Keeps each line of each logger, with its exception and what it was made of."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(f"{self.format(record)} {record.args!r}", f"log of {record.name}")


class SecretScan:
    """The pytest plugin. It is there only with `--scan-secrets`, and changes what it looks at for the whole process."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._shown: Shown = {}
        self._errors = 0
        self._undo = pytest.MonkeyPatch()
        self._handler = _Everything(self.show)

    def show(self, text: str, where: str) -> None:
        """Keep what is shown."""
        self._shown.setdefault(text, where)

    def know(self, text: str) -> None:
        """Keep what is to be looked for."""
        if is_secret(text):
            self._secrets.add(text)

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin to listen."""
        # What pytest keeps of the log stays what it is without this.
        capture = session.config.pluginmanager.getplugin("logging-plugin")
        for handler in (capture.caplog_handler, capture.report_handler):
            handler.setLevel(logging.WARNING)
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(logging.DEBUG)
        self._undo.setattr(Secret, "__init__", self._knowing(Secret.__init__))
        self._undo.setattr(world, "room_token", self._issuing(room_token))
        self._undo.setattr(AkapuluError, "__del__", lambda error: self.look_at(error), raising=False)  # noqa: PLW0108 - binds
        self._undo.setattr(anyio, "run_process", self._printing(anyio.run_process))

    def pytest_sessionfinish(self) -> None:
        """Leave all as it was."""
        logging.getLogger().removeHandler(self._handler)
        self._undo.undo()

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Keep a warning."""
        self.show(str(warning_message.message), "warning")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin anew with each test."""
        self._secrets.clear()
        self._shown.clear()
        self._errors = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Look for what came up in all that was shown, when the test and its fixtures are over."""
        report = yield
        if report.when == "teardown":
            for title, text in report.sections:
                self.show(text, title)
            found = find(self._secrets, self._shown)
            if found and item.get_closest_marker("shows_secrets") is None:
                report.outcome, report.longrepr = "failed", "\n".join(["secrets were shown", *found])
        return report

    def look_at(self, error: AkapuluError) -> None:
        """Look at an error that dies."""
        where = type(error).__name__
        for text in texts_of(error):
            self.show(text, where)
        if self._errors < TRACEBACKS:
            self._errors += 1
            for text in variables_of(error):
                self.show(text, f"frames of {where}")

    def _knowing(self, make: Callable[[Secret, str], None]) -> Callable[[Secret, str], None]:
        def made(secret: Secret, text: str) -> None:
            make(secret, text)
            ours = sys._getframe(1).f_globals.get("__name__", "").startswith("akapulu_async.")
            if ours and isinstance(text, str):  # tests of wrong types give others
                self.know(text)

        return made

    def _issuing(self, issue: Callable[..., str]) -> Callable[..., str]:
        def issued(*arguments: Any, **options: Any) -> str:
            token = issue(*arguments, **options)
            self.know(token)
            return token

        return issued

    def _printing(self, run: Callable[..., Any]) -> Callable[..., Any]:
        async def printed(*arguments: Any, **options: Any) -> Any:
            done = await run(*arguments, **options)
            for stream in (done.stdout, done.stderr):
                self.show((stream or b"").decode("utf-8", "replace"), f"output of {arguments[0]!s:.200}")
            return done

        return printed
