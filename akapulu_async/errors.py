"""Every exception that the library raises.

::

    AkapuluError
    ├── ConfigurationError (also ValueError)   an argument or a setting is wrong; nothing was sent
    ├── TransportError                         no complete answer arrived
    │   └── RequestTimeoutError (also TimeoutError)
    ├── ConnectOutcomeUnknownError             a connect was sent, and may have made a conversation that holds a slot
    ├── InvalidResponseError                   an answer arrived that the interface does not allow
    ├── SessionEndedError                      the conversation ended, so the awaited state cannot be reached
    ├── ClosedError (also RuntimeError)        a client, manager or block is not open, or is used in the wrong place
    │   └── ManagerClosedError                 the session manager accepts no more sessions
    ├── StartTimeoutError (also TimeoutError)  a session did not start within the caller's timeout
    ├── WaitTimeoutError (also TimeoutError)   a wait exceeded the caller's timeout; the session continues
    ├── RecordingNotReadyError                 the recording is not ready yet
    │   └── RecordingTimeoutError (also TimeoutError)
    └── ApiError                               the service refused
        ├── BadRequestError                    400
        ├── AuthenticationError                401
        ├── PermissionDeniedError              403
        ├── NotFoundError                      404, 410
        ├── ConcurrencyLimitError              by its error code: all slots of the account are taken
        ├── MinutesLimitError                  402, or by its error code: the month's minutes are used up
        ├── RateLimitError                     429
        └── ServerError                        5xx

Exceptions hold plain values only, so they can be pickled and outlive the client. Their texts are built from those
values and never contain an API key or a room token.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class ErrorKind(StrEnum):
    """The subject of an error, from which exit codes and HTTP statuses are chosen. Compares as its text."""

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
    """The base class of every error of this library."""

    kind: ClassVar[ErrorKind] = ErrorKind.OTHER
    """The subject of the error."""

    @property
    def outcome_unknown(self) -> bool:
        """True if the request may have been carried out all the same.

        After a connect, a conversation may then exist that nobody knows: it holds a slot and costs minutes. False is
        certain; it is always False for a GET, which changes nothing.
        """
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls __init__ with self.args, which fails with keyword-only arguments.
        return type(self).__new__, (type(self), *self.args), self.__dict__


_SAFE_METHODS = frozenset({"GET", "HEAD"})


def _sentences(*parts: str | None) -> str:
    """Join the parts that are not empty, each ending in one full stop."""
    return " ".join(part if part[-1] in ".?!…" else f"{part}." for part in parts if part)


def _conversation(session_id: str | None) -> str:
    return "The conversation" if session_id is None else f"Conversation {session_id}"


class ConfigurationError(AkapuluError, ValueError):
    """An argument or a setting is wrong. Nothing was sent."""

    kind = ErrorKind.CONFIGURATION


@dataclass(kw_only=True, eq=False, repr=False)
class _RequestError(AkapuluError):
    """Base of the errors about one request."""

    method: str
    path: str
    attempts: int = 1

    @property
    def _tries(self) -> str | None:
        return f"Tried {self.attempts} times" if self.attempts > 1 else None


@dataclass(kw_only=True, eq=False, repr=False)
class TransportError(_RequestError):
    """No complete answer arrived: the network, TLS, a proxy or the service failed.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        attempts: How many attempts were made.
        reason: The failure, in words.
        sent: True if the service may have received the request; False if it surely did not.
        permanent: True if another attempt cannot help: a proxy refuses the credentials or the host. It is not retried.
    """

    kind = ErrorKind.UNREACHABLE

    reason: str
    sent: bool
    permanent: bool = False

    @property
    def outcome_unknown(self) -> bool:
        """See `AkapuluError.outcome_unknown`."""
        return self.sent and self.method not in _SAFE_METHODS

    def __str__(self) -> str:
        sent = None if self.sent else "It never reached the service"
        return _sentences(f"{self.method} {self.path} got no answer: {self.reason}", sent, self._tries)


class RequestTimeoutError(TransportError, TimeoutError):
    """A time limit passed before the answer was complete; `reason` says which limit and at which step."""


@dataclass(kw_only=True, eq=False, repr=False)
class ConnectOutcomeUnknownError(AkapuluError):
    """A connect was sent, and nothing proves that it made no conversation: one may exist and hold a paid slot.

    Its answer was lost, or it was answered with a status that a gateway also gives after the service has done the work:
    500, 502, 504 and every other 5xx, 408 and 499. Only a 503 that the service wrote itself, with a JSON error,
    is a refusal.

    Nothing in the API lists conversations [seen], so look for it in the dashboard: in its list of conversations, by
    time and scenario, or by a value of its own that you gave each connect in `runtime_vars` [assumed]. If it is there,
    its id is all that `attach()` needs. If nobody joins it, it ends at the service's join timeout, which frees the
    slot; its length is not documented. Until then, one slot of the account may be missing.

    It is neither a `TransportError` nor a `TimeoutError`, whatever the cause, so that no retry loop sends it twice by
    accident.

    Attributes:
        scenario_id: The scenario of the connect.
        avatar_id: The avatar of the connect.
        reason: How the answer was lost, or why it proves nothing, in words.
        status: The HTTP status of the answer; None if there was none.
        error_code: The machine-readable code of the answer, without secrets; None if there was none.
        message: The text of the answer, without secrets; None if there was no answer.
    """

    kind = ErrorKind.OUTCOME_UNKNOWN

    scenario_id: str
    avatar_id: str
    reason: str
    status: int | None = None
    error_code: str | None = None
    message: str | None = None

    @property
    def outcome_unknown(self) -> bool:
        """See `AkapuluError.outcome_unknown`."""
        return True

    def __str__(self) -> str:
        return _sentences(
            f"The connect of scenario {self.scenario_id} was sent, but its outcome is unknown: {self.reason}",
            "The conversation may exist and hold a slot until its join timeout",
            "Look for it in the dashboard's list of conversations, by time, scenario and runtime_vars; "
            "connect again only if a second conversation is acceptable",
        )


@dataclass(kw_only=True, eq=False, repr=False)
class InvalidResponseError(AkapuluError):
    """An answer arrived that the interface does not allow.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        status: The HTTP status of the answer.
        problem: The fault, in words.
        field: The offending field, such as `avatar.id`; None if the answer as a whole is wrong.
        excerpt: The beginning of the answer, without secrets; empty if there is nothing to show.
        outcome_unknown: See `AkapuluError.outcome_unknown`. True for every request that changes something, unless the
            status refuses it.
    """

    kind = ErrorKind.INVALID_RESPONSE

    method: str
    path: str
    status: int
    problem: str
    field: str | None = None
    excerpt: str = ""
    outcome_unknown: bool = False

    def __str__(self) -> str:
        where = f"field {self.field!r} " if self.field else ""
        return _sentences(
            f"{self.method} {self.path} was answered {self.status}, but {where}{self.problem}",
            f"The answer begins: {self.excerpt}" if self.excerpt else None,
            "The service may have carried out the request" if self.outcome_unknown else None,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class SessionEndedError(AkapuluError):
    """The conversation ended, so the awaited state cannot be reached. `__cause__` is the error that ended it, if any.

    Attributes:
        reason: An `EndReason`, which compares as its text.
        session_id: The conversation; None if its connect was never answered.
        because: Further details, without secrets, such as the text of the error that ended it; empty if there are none.
    """

    kind = ErrorKind.ENDED

    _WHY: ClassVar[dict[str, str]] = {
        "left": "this program stopped following it: it left the block, called end() or closed the manager",
        "completed": "the service reported that it is over",
        "ready_timeout": "the bot was not ready in time; raise ready_timeout to wait longer",
        "duration_limit_reached": "it reached the plan's maximum duration, or used up the month's minutes",
        "participant_join_timeout": "nobody joined its room in time",
        "connect_failed": "its connect was refused or got no answer",
        "failed": "the service, the network or its participant failed",
        "cancelled": "the task that followed it was cancelled",
        "unknown": "nobody here saw whether it completed",
    }

    reason: str
    session_id: str | None
    because: str = ""

    def __str__(self) -> str:
        why = f": {self._WHY[self.reason]}" if self.reason in self._WHY else ""
        return _sentences(f"{_conversation(self.session_id)} ended ({self.reason}){why}", self.because)


@dataclass(kw_only=True, eq=False, repr=False)
class WaitTimeoutError(AkapuluError, TimeoutError):
    """The `timeout` of a wait passed. The session continues.

    Attributes:
        session_id: The conversation; None if its connect was not answered yet.
        awaited: The awaited state.
        state: The current state.
        timeout: Seconds waited.
        progress: The progress, in words.
    """

    kind = ErrorKind.TIMEOUT

    session_id: str | None
    awaited: str
    state: str
    timeout: float
    progress: str

    def __str__(self) -> str:
        return _sentences(
            f"{_conversation(self.session_id)} did not reach {self.awaited} within {self.timeout:g} s: "
            f"it is {self.state} ({self.progress})",
            "The session continues; wait again, or leave it",
        )


class ClosedError(AkapuluError, RuntimeError):
    """A client, manager or session is not open, was entered already, or belongs to another event loop or task."""

    kind = ErrorKind.CLOSED


class ManagerClosedError(ClosedError):
    """The session manager is not open, or accepts no more sessions."""


@dataclass(kw_only=True, eq=False, repr=False)
class StartTimeoutError(AkapuluError, TimeoutError):
    """A session did not start within the caller's `timeout`.

    Attributes:
        timeout: Seconds waited.
        connecting: True if its connect was under way.
        goes_on: True if the manager continues to start the session.
        running: Number of running sessions.
        waiting: Number of other starts that wait.
    """

    kind = ErrorKind.TIMEOUT

    timeout: float
    connecting: bool
    goes_on: bool
    running: int
    waiting: int

    def __str__(self) -> str:
        if self.goes_on:
            then = "Its connect is under way; the session continues in the manager"
        elif self.connecting:
            then = "Its connect was under way; the session was ended"
        else:
            then = "It waited for its turn; wait longer, or raise max_sessions if the account allows more"
        counts = f"{self.running} running, {self.waiting} waiting"
        return _sentences(f"The session did not start within {self.timeout:g} s ({counts})", then)


@dataclass(kw_only=True, eq=False, repr=False)
class RecordingNotReadyError(AkapuluError):
    """The recording is not ready yet.

    Attributes:
        session_id: The conversation.
        status_text: The service's status text, without secrets; empty if there is none.
    """

    kind = ErrorKind.NOT_READY
    advice: ClassVar[str] = "Wait with wait_for_recording() or download_recording(wait=...)"

    session_id: str
    status_text: str = ""

    def __str__(self) -> str:
        said = f": {self.status_text}" if self.status_text else ""
        return _sentences(f"The recording of conversation {self.session_id} is not ready{said}", self.advice)


@dataclass(kw_only=True, eq=False, repr=False)
class RecordingTimeoutError(RecordingNotReadyError, TimeoutError):
    """The recording did not become ready within the caller's timeout. `__cause__` is the failure of the last check.

    Attributes:
        because: How the last check failed, in words; empty if it was answered.
    """

    because: str = ""

    advice = (
        "It becomes ready some time after the conversation has ended, "
        "and only if the conversation was connected with record_conversation=True"
    )

    def __str__(self) -> str:
        return _sentences(super().__str__(), self.because and f"The last check failed: {self.because}")


@dataclass(kw_only=True, eq=False, repr=False)
class ApiError(_RequestError):
    """The service refused. Branch on the class or on `error_code`, never on the message.

    Attributes:
        status: The HTTP status.
        error_code: The machine-readable code; None if the answer has none.
        message: The service's message for people; empty if there is none.
        method: The HTTP method.
        path: The path below the base URL.
        attempts: How many attempts were made.
        retry_after: Seconds that the service asks to wait; None if it did not say.
        outcome_unknown: See `AkapuluError.outcome_unknown`. True where the request changes something and the answer
            proves nothing: a 5xx, other than a 503 that the service wrote itself, a 408 or a 499.
        from_service: True if the answer has the form of the service's refusals [seen]: a JSON object with a text or a
            code, and not a redirect. Anything else, such as a web page or an empty body, may be a proxy's or a
            gateway's.
    """

    kind = ErrorKind.REFUSED
    advice: ClassVar[str | None] = None

    status: int
    error_code: str | None = None
    message: str = ""
    retry_after: float | None = None
    outcome_unknown: bool = False
    from_service: bool = True

    def __str__(self) -> str:
        code = f" {self.error_code}" if self.error_code else ""
        said = f": {self.message}" if self.message else ""
        wait = None if self.retry_after is None else f"The service asks to wait {self.retry_after:.10g} s"
        advice = self.advice
        if 300 <= self.status < 400:  # noqa: PLR2004 - the redirects
            advice = (
                "Redirects are not followed with the API key; "
                "check the base URL (https, host) and that the path ends in '/'"
            )
        elif 400 <= self.status < 500 and self.status not in {408, 429} and self.message.startswith("<"):  # noqa: PLR2004
            advice = (
                "The answer is a web page, not the API's: check that the base URL ends in '/api', "
                "and any firewall or proxy in between"
            )
        if self.outcome_unknown:
            advice = "The request may have been carried out all the same; look before you send it again"
        return _sentences(
            f"{self.method} {self.path} was refused with {self.status}{code}{said}", advice, wait, self._tries
        )


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
    """Nothing exists under this id, or no longer does (404, 410)."""

    kind = ErrorKind.NOT_FOUND
    advice = "It does not exist, or is over: check the id, and that the API key belongs to its account"


class ConcurrencyLimitError(ApiError):
    """All conversation slots of the account are taken; a slot becomes free when a conversation ends."""

    kind = ErrorKind.CONCURRENCY_LIMIT
    advice = "Wait until a conversation ends, or upgrade the plan"


class MinutesLimitError(ApiError):
    """The plan's minutes for this month are used up. Retrying does not help."""

    kind = ErrorKind.MINUTES_LIMIT
    advice = "Retrying does not help: upgrade the plan, or wait for the next month"


class RateLimitError(ApiError):
    """Too many requests (429)."""

    kind = ErrorKind.RATE_LIMIT
    advice = "Send fewer requests per second"


class ServerError(ApiError):
    """The service failed (5xx)."""

    kind = ErrorKind.SERVER
    advice = "Try again later"
