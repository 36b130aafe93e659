"""Where the results of a load test go."""

from collections.abc import Sequence
from pathlib import Path

import attrs

from akapulu_async.cli.load_summary import as_json, show
from akapulu_async.cli.screen import Screen
from akapulu_async.errors import ConfigurationError
from akapulu_async.load.criteria import Verdict
from akapulu_async.load.csv import write_csv
from akapulu_async.load.results import LoadResult


@attrs.frozen(kw_only=True)
class Files:
    """What to write; None for nothing.

    Raises:
        ConfigurationError: A file could not be written there. Known before the test, so that its result is not lost.
    """

    report: Path | None
    csv: Path | None

    def __attrs_post_init__(self) -> None:
        for option, path in (("--report", self.report), ("--csv", self.csv)):
            if path is not None and not path.parent.is_dir():
                raise ConfigurationError(f"{option} {path}: there is no folder {path.parent}")
            if path is not None and path.is_dir():
                raise ConfigurationError(f"{option} {path}: it is a folder; a file is wanted")

    def write(self, result: LoadResult, screen: Screen) -> None:
        """Write them; raises `OSError`."""
        if self.csv is not None:
            write_csv(result, self.csv)
            screen.note(f"attempts: {self.csv}")
        if self.report is not None:
            from akapulu_async.load.report import write_report  # noqa: PLC0415 - its charts take long to import

            write_report(result, self.report)
            screen.note(f"report: {self.report}")


def tell(result: LoadResult, verdicts: Sequence[Verdict], screen: Screen) -> None:
    """Show the result: to people as tables, to scripts as one object."""
    if screen.json:
        screen.emit(as_json(result, verdicts))
    else:
        show(screen.out, result, verdicts)
