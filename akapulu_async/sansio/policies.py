"""When to try again, and how long to bear with the service: plain values that turn facts into seconds."""

from collections.abc import Callable
from typing import Any

import attrs

from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    ConcurrencyLimitError,
    ConfigurationError,
    MinutesLimitError,
    TransportError,
)

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""What a GET is sent again for: the service says that it, or something before it, is unwell just now."""

REFUSED_BEFORE_WORK = frozenset({429, 503})
"""What other requests are sent again for: the service says that it did nothing with them."""


def _positive(_: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ConfigurationError(f"{attribute.name}: {value!r} is not greater than 0")


def _not_negative(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value >= 0:
        raise ConfigurationError(f"{attribute.name}: {value!r} is less than 0")


@attrs.frozen
class Timeouts:
    """How long to wait for the service, in seconds. None means no limit."""

    connect: float | None = attrs.field(default=10.0, validator=_positive)
    """For one TCP and TLS connection to be made."""

    total: float | None = attrs.field(default=30.0, validator=_positive)
    """For a call as a whole: the wait for a free connection, all attempts with the pauses between them, and the
    body. Of a recording, for its beginning and then for each further piece."""


@attrs.frozen
class RetryPolicy:
    """How often and after which pauses a request is sent again.

    The pause after attempt n is drawn evenly from 0 to `min(cap, base * 2 ** (n - 1))` seconds ("full jitter"), so
    that many clients that failed together do not come back together. A `Retry-After` is obeyed: the pause is that
    long, plus up to `base` seconds drawn likewise.

    A GET is tried again when it was not sent, when no complete answer came, and for 408, 429, 500, 502, 503 and 504.
    All else, connects above all, only when it was surely not sent, or for a 429 or 503, which refuse before any
    work. The account's concurrency and minutes limits are never tried again here, whatever their status.
    """

    attempts: int = attrs.field(default=3)
    """How often a request is sent at the most; 1 for no retries."""

    base: float = attrs.field(default=0.5, validator=_not_negative)
    """Seconds: the longest first pause."""

    cap: float = attrs.field(default=8.0, validator=_not_negative)
    """Seconds: the longest pause ever drawn."""

    @attempts.validator
    def _check_attempts(self, attribute: "attrs.Attribute[int]", value: int) -> None:
        if value < 1:
            raise ConfigurationError(f"{attribute.name}: {value!r} is less than 1")

    def pause(
        self, error: AkapuluError, *, attempt: int, safe: bool, remaining: float | None, draw: Callable[[], float]
    ) -> float | None:
        """Return how many seconds to wait before the next attempt; None to give up.

        Args:
            error: How the attempt failed.
            attempt: Which attempt it was, from 1.
            safe: Whether the request may be sent twice without doing anything twice.
            remaining: Seconds until the call's deadline; None if it has none. A pause that would not end before is
                not begun.
            draw: Gives random numbers from 0 to 1.
        """
        if attempt >= self.attempts or not _worth_another(error, safe=safe):
            return None
        asked = error.retry_after if isinstance(error, ApiError) else None
        if asked is None:
            # The exponent is bounded, since a float overflows at 1024.
            pause = draw() * min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        else:
            pause = asked + draw() * self.base
        return pause if remaining is None or pause < remaining else None


def _worth_another(error: AkapuluError, *, safe: bool) -> bool:
    match error:
        case TransportError():
            return safe or not error.sent
        case ConcurrencyLimitError() | MinutesLimitError():
            return False
        case ApiError():
            return error.status in (RETRYABLE_STATUSES if safe else REFUSED_BEFORE_WORK)
    return False
