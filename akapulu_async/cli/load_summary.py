"""The results of a load test: tables for people, one JSON object for scripts, and files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from akapulu_async import ConfigurationError
from akapulu_async.cli.screen import Screen
from akapulu_async.load.metrics import FAMILIES, STATISTICS, Verdict, metrics
from akapulu_async.load.results import Latencies, LoadResult, write_csv

TITLES = {
    "connect": "connect",
    "ready": "time to ready",
    "loop_lag": "own loop's lag",
    "arrival_lag": "own arrivals' lag",
}


def show(result: LoadResult, verdicts: Sequence[Verdict], screen: Screen) -> None:
    """Show the result: tables for people, one object for scripts."""
    if screen.json:
        screen.emit(as_json(result, verdicts))
        return
    for part in _parts(result, verdicts):
        screen.out.print(part)


def as_json(result: LoadResult, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the result as a JSON object. Figures that were not measured are null; durations are in seconds."""
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


def _parts(result: LoadResult, verdicts: Sequence[Verdict]) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{result.title}: took {result.seconds:,.1f} s", style="bold"), Text()]
    parts += [_counts(result), Text(), _latencies(result)]
    if result.failures:
        parts += [Text(), _failures(result)]
    parts += [Text(), Text(_notes(result), style="dim")]
    parts += [Text(f"Warning: {warning}", style="yellow") for warning in result.warnings]
    parts += [Text(str(each), style="red" if each.crossed else "green") for each in verdicts]
    return parts


def _table(*headings: str) -> Table:
    table = Table(box=None, show_header=bool(any(headings)), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _counts(result: LoadResult) -> RenderableType:
    table = _table("", "", "")
    total = len(result.attempts)
    for name, count in (
        ("conversations", total),
        ("connected", result.connect.count),
        ("ready", result.ready.count),
        ("failed", sum(result.failures.values())),
    ):
        table.add_row(name, f"{count:,}", f"{count / total:.2%}" if total else "")
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
    table = _table("cause of failure", "")
    for cause, count in sorted(result.failures.items(), key=lambda each: (-each[1], each[0])):
        table.add_row(Text(cause, overflow="ellipsis"), f"{count:,}")
    return table


def _notes(result: LoadResult) -> str:
    notes = ["Latencies count from the time a conversation was due."]
    if result.ready.count < len(result.attempts):
        notes.append("Time to ready covers only the conversations that became ready.")
    if result.resolution is not None:
        notes.append(f"Polling sees readiness up to {result.resolution:.2g} s late.")
    if result.cpu_share is not None:
        notes.append(f"The load generator used {result.cpu_share:.0%} of a core.")
    return " ".join(notes)


@attrs.frozen(kw_only=True)
class Files:
    """The files to write; None: not wanted.

    Raises:
        ConfigurationError: A file cannot be written there. Checked before the test, so that no result is lost.
    """

    report: Path | None
    csv: Path | None

    def __attrs_post_init__(self) -> None:
        for option, path in (("--report", self.report), ("--csv", self.csv)):
            if path is not None and not path.parent.is_dir():
                raise ConfigurationError(f"{option} {path}: there is no folder {path.parent}")
            if path is not None and path.is_dir():
                raise ConfigurationError(f"{option} {path}: must be a file, not a folder")

    def write(self, result: LoadResult, screen: Screen) -> None:
        """Write them; raises `OSError`."""
        if self.csv is not None:
            write_csv(result, self.csv)
            screen.note(f"attempts: {self.csv}")
        if self.report is not None:
            from akapulu_async.load.report import write_report  # noqa: PLC0415 - its charts take long to import

            write_report(result, self.report)
            screen.note(f"report: {self.report}")
