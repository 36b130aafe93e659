"""Many requests through few sessions, each handled, with results as they finish."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from akapulu_async.errors import AkapuluError, ManagerClosedError
from akapulu_async.log import logger
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.session import ConversationSession
from akapulu_async.tasks import is_cancelled, settle

T = TypeVar("T")

CLOSE_GRACE = 20.0
"""Seconds that closing takes at the most: a session's end takes ten, a connect's late answer five."""

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
    """Comes after the last outcome, with what broke the run off: the error of the iterable, or the manager's close."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Run(Generic[T]):
    """What the driving task works on. It does not know the iterator, so that dropping that can end it."""

    def __init__(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        session: Callable[[ConnectRequest], AbstractAsyncContextManager[ConversationSession]],
        concurrency: int,
        refusing: "asyncio.Future[None]",
    ) -> None:
        self._requests = requests
        self._refusing = refusing  # done once the manager takes no more sessions
        self._handler = handler
        self._session = session
        self._driver: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._told = False
        self._places = asyncio.Semaphore(concurrency)
        # As many outcomes may wait for the reader; then the workers wait, and so nothing grows without bound.
        self.outcomes: asyncio.Queue[Outcome[T] | _Finished] = asyncio.Queue(concurrency)

    async def drive(self) -> None:
        """Work through the requests. Cancelled, it cancels what runs and waits for it."""
        self._driver = asyncio.current_task()
        async with asyncio.TaskGroup() as group:
            # A task of its own, since it is interrupted, and not the workers, when the manager takes no more: it may
            # wait for a request that never comes.
            feeder = group.create_task(self._feed(group), name="akapulu requests")
            interrupt = partial(self._interrupt, feeder)
            self._refusing.add_done_callback(interrupt)
            feeder.add_done_callback(lambda _: self._refusing.remove_done_callback(interrupt))
        await self.outcomes.put(feeder.result())
        self._told = True

    def see_off(self, _: "asyncio.Task[None]") -> None:
        """Tell the reader the end if the driver could not, which may be cancelled even before it begins."""
        if self._told:
            return
        while not self.outcomes.empty():
            self.outcomes.get_nowait()
        self.outcomes.put_nowait(_Finished(_closed()))

    def _taken_up(self) -> AsyncGenerator[ConnectRequest, None]:
        # Nothing else keeps the requests, so that a generator among them is closed when the run is.
        requests, self._requests = self._requests, ()
        return _asynchronous(requests)

    def _interrupt(self, feeder: "asyncio.Task[_Finished]", _: "asyncio.Future[None]") -> None:
        self._interrupted = feeder.cancel()

    async def _feed(self, group: asyncio.TaskGroup) -> _Finished:
        """Start a worker a request. Returns how that ended, which the outcomes so far shall not be lost to."""
        index = 0
        async with aclosing(self._taken_up()) as requests:
            while not isinstance(request := await self._take(requests), _Finished):
                # Also what was given in spite of the interruption: the manager's refusal is its outcome.
                group.create_task(self._work(index, request))
                index += 1
        return request

    async def _take(self, requests: AsyncGenerator[ConnectRequest, None]) -> ConnectRequest | _Finished:
        try:
            await self._places.acquire()
            if self._refusing.done():  # what would be taken now could only be lost
                return _Finished(_closed())
            request = await anext(requests)
        except StopAsyncIteration:
            return _Finished(_closed() if self._interrupted else None)
        except asyncio.CancelledError as cancelled:
            if is_cancelled(self._driver):
                raise
            return _Finished(_closed() if self._interrupted else _own_cancel(cancelled))
        except Exception as error:  # noqa: BLE001 - whatever the user's iterable raises
            return _Finished(error)
        # An iterable need not heed its cancellation; the group takes no worker then.
        return _Finished(_closed()) if is_cancelled(self._driver) else request

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
            error = cancelled  # the handler's own affair
        except Exception as failure:  # noqa: BLE001 - a handler's bug is an outcome
            error = failure
        await self.outcomes.put(Outcome(index, request, session, value, error))
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


class FanOut(Generic[T]):
    """The outcomes of `SessionManager.run()`, as they finish.

    An early end of the loop, by `break` or by an error, cancels what runs as soon as the iterator is dropped, and the
    manager waits for it before it closes. To wait for it on the spot, hold the iterator::

        async with manager.run(requests, handler) as outcomes:
            async for outcome in outcomes: ...

    When the manager is drained, an async iterable that waits for its next request is cancelled, so that the reader is
    told at once. An iterable that raises a `CancelledError` of its own breaks the run off like any other error; it is
    raised as the cause of an `AkapuluError`, lest it look as if the reader had been cancelled.
    """

    def __init__(self, run: Run[T], driving: set["asyncio.Task[None]"]) -> None:
        self._outcomes = run.outcomes
        self._closed = False
        self._driver = asyncio.get_running_loop().create_task(run.drive(), name="akapulu fan-out")
        driving.add(self._driver)
        self._driver.add_done_callback(driving.discard)
        self._driver.add_done_callback(run.see_off)
        # The task, and so the run, is known to the loop; this iterator only to its reader.
        weakref.finalize(self, _cancel, self._driver)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        outcome = await self._outcomes.get()
        if isinstance(outcome, Outcome):
            return outcome
        self._outcomes.put_nowait(outcome)  # for the next who asks
        if outcome.error is None or self._closed:
            raise StopAsyncIteration
        raise outcome.error

    async def aclose(self) -> None:
        """Cancel what runs, and wait for it, shielded, 20 s at the most. Can be called again."""
        self._closed = True
        self._driver.cancel()
        if not await settle((self._driver,), CLOSE_GRACE):
            logger.warning("! a run could not be ended in time: a handler does not heed its cancellation")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _closed() -> ManagerClosedError:
    return ManagerClosedError("the session manager was closed or drained while the run went on: outcomes are missing")


def _own_cancel(cancelled: asyncio.CancelledError) -> AkapuluError:
    error = AkapuluError("the iterable of the requests raised a CancelledError of its own, and gave no more")
    error.__cause__ = cancelled
    return error


def _cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task from wherever the collector runs."""
    loop = task.get_loop()
    if not task.done() and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
