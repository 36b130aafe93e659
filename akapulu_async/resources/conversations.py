"""What can be asked of the service about conversations."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import UUID

from akapulu_async.checks import check_callable, check_count, check_interval, check_patience, checked_id, refuse
from akapulu_async.converter import (
    PayloadError,
    read_id,
    read_moment,
    read_optional_text,
    read_percent,
    read_secret,
    read_url,
    register,
    structure,
)
from akapulu_async.errors import (
    ConfigurationError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    RecordingTimeoutError,
    TransportError,
)
from akapulu_async.http.transport import Transport
from akapulu_async.log import logger
from akapulu_async.models.connection import Connection, ConnectRequest, check_request
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.observing import Observers
from akapulu_async.resources.recordings import Recording, open_recording
from akapulu_async.sansio.http import Request
from akapulu_async.sansio.json_body import encode_json
from akapulu_async.sansio.urls import check_path
from akapulu_async.secret import excerpt
from akapulu_async.tasks import in_thread

RECORDING_PATH = "/conversations/{session_id}/recording/"
"""Where a recording is. Not published, so it is assumed; `AkapuluClient(recording_path=...)` overrides it."""

_FIELD = "{session_id}"

RECORDING_INTERVAL = 2.0
"""Seconds between two looks at whether a recording is ready, as in the vendor's example [seen]."""

register(Connection, room_url=read_url, token=read_secret, conversation_session_id=read_id)
# Percent and text may be missing or null: the vendor's own browser code guards against that [seen].
register(ConversationUpdate, conversation_session_id=read_id, completion_percent=read_percent)
register(ConversationDetail, id=read_id, created_at=read_moment, scenario_id=read_id)
register(Avatar, id=read_id)
register(RecordingStatus)
register(TranscriptRow, node_id=read_optional_text, tool_call_id=read_optional_text)


def read_connection(payload: object) -> Connection:
    """Read the answer to a connect."""
    return structure(payload, Connection)


def update_reader(session_id: str) -> Callable[[object], ConversationUpdate]:
    """Return a reader of this conversation's updates, which refuses another's."""

    def read(payload: object) -> ConversationUpdate:
        update = structure(payload, ConversationUpdate)
        _check_id("conversation_session_id", update.conversation_session_id, session_id)
        return update

    return read


def detail_reader(session_id: str) -> Callable[[object], ConversationDetail]:
    """Return a reader of this conversation's detail, which refuses another's."""

    def read(payload: object) -> ConversationDetail:
        detail = structure(payload, ConversationDetail)
        _check_id("id", detail.id, session_id)
        return detail

    return read


def _check_id(field: str, answered: str, session_id: str) -> None:
    if answered != session_id:
        raise PayloadError(field, f"belongs to another conversation ({answered})")


class Conversations:
    """The conversations of the account: `client.conversations`.

    All methods raise what `Transport.send()` raises: a `TransportError` if no complete answer came, an
    `InvalidResponseError` if it made no sense, an `ApiError` if the service refused, a `ConfigurationError` for an
    argument that cannot be used, such as an id that is no UUID; then nothing was sent. When one is cancelled, its
    request may have reached the service or not.
    """

    def __init__(self, transport: Transport, *, recording_path: str = RECORDING_PATH) -> None:
        self._transport = transport
        self._recording_path = recording_path

    @property
    def observers(self) -> Observers:
        """The observers of the client."""
        return self._transport.observers

    async def connect(
        self, request: ConnectRequest, *, on_late_answer: Callable[[Connection], object] | None = None
    ) -> Connection:
        """Create a conversation and its room, start the bot, and return at once [documented].

        It takes one concurrency slot of the account until the conversation ends. It is sent a second time only if
        it surely did not arrive, or was refused before any work (429, 503).

        Args:
            request: What to ask for.
            on_late_answer: Called with the connection of a connect that was cancelled after it was sent: the
                conversation exists and holds a slot. None: a warning is logged, which names it.

        Raises:
            ConcurrencyLimitError: All slots are taken.
            MinutesLimitError: The month's minutes are used up.
            ConnectOutcomeUnknownError: It was sent, but its answer was lost: it may hold a slot.
            InvalidResponseError: It was answered, but with what makes no sense: it may hold a slot, too.

        When cancelled after it was sent, it stays for the answer, five seconds at the most and shielded, and tells
        it to `on_late_answer`. Without an answer by then, the conversation may exist and hold a slot.
        """
        check_request(request)
        on_late_answer = _warn_of_orphan if on_late_answer is None else on_late_answer
        check_callable("on_late_answer", on_late_answer)
        body = encode_json(request.to_json())
        try:
            return await self._transport.send(
                Request(
                    "POST",
                    "/conversations/connect/",
                    body=body,
                    read=read_connection,
                    on_late_answer=on_late_answer,
                    confidential=True,
                )
            )
        except InvalidResponseError as error:
            error.add_note("The connect may have been done all the same: then a conversation holds a slot.")
            raise
        except TransportError as error:
            if not error.sent:
                raise
            raise ConnectOutcomeUnknownError(
                scenario_id=request.scenario_id, avatar_id=request.avatar_id, reason=error.reason
            ) from error

    async def updates(self, session_id: str | UUID, *, attempts: int | None = None) -> ConversationUpdate:
        """Ask how far a conversation has come: one poll.

        Args:
            session_id: The conversation.
            attempts: How often to try at the most, if the client's retry policy allows as many; None as that says.

        Raises:
            NotFoundError: There is no such conversation, or it ended: what comes after the end is not published.
        """
        check_count("attempts", attempts, none="what the retry policy says")
        return await self._transport.send(_updates_request(checked_id("session_id", session_id)), attempts=attempts)

    def poller(self, session_id: str) -> Callable[[], Coroutine[Any, Any, ConversationUpdate]]:
        """Return what polls a conversation each time it is called: `updates()` with a single attempt."""
        return self._transport.sender(_updates_request(checked_id("session_id", session_id)), attempts=1)

    async def detail(self, session_id: str | UUID) -> ConversationDetail:
        """Return all that the service keeps of a conversation, its transcript among it.

        Raises:
            NotFoundError: There is no such conversation.
        """
        session_id = checked_id("session_id", session_id)
        return await self._transport.send(
            Request("GET", f"/conversations/{session_id}/", read=detail_reader(session_id))
        )

    def recording(self, session_id: str | UUID) -> AbstractAsyncContextManager[Recording]:
        """Open a recording, to be read in the block.

        ::

            async with client.conversations.recording(session_id) as recording:
                async for piece in recording.iter_bytes(): ...

        A redirect is followed without the API key, to https only (or from loopback to loopback). The timeouts'
        total counts until the recording begins, and then for each wait for a further piece.

        Raises:
            RecordingNotReadyError: It is not there yet.
        """
        session_id = checked_id("session_id", session_id)
        return open_recording(self._transport, session_id, self._path(session_id), {})

    async def wait_for_recording(
        self, session_id: str | UUID, *, timeout: float | None, interval: float = RECORDING_INTERVAL
    ) -> ConversationDetail:
        """Wait until a recording is ready, and return the conversation's detail.

        Args:
            session_id: The conversation.
            timeout: Seconds to wait at the most; 0 to look once, None for no limit.
            interval: Seconds between two looks.

        Raises:
            RecordingTimeoutError: It did not become ready in time (also a `TimeoutError`).
        """
        session_id = checked_id("session_id", session_id)
        check_patience("timeout", timeout)
        check_interval("interval", interval)
        status_text = ""
        once = timeout is not None and timeout <= 0
        limit = asyncio.timeout(None if once else timeout)  # one of 0 would be over before the look
        try:
            async with limit:
                while True:
                    detail = await self.detail(session_id)
                    if detail.recording.is_ready:
                        return detail
                    status_text = excerpt(detail.recording.status_text, self._transport.secrets)
                    del detail  # which an error's frames would keep, words and all
                    if once:
                        break
                    await asyncio.sleep(interval)
        except TimeoutError:
            if not limit.expired():
                raise
        raise RecordingTimeoutError(session_id=session_id, status_text=status_text)

    async def download_recording(
        self,
        session_id: str | UUID,
        path: str | PathLike[str],
        *,
        wait: float | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Bring a recording into a file, whole or not at all.

        It grows in a hidden `.part` file beside the target, which gets its name only when the length is right. When
        the connection breaks, the rest is asked for (`Range`). When the download fails or is cancelled, the part is
        kept if the service gave the bytes an ETag, and the next download of this recording to this path goes on
        with it; else it is removed.

        Args:
            session_id: The conversation.
            path: The file; its folder must exist.
            wait: Seconds to wait at the most until the recording is ready; 0 to look once, None not to wait.
            progress: Called with the bytes that are written and those there will be (None if that is not known),
                in the event loop, about once a mebibyte.
            overwrite: Whether to replace a file that is there.

        Raises:
            FileExistsError: There is a file, and `overwrite` is false.
            RecordingNotReadyError: It is not ready; `RecordingTimeoutError` if it was waited for.
            OSError: The file cannot be written.
        """
        # Few programs need it, and all would wait for it.
        from akapulu_async.resources.downloads import Download, check_target  # noqa: PLC0415

        session_id, target = checked_id("session_id", session_id), _target(path)
        check_patience("wait", wait)
        if progress is not None:
            check_callable("progress", progress)
        await in_thread(check_target, target, overwrite)
        if wait is not None:
            await self.wait_for_recording(session_id, timeout=wait)
        await Download(self._transport, session_id, self._path(session_id), target, progress).run(overwrite=overwrite)
        return target

    def _path(self, session_id: str) -> str:
        return self._recording_path.replace(_FIELD, session_id)


def _updates_request(session_id: str) -> Request[ConversationUpdate]:
    return Request("GET", f"/conversations/{session_id}/updates/", read=update_reader(session_id))


def _warn_of_orphan(connection: Connection) -> None:
    logger.warning(
        "! conversation %s was connected by a call that was cancelled; it holds a slot until it ends",
        connection.conversation_session_id,
    )


def _target(path: str | PathLike[str]) -> Path:
    try:
        target = Path(path)
        possible = b"\0" not in os.fsencode(target)
    except (TypeError, UnicodeEncodeError):
        possible = False
    if not possible:
        refuse("path", path, "a text or a path that can name a file")
    return target


def check_recording_path(path: str) -> str:
    """Return a template of where recordings are.

    Raises:
        ConfigurationError: It has no `{session_id}`, or something else in braces.
    """
    try:
        fits = check_path(path.replace(_FIELD, "id")) != path
    except (AttributeError, TypeError, ConfigurationError):
        fits = False
    if not fits:
        refuse("recording_path", path, f"a path with {_FIELD!r}, such as {RECORDING_PATH!r}")
    return path
