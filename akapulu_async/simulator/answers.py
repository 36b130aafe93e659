"""Answers: what goes back over the wire, refusals among them, before a fault changes it. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import field, frozen

from akapulu_async.simulator.checks import number

__all__ = [
    "CONCURRENCY_LIMIT",
    "JSON_HEADERS",
    "MINUTES_LIMIT",
    "Answer",
    "Piece",
    "Refusal",
    "RefusedError",
    "json_answer",
    "refusal_answer",
]

_REDIRECTED, _FAILED = 300, 500  # statuses from and below which a poll is refused for good
_TRY_AGAIN = {408, 429}

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}


class Piece(Protocol):
    """A body that is read while it is sent."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, starting at `offset`."""


@frozen
class Answer:
    """A status, headers and a body; a `Piece` is streamed.

    Attributes:
        tells_end: whether the body says that the conversation has ended.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Piece = b""
    tells_end: bool = False

    @property
    def ends_polling(self) -> bool:
        """Whether a client that polls and gets this has no reason to poll again."""
        return self.tells_end or (_REDIRECTED <= self.status < _FAILED and self.status not in _TRY_AGAIN)

    @property
    def size(self) -> int:
        """The body's bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size


@frozen
class Refusal:
    """An answer that refuses: a status, a code for programs and a sentence for people.

    The shape (`error` and `error_code` in a JSON object) is seen in the service; the only code seen is
    `AUTH_INVALID`. Every other code in this package is invented.

    Attributes:
        status: the HTTP status, 400-599.
        error_code: for programs.
        error: a sentence for people.
        retry_after: seconds for a `Retry-After` header; None: no header.

    """

    status: int = field(validator=number(400, 599, whole=True))
    error_code: str
    error: str
    retry_after: float | None = None

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        return {"error": self.error, "error_code": self.error_code}


class RefusedError(Exception):
    """The service refuses a request. `headers` are added to the answer."""

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(refusal.error)
        self.refusal = refusal
        self.headers = headers


CONCURRENCY_LIMIT = Refusal(429, "CONCURRENCY_LIMIT_REACHED", "All concurrent conversations of this plan are in use.")
"""Assumed: neither the status nor the code for a full account is published."""

MINUTES_LIMIT = Refusal(402, "MINUTES_LIMIT_REACHED", "The minutes of this plan are used up.")
"""Assumed: neither the status nor the code for used-up minutes is published."""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON."""
    return Answer(status, {**JSON_HEADERS, **(headers or {})}, json.dumps(value).encode())


def refusal_answer(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a refusal as an answer."""
    wait = {} if refusal.retry_after is None else {"Retry-After": f"{refusal.retry_after:g}"}
    return json_answer(refusal.body(), refusal.status, {**wait, **(headers or {})})
