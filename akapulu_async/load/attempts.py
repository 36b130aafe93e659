"""One conversation of a load test: connect, wait for readiness, hold, leave, record."""

from collections.abc import Mapping
from contextlib import suppress

from akapulu_async import (
    AkapuluError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    ManagerClosedError,
    SessionEndedError,
    SessionManager,
    SessionState,
    WaitTimeoutError,
)
from akapulu_async.load.calls import Calls, count_in
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Attempt

LONGEST_TEXT = 60
"""Most characters of the service's last status text in a cause of failure."""


async def attempt(
    manager: SessionManager, recorder: Recorder, request: ConnectRequest, *, due: float | None, hold: float | None
) -> None:
    """Run one conversation and record it. Raises none of the library's errors.

    Args:
        manager: Holds the session. Its client has a `CallObserver`.
        recorder: Gets the measurements.
        request: The connect request.
        due: When it should have started, by the recorder's clock; None: now.
        hold: Seconds to stay once it is ready; None: until it ends by itself.
    """
    index, due = recorder.note_arrival(due)
    calls = Calls(within=recorder.calls)
    count_in(calls)
    began: float | None = None
    session: ConversationSession | None = None
    error: AkapuluError | None = None
    try:
        async with manager.session(request) as session:
            assert calls.began is not None, "the client needs a CallObserver"
            began = recorder.at(calls.began)
            recorder.note_connected(due, began + (session.time_to_connection or 0.0))
            with suppress(SessionEndedError):  # the session keeps its cause
                await session.bot_ready.wait()
                calls.ready = True
                recorder.note_ready(due, began + (session.time_to_ready or 0.0))
                await _stay(session, hold)
    except AkapuluError as refused:
        error = refused
    if began is None or session is None:
        recorder.note_over(_never_began(index, due, recorder.clock(), error, calls))
    else:
        recorder.note_over(_had_begun(index, due, began, session, calls))


async def _stay(session: ConversationSession, hold: float | None) -> None:
    with suppress(WaitTimeoutError):
        await session.wait_for(SessionState.ENDED, timeout=hold)


def _never_began(index: int, due: float, now: float, error: AkapuluError | None, calls: Calls) -> Attempt:
    stopped = isinstance(error, ManagerClosedError | SessionEndedError)
    reason = None if stopped else EndReason.CONNECT_FAILED
    return Attempt(
        index=index,
        due=due,
        ended=now,
        end_reason=reason,
        failure=failure(reason, error, ready=False),
        retries=calls.retries,
    )


def _had_begun(index: int, due: float, began: float, session: ConversationSession, calls: Calls) -> Attempt:
    def at(state: SessionState) -> float | None:
        elapsed = session.elapsed(state)
        return None if elapsed is None else began + elapsed

    ready, last_text = session.bot_ready.is_set(), session.progress.text.replace(session.token.reveal(), "***")
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
        failure=failure(session.end_reason, session.cause, ready=ready, last_text=last_text, errors=calls.poll_errors),
        polls=session.polls,
        retries=calls.retries,
        poll_errors=calls.poll_errors,
    )


def failure(
    reason: EndReason | None,
    cause: BaseException | None,
    *,
    ready: bool,
    last_text: str = "",
    errors: Mapping[str, int] | None = None,
) -> str | None:
    """Return the cause of failure in a few words, equal for equal causes; None if the attempt did not fail.

    An attempt succeeds if the bot became ready and no error ended the session. One that was interrupted before neither
    succeeds nor fails.

    Args:
        reason: Why the session ended; None if it never began because the test was stopped.
        cause: The error that ended the session or made its connect fail; None if there was none.
        ready: True if the bot became ready.
        last_text: The service's last status text.
        errors: Failed polls, as in `Attempt.poll_errors`.
    """
    # Only a stopped test leaves before readiness.
    if (ready and reason is not EndReason.FAILED) or reason in {None, EndReason.LEFT, EndReason.CANCELLED}:
        return None
    if isinstance(cause, AkapuluError):
        status = getattr(cause, "status", None)
        return f"{type(cause).__name__} {status}" if status else type(cause).__name__
    printable = "".join(character if character.isprintable() else " " for character in last_text)
    said = f": {printable[:LONGEST_TEXT]}" if last_text else ""
    polls = f" (failed polls: {', '.join(sorted(errors))})" if errors else ""
    return f"{reason}{said}{polls}"
