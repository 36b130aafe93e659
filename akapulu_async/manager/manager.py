"""Many conversations on one event loop."""

import asyncio
import random
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Protocol, Self, TypeVar
from uuid import UUID

from akapulu_async.checks import check_count, check_kind, check_limit, check_patience, checked_id, refuse, refuse_kind
from akapulu_async.errors import ClosedError, ManagerClosedError
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.limits import patience
from akapulu_async.log import logger
from akapulu_async.manager.broadcast import EVENT_BUFFER, ManagerEvent, Subscription
from akapulu_async.manager.fan_out import CLOSE_GRACE, FanOut, Handler
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
from akapulu_async.session import MAX_DURATION, READY_TIMEOUT, ConversationSession, Participant, SessionSettings
from akapulu_async.tasks import callers, settle

T = TypeVar("T")

RUN_CONCURRENCY = 100
"""How many requests `run()` works on at once unless it or the manager sets a limit."""


class Client(Protocol):
    """The parts of a client that a manager uses."""

    conversations: Conversations
    poll: PollPolicy


class SessionManager:
    """Owns many sessions and keeps them within limits.

    ::

        async with SessionManager(client, max_sessions=200) as manager:
            session = await manager.start(request)

    or `await manager.open()` and `await manager.aclose()`, in the same task or in different ones. Sessions live in the
    manager: the task that starts one may end, be cancelled or time out. One session's failure does not affect the
    others. Entering it again while it is entered raises a `ClosedError`: the inner block would close it for the outer
    one.

    Args:
        client: The client. It must be open as long as the manager is.
        max_sessions: How many started sessions may run at once; further starts wait, first come, first served. None
            for no limit. Attached sessions do not count.
        max_polls_per_second: How many polls all sessions together may send per second; beyond that, they slow down
            evenly. None for no limit.
        max_connects_per_second: How many connects may be sent per second, so that a burst does not hammer the service.
            None for no limit.
        when_full: If the service says that all slots of the account are taken: `"raise"` the `ConcurrencyLimitError` at
            once, or `"wait"` and try again, at once when a session ends here, and with growing, jittered pauses for
            slots that are freed elsewhere. If the minutes are used up, every waiting start raises.
        full: The pauses of `when_full="wait"`.
        poll: How often sessions poll; None for the client's `poll`.
        ready_timeout, max_duration, participant, signals: See `AkapuluClient.session()`.
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
        max_duration: float | None = MAX_DURATION,
        participant: Participant | None = None,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> None:
        if not (hasattr(client, "conversations") and hasattr(client, "poll")):
            refuse_kind("client", client, "an AkapuluClient")
        check_count("max_sessions", max_sessions, none="no limit")
        check_limit("max_polls_per_second", max_polls_per_second, "a number")
        check_limit("max_connects_per_second", max_connects_per_second, "a number")
        if when_full not in ("raise", "wait"):
            refuse("when_full", when_full, "'raise' or 'wait'")
        check_kind("full", full, FullPolicy)
        settings = SessionSettings(
            poll=client.poll if poll is None else poll,
            ready_timeout=ready_timeout,
            max_duration=max_duration,
            participant=participant,
            signals=signals,
            turn=None if max_polls_per_second is None else RateLimiter(Pace(max_polls_per_second)).take,
        )
        self._max_sessions = max_sessions
        pause = full if when_full == "wait" else None
        admission = Admission(max_sessions, Pace(max_connects_per_second), pause, random.random)
        gate = StartGate(admission, client.conversations.observers)
        self._registry = SessionRegistry(client.conversations, settings, gate)
        self._runs: set[FanOut[Any]] = set()
        self._insiders: Counter[object] = Counter()  # user code of this manager in which it is closed or drained
        self._closing: asyncio.Future[None]  # one for each opening; done once no more sessions are accepted
        self._closed: Callable[[], object] = lambda: None
        self._events_closed = False
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ClosedError(
                "the session manager was entered already, and leaving the inner block would close it for both: "
                "share it, or use open() and aclose()"
            )
        await self.open()
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Accept sessions. Sends nothing; does nothing if the manager is open."""
        if not self._registry.is_open:
            self._closed()
            self._closed = warn_unless_closed(
                self, "SessionManager", "use `async with`, or aclose(); sessions may still run"
            )
            self._closing = asyncio.get_running_loop().create_future()
        self._registry.is_open = True
        self._events_closed = False

    async def drain(self, *, timeout: float | None = None) -> bool:
        """Stop accepting sessions and wait for the running ones. Returns True if all ended in time.

        Waiting starts get a `ManagerClosedError`, and a `run()` takes no more requests from its iterable. Sessions that
        still run after the timeout continue; `aclose()` ends them. Handlers that work on after their session ended are
        not waited for: to get their outcomes, read the `run()` to its end before `aclose()`, which cancels them.

        A handler or participant that calls this is left out: its own session is not waited for.

        Args:
            timeout: Seconds to wait at most; None for no limit.
        """
        check_patience("timeout", timeout)
        self._refuse_more()
        with self._left_out() as left_out:
            drained = self._registry.when(lambda: self._registry.is_idle(left_out))
            try:
                with patience(timeout):
                    await drained
            except TimeoutError:
                return False
            finally:
                drained.cancel()
        return True

    async def aclose(self) -> None:
        """Stop accepting sessions and end the running ones (`EndReason.LEFT`). May be called again.

        Warnings name the conversations that may continue because no participant of this program is in their rooms.
        Closing is shielded from cancellation and takes 20 s at most, even if the service hangs. Warnings name the
        sessions that could not be ended by then.

        A handler or iterable that calls this is left out: it is neither cancelled nor waited for. A participant that
        calls it is not waited for.
        """
        self._entered = False
        self._closed()
        self._refuse_more()
        # A task of its own, so that a cancel of this one skips no step.
        closing = asyncio.get_running_loop().create_task(self._end_all(), name="akapulu manager close")
        await settle((closing,), None)
        closing.result()

    async def _end_all(self) -> None:
        registry = self._registry
        with self._left_out() as left_out:
            for run in tuple(self._runs):
                run.cancel()
            registry.end_all()

            def unfinished() -> Iterator[FanOut[Any]]:
                return (run for run in self._runs if any(task not in left_out for task in run.tasks))

            ended = registry.when(lambda: not registry.entries and registry.is_idle(left_out) and not any(unfinished()))
            if not await settle((ended,), CLOSE_GRACE):
                ended.cancel()
                for entry in registry.entries:
                    logger.warning("%r could not be ended in time", entry.session)
                for _ in unfinished():
                    logger.warning("a run could not be ended in time: a handler ignored cancellation")
        if not registry.is_open:  # else it was opened again meanwhile
            self._events_closed = True
            for listener in registry.listeners:
                listener.close()
            registry.listeners.clear()

    @contextmanager
    def _left_out(self) -> Iterator[Container[object]]:
        """Yield the user code that the caller must not wait for.

        Within this manager's own, that is all in which the manager is closed or drained just now: they would wait for
        each other.
        """
        here = Counter[object](task for task in callers() if task is not None)
        if not (self._registry.waits_for(here) or any(here.keys() & run.tasks for run in self._runs)):
            yield ()
            return
        self._insiders += here
        self._registry.changed()
        try:
            yield self._insiders
        finally:
            self._insiders -= here

    def _refuse_more(self) -> None:
        if self._registry.is_open:
            self._closing.set_result(None)
            for run in self._runs:
                run.interrupt()
        self._registry.is_open = False
        self._registry.gate.dismiss(
            ManagerClosedError("the session manager was closed before the session could be started")
        )

    async def start(self, request: ConnectRequest, *, timeout: float | None = None) -> ConversationSession:
        """Start a session and return it once it is connected. It lives in the manager until it ends.

        Args:
            request: The conversation to connect.
            timeout: Seconds to wait at most, for a place and for the connect; None for no limit.

        Raises:
            ManagerClosedError: The manager is not open, or was closed meanwhile.
            StartTimeoutError: It was not started in time (also a `TimeoutError`).
            AkapuluError: The errors of `Conversations.connect()`.

        If cancelled or timed out while it waits, the start gives up its place and sends nothing. A connect that is
        under way continues: its session then lives in the manager, in `sessions` and `events()`.
        """
        check_patience("timeout", timeout)
        return await self._registry.wait(self._registry.start(request), timeout, keep=True)

    @asynccontextmanager
    async def session(
        self, request: ConnectRequest, *, timeout: float | None = None
    ) -> AsyncGenerator[ConversationSession]:
        """Start a session for a block, and end it when the block is left. Otherwise like `start()`.

        If cancelled or timed out while its connect is under way, it waits for the answer, up to five seconds, and ends
        the session; a note on the error names the conversation that was connected meanwhile.
        """
        check_patience("timeout", timeout)
        entry = self._registry.start(request, held=True)
        reason = EndReason.LEFT
        try:
            yield await self._registry.wait_or_end(entry, timeout)
        except asyncio.CancelledError:
            reason = EndReason.CANCELLED
            raise
        finally:
            await self._registry.end(entry, reason)

    async def attach(self, session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> ConversationSession:
        """Attach to a conversation that was connected elsewhere; see `AkapuluClient.attach()`.

        If the manager has a session of it already, started or attached, returns that one: all callers share it. Else it
        sends the first poll and waits for its outcome, unless a snapshot is given. If this is cancelled meanwhile, the
        session still lives in the manager.

        Raises:
            ManagerClosedError: The manager is not open, or was closed meanwhile.
            ConfigurationError: The argument is neither an id nor a snapshot.
            NotFoundError: Only the id was given, and there is no such conversation, or it is over.
        """
        return await self._registry.attach(as_start(session))

    def run(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        *,
        concurrency: int | None = None,
    ) -> FanOut[T]:
        """Work through requests, each in a session of its own, and yield the outcomes as they finish.

        ::

            async with manager.run(requests, handler) as outcomes:
                async for outcome in outcomes:
                    print(outcome.result())

        Nothing is sent before the run is entered; leaving it cancels the sessions that still run and waits for them.
        Requests are taken from the iterable only when there is a place, and outcomes wait for their reader, so that
        memory stays constant. An error of a start or a handler is the `error` of its outcome, whatever its class; only
        `KeyboardInterrupt` and `SystemExit` end the program. If the iterable raises, its error is raised after the
        outcomes of the requests before.

        Args:
            requests: The conversations to connect: an iterable or an async iterable, consumed lazily.
            handler: Awaited with each connected session, which ends when it returns.
            concurrency: How many to work on at once; None for the manager's `max_sessions`, or 100 without one.

        Raises:
            ManagerClosedError: The manager is not open.
        """
        self._registry.check_open()
        check_count("concurrency", concurrency, none="the manager's max_sessions")
        places = concurrency or self._max_sessions or RUN_CONCURRENCY
        return FanOut(
            requests,
            handler,
            self.session,
            concurrency=places,
            runs=self._runs,
            closing=self._closing,
            changed=self._registry.changed,
        )

    @property
    def sessions(self) -> tuple[ConversationSession, ...]:
        """The connected sessions that have not ended. `statistics()` also counts those that wait or connect."""
        return tuple(entry.session for entry in self._registry.entries if entry.settled and entry.session is not None)

    def get(self, session_id: str | UUID) -> ConversationSession | None:
        """Return the session of a conversation; None if the manager has none that runs.

        Raises:
            ConfigurationError: The id is not a UUID.
        """
        return self._registry.live.get(checked_id("session_id", session_id))

    def events(self, *, buffer: int = EVENT_BUFFER) -> AsyncIterator[ManagerEvent]:
        """Return an iterator over the events of all sessions from now on, until the manager is closed.

        Any number of tasks may listen. A listener that falls behind by more than its buffer gets an `EventsMissed` with
        the number of dropped events; nobody waits for it. For all events of one session use `session.events()`.

        Args:
            buffer: How many unread events are kept.
        """
        check_count("buffer", buffer)
        listener = Subscription(buffer)
        if self._events_closed:
            listener.close()
        else:
            self._registry.listeners.add(listener)
        return listener

    def statistics(self) -> ManagerStatistics:
        """Return the figures so far. Takes time in proportion to the live sessions; fine for once a second."""
        # A start that waits for a slot again is counted as waiting.
        sessions = [entry.session for entry in self._registry.entries if entry.session and entry.connecting]
        return self._registry.tally.statistics(
            Counter(session.state for session in sessions),
            waiting=self._registry.gate.admission.waiting,
            polls=sum(session.polls for session in sessions),
            poll_failures=sum(session.poll_failures for session in sessions),
        )
