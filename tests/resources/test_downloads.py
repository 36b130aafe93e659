"""Downloads over real sockets: the file is whole or does not exist."""

# ruff: noqa: ASYNC240 - the tests look at files while nothing else is to run

import asyncio
import errno
import hashlib
import os
import random
import stat
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from akapulu_async import ApiError, ConfigurationError, TransportError
from akapulu_async.http.transport import DOWNLOAD_POOL_SIZE
from tests.support.calls import error_of
from tests.support.cancelling import cancelled_at
from tests.support.misbehaving import SESSION, Behaviour, Peer, Seen, Server, answer, client_of, gated, http, raw, reset
from tests.support.storing import (
    CONTENT,
    MIB,
    OTHER,
    chunked,
    download,
    files,
    redirect,
    store,
    too_long,
    without_ranges,
)


@pytest.fixture
def appear(
    target: Path, tmp_path_factory: pytest.TempPathFactory, no_blocking_calls: BlockBuster
) -> Callable[..., None]:
    """A callback that creates another file at the target."""
    no_blocking_calls.functions["os.link"].deactivate()
    mine = tmp_path_factory.mktemp("mine") / "mine"
    mine.write_bytes(b"mine")

    def link(*_: object) -> None:
        with suppress(FileExistsError):
            os.link(mine, target)

    return link


async def test_interrupted_download_goes_on(target: Path) -> None:
    """An interrupted download resumes where it stopped, within the call."""
    told: list[tuple[int, int | None]] = []
    script = (store(stop=MIB + 1), store(stop=MIB), store(stop=500), store())
    async with Server(*script) as server, client_of(server) as client:
        await download(client, target, progress=lambda *figures: told.append(figures))
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]
    ranges = [seen.headers.get("range") for seen in server.requests]
    assert ranges == [None, f"bytes={MIB + 1}-", f"bytes={2 * MIB + 1}-", f"bytes={2 * MIB + 501}-"]
    assert {seen.headers.get("if-range") for seen in server.requests[1:]} == {'"v1"'}
    assert told == sorted(told, key=lambda figures: figures[0])
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_download_gives_up_without_progress(target: Path) -> None:
    """Attempts without a new byte are counted, and the last one's error is raised."""
    async with Server(store(stop=MIB), store(stop=0)) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert type(error) is TransportError
    assert len(server.requests) == 3
    assert files(target.parent) == [".part"]


def another_version(version: int) -> Behaviour:
    """Serve the rest of another version, whatever the request."""
    content_range = f"bytes {MIB}-{len(CONTENT) - 1}/{len(CONTENT)}"
    return raw(http(206, {"ETag": f'"v{version}"', "Content-Range": content_range}, CONTENT[MIB:]))


WRONG_FOR_EVER: dict[str, tuple[Behaviour, ...]] = {
    "longer than its range": (store(stop=MIB), too_long()) * 10,
    "another version each time": tuple(
        behaviour
        for version in range(0, 20, 2)
        for behaviour in (store(etag=f'"v{version}"', stop=MIB), another_version(version + 1))
    ),
    "sooner and later, from the beginning": (
        store(etag=None, stop=2 * MIB),
        *(store(etag=None, stop=MIB), store(etag=None, stop=MIB + MIB // 2)) * 10,
    ),
}


@pytest.mark.parametrize("script", WRONG_FOR_EVER.values(), ids=WRONG_FOR_EVER)
async def test_wrong_server_is_given_up(script: tuple[Behaviour, ...], target: Path) -> None:
    """Attempts without progress beyond the furthest byte are counted, however answers contradict each other."""
    async with Server(*script, store()) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert type(error) is TransportError
    assert len(server.requests) == 3
    assert not target.exists()


async def test_part_that_became_too_long_is_removed(target: Path) -> None:
    """An answer that is longer than the recording leaves no part."""
    script = (store(stop=MIB), too_long(), answer({}, 410))
    async with Server(*script) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert isinstance(error, ApiError)
    assert files(target.parent) == []


@pytest.mark.parametrize("redirected", [False, True])
async def test_refused_range_is_done_without(redirected: bool, target: Path) -> None:
    """After a refused range the whole is requested, and no range again."""
    script = (without_ranges(stop=MIB), *[without_ranges()] * (3 if redirected else 1))
    async with (
        Server(*script, without_ranges(stop=2 * MIB), without_ranges()) as storage,
        Server(redirect(storage.url)) as service,
        client_of(service if redirected else storage) as client,
    ):
        await download(client, target)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]
    asked = ["range" in seen.headers for seen in storage.requests]
    assert asked == [False, *[True] * (3 if redirected else 1), False, False]


@pytest.mark.parametrize("redirected", [False, True])
async def test_kept_part_does_no_harm_where_ranges_are_refused(redirected: bool, target: Path) -> None:
    """A part of a failed download does not stop the next one from a store that refuses ranges."""
    async with (
        Server(
            store(stop=MIB), answer({}, 410), *[answer({}, 410)] * (2 if redirected else 0), without_ranges()
        ) as storage,
        Server(redirect(storage.url)) as service,
        client_of(service if redirected else storage) as client,
    ):
        await error_of(download(client, target))
        assert files(target.parent) == [".part"]
        await download(client, target)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]


async def test_next_call_goes_on(target: Path) -> None:
    """The next call resumes the part of a failed download."""
    async with Server(store(stop=MIB), reset, reset, reset, store()) as server, client_of(server) as client:
        await error_of(download(client, target))
        assert files(target.parent) == [".part"]
        await download(client, target)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]
    assert server.requests[-1].headers["range"] == f"bytes={MIB}-"


async def test_complete_part_is_not_fetched_again(target: Path, appear: Callable[..., None]) -> None:
    """A complete part is not downloaded again."""
    async with Server(store()) as server, client_of(server) as client:
        with pytest.raises(FileExistsError, match="pass overwrite=True"):
            await download(client, target, progress=appear)
        assert target.read_bytes() == b"mine"
        assert files(target.parent) == [".part", "call.mp4"]
        await download(client, target, overwrite=True)
        assert len(server.requests) == 2
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]


AGAIN: dict[str, tuple[Behaviour, ...]] = {
    "no ETag": (store(etag=None, stop=MIB), store(etag=None)),
    "weak ETag": (store(etag='W/"v1"', stop=MIB), store(etag='W/"v1"')),
    "no ranges": (store(stop=MIB), store(ranges=False)),
    "changed": (store(OTHER, etag='"v0"', stop=MIB), store()),
    "changed, ranges without If-Range": (
        store(OTHER, etag='"v0"', stop=MIB),
        raw(http(206, {"ETag": '"v1"', "Content-Range": f"bytes {MIB}-{len(CONTENT) - 1}/{len(CONTENT)}"}, b"x")),
        store(),
    ),
    "no Content-Range": (store(stop=MIB), store(content_range="nonsense"), store()),
    "another range": (
        store(stop=MIB),
        store(content_range=f"bytes {2 * MIB}-{len(CONTENT) - 1}/{len(CONTENT)}"),
        store(),
    ),
    "range of unknown size": (store(stop=MIB), store(content_range=f"bytes {MIB}-{len(CONTENT) - 1}/*"), store()),
    "longer than its range": (store(stop=MIB), too_long(), store()),
    "no length": (chunked(CONTENT[:MIB], whole=False), chunked(CONTENT, whole=True)),
    "no length and all but the end": (chunked(CONTENT, whole=False), chunked(CONTENT, whole=True)),
}


@pytest.mark.parametrize("script", AGAIN.values(), ids=AGAIN)
async def test_what_cannot_be_gone_on_with_begins_again(script: tuple[Behaviour, ...], target: Path) -> None:
    """Without proof that the bytes are the same, an interrupted download starts again and leaves no old part."""
    told: list[int] = []
    async with Server(*script) as server, client_of(server) as client:
        await download(client, target, progress=lambda received, _: told.append(received))
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert len(server.requests) == len(script)


async def test_old_versions_part_is_removed_by_the_next_call(target: Path) -> None:
    """The next download removes the part of an old version."""
    script = (store(OTHER, etag='"v0"', stop=MIB), reset, reset, reset, store())
    async with Server(*script) as server, client_of(server) as client:
        await error_of(download(client, target))
        await download(client, target)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]


def forbid(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid opening or removing a file, as if it were another user's."""
    allowed = getattr(os, name)

    def forbidden(given: Any, *args: Any, **kwargs: Any) -> Any:
        if given == path:
            raise PermissionError(errno.EACCES, "forbidden", str(path))
        return allowed(given, *args, **kwargs)

    monkeypatch.setattr(os, name, forbidden)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("etag", "obstruct"),
    [
        ('"v1"', lambda part, monkeypatch: forbid("open", part, monkeypatch)),
        ('"v2"', lambda part, monkeypatch: forbid("open", part, monkeypatch)),
        ('"v2"', lambda part, monkeypatch: forbid("unlink", part, monkeypatch)),
        ('"v1"', lambda part, _: replace_by_folder(part)),
        ('"v2"', lambda part, _: replace_by_folder(part)),
    ],
    ids=["opened", "opened, another version", "removed, another version", "folder", "folder, another version"],
)
async def test_part_that_is_not_ours_is_left_alone(
    etag: str, obstruct: Callable[..., None], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file with a part's name does not stop a download."""
    async with Server(store(stop=MIB), answer({}, 410), store(etag=etag)) as server, client_of(server) as client:
        await error_of(download(client, target))
        (part,) = target.parent.iterdir()
        obstruct(part, monkeypatch)
        await download(client, target)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == [".part", "call.mp4"]
    assert part.exists()


@pytest.mark.parametrize(("etag", "left"), [('"v1"', [".part"]), (None, [])])
async def test_failed_download_leaves_a_part_only_to_go_on_with(
    etag: str | None, left: list[str], target: Path
) -> None:
    """A failed download leaves no target, and a part only if it can be resumed."""
    async with Server(store(etag=etag, stop=MIB), reset) as server, client_of(server) as client:
        await error_of(download(client, target))
    assert files(target.parent) == left


@pytest.mark.parametrize(("etag", "left"), [('"v1"', [".part"]), (None, [])])
async def test_cancelled_download_can_be_gone_on_with(etag: str | None, left: list[str], target: Path) -> None:
    """A download cancelled in mid-body raises CancelledError, leaves no target, and can be resumed."""
    gate = asyncio.Event()
    headers = {"Content-Type": "video/mp4"} | ({"ETag": etag} if etag else {})
    begun = gated(http(200, headers, CONTENT[: 2 * MIB], length=len(CONTENT)), gate)
    async with Server(begun, store(etag=etag)) as server, client_of(server) as client:
        at_half = asyncio.Event()
        task = asyncio.create_task(
            download(client, target, progress=lambda received, _: at_half.set() if received >= MIB else None)
        )
        await at_half.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.abandoned()
        assert files(target.parent) == left
        await download(client, target)
        resumed = server.requests[-1].headers.get("range")
    assert target.read_bytes() == CONTENT
    assert (resumed is not None) == (etag is not None)


@pytest.mark.parametrize("redirected", [False, True])
async def test_cancelled_download_gives_its_place_back(redirected: bool, target: Path) -> None:
    """At whichever await a download is cancelled, its place becomes free: eight more can run at once."""
    async with (
        Server(store(CONTENT[:1000])) as storage,
        Server(redirect(storage.url)) as service,
        client_of(service if redirected else storage) as client,
    ):
        for number in count():
            task = asyncio.create_task(cancelled_at(number, download(client, target, overwrite=True)))
            await asyncio.wait((task,))
            if not task.cancelled():
                break
        assert task.result() == target
        assert number > 5, "the last one was not cancelled"
        async with AsyncExitStack() as stack:
            for _place in range(DOWNLOAD_POOL_SIZE):
                await stack.enter_async_context(client.conversations.recording(SESSION))


class CancellingPool(ThreadPoolExecutor):
    """Cancels a task when a thread is given a certain function."""

    def __init__(self, name: str) -> None:
        super().__init__(1)
        self.name = name
        self.task: asyncio.Task[Any] | None = None

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.task is not None and getattr(function, "__name__", "") == self.name:
            asyncio.get_running_loop().call_soon(self.task.cancel)
            self.task = None
        return super().submit(function, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "left"), [("write", [".part"]), ("_open_part", []), ("finish", ["call.mp4"]), ("check_target", [])]
)
async def test_cancel_during_file_work_breaks_nothing(name: str, left: list[str], target: Path) -> None:
    """If cancelled while a thread works on the file, the work is done once, and the next download succeeds."""
    pool = CancellingPool(name)
    asyncio.get_running_loop().set_default_executor(pool)
    async with Server(store()) as server, client_of(server) as client:
        task = pool.task = asyncio.create_task(download(client, target))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.task is None
        assert files(target.parent) == left
        await download(client, target, overwrite=True)
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]


class WaitingPool(ThreadPoolExecutor):
    """Holds writes back until they are released."""

    def __init__(self) -> None:
        super().__init__(4)
        self.begun = asyncio.Event()
        self.released = threading.Event()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if getattr(function, "__name__", "") != "write":
            return super().submit(function, *args, **kwargs)
        self.begun.set()
        return super().submit(lambda: (self.released.wait(), function(*args, **kwargs)))


async def turns() -> None:
    """Run the event loop's pending callbacks."""
    for _turn in range(100):
        await asyncio.sleep(0)


@pytest.fixture
def waiting_pool() -> Iterator[WaitingPool]:
    pool = WaitingPool()
    yield pool
    pool.released.set()


@pytest.mark.parametrize("size", [MIB // 2, len(CONTENT)])
async def test_cancel_waits_for_the_write(size: int, target: Path, waiting_pool: WaitingPool) -> None:
    """A cancelled download closes its file only after the writing thread is done."""
    asyncio.get_running_loop().set_default_executor(waiting_pool)
    async with Server(store(CONTENT[:size])) as server, client_of(server) as client:
        task = asyncio.create_task(download(client, target))
        await waiting_pool.begun.wait()
        for _again in range(2):
            task.cancel()
            await turns()
            assert not task.done()
        waiting_pool.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        (part,) = target.parent.iterdir()
        written = part.stat().st_size
        assert written >= min(size, MIB)
        assert part.read_bytes() == CONTENT[:written]
        await download(client, target)
    assert target.read_bytes() == CONTENT[:size]


async def test_what_comes_during_a_write_is_not_lost(target: Path, waiting_pool: WaitingPool) -> None:
    """If the connection breaks during a write, all bytes received by then are kept."""
    asyncio.get_running_loop().set_default_executor(waiting_pool)
    come = MIB + MIB // 2
    async with Server(store(stop=come), store()) as server, client_of(server) as client:
        task = asyncio.create_task(download(client, target))
        await waiting_pool.begun.wait()
        await turns()
        waiting_pool.released.set()
        await task
    assert server.requests[1].headers["range"] == f"bytes={come}-"
    assert target.read_bytes() == CONTENT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")  # noqa: PTH110
async def test_full_disk_is_told(target: Path) -> None:
    """A full disk ends the download with the system's error."""
    # The part's name is known once a download was interrupted; in its place a link to the full device is put.
    async with Server(store(stop=MIB), answer({}, 410), store()) as server, client_of(server) as client:
        await error_of(download(client, target))
        (part,) = target.parent.iterdir()
        part.unlink()
        part.symlink_to("/dev/full")
        error = await error_of(download(client, target))
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert not target.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")  # noqa: PTH110
async def test_full_disk_does_not_hide_a_cancel(target: Path) -> None:
    """A cancelled download raises CancelledError also if the bytes received by then cannot be saved."""
    gate = asyncio.Event()
    begun = gated(http(200, {"ETag": '"v1"'}, CONTENT[: MIB // 2], length=len(CONTENT)), gate)
    async with Server(store(stop=MIB), answer({}, 410), begun) as server, client_of(server) as client:
        await error_of(download(client, target))
        (part,) = target.parent.iterdir()
        part.unlink()
        part.symlink_to("/dev/full")
        begins = asyncio.Event()
        task = asyncio.create_task(download(client, target, progress=lambda *_: begins.set()))
        await begins.wait()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class FullPool(ThreadPoolExecutor):
    """Fails the first write, as a disk that is full for a moment."""

    def __init__(self) -> None:
        super().__init__(1)
        self.full = True

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.full and getattr(function, "__name__", "") == "write":
            self.full = False
            return super().submit(Path("/dev/full").write_bytes, b"x")
        return super().submit(function, *args, **kwargs)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")  # noqa: PTH110
async def test_disk_that_was_full_for_a_moment_leaves_no_gap(target: Path) -> None:
    """After a failed write nothing more is written, so the next download gives the right bytes."""
    asyncio.get_running_loop().set_default_executor(FullPool())
    async with Server(store()) as server, client_of(server) as client:
        error = await error_of(download(client, target))
        assert isinstance(error, OSError)
        assert error.errno == errno.ENOSPC
        await download(client, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("after", [0, MIB, len(CONTENT)])
async def test_callbacks_exception_is_the_callers(after: int, target: Path) -> None:
    """The progress callback's exception is raised unchanged, and no target is left."""

    def fail(received: int, _: int | None) -> None:
        if received >= after:
            raise LookupError("mine")

    async with Server(store(etag=None)) as server, client_of(server) as client:
        error = await error_of(download(client, target, progress=fail))
    assert type(error) is LookupError
    assert files(target.parent) == []


async def test_failing_callback_does_not_hide_a_cancel(target: Path) -> None:
    """The callback is not called for bytes saved after a cancel, so its error cannot replace the cancel."""
    gate = asyncio.Event()
    begun = gated(http(200, {"ETag": '"v1"'}, CONTENT[: MIB // 2], length=len(CONTENT)), gate)

    begins = asyncio.Event()

    def fail(received: int, _: int | None) -> None:
        begins.set()
        if received:
            raise LookupError

    async with Server(begun) as server, client_of(server) as client:
        task = asyncio.create_task(download(client, target, progress=fail))
        await begins.wait()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_failing_callback_of_a_write_under_way_does_not_hide_a_cancel(
    target: Path, waiting_pool: WaitingPool, caplog: pytest.LogCaptureFixture
) -> None:
    """If a write is under way when the download is cancelled, its callback's error is logged, and the cancel raised."""
    asyncio.get_running_loop().set_default_executor(waiting_pool)

    def fail(received: int, _: int | None) -> None:
        if received:
            raise LookupError("mine")

    async with Server(store()) as server, client_of(server) as client:
        task = asyncio.create_task(download(client, target, progress=fail))
        await waiting_pool.begun.wait()
        task.cancel()
        await turns()
        waiting_pool.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    (record,) = caplog.records
    text = f"The download of the recording of conversation {SESSION} was ending when LookupError was raised: mine"
    assert record.getMessage() == text


async def test_existing_file_is_untouched(target: Path) -> None:
    """An existing file is not replaced, and nothing is requested, without `overwrite`."""
    target.write_bytes(b"mine")
    async with Server(store()) as server, client_of(server) as client:
        error = await error_of(download(client, target))
        assert type(error) is FileExistsError
        assert "pass overwrite=True to replace it" in str(error)
        assert (target.read_bytes(), server.requests) == (b"mine", [])
        await download(client, target, overwrite=True)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("etag", "left"), [('"v1"', [".part", "call.mp4"]), (None, ["call.mp4"])])
async def test_file_that_appears_meanwhile_is_untouched(
    etag: str | None, left: list[str], target: Path, appear: Callable[..., None]
) -> None:
    """A file that appears during the download is kept, and no useless part is left."""
    async with Server(store(etag=etag)) as server, client_of(server) as client:
        error = await error_of(download(client, target, progress=appear))
    assert type(error) is FileExistsError
    assert target.read_bytes() == b"mine"
    assert files(target.parent) == left


async def test_only_regular_files_are_replaced(target: Path) -> None:
    """A FIFO, a symlink to one and a symlink to itself are refused by name, before anything is sent."""
    os.mkfifo(fifo := target.with_name("fifo"))
    (link := target.with_name("link")).symlink_to(fifo)
    (loop := target.with_name("loop")).symlink_to(loop)
    async with Server(store()) as server, client_of(server) as client:
        for place in (fifo, link, loop):
            error = await error_of(download(client, place, overwrite=True))
            assert str(error) == f"{place} is not a regular file and is never replaced; give another name"
    assert server.requests == []
    assert stat.S_ISFIFO(fifo.lstat().st_mode)


async def test_symlink_is_followed(target: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The file that a symlink names is written, whether it exists or not, and the link stays."""
    named = tmp_path_factory.mktemp("elsewhere") / "named.mp4"
    target.symlink_to(named)
    async with Server(store()) as server, client_of(server) as client:
        for _ in range(2):
            assert await download(client, target, overwrite=True) == target
            assert (target.readlink(), named.read_bytes()) == (named, CONTENT)
        assert type(await error_of(download(client, target))) is FileExistsError


async def test_relative_path(
    target: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A relative path counts from the folder that was current at the call."""
    monkeypatch.chdir(target.parent)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    async with Server(store()) as server, client_of(server) as client:
        await download(client, Path(target.name), progress=lambda *_: os.chdir(elsewhere))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("overwrite", [True, False])
async def test_folder_in_the_files_place_is_told_first(overwrite: bool, tmp_path: Path) -> None:
    """A folder at the target, or a missing parent folder, is reported before anything is sent."""
    (tmp_path / "file").write_bytes(b"")
    async with Server(store()) as server, client_of(server) as client:
        for target, kind, words in (
            (tmp_path, IsADirectoryError, "is a folder; give the name of the file, too"),
            (tmp_path / "missing" / "call.mp4", FileNotFoundError, "is not a folder; make it first"),
            (tmp_path / "file" / "call.mp4", FileNotFoundError, "is not a folder; make it first"),
        ):
            error = await error_of(download(client, target, overwrite=overwrite))
            assert type(error) is kind
            assert words in str(error)
    assert server.requests == []


async def test_name_that_no_file_can_have_is_told_first(tmp_path: Path) -> None:
    """A name with a null character is refused before anything is sent."""
    async with Server(store()) as server, client_of(server) as client:
        error = await error_of(download(client, tmp_path / "call\0.mp4"))
    assert type(error) is ConfigurationError
    assert server.requests == []


async def test_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    """If no file can be created, the system's error is raised and the connection is closed."""
    folder = Path("/proc/self/fd") if os.path.isdir("/proc/self/fd") else tmp_path / "missing"  # noqa: PTH112
    async with Server(store()) as server, client_of(server) as client:
        error = await error_of(download(client, folder / "call.mp4"))
        assert isinstance(error, OSError)
        await server.abandoned()


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_permissions_follow_the_umask(umask: int, target: Path) -> None:
    """The file's permissions follow the umask."""
    before = os.umask(umask)
    try:
        async with Server(store()) as server, client_of(server) as client:
            await download(client, target)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


async def test_long_names_are_possible(tmp_path: Path) -> None:
    """The part's name is short enough for every valid target."""
    target = tmp_path / ("é" * 127)
    async with Server(store()) as server, client_of(server) as client:
        await download(client, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"v1"', None])
async def test_two_downloads_at_once_do_not_disturb_each_other(etag: str | None, target: Path) -> None:
    """Simultaneous downloads of a recording to one target do not disturb each other."""
    async with Server(store(etag=etag)) as server, client_of(server) as client:
        await asyncio.gather(*(download(client, target, overwrite=True) for _ in range(4)))
        assert target.read_bytes() == CONTENT
        assert files(target.parent) == ["call.mp4"]
        target.unlink()
        outcomes = await asyncio.gather(*(download(client, target) for _ in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome != target] == [FileExistsError] * 3
    assert target.read_bytes() == CONTENT


async def test_cancelled_twin_does_not_take_the_part_away(target: Path) -> None:
    """A second download that is cancelled before its first byte leaves the first one's part."""
    gates = [asyncio.Event(), asyncio.Event()]
    head = http(200, {"ETag": '"v1"'}, length=len(CONTENT))
    script = [gated(head + CONTENT[:100], gates[0], CONTENT[100:]), gated(head, gates[1])]
    begun = [asyncio.Event(), asyncio.Event()]
    async with Server(*script) as server, client_of(server) as client:
        tasks = []
        for event in begun:
            tasks.append(asyncio.create_task(download(client, target, progress=lambda *_, event=event: event.set())))
            await event.wait()
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        gates[0].set()
        await tasks[0]
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["call.mp4"]


async def test_memory_stays_flat(target: Path) -> None:
    """A recording of 64 MiB takes less than 16 MiB of memory."""
    block = random.Random(3).randbytes(MIB)

    async def send(peer: Peer, _: Seen) -> None:
        await peer.send(http(200, {"ETag": '"v1"'}, length=64 * MIB))
        for _block in range(64):
            await peer.send(block)

    async with Server(send) as server, client_of(server) as client:
        tracemalloc.start()
        try:
            await download(client, target)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16 * MIB
    assert target.stat().st_size == 64 * MIB
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(block * 64).digest()


async def test_empty_recording_is_an_empty_file(target: Path) -> None:
    """A recording of length 0 becomes an empty file."""
    async with Server(store(b"")) as server, client_of(server) as client:
        await download(client, target)
    assert target.read_bytes() == b""
    assert files(target.parent) == ["call.mp4"]


async def test_refusal_in_the_middle_is_told(target: Path) -> None:
    """A refusal of the rest is raised unchanged, and the part is kept."""
    async with Server(store(stop=MIB), answer({"error": "Gone."}, 410)) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert isinstance(error, ApiError)
    assert files(target.parent) == [".part"]
