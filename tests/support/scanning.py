"""Search everything that the tests show for secrets: `pytest --scan-secrets`.

All loggers log at DEBUG. Everything logged, printed, pickled, warned of and raised in a test is kept until its end, and
then searched for every key and token that was used in it; a match fails the test. The scan includes output that the
test reads itself (`capsys`) and the output of processes that it runs.

Errors are searched when `pytest.raises` catches them or a test raises them, those of the library also when they are
deleted: their texts, pickles (of the library's), and the variables of the frames in their tracebacks, of the library
and of what it called, including the contents of mappings and sequences. So are their causes, contexts and groups.

Not searched: what a test reads from a terminal or, line by line, from a `subprocess.Popen`; other exceptions that it
catches with `except`; `pickle.Pickler`; files.

`@pytest.mark.shows_secrets` marks a test that shows a secret on purpose, or plays a program that does.
"""

import gc
import logging
import os
import pickle
import subprocess
import sys
import traceback
import warnings
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from itertools import chain, islice
from typing import Any
from urllib.parse import quote

import pytest

from akapulu_async.errors import AkapuluError
from akapulu_async.secret import Secret
from akapulu_async.simulator import Simulator, world
from akapulu_async.simulator.world import room_token

SHORTEST = 13
"""Characters: a shorter text may match by chance."""

LEAST_LETTERS = 6
"""Least number of different characters in a secret, for the same reason."""

TRACEBACKS = 100
"""Errors per test whose frames are searched: property-based tests raise thousands of similar ones."""

DEPTH, BREADTH = 4, 20
"""How deep mappings and sequences are searched, and how many of their items: as far as error reporters go."""

BELOW = frozenset({"aiohttp", "anyio", "asyncio", "attr", "cattrs", "contextlib", "json", "multidict", "yarl"})
"""Packages that the library calls. The variables of their frames are searched below frames of the library."""

_dumps = pickle.dumps
"""The original, without the scan."""

Shown = dict[str, str]
"""From each shown text to the place where it was shown."""


def find(secrets: set[str], shown: Shown) -> list[str]:
    """Return where secrets were shown, with the surrounding text."""
    found = []
    everything = "\0".join(shown)  # quicker to search than its parts
    for form in {form for secret in secrets for form in _forms(secret)}:
        if form in everything:
            for text, where in shown.items():
                at = text.find(form)
                if at >= 0:
                    found.append(f"{where}: ...{text[max(0, at - 100) : at]}[HERE]{text[at + len(form) :][:60]}...")
    return sorted(set(found))


def _forms(secret: str) -> set[str]:
    """Return the forms of a secret: as it is, quoted for a link, and cut off."""
    cut = len(secret) * 2 // 3
    beginning = {secret[:cut]} if cut >= SHORTEST else set()
    return {secret, quote(secret, safe="", errors="replace"), *beginning}


def is_secret(text: str) -> bool:
    """Return True if a text is long and varied enough to search for."""
    return len(text) >= SHORTEST and len(set(text)) >= LEAST_LETTERS


def linked(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes and contexts, and the members of groups."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        here = waiting.pop(0)
        if id(here) not in seen:
            seen.add(id(here))
            yield here
            waiting += [further for further in (here.__cause__, here.__context__) if further is not None]
            waiting += here.exceptions if isinstance(here, BaseExceptionGroup) else ()


def texts_of(error: BaseException) -> Iterator[str]:
    """Yield the texts of an error and of those linked to it, without frames."""
    for here in linked(error):
        yield from (_written(here, str), _written(here), _written(here.args), _written(vars(here)))
        if isinstance(here, AkapuluError):
            yield _written(here, lambda error: _dumps(error).decode("latin-1"))


def variables_of(error: BaseException) -> Iterator[str]:
    """Yield the variables of the library's frames, and of what it called, as error reporters show them.

    The frames of a linked error may begin below the library.
    """
    begins_below = False
    for here in linked(error):
        ours = begins_below
        for frame, _ in traceback.walk_tb(here.__traceback__):
            module = frame.f_globals.get("__name__", "")
            ours = _of_the_library(module) or (ours and module.partition(".")[0] in BELOW)
            begins_below |= ours
            for name, value in list(frame.f_locals.items()) if ours else ():
                yield f"{frame.f_code.co_name}: {name} = {', '.join(opened(value))}"


def opened(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """Yield the `repr` of a value and of its contents: error reporters look into mappings."""
    yield _written(value)
    for item in _items(value) if depth else ():
        yield from opened(item, depth - 1)


def _items(value: Any) -> Sequence[Any]:
    """Return the first keys and values of a mapping, or items of a sequence."""
    with suppress(Exception):  # it may be half-initialised
        if isinstance(value, Mapping):
            return list(chain.from_iterable(islice(value.items(), BREADTH)))
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
            return list(islice(value, BREADTH))
    return ()


def _of_the_library(module: str) -> bool:
    return module.startswith("akapulu_async") and not module.startswith("akapulu_async.simulator")


def _written(value: Any, write: Callable[[Any], str] = repr) -> str:
    try:
        return write(value)
    except Exception as broken:  # noqa: BLE001 - it may be half-initialised, be gone, or contain itself
        return f"not to be shown: {broken}"


def _text(output: str | bytes | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""


class _Everything(logging.Handler):
    """Keeps each line of each logger, with its exception and arguments."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(f"{self.format(record)} {record.args!r}", f"log of {record.name}")


class SecretScan:
    """The pytest plugin for `--scan-secrets`. It patches its sources for the whole process."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._shown: Shown = {}
        self._outputs: dict[tuple[int, int], bytearray] = {}
        self._errors = 0
        self._leaves_errors = False
        self._undo = pytest.MonkeyPatch()
        self._handler = _Everything(self.show)

    def show(self, text: str, where: str) -> None:
        """Keep a text that was shown."""
        self._shown.setdefault(text, where)

    def know(self, text: str) -> None:
        """Keep a secret to search for."""
        if is_secret(text):
            self._secrets.add(text)

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start listening."""
        # pytest captures the same log records as without the scan.
        capture = session.config.pluginmanager.getplugin("logging-plugin")
        for handler in (capture.caplog_handler, capture.report_handler):
            handler.setLevel(logging.WARNING)
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(logging.DEBUG)
        self._undo.setattr(Secret, "__init__", self._knowing(Secret.__init__))
        self._undo.setattr(world, "room_token", self._issuing(room_token))
        self._undo.setattr(Simulator, "__init__", self._accepting(Simulator.__init__))
        self._undo.setattr(subprocess.Popen, "__init__", self._starting(subprocess.Popen.__init__))
        self._listen()

    def _listen(self) -> None:
        """Patch the sources that have no hook."""
        self._undo.setattr(AkapuluError, "__del__", lambda error: self.look_at(error), raising=False)  # noqa: PLW0108 - binds
        self._undo.setattr(pytest.ExceptionInfo, "fill_unfilled", self._catching(pytest.ExceptionInfo.fill_unfilled))
        self._undo.setattr(pytest.CaptureFixture, "readouterr", self._reading(pytest.CaptureFixture.readouterr))
        pickled = self._pickling(pickle.dumps)
        self._undo.setattr(pickle, "dumps", pickled)
        self._undo.setattr(pickle, "dump", lambda value, file, *a, **o: file.write(pickled(value, *a, **o)))
        self._undo.setattr(subprocess.Popen, "communicate", self._communicating(subprocess.Popen.communicate))
        # Every process of asyncio and anyio ends up here.
        receive = SubprocessStreamProtocol.pipe_data_received
        self._undo.setattr(SubprocessStreamProtocol, "pipe_data_received", self._receiving(receive))

    def pytest_sessionfinish(self) -> None:
        """Restore everything."""
        logging.getLogger().removeHandler(self._handler)
        self._undo.undo()

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Keep a warning."""
        self.show(str(warning_message.message), "warning")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Start afresh with each test."""
        if self._leaves_errors:
            gc.collect()  # else the errors of a test that may show secrets die in another, which may not
        self._secrets.clear()
        self._shown.clear()
        self._outputs.clear()
        self._errors = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Look for what came up in all that was shown, when the test and its fixtures are over."""
        report = yield
        if call.excinfo is not None:
            self.look_at(call.excinfo.value)
        if report.when == "teardown":
            for title, text in report.sections:
                self.show(text, title)
            for (_, stream), output in self._outputs.items():
                self.show(_text(bytes(output)), f"{'stdout' if stream == 1 else 'stderr'} of a process")
            found = find(self._secrets, self._shown)
            self._leaves_errors = item.get_closest_marker("shows_secrets") is not None
            if found and not self._leaves_errors:
                report.outcome, report.longrepr = "failed", "\n".join(["secrets were shown", *found])
        return report

    def look_at(self, error: BaseException) -> None:
        """Look at an error that was caught, or dies."""
        where = type(error).__name__
        for text in texts_of(error):
            self.show(text, where)
        if self._errors < TRACEBACKS:
            self._errors += 1
            for text in variables_of(error):
                self.show(text, f"frames of {where}")

    def _knowing(self, make: Callable[[Secret, str], None]) -> Callable[[Secret, str], None]:
        @wraps(make)
        def made(secret: Secret, text: str) -> None:
            make(secret, text)
            ours = sys._getframe(1).f_globals.get("__name__", "").startswith("akapulu_async.")
            if ours and isinstance(text, str):  # tests of wrong types give others
                self.know(text)

        return made

    def _issuing(self, issue: Callable[..., str]) -> Callable[..., str]:
        @wraps(issue)
        def issued(*arguments: Any, **options: Any) -> str:
            token = issue(*arguments, **options)
            self.know(token)
            return token

        return issued

    def _accepting(self, make: Callable[..., None]) -> Callable[..., None]:
        @wraps(make)
        def made(simulator: Simulator, *arguments: Any, **options: Any) -> None:
            make(simulator, *arguments, **options)
            self.know(simulator.api_key)

        return made

    def _starting(self, start: Callable[..., None]) -> Callable[..., None]:
        @wraps(start)
        def started(process: "subprocess.Popen[Any]", *arguments: Any, **options: Any) -> None:
            self.know((options.get("env") or os.environ).get("AKAPULU_API_KEY", ""))
            start(process, *arguments, **options)

        return started

    def _catching(self, fill: Callable[..., None]) -> Callable[..., None]:
        @wraps(fill)
        def filled(info: "pytest.ExceptionInfo[BaseException]", caught: Any) -> None:
            fill(info, caught)
            self.look_at(info.value)

        return filled

    def _reading(self, read: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(read)
        def was_read(fixture: "pytest.CaptureFixture[Any]") -> Any:
            output = read(fixture)
            for text in output:
                self.show(_text(text), "captured output")
            return output

        return was_read

    def _pickling(self, dumps: Callable[..., bytes]) -> Callable[..., bytes]:
        @wraps(dumps)
        def pickled(value: object, *arguments: Any, **options: Any) -> bytes:
            data = dumps(value, *arguments, **options)
            self.show(data.decode("latin-1"), f"pickle of {type(value).__name__}")
            return data

        return pickled

    def _communicating(self, communicate: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(communicate)
        def communicated(process: "subprocess.Popen[Any]", *arguments: Any, **options: Any) -> Any:
            output = communicate(process, *arguments, **options)
            for text in output:
                self.show(_text(text), f"output of {process.args!s:.200}")
            return output

        return communicated

    def _receiving(self, receive: Callable[..., None]) -> Callable[..., None]:
        @wraps(receive)
        def received(protocol: SubprocessStreamProtocol, stream: int, data: bytes) -> None:
            self._outputs.setdefault((id(protocol), stream), bytearray()).extend(data)
            receive(protocol, stream, data)

        return received
