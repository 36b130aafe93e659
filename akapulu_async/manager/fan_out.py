"""Many requests through few sessions: each handled in a session of its own, with outcomes as they finish."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Generic, Self, TypeVar

import attrs

from akapulu_async.checks import check_callable, refuse_kind
from akapulu_async.errors import AkapuluError, ConfigurationError, ManagerClosedError
from akapulu_async.log import logger
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.session import ConversationSession
from akapulu_async.tasks import is_cancelled, settle

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
        runs: set["asyncio.Task[Exception | None]"],
        closing: "asyncio.Future[None]",
    ) -> None:
        """Called by `SessionManager.run()`. `closing` is done once the manager accepts no more sessions."""
        if not isinstance(requests, Iterable | AsyncIterable):
            refuse_kind("requests", requests, "an iterable or an async iterable")
        check_callable("handler", handler)
        self._requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest] = requests
        self._handler = handler
        self._session = session
        self._runs = runs
        self._closing = closing
        self._driver: asyncio.Task[Exception | None] | None = None
        self._left = False
        self._places = asyncio.Semaphore(concurrency)
        # As many outcomes may wait for the reader; then the workers wait, so that nothing grows without bound.
        self._unread = asyncio.Semaphore(concurrency)
        self._outcomes: asyncio.Queue[Outcome[T] | None] = asyncio.Queue()  # None follows the last

    async def __aenter__(self) -> Self:
        if self._driver is not None:
            raise ConfigurationError("a run can be entered once; call manager.run() again")
        self._driver = asyncio.get_running_loop().create_task(self._drive(), name="akapulu fan-out")
        self._runs.add(self._driver)
        self._driver.add_done_callback(self._runs.discard)
        self._driver.add_done_callback(lambda _: self._outcomes.put_nowait(None))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._driver is not None
        self._left = True
        self._driver.cancel()
        if not await settle((self._driver,), CLOSE_GRACE):
            logger.warning("a run could not be ended in time: a handler ignored cancellation")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        if self._driver is None:
            raise ConfigurationError(
                "enter the run first: async with manager.run(requests, handler) as outcomes, "
                "then: async for outcome in outcomes"
            )
        outcome = await self._outcomes.get()
        if outcome is not None:
            self._unread.release()
            return outcome
        self._outcomes.put_nowait(None)  # for the next reader
        if self._left:
            raise StopAsyncIteration
        error = _closed() if self._driver.cancelled() else self._driver.result()
        raise StopAsyncIteration if error is None else error

    async def _drive(self) -> Exception | None:
        """Work through the requests. Returns the error that broke them off. Cancelled, it cancels the workers."""
        async with asyncio.TaskGroup() as group:
            # A task of its own: it may wait for a request that never comes, and is interrupted alone.
            feeder = group.create_task(self._feed(group), name="akapulu requests")

            def interrupt(_: "asyncio.Future[None]") -> None:
                feeder.cancel()

            self._closing.add_done_callback(interrupt)
            feeder.add_done_callback(lambda _: self._closing.remove_done_callback(interrupt))
        return feeder.result()

    async def _feed(self, group: asyncio.TaskGroup) -> Exception | None:
        """Start a worker for each request. Returns its error, so that the outcomes so far are not lost to it."""
        index = 0
        # Nothing else keeps the requests, so that a generator among them is closed with the run.
        requests, self._requests = _asynchronous(self._requests), ()
        try:
            async with aclosing(requests):
                while True:
                    await self._places.acquire()
                    if self._closing.done():  # a request taken now could only be lost
                        return _closed()
                    request = await anext(requests)
                    if is_cancelled(self._driver):  # ignored by the iterable; the group accepts no worker now
                        return _closed()
                    # Also a request that came in spite of the interruption: its outcome is the manager's refusal.
                    group.create_task(self._work(index, request))
                    index += 1
        except StopAsyncIteration:
            return _closed() if self._closing.done() else None
        except asyncio.CancelledError as cancelled:
            if is_cancelled(self._driver):
                raise
            if self._closing.done():
                return _closed()
            error = AkapuluError(
                "the iterable of requests raised a CancelledError of its own and gave no more requests"
            )
            error.__cause__ = cancelled
            return error
        except Exception as failure:  # noqa: BLE001 - whatever the user's iterable raises
            return failure

    async def _work(self, index: int, request: ConnectRequest) -> None:
        session: ConversationSession | None = None
        value: T | None = None
        error: BaseException | None = None
        try:
            async with self._session(request) as session:
                value = await self._handler(session)
        except asyncio.CancelledError as cancelled:
            if is_cancelled(self._driver):
                raise
            error = cancelled  # raised by the handler itself
        except Exception as failure:  # noqa: BLE001 - a handler's bug is an outcome
            error = failure
        await self._unread.acquire()
        self._outcomes.put_nowait(Outcome(index, request, session, value, error))
        self._places.release()


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
