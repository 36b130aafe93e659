"""What a load test found, for people in a table, and for scripts as one object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from akapulu_async.cli.screen import Screen
from akapulu_async.errors import ConfigurationError
from akapulu_async.load.metrics import FAMILIES, STATISTICS, Verdict, metrics
from akapulu_async.load.results import Latencies, LoadResult, write_csv

TITLES = {
    "connect": "connect",
    "ready": "time to ready",
    "loop_lag": "own loop's lag",
    "arrival_lag": "own arrivals' lag",
}


def as_json(result: LoadResult, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the result as one JSON object. Figures that there are not are null; durations are seconds."""
    return {
        "title": result.title,
        "settings": dict(result.settings),
        "started_at": result.started_at.isoformat(),
        "interrupted": result.interrupted,
        "resolution": result.resolution,
        "cpu_share": result.cpu_share,
        "figures": metrics(result),
        "failures": dict(result.failures),
        "warnings": list(result.warnings),
        "thresholds": [
            {"threshold": str(each.criterion), "value": each.value, "crossed": each.crossed} for each in verdicts
        ],
    }


def show(console: Console, result: LoadResult, verdicts: Sequence[Verdict]) -> None:
    """Show the result to people."""
    for part in _parts(result, verdicts):
        console.print(part)


def _parts(result: LoadResult, verdicts: Sequence[Verdict]) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{result.title}: took {result.seconds:,.1f} s", style="bold"), Text()]
    parts += [_counts(result), Text(), _latencies(result)]
    if result.failures:
        parts += [Text(), _failures(result)]
    parts += [Text(), Text(_how_measured(result), style="dim")]
    parts += [Text(f"! {warning}", style="yellow") for warning in result.warnings]
    parts += [Text(str(each), style="red" if each.crossed else "green") for each in verdicts]
    return parts


def _table(*headings: str) -> Table:
    table = Table(box=None, show_header=bool(any(headings)), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _counts(result: LoadResult) -> RenderableType:
    table = _table("", "", "")
    every = len(result.attempts)
    for name, count in (
        ("conversations", every),
        ("connected", result.connect.count),
        ("ready", result.ready.count),
        ("failed", sum(result.failures.values())),
    ):
        table.add_row(name, f"{count:,}", f"{count / every:.2%}" if every else "")
    return table


def _latencies(result: LoadResult) -> RenderableType:
    table = _table("seconds", *STATISTICS)
    for family, latencies_of in FAMILIES.items():
        latencies = latencies_of(result)
        if latencies.count:
            table.add_row(TITLES[family], *_figures(latencies))
    return table


def _figures(latencies: Latencies) -> list[str]:
    return [f"{figure(latencies) or 0.0:,.3f}" for figure in STATISTICS.values()]


def _failures(result: LoadResult) -> RenderableType:
    table = _table("failed because of", "")
    for cause, count in sorted(result.failures.items(), key=lambda each: (-each[1], each[0])):
        table.add_row(Text(cause, overflow="ellipsis"), f"{count:,}")
    return table


def _how_measured(result: LoadResult) -> str:
    said = ["Latencies count from when a conversation was due."]
    if result.ready.count < len(result.attempts):
        said.append("The time to ready is that of those alone that got ready.")
    if result.resolution is not None:
        said.append(f"A readiness is seen up to {result.resolution:.2g} s late, since it is polled for.")
    if result.cpu_share is not None:
        said.append(f"The load generator used {result.cpu_share:.0%} of a core.")
    return " ".join(said)


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
