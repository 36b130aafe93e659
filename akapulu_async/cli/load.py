"""The command `load`."""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import typer

from akapulu_async.cli import signals, values
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.load_dashboard import follow
from akapulu_async.cli.load_summary import Files, tell
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.simulator_process import simulator_process
from akapulu_async.cli.target import SIMULATED, AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import ConfigurationError
from akapulu_async.load.metrics import Criterion, Verdict, judge, parse
from akapulu_async.load.plan import Arrivals, LoadPlan
from akapulu_async.load.recorder import Complaints, Recorder
from akapulu_async.load.requests import in_turns, read_requests
from akapulu_async.load.results import LoadResult, doubts
from akapulu_async.load.runner import connections, run_load
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.sansio.retry import RetryPolicy


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


def load(
    *,
    conversations: Conversations = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    arrivals: ArrivalsKind = Arrivals.POISSON,
    duration: Duration = None,
    ramp: Ramp = None,
    hold: Hold = None,
    scenario: Scenario = None,
    avatar: Avatar = None,
    requests: Requests = None,
    poll_interval: PollInterval = 0.5,
    ready_timeout: ReadyTimeout = 100.0,
    retries: Retries = True,
    seed: Seed = 0,
    fail_if: FailIf = None,
    report: Report = None,
    csv: Csv = None,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Put a load on the service, and measure how it bears it.

    Either --rate says how many conversations are due a second, and a slow service slows nothing; or --concurrency
    alone keeps so many going. Latencies count from when a conversation was due. Ctrl-C ends the test early, with the
    figures so far.

    After --hold, a conversation is no longer watched. On the service it goes on until its user leaves the room, and
    keeps its slot until then: no call ends one. This command joins no room, so somebody else must, or no conversation
    gets ready; a simulator's conversations have pretend users.
    """
    screen = Screen(json=as_json)
    plan = LoadPlan(
        conversations=conversations,
        duration=duration,
        rate=rate,
        arrivals=arrivals,
        concurrency=concurrency,
        ramp=ramp,
        hold=hold,
        poll_interval=poll_interval,
        ready_timeout=None if math.isinf(ready_timeout) else ready_timeout,
        seed=seed,
    )
    target = Target(base_url=base_url, simulator=simulator, speed=speed)
    files = Files(report=report, csv=csv)
    wanted = _requests(requests, scenario, avatar, simulator=simulator)
    result = signals.run(_run(plan, target, in_turns(wanted), screen, retries=retries))
    verdicts = [judge(criterion, result) for criterion in fail_if or ()]
    tell(result, verdicts, screen)
    files.write(result, screen)
    return _exit_code(result, verdicts)


def _requests(
    file: Path | None, scenario: str | None, avatar: str | None, *, simulator: bool
) -> Sequence[ConnectRequest]:
    if file is not None:
        if scenario is not None or avatar is not None:
            raise ConfigurationError(f"--requests {file}: not with --scenario or --avatar, which its lines name")
        return read_requests(file)
    if simulator:
        scenario, avatar = scenario or SIMULATED, avatar or SIMULATED
    if scenario is None or avatar is None:
        missing = "--scenario" if scenario is None else "--avatar"
        raise ConfigurationError(
            f"{missing}: it is missing; --scenario and --avatar, --requests or --simulator say what"
        )
    return (ConnectRequest(scenario, avatar),)


async def _run(
    plan: LoadPlan, target: Target, requests: Iterator[ConnectRequest], screen: Screen, *, retries: bool
) -> LoadResult:
    """Run the test. A cancel, which is what the first Ctrl-C is, ends it early; the result is returned all the same."""
    stop = asyncio.Event()
    retry = RetryPolicy() if retries else RetryPolicy(attempts=1)
    complaints = Complaints()
    pool_size = connections(plan.most_at_once)
    async with _client(target, retry=retry, pool_size=pool_size) as client:
        show = partial(follow, screen=screen, planned=plan.conversations)
        running = asyncio.create_task(run_load(client, plan, requests, stop=stop, follow=show))
        with complaints.heard():
            try:
                await asyncio.wait((running,))
            except asyncio.CancelledError:
                stop.set()
            recorder = await running
    result = _result(recorder, plan, _about(target, client, retry))
    return attrs.evolve(result, warnings=(*doubts(result), *complaints.told))


@asynccontextmanager
async def _client(target: Target, *, retry: RetryPolicy, pool_size: int) -> AsyncGenerator[AkapuluClient]:
    if not target.simulator:
        async with target.client(retry=retry, pool_size=pool_size) as client:
            yield client
        return
    async with (
        simulator_process(speed=target.speed) as address,
        AkapuluClient(address.api_key, base_url=address.base_url, retry=retry, pool_size=pool_size) as client,
    ):
        yield client


def _about(target: Target, client: AkapuluClient, retry: RetryPolicy) -> dict[str, str]:
    where = f"a simulator, {target.speed:g} times as fast as life" if target.simulator else client.base_url
    return {"service": where, "tries of a call": str(retry.attempts)}


def _result(recorder: Recorder, plan: LoadPlan, about: dict[str, str]) -> LoadResult:
    return LoadResult(
        title=plan.title,
        settings={**about, **plan.settings},
        started_at=recorder.started_at,
        seconds=recorder.seconds,
        attempts=tuple(sorted(recorder.attempts, key=lambda each: each.index)),
        samples=tuple(recorder.samples),
        connect=recorder.connect,
        ready=recorder.ready,
        loop_lag=recorder.lag.lag,
        failures=dict(recorder.failures),
        arrival_lag=recorder.arrival_lag,
        resolution=plan.resolution,
        cpu_share=recorder.cpu_share,
        interrupted=recorder.interrupted,
    )


def _exit_code(result: LoadResult, verdicts: Sequence[Verdict]) -> ExitCode:
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if any(verdict.crossed for verdict in verdicts):
        return ExitCode.THRESHOLD_CROSSED
    return ExitCode.OK if result.ready.count else ExitCode.FAILURE
