"""When a request is sent again, and how long to wait for it: plain values."""

from collections.abc import Callable

import attrs

from akapulu_async.checks import check_count, check_limit, check_pause, checked_by
from akapulu_async.errors import AkapuluError, ApiError, ConcurrencyLimitError, MinutesLimitError, TransportError

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""What a GET is sent again for: the service says that it, or something before it, is unwell just now."""

REFUSED_BEFORE_WORK = frozenset({429, 503})
"""What other requests are sent again for: the service says that it did nothing with them."""


@attrs.frozen
class Timeouts:
    """How long to wait for the service, in seconds. None means no limit."""

    connect: float | None = attrs.field(default=10.0, validator=checked_by(check_limit))
    """For one TCP and TLS connection to be made."""

    total: float | None = attrs.field(default=30.0, validator=checked_by(check_limit))
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

    attempts: int = attrs.field(default=3, validator=checked_by(check_count))
    """How often a request is sent at the most; 1 for no retries."""

    base: float = attrs.field(default=0.5, validator=checked_by(check_pause))
    """Seconds: the longest first pause."""

    cap: float = attrs.field(default=8.0, validator=checked_by(check_pause))
    """Seconds: the longest pause ever drawn."""

    def pause(
        self, error: AkapuluError, *, attempt: int, safe: bool, remaining: float | None, rng: Callable[[], float]
    ) -> float | None:
        """Return how many seconds to wait before the next attempt; None to give up.

        Args:
            error: How the attempt failed.
            attempt: Which attempt it was, from 1.
            safe: Whether the request may be sent twice without doing anything twice.
            remaining: Seconds until the call's deadline; None if it has none. A pause that would not end before is
                not begun.
            rng: Gives random numbers from 0 to 1.
        """
        if attempt >= self.attempts or not _worth_another(error, safe=safe):
            return None
        asked = error.retry_after if isinstance(error, ApiError) else None
        if asked is None:
            # The exponent is bounded, since a float overflows at 1024.
            pause = rng() * min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        else:
            pause = asked + rng() * self.base
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


# These were found by simulation (benchmarks/polling.py), in which readiness must be seen as soon as at a fixed
# interval: on average, and in the 95th and 99th of a hundred sessions.
