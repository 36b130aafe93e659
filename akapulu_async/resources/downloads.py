"""Download a recording into a file, whole or not at all if the answer gives its length: see `Recording.verified`."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import attrs

from akapulu_async.errors import ApiError, TransportError
from akapulu_async.http.transport import Transport
from akapulu_async.log import logger
from akapulu_async.resources.recordings import SESSION_ID, Recording, open_recording, refuses_range
from akapulu_async.secret import excerpt
from akapulu_async.tasks import in_thread, settle

if sys.platform != "win32":
    import fcntl

WRITE_BYTES = 1024 * 1024
"""Bytes collected before a thread writes them: one write per network read would cost more than the writing."""


@attrs.define(eq=False, repr=False)
class _Part:
    """The file beside the target in which the recording grows.

    If the recording has an ETag and a size, the file's name is derived from them; it is kept when the download is
    interrupted, and the next download resumes it. It is locked while in use, so a simultaneous download of the same
    recording gets a file of its own.
    """

    path: Path
    file: BinaryIO
    etag: str | None
    size: int | None
    kept: bool
    received: int = 0

    @classmethod
    def open(cls, target: Path, session_id: str, recording: Recording) -> "_Part":
        """Open the part of a recording, which may have bytes of an earlier download."""
        etag, size = recording.etag, recording.size
        # At most 255 bytes, whatever characters the name has.
        prefix = f".{target.name[:40]}.{_digest(session_id)[:8]}"
        if etag is not None and size is not None:
            path = target.with_name(f"{prefix}-{_digest(f'{etag} {size}')[:16]}{_SUFFIX}")
            file = _open_locked(path)
            if file is not None:
                _remove_others(path, f"{prefix}-")
                length = file.seek(0, os.SEEK_END)
                return cls(path, file, etag, size, kept=True, received=length if length <= size else 0)
        path = target.with_name(f"{prefix}.{uuid4().hex[:16]}{_SUFFIX}")
        return cls(path, _open(path), etag, size, kept=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that ask for the rest, or for the whole if the recording has changed."""
        if self.etag is None or self.size is None or not 0 < self.received < self.size:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self.etag}

    @property
    def complete(self) -> bool:
        """True if the size is known and all bytes were received."""
        return self.size is not None and self.received == self.size

    def seek(self, recording: Recording) -> bool:
        """Go to the recording's first byte; False if the part is of another version or ends before that byte."""
        first = recording.begins_at
        if (recording.etag, recording.size) != (self.etag, self.size) or first is None or first > self.received:
            return False
        self.received = first
        return True

    def write(self, pieces: list[bytes]) -> None:
        """Append the pieces, and clear the list at once: a write that fails or is cancelled must not be repeated."""
        # In one call: after each call the thread would wait for the interpreter's lock, which the loop holds.
        batch = b"".join(pieces)
        pieces.clear()
        self.file.seek(self.received)
        self.file.write(batch)
        self.file.flush()
        self.received += len(batch)

    def close(self, keep: bool) -> None:  # noqa: FBT001 - called through a thread
        """Close the file. Remove it unless it is to be kept and the next download can resume it."""
        with suppress(OSError):  # a full disk was reported by the write
            if keep and self.kept and self.received:
                self.file.close()
            else:
                self._while_locked(lambda: self.path.unlink(missing_ok=True))

    def finish(self, target: Path, overwrite: bool) -> None:  # noqa: FBT001 - called through a thread
        """Sync the file to disk and rename it to the target."""
        self.file.truncate(self.received)
        os.fsync(self.file.fileno())
        self._while_locked(lambda: _rename(self.path, target, overwrite=overwrite))

    def _while_locked(self, action: Callable[[], object]) -> None:
        """Run an action on the file's name before another download can lock the file, then close it."""
        if sys.platform == "win32":  # open files cannot be renamed, and there is no lock
            self.file.close()
        try:
            action()
        finally:
            self.file.close()


_SUFFIX = ".part"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _open(path: Path) -> BinaryIO:
    # Not with tempfile, whose files only their owner may read: the umask decides here.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "r+b")


def _open_locked(path: Path) -> BinaryIO | None:
    """Open and lock a file; None if it is locked, or another user's."""
    try:
        file = _open(path)
    except OSError:  # a full disk or a missing folder is reported when the next name is tried
        return None
    if sys.platform == "win32":
        return file
    with suppress(OSError):  # it is locked, it is gone, or this file system has no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have renamed or removed it since it was opened.
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
    file.close()
    return None


def _remove_others(path: Path, prefix: str) -> None:
    """Remove the unused parts of other versions of the recording, as far as permitted."""
    with suppress(OSError):  # a folder that can be written may not be readable
        for old in path.parent.iterdir():
            if old != path and old.name.startswith(prefix) and old.name.endswith(_SUFFIX):
                file = _open_locked(old)
                if file is not None:
                    file.close()
                    with suppress(OSError):  # it is gone, or another user's in a shared folder
                        old.unlink()


def _rename(path: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        path.replace(check_target(target, overwrite))
        return
    try:
        target.hardlink_to(path)
    except OSError:  # the target exists, or this file system has no hard links
        check_target(target, overwrite)
        path.rename(target)
    else:
        path.unlink()


def check_target(target: Path, overwrite: bool) -> Path:  # noqa: FBT001 - called through a thread
    """Return the file to write, which may be behind a symlink. Raises the OSError that says why it cannot be made."""
    file = Path(os.path.realpath(target))
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file.parent} is not a folder; make it first")
    if file.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of the file, too")
    if os.path.lexists(file) and not file.is_file():
        raise OSError(f"{target} is not a regular file and is never replaced; give another name")
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")
    return file


@attrs.define(eq=False, repr=False)
class Download:
    """The download of one recording into a file.

    An interrupted download resumes where it stopped, or starts again if no ETag proves that the bytes are the same.
    The retry policy counts attempts in a row that receive no byte beyond the furthest one so far.
    """

    transport: Transport
    session_id: str
    template: str
    target: Path
    progress: Callable[[int, int | None], object] | None
    _part: _Part | None = None
    _reported: int = 0

    async def run(self, *, overwrite: bool) -> None:
        """Download the recording. See `Conversations.download_recording()`."""
        try:
            part = await self._receive()
            if not part.complete:
                logger.warning(
                    "The recording of conversation %s came without a length, so its %d bytes may not be all",
                    self.session_id,
                    part.received,
                    extra={"session_id": self.session_id},
                )
            await in_thread(part.finish, self.target, overwrite)
        finally:
            await self._close_part(keep=True)

    async def _receive(self) -> _Part:
        """Send requests until the part is complete. Returns it."""
        attempt = furthest = 0
        ranges = True  # until the server refuses one
        while True:
            headers = self._part.headers if self._part and ranges else {}
            reading = False
            try:
                async with open_recording(self.transport, self.session_id, self.template, headers) as recording:
                    reading = True
                    part = await self._read(recording)
                if part is not None:
                    return part
            except (ApiError, TransportError) as error:
                if headers and refuses_range(error):
                    # If the part were kept, each later download would fail in the same way.
                    ranges = False
                    await self._close_part(keep=False)
                elif reading and isinstance(error, TransportError):
                    # An answer that always starts at 0 makes progress from nothing each time: the furthest byte counts.
                    received = self._part.received if self._part else 0
                    attempt = 1 if received > furthest else attempt + 1
                    furthest = max(furthest, received)
                    pause = self.transport.pause_after(error, attempt)
                    if pause is None:
                        raise
                    await asyncio.sleep(pause)
                else:  # the transport has already retried
                    raise

    async def _read(self, recording: Recording) -> _Part | None:
        """Read an answer into the part. Returns None if the answer does not begin where a part that was found ends."""
        if self._part is not None and not self._part.seek(recording):
            # The recording has changed, so no download can resume the old part.
            await self._close_part(keep=False)
            if recording.begins_at != 0:
                raise self._broken("the answer is not the rest of the part")
        part = self._part
        if part is None:
            part = await in_thread(self._open_part, recording)
        if recording.begins_at != part.received and not part.complete:
            return None
        self._report(part)
        if not part.complete:
            await self._copy(recording, part)
        return part

    async def _copy(self, recording: Recording, part: _Part) -> None:
        """Write the bytes in a thread, while the next ones are received."""
        received = part.received
        pieces: list[bytes] = []
        writing: asyncio.Task[None] | None = None

        async def written() -> None:
            """Wait for the write in progress, even when cancelled: the file must not be closed during it."""
            if writing is not None:
                await settle((writing,), None)
                writing.result()  # raises each time: nothing is written after a gap

        try:
            unwritten = 0
            async for piece in recording.iter_bytes():
                received += len(piece)
                if part.size is not None and received > part.size:
                    break
                pieces.append(piece)
                unwritten += len(piece)
                if unwritten >= WRITE_BYTES:
                    await written()
                    writing = asyncio.create_task(self._write(part, pieces))
                    pieces, unwritten = [], 0
            await written()
            await in_thread(part.write, pieces)
        except BaseException as error:
            try:
                await written()
                await in_thread(part.write, pieces)
            except Exception as second:  # noqa: BLE001 - the first failure is raised
                self._log_second(second, error)
            raise
        self._report(part)
        if part.size is not None and received > part.size:
            # Nobody knows which bytes are the surplus.
            await self._close_part(keep=False)
            raise self._broken(f"it is longer than its {part.size} bytes")
        if part.size is not None and not part.complete:
            raise self._broken(f"it ended after {part.received} of {part.size} bytes")

    async def _write(self, part: _Part, pieces: list[bytes]) -> None:
        await in_thread(part.write, pieces)
        self._report(part)

    def _log_second(self, error: Exception, first: BaseException) -> None:
        """Log the error of a write or of the progress callback that came when the download was ending already."""
        if error is not first:
            logger.warning(
                "The download of the recording of conversation %s was ending when %s was raised: %s",
                *(self.session_id, type(error).__name__, excerpt(str(error), self.transport.secrets)),
                extra={"session_id": self.session_id},
            )

    def _broken(self, reason: str) -> TransportError:
        path = self.template.replace(SESSION_ID, self.session_id)
        return TransportError(method="GET", path=path, reason=reason, sent=True)

    def _report(self, part: _Part) -> None:
        """Report progress, but not for bytes that arrive a second time."""
        if self.progress is not None and (part.received >= self._reported or part.complete):
            self._reported = part.received
            self.progress(part.received, part.size)

    def _open_part(self, recording: Recording) -> _Part:
        # Assigned in the thread, since a cancelled caller does not get the thread's result.
        self._part = part = _Part.open(self.target, self.session_id, recording)
        return part

    async def _close_part(self, *, keep: bool) -> None:
        part, self._part = self._part, None
        if part is not None:
            await in_thread(part.close, keep)
