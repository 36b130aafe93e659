"""The options of the command `load`."""

import math
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from akapulu_async.cli import values
from akapulu_async.load.arrivals import Arrivals
from akapulu_async.load.criteria import Criterion, parse


def _seconds_from_0(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{values.shown(text)} is not a number of seconds, 0 or more")
    return seconds


Conversations: TypeAlias = Annotated[
    int | None, typer.Option("--conversations", min=1, metavar="N", help="How many in all.", show_default=False)
]
Concurrency: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        metavar="N",
        help="How many at once. Without --rate, the next begins when one is over; with it, what is due waits, "
        "and the wait counts.",
        show_default=False,
    ),
]
Rate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--rate",
        parser=values.factor,
        metavar="X",
        help="How many are due a second, however slow the service is.",
        show_default=False,
    ),
]
ArrivalsKind: TypeAlias = Annotated[
    Arrivals, typer.Option("--arrivals", help="How they are spread: as callers are, or at equal distances.")
]
Duration: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--duration",
        parser=values.seconds,
        metavar="SECONDS",
        help="When to begin no more; what runs goes on to its end.",
        show_default=False,
    ),
]
Ramp: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--ramp",
        parser=_seconds_from_0,
        metavar="SECONDS",
        help="Without --rate: over how long the first ones are begun. [default: 100 a second]",
        show_default=False,
    ),
]
Hold: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--hold",
        parser=_seconds_from_0,
        metavar="SECONDS",
        help="How long each is watched from its readiness on. [default: until it ends]",
        show_default=False,
    ),
]
Scenario: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scenario", parser=values.identifier, metavar="UUID", help="What the assistant does.", show_default=False
    ),
]
Avatar: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--avatar", parser=values.identifier, metavar="UUID", help="The face and the voice.", show_default=False
    ),
]
Requests: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--requests",
        metavar="FILE",
        help='What to connect, in turns: JSON lines such as {"scenario": ..., "avatar": ..., "variables": {...}}.',
        show_default=False,
    ),
]
PollInterval: TypeAlias = Annotated[
    float,
    typer.Option(
        "--poll-interval",
        parser=values.seconds,
        metavar="SECONDS",
        help="Between polls until ready. A readiness is seen up to so much late.",
    ),
]
ReadyTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--ready-timeout",
        parser=values.seconds_or_none,
        metavar="SECONDS",
        help="When one that is not ready counts as failed; none: never.",
    ),
]
Retries: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--retries/--no-retries",
        help="Whether a connect that is refused before any work is tried again, as the library does.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", metavar="N", help="Repeats Poisson's arrivals.")]
FailIf: TypeAlias = Annotated[
    list[Criterion] | None,
    typer.Option(
        "--fail-if",
        parser=parse,
        metavar="THRESHOLD",
        help="Such as 'ready_p95>20' or 'failure_rate>0.01': sets the exit code. Repeatable.",
        show_default=False,
    ),
]
Report: TypeAlias = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page with charts there.", show_default=False)
]
Csv: TypeAlias = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a row an attempt there.", show_default=False)
]
