"""`download`: save a recording to a file."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Self

import attrs
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from akapulu_async.cli import signals, values
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.screen import Screen, redraws
from akapulu_async.cli.streams import plain
from akapulu_async.cli.target import AsJson, BaseUrl, ConversationId, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import AkapuluError, ConfigurationError, ErrorKind, NotFoundError, RecordingNotReadyError
from akapulu_async.resources.downloads import check_target
from akapulu_async.resources.recordings import Recording
from akapulu_async.tasks import in_thread

ENDINGS = {
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/webm": ".weba",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
}
"""File extensions by media type. The system's own table differs between machines."""


def download(
    session_id: ConversationId = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file, or a folder for a file named after the conversation; - for stdout. "
            "[default: current folder]",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait", metavar="SECONDS", parser=values.seconds, help="Wait up to this long for the recording."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Download a recording, resuming an interrupted download."""
    target, screen = Target(base_url=base_url, simulator=simulator, speed=speed), Screen(json=as_json)
    if output == STDOUT:
        _check_stdout(screen)
    elif output is not None and not output.is_dir():
        _check_file(output, force=force)

    async def fetch() -> None:
        async with target.conversation(session_id, over=True) as (client, known):
            await Download(client, known, screen, wait, force=force).run(output)

    signals.run(fetch())
    return ExitCode.OK


STDOUT = Path("-")


def _check_stdout(screen: Screen) -> None:
    if screen.json:
        raise ConfigurationError("--output - cannot be combined with --json: both would write to stdout")
    if sys.stdout.isatty():
        raise ConfigurationError("--output -: stdout is a terminal, which cannot show a recording; redirect it")


def _check_file(file: Path, *, force: bool) -> None:
    """Check that the file may be written."""
    try:
        check_target(file, force)
    except FileExistsError:
        raise ConfigurationError(f"--output {file}: it exists already; --force replaces it") from None
    except OSError as error:
        raise ConfigurationError(f"--output {file}: {error}") from None


@attrs.frozen
class Download:
    """A download of a recording."""

    client: AkapuluClient
    session_id: str
    screen: Screen
    wait: float | None
    """Longest wait in seconds until it is ready; None: do not wait."""

    force: bool = attrs.field(kw_only=True)

    async def run(self, output: Path | None) -> None:
        """Download it, and show where it is."""
        conversations = self.client.conversations
        try:
            if self.wait is not None:
                self.screen.note("Waiting for the recording.")
                await conversations.wait_for_recording(self.session_id, timeout=self.wait)
            async with conversations.recording(self.session_id) as recording:
                if output == STDOUT:
                    await self._copy(recording)
                    return
            await self._save(output or Path(), recording.content_type.partition(";")[0].strip().lower())
        except RecordingNotReadyError as error:
            raise NotReadyYetError(session_id=error.session_id, status_text=error.status_text) from None
        except NotFoundError:
            await conversations.detail(self.session_id)  # raises if there is no such conversation
            raise NoRecordingError(f"Conversation {self.session_id} has no recording; {ONLY_RECORDED}") from None

    async def _copy(self, recording: Recording) -> None:
        """Write it to stdout."""
        written = 0
        with Bar(self.screen) as bar:
            async for piece in recording.iter_bytes():
                await in_thread(_write, piece)
                written += len(piece)
                bar.show(written, recording.size)

    async def _save(self, output: Path, media_type: str) -> None:
        """Save it in a file; in a folder, one named after the conversation and the media type."""
        path = output
        if await in_thread(output.is_dir):
            path = output / f"{self.session_id}{ENDINGS.get(media_type, '.bin')}"
            await in_thread(partial(_check_file, path, force=self.force))
        with Bar(self.screen) as bar:
            await self.client.conversations.download_recording(
                self.session_id, path, progress=bar.show, overwrite=self.force
            )
        size = (await in_thread(path.stat)).st_size
        self.screen.emit({"path": str(path), "bytes": size, "content_type": media_type})
        self.screen.say(plain(f"{path} ({size:,} bytes)"))
        if not fits(path.suffix, media_type):
            self.screen.note(f"The recording is {plain(media_type)}, which does not fit the name {plain(path.name)}.")


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def fits(suffix: str, media_type: str) -> bool:
    """Return True if a file's suffix fits a media type, or if one of them says nothing."""
    subtypes = {known.partition("/")[2] for known, ending in ENDINGS.items() if ending == suffix.lower()}
    subtype = media_type.partition("/")[2]
    return not subtypes or subtype in subtypes or subtype == "octet-stream"


ONLY_RECORDED = "only conversations connected with `connect --record` have one"


class NotReadyYetError(RecordingNotReadyError):
    """The recording is not ready."""

    advice = f"--wait SECONDS waits for it, at most that long; {ONLY_RECORDED}"


class NoRecordingError(AkapuluError):
    """The conversation exists, but has no recording."""

    kind = ErrorKind.NOT_FOUND


class Bar:
    """A progress bar, if stderr is a terminal."""

    def __init__(self, screen: Screen) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        if not screen.json and redraws(screen.err):
            self._progress = Progress(
                BarColumn(30),
                TextColumn("{task.percentage:5.1f} %", markup=False),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=screen.err,
                transient=True,
            )
            self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def show(self, written: int, size: int | None) -> None:
        """Show the bytes written, and the size if it is known."""
        if self._progress is not None:
            self._progress.update(self._task, completed=written, total=size)
