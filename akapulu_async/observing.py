"""Observers: told of attempts, session events and waiting starts, for telemetry, recordings and logs."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from akapulu_async.errors import ConfigurationError, ErrorKind
from akapulu_async.log import logger
from akapulu_async.sansio.lifecycle import SessionEvent

TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
"""The headers that an observer may add to a request."""


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt of a call: a request on the wire, and what came of it."""

    method: str
    template: str
    """The path below the base URL, with a name in braces for each id: `/conversations/{session_id}/updates/`."""

    host: str
    """The host that was asked: the service's, or where a recording's redirect led."""

    session_id: str | None
    """The conversation that it is about; None if it is about none, or the connect was not answered yet."""

    started_at: datetime
    """When it began, in UTC."""

    number: int
    """Which attempt of its call it is, from 1."""

    seconds: float | None = None
    """How long it took, until the whole answer was read; None while it is under way."""

    sent: bool = False
    """Whether the service may have received the request. False is certain, True is not."""

    status: int | None = None
    """The HTTP status; None if no answer came."""

    error: ErrorKind | None = None
    """How it failed; None if it succeeded, was cancelled or is under way."""

    retry_after: float | None = None
    """Seconds that the service asked to wait; None if it did not."""


@attrs.frozen(kw_only=True)
class ExchangeRecord:
    """An attempt with its headers and bodies, secrets masked."""

    attempt: Attempt
    request_headers: Mapping[str, str]
    request_body: str
    """Empty if there was none."""

    response_headers: Mapping[str, str]
    response_body: str
    """Empty if there was none, or it was read in pieces, as recordings are."""


class GateStep(StrEnum):
    """What happened to a start of a manager. Compares as its text."""

    WAITING = "waiting"
    """It waits: for `max_sessions`, the pace of connects, or a slot of the account."""

    REFUSED = "refused"
    """The service refused its connect, since all slots of the account are taken; it waits again."""

    ADMITTED = "admitted"
    """Its connect may be sent."""


@attrs.frozen(kw_only=True)
class GateEvent:
    """A start of a manager waits, was refused by the account, or was admitted."""

    step: GateStep
    at: datetime
    """When, in UTC."""

    waited: float
    """Seconds in the queue so far: since the start was asked for, or since the account refused it."""


class Observer:
    """What an observer may define. Override any of the methods; those that are not overridden cost nothing.

    They are called in the event loop and must return at once. An observer that raises is reported once in the log,
    and disturbs nothing.
    """

    def attempt_started(self, attempt: Attempt) -> Mapping[str, str] | None:
        """An attempt begins. May return the headers `traceparent` and `tracestate`, which are sent with it."""

    def attempt_finished(self, attempt: Attempt) -> None:
        """An attempt ended. `started_at` and `number` are those it began with."""

    def session_event(self, event: SessionEvent) -> None:
        """A session entered a state, or its progress changed."""

    def gate(self, event: GateEvent) -> None:
        """A start of a manager waits, was refused by the account, or was admitted."""

    def exchange(self, exchange: ExchangeRecord) -> None:
        """An attempt ended: its headers and bodies."""


class Observers:
    """The observers of a client, by what they define. A hook that nobody defines is an empty tuple."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        watching = tuple(observers)
        self.attempt_started = _hooks(watching, "attempt_started")
        self.attempt_finished = _hooks(watching, "attempt_finished")
        self.session_event = _hooks(watching, "session_event")
        self.gate = _hooks(watching, "gate")
        self.exchange = _hooks(watching, "exchange")
        self._reported: set[int] = set()
        for observer in watching:
            if not any(_defined(observer, name) for name in _HOOKS):
                raise ConfigurationError(
                    f"observers: {type(observer).__name__} defines none of {', '.join(_HOOKS)}; see Observer"
                )

    def tell(self, hooks: Iterable[Callable[[Any], object]], fact: object) -> None:
        """Call the hooks with a fact, whatever they raise."""
        for hook in hooks:
            self._call(hook, fact)

    def headers(self, attempt: Attempt) -> dict[str, str]:
        """Tell of an attempt that begins, and return the headers that observers add."""
        added: dict[str, str] = {}
        for hook in self.attempt_started:
            headers = self._call(hook, attempt)
            if isinstance(headers, Mapping):
                added |= {name: str(headers[name]) for name in headers if str(name).lower() in TRACE_HEADERS}
        return added

    def _call(self, hook: Callable[[Any], object], fact: object) -> object:
        try:
            return hook(fact)
        except Exception:  # noqa: BLE001 - whatever it raises
            owner = getattr(hook, "__self__", hook)
            if id(owner) not in self._reported:
                self._reported.add(id(owner))
                logger.exception("observer %s raised; further errors of it are not logged", type(owner).__name__)
            return None


_HOOKS = ("attempt_started", "attempt_finished", "session_event", "gate", "exchange")


def _hooks(observers: Iterable[Observer], name: str) -> tuple[Callable[[Any], Any], ...]:
    return tuple(getattr(observer, name) for observer in observers if _defined(observer, name))


def _defined(observer: Observer, name: str) -> bool:
    """Return True if an observer has a hook of its own, not only the one of `Observer` that does nothing."""
    return callable(getattr(observer, name, None)) and getattr(type(observer), name, None) is not vars(Observer)[name]


class LogObserver(Observer):
    """Writes the log lines of attempts: `>` sent, `<` answered (status and milliseconds), `!` failed."""

    def attempt_started(self, attempt: Attempt) -> None:
        """Log that it is sent."""
        _log(attempt, "> %s %s attempt %d", attempt.method, attempt.template, attempt.number)

    def attempt_finished(self, attempt: Attempt) -> None:
        """Log the answer, and the failure if it failed."""
        if attempt.status is not None:
            milliseconds = (attempt.seconds or 0.0) * 1000
            _log(attempt, "< %s %s %d %.0f ms", attempt.method, attempt.template, attempt.status, milliseconds)
        if attempt.status is None or attempt.error is not None:
            why = attempt.error or "cancelled"
            _log(attempt, "! %s %s %s", attempt.method, attempt.template, why)


def _log(attempt: Attempt, message: str, *values: object) -> None:
    logger.log(logging.DEBUG, message, *values, extra={"session_id": attempt.session_id})
