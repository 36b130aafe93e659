"""Observers of a client's attempts, session events and waiting starts: for telemetry, recordings and logs."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import attrs

from akapulu_async.errors import ConfigurationError, ErrorKind
from akapulu_async.log import logger
from akapulu_async.sansio.lifecycle import SessionEvent
from akapulu_async.secret import MASK, Secret, redact

TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
"""The headers that an observer may add to a request."""

_Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt of a call: a request on the wire, and its outcome.

    Each redirect of a recording is an attempt with the same number. A GET that is sent once more because its kept
    connection was closed before the answer is one attempt.
    """

    method: str
    template: str
    """The path below the base URL, with `{session_id}` in the place of the id. Of `client.request()`, the path."""

    host: str
    """The host of the service, or the target of a recording's redirect."""

    session_id: str | None
    """The conversation; None for a connect, and for other calls that concern no conversation."""

    started_at: datetime
    """When it began, in UTC."""

    number: int
    """Which attempt of its call it is, from 1."""

    seconds: float | None = None
    """How long it took until the whole answer was read, or a recording began; None while it is under way."""

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
    """A finished attempt with its headers and bodies, secrets masked."""

    attempt: Attempt
    request_headers: Mapping[str, str]
    """Those that the library sets."""

    request_body: str
    """Empty if there was none."""

    response_headers: Mapping[str, str]
    response_body: str
    """Empty if there was none, or it is read in pieces, as recordings are."""

    @classmethod
    def masked(cls, attempt: Attempt, request: _Message, response: _Message, secrets: Collection[Secret]) -> Self:
        """Return the record of an attempt: mask the given secrets in headers and bodies, and what looks like one."""
        return cls(
            attempt=attempt,
            request_headers=_masked(request[0], secrets),
            request_body=redact(request[1].decode("utf-8", "replace"), secrets),
            response_headers=_masked(response[0], secrets),
            response_body=redact(response[1].decode("utf-8", "replace"), secrets),
        )


def _masked(headers: Mapping[str, str], secrets: Collection[Secret]) -> dict[str, str]:
    return {
        name: MASK if name.lower() in _SECRET_HEADERS else redact(value, secrets) for name, value in headers.items()
    }


class GateStep(StrEnum):
    """A step of a manager's start. Compares as its text."""

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
    """The base of observers. Override any of the methods; those that are not overridden cost nothing.

    They are called in the event loop and must return at once. If an observer raises, that is logged once and has no
    other effect.
    """

    def attempt_started(self, attempt: Attempt) -> Mapping[str, str] | None:
        """Called when an attempt begins. Of the headers that it returns, `traceparent` and `tracestate` are sent."""

    def attempt_finished(self, attempt: Attempt) -> None:
        """Called when an attempt ended, with the `started_at` and `number` that it began with."""

    def session_event(self, event: SessionEvent) -> None:
        """Called when a session entered a state, or its progress changed."""

    def gate(self, event: GateEvent) -> None:
        """Called when a start of a manager waits, was refused by the account, or was admitted."""

    def exchange(self, exchange: ExchangeRecord) -> None:
        """Called when an attempt ended, with its headers and bodies."""


_HOOKS = ("attempt_started", "attempt_finished", "session_event", "gate", "exchange")


class Observers:
    """The observers of a client, by the hooks that they define. A hook that nobody defines is an empty tuple.

    Attributes:
        attempts: Whether an observer, other than the log's, is called for attempts.

    Raises:
        ConfigurationError: An observer defines no hook, or an async one.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        if not isinstance(observers, Iterable):
            raise ConfigurationError(f"observers must be a list of observers, not {type(observers).__name__}")
        watching = tuple(observers)
        for observer in watching:
            hooks = [hook for name in _HOOKS for hook in _hooks((observer,), name)]
            if not hooks or any(inspect.iscoroutinefunction(hook) for hook in hooks):
                raise ConfigurationError(
                    f"observers: {type(observer).__name__} must define one or more of {', '.join(_HOOKS)}, none async"
                )
        log = LogObserver()
        self.attempt_started = (log.attempt_started, *_hooks(watching, "attempt_started"))
        self.attempt_finished = (log.attempt_finished, *_hooks(watching, "attempt_finished"))
        self.session_event = _hooks(watching, "session_event")
        self.gate = _hooks(watching, "gate")
        self.exchange = _hooks(watching, "exchange")
        self.attempts = bool(self.attempt_started[1:] or self.attempt_finished[1:] or self.exchange)
        self._reported: set[object] = set()

    def tell(
        self, hooks: Iterable[Callable[[Any], object]], fact: object, take: Callable[[Any], object] = lambda _: None
    ) -> None:
        """Call hooks with a fact, whatever they raise, and `take` with each result."""
        for hook in hooks:
            try:
                take(hook(fact))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - whatever an observer raises
                observer = getattr(hook, "__self__", hook)
                if id(observer) not in self._reported:
                    self._reported.add(id(observer))
                    logger.exception("Observer %s raised; its further errors are not logged", type(observer).__name__)

    def headers(self, attempt: Attempt) -> dict[str, str]:
        """Call the observers for an attempt that begins, and return the headers that they add."""
        added: dict[str, str] = {}

        def add(headers: Mapping[str, str] | None) -> None:
            trace = {name.lower(): value for name, value in (headers or {}).items() if name.lower() in TRACE_HEADERS}
            if not all(value.isascii() and value.isprintable() for value in trace.values()):
                raise ValueError("traceparent and tracestate must be printable ASCII")
            added.update(trace)

        self.tell(self.attempt_started, attempt, add)
        return added


def _hooks(observers: Iterable[Observer], name: str) -> tuple[Callable[[Any], Any], ...]:
    """Return the hooks of one name, without that of `Observer`, which does nothing."""
    hooks = (getattr(observer, name, None) for observer in observers)
    return tuple(
        hook for hook in hooks if callable(hook) and getattr(hook, "__func__", None) is not vars(Observer)[name]
    )


class LogObserver(Observer):
    """Writes the log lines of attempts: `>` sent, `<` answered (status and milliseconds), `!` not answered."""

    def attempt_started(self, attempt: Attempt) -> None:
        """Log the request."""
        _log(attempt, ">", f"attempt {attempt.number}")

    def attempt_finished(self, attempt: Attempt) -> None:
        """Log the answer, or that none came."""
        if attempt.status is None:
            _log(attempt, "!", attempt.error or "cancelled")
        else:
            milliseconds = (attempt.seconds or 0.0) * 1000
            _log(attempt, "<", f"{attempt.status} {milliseconds:.0f} ms {attempt.error or ''}".rstrip())


def _log(attempt: Attempt, mark: str, what: str) -> None:
    path = attempt.template.replace("{session_id}", attempt.session_id or "")
    logger.debug("%s %s %s %s", mark, attempt.method, path, what, extra={"session_id": attempt.session_id})
