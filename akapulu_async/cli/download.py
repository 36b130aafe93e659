"""`download`: save a recording to a file."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Self

import attrs
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from akapulu_async.cli import signals, values
from akapulu_async.cli.screen import Screen, redraws
from akapulu_async.cli.target import AsJson, BaseUrl, ConversationId, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import ConfigurationError, RecordingNotReadyError, RecordingTimeoutError
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
            help="The file, or a folder for a file named after the conversation. [default: current folder]",
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
    _check_place(output, force=force)

    async def fetch() -> Path:
        async with target.conversation(session_id, over=True) as (client, known):
            return await Download(client, known, screen, wait, force=force).run(output)

    path = signals.run(fetch())
    size = path.stat().st_size
    screen.emit({"path": str(path), "bytes": size})
    screen.say(f"{path} ({size:,} bytes)")
    return 0


def _check_place(output: Path | None, *, force: bool) -> None:
    """Check that the file may be written, before anything is sent."""
    if output is None or output.is_dir():
        return
    if not output.parent.is_dir():
        raise ConfigurationError(f"--output {output}: {output.parent} is not a folder; create it first")
    if output.exists() and not force:
        raise ConfigurationError(f"--output {output}: it exists already; --force replaces it")


@attrs.frozen
class Download:
    """A download of a recording."""

    client: AkapuluClient
    session_id: str
    screen: Screen
    wait: float | None
    """Longest wait in seconds until it is ready; None: do not wait."""

    force: bool = attrs.field(kw_only=True)

    async def run(self, output: Path | None) -> Path:
        """Download it, and return the path of the file."""
        try:
            if self.wait is not None:
                self.screen.note("Waiting for the recording.")
                await self.client.conversations.wait_for_recording(self.session_id, timeout=self.wait)
            path = await self._place(output)
            await in_thread(self._check, path)
            with Bar(self.screen, path.name) as bar:
                return await self.client.conversations.download_recording(
                    self.session_id, path, progress=bar.show, overwrite=self.force
                )
        except RecordingTimeoutError:
            raise
        except RecordingNotReadyError as error:
            raise NotReadyYetError(session_id=error.session_id, status_text=error.status_text) from None

    def _check(self, path: Path) -> None:
        _check_place(path, force=self.force)

    async def _place(self, output: Path | None) -> Path:
        """Return the file to write: in a folder, one named after the conversation and its media type."""
        folder = Path() if output is None else output
        if not await in_thread(folder.is_dir):
            return folder
        async with self.client.conversations.recording(self.session_id) as recording:
            media_type = recording.content_type.partition(";")[0].strip().lower()
        return folder / f"{self.session_id}{ENDINGS.get(media_type, '.bin')}"


class NotReadyYetError(RecordingNotReadyError):
    """The recording is not ready, and `--wait` was not given."""

    advice = "--wait SECONDS waits for it; only conversations connected with --record have one"


class Bar:
    """A progress bar, if stderr is a terminal."""

    def __init__(self, screen: Screen, name: str) -> None:
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
            self._task = self._progress.add_task(name, total=None)

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
