"""`load`: options in, engine, outputs."""

import asyncio
import gc
import math
import os
import platform
import shlex
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import attrs
import typer

from akapulu_async import AkapuluClient, ConfigurationError, ConnectRequest, RetryPolicy, __version__
from akapulu_async.cli import signals, values
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.load_dashboard import follow
from akapulu_async.cli.load_summary import Files, deliver
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.simulator_process import simulator_process
from akapulu_async.cli.target import SIMULATED, AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.load.calls import CallObserver
from akapulu_async.load.comparison import read_earlier
from akapulu_async.load.metrics import Criterion, Verdict, judge, parse
from akapulu_async.load.plan import Arrivals, LoadPlan
from akapulu_async.load.requests import in_turns, read_requests
from akapulu_async.load.results import LoadResult
from akapulu_async.load.runner import connections, run_load

_Conversations: TypeAlias = Annotated[
    int | None, typer.Option("--conversations", min=1, metavar="N", help="Conversations in total.", show_default=False)
]
_Concurrency: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        metavar="N",
        help="Conversations at once. Without --rate, the next starts when one ends; with --rate, those that are due "
        "wait, and the wait counts into the latencies.",
        show_default=False,
    ),
]
_Rate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--rate",
        parser=values.factor,
        metavar="X",
        help="Conversations due per second, however slow the service is.",
        show_default=False,
    ),
]
_ArrivalsKind: TypeAlias = Annotated[
    Arrivals, typer.Option("--arrivals", help="Spacing of arrivals: random, like real callers, or even.")
]
_Duration: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--duration",
        parser=values.seconds,
        metavar="SECONDS",
        help="Start no more conversations after this; running ones continue to their end.",
        show_default=False,
    ),
]
_Ramp: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--ramp",
        parser=values.seconds_from_0,
        metavar="SECONDS",
        help="Without --rate: time over which the first conversations start. [default: 100 per second]",
        show_default=False,
    ),
]
_Hold: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--hold",
        parser=values.seconds_from_0,
        metavar="SECONDS",
        help="Watch each conversation this long once it is ready. [default: until it ends]",
        show_default=False,
    ),
]
_Scenario: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scenario", parser=values.identifier, metavar="UUID", help="The assistant's scenario.", show_default=False
    ),
]
_Avatar: TypeAlias = Annotated[
    str | None,
    typer.Option("--avatar", parser=values.identifier, metavar="UUID", help="The avatar.", show_default=False),
]
_Requests: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--requests",
        metavar="FILE",
        help='Connect requests, in turns: JSON lines such as {"scenario": ..., "avatar": ..., "variables": {...}}.',
        show_default=False,
    ),
]
_PollInterval: TypeAlias = Annotated[
    float,
    typer.Option(
        "--poll-interval",
        parser=values.seconds,
        metavar="SECONDS",
        help="Time between polls until ready; readiness is seen up to this late.",
    ),
]
_ReadyTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--ready-timeout",
        parser=values.seconds_or_none,
        metavar="SECONDS",
        help="A conversation that is not ready by then counts as failed; none: no limit.",
    ),
]
_Retries: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--retries/--no-retries", help="Retry calls as the library does, such as a connect refused before any work."
    ),
]
_Seed: TypeAlias = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the random arrivals.")]
_FailIf: TypeAlias = Annotated[
    list[Criterion] | None,
    typer.Option(
        "--fail-if",
        parser=parse,
        metavar="THRESHOLD",
        help="Threshold such as 'ready_p95>20' or 'failure_rate>0.01' that sets the exit code if crossed. Repeatable.",
        show_default=False,
    ),
]
_Report: TypeAlias = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page with charts.", show_default=False)
]
_Csv: TypeAlias = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV row per attempt.", show_default=False)
]
_Compare: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--compare",
        metavar="FILE",
        help="Show the figures beside those of an earlier test, from a file with the output of --json.",
        show_default=False,
    ),
]


def load(
    *,
    conversations: _Conversations = None,
    concurrency: _Concurrency = None,
    rate: _Rate = None,
    arrivals: _ArrivalsKind = Arrivals.POISSON,
    duration: _Duration = None,
    ramp: _Ramp = None,
    hold: _Hold = None,
    scenario: _Scenario = None,
    avatar: _Avatar = None,
    requests: _Requests = None,
    poll_interval: _PollInterval = 0.5,
    ready_timeout: _ReadyTimeout = 100.0,
    retries: _Retries = True,
    seed: _Seed = 0,
    fail_if: _FailIf = None,
    report: _Report = None,
    csv: _Csv = None,
    compare: _Compare = None,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Load-test the service.

    With --rate, conversations are due at a fixed rate, however slow the service is; with --concurrency alone, a fixed
    number run at once. Latencies count from the time a conversation was due. Ctrl-C ends the test early and shows the
    figures so far.

    After --hold, a conversation is no longer watched, but it continues on the service and keeps its slot until its
    user leaves the room: no call ends it. This command joins no room, so somebody else must, or no conversation
    becomes ready; the simulator's conversations have simulated users.

    The files are written before the figures are shown. If one cannot be written, or the figures cannot be shown, the
    others are, and the exit code is 1 unless the test itself had another one.
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
    earlier = None if compare is None else read_earlier(compare)
    given = _given(requests, scenario, avatar, simulator=simulator)

    async def run() -> int:
        result = await _run(plan, target, in_turns(given), screen, retries=retries)
        verdicts = [judge(criterion, result) for criterion in fail_if or ()]
        # Here, where signals are handled: a terminal that closes must not end the program before its files are written.
        delivered = deliver(result, verdicts, earlier, files, screen)
        return _exit_code(result, verdicts) or (ExitCode.OK if delivered else ExitCode.FAILURE)

    return signals.run(run())


def _given(file: Path | None, scenario: str | None, avatar: str | None, *, simulator: bool) -> Sequence[ConnectRequest]:
    if file is not None:
        if scenario is not None or avatar is not None:
            raise ConfigurationError(
                f"--requests {file} cannot be combined with --scenario or --avatar, which its lines contain"
            )
        return read_requests(file)
    if simulator:
        scenario, avatar = scenario or SIMULATED, avatar or SIMULATED
    if scenario is None or avatar is None:
        missing = "--scenario" if scenario is None else "--avatar"
        raise ConfigurationError(f"{missing} is missing; give --scenario and --avatar, or --requests, or --simulator")
    return (ConnectRequest(scenario, avatar),)


async def _run(
    plan: LoadPlan, target: Target, requests: Iterator[ConnectRequest], screen: Screen, *, retries: bool
) -> LoadResult:
    """Run the test. A cancel, which is how the first Ctrl-C arrives, ends it early; the result is returned anyway."""
    stop = asyncio.Event()
    retry = RetryPolicy() if retries else RetryPolicy(attempts=1)
    options = {"retry": retry, "pool_size": connections(plan.most_at_once), "observers": [CallObserver()]}
    result: LoadResult | None = None
    try:
        async with _client(target, **options) as client:
            gc.collect()
            gc.freeze()  # a full collection of all that was imported takes 50 ms, which would delay the event loop
            show_progress = partial(follow, screen=screen, plan=plan)
            running = asyncio.create_task(run_load(client, plan, requests, stop=stop, follow=show_progress))
            try:
                await asyncio.wait((running,))
            except asyncio.CancelledError:
                stop.set()
            result = await running
    except asyncio.CancelledError:
        if result is None:  # else only the clean-up after the test was cut short
            raise
    about = {
        "service": "a simulator" if target.simulator else client.base_url,
        "tries of a call": str(retry.attempts),
        **result.settings,
        "command": shlex.join(["akapulu-async", *sys.argv[1:]]),
        "host": f"{platform.node()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "versions": f"akapulu_async {__version__}, {platform.python_implementation()} {platform.python_version()}",
    }
    return attrs.evolve(result, settings=about, simulator_speed=target.speed if target.simulator else None)


@asynccontextmanager
async def _client(target: Target, **options: Any) -> AsyncGenerator[AkapuluClient]:
    if not target.simulator:
        async with target.client(**options) as client:
            yield client
        return
    async with (
        simulator_process(speed=target.speed) as address,
        AkapuluClient(address.api_key, base_url=address.base_url, **options) as client,
    ):
        yield client


def _exit_code(result: LoadResult, verdicts: Sequence[Verdict]) -> ExitCode:
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if any(verdict.crossed for verdict in verdicts):
        return ExitCode.THRESHOLD_CROSSED
    return ExitCode.OK if result.ready.count else ExitCode.FAILURE
