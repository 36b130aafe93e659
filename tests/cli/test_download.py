"""`download` saves a recording to a file."""

import os
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from akapulu_async.cli.download import fits
from akapulu_async.simulator import Fault, Simulator
from tests.cli.running import HANG, ID, SCRIPT, as_read, connected, rest_of, run, running, terminal

SIZE = 3_000_044


@pytest.fixture
async def store() -> AsyncIterator[Simulator]:
    """A service whose clock stands still, with recordings of a known size."""
    async with Simulator(speed=0, seed=1, recording_size=SIZE) as simulator:
        yield simulator


async def recorded(store: Simulator, *, ready: bool = True) -> str:
    """Hold a recorded conversation, and return its id."""
    session_id = await connected(store, record_conversation=True)
    store.advance(20)
    store.end(session_id)
    if ready:
        store.advance(20)
    return session_id


async def test_into_a_file(store: Simulator, tmp_path: Path) -> None:
    """The recording is saved to the file, and its path and size are printed."""
    path = tmp_path / "call.mp4"
    done = await run("download", await recorded(store), "-o", path, sim=store)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{path} (3,000,044 bytes)\n"
    assert path.read_bytes()[4:8] == b"ftyp"  # an MP4 file
    assert path.stat().st_size == SIZE


async def test_into_a_folder(store: Simulator, tmp_path: Path) -> None:
    """In a folder, the file is named after the conversation and its media type; JSON has the same."""
    session_id = await recorded(store)
    done = await run("download", session_id, "-o", tmp_path, "--json", sim=store)
    path = tmp_path / f"{session_id}.mp4"
    assert (done.code, done.err) == (0, "")
    assert done.objects == [{"path": str(path), "bytes": SIZE, "content_type": "video/mp4"}]
    assert path.stat().st_size == SIZE


async def test_into_this_folder(tmp_path: Path) -> None:
    """Without `-o`, the file is saved in the current folder."""
    done = await run("download", "--simulator", cwd=tmp_path)
    assert done.code == 0
    [path] = files(tmp_path)
    assert done.out.startswith(path.name)


async def test_it_waits(store: Simulator, tmp_path: Path) -> None:
    """`--wait` waits until the recording is ready."""
    path = tmp_path / "call.mp4"
    session_id = await recorded(store, ready=False)
    async with running("download", session_id, "-o", path, "--wait", "100", sim=store) as process:
        await store.wait_for_request("detail", timeout=HANG)
        store.advance(20)
        done = await rest_of(process)
    assert (done.code, path.stat().st_size) == (0, SIZE)


async def test_not_ready(store: Simulator, tmp_path: Path) -> None:
    """Without `--wait`, a recording that is not ready is one line that names the option."""
    session_id = await recorded(store, ready=False)
    done = await run("download", session_id, "-o", tmp_path / "call.mp4", sim=store)
    assert (done.code, done.out, done.err.count("\n")) == (7, "", 1)
    assert "--wait SECONDS waits for it" in done.err
    done = await run("download", session_id, "-o", tmp_path / "call.mp4", "--wait", "0.2", "--json", sim=store)
    assert (done.code, done.out, done.err.count("\n")) == (7, "", 1)
    assert "connect --record" in done.err
    assert files(tmp_path) == []


async def test_no_recording(store: Simulator, tmp_path: Path) -> None:
    """A conversation that exists without a recording is told from one that does not exist."""
    session_id = await connected(store)
    store.end(session_id)
    done = await run("download", session_id, "-o", tmp_path, sim=store)
    assert (done.code, done.out) == (4, "")
    only = "only conversations connected with `connect --record` have one"
    assert done.err == f"akapulu-async: Conversation {session_id} has no recording; {only}\n"
    done = await run("download", ID, "-o", tmp_path, sim=store)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert "--record" not in done.err


async def test_to_stdout(store: Simulator, tmp_path: Path) -> None:
    """With `-o -`, stdout has the recording and nothing else."""
    path = tmp_path / "piped.mp4"
    line = f"{shlex.quote(SCRIPT)} download {await recorded(store)} -o - > {path}"
    done = await run("-c", line, sim=store, program="bash")
    assert (done.code, done.err) == (0, "")
    assert path.stat().st_size == SIZE
    assert path.read_bytes()[4:8] == b"ftyp"
    done = await run("download", ID, "-o", "-", "--json", sim=store)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    async with terminal("download", ID, "-o", "-", sim=store) as shown:
        assert await shown.end() == 2
    assert "stdout is a terminal" in shown.shown


async def test_a_name_that_does_not_fit(store: Simulator, tmp_path: Path) -> None:
    """If the recording is of another type than its file's name suggests, a line says so."""
    done = await run("download", await recorded(store), "-o", tmp_path / "call.wav", sim=store)
    assert (done.code, done.err) == (0, "The recording is video/mp4, which does not fit the name call.wav.\n")


@pytest.mark.parametrize(
    ("suffix", "media_type", "fit"),
    [
        (".mp4", "audio/wav", False),
        (".WAV", "audio/x-wav", True),
        (".m4a", "video/mp4", True),
        (".wav", "application/octet-stream", True),
        (".bin", "video/mp4", True),
        ("", "video/mp4", True),
    ],
)
def test_suffixes(suffix: str, media_type: str, fit: bool) -> None:
    """A suffix fits if it is of the same format, or of none; an unknown media type fits all."""
    assert fits(suffix, media_type) is fit


async def test_what_is_not_a_file_is_not_replaced(store: Simulator, tmp_path: Path) -> None:
    """A FIFO is refused by name, also with `--force`, before any request is sent; a symlink's target is written."""
    os.mkfifo(fifo := tmp_path / "fifo.wav")
    for force in ([], ["--force"]):
        done = await run("download", ID, "-o", fifo, *force, sim=store)
        assert (done.code, done.out, store.count()) == (2, "", 0)
        assert f"{fifo} is not a regular file" in done.err
    (link := tmp_path / "link.mp4").symlink_to(tmp_path / "call.mp4")
    (tmp_path / "call.mp4").write_text("mine")
    done = await run("download", await recorded(store), "-o", link, "--force", sim=store)
    assert (done.code, link.is_symlink(), (tmp_path / "call.mp4").stat().st_size) == (0, True, SIZE)


async def test_it_resumes(tmp_path: Path) -> None:
    """A download interrupted by Ctrl-C resumes where it stopped."""
    path, size = tmp_path / "call.mp4", 50 * SIZE
    async with Simulator(speed=0, seed=1, recording_size=size) as store:
        session_id = await recorded(store)
        store.add_fault(Fault(route="storage", bytes_per_second=SIZE, after=1))  # slow enough to be interrupted
        async with running("download", session_id, "-o", path, sim=store) as process:
            await store.wait_for_request("storage", count=2, timeout=HANG)
            await until_there_is_a_part(tmp_path)
            process.send_signal(signal.SIGINT)
            done = await rest_of(process)
        assert (done.code, done.err) == (130, "")
        [part] = files(tmp_path)
        assert 0 < part.stat().st_size < size
        done = await run("download", session_id, "-o", path, sim=store)
    assert done.code == 0
    assert [path] == files(tmp_path)
    assert path.stat().st_size == size
    assert [request.status for request in store.requests if request.route == "storage"][-1] == 206


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def until_there_is_a_part(folder: Path) -> None:
    """Wait until something was written."""
    while not any(path.stat().st_size for path in files(folder)):  # noqa: ASYNC110 - another process writes
        await anyio.sleep(0.01)


async def test_a_file_is_not_replaced(store: Simulator, tmp_path: Path) -> None:
    """An existing file is kept unless `--force` is given, and no request is sent."""
    path = tmp_path / "call.mp4"
    path.write_text("mine")
    session_id = await recorded(store)
    asked = store.count()
    done = await run("download", session_id, "-o", path, sim=store)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"--output {path}: it exists already; --force replaces it" in done.err
    assert (path.read_text(), store.count()) == ("mine", asked)
    done = await run("download", session_id, "-o", path, "--force", sim=store)
    assert (done.code, path.stat().st_size) == (0, SIZE)


async def test_no_such_folder(store: Simulator, tmp_path: Path) -> None:
    """A missing folder is an error before any request is sent."""
    done = await run("download", ID, "-o", tmp_path / "no" / "call.mp4", sim=store)
    assert (done.code, done.err.count("\n"), store.count()) == (2, 1, 0)
    assert "--output" in done.err


async def test_in_a_terminal(store: Simulator, tmp_path: Path) -> None:
    """A terminal shows a bar on stderr."""
    session_id = await recorded(store)
    store.add_fault(Fault(route="storage", bytes_per_second=2_500_000, after=1))
    async with terminal("download", session_id, "-o", tmp_path / "call.mp4", sim=store) as shown:
        await shown.expect("━")
        assert await shown.end() == 0
    assert "/3.0 MB" in as_read(shown.shown)


@pytest.mark.parametrize(("option", "value"), [("--wait", "soon"), ("--wait", "-1")])
async def test_bad_use(option: str, value: str) -> None:
    """Bad input is one line with option and value, and code 2."""
    done = await run("download", ID, option, value)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{option}: '{value}' is not a number of seconds greater than 0" in done.err
