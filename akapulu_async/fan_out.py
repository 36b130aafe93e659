"""Many requests through few sessions, each handled, with results as they finish."""

import asyncio
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

import attrs

from akapulu_async.models import ConnectRequest
from akapulu_async.session import ConversationSession
from akapulu_async.tasks import settle

T = TypeVar("T")

Handler = Callable[[ConversationSession], Awaitable[T]]
"""What is done with each session; the session ends when it returns."""


@attrs.frozen
class Outcome(Generic[T]):
    """What became of one request."""

    index: int
    """The request's place in the iterable, from 0."""

    request: ConnectRequest

    session: ConversationSession | None
    """Its session, which has ended; None if none was started."""

    value: T | None
    """What the handler returned; None if it did not."""

    error: BaseException | None
    """What went wrong, in starting the session or in the handler; None if nothing did."""


class _Finished:
    """Comes after the last outcome, with the error of the iterable of requests if it had one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Run(Generic[T]):
    """What the driving task works on. It does not know the iterator, so that dropping that can end it."""

    def __init__(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        session: Callable[[ConnectRequest], AbstractAsyncContextManager[ConversationSession]],
        concurrency: int,
    ) -> None:
        self._requests = requests
        self._handler = handler
        self._session = session
        self._places = asyncio.Semaphore(concurrency)
        # As many outcomes may wait for the reader; then the workers wait, and so nothing grows without bound.
        self.outcomes: asyncio.Queue[Outcome[T] | _Finished] = asyncio.Queue(concurrency)

    async def drive(self) -> None:
        """Work through the requests. Cancelled, it cancels what runs and waits for it."""
        error = None
        try:
            async with asyncio.TaskGroup() as group:
                error = await self._feed(group)
            await self.outcomes.put(_Finished(error))
        except BaseException:
            self._clear()
            raise

    async def _feed(self, group: asyncio.TaskGroup) -> Exception | None:
        """Start a worker a request. Returns the iterable's error, which the outcomes so far shall not be lost to."""
        index = 0
        requests = aiter(_asynchronous(self._requests))
        while True:
            await self._places.acquire()
            try:
                request = await anext(requests)
            except StopAsyncIteration:
                return None
            except Exception as error:  # noqa: BLE001 - whatever the user's iterable raises
                return error
            group.create_task(self._work(index, request))
            index += 1

    async def _work(self, index: int, request: ConnectRequest) -> None:
        session: ConversationSession | None = None
        value: T | None = None
        error: BaseException | None = None
        try:
            async with self._session(request) as session:
                value = await self._handler(session)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            error = cancelled  # the handler's own affair
        except Exception as failure:  # noqa: BLE001 - a handler's bug is an outcome
            error = failure
        await self.outcomes.put(Outcome(index, request, session, value, error))
        self._places.release()

    def _clear(self) -> None:
        while not self.outcomes.empty():
            self.outcomes.get_nowait()
        self.outcomes.put_nowait(_Finished(None))


async def _asynchronous(
    requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
) -> AsyncIterator[ConnectRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


class FanOut(Generic[T]):
    """The outcomes of `SessionManager.run()`, as they finish.

    An early end of the loop, by `break` or by an error, cancels what runs as soon as the iterator is dropped, and the
    manager waits for it before it closes. To wait for it on the spot, hold the iterator::

        async with manager.run(requests, handler) as outcomes:
            async for outcome in outcomes: ...
    """

    def __init__(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        session: Callable[[ConnectRequest], AbstractAsyncContextManager[ConversationSession]],
        concurrency: int,
        driving: set["asyncio.Task[None]"],
    ) -> None:
        run = _Run(requests, handler, session, concurrency)
        self._outcomes = run.outcomes
        self._finished: _Finished | None = None
        self._driver = asyncio.get_running_loop().create_task(run.drive(), name="akapulu fan-out")
        driving.add(self._driver)
        self._driver.add_done_callback(driving.discard)
        # The task, and so the run, is known to the loop; this iterator only to its reader.
        self._drop = weakref.finalize(self, _cancel, self._driver)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        if self._driver.done() and self._outcomes.empty():
            raise StopAsyncIteration  # closed before it began, or read to its end
        if self._finished is None:
            outcome = await self._outcomes.get()
            if isinstance(outcome, Outcome):
                return outcome
            self._finished = outcome
        if self._finished.error is not None:
            raise self._finished.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel what runs, and wait for it. Can be called again."""
        self._drop()
        await settle((self._driver,), None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task from wherever the collector runs."""
    loop = task.get_loop()
    if not task.done() and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
