"""The report of a load test: one HTML file that loads nothing, with charts that follow the reader's colour scheme."""

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
from akapulu_async.version import __version__

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

MOST_ROWS = 200
"""How many causes of failure the table has."""


def write_report(result: LoadResult, path: Path) -> None:
    """Write the report of a load test to a file, over what is there. Raises OSError if that cannot be.

    Its size has a bound: about 5 MB, most of it the charting library, however many conversations there were.
    """
    # Names from outside may hold halves of characters: they are shown escaped rather than refused.
    path.write_text(page(result), encoding="utf-8", errors="backslashreplace", newline="\n")


def page(result: LoadResult) -> str:
    """Return the report as HTML."""
    arrivals = max((attempt.due for attempt in result.attempts), default=0.0)
    of_latencies = [
        *latency_charts(time_to_ready(result), arrivals),
        *latency_charts(connect_latency(result), arrivals),
    ]
    of_course = [sessions_chart(result), loop_lag_chart(result)]
    of_failures = failures_charts(result)
    library, script = get_plotlyjs(), _resource("report.js")
    return Template(_resource("report.html")).substitute(
        policy=_policy(library, script),
        title=escape(result.title),
        style=_resource("report.css"),
        when=_when(result),
        warnings=_warnings(result.warnings),
        counts=_counts(result),
        latencies=_latencies(result),
        latency_charts=_figures(of_latencies),
        course_charts=_figures(of_course),
        failures_charts=_figures(of_failures),
        failures=_failures(result),
        settings=_settings(result),
        thinning=f"All figures in tables and words count everything. Charts hold at most {MOST_DOTS:,} dots, about "
        f"{MOST_BINS} bars and {MOST_MOMENTS} moments, so that this file stays small however long the test was.",
        version=escape(__version__),
        figures=_data([*of_latencies, *of_course, *of_failures]),
        library=library,
        script=script,
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return what the browser is to allow: these scripts and the page's own style, and no request at all."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _data(charts: Iterable[Chart]) -> str:
    """Return the figures as JSON that cannot end the element it stands in."""
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
    heading = "<h2 id='warnings-heading'>⚠ These figures are doubtful</h2>"
    return f"<section class='warnings' aria-labelledby='warnings-heading'>{heading}<ul>{items}</ul></section>"


def _when(result: LoadResult) -> str:
    broken_off = ", and was interrupted" if result.interrupted else ""
    return f"Begun {result.started_at:%Y-%m-%d %H:%M:%S} UTC, took {span(result.seconds)}{broken_off}."


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
    columns = {"Time to ready": result.ready, "Connect latency": result.connect, "Event loop late": result.loop_lag}
    if result.arrival_lag.count:
        columns["Arrivals late"] = result.arrival_lag
    rows = [["count", *(f"{latencies.count:,}" for latencies in columns.values())]]
    rows += [[name, *(latency(latencies.at(at)) for latencies in columns.values())] for name, at in QUANTILES.items()]
    rows += [["max", *(latency(latencies.highest) for latencies in columns.values())]]
    caption = "Latencies count from when conversations were due. What is late is the load generator itself."
    return _table(caption, ["", *columns], rows) + _asides(result)


def _asides(result: LoadResult) -> str:
    told = []
    if result.resolution is not None:
        told.append(f"Polling tells of a readiness up to {latency(result.resolution)} late, on average half of that.")
    if result.cpu_share is not None:
        told.append(f"The load generator used {100 * result.cpu_share:.0f} % of a core.")
    return f"<p class='quiet'>{' '.join(told)}</p>" if told else ""


def _failures(result: LoadResult) -> str:
    causes, failed = ordered(result.failures), sum(result.failures.values())
    if not causes:
        return ""
    rows = [[cause, f"{count:,}", share(count, failed)] for cause, count in causes[:MOST_ROWS]]
    if rest := causes[MOST_ROWS:]:
        count = sum(count for _, count in rest)
        rows.append([f"{len(rest):,} other causes", f"{count:,}", share(count, failed)])
    return _table("Failed attempts by cause", ["cause", "attempts", "of all that failed"], rows)


def _settings(result: LoadResult) -> str:
    return _table("What the test was run with", ["setting", "value"], list(result.settings.items()), text=True)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, text: bool = False) -> str:
    """Return a table; its first column names the rows, the others are figures, or text."""
    kind = " class='text'" if text else ""
    head = "".join(f"<th scope='col'{kind}>{escape(name)}</th>" if name else "<td></td>" for name in heads)
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td{kind}>{escape(value)}</td>' for value in values)}</tr>"
        for name, *values in rows
    )
    table = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{table}</div>"
