"""Bringing a recording into a file, whole or not at all.

Without a length, neither in the headers nor in chunks, an answer ends where its connection does. HTTP cannot tell
such an end from a break, so that what came by then is taken for the whole.
"""

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
from akapulu_async.resources.recordings import Recording, open_recording, refuses_range
from akapulu_async.tasks import in_thread, settle

if sys.platform != "win32":
    import fcntl

Progress = Callable[[int, int | None], object]
"""Told how many bytes there are, and how many there will be (None if that is not known)."""

WRITE_BYTES = 1024 * 1024
"""How much is collected before a thread writes it: a write a network read would cost more than the writing."""


@attrs.define(eq=False, repr=False)
class _Part:
    """The file beside the target in which the recording grows.

    If the bytes are known by an ETag and their number, the file bears a name made from these, is kept when the
    download is interrupted and gone on with by the next. While it is in use it is locked, so that a second download
    of the same at the same time has a file of its own.
    """

    path: Path
    file: BinaryIO
    etag: str | None
    size: int | None
    kept: bool
    received: int = 0

    @classmethod
    def beside(cls, target: Path, session_id: str, recording: Recording) -> "_Part":
        """Open the part for a recording, and see how much of it is there already."""
        etag, size = recording.etag, recording.size
        # Short enough for a name of 255 bytes, whatever the letters.
        prefix = f".{target.name[:40]}.{_digest(session_id)[:8]}"
        if etag is not None and size is not None:
            path = target.with_name(f"{prefix}-{_digest(f'{etag} {size}')[:16]}{_SUFFIX}")
            file = _open_locked(path)
            if file is not None:
                _remove_others(path, f"{prefix}-")
                there = file.seek(0, os.SEEK_END)
                return cls(path, file, etag, size, kept=True, received=there if there <= size else 0)
        path = target.with_name(f"{prefix}.{uuid4().hex[:16]}{_SUFFIX}")
        return cls(path, _open(path), etag, size, kept=False)

    @property
    def headers(self) -> dict[str, str]:
        """What asks for the rest, or for the whole if it is not the same any more."""
        if self.etag is None or self.size is None or not 0 < self.received < self.size:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self.etag}

    @property
    def complete(self) -> bool:
        """Whether all of it is there, as far as its size is known."""
        return self.size is not None and self.received == self.size

    def begin(self, recording: Recording) -> bool:
        """Go to where the recording begins; False if it is not what this part is made of."""
        first = recording.begins_at
        if (recording.etag, recording.size) != (self.etag, self.size) or first is None or first > self.received:
            return False
        self.received = first
        return True

    def write(self, pieces: list[bytes]) -> None:
        """Add what came."""
        self.file.seek(self.received)
        # At once: after each single one the thread would wait for the interpreter's lock, which the loop has.
        self.file.write(b"".join(pieces))
        self.file.flush()
        self.received += sum(map(len, pieces))

    def leave(self) -> None:
        """Close the file, and keep it only if it can be gone on with."""
        with suppress(OSError):  # a full disk was told already
            if self.kept and self.received:
                self.file.close()
            else:
                self.discard()

    def discard(self) -> None:
        """Close the file and remove it."""
        self._while_locked(lambda: self.path.unlink(missing_ok=True))

    def finish(self, target: Path, overwrite: bool) -> None:  # noqa: FBT001 - called through a thread
        """Give the file its name, at once and for good."""
        self.file.truncate(self.received)
        self.file.flush()
        os.fsync(self.file.fileno())
        self._while_locked(lambda: _rename(self.path, target, overwrite=overwrite))

    def _while_locked(self, deed: Callable[[], object]) -> None:
        """Do something to the file's name before anybody else may take the file, and close it."""
        if sys.platform == "win32":  # where open files keep their names, and there is no lock
            self.file.close()
        try:
            deed()
        finally:
            self.file.close()


_SUFFIX = ".part"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _open(path: Path) -> BinaryIO:
    # Not by tempfile, whose files are for their owner only: the umask says who may read a recording.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "r+b")


def _open_locked(path: Path) -> BinaryIO | None:
    """Open a file for ourselves; None if somebody else has it, or made it and does not let us."""
    try:
        file = _open(path)
    except OSError:  # if it is not only this name, it is told when the next one is tried
        return None
    if sys.platform == "win32":
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it may have renamed or removed it since it was opened.
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
    except OSError:  # it is locked, it is gone, or this file system has no locks
        pass
    file.close()
    return None


def _remove_others(path: Path, prefix: str) -> None:
    """Remove what earlier downloads left of other versions of the recording, as far as we may."""
    with suppress(OSError):  # a folder in which files can be made need not be one that can be listed
        for old in path.parent.iterdir():
            if old != path and old.name.startswith(prefix) and old.name.endswith(_SUFFIX):
                _remove_unused(old)


def _remove_unused(path: Path) -> None:
    file = _open_locked(path)
    if file is not None:
        file.close()
        with suppress(OSError):  # it is gone, or in a shared folder and another user's
            path.unlink()


def _rename(path: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        path.replace(target)
        return
    try:
        target.hardlink_to(path)
    except FileExistsError:
        check_target(target, overwrite)
        raise
    except OSError:  # a file system without hard links
        check_target(target, overwrite)
        path.rename(target)
    else:
        path.unlink()


def check_target(target: Path, overwrite: bool) -> None:  # noqa: FBT001 - called through a thread
    """See to it, before anything is sent, that a file of this name can be made.

    Raises:
        OSError: It cannot.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent} is not a folder; make it first")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of the file, too")
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")


class _Writer:
    """Writes what comes into a part, in a thread, while the next of it comes.

    Args:
        part: The part.
        tell: Called in the event loop after each write, but for that of `save()`.
    """

    def __init__(self, part: _Part, tell: Callable[[], object]) -> None:
        self._part = part
        self._tell = tell
        self._pieces: list[bytes] = []
        self._collected = 0
        self._writing: asyncio.Task[None] | None = None

    async def add(self, piece: bytes) -> None:
        """Take a piece. Waits only where writing is slower than reading, and raises what writing or telling raised."""
        self._pieces.append(piece)
        self._collected += len(piece)
        if self._collected >= WRITE_BYTES:
            await self._written()
            self._begin()

    async def finish(self) -> None:
        """Write the rest."""
        await self._written()
        self._begin()
        await self._written()

    async def save(self) -> None:
        """Write the rest after a failure, unless that was the writing's own: the rest does not follow what is there.

        What is being written is waited for, even when cancelled: the file must not be closed before.
        """
        writing = self._writing
        if writing is not None:
            await settle((writing,), None)
            if writing.cancelled() or writing.exception() is not None:
                return
        if self._pieces:
            await in_thread(self._part.write, self._pieces)

    def _begin(self) -> None:
        # Out of hand first: a cancelled write is done all the same, and must not be done twice.
        batch, self._pieces, self._collected = self._pieces, [], 0
        self._writing = asyncio.create_task(self._write(batch))

    async def _write(self, batch: list[bytes]) -> None:
        await in_thread(self._part.write, batch)
        self._tell()

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.wait((self._writing,))
            self._writing.result()


@attrs.define(eq=False, repr=False)
class Download:
    """One recording on its way into a file.

    What breaks off is gone on with from where it broke off, as often in a row as the retry policy allows without
    a byte further than ever before; from the beginning where there is no ETag to be sure that the bytes are the same.
    """

    transport: Transport
    session_id: str
    path: str
    target: Path
    progress: Progress | None
    _part: _Part | None = None
    _reading: bool = False
    _ranges: bool = True
    """Whether the rest may be asked for: not any more once that was refused."""
    _told: int = 0

    async def run(self, *, overwrite: bool) -> None:
        """Bring it. See `Conversations.download_recording()`."""
        try:
            part = await self._receive_whole()
            await in_thread(part.finish, self.target, overwrite)
        finally:
            await in_thread(self._leave_part)

    async def _receive_whole(self) -> _Part:
        attempt = most = 0
        while True:
            self._reading = False
            try:
                part = await self._receive()
            except TransportError as error:
                # Against the most there ever was: what begins again and again comes further each time, from nothing.
                attempt = 1 if self._received > most else attempt + 1
                most = max(most, self._received)
                # What failed before the first piece was tried again already.
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
        """Return the whole, or None if it is to be asked for in another way.

        That is: for the rest of a part that was found, or without a range where that is refused.
        """
        headers = self._part.headers if self._part and self._ranges else {}
        try:
            async with open_recording(self.transport, self.session_id, self.path, headers) as recording:
                self._reading = True
                return await self._read(recording)
        except (ApiError, TransportError) as error:
            if not headers or self._reading or not refuses_range(error):
                raise
        # Kept, the part would make each later download fail in the same way.
        self._ranges = False
        await in_thread(self._discard_part)
        return None

    async def _read(self, recording: Recording) -> _Part | None:
        if self._part is not None and not self._part.begin(recording):
            # It is another version by now, and no one can go on with the old one any more.
            await in_thread(self._discard_part)
            if recording.partial:
                raise self._broken("what came is not the rest of what was there")
        if self._part is None:
            await in_thread(self._take_part, recording)
        part = self._part
        assert part is not None
        if recording.begins_at != part.received and not part.complete:
            return None
        self._tell(part)
        if not part.complete:
            await self._copy(recording, part)
        return part

    async def _copy(self, recording: Recording, part: _Part) -> None:
        writer, come = _Writer(part, lambda: self._tell(part)), part.received
        try:
            async for piece in recording.iter_bytes():
                come += len(piece)
                if part.size is not None and come > part.size:
                    break
                await writer.add(piece)
            await writer.finish()
        except BaseException:
            await writer.save()
            raise
        if part.size is not None and come > part.size:
            # Nobody knows which of the bytes are too many.
            await in_thread(self._discard_part)
            raise self._broken(f"it went on after its {part.size} bytes")
        if part.size is not None and not part.complete:
            raise self._broken(f"it ended after {part.received} of {part.size} bytes")

    def _broken(self, reason: str) -> TransportError:
        return TransportError(method="GET", path=self.path, reason=reason, sent=True)

    def _tell(self, part: _Part) -> None:
        """Tell of progress, but not of what comes a second time."""
        if self.progress is not None and (part.received >= self._told or part.complete):
            self._told = part.received
            self.progress(part.received, part.size)

    def _take_part(self, recording: Recording) -> None:
        # Taken in the thread, since a cancelled call would not learn what the thread returns.
        self._part = _Part.beside(self.target, self.session_id, recording)

    def _leave_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.leave()

    def _discard_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.discard()
