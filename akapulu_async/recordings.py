"""Recordings: reading them, and bringing them into a file whole or not at all."""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import attrs

from akapulu_async.errors import ApiError, RecordingNotReadyError, TransportError
from akapulu_async.sansio.http import Request, not_ready_text, parse_content_range
from akapulu_async.transport import Stream, Transport

T = TypeVar("T")

Progress = Callable[[int, int | None], object]
"""Told how many bytes there are, and how many there will be (None if that is not known)."""

WRITE_BYTES = 1024 * 1024
"""How much is collected before a thread writes it: a write a network read would cost more than the writing."""


@attrs.frozen(eq=False)
class Recording:
    """A recording that is being read."""

    content_type: str
    """Its media type, such as `video/mp4`; `application/octet-stream` if the answer does not say."""

    size: int | None
    """Its length in bytes; None if the answer does not say."""

    _stream: Stream

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Read it piece by piece, in whatever sizes it arrives.

        Raises:
            TransportError: It broke off, or nothing came for the timeouts' total.
        """
        return _Pieces(self._stream)

    @property
    def etag(self) -> str | None:
        """What tells one version of it from another, byte for byte; None if there is no such thing."""
        etag = self._stream.headers.get("ETag")
        return None if etag is None or etag.startswith("W/") else etag

    @property
    def begins_at(self) -> int:
        """Which byte comes first: 0, or where a request for the rest was answered with the rest."""
        content_range = parse_content_range(self._stream.headers.get("Content-Range"))
        return content_range.first if self._stream.status == 206 and content_range else 0  # noqa: PLR2004


class _Pieces:
    """What `iter_bytes()` gives: no generator, so that leaving a loop early leaves nothing behind."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._stream.read_some()
        if not piece:
            raise StopAsyncIteration
        return piece


@asynccontextmanager
async def open_recording(
    transport: Transport, session_id: str, path: str, headers: Mapping[str, str]
) -> AsyncGenerator[Recording]:
    """Ask for a recording, and follow where the answer leads.

    The answer is a redirect, JSON or the bytes [documented]. That JSON with a 2xx status, or with an error code
    that has NOT_READY in it, means "not ready" is assumed.
    """
    request: Request[None] = Request("GET", path)
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(transport.stream(request, headers))
        except ApiError as error:
            if "NOT_READY" not in (error.error_code or "").upper():
                raise
            raise RecordingNotReadyError(session_id=session_id, status_text=error.message) from error
        content_type = stream.headers.get("Content-Type", "application/octet-stream")
        if content_type.partition(";")[0].strip().lower() == "application/json":
            raise RecordingNotReadyError(session_id=session_id, status_text=not_ready_text(await stream.read()))
        yield Recording(content_type, _size(stream), stream)


def _size(stream: Stream) -> int | None:
    if stream.status == 206:  # noqa: PLR2004 - Partial Content
        content_range = parse_content_range(stream.headers.get("Content-Range"))
        return content_range.size if content_range else None
    length = stream.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length, re.ASCII) else None


@attrs.define(eq=False)
class _Part:
    """The file beside the target in which the recording grows.

    If the bytes are known by an ETag, the file bears a name made from it, is kept when the download is interrupted
    and gone on with by the next. Two downloads at once may then write the same bytes to the same places of it.
    """

    path: Path
    file: BinaryIO
    etag: str | None
    size: int | None
    received: int = 0

    @classmethod
    def beside(cls, target: Path, session_id: str, recording: Recording) -> "_Part":
        """Open the part for a recording, and see how much of it is there already."""
        known = recording.etag and f"{session_id} {recording.etag} {recording.size}"
        name = hashlib.sha256(known.encode()).hexdigest()[:16] if known else secrets.token_hex(8)
        path = target.with_name(f".{target.name[:100]}.{name}.part")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        file = os.fdopen(descriptor, "r+b")
        there = file.seek(0, os.SEEK_END)
        return cls(path, file, recording.etag, recording.size, there if there <= (recording.size or there) else 0)

    @property
    def headers(self) -> dict[str, str]:
        """What asks for the rest, or for the whole if it is not the same any more."""
        if not self.received or self.etag is None:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self.etag}

    @property
    def complete(self) -> bool:
        """Whether all of it is there, as far as its size is known."""
        return self.size is not None and self.received == self.size

    def begin(self, recording: Recording) -> bool:
        """Go to where the recording begins; False if it is not what this part is made of."""
        if (recording.etag, recording.size) != (self.etag, self.size) or recording.begins_at > self.received:
            return False
        self.received = recording.begins_at
        return True

    def write(self, pieces: list[bytes]) -> None:
        """Add what came."""
        self.file.seek(self.received)
        self.file.writelines(pieces)
        self.received += sum(map(len, pieces))

    def leave(self) -> None:
        """Close the file, and keep it only if it can be gone on with. Does nothing after `finish()`."""
        if not self.file.closed:
            self.file.close()
            if self.etag is None or not self.received:
                self.path.unlink(missing_ok=True)

    def finish(self, target: Path, overwrite: bool) -> None:  # noqa: FBT001 - called through a thread
        """Give the file its name, at once and for good."""
        self.file.truncate(self.received)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if overwrite:
            self.path.replace(target)
            return
        try:
            target.hardlink_to(self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            check_free(target)
            self.path.rename(target)
        else:
            self.path.unlink()


def check_free(target: Path) -> None:
    """Raise FileExistsError if there is something under this name."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")


@attrs.define(eq=False)
class Download:
    """One recording on its way into a file.

    What breaks off is gone on with from where it broke off, as often in a row as the retry policy allows without
    a further byte; from the beginning where there is no ETag to be sure that the bytes are the same.
    """

    transport: Transport
    session_id: str
    path: str
    target: Path
    progress: Progress | None
    _part: _Part | None = None
    _reading: bool = False

    async def run(self, *, overwrite: bool) -> None:
        """Bring it. See `Conversations.download_recording()`."""
        try:
            part = await self._receive_whole()
            await in_thread(part.finish, self.target, overwrite)
        finally:
            await self._drop_part()

    async def _receive_whole(self) -> _Part:
        attempt = 0
        while True:
            had, self._reading = self._received, False
            try:
                part = await self._receive()
            except TransportError as error:
                # What failed before the first piece was tried again already.
                attempt = 1 if self._received > had else attempt + 1
                pause = self.transport.pause_after(error, attempt) if self._reading else None
                if pause is None:
                    raise
            else:
                if part is not None:
                    return part
                continue
            await asyncio.sleep(pause)

    @property
    def _received(self) -> int:
        return self._part.received if self._part else 0

    async def _receive(self) -> _Part | None:
        """Return the whole, or None if the rest of a part that was found is to be asked for."""
        headers = self._part.headers if self._part else {}
        async with open_recording(self.transport, self.session_id, self.path, headers) as recording:
            if self._part is None or not self._part.begin(recording):
                await self._drop_part()
                self._part = await in_thread(_Part.beside, self.target, self.session_id, recording)
                if self._part.received and not self._part.complete:
                    return None
            self._reading = True
            self._tell(self._part)
            if not self._part.complete:
                await self._copy(recording, self._part)
            return self._part

    async def _copy(self, recording: Recording, part: _Part) -> None:
        pieces: list[bytes] = []
        try:
            async for piece in recording.iter_bytes():
                pieces.append(piece)
                if sum(map(len, pieces)) >= WRITE_BYTES:
                    await self._write(part, pieces)
        finally:
            await self._write(part, pieces)
        if part.size is not None and not part.complete:
            reason = f"it ended after {part.received} of {part.size} bytes"
            raise TransportError(method="GET", path=self.path, reason=reason, sent=True)

    async def _write(self, part: _Part, pieces: list[bytes]) -> None:
        if pieces:
            await in_thread(part.write, pieces.copy())
            pieces.clear()
            self._tell(part)

    def _tell(self, part: _Part) -> None:
        if self.progress is not None:
            self.progress(part.received, part.size)

    async def _drop_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            await in_thread(part.leave)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks in a thread, and stay until it is done even when cancelled: it holds an open file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((work,))
        raise
