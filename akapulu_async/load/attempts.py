"""One conversation of a load test: begun, held, and noted."""

from contextlib import suppress

from akapulu_async.errors import AkapuluError, ApiError, ManagerClosedError, SessionEndedError, WaitTimeoutError
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Attempt
from akapulu_async.manager import SessionManager
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.sansio.lifecycle import EndReason, SessionState
from akapulu_async.session import ConversationSession


async def attempt(
    manager: SessionManager, recorder: Recorder, request: ConnectRequest, *, due: float | None, hold: float | None
) -> None:
    """Connect, wait for the readiness, hold, leave, and note what came of it. Raises nothing of the library's.

    Args:
        manager: Where it runs.
        recorder: Where it is noted.
        request: What to connect.
        due: When it was to begin, by the recorder's clock; None: now.
        hold: Seconds to stay from the readiness on; None: until it ends by itself.
    """
    index, due = recorder.note_arrival(due)
    began: float | None = None
    session: ConversationSession | None = None
    error: AkapuluError | None = None
    try:
        async with manager.session(request) as session:
            began = _began(session, recorder)
            recorder.note_connected(due, began + (session.time_to_connection or 0.0))
            with suppress(SessionEndedError):  # the session tells why
                await session.bot_ready.wait()
                recorder.note_ready(due, began + (session.time_to_ready or 0.0))
                await _stay(session, hold)
    except AkapuluError as refused:
        error = refused
    if began is None or session is None:
        recorder.note_over(_never_began(index, due, recorder.clock(), error))
    else:
        recorder.note_over(_had_begun(index, due, began, session))


def _began(session: ConversationSession, recorder: Recorder) -> float:
    sent = session.entered_at(SessionState.CONNECTING)
    assert sent is not None  # it is connected
    return recorder.at(sent)


async def _stay(session: ConversationSession, hold: float | None) -> None:
    with suppress(WaitTimeoutError):
        await session.wait_for(SessionState.ENDED, timeout=hold)


def _never_began(index: int, due: float, now: float, error: AkapuluError | None) -> Attempt:
    broken_off = isinstance(error, ManagerClosedError | SessionEndedError)
    reason = None if broken_off else EndReason.CONNECT_FAILED
    return Attempt(index=index, due=due, ended=now, end_reason=reason, failure=failure(reason, error, ready=False))


def _had_begun(index: int, due: float, began: float, session: ConversationSession) -> Attempt:
    def at(state: SessionState) -> float | None:
        elapsed = session.elapsed(state)
        return None if elapsed is None else began + elapsed

    return Attempt(
        index=index,
        due=due,
        began=began,
        session_id=session.id,
        connected=began + (session.time_to_connection or 0.0),
        room_joined=at(SessionState.ROOM_JOINED),
        ready=at(SessionState.BOT_READY),
        ended=at(SessionState.ENDED),
        end_reason=session.end_reason,
        failure=failure(session.end_reason, session.cause, ready=session.bot_ready.is_set()),
    )


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
