"""Many requests through few sessions: each handled in a session of its own, with outcomes as they finish."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Generic, Self, TypeVar

import attrs

from akapulu_async.checks import check_callable, refuse_kind
from akapulu_async.errors import AkapuluError, ConfigurationError, ManagerClosedError
from akapulu_async.log import logger
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.secret import Secret, excerpt
from akapulu_async.session import ConversationSession
from akapulu_async.tasks import callers, enter_user_code, settle, user_code

T = TypeVar("T")

CLOSE_GRACE = 20.0
"""Seconds that closing takes at most: the end of a session takes ten, the late answer of a connect five."""

Handler = Callable[[ConversationSession], Awaitable[T]]
"""Handles a connected session, which ends when it returns."""


@attrs.frozen
class Outcome(Generic[T]):
    """The outcome of one request."""

    index: int
    """The request's place in the iterable, from 0."""
    request: ConnectRequest

    session: ConversationSession | None
    """Its session, which has ended; None if none was started."""
    value: T | None
    """The handler's return value; None if it did not return."""
    error: BaseException | None
    """The error of the start or of the handler; None if there was none."""

    @property
    def connect_unknown(self) -> bool:
        """True if the start failed, although its connect may have made a conversation that nobody here knows.

        It holds a slot and costs minutes: count these apart from refusals. See `AkapuluError.outcome_unknown`.
        """
        return self.session is None and isinstance(self.error, AkapuluError) and self.error.outcome_unknown

    def result(self) -> T:
        """Return the value, or raise the error, like a Future."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # the handler returned it, None included


class FanOut(Generic[T]):
    """The outcomes of `SessionManager.run()`, as they finish.

    ::

        async with manager.run(requests, handler) as outcomes:
            async for outcome in outcomes: ...

    Entering starts the run. Leaving cancels the sessions that still run and waits for them, shielded, up to 20 s.

    When the manager is drained, an async iterable that waits for its next request is cancelled, and the reader gets a
    `ManagerClosedError` after the outcomes so far. An iterable that raises a `CancelledError` of its own ends the run
    like any other error; it is the cause of an `AkapuluError`, so that the reader does not look cancelled.
    """

    def __init__(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        session: Callable[[ConnectRequest], AbstractAsyncContextManager[ConversationSession]],
        *,
        concurrency: int,
        runs: set["FanOut[Any]"],
        closing: "asyncio.Future[None]",
        changed: Callable[[], object],
    ) -> None:
        """Called by `SessionManager.run()`.

        `runs` contains the run while it has tasks, `closing` is done once the manager accepts no more sessions, and
        `changed` is called when a task is done.
        """
        if not isinstance(requests, Iterable | AsyncIterable):
            refuse_kind("requests", requests, "an iterable or an async iterable")
        check_callable("handler", handler)
        self._requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest] = requests
        self._handler = handler
        self._session = session
        self._runs = runs
        self._closing = closing
        self._changed = changed
        self.tasks: set[asyncio.Task[None]] = set()
        """The tasks of the iterable and of the handlers."""
        self._cancelled: set[asyncio.Task[None]] = set()
        self._feeder: asyncio.Task[None] | None = None
        self._left = False
        self._stopped = False
        self._error: BaseException | None = None  # why outcomes are missing
        self._places = asyncio.Semaphore(concurrency)
        # As many outcomes may wait for the reader; then the workers wait, so that nothing grows without bound.
        self._unread = asyncio.Semaphore(concurrency)
        self._outcomes: asyncio.Queue[Outcome[T] | None] = asyncio.Queue()  # None follows the last

    async def __aenter__(self) -> Self:
        if self._feeder is not None:
            raise ConfigurationError("a run can be entered once; call manager.run() again")
        self._outer = user_code.get()
        self._runs.add(self)
        self._feeder = self._spawn(self._feed(), "akapulu requests")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        self.cancel()
        if not await settle([task for task in self.tasks if task not in callers()], CLOSE_GRACE):
            logger.warning("a run could not be ended in time: a handler ignored cancellation")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        if self._feeder is None:
            raise ConfigurationError(
                "enter the run first: async with manager.run(requests, handler) as outcomes, "
                "then: async for outcome in outcomes"
            )
        outcome = await self._outcomes.get()
        if outcome is not None:
            self._unread.release()
            return outcome
        self._outcomes.put_nowait(None)  # for the next reader
        if self._left or self._error is None:
            raise StopAsyncIteration
        raise self._error

    def interrupt(self) -> None:
        """Take no more requests. An iterable that waits is cancelled, unless it is the caller."""
        if self._feeder is not None and self._feeder not in callers()[-1:]:
            # Not at once: it may be yielding a request.
            asyncio.get_running_loop().call_soon(self._feeder.cancel)

    def cancel(self) -> None:
        """Cancel the iterable and the handlers, each once; but not the one that is the caller."""
        self._stopped = True
        for task in self.tasks.difference(self._cancelled, callers()[-1:]):
            self._cancelled.add(task)
            task.cancel()
            self._error = _closed()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self._cancelled.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
        if not self.tasks:
            self._runs.discard(self)
            self._outcomes.put_nowait(None)
        self._changed()

    async def _feed(self) -> None:
        """Start a worker for each request. An error of the iterable does not affect the outcomes so far."""
        enter_user_code(self._outer)
        error: BaseException | None = None
        try:
            await self._take_all()
        except (KeyboardInterrupt, SystemExit):
            raise
        except asyncio.CancelledError as cancelled:
            error = AkapuluError(
                "the iterable of requests raised a CancelledError of its own and gave no more requests"
            )
            error.__cause__ = cancelled
            if self._stopped or self._closing.done():
                error = _closed()
        except BaseException as failure:  # noqa: BLE001 - whatever the user's iterable raises
            error = failure
            if self._stopped:  # perhaps nobody reads it
                logger.warning("The iterable of requests failed while its run was ended: %s", _shown(failure))
        if self._error is None:
            self._error = error

    async def _take_all(self) -> None:
        # Nothing else keeps the requests, so that a generator among them is closed with the run.
        requests, self._requests = _asynchronous(self._requests), ()
        async with aclosing(requests):
            for index in itertools.count():
                await self._places.acquire()
                if self._closing.done():  # a request taken now could only be lost
                    break
                try:
                    request = await anext(requests)
                except StopAsyncIteration:
                    break
                if self._stopped:  # ignored by the iterable
                    break
                # Also a request that came in spite of the interruption: its outcome is the manager's refusal.
                self._spawn(self._work(index, request), "akapulu handler")
        if self._stopped or self._closing.done():
            self._error = _closed()

    async def _work(self, index: int, request: ConnectRequest) -> None:
        # The iterable created this task, but does not wait for it.
        enter_user_code(self._outer)
        session: ConversationSession | None = None
        value: T | None = None
        error: BaseException | None = None
        try:
            async with self._session(request) as session:
                value = await self._handler(session)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as failure:
            if isinstance(failure, asyncio.CancelledError) and self._is_cancelled():
                raise
            error = failure  # a handler's bug is an outcome, and so is a CancelledError of its own
        if not self._is_cancelled():
            await self._unread.acquire()
        elif error is not None:  # perhaps nobody reads its outcome
            text = _shown(error) if session is None else _shown(error, session.token)
            extra = {"session_id": None if session is None else session.id}
            logger.warning("A handler failed while its run was ended: %s", text, extra=extra)
        self._outcomes.put_nowait(Outcome(index, request, session, value, error))
        self._places.release()

    def _is_cancelled(self) -> bool:
        """Return True if the current task was cancelled by the run, and not only by its own code."""
        return asyncio.current_task() in self._cancelled


async def _asynchronous(
    requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
) -> AsyncGenerator[ConnectRequest, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _closed() -> ManagerClosedError:
    return ManagerClosedError("the session manager was closed or drained during the run: outcomes are missing")


def _shown(error: BaseException, *secrets: Secret) -> str:
    return excerpt(f"{type(error).__name__}: {error}", secrets)
