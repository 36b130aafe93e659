"""Exit codes: what a script may branch on."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Self

from akapulu_async import AkapuluError, ErrorKind, SessionEndedError


class ExitCode(IntEnum):
    """How a command ended, with its meaning for people."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member of a number and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "success"
    FAILURE = 1, "any other failure, such as output that cannot be written"
    BAD_USE = 2, "an option or a setting is unusable, or the extra cli is not installed"
    NOT_AUTHORISED = 3, "the API key is not accepted, or lacks the permission"
    NOT_FOUND = 4, "the conversation, recording, scenario or avatar does not exist"
    LIMIT_REACHED = 5, "the account's slots, minutes or requests per second are used up"
    NOT_READY = 6, "the conversation ended before its bot was ready"
    TIMED_OUT = 7, "not ready yet, or timed out"
    UNREACHABLE = 8, "the service is unreachable, failed, or sent an unusable answer"
    THRESHOLD_CROSSED = 9, "a --fail-if threshold of a load test was crossed"
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM; simulate ends with 0 then"


CODES: Mapping[ErrorKind, ExitCode] = {
    ErrorKind.AUTHENTICATION: ExitCode.NOT_AUTHORISED,
    ErrorKind.BAD_REQUEST: ExitCode.FAILURE,
    ErrorKind.CLOSED: ExitCode.FAILURE,
    ErrorKind.CONCURRENCY_LIMIT: ExitCode.LIMIT_REACHED,
    ErrorKind.CONFIGURATION: ExitCode.BAD_USE,
    ErrorKind.ENDED: ExitCode.FAILURE,
    ErrorKind.INVALID_RESPONSE: ExitCode.UNREACHABLE,
    ErrorKind.MINUTES_LIMIT: ExitCode.LIMIT_REACHED,
    ErrorKind.NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorKind.NOT_READY: ExitCode.TIMED_OUT,
    ErrorKind.OTHER: ExitCode.FAILURE,
    ErrorKind.OUTCOME_UNKNOWN: ExitCode.UNREACHABLE,
    ErrorKind.PERMISSION: ExitCode.NOT_AUTHORISED,
    ErrorKind.RATE_LIMIT: ExitCode.LIMIT_REACHED,
    ErrorKind.REFUSED: ExitCode.FAILURE,
    ErrorKind.SERVER: ExitCode.UNREACHABLE,
    ErrorKind.TIMEOUT: ExitCode.TIMED_OUT,
    ErrorKind.UNREACHABLE: ExitCode.UNREACHABLE,
}


def exit_code(error: BaseException) -> ExitCode:
    """Return the code of an error."""
    return CODES[error.kind] if isinstance(error, AkapuluError) else ExitCode.FAILURE


def end_code(error: SessionEndedError, *, ready: bool) -> ExitCode:
    """Return the code of a session that ended badly: that of its cause, or else by whether its bot became ready."""
    if isinstance(error.__cause__, AkapuluError):
        return exit_code(error.__cause__)
    return ExitCode.FAILURE if ready else ExitCode.NOT_READY


def table() -> str:
    """Return all codes with their meanings, one per line."""
    return "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)
