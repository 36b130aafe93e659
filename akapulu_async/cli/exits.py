"""Exit codes: what a script may branch on."""

from enum import IntEnum
from typing import Self

from akapulu_async.errors import (
    AkapuluError,
    AuthenticationError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    MinutesLimitError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RecordingNotReadyError,
    ServerError,
    SessionEndedError,
    StartTimeoutError,
    TransportError,
    WaitTimeoutError,
)


class ExitCode(IntEnum):
    """How a command ended. Bears its meaning for people."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member of a number and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done"
    FAILURE = 1, "it failed, for a reason that is none of those below"
    BAD_USE = 2, "an option or a setting cannot be used, or the extra is not installed"
    NOT_AUTHORISED = 3, "the API key is not accepted, or may not do this"
    NOT_FOUND = 4, "there is no such conversation, scenario or avatar"
    LIMIT_REACHED = 5, "the account's slots, minutes or requests a second are used up"
    NOT_READY = 6, "the conversation ended without getting ready"
    TIMED_OUT = 7, "what was asked for is not there yet, or did not come in time"
    UNREACHABLE = 8, "the service cannot be reached, or failed, or makes no sense"
    THRESHOLD_CROSSED = 9, "a --fail-if of a load test holds"
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM"


# The first that fits counts: a RequestTimeoutError, say, is first of all no answer.
CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (ConfigurationError, ExitCode.BAD_USE),
    (AuthenticationError, ExitCode.NOT_AUTHORISED),
    (PermissionDeniedError, ExitCode.NOT_AUTHORISED),
    (NotFoundError, ExitCode.NOT_FOUND),
    (ConcurrencyLimitError, ExitCode.LIMIT_REACHED),
    (MinutesLimitError, ExitCode.LIMIT_REACHED),
    (RateLimitError, ExitCode.LIMIT_REACHED),
    (ServerError, ExitCode.UNREACHABLE),
    (TransportError, ExitCode.UNREACHABLE),
    (InvalidResponseError, ExitCode.UNREACHABLE),
    (ConnectOutcomeUnknownError, ExitCode.UNREACHABLE),
    (RecordingNotReadyError, ExitCode.TIMED_OUT),
    (StartTimeoutError, ExitCode.TIMED_OUT),
    (WaitTimeoutError, ExitCode.TIMED_OUT),
)


def exit_code(error: BaseException) -> ExitCode:
    """Return the code of an error."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILURE


def end_code(error: SessionEndedError, *, ready: bool) -> ExitCode:
    """Return the code of a session's bad end: its cause's, or else whether its bot ever got ready."""
    if isinstance(error.__cause__, AkapuluError):
        return exit_code(error.__cause__)
    return ExitCode.FAILURE if ready else ExitCode.NOT_READY


def table() -> str:
    """Return all codes with their meanings, a line each."""
    return "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)
