"""Check that nothing grows while sessions come and go: 200 at once, for ten minutes.

    python benchmarks/soak.py [--minutes 10] [--sessions 200] [--speed 10] [--page build/soak.html] [--json] [--leak]

The simulator runs in a separate process at ten times the speed, so that a call takes some seconds. Samples are taken
of memory, file descriptors, tasks, the event loop's lag, and the objects of each type that the garbage collector knows.
The first half warms up; the second is judged, see trends.py. The exit code is 1 if something grew or was left.
--leak keeps all sessions, to check that the leak is found.
"""

# ruff: noqa: ARG001 - all handlers have one signature

import argparse
import asyncio
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from uuid import uuid4

import attrs

from akapulu_async import (
    AkapuluClient,
    ConnectRequest,
    ConversationSession,
    PollPolicy,
    RecordingNotReadyError,
    SessionManager,
    SessionState,
)
from processes import descriptors, resident, settle_allocator
from soak_chart import page
from trends import Allowance, Verdict, growers, judge

LAG_INTERVAL = 0.01  # seconds between two samples of the loop's lag
FEW = 50  # objects of a type are not looked at
SAMPLES = 120  # in any duration, so that the samples themselves do not grow
POLL = PollPolicy(interval=0.2, live_interval=0.5)  # calls are short here
SETTLING = 1.0  # seconds until closed tasks and files are gone

ALLOWANCES: Mapping[str, Allowance] = {
    "memory, MB": Allowance(4.0, 0.0005),
    "file descriptors": Allowance(30, 0.002),
    "tasks": Allowance(30, 0.002),
    "loop lag, p90 ms": Allowance(10, 0),
}
OBJECTS = Allowance(250, 0.02)
"""Objects of each type: room for caches, and less than the rarest use could leave behind, which is one of fourteen.
Ten minutes find that leak; one minute finds a leak of every second session."""

HELD = 0.9
"""Share of the sessions that must run at once, as the median of the samples."""


@attrs.define
class Samples:
    """The samples, with their times and session counts."""

    times: list[float] = attrs.field(factory=list)
    figures: dict[str, list[float]] = attrs.field(factory=lambda: {name: [] for name in ALLOWANCES})
    types: list[dict[str, int]] = attrs.field(factory=list)
    over: list[int] = attrs.field(factory=list)
    """Sessions that had ended by then."""
    live: list[int] = attrs.field(factory=list)
    """Sessions that ran."""

    def verdicts(self) -> list[Verdict]:
        """Judge the second half: the figures, then the types of objects."""
        half = len(self.times) // 2
        times, sessions = self.times[half:], self.over[-1] - self.over[half]
        found = [judge(name, times, values[half:], ALLOWANCES[name], sessions) for name, values in self.figures.items()]
        types = self.types[half:]
        found += [
            judge(name, times, [each.get(name, 0) for each in types], OBJECTS, sessions) for name in sorted(types[-1])
        ]
        return found


def main() -> None:
    """Run the soak, and report."""
    parser = argparse.ArgumentParser(description="Check that nothing grows while sessions come and go.")
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (10)")
    parser.add_argument("--sessions", type=int, default=200, help="sessions at once (200)")
    parser.add_argument("--speed", type=float, default=10.0, help="simulated seconds per real second (10)")
    parser.add_argument(
        "--page", type=Path, default=Path("build/soak.html"), help="file for the charts (build/soak.html)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--leak", action="store_true", help="keep all sessions, to check that the leak is found")
    arguments = parser.parse_args()
    settle_allocator()
    options = ["--speed", str(arguments.speed), "--recording-delay", "0", "--recording-size", "20000"]
    command = [sys.executable, "-m", "akapulu_async", "simulate", *options]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert simulator.stdout is not None
        try:
            base_url, key = (simulator.stdout.readline().strip().partition("=")[2] for _ in range(2))
            soak = Soak(arguments.sessions, arguments.minutes * 60, Path(folder), leak=arguments.leak)
            asyncio.run(soak.run(base_url, key))
        finally:
            simulator.terminate()
    verdicts = soak.samples.verdicts()
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(page(soak.samples, verdicts[: len(ALLOWANCES)], _shown(verdicts)), encoding="utf-8")
    problems = _problems(soak, verdicts)
    if arguments.json:
        print(json.dumps({"outcomes": soak.reasons, "left": soak.left, "problems": problems}))
    else:
        print(rendered(soak, verdicts, arguments.page))
    sys.exit("\n".join(f"soak: {problem}" for problem in problems) or 0)


class Soak:
    """One run: sessions that turn over, and the samples."""

    def __init__(self, sessions: int, seconds: float, folder: Path, *, leak: bool) -> None:
        self.samples = Samples()
        self.left: dict[str, int] = {}
        self.reasons: Counter[str] = Counter()
        self.sessions = sessions
        self._seconds = seconds
        self._folder = folder
        self._kept: list[ConversationSession] | None = [] if leak else None
        self._lags: list[float] = []
        self._over = 0

    async def run(self, base_url: str, key: str) -> None:
        """Run sessions for the time, and count what is left afterwards."""
        before = (len(asyncio.all_tasks()), len(descriptors()))
        async with AkapuluClient(key, base_url=base_url, poll=POLL) as client:
            manager = SessionManager(client, max_sessions=self.sessions)
            async with manager, asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(work) for work in (self._lag(), self._sample(manager), self._listen(manager))
                ]
                await self._turn_over(client, manager)
                for task in beside:
                    task.cancel()
            self.left["sessions"] = len(manager.sessions)
        await asyncio.sleep(SETTLING)
        self.left["tasks"] = len(asyncio.all_tasks()) - before[0]
        self.left["file descriptors"] = len(descriptors()) - before[1]

    async def _turn_over(self, client: AkapuluClient, manager: SessionManager) -> None:
        uses = itertools.cycle(USES)
        deadline = time.monotonic() + self._seconds

        def requests() -> Iterator[ConnectRequest]:
            while time.monotonic() < deadline:
                yield ConnectRequest(uuid4(), uuid4(), record_conversation=True)

        async def handle(session: ConversationSession) -> None:
            await next(uses)(client, session, self._folder)

        async with manager.run(requests(), handle) as outcomes:
            async for outcome in outcomes:
                self._over += 1
                self.reasons["well" if outcome.error is None else type(outcome.error).__name__] += 1
                if self._kept is not None and outcome.session is not None:
                    self._kept.append(outcome.session)

    async def _listen(self, manager: SessionManager) -> None:
        async for _ in manager.events():
            pass

    async def _lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._lags.append(loop.time() - due)

    async def _sample(self, manager: SessionManager) -> None:
        interval, began = self._seconds / SAMPLES, time.monotonic()
        while time.monotonic() < began + self._seconds:  # after that, sessions end and all figures shrink
            await asyncio.sleep(interval)
            lags, self._lags = self._lags, []
            if len(lags) < 2:
                continue
            self.samples.live.append(len(manager.sessions))
            self._take(time.monotonic() - began, 1000 * statistics.quantiles(lags, n=10)[8])
            self._lags.clear()  # without the lag of the sampling itself

    def _take(self, at: float, lag: float) -> None:
        gc.collect()
        samples = self.samples
        samples.times.append(at)
        samples.over.append(self._over)
        counts = Counter(map(type, gc.get_objects()))
        samples.types.append({_name(kind): count for kind, count in counts.items() if count > FEW})
        values = (resident() / 2**20, len(descriptors()), len(asyncio.all_tasks()), lag)
        for series, value in zip(samples.figures.values(), values, strict=True):
            series.append(value)


@cache
def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


# Handlers, by turns: everything that a program may do with a session, and some things that it should not.

EXPECTED = {"well", "LookupError", "TimeoutError"}
Use = Callable[[AkapuluClient, ConversationSession, Path], Awaitable[None]]


async def to_the_end(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Wait for the end."""
    await session.bot_ready.wait()
    await session.ended.wait()


async def with_events(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Watch all that happens."""
    async for _ in session.events():
        pass


async def with_transcript(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Ask for the transcript after the end."""
    await session.ended.wait()
    (await client.conversations.detail(session.id)).transcript_text()


async def with_recording(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Download the recording after the end."""
    await session.ended.wait()
    path = folder / f"{session.id}.mp4"
    try:
        await client.conversations.download_recording(session.id, path, wait=5)
    except RecordingNotReadyError:
        return
    await asyncio.to_thread(path.unlink)


async def left_when_ready(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Leave as soon as the bot is ready."""
    async with session.ready():
        await session.end()


async def watched_twice(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Attach to the same conversation, and time out."""
    async with client.attach(session.snapshot()) as twin:
        try:
            await twin.wait_for(SessionState.ENDED, timeout=0.5)
        except TimeoutError:
            return


async def with_a_bug(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Fail."""
    await session.room_joined.wait()
    raise LookupError("a bug of the handler's")


async def cancelled(client: AkapuluClient, session: ConversationSession, folder: Path) -> None:
    """Give up in the middle of a wait."""
    async with asyncio.timeout(0.2):
        await session.ended.wait()


USES: Sequence[Use] = (
    *(to_the_end, with_events, to_the_end, with_transcript, to_the_end, with_recording, to_the_end, left_when_ready),
    *(to_the_end, watched_twice, to_the_end, with_a_bug, to_the_end, cancelled),
)


def _problems(soak: Soak, verdicts: Sequence[Verdict]) -> list[str]:
    grown = [
        f"{each.name} grew by at least {each.sure:,.1f} in {each.seconds:,.0f} s; the limit is {each.bound:,.1f}"
        for each in verdicts
        if not each.passed
    ]
    if (held := statistics.median(soak.samples.live)) < HELD * soak.sessions:
        grown.append(f"{held:,.0f} sessions ran at once, not {soak.sessions:,}")
    wrong = [f"{count:,} sessions failed with {name}" for name, count in soak.reasons.items() if name not in EXPECTED]
    return grown + wrong + [f"{count:,} {name} were left" for name, count in soak.left.items() if count > 0]


def _shown(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return growers(verdicts[len(ALLOWANCES) :], 8)


def rendered(soak: Soak, verdicts: Sequence[Verdict], path: Path) -> str:
    """Return the table as text."""
    held = f"{statistics.median(soak.samples.live):,.0f} at once"
    lines = [
        f"{sum(soak.reasons.values()):,} sessions, {held}, {verdicts[0].seconds:,.0f} s judged; charts: {path}",
        "",
    ]
    lines += [f"{name:<24}{count:>8,}" for name, count in soak.reasons.most_common()]
    lines += ["", f"{'':<52}{'grew by':>10}{'at least':>10}{'limit':>10}"]
    for each in [*verdicts[: len(ALLOWANCES)], *_shown(verdicts)]:
        mark = "" if each.passed else "  GREW"
        lines.append(f"{each.name[-51:]:<52}{each.growth:>10,.1f}{each.sure:>10,.1f}{each.bound:>10,.1f}{mark}")
    left = ", ".join(f"{count:,} {name}" for name, count in soak.left.items())
    return "\n".join([*lines, "", f"left afterwards: {left}"])


if __name__ == "__main__":
    main()
