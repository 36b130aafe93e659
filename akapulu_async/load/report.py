"""The report of a load test: a self-contained HTML page that follows the reader's colour scheme."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from akapulu_async.load.charts import MOST_BINS, MOST_DOTS, MOST_MOMENTS, Chart, draw
from akapulu_async.load.comparison import Earlier, compared
from akapulu_async.load.latency_charts import connect_latency, latency_charts, time_to_ready
from akapulu_async.load.metrics import STATISTICS, Verdict
from akapulu_async.load.results import LoadResult, ordered
from akapulu_async.load.timeline_charts import failures_chart, loop_lag_chart, polls_chart, rate_chart, sessions_charts
from akapulu_async.load.wording import latency, share, span

MOST_ROWS = 200
"""Most causes in a table."""


def write_report(result: LoadResult, verdicts: Sequence[Verdict], earlier: Earlier | None, path: Path) -> None:
    """Write the report to a file, replacing it; raises `OSError`.

    The page takes less than 1 MB, however many conversations there were.
    """
    # Names from outside may contain lone surrogates, which are written escaped.
    path.write_text(page(result, verdicts, earlier), encoding="utf-8", errors="backslashreplace", newline="\n")


def page(result: LoadResult, verdicts: Sequence[Verdict] = (), earlier: Earlier | None = None) -> str:
    """Return the report as HTML.

    Args:
        result: The measurements.
        verdicts: The thresholds and their figures.
        earlier: An earlier test to compare with.
    """
    arrivals = max((attempt.due for attempt in result.attempts), default=0.0)
    latencies = [*latency_charts(time_to_ready(result), arrivals), *latency_charts(connect_latency(result), arrivals)]
    timeline = [rate_chart(result), polls_chart(result), *sessions_charts(result), loop_lag_chart(result)]
    return Template(_resource("report.html")).substitute(
        title=escape(result.title),
        style=_resource("report.css"),
        when=_when(result),
        simulated=f"<p class='banner'>{escape(result.simulated)}</p>" if result.simulated else "",
        verdict=_verdict(verdicts, interrupted=result.interrupted),
        warnings=_warnings(result.warnings),
        counts=_counts(result),
        latencies=_latencies(result),
        calls=_calls(result),
        notes=_notes(result),
        comparison=_comparison(result, earlier),
        latency_charts=_drawn(latencies),
        timeline_charts=_drawn(timeline),
        failures=_failures(result),
        settings=_table("Settings, and where it ran", ["setting", "value"], list(result.settings.items()), text=True),
        thinning=f"Tables and captions count everything. Charts have at most {MOST_DOTS:,} dots, about {MOST_BINS} "
        f"bars and {MOST_MOMENTS} points, so this file stays small however long the test was.",
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _drawn(charts: Iterable[Chart]) -> str:
    return "\n".join(map(draw, charts))


def _when(result: LoadResult) -> str:
    interrupted = "; interrupted" if result.interrupted else ""
    return f"Started {result.started_at:%Y-%m-%d %H:%M:%S} UTC, took {span(result.seconds)}{interrupted}."


def _verdict(verdicts: Sequence[Verdict], *, interrupted: bool) -> str:
    if not verdicts:
        return "<p class='quiet'>No thresholds were set (--fail-if), so the test neither passed nor failed.</p>"
    heading = "FAIL" if any(verdict.crossed for verdict in verdicts) else "PASS"
    items = "".join(
        f"<li class='{'fail' if verdict.crossed else 'pass'}'>{escape(str(verdict))}</li>" for verdict in verdicts
    )
    section = f"<section class='verdict {heading.lower()}' aria-labelledby='verdict-heading'>"
    but = ", but the test was interrupted" if interrupted else ""
    return f"{section}<h2 id='verdict-heading'>{heading}{but}</h2><ul>{items}</ul></section>"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    heading = "<h2 id='warnings-heading'>⚠ Warnings</h2>"
    return f"<section class='warnings' aria-labelledby='warnings-heading'>{heading}<ul>{items}</ul></section>"


def _counts(result: LoadResult) -> str:
    attempts, failed = len(result.attempts), sum(result.failures.values())
    figures = {
        "conversations": f"{attempts:,}",
        f"ready, {share(result.ready.count, attempts)}": f"{result.ready.count:,}",
        f"failed, {share(failed, attempts)}": f"{failed:,}",
    }
    if result.cut_short:
        figures["interrupted"] = f"{result.cut_short:,}"
    figures |= {"time to ready, p95": latency(result.ready.at(0.95)), "time to ready, mean": latency(result.ready.mean)}
    terms = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    return f"<dl class='counts'>{terms}</dl>"


def _latencies(result: LoadResult) -> str:
    columns = {"Time to ready": result.ready, "Connect latency": result.connect, "Event-loop lag": result.loop_lag}
    if result.arrival_lag.count:
        columns["Arrival lag"] = result.arrival_lag
    rows = [["count", *(f"{latencies.count:,}" for latencies in columns.values())]]
    rows += [[name, *(latency(at(latencies)) for latencies in columns.values())] for name, at in STATISTICS.items()]
    caption = "Latencies count from the time a conversation was due. The lags are the load generator's own."
    return _table(caption, ["", *columns], rows)


def _calls(result: LoadResult) -> str:
    failed = sum(result.poll_errors.values())
    counts = {
        "connected": result.connect.count,
        "polls": result.polls,
        "failed polls": failed,
        "calls sent again": result.retries,
    }
    return _table("Calls to the service", ["", "count"], [[name, f"{count:,}"] for name, count in counts.items()])


def _notes(result: LoadResult) -> str:
    notes = []
    if result.ready.count < len(result.attempts):
        notes.append(
            f"Time to ready covers only the {result.ready.count:,} of {len(result.attempts):,} conversations that "
            "became ready, not those that failed or were interrupted."
        )
    if result.resolution is not None:
        notes.append(f"Polling sees readiness up to {latency(result.resolution)} late, half of that on average.")
    if result.cpu_share is not None:
        notes.append(f"The load generator used {100 * result.cpu_share:.0f} % of a core.")
    return f"<p class='quiet'>{' '.join(notes)}</p>" if notes else ""


def _comparison(result: LoadResult, earlier: Earlier | None) -> str:
    if earlier is None:
        return ""
    table = _table(f"Earlier: {earlier.name}", ["figure", "earlier", "now", "change"], compared(result, earlier))
    heading = "<h2 id='comparison-heading'>Compared with an earlier test</h2>"
    return f"<section aria-labelledby='comparison-heading'>{heading}{table}</section>"


def _failures(result: LoadResult) -> str:
    parts = [
        f"<figure>{_causes(caption, counts)}</figure>"
        for caption, counts in (
            ("Failed conversations by cause", result.failures),
            ("Failed polls by status", result.poll_errors),
        )
        if counts
    ]
    chart = failures_chart(result)
    parts += [] if chart is None else [draw(chart)]
    return f"<div class='charts'>{''.join(parts)}</div>" if parts else "<p>No conversation and no poll failed.</p>"


def _causes(caption: str, counts: Mapping[str, int]) -> str:
    causes, whole = ordered(counts), sum(counts.values())
    rows = [[cause, f"{count:,}", share(count, whole)] for cause, count in causes[:MOST_ROWS]]
    if rest := causes[MOST_ROWS:]:
        count = sum(count for _, count in rest)
        rows.append([f"{len(rest):,} other causes", f"{count:,}", share(count, whole)])
    return _table(caption, ["cause", "count", "share"], rows)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, text: bool = False) -> str:
    """Return a table; the first column names the rows, the others hold figures or text."""
    kind = " class='text'" if text else ""
    head = "".join(f"<th scope='col'{kind}>{escape(name)}</th>" if name else "<td></td>" for name in heads)
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td{kind}>{escape(value)}</td>' for value in values)}</tr>"
        for name, *values in rows
    )
    table = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{table}</div>"
