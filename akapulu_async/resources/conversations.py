"""Requests about conversations."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from akapulu_async import converter
from akapulu_async.checks import check_callable, check_count, check_interval, check_patience, checked_id, shown
from akapulu_async.converter import PayloadError, structure
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    RecordingNotReadyError,
    RecordingTimeoutError,
    TransportError,
)
from akapulu_async.http.transport import Transport
from akapulu_async.limits import patience
from akapulu_async.log import logger
from akapulu_async.models.connection import Connection, ConnectRequest, check_request
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.resources.recordings import SESSION_ID, Recording, open_recording
from akapulu_async.sansio.http import Request
from akapulu_async.sansio.json_body import encode_json
from akapulu_async.sansio.retry import is_temporary
from akapulu_async.sansio.urls import check_path
from akapulu_async.secret import excerpt
from akapulu_async.tasks import in_thread

T = TypeVar("T")

RECORDING_PATH = "/conversations/{session_id}/recording/"
"""Path of a recording. Unpublished, so assumed; `AkapuluClient(recording_path=...)` replaces it."""

RECORDING_INTERVAL = 2.0
"""Seconds between two checks whether a recording is ready, as in the vendor's example [seen]."""

converter.register(Connection, room_url=converter.url, token=converter.secret, conversation_session_id=converter.uuid)
# Percent and text may be missing or null: the vendor's own browser code guards against that [seen].
converter.register(ConversationUpdate, conversation_session_id=converter.uuid, completion_percent=converter.percent)
converter.register(ConversationDetail, id=converter.uuid, created_at=converter.moment, scenario_id=converter.uuid)
converter.register(Avatar, id=converter.uuid)
converter.register(RecordingStatus)
converter.register(TranscriptRow, node_id=converter.optional_text, tool_call_id=converter.optional_text)


def read_connection(payload: object) -> Connection:
    """Read the answer to a connect."""
    return structure(payload, Connection)


def update_request(session_id: str | UUID) -> Request[ConversationUpdate]:
    """Return the request for the progress of a conversation, which refuses another's."""
    return _request("/conversations/{session_id}/updates/", session_id, ConversationUpdate, "conversation_session_id")


def detail_request(session_id: str | UUID) -> Request[ConversationDetail]:
    """Return the request for the detail of a conversation, which refuses another's."""
    return _request("/conversations/{session_id}/", session_id, ConversationDetail, "id")


def _request(template: str, session_id: str | UUID, model: type[T], id_field: str) -> Request[T]:
    session_id = checked_id("session_id", session_id)

    def read(payload: object) -> T:
        answer = structure(payload, model)
        answered = getattr(answer, id_field)
        if answered != session_id:
            raise PayloadError(id_field, f"belongs to another conversation ({answered})")
        return answer

    path = template.replace(SESSION_ID, session_id)
    return Request("GET", path, read=read, session_id=session_id, template=template)


class Conversations:
    """The conversations of the account: `client.conversations`.

    Every method may raise a `TransportError` (no complete answer arrived), an `InvalidResponseError` (the interface
    does not allow the answer), an `ApiError` (the service refused) or a `ConfigurationError` (an argument is wrong,
    such as an id that is not a UUID; nothing was sent). If a method is cancelled, the service may have received its
    request.
    """

    def __init__(self, transport: Transport, *, recording_path: str = RECORDING_PATH) -> None:
        self._transport = transport
        self._recording_path = recording_path
        self.observers = transport.observers

    async def connect(
        self, request: ConnectRequest, *, on_late_answer: Callable[[Connection], object] | None = None
    ) -> Connection:
        """Create a conversation and its room and start the bot. The service answers at once [documented].

        The conversation holds one concurrency slot of the account until it ends. The request is repeated only if it
        surely did not arrive, or after a refusal that the service wrote: 429, or a 503 with a JSON error.

        If cancelled after the request was sent, it waits for the answer, shielded and for at most five seconds, and
        passes it to `on_late_answer`. Without an answer by then, the conversation may exist and hold a slot.

        Args:
            request: The conversation to create.
            on_late_answer: Called with the connection if this call was cancelled before the answer arrived: the
                conversation exists and holds a slot. None logs a warning with its id. If it raises, that is logged with
                the id, and the cancel continues.

        Raises:
            ConcurrencyLimitError: All slots are taken.
            MinutesLimitError: The month's minutes are used up.
            ConnectOutcomeUnknownError: The request was sent, and its answer was lost or proves nothing (a 5xx other
                than such a 503, a 408 or a 499): the conversation may exist and hold a slot.
            InvalidResponseError: The answer is not one that the interface allows: the conversation may exist and hold a
                slot. A note has its id, if the answer has one.
        """
        check_request(request)
        on_late_answer = _warn_of_orphan if on_late_answer is None else on_late_answer
        check_callable("on_late_answer", on_late_answer)
        body = encode_json(request.to_json())
        made: list[str] = []

        def read(payload: object) -> Connection:
            try:
                return read_connection(payload)
            except PayloadError:
                with suppress(Exception):  # whatever is wrong with it
                    made.append(converter.uuid(payload["conversation_session_id"], None))  # type: ignore[index]
                raise

        try:
            return await self._transport.send(
                Request(
                    "POST",
                    "/conversations/connect/",
                    body=body,
                    read=read,
                    on_late_answer=partial(_pass_on, on_late_answer),
                    confidential=True,
                )
            )
        except InvalidResponseError as error:
            if made:
                error.add_note(f"Conversation {made[-1]} exists and holds a slot until it ends.")
            elif error.outcome_unknown:
                error.add_note("The conversation may exist and hold a slot.")
            raise
        except (ApiError, TransportError) as error:
            if not error.outcome_unknown:
                raise
            raise _outcome_unknown(request, error) from error

    async def updates(self, session_id: str | UUID, *, attempts: int | None = None) -> ConversationUpdate:
        """Return the progress of a conversation: one poll.

        Args:
            session_id: The conversation.
            attempts: Maximum number of attempts, within the client's retry policy; None leaves it to the policy.

        Raises:
            NotFoundError: There is no such conversation, or it has ended; the service's answer after an end is not
                documented.
        """
        check_count("attempts", attempts, none="what the retry policy says")
        return await self._transport.send(update_request(session_id), attempts=attempts)

    def poller(self, session_id: str) -> Callable[[], Coroutine[Any, Any, ConversationUpdate]]:
        """Return a function that polls a conversation: `updates()` with a single attempt, its request built once."""
        return self._transport.sender(update_request(session_id), attempts=1)

    async def detail(self, session_id: str | UUID) -> ConversationDetail:
        """Return everything that the service stores about a conversation, including its transcript.

        Raises:
            NotFoundError: There is no such conversation.
        """
        return await self._transport.send(detail_request(session_id))

    def recording(self, session_id: str | UUID) -> AbstractAsyncContextManager[Recording]:
        """Open a recording and read it within the block.

        ::

            async with client.conversations.recording(session_id) as recording:
                async for piece in recording.iter_bytes(): ...

        A redirect is followed without the API key, to https only (or from loopback to loopback). The timeouts' total
        applies to the time until the recording begins, and then to the wait for each further piece.

        Raises:
            RecordingNotReadyError: The recording is not ready.
        """
        session_id = checked_id("session_id", session_id)
        return open_recording(self._transport, session_id, self._recording_path, {})

    async def wait_for_recording(
        self, session_id: str | UUID, *, timeout: float | None, interval: float = RECORDING_INTERVAL
    ) -> ConversationDetail:
        """Wait until a recording is ready, and return the conversation's detail.

        Until the timeout, a check may fail if a later one may succeed: no answer arrived, or none that the service
        wrote, or it was refused with 408, 429 or 5xx. A proxy's refusal (401, 403, 407) ends the wait at once.

        Args:
            session_id: The conversation.
            timeout: Maximum seconds to wait; 0 checks once. None waits without limit, but a check that fails in spite
                of the client's retries ends the wait with its error: nothing else would.
            interval: Seconds between two checks; more if the service asks for it.

        Raises:
            RecordingTimeoutError: The recording did not become ready in time (also a `TimeoutError`). If the last check
                failed, `__cause__` is its error.
        """
        session_id = checked_id("session_id", session_id)
        check_patience("timeout", timeout)
        check_interval("interval", interval)
        status_text, failure = "", None
        once = timeout is not None and timeout <= 0
        try:
            with patience(None if once else timeout) as limit:  # 0 would end before the check
                while True:
                    pause = interval
                    try:
                        detail = await self.detail(session_id)
                    except AkapuluError as error:
                        if once or timeout is None or not is_temporary(error):
                            raise
                        pause = max(pause, getattr(error, "retry_after", None) or 0.0)
                        failure = error.with_traceback(None)  # its frames would keep this one
                    else:
                        if detail.recording.is_ready:
                            return detail
                        status_text, failure = excerpt(detail.recording.status_text, self._transport.secrets), None
                        del detail  # an error's frames would keep it, with the transcript
                        if once:
                            break
                    await asyncio.sleep(pause)
        except TimeoutError:
            if not limit.expired:  # it is a call's
                raise
        because = "" if failure is None else str(failure)
        raise RecordingTimeoutError(session_id=session_id, status_text=status_text, because=because) from failure

    async def download_recording(
        self,
        session_id: str | UUID,
        path: str | PathLike[str],
        *,
        wait: float | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Download a recording into a file: whole or not at all, if the service gives its length.

        Without a length, a recording that was cut off looks like a whole one: a warning is logged.

        The bytes go to a hidden `.part` file beside the target, which is renamed once its length is right. If the
        connection breaks, the rest is requested (`Range`). If the download fails or is cancelled, the part is kept if
        the service sent an ETag, and the next download of this recording to this path resumes it; else it is removed.

        Args:
            session_id: The conversation.
            path: The file; its folder must exist. A relative path counts from the folder that is current at the call.
                Behind a symlink, the file that it names is written.
            wait: Maximum seconds to wait until the recording is ready, and within which a failed download is resumed
                if a later request may succeed; 0 checks once, None does not wait.
            progress: Called in the event loop with the bytes written and the size (None if unknown), about once per
                MiB.
            overwrite: True replaces an existing file, if it is a regular one.

        Raises:
            FileExistsError: The file exists, and `overwrite` is false.
            RecordingNotReadyError: The recording is not ready; `RecordingTimeoutError` after waiting for it.
            OSError: The file cannot be written, or is a device, a FIFO or the like.
        """
        # Imported here, since few programs download and every import would take longer.
        from akapulu_async.resources.downloads import Download, check_target  # noqa: PLC0415

        session_id, target = checked_id("session_id", session_id), _target(path)
        check_patience("wait", wait)
        if progress is not None:
            check_callable("progress", progress)
        file = await in_thread(check_target, target, overwrite)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (wait or 0.0)
        if wait is not None:
            await self.wait_for_recording(session_id, timeout=wait, interval=RECORDING_INTERVAL)
        while True:
            download = Download(self._transport, session_id, self._recording_path, file, progress)
            try:
                await download.run(overwrite=overwrite)
            except AkapuluError as error:
                pause = min(RECORDING_INTERVAL, deadline - loop.time())
                if pause <= 0 or not (isinstance(error, RecordingNotReadyError) or is_temporary(error)):
                    raise
            else:
                return target
            await asyncio.sleep(pause)


def _outcome_unknown(request: ConnectRequest, error: ApiError | TransportError) -> ConnectOutcomeUnknownError:
    unknown = ConnectOutcomeUnknownError(scenario_id=request.scenario_id, avatar_id=request.avatar_id, reason="")
    if isinstance(error, TransportError):
        unknown.reason = error.reason
    else:
        unknown.status, unknown.error_code, unknown.message = error.status, error.error_code, error.message
        code = f" {error.error_code}" if error.error_code else ""
        said = f" ({error.message})" if error.message else ""
        unknown.reason = f"it was answered {error.status}{code}{said}, which does not prove that nothing was made"
    return unknown


def _pass_on(on_late_answer: Callable[[Connection], object], connection: Connection) -> None:
    """Pass on the answer of a cancelled connect. An error of the callback must not replace the cancel."""
    try:
        on_late_answer(connection)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it raises
        _warn_of_orphan(connection)
        session_id, kind = connection.conversation_session_id, type(error).__name__
        logger.warning(
            "on_late_answer raised %s for conversation %s: %s",
            kind,
            session_id,
            excerpt(str(error), (connection.token,)),  # it may quote the token
            extra={"session_id": session_id},
        )


def _warn_of_orphan(connection: Connection) -> None:
    session_id = connection.conversation_session_id
    logger.warning(
        "Conversation %s was connected by a call that was cancelled; it holds a slot until it ends",
        session_id,
        extra={"session_id": session_id},
    )


def _target(path: str | PathLike[str]) -> Path:
    with suppress(TypeError, UnicodeEncodeError):
        if b"\0" not in os.fsencode(path):
            return Path(path)
    raise ConfigurationError(f"path must be a text or a path that can name a file, not {shown(path)}")


def check_recording_path(path: str) -> str:
    """Return the template of the path of recordings.

    Raises:
        ConfigurationError: It has no `{session_id}`, or other braces.
    """
    with suppress(AttributeError, TypeError, ConfigurationError):
        if check_path(path.replace(SESSION_ID, "id")) != path:
            return path
    example = f"a path with {SESSION_ID!r}, such as {RECORDING_PATH!r}"
    raise ConfigurationError(f"recording_path must be {example}, not {shown(path)}")
