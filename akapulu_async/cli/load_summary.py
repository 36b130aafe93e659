"""The results of a load test: tables for people, one JSON object for scripts, and files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from akapulu_async import ConfigurationError
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.streams import complain
from akapulu_async.load.comparison import Earlier, compared
from akapulu_async.load.metrics import FAMILIES, STATISTICS, Verdict, metrics, unit
from akapulu_async.load.report import write_report
from akapulu_async.load.results import Latencies, LoadResult, ordered, write_csv
from akapulu_async.load.wording import counted

TITLES = {
    "connect": "connect",
    "ready": "time to ready",
    "loop_lag": "own loop's lag",
    "arrival_lag": "own arrivals' lag",
}


def deliver(
    result: LoadResult, verdicts: Sequence[Verdict], earlier: Earlier | None, files: "Files", screen: Screen
) -> bool:
    """Write the files, then show the result, each whatever becomes of the others. Returns True if all succeeded."""
    done = [
        _written("attempts", files.csv, partial(write_csv, result), screen),
        _written("report", files.report, partial(write_report, result, verdicts, earlier), screen),
        _tried("the figures", partial(show, result, verdicts, earlier, screen)),
    ]
    return all(done)


def _written(name: str, path: Path | None, write: Callable[[Path], None], screen: Screen) -> bool:
    if path is None:
        return True
    if not _tried(f"{name} {path}", partial(write, path)):
        return False
    screen.note(f"{name}: {path}")
    return True


def _tried(name: str, output: Callable[[], None]) -> bool:
    try:
        output()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a reader that has enough, as `head`
            complain(f"{name}: {error.strerror or error}")
        return False
    return True


def show(result: LoadResult, verdicts: Sequence[Verdict], earlier: Earlier | None, screen: Screen) -> None:
    """Show the result: tables for people, one object for scripts."""
    if screen.json:
        screen.emit(as_json(result, verdicts))
        return
    for part in _parts(result, verdicts, earlier):
        screen.out.print(part)
    screen.out.file.flush()


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
        "failed_polls": dict(result.poll_errors),
        "simulator_speed": result.simulator_speed,
        "warnings": list(result.warnings),
        "thresholds": [
            {
                "threshold": str(each.criterion),
                "value": each.value,
                "unit": "" if unit(each.criterion.metric) == "%" else unit(each.criterion.metric),
                "crossed": each.crossed,
            }
            for each in verdicts
        ],
    }


def _parts(result: LoadResult, verdicts: Sequence[Verdict], earlier: Earlier | None) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{result.title}: took {result.seconds:,.1f} s", style="bold")]
    parts += [Text(result.simulated, style="yellow")] if result.simulated else []
    parts += [Text(), _counts(result), Text(), _latencies(result)]
    if result.failures:
        parts += [Text(), _causes("cause of failure", result.failures)]
    if result.poll_errors or result.retries:
        parts += [Text(), Text(f"{result.polls:,} polls, {counted(result.retries, 'retry', 'retries')} of calls")]
    if result.poll_errors:
        parts += [_causes("failed polls", result.poll_errors)]
    if earlier is not None:
        parts += [Text(), Text(f"compared with {earlier.name}"), _comparison(result, earlier)]
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
    rows = [("conversations", total), ("connected", result.connect.count), ("ready", result.ready.count)]
    rows += [("failed", sum(result.failures.values()))]
    rows += [("interrupted", result.cut_short)] if result.cut_short else []
    for name, count in rows:
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


def _causes(heading: str, causes: Mapping[str, int]) -> RenderableType:
    table = _table(heading, "")
    for cause, count in ordered(causes):
        table.add_row(Text(cause, overflow="ellipsis"), f"{count:,}")
    return table


def _comparison(result: LoadResult, earlier: Earlier) -> RenderableType:
    table = _table("figure", "earlier", "now", "change")
    for row in compared(result, earlier):
        table.add_row(*row)
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
