"""Run a flood of conversations through few slots, faults and restarts, all drawn from one seed, and check the result.

`python -m tests.robustness.chaotic` runs many seeds, `--seed N` one.

A seed fixes the fault of the n-th poll of each request's conversation and of the n-th connect; how long the bot of the
n-th conversation takes; what the handler of each request does; and after how many outcomes the service restarts.
It does not fix the timing: how often a conversation polls, in which order connects arrive, and which ones a restart
hits. So two runs of a seed are similar, not equal.
"""

import argparse
import asyncio
import faulthandler
import math
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs

from akapulu_async import (
    AkapuluClient,
    ConnectOutcomeUnknownError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    FullPolicy,
    InvalidResponseError,
    ManagerStatistics,
    Outcome,
    PollPolicy,
    RetryPolicy,
    SessionManager,
    SessionState,
    StateChanged,
    Timeouts,
)
from akapulu_async.simulator import Fault, Simulator
from akapulu_async.simulator.requests import Match
from tests.support.managed import kept_events
from tests.support.misbehaving import REQUEST

CONVERSATIONS = 500
SLOTS = 50
AT_WORK = 60
"""More than there are slots, so the account is always full."""

FAULTY = 0.05
"""Share of the answers that are faults."""

TIMEOUTS = Timeouts(connect=1.0, total=1.0)
BLACK_HOLE = 1.3
"""Seconds of silence: longer than the client waits."""

FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 502, "body": "<html>Bad Gateway</html>", "content_type": "text/html"},
    {"status": 503, "headers": {"Retry-After": "0"}},
    {"status": 429},
    {"reset": "before"},
    {"reset": "after"},
    {"truncate_at": 20},
    {"headers": {"Content-Length": "20"}},
    {"body": b"\x00\xff\xfe{]", "content_type": "application/octet-stream"},
    {"body": {"completion_percent": "all", "room_url": 5}},
    {"delay": 0.05},
    {"bytes_per_second": 2000},
)
"""All equally likely."""

TOO_LATE = 0.001
"""Share of the answers that come after the client has given up, in addition to the faults above."""

QUICK_POLL = PollPolicy(interval=0.08, live_interval=0.08, max_failures=10)

MOST_LOST = 150
"""Conversations that may end otherwise than their handlers want: faults cost some, not many."""

MOST_IN_DOUBT = 100
"""Connects that may leave it open whether they made a conversation."""

CHANCE = 4.0
"""Standard deviations by which the number of faults may differ from the expected one."""

TIME_LIMIT = 120.0
"""Seconds for a seed, which takes about four."""

GUARD = 60.0
"""Seconds that a wait within a seed may take on a busy machine."""

Violations = list[str]


class HandlerError(Exception):
    """Raised by a handler on purpose."""


@attrs.define
class Account:
    """The result of a run, for all checks."""

    requests: list[ConnectRequest]
    outcomes: list[Outcome[str]] = attrs.field(factory=list)
    restarts: int = 0
    answers: int = 0
    hits: int = 0
    peak: int = 0
    left_open: int = 0
    connected: dict[str, str] = attrs.field(factory=dict)
    """From each conversation that the service knows to the number of its request."""

    connects_handled: int = 0
    statistics: ManagerStatistics | None = None
    left: list[str] = attrs.field(factory=list)

    def violations(self, *, alone: bool) -> Violations:
        """Return which promises are broken. How much was lost is judged only if the run had the machine to itself."""
        checks = [_each_once, _no_twins, _all_known, _in_order, _figures, _nothing_left, _was_chaos]
        if alone:
            checks.append(_lost_little)
        return [violation for check in checks for violation in check(self)]


def requests() -> list[ConnectRequest]:
    """Return numbered requests, so that the service's conversations can be matched with them."""
    return [
        ConnectRequest(REQUEST.scenario_id, REQUEST.avatar_id, runtime_vars={"number": str(number)})
        for number in range(CONVERSATIONS)
    ]


@contextmanager
def held_port() -> Iterator[int]:
    """Reserve a port, also while nothing listens on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that the simulator may listen beside it
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def run(seed: int, *, limit: float = TIME_LIMIT) -> Account:
    """Run one seed. An error gets a note with the command that repeats the seed."""
    try:
        async with asyncio.timeout(limit):
            return await _run(seed)
    except BaseException as error:
        error.add_note(to_repeat(seed))
        raise


async def _run(seed: int) -> Account:
    account = Account(requests())
    before = _left()
    with held_port() as port:
        sim = Simulator(
            port=port,
            seed=seed,
            speed=100,
            max_concurrent=SLOTS,
            auto_join=False,
            participant_join_timeout=60,
            requests_kept=None,
        )
        _set_fate(sim, Fate(seed, sim))
        await sim.__aenter__()
        try:
            await _flood(sim, account, seed)
        finally:
            await sim.__aexit__(None, None, None)
    _look_at_service(sim, account)
    await _look_for_leftovers(account, before)
    return account


@attrs.define
class Fate:
    """Draws the fault of a request from its kind and number, not from when it comes."""

    seed: int
    sim: Simulator
    seen: Counter[Match] = attrs.field(factory=Counter)

    def select(self, where: Match) -> Fault | None:
        """Return the fault for this request, or None."""
        self.seen[where] += 1
        draw = Random(f"{self.seed}/{where.route}/{self._number(where)}/{self.seen[where]}").random()
        if draw < TOO_LATE:
            return Fault(delay=BLACK_HOLE)
        which = int((draw - TOO_LATE) / FAULTY * len(FAULTS))
        return Fault(**FAULTS[which]) if which < len(FAULTS) else None

    def _number(self, where: Match) -> str | None:
        """Return the number of the conversation's request; None for a connect, which has no conversation yet."""
        return None if where.conversation_id is None else number_of(self.sim, where.conversation_id)


def _set_fate(sim: Simulator, fate: Fate) -> None:
    """Replace the simulator's own faults, which depend on the order in which requests come."""
    sim._faults.select = fate.select  # type: ignore[method-assign]


def number_of(sim: Simulator, session_id: str) -> str:
    """Return the number of the request that made a conversation."""
    return sim.conversations[session_id].request.runtime_vars["number"]


async def _flood(sim: Simulator, account: Account, seed: int) -> None:
    retry = RetryPolicy(attempts=5, base=0.1, cap=0.2)
    client = AkapuluClient(sim.api_key, base_url=sim.base_url, timeouts=TIMEOUTS, retry=retry, poll=QUICK_POLL)
    full = FullPolicy(base=0.01, cap=0.1)
    rng = Random(f"{seed}/restarts")
    restarts = {rng.randrange(CONVERSATIONS // 5, CONVERSATIONS // 2), rng.randrange(CONVERSATIONS // 2, 400)}
    one_at_a_time = asyncio.Lock()
    async with (
        client,
        SessionManager(client, when_full="wait", full=full, participant=sim.participant) as manager,
        asyncio.TaskGroup() as group,
    ):
        async with manager.run(account.requests, _handler(sim, seed), concurrency=AT_WORK) as outcomes:
            async for outcome in outcomes:
                account.outcomes.append(outcome)
                if len(account.outcomes) in restarts:
                    group.create_task(_restart(sim, manager, account, one_at_a_time))
        await manager.drain()
        account.statistics = manager.statistics()
        account.left += [repr(session) for session in manager.sessions]


def _handler(sim: Simulator, seed: int) -> Callable[[ConversationSession], Any]:
    async def handle(session: ConversationSession) -> str:
        what = Random(f"{seed}/handler/{number_of(sim, session.id)}").random()
        if what < 0.1:
            return "left at once"
        await session.bot_ready.wait()
        if what < 0.2:
            raise HandlerError
        if what < 0.3:
            sim.end(session.id)
            await session.ended.wait()
            return "ended by the service"
        return "was ready"

    return handle


async def _restart(sim: Simulator, manager: SessionManager, account: Account, one_at_a_time: asyncio.Lock) -> None:
    """Stop listening and break all connections until enough polls have failed; conversations continue meanwhile."""
    async with one_at_a_time:
        await sim.__aexit__(None, None, None)
        enough = manager.statistics().poll_failures + SLOTS // 5
        # On a slow machine, all requests may fail meanwhile, and their sessions end.
        await _until(lambda: manager.statistics().poll_failures > enough or not manager.sessions)
        await sim.__aenter__()
        account.restarts += 1


def _look_at_service(sim: Simulator, account: Account) -> None:
    sim.advance(60)  # conversations in doubt end, as nobody joined them
    statistics = sim.statistics()
    account.peak, account.left_open = statistics.peak, statistics.open
    account.answers = len(sim.requests)
    account.hits = sum(request.fault is not None for request in sim.requests)
    account.connects_handled = sum(
        request.route == "connect" and request.status == 200 and not (request.fault and request.fault.made_up)
        for request in sim.requests
    )
    account.connected = {
        str(session_id): view.request.runtime_vars["number"] for session_id, view in sim.conversations.items()
    }


async def _until(condition: Callable[[], object]) -> None:
    """Return once a condition holds that no event reports."""
    async with asyncio.timeout(GUARD):
        while not condition():  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.01)


async def _look_for_leftovers(account: Account, before: Counter[str]) -> None:
    try:
        await _until(lambda: not _left() - before)
    except TimeoutError:
        account.left += list((_left() - before).elements())


def _left() -> Counter[str]:
    return Counter(task.get_name() for task in asyncio.all_tasks()) + _descriptors()


def _descriptors() -> Counter[str]:
    """Count the open file descriptors by kind; empty where there is no /proc."""
    kinds: Counter[str] = Counter()
    folder = Path("/proc/self/fd")
    for link in folder.iterdir() if folder.exists() else ():
        try:
            kinds[str(link.readlink()).partition(":")[0]] += 1
        except FileNotFoundError:  # the one that lists the folder
            continue
    return kinds


# The promises, one function each, which returns the violations.


def _each_once(account: Account) -> Violations:
    """Every request has exactly one outcome."""
    counts = Counter(outcome.index for outcome in account.outcomes)
    wrong = [f"request {index} has {counts[index]} outcomes" for index in range(CONVERSATIONS) if counts[index] != 1]
    wrong += [f"outcome {index} belongs to no request" for index in counts if not 0 <= index < CONVERSATIONS]
    return wrong + [
        f"outcome {outcome.index} has another request"
        for outcome in account.outcomes
        if outcome.request is not account.requests[outcome.index]
    ]


def _no_twins(account: Account) -> Violations:
    """No request made two conversations, and each conversation comes from a connect that the service handled."""
    wrong = [
        f"request {number} was connected {count} times"
        for number, count in Counter(account.connected.values()).items()
        if count > 1
    ]
    if account.connects_handled != len(account.connected):
        wrong.append(f"{account.connects_handled} connects made {len(account.connected)} conversations")
    return wrong


def _all_known(account: Account) -> Violations:
    """The service and the outcomes know the same conversations, except where a connect's answer was lost."""
    wrong, made = [], {number: session_id for session_id, number in account.connected.items()}
    for outcome in account.outcomes:
        there = made.get(str(outcome.index))
        here = None if outcome.session is None else outcome.session.id
        if here != there and not (here is None and _in_doubt(outcome.error)):
            wrong.append(f"request {outcome.index}: the service knows {there}, the outcome {here}: {outcome.error!r}")
    return wrong


def _in_doubt(error: BaseException | None) -> bool:
    """Return True if a conversation may exist: its connect's answer was lost, or cannot be read."""
    unreadable = isinstance(error, InvalidResponseError) and 200 <= error.status < 300
    return isinstance(error, ConnectOutcomeUnknownError) or unreadable


def _in_order(account: Account) -> Violations:
    """Each session entered its states in order, skipped none on the way to ready, and ended."""
    wrong, ways = [], _possible_ways()
    for outcome in account.outcomes:
        if outcome.session is not None:
            way = [event.state for event in kept_events(outcome.session) if isinstance(event, StateChanged)]
            if way not in ways:
                wrong.append(f"request {outcome.index} went through {way}")
    return wrong


def _possible_ways() -> list[list[SessionState]]:
    states = list(SessionState)
    return [[*states[:length], SessionState.ENDED] for length in range(1, len(states))]


def _figures(account: Account) -> Violations:
    """The manager's figures agree with each other and with the sessions."""
    figures, sessions = account.statistics, [outcome.session for outcome in account.outcomes if outcome.session]
    assert figures is not None
    came_up = figures.started - figures.ended[EndReason.CONNECT_FAILED]
    pairs: Mapping[str, tuple[int, int]] = {
        "started and ended": (figures.started, sum(figures.ended.values())),
        "started and live": (sum(figures.live.values()), 0),
        "waiting": (figures.waiting, 0),
        "sessions": (came_up, len(sessions)),
        "ready": (figures.ready, sum(session.bot_ready.is_set() for session in sessions)),
        "polls": (figures.polls, sum(session.polls for session in sessions)),
        "failed polls": (figures.poll_failures, sum(session.poll_failures for session in sessions)),
    }
    return [f"{what}: {one} is not {other}" for what, (one, other) in pairs.items() if one != other]


def _nothing_left(account: Account) -> Violations:
    """No session, task or socket is left, and all slots are free."""
    wrong = [f"left: {what}" for what in account.left]
    if account.left_open:
        wrong.append(f"{account.left_open} conversations are open")
    return wrong


def _was_chaos(account: Account) -> Violations:
    """The run was chaotic: full account, restarts, as many faults as expected."""
    meant, lost = account.answers * (FAULTY + TOO_LATE), _lost(account)
    return _missing(
        {
            "two restarts": account.restarts == 2,
            "a full account": account.peak == SLOTS,
            f"about {meant:.0f} faults, not {account.hits}": abs(account.hits - meant) <= CHANCE * math.sqrt(meant),
            f"more than {lost} handled of {CONVERSATIONS}": lost < CONVERSATIONS,
        }
    )


def _lost_little(account: Account) -> Violations:
    """Few conversations were lost. On a busy machine answers are late, and more are lost."""
    lost, in_doubt = _lost(account), _count_in_doubt(account)
    return _missing(
        {
            f"{MOST_LOST} lost at the most, not {lost}": lost <= MOST_LOST,
            f"{MOST_IN_DOUBT} in doubt at the most, not {in_doubt}": in_doubt <= MOST_IN_DOUBT,
        }
    )


def _missing(facts: Mapping[str, bool]) -> Violations:
    return [f"there should have been {fact}" for fact, true in facts.items() if not true]


def _lost(account: Account) -> int:
    return sum(not isinstance(outcome.error, HandlerError | None) for outcome in account.outcomes)


def _count_in_doubt(account: Account) -> int:
    return sum(_in_doubt(outcome.error) for outcome in account.outcomes)


# From the command line.


def main() -> int:
    """Run seeds until one fails; then the exit code is 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.robustness.chaotic",
        description="Run conversations through faults and restarts. A seed fixes these, but not the timing.",
    )
    parser.add_argument("--seed", type=int, help="run only this one")
    parser.add_argument("--seeds", type=int, default=100, help="how many to run, from 0 (default: 100)")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds) if arguments.seed is None else [arguments.seed]
    for seed in seeds:
        began = time.perf_counter()
        with _last_resort(seed):
            account = asyncio.run(run(seed))
        print(f"seed {seed}: {time.perf_counter() - began:.1f} s, {_summary(account)}", flush=True)  # noqa: T201
        if violations := account.violations(alone=True):
            print(*violations, to_repeat(seed), sep="\n", file=sys.stderr)  # noqa: T201
            return 1
    return 0


@contextmanager
def _last_resort(seed: int) -> Iterator[None]:
    """End the process if a blocked loop or a hanging clean-up ignores the time limit."""
    timer = threading.Timer(2 * TIME_LIMIT, _give_up, (seed,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up(seed: int) -> None:
    faulthandler.dump_traceback()
    print(f"seed {seed} hangs.", to_repeat(seed), sep="\n", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(1)


def to_repeat(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f'To repeat these faults (the timing differs): make chaos ARGS="--seed {seed}"'


def _summary(account: Account) -> str:
    errors = Counter("done" if outcome.error is None else type(outcome.error).__name__ for outcome in account.outcomes)
    found = f"{account.hits} faults in {account.answers} answers"
    become = f"{_lost(account)} lost, {_count_in_doubt(account)} in doubt"
    return f"{found}, {become}: " + ", ".join(f"{count} {what}" for what, count in errors.most_common())


if __name__ == "__main__":
    sys.exit(main())
