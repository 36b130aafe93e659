"""Timeouts, and when a request is retried: plain values."""

from collections.abc import Callable

import attrs

from akapulu_async.checks import check_count, check_limit, check_pause, checked_by
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    ConcurrencyLimitError,
    InvalidResponseError,
    MinutesLimitError,
    TransportError,
)

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which a GET is retried: the service, or a proxy before it, fails temporarily."""

REFUSED_FOR_NOW = frozenset({429, 503})
"""Statuses after which other requests are retried, if the answer proves that nothing was done."""


def is_temporary(error: AkapuluError) -> bool:
    """Return True if a later request may succeed: no answer of the service came, or a refusal that passes.

    False for a proxy's refusal: repeating a wrong password can lock an account.
    """
    if isinstance(error, ApiError):
        return not error.from_service or error.status in RETRYABLE_STATUSES or error.status >= 500  # noqa: PLR2004
    return isinstance(error, InvalidResponseError) or (isinstance(error, TransportError) and not error.permanent)


@attrs.frozen
class Timeouts:
    """Time limits, in seconds. None means no limit."""

    connect: float | None = attrs.field(default=10.0, validator=checked_by(check_limit))
    """For making one connection: the lookup of the host's name, TCP, the proxy's tunnel and TLS. With a borrowed
    session it includes the wait for one of that session's connections."""

    total: float | None = attrs.field(default=30.0, validator=checked_by(check_limit))
    """For a whole call: the wait for a free connection, all attempts, the pauses between them, and the body. For a
    recording: until it begins, and then for each further piece."""


@attrs.frozen
class RetryPolicy:
    """How many times and after which pauses a request is retried.

    The pause after attempt n is uniformly distributed from 0 to `min(cap, base * 2 ** (n - 1))` seconds ("full
    jitter"), so that clients that failed together do not return together. A `Retry-After` is obeyed: the pause is that
    long, plus a random share of `base` seconds.

    A GET is retried if it was not sent, if no complete answer arrived, and after 408, 429, 500, 502, 503 and 504. Any
    other request, such as a connect, is retried only if it was surely not sent, or after a refusal that the service
    wrote: 429, or a 503 with a JSON error. A gateway gives every other 5xx, 408 and 499 also after the service has done
    the work. The account's concurrency and minutes limits are never retried here, whatever their status, nor is a
    proxy's refusal (401, 403, 407): repeating a wrong password can lock an account.
    """

    attempts: int = attrs.field(default=3, validator=checked_by(check_count))
    """Maximum number of attempts; 1 means no retries."""

    base: float = attrs.field(default=0.5, validator=checked_by(check_pause))
    """Longest first pause, in seconds."""

    cap: float = attrs.field(default=8.0, validator=checked_by(check_pause))
    """Longest pause, in seconds, unless a `Retry-After` asks for more."""

    def pause(
        self, error: AkapuluError, *, attempt: int, safe: bool, remaining: float | None, rng: Callable[[], float]
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up.

        Args:
            error: The error of the last attempt.
            attempt: The number of the last attempt, from 1.
            safe: True if the request can be sent twice without doing anything twice.
            remaining: Seconds until the call's deadline; None if it has none. A pause that would reach it is not begun.
            rng: Returns random numbers from 0 to 1.
        """
        if attempt >= self.attempts or not _worth_another(error, safe=safe):
            return None
        asked = error.retry_after if isinstance(error, ApiError) else None
        if asked is None:
            # Bounded: a float overflows at an exponent of 1024.
            pause = rng() * min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        else:
            pause = asked + rng() * self.base
        return pause if remaining is None or pause < remaining else None


def _worth_another(error: AkapuluError, *, safe: bool) -> bool:
    match error:
        case TransportError():
            return not error.permanent and (safe or not error.sent)
        case ConcurrencyLimitError() | MinutesLimitError():
            return False
        case ApiError():
            return error.status in (RETRYABLE_STATUSES if safe else REFUSED_FOR_NOW) and not error.outcome_unknown
    return False
