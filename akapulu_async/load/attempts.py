"""One conversation of a load test: connect, wait for readiness, hold, leave, record."""

from contextlib import suppress

from akapulu_async import (
    AkapuluError,
    ApiError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    ManagerClosedError,
    SessionEndedError,
    SessionManager,
    SessionState,
    WaitTimeoutError,
)
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Attempt

INTERRUPTED = "interrupted"
"""The cause of failure of what was cut short because the test was stopped."""


async def attempt(
    manager: SessionManager, recorder: Recorder, request: ConnectRequest, *, due: float | None, hold: float | None
) -> None:
    """Run one conversation and record it. Raises none of the library's errors.

    Args:
        manager: Holds the session.
        recorder: Gets the measurements.
        request: The connect request.
        due: When it should have started, by the recorder's clock; None: now.
        hold: Seconds to stay once it is ready; None: until it ends by itself.
    """
    index, due = recorder.note_arrival(due)
    began: float | None = None
    session: ConversationSession | None = None
    error: AkapuluError | None = None
    try:
        async with manager.session(request) as session:
            began = _began(session, recorder)
            recorder.note_connected(due, began + (session.time_to_connection or 0.0))
            with suppress(SessionEndedError):  # the session keeps its cause
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
    stopped = isinstance(error, ManagerClosedError | SessionEndedError)
    reason = None if stopped else EndReason.CONNECT_FAILED
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


def failure(reason: EndReason | None, cause: BaseException | None, *, ready: bool) -> str | None:
    """Return the cause of failure in a word or two, equal for equal causes; None if the attempt succeeded.

    An attempt succeeds if the bot became ready and no error ended the session.

    Args:
        reason: Why the session ended; None if it never began because the test was stopped.
        cause: The error that ended the session or made its connect fail; None if there was none.
        ready: True if the bot became ready.
    """
    if ready and reason is not EndReason.FAILED:
        return None
    if reason in {None, EndReason.LEFT, EndReason.CANCELLED}:  # only a stopped test leaves before readiness
        return INTERRUPTED
    if not isinstance(cause, AkapuluError):
        return str(reason)
    name = type(cause).__name__
    return f"{name} {cause.status}" if isinstance(cause, ApiError) else name
