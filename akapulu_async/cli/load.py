"""The command `load`."""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs

from akapulu_async.cli import load_options as given
from akapulu_async.cli import signals
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.load_dashboard import follow
from akapulu_async.cli.load_outputs import Files, tell
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.simulator_process import simulator_process
from akapulu_async.cli.target import SIMULATED, AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import ConfigurationError
from akapulu_async.load.arrivals import Arrivals
from akapulu_async.load.complaints import Complaints
from akapulu_async.load.connections import connections
from akapulu_async.load.criteria import Verdict, judge
from akapulu_async.load.doubts import doubts
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.requests import in_turns, read_requests
from akapulu_async.load.results import LoadResult
from akapulu_async.load.runner import run_load
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.sansio.retry import RetryPolicy


def load(
    *,
    conversations: given.Conversations = None,
    concurrency: given.Concurrency = None,
    rate: given.Rate = None,
    arrivals: given.ArrivalsKind = Arrivals.POISSON,
    duration: given.Duration = None,
    ramp: given.Ramp = None,
    hold: given.Hold = None,
    scenario: given.Scenario = None,
    avatar: given.Avatar = None,
    requests: given.Requests = None,
    poll_interval: given.PollInterval = 0.5,
    ready_timeout: given.ReadyTimeout = 100.0,
    retries: given.Retries = True,
    seed: given.Seed = 0,
    fail_if: given.FailIf = None,
    report: given.Report = None,
    csv: given.Csv = None,
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
