"""The report of a load test: a self-contained HTML page that follows the reader's colour scheme."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from akapulu_async.load.charts import MOST_BINS, MOST_DOTS, MOST_MOMENTS, Chart
from akapulu_async.load.latency_charts import connect_latency, latency_charts, time_to_ready
from akapulu_async.load.results import LoadResult
from akapulu_async.load.timeline_charts import failures_charts, loop_lag_chart, ordered, sessions_chart
from akapulu_async.load.wording import latency, share, span

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

MOST_ROWS = 200
"""Most causes of failure in the table."""


def write_report(result: LoadResult, path: Path) -> None:
    """Write the report to a file, replacing it; raises `OSError`.

    The page takes about 5 MB, mostly the charting library, however many conversations there were.
    """
    # Names from outside may contain lone surrogates, which are written escaped.
    path.write_text(page(result), encoding="utf-8", errors="backslashreplace", newline="\n")


def page(result: LoadResult) -> str:
    """Return the report as HTML."""
    arrivals = max((attempt.due for attempt in result.attempts), default=0.0)
    latencies = [*latency_charts(time_to_ready(result), arrivals), *latency_charts(connect_latency(result), arrivals)]
    timeline = [sessions_chart(result), loop_lag_chart(result)]
    failed = failures_charts(result)
    library, script = get_plotlyjs(), _resource("report.js")
    return Template(_resource("report.html")).substitute(
        policy=_policy(library, script),
        title=escape(result.title),
        style=_resource("report.css"),
        when=_when(result),
        warnings=_warnings(result.warnings),
        counts=_counts(result),
        latencies=_latencies(result),
        latency_charts=_figures(latencies),
        timeline_charts=_figures(timeline),
        failures_charts=_figures(failed),
        failures=_failures(result),
        settings=_settings(result),
        thinning=f"Tables and captions count everything. Charts have at most {MOST_DOTS:,} dots, about {MOST_BINS} "
        f"bars and {MOST_MOMENTS} points, so this file stays small however long the test was.",
        figures=_data([*latencies, *timeline, *failed]),
        library=library,
        script=script,
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return the content security policy: these scripts and inline styles, and no requests."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _data(charts: Iterable[Chart]) -> str:
    """Return the figures as JSON that cannot close the script element around it."""
    figures = {chart.name: json.loads(chart.figure.to_json()) for chart in charts if chart.figure is not None}
    return json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")


def _figures(charts: Iterable[Chart]) -> str:
    return "\n".join(_figure(chart) for chart in charts)


def _figure(chart: Chart) -> str:
    caption = f"<figcaption id='{chart.name}-words'>{escape(chart.caption)}</figcaption>"
    heading = f"<h3 id='{chart.name}-heading'>{escape(chart.heading)}</h3>"
    labels = f"aria-labelledby='{chart.name}-heading' aria-describedby='{chart.name}-words'"
    drawing = "" if chart.figure is None else f"<div id='{chart.name}' role='img' {labels}></div>"
    return f"<figure>{heading}{drawing}{caption}</figure>"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    heading = "<h2 id='warnings-heading'>⚠ Warnings</h2>"
    return f"<section class='warnings' aria-labelledby='warnings-heading'>{heading}<ul>{items}</ul></section>"


def _when(result: LoadResult) -> str:
    interrupted = "; interrupted" if result.interrupted else ""
    return f"Started {result.started_at:%Y-%m-%d %H:%M:%S} UTC, took {span(result.seconds)}{interrupted}."


def _counts(result: LoadResult) -> str:
    attempts = len(result.attempts)
    ready = sum(attempt.ready is not None for attempt in result.attempts)
    failed = sum(result.failures.values())
    figures = {
        "attempts": f"{attempts:,}",
        f"ready, {share(ready, attempts)}": f"{ready:,}",
        f"failed, {share(failed, attempts)}": f"{failed:,}",
    }
    terms = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    return f"<dl class='counts'>{terms}</dl>"


def _latencies(result: LoadResult) -> str:
    columns = {"Time to ready": result.ready, "Connect latency": result.connect, "Event-loop lag": result.loop_lag}
    if result.arrival_lag.count:
        columns["Arrival lag"] = result.arrival_lag
    rows = [["count", *(f"{latencies.count:,}" for latencies in columns.values())]]
    rows += [[name, *(latency(latencies.at(at)) for latencies in columns.values())] for name, at in QUANTILES.items()]
    rows += [["max", *(latency(latencies.highest) for latencies in columns.values())]]
    caption = "Latencies count from the time a conversation was due. The lags are the load generator's own."
    return _table(caption, ["", *columns], rows) + _asides(result)


def _asides(result: LoadResult) -> str:
    asides = []
    if result.resolution is not None:
        asides.append(f"Polling sees readiness up to {latency(result.resolution)} late, half of that on average.")
    if result.cpu_share is not None:
        asides.append(f"The load generator used {100 * result.cpu_share:.0f} % of a core.")
    return f"<p class='quiet'>{' '.join(asides)}</p>" if asides else ""


def _failures(result: LoadResult) -> str:
    causes, failed = ordered(result.failures), sum(result.failures.values())
    if not causes:
        return ""
    rows = [[cause, f"{count:,}", share(count, failed)] for cause, count in causes[:MOST_ROWS]]
    if rest := causes[MOST_ROWS:]:
        count = sum(count for _, count in rest)
        rows.append([f"{len(rest):,} other causes", f"{count:,}", share(count, failed)])
    return _table("Failed attempts by cause", ["cause", "attempts", "share of failures"], rows)


def _settings(result: LoadResult) -> str:
    return _table("Settings of this test", ["setting", "value"], list(result.settings.items()), text=True)


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
