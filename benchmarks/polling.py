"""Simulate how many polls the policies need to see that a bot is ready, and how late they see it.

    python benchmarks/polling.py [--sessions 40000] [--processes 2] [--chart build/polling.html] [--json [FILE]]

Nothing is polled: the service, its times to ready and its percent are made up (polling_worlds.py), and no request
takes time or fails. Each policy gets the same sessions. *Requests* are the polls of a session up to and with the one
that sees readiness, *lag* is how much later than readiness that is, *saved* is against a fixed 0.5 s.

- *As shipped*: `PollPolicy()` and `ProgressPollPolicy()`, first where the percent tells something of the time that is
  left, then, at lognormal times, where it tells nothing or misleads.
- *At equal p95*: rules that know more than a library can, or have no guard (polling_rivals.py), and
  `ProgressPollPolicy`, each with its parameter chosen for that case so that 95 of a hundred lags are below 0.475 s, as
  at a fixed 0.5 s. That alone flatters rules that see a few sessions very late: look at p99, too.
- The bars that `ProgressPollPolicy` must keep as it is shipped.
- The chart: requests against lag for each policy over its parameter, where the percent tells something and where it
  sticks half-way.

It takes about a minute on two cores.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from akapulu_async import PollPolicy, ProgressPollPolicy
from output import STDOUT, add_json_option, show
from polling_rivals import Plain, best_schedule, learned
from polling_worlds import SHAPES, TIMES, World, simulate

PROBE, PROBE_SEED = 8_000, 5  # sessions for each step of a search, which are not those that are measured
P95, P99 = 0.475, 0.5  # seconds: the lags that 95 and 99 of a hundred sessions have at a fixed 0.5 s, without jitter
INFORMATIVE = ("uniform", "regular", "late", "early")
MISLEADING = tuple(shape for shape in SHAPES if shape not in INFORMATIVE)
SHIPPED, EQUAL, CURVES = "as shipped", "at equal p95", "curves"

Row = dict[str, Any]


@attrs.frozen
class Job:
    """One simulation."""

    table: str
    world: World
    policy: str
    sessions: int
    parameter: float | None = None


def at_equal_p95(job: Job, make: Callable[[float], PollPolicy], low: float, high: float) -> PollPolicy:
    """Return the policy with the lag wanted in the 95th of a hundred sessions, searched between two parameters."""
    few = min(PROBE, job.sessions)
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if simulate(make(middle), job.world, few, PROBE_SEED).p95 <= P95 else (low, middle)
    return make(low)


POLICIES: dict[str, Callable[[Job], PollPolicy]] = {
    "fixed 0.5 s": lambda _: PollPolicy(),
    "progress": lambda _: ProgressPollPolicy(),
    "best schedule for p95": lambda job: best_schedule(job.world.times, P95, 0.05),
    "best schedule for p99": lambda job: best_schedule(job.world.times, P99, 0.01),
    "plain rule, 0.5": lambda job: at_equal_p95(job, partial(Plain, growth=0.5), 0.05, 1.0),
    "plain rule, 1.0": lambda job: at_equal_p95(job, partial(Plain, growth=1.0), 0.05, 1.0),
    "learned quantiles": lambda job: at_equal_p95(job, partial(learned, job.world), 0.0, 0.9),
    "progress, scaled": lambda job: at_equal_p95(job, ProgressPollPolicy, 0.2, 1.0),
}
"""By their names; a "best" and a "learned" one know the times to ready, which no library can."""

PLAIN_CASE = World("lognormal", "uniform")

LINES: dict[str, tuple[Callable[[float], PollPolicy], tuple[float, ...]]] = {
    "fixed": (PollPolicy, (0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0)),
    "progress": (ProgressPollPolicy, (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)),
    "plain rule, 1.0": (partial(Plain, growth=1.0), (0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)),
    "learned quantiles": (partial(learned, PLAIN_CASE), (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)),
    "best schedule for p95": (
        lambda lag: best_schedule(PLAIN_CASE.times, lag, 0.05),
        (0.3, 0.4, 0.475, 0.7, 1.0, 1.5, 2.0),
    ),
}
"""The lines of the chart: what makes a policy of a parameter, and the parameters. What is learned is learned in the
plain case."""


def main() -> None:
    """Simulate, and print the tables."""
    parser = argparse.ArgumentParser(description="Simulate how often, and how late, readiness is seen.")
    parser.add_argument("--sessions", type=int, default=40_000, help="sessions a case (40000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes at once (all cores)")
    parser.add_argument("--chart", type=Path, help="write requests against lag to this HTML file")
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.chart and find_spec("plotly") is None:
        parser.error("--chart needs plotly: pip install plotly")
    figures = measure(arguments.sessions, arguments.processes, curves=arguments.chart is not None)
    if arguments.chart:
        from polling_chart import chart  # noqa: PLC0415 - plotly is heavy, and an extra

        arguments.chart.parent.mkdir(parents=True, exist_ok=True)
        arguments.chart.write_text(chart(figures["rows"]), encoding="utf-8")
    show(figures, rendered(figures), arguments.json)
    if arguments.chart and arguments.json != STDOUT:
        print(f"\nThe chart is in {arguments.chart}.")


def measure(sessions: int, processes: int, *, curves: bool) -> dict[str, Any]:
    """Simulate all there is, in so many processes, and return the figures."""
    todo = jobs(sessions, curves=curves)
    if processes == 1:
        rows = list(map(run, todo))
    else:
        with ProcessPoolExecutor(processes) as pool:
            rows = list(pool.map(run, todo))
    return {"sessions": sessions, "bars": bars(rows), "rows": rows}


def jobs(sessions: int, *, curves: bool) -> list[Job]:
    """Return what is to be simulated: a fixed interval and a schedule heed no progress, and are tried once a time."""
    found = []
    for times in TIMES:
        shapes = (*INFORMATIVE, *(MISLEADING if times == PLAIN_CASE.times else ()))
        found.append(Job(SHIPPED, World(times, "uniform"), "fixed 0.5 s", sessions))
        found += [Job(SHIPPED, World(times, shape), "progress", sessions) for shape in shapes]
    for times in ("lognormal", "bimodal"):
        for policy in ("fixed 0.5 s", "best schedule for p95", "best schedule for p99"):
            found.append(Job(EQUAL, World(times, "uniform"), policy, sessions))
        for shape in INFORMATIVE:
            for policy in ("plain rule, 0.5", "plain rule, 1.0", "learned quantiles", "progress, scaled"):
                found.append(Job(EQUAL, World(times, shape), policy, sessions))
    if curves:
        few = max(sessions // 4, 1)
        for policy, (_, parameters) in LINES.items():
            for shape in (PLAIN_CASE.shape, "sticks, uniform"):
                world = World(PLAIN_CASE.times, shape)
                found += [Job(CURVES, world, policy, few, parameter) for parameter in parameters]
    return found


def run(job: Job) -> Row:
    """Simulate, and return the figures."""
    made = POLICIES[job.policy](job) if job.parameter is None else LINES[job.policy][0](job.parameter)
    outcome = simulate(made, job.world, job.sessions)
    heedless = job.table != CURVES and job.policy.startswith(("fixed", "best"))
    return {
        "table": job.table,
        "times": job.world.times,
        "shape": "any" if heedless else job.world.shape,
        "policy": job.policy,
        "interval": made.interval,
        **outcome.as_dict(),
    }


def bars(rows: Sequence[Row]) -> list[Row]:
    """Return what `ProgressPollPolicy` as shipped must keep, at lognormal times, and whether it does."""
    of = {
        (row["policy"], row["shape"]): row
        for row in rows
        if row["table"] == SHIPPED and row["times"] == PLAIN_CASE.times
    }
    fixed, uniform = of["fixed 0.5 s", "any"], of["progress", PLAIN_CASE.shape]
    checks = [("uniform: requests a session", uniform["requests"], 12.0)]
    checks += [(f"uniform: {name} lag, as fixed", uniform[name], fixed[name]) for name in ("mean", "p95", "p99")]
    for shape in ("constant 0", "constant 50", "constant, drawn", "drawn anew"):
        checks.append((f"{shape}: p95 lag", of["progress", shape]["p95"], 0.5))
    for shape in ("sticks, uniform", "sticks, regular"):
        checks.append((f"{shape}: p95 lag", of["progress", shape]["p95"], 1.0))
    return [{"bar": name, "is": value, "at_most": most, "kept": value <= most} for name, value, most in checks]


def rendered(figures: dict[str, Any]) -> str:
    """Return the tables as text."""
    rows: list[Row] = figures["rows"]
    fixed = {row["times"]: row["requests"] for row in rows if row["policy"] == "fixed 0.5 s"}
    lines = [f"{figures['sessions']:,} sessions a case; lags in seconds"]
    for table in (SHIPPED, EQUAL):
        head = "".join(f"{name:>10}" for name in ("requests", "saved", "mean lag", "p95", "p99", "longest"))
        lines += ["", f"{table:<56}{head}"]
        for row in (row for row in rows if row["table"] == table):
            name = f"{row['times']:<13}{row['shape']:<17}{row['policy']:<24}"
            lags = "".join(f"{row[lag]:>10.3f}" for lag in ("mean", "p95", "p99", "longest"))
            lines.append(f"{name:<56}{row['requests']:>10.1f}{1 - row['requests'] / fixed[row['times']]:>10.0%}{lags}")
    lines += ["", f"{'progress as shipped, lognormal times':<56}{'is':>10}{'at most':>10}"]
    for bar in figures["bars"]:
        kept = "" if bar["kept"] else "   MISSED"
        lines.append(f"{bar['bar']:<56}{bar['is']:>10.3f}{bar['at_most']:>10.3f}{kept}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
