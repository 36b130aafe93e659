"""Every exception that the library raises.

::

    AkapuluError
    ├── ConfigurationError (also ValueError)   an argument or a setting is unusable; nothing was sent
    ├── TransportError                         no complete answer came
    │   └── RequestTimeoutError (also TimeoutError)
    ├── ConnectOutcomeUnknownError             a connect was sent and its answer lost: it may hold a slot
    ├── InvalidResponseError                   an answer came that makes no sense
    ├── SessionEndedError                      what was waited for can no longer come: the conversation ended
    ├── ClosedError (also RuntimeError)        a client or a manager is not open, or belongs to another event loop
    │   └── ManagerClosedError                 the session manager takes no more sessions
    ├── StartTimeoutError (also TimeoutError)  a session was not started in the time that the caller gave
    ├── WaitTimeoutError (also TimeoutError)   the caller's patience is over; the session goes on
    ├── RecordingNotReadyError                 the recording is not there yet
    │   └── RecordingTimeoutError (also TimeoutError)
    └── ApiError                               the service refused
        ├── BadRequestError                    400
        ├── AuthenticationError                401
        ├── PermissionDeniedError              403
        ├── NotFoundError                      404, 410
        ├── ConcurrencyLimitError              by its error code: all slots of the account are taken
        ├── MinutesLimitError                  by its error code: the month's minutes are used up
        ├── RateLimitError                     429
        └── ServerError                        5xx

Exceptions hold plain values only, so they pickle and outlive the client. Their texts are built from those
values and never bear an API key or a room token.
"""

from enum import StrEnum
from typing import Any, ClassVar


class ErrorKind(StrEnum):
    """What an error is about: what exit codes and HTTP statuses are chosen by. Compares as its text."""

    AUTHENTICATION = "authentication"
    BAD_REQUEST = "bad_request"
    CLOSED = "closed"
    CONCURRENCY_LIMIT = "concurrency_limit"
    CONFIGURATION = "configuration"
    ENDED = "ended"
    INVALID_RESPONSE = "invalid_response"
    MINUTES_LIMIT = "minutes_limit"
    NOT_FOUND = "not_found"
    NOT_READY = "not_ready"
    OTHER = "other"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PERMISSION = "permission"
    RATE_LIMIT = "rate_limit"
    REFUSED = "refused"
    SERVER = "server"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


class AkapuluError(Exception):
    """The base of every error of this library. Catch it to catch them all."""

    kind: ClassVar[ErrorKind] = ErrorKind.OTHER
    """What the error is about."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls __init__ with self.args, which keyword-only arguments do not survive.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[AkapuluError], args: tuple[Any, ...]) -> AkapuluError:
    return cls.__new__(cls, *args)


def _sentences(*parts: str | None) -> str:
    """Join what is there, each part ending in one full stop."""
    return " ".join(part if part[-1] in ".?!…" else f"{part}." for part in parts if part)


def _conversation(session_id: str | None) -> str:
    return "The conversation" if session_id is None else f"Conversation {session_id}"


class ConfigurationError(AkapuluError, ValueError):
    """An argument or a setting cannot be used. Nothing was sent."""

    kind = ErrorKind.CONFIGURATION


class _RequestError(AkapuluError):
    """What the errors about one request share."""

    def __init__(self, *, method: str, path: str, attempts: int) -> None:
        super().__init__()
        self.method = method
        self.path = path
        self.attempts = attempts

    @property
    def _tries(self) -> str | None:
        return f"Tried {self.attempts} times" if self.attempts > 1 else None


class TransportError(_RequestError):
    """No complete answer came: the network, TLS, a proxy or the service broke off.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        attempts: How often the request was tried.
        reason: What went wrong, in words.
        sent: Whether the service may have received the request. False is certain, True is not.
    """

    kind = ErrorKind.UNREACHABLE

    def __init__(self, *, method: str, path: str, reason: str, sent: bool, attempts: int = 1) -> None:
        super().__init__(method=method, path=path, attempts=attempts)
        self.reason = reason
        self.sent = sent

    def __str__(self) -> str:
        sent = None if self.sent else "It never reached the service"
        return _sentences(f"{self.method} {self.path} got no answer: {self.reason}", sent, self._tries)


class RequestTimeoutError(TransportError, TimeoutError):
    """A time limit passed before the answer was complete; `reason` says which, and in doing what."""


class ConnectOutcomeUnknownError(AkapuluError):
    """A connect was sent, but its answer was lost. The conversation may exist and hold a paid slot.

    It is not a `TransportError` (nor a `TimeoutError`, whatever the cause), so that nobody's retry loop sends
    it twice by accident.

    Attributes:
        scenario_id: The scenario that was asked for.
        avatar_id: The avatar that was asked for.
        reason: How the answer was lost, in words.
    """

    kind = ErrorKind.OUTCOME_UNKNOWN

    def __init__(self, *, scenario_id: str, avatar_id: str, reason: str) -> None:
        super().__init__()
        self.scenario_id = scenario_id
        self.avatar_id = avatar_id
        self.reason = reason

    def __str__(self) -> str:
        return _sentences(
            f"The connect of scenario {self.scenario_id} was sent, but its answer was lost: {self.reason}",
            "The conversation may exist and hold a slot until nobody joins it in time; "
            "connect again only if that is acceptable",
        )


class InvalidResponseError(AkapuluError):
    """An answer came, but not one that the interface allows.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        status: The HTTP status of the answer.
        problem: What is wrong with it, in words.
        field: The offending field, such as `avatar.id`; None if the answer as a whole is wrong.
        excerpt: The beginning of the answer, without secrets; empty if there is nothing to show.
    """

    kind = ErrorKind.INVALID_RESPONSE

    def __init__(
        self, *, method: str, path: str, status: int, problem: str, field: str | None = None, excerpt: str = ""
    ) -> None:
        super().__init__()
        self.method = method
        self.path = path
        self.status = status
        self.problem = problem
        self.field = field
        self.excerpt = excerpt

    def __str__(self) -> str:
        where = f"field {self.field!r} " if self.field else ""
        what = f"{self.method} {self.path} was answered {self.status}, but {where}{self.problem}"
        created = self.method not in {"GET", "HEAD"} and self.status < 300  # noqa: PLR2004 - the 2xx
        return _sentences(
            what,
            f"The answer begins: {self.excerpt}" if self.excerpt else None,
            "What was asked for may have been done all the same" if created else None,
        )


class SessionEndedError(AkapuluError):
    """The conversation ended, so that what was waited for can no longer come. `__cause__` is the error behind it.

    Attributes:
        reason: An `EndReason`, which compares as its text.
        session_id: The conversation; None if its connect was never answered.
        because: What the error behind it says, without secrets; empty if there is none.
    """

    kind = ErrorKind.ENDED

    _WHY: ClassVar[dict[str, str]] = {
        "left": "this program left it",
        "completed": "it is completed",
        "ready_timeout": "the bot did not get ready in time; ready_timeout= gives it longer",
        "duration_limit_reached": "the limit of its duration was reached: the plan's cap, or the month's minutes",
        "participant_join_timeout": "nobody joined the room in time",
        "connect_failed": "it could not be connected",
        "failed": "it failed",
        "cancelled": "the task that held it was cancelled",
    }

    def __init__(self, *, reason: str, session_id: str | None, because: str = "") -> None:
        super().__init__()
        self.reason = reason
        self.session_id = session_id
        self.because = because

    def __str__(self) -> str:
        why = self._WHY.get(self.reason, self.reason)
        return _sentences(f"{_conversation(self.session_id)} ended ({self.reason}): {why}", self.because)


class WaitTimeoutError(AkapuluError, TimeoutError):
    """A wait's own `timeout` passed. The session goes on.

    Attributes:
        session_id: The conversation; None if its connect was not answered yet.
        awaited: The state that was waited for.
        state: The state it is in.
        timeout: Seconds that were waited.
        progress: How far it is, in words.
    """

    kind = ErrorKind.TIMEOUT

    def __init__(self, *, session_id: str | None, awaited: str, state: str, timeout: float, progress: str) -> None:
        super().__init__()
        self.session_id = session_id
        self.awaited = awaited
        self.state = state
        self.timeout = timeout
        self.progress = progress

    def __str__(self) -> str:
        return _sentences(
            f"{_conversation(self.session_id)} is not {self.awaited} after {self.timeout:g} s, "
            f"it is {self.state} ({self.progress})",
            "The session goes on",
        )


class ClosedError(AkapuluError, RuntimeError):
    """A client or a manager is not open, was closed, or belongs to another event loop. Nothing was sent."""

    kind = ErrorKind.CLOSED


class ManagerClosedError(ClosedError):
    """The session manager is not open, or takes no more sessions. Nothing was sent."""


class StartTimeoutError(AkapuluError, TimeoutError):
    """A session was not started within the caller's own `timeout`.

    Attributes:
        timeout: Seconds that were waited.
        connecting: Whether its connect was on its way.
        goes_on: Whether the session goes on to come up in the manager.
        running: How many sessions run.
        waiting: How many starts wait besides.
    """

    kind = ErrorKind.TIMEOUT

    def __init__(self, *, timeout: float, connecting: bool, goes_on: bool, running: int, waiting: int) -> None:
        super().__init__()
        self.timeout = timeout
        self.connecting = connecting
        self.goes_on = goes_on
        self.running = running
        self.waiting = waiting

    def __str__(self) -> str:
        if self.goes_on:
            then = "Its connect is on its way; the session goes on in the manager"
        elif self.connecting:
            then = "Its connect was on its way; the session was ended"
        else:
            then = "It waited for its turn; wait longer, or raise max_sessions if the account allows more"
        return _sentences(
            f"The session was not started within {self.timeout:g} s: {self.running} run, {self.waiting} wait", then
        )


class RecordingNotReadyError(AkapuluError):
    """The recording cannot be had yet.

    Attributes:
        session_id: The conversation.
        status_text: What the service says of it; empty if it says nothing.
    """

    kind = ErrorKind.NOT_READY

    advice: ClassVar[str] = "Use wait_for_recording(), or download_recording(wait=...)"

    def __init__(self, *, session_id: str, status_text: str = "") -> None:
        super().__init__()
        self.session_id = session_id
        self.status_text = status_text

    def __str__(self) -> str:
        said = f": {self.status_text}" if self.status_text else ""
        return _sentences(f"The recording of conversation {self.session_id} is not ready{said}", self.advice)


class RecordingTimeoutError(RecordingNotReadyError, TimeoutError):
    """The recording did not become ready in the time that the caller gave."""

    advice = (
        "It becomes ready some time after the conversation has ended, "
        "and only if it was connected with record_conversation=True"
    )


class ApiError(_RequestError):
    """The service refused. Branch on the class or on `error_code`, never on the message.

    Attributes:
        status: The HTTP status.
        error_code: The machine-readable code; None if the answer bore none.
        message: The service's sentence for people; empty if there was none.
        method: The HTTP method.
        path: The path below the base URL.
        attempts: How often the request was tried.
        retry_after: How many seconds the service asks to wait; None if it did not say.
    """

    kind = ErrorKind.REFUSED

    advice: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        status: int,
        method: str,
        path: str,
        error_code: str | None = None,
        message: str = "",
        attempts: int = 1,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(method=method, path=path, attempts=attempts)
        self.status = status
        self.error_code = error_code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = f" {self.error_code}" if self.error_code else ""
        said = f": {self.message}" if self.message else ""
        wait = None if self.retry_after is None else f"The service asks to wait {self.retry_after:.10g} s"
        return _sentences(
            f"{self.method} {self.path} was refused with {self.status}{code}{said}", self._advice(), wait, self._tries
        )

    def _advice(self) -> str | None:
        if 300 <= self.status < 400:  # noqa: PLR2004 - the redirects
            return (
                "Redirects are not followed with the API key; "
                "check the base URL (https, host) and that the path ends in '/'"
            )
        return self.advice


class BadRequestError(ApiError):
    """A field is missing, malformed or not allowed (400)."""

    kind = ErrorKind.BAD_REQUEST


class AuthenticationError(ApiError):
    """The API key is not accepted (401)."""

    kind = ErrorKind.AUTHENTICATION

    advice = "Check the API key (AKAPULU_API_KEY) and that it belongs to this base URL"


class PermissionDeniedError(ApiError):
    """The key's owner may not do this (403)."""

    kind = ErrorKind.PERMISSION

    advice = "Check that the key's owner has access to the scenario and the avatar"


class NotFoundError(ApiError):
    """There is nothing under this id, or no longer (404, 410)."""

    kind = ErrorKind.NOT_FOUND


class ConcurrencyLimitError(ApiError):
    """All conversation slots of the account are taken; one gets free when a conversation ends."""

    kind = ErrorKind.CONCURRENCY_LIMIT

    advice = "Wait until a conversation ends, or raise the plan's concurrency"


class MinutesLimitError(ApiError):
    """The plan's minutes of this month are used up. Trying again does not help."""

    kind = ErrorKind.MINUTES_LIMIT

    advice = "Waiting does not help: raise the plan, or wait for the next month"


class RateLimitError(ApiError):
    """Too many requests (429)."""

    kind = ErrorKind.RATE_LIMIT

    advice = "Send fewer requests a second"


class ServerError(ApiError):
    """The service failed (5xx)."""

    kind = ErrorKind.SERVER
