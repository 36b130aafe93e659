"""Many conversations on one event loop."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, Self, TypeVar
from uuid import UUID

from anyio import AsyncContextManagerMixin

from akapulu_async.checks import check_callable, check_count, check_kind, check_limit, check_patience, checked_id, shown
from akapulu_async.errors import ConfigurationError, ManagerClosedError
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.log import logger
from akapulu_async.manager.broadcast import EVENT_BUFFER, ManagerEvent
from akapulu_async.manager.fan_out import CLOSE_GRACE, FanOut, Handler, Run
from akapulu_async.manager.gate import StartGate
from akapulu_async.manager.rate_limiter import RateLimiter
from akapulu_async.manager.registry import SessionRegistry
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.resources.conversations import Conversations
from akapulu_async.sansio.admission import Admission, FullPolicy, Pace
from akapulu_async.sansio.lifecycle import EndReason, Signals
from akapulu_async.sansio.polling import PollPolicy
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot, as_start
from akapulu_async.sansio.statistics import ManagerStatistics
from akapulu_async.session import READY_TIMEOUT, ConversationSession, Participant, SessionSettings
from akapulu_async.tasks import settle

T = TypeVar("T")

RUN_CONCURRENCY = 100
"""How many requests `run()` works on at once if neither it nor the manager is told."""


class Client(Protocol):
    """What a manager needs of the client."""

    @property
    def conversations(self) -> Conversations:
        """What can be asked of the service."""

    @property
    def poll(self) -> PollPolicy:
        """How often sessions poll."""


class SessionManager(AsyncContextManagerMixin):
    """Owns sessions, whichever tasks start them, and keeps them within the bounds that are set.

    ::

        async with SessionManager(client, max_sessions=200) as manager:
            session = await manager.start(request)

    or `await manager.open()` and `await manager.aclose()`, in the same task or in different ones. Sessions live in the
    manager: the task that starts one may end, be cancelled or time out. A session's failure stays its own.

    Args:
        client: The client, which must be open as long as the manager is.
        max_sessions: How many started sessions may run at once; further starts wait, first come first served. None
            for no limit. Attached sessions do not count.
        max_polls_per_second: How many polls all sessions together may send a second; past that they slow down
            evenly. None for no limit.
        max_connects_per_second: How many connects may be sent a second, so that a burst does not hammer the service.
            None for no limit.
        when_full: What to do when the service says that all slots of the account are taken: `"raise"` the
            `ConcurrencyLimitError` at once, or `"wait"` and try again: at once for each session that ends here, and
            with growing, jittered pauses for those that end elsewhere. Minutes used up always raises, for all who wait.
        full: The pauses of `when_full="wait"`.
        poll: How often sessions poll; None as the client's `poll`.
        ready_timeout: See `AkapuluClient.session()`.
        participant: See `AkapuluClient.session()`.
        signals: See `AkapuluClient.session()`.
    """

    def __init__(
        self,
        client: Client,
        *,
        max_sessions: int | None = None,
        max_polls_per_second: float | None = None,
        max_connects_per_second: float | None = None,
        when_full: Literal["raise", "wait"] = "raise",
        full: FullPolicy = FullPolicy(),  # noqa: B008 - frozen
        poll: PollPolicy | None = None,
        ready_timeout: float | None = READY_TIMEOUT,
        participant: Participant | None = None,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> None:
        _check_client(client)
        check_count("max_sessions", max_sessions, none="no limit")
        check_limit("max_polls_per_second", max_polls_per_second, "a number")
        check_limit("max_connects_per_second", max_connects_per_second, "a number")
        if when_full not in ("raise", "wait"):
            raise ConfigurationError(f"when_full: {shown(when_full)} is neither 'raise' nor 'wait'")
        check_kind("full", full, FullPolicy)
        settings = SessionSettings(
            poll=client.poll if poll is None else poll,
            ready_timeout=ready_timeout,
            participant=participant,
            signals=signals,
            turn=None if max_polls_per_second is None else RateLimiter(Pace(max_polls_per_second)).take,
        )
        self._max_sessions = max_sessions
        pause = full if when_full == "wait" else None
        gate = StartGate(Admission(max_sessions, Pace(max_connects_per_second), pause, random.random))
        self._registry = SessionRegistry(client.conversations, settings, gate)
        self._runs: set[asyncio.Task[None]] = set()
        self._refusing: asyncio.Future[None]  # one for each opening; done once no more is taken
        self._closed: Callable[[], object] = lambda: None

    # Opening and closing.

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        await self.open()
        try:
            yield self
        finally:
            await self.aclose()

    async def open(self) -> None:
        """Begin to take sessions. Sends nothing; does nothing if it is open."""
        if not self._registry.is_open:
            self._closed()
            self._closed = warn_unless_closed(
                self, "SessionManager", "use `async with`, or aclose(); sessions may live"
            )
            self._refusing = asyncio.get_running_loop().create_future()
        self._registry.is_open = True
        self._registry.broadcast.open()

    async def drain(self, *, timeout: float | None = None) -> bool:
        """Take no more sessions, and wait until the running ones have ended; whether they have.

        Starts that wait get a `ManagerClosedError`, and a `run()` takes no more requests from its iterable. What still
        runs after the timeout goes on; `aclose()` ends it. Handlers that work on after their session has ended are not
        waited for: for their outcomes, read the `run()` to its end before `aclose()`, which cancels them.

        Args:
            timeout: Seconds to wait at the most; None for no limit.
        """
        check_patience("timeout", timeout)
        self._refuse_more()
        try:
            async with asyncio.timeout(timeout):
                await self._registry.emptied()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Take no more sessions, and end those that run (`EndReason.LEFT`). Can be called again.

        Conversations that go on, since nobody of this program is in their rooms to hang up, are named in warnings.
        It is shielded from cancellation, and takes 20 s at the most even if the service hangs. What cannot be ended by
        then is named in a warning.
        """
        self._closed()
        self._refuse_more()
        # A task of its own, so that a cancel of this one skips no step of it.
        closing = asyncio.get_running_loop().create_task(self._end_all(), name="akapulu manager close")
        await settle((closing,), None)
        closing.result()

    async def _end_all(self) -> None:
        for run in self._runs:
            run.cancel()
        registry, loop = self._registry, asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_GRACE
        ends = [
            loop.create_task(registry.end(entry, EndReason.LEFT, shutdown=True), name="akapulu end")
            for entry in tuple(registry.entries)
        ]
        # What ends is closed by tasks that come up meanwhile.
        if not (
            await settle([*self._runs, *ends], CLOSE_GRACE) and await settle(registry.closers, deadline - loop.time())
        ):
            for entry in registry.entries:
                logger.warning("! %r could not be ended in time", entry.session)
            for run in self._runs:
                logger.warning(
                    "! %s could not be ended in time: a handler does not heed its cancellation", run.get_name()
                )
        if not registry.is_open:  # else it was opened again meanwhile
            registry.broadcast.close()

    def _refuse_more(self) -> None:
        if self._registry.is_open:
            self._refusing.set_result(None)
        self._registry.is_open = False
        self._registry.gate.dismiss(
            ManagerClosedError("the session manager was closed before the session could be started")
        )

    # Starting.

    async def start(self, request: ConnectRequest, *, timeout: float | None = None) -> ConversationSession:
        """Start a session, and return it once it is connected. It lives in the manager until it ends.

        Args:
            request: What to connect.
            timeout: Seconds to wait at the most for a free place and for the connect; None for no limit.

        Raises:
            ManagerClosedError: The manager is not open, or was closed meanwhile.
            StartTimeoutError: It was not started in time (also a `TimeoutError`).
            AkapuluError: What `Conversations.connect()` raises.

        When cancelled, or timed out, while it waits, it loses its place and no more is sent. When its connect is on
        its way, that goes on: the session then lives in the manager, in `sessions` and `events()`.
        """
        check_patience("timeout", timeout)
        return await self._registry.wait(self._registry.arrive(request), timeout, goes_on=True)

    @asynccontextmanager
    async def session(
        self, request: ConnectRequest, *, timeout: float | None = None
    ) -> AsyncGenerator[ConversationSession]:
        """Start a session for a block, and end it when the block is left. Else like `start()`.

        When cancelled or timed out while its connect is on its way, the connect is waited for, five seconds at the
        most, and the session ended.
        """
        check_patience("timeout", timeout)
        entry = self._registry.arrive(request)
        reason = EndReason.LEFT
        try:
            yield await self._registry.wait(entry, timeout, goes_on=False)
        except asyncio.CancelledError:
            reason = EndReason.CANCELLED
            raise
        finally:
            await self._registry.end(entry, reason)

    async def attach(self, session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> ConversationSession:
        """Take up a conversation that was connected elsewhere: see `AkapuluClient.attach()`.

        If it is here already, started or attached, that session is returned: it polls once, and ends once for all.

        Raises:
            ManagerClosedError: The manager is not open.
            ConfigurationError: It is neither an id nor a snapshot.
        """
        return await self._registry.take_up(as_start(session))

    def run(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        *,
        concurrency: int | None = None,
    ) -> FanOut[T]:
        """Work through requests, each with a session of its own, and give the outcomes as they finish.

        ::

            async for outcome in manager.run(requests, handler): ...

        Requests are taken from the iterable only when there is a place, and outcomes wait for their reader, so that
        memory stays constant however many there are. What goes wrong with one, in the service or in the handler, is its
        outcome's `error`. If the iterable itself raises, that is raised after the outcomes of what it gave. Leaving the
        loop early cancels what runs: see `FanOut`.

        Args:
            requests: What to connect: any iterable, or an async one.
            handler: Awaited with each connected session, which ends when it returns.
            concurrency: How many to work on at once; None: the manager's `max_sessions`, or 100 without one.

        Raises:
            ManagerClosedError: The manager is not open.
        """
        self._registry.check_open()
        check_callable("handler", handler)
        check_count("concurrency", concurrency, none="the manager's max_sessions")
        places = concurrency or self._max_sessions or RUN_CONCURRENCY
        return FanOut(Run(requests, handler, self.session, places, self._refusing), self._runs)

    # Watching.

    @property
    def sessions(self) -> tuple[ConversationSession, ...]:
        """The sessions that are connecting or run. Those that are `connecting` have no id yet, and raise if asked."""
        return tuple(entry.session for entry in self._registry.entries if entry.session is not None)

    def get(self, session_id: str | UUID) -> ConversationSession | None:
        """Return the running session of a conversation; None if there is none here.

        Raises:
            ConfigurationError: The id is no UUID.
        """
        entry = self._registry.live.get(checked_id("session_id", session_id))
        return None if entry is None else entry.session

    def events(self, *, buffer: int = EVENT_BUFFER) -> AsyncIterator[ManagerEvent]:
        """Return an iterator over what happens to all sessions from now on, until the manager is closed.

        Any number may listen. Each has a buffer of so many events; one that falls behind by more is told with an
        `EventsMissed` how many it lost, and nobody waits for it. For all events of one session see `session.events()`.
        A connect that waits for a slot of the account (`when_full="wait"`) enters `connecting` with each try.
        """
        check_count("buffer", buffer, none="no limit")
        return self._registry.broadcast.add(buffer)

    def statistics(self) -> ManagerStatistics:
        """Return the figures so far. Cheap enough for a line a second: it looks at each live session."""
        sessions = self.sessions
        return self._registry.tally.statistics(
            Counter(session.state for session in sessions),
            waiting=self._registry.gate.waiting,
            polls=sum(session.polls for session in sessions),
            poll_failures=sum(session.poll_failures for session in sessions),
        )


def _check_client(client: object) -> None:
    if not (hasattr(client, "conversations") and hasattr(client, "poll")):
        raise ConfigurationError(f"client: {type(client).__name__} is no AkapuluClient")
