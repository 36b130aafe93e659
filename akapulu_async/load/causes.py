"""Why an attempt failed, in a word or two, so that equal causes count together. Pure."""

from akapulu_async.errors import AkapuluError, ApiError
from akapulu_async.sansio.lifecycle import EndReason

INTERRUPTED = "interrupted"
"""The load test itself was broken off."""


def name_of(error: BaseException) -> str:
    """Name an error by its kind, and by its status if it is a refusal."""
    name = type(error).__name__
    return f"{name} {error.status}" if isinstance(error, ApiError) else name


def failure(reason: EndReason | None, cause: BaseException | None, *, ready: bool) -> str | None:
    """Return why a conversation failed; None if it got ready and was not broken off by an error.

    Args:
        reason: Why it ended; None if it never began, since the load test was broken off before.
        cause: The error that ended it, or kept it from beginning; None if none did.
        ready: Whether it got ready.
    """
    if ready and reason is not EndReason.FAILED:
        return None
    if reason in {None, EndReason.LEFT, EndReason.CANCELLED}:  # what is not ready is left only then
        return INTERRUPTED
    return name_of(cause) if isinstance(cause, AkapuluError) else str(reason)
