"""`Simulator`: the local Akapulu, put together."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Any, Literal, Protocol, Self
from uuid import UUID

import attrs

from akapulu_async.simulator.api import Api
from akapulu_async.simulator.clock import Clock
from akapulu_async.simulator.control import Control
from akapulu_async.simulator.conversation import ConversationView, EndReason
from akapulu_async.simulator.faults import Fault, FaultBook, FaultHandle
from akapulu_async.simulator.journal import Journal, SeenRequest
from akapulu_async.simulator.milestones import ReadyTime, fixed_ready_time, lognormal_ready_time
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.refusals import CONCURRENCY_LIMIT, MINUTES_LIMIT, Refusal
from akapulu_async.simulator.routing import API_PREFIX, Route
from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script, ScriptRow
from akapulu_async.simulator.server import Listener, Server
from akapulu_async.simulator.settings import AfterEnd, RecordingForm, Settings
from akapulu_async.simulator.storage import Storage
from akapulu_async.simulator.world import Statistics, World

__all__ = ["HasSessionId", "Simulator"]

_OF_PLAN = attrs.NOTHING  # an option that is left to `plan`; None would mean no limit
_REQUESTS_KEPT = 10_000


class HasSessionId(Protocol):
    """Anything that knows its conversation, such as the client's connection."""

    @property
    def conversation_session_id(self) -> str | UUID:
        """The conversation's id."""


class Simulator:
    """A local Akapulu on a loopback port, for the time of an `async with`.

        async with Simulator(speed=20, max_concurrent=2) as sim:
            ...  # talk to sim.base_url with sim.api_key

    All durations are simulated seconds unless they say otherwise: `speed` of them pass in a real one. None
    means no limit, wherever it is taken. Constructing opens nothing and needs no running loop; wrong options
    raise `ValueError`. What is documented of the service, seen or assumed is told where it is used; each
    assumption is an option here.

    Args:
        host: the address to listen on, for the API and for the storage host.
        port: of the API; 0 takes a free one. The storage host always takes a free one.
        api_key: the one key that is accepted.
        speed: simulated seconds in a real one; 0: time moves with `advance` only.
        seed: repeats everything that is drawn; None: different each time.
        plan: the account's limits, such as `Plan.free()`.
        max_concurrent: in place of the plan's.
        minutes: in place of the plan's.
        max_call_seconds: in place of the plan's.
        participant_join_timeout: in place of the plan's.
        max_lifetime: in place of the plan's.
        scenarios: the ids of those there are; None: any UUID is one.
        avatars: the ids of those there are; None: any UUID is one.
        ready_time: seconds from connect until the bot is ready, or a function that draws them from a
            generator.
        auto_join: whether a pretend participant joins each conversation by itself and says `client-ready`.
        join_after: seconds from connect until the pretend participant joins.
        call_seconds: seconds from ready until the pretend participant leaves; None: it stays.
        script: what is said in every call.
        end_with_script: whether the last row of the script is an ending node.
        after_end: how `/updates/` answers after the end: `not_found` (404), `gone` (410), `text` (200, the
            text tells the end and `call_is_ready` is false) or `unchanged` (200, as before). Unknown of the
            real service.
        recording_form: how a ready recording is handed out: `redirect` (302 to a signed URL), `bytes`, or
            `json` (nothing but its status). Unknown of the real service, as is the path.
        recording_delay: seconds from the end until a recording is ready. Assumed.
        recording_seconds: how long every recording lasts; None: as long as the call.
        recording_size: how many bytes every recording has, in place of `recording_seconds`.
        recording_ranges: whether `Range` is understood.
        recording_not_ready_status: of the JSON answer while a recording is not ready. Assumed.
        signed_url_lifetime: seconds a signed URL is good for. Assumed.
        concurrency_refusal: the answer when all slots are taken. Assumed.
        minutes_refusal: the answer when the minutes are used up. Assumed.
        requests_kept: how many of the latest requests `requests` holds; None: all.

    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "simulator-key",
        speed: float = 1.0,
        seed: int | None = None,
        plan: Plan | None = None,
        max_concurrent: int | attrs.NothingType | None = _OF_PLAN,
        minutes: int | attrs.NothingType | None = _OF_PLAN,
        max_call_seconds: float | attrs.NothingType | None = _OF_PLAN,
        participant_join_timeout: float | attrs.NothingType | None = _OF_PLAN,
        max_lifetime: float | attrs.NothingType | None = _OF_PLAN,
        scenarios: Collection[str | UUID] | None = None,
        avatars: Collection[str | UUID] | None = None,
        ready_time: float | ReadyTime = lognormal_ready_time,
        auto_join: bool = True,
        join_after: float = 2.0,
        call_seconds: float | None = 60.0,
        script: Script | Iterable[ScriptRow | Mapping[str, Any]] = DEFAULT_SCRIPT,
        end_with_script: bool = False,
        after_end: AfterEnd = "text",
        recording_form: RecordingForm = "redirect",
        recording_delay: float = 3.0,
        recording_seconds: float | None = None,
        recording_size: int | None = None,
        recording_ranges: bool = True,
        recording_not_ready_status: int = 409,
        signed_url_lifetime: float = 3600.0,
        concurrency_refusal: Refusal = CONCURRENCY_LIMIT,
        minutes_refusal: Refusal = MINUTES_LIMIT,
        requests_kept: int | None = _REQUESTS_KEPT,
    ) -> None:
        limits = {
            "max_concurrent": max_concurrent,
            "minutes": minutes,
            "max_call_seconds": max_call_seconds,
            "participant_join_timeout": participant_join_timeout,
            "max_lifetime": max_lifetime,
        }
        given: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not _OF_PLAN}
        self._settings = Settings(
            api_key=api_key,
            plan=attrs.evolve(plan or Plan(), **given),
            scenarios=None if scenarios is None else frozenset(scenarios),
            avatars=None if avatars is None else frozenset(avatars),
            ready_time=ready_time if callable(ready_time) else fixed_ready_time(ready_time),
            auto_join=auto_join,
            join_after=join_after,
            call_seconds=call_seconds,
            script=script if isinstance(script, Script) else Script(script),
            end_with_script=end_with_script,
            after_end=after_end,
            recording_form=recording_form,
            recording_delay=recording_delay,
            recording_seconds=recording_seconds,
            recording_size=recording_size,
            recording_ranges=recording_ranges,
            recording_not_ready_status=recording_not_ready_status,
            signed_url_lifetime=signed_url_lifetime,
            concurrency_refusal=concurrency_refusal,
            minutes_refusal=minutes_refusal,
        )
        rng = Random(seed)  # noqa: S311 - a simulation, not cryptography
        self._address = (host, port)
        self._clock = Clock(speed)
        self._world = World(self._settings, rng)
        self._faults = FaultBook(Random(rng.getrandbits(64)))  # noqa: S311 - as above
        self._storage = Storage(
            Random(rng.getrandbits(64)),  # noqa: S311 - as above
            url_lifetime=signed_url_lifetime,
            ranges=recording_ranges,
        )
        self._journal = Journal(keep=requests_kept)
        server = Server(
            Api(self._world, self._storage, self._settings),
            self._storage,
            Control(self._world, self._clock, self._faults, self._journal, self._storage),
            self._clock,
            self._faults,
            self._journal,
        )
        self._listener = Listener(server.handle_api)
        self._storage_listener = Listener(server.handle_storage)

    async def __aenter__(self) -> Self:
        """Listen; raises `OSError` if the address cannot be had."""
        try:
            await self._listener.open(*self._address)
            await self._storage_listener.open(self._address[0], 0)
        except BaseException:
            await self._close()
            raise
        self._storage.base_url = self._storage_listener.url
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        try:
            await self._listener.close()
        finally:
            await self._storage_listener.close()

    # Where it is

    @property
    def base_url(self) -> str:
        """What a client takes as the base URL: `http://127.0.0.1:PORT/api`."""
        return self._opened(self._listener) + API_PREFIX

    @property
    def storage_url(self) -> str:
        """The storage host, to which signed URLs lead."""
        return self._opened(self._storage_listener)

    @property
    def api_key(self) -> str:
        """The one key that is accepted."""
        return self._settings.api_key

    @staticmethod
    def _opened(listener: Listener) -> str:
        if not listener.url:
            raise RuntimeError("the simulator has no address before it is entered: async with Simulator() as sim")
        return listener.url

    # Time

    @property
    def now(self) -> float:
        """Simulated seconds since the simulator was made."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move the simulated clock forward at once."""
        self._clock.advance(seconds)
        self._journal.wake()

    # Participants

    def join(self, conversation_id: str | UUID, *, client_ready: bool = True) -> None:
        """Let the participant join the room, and say `client-ready` unless told otherwise.

        It takes the pretend participant's place and stays until it leaves.
        Raises `UnknownConversationError`, or `ConversationStateError` after the conversation's end.
        """
        self._world.join(conversation_id, self.now, client_ready=client_ready)
        self._journal.wake()

    def client_ready(self, conversation_id: str | UUID) -> None:
        """Let the participant say `client-ready`.

        Raises `ConversationStateError` unless it is in the room.
        """
        self._world.client_ready(conversation_id, self.now)
        self._journal.wake()

    def leave(self, conversation_id: str | UUID) -> None:
        """Let the participant leave, which ends the conversation; nothing happens if it has ended."""
        self.end(conversation_id, reason=EndReason.USER_LEFT)

    def end(
        self,
        conversation_id: str | UUID,
        *,
        reason: EndReason
        | Literal[
            "user_left", "scenario_ended", "duration_limit_reached", "participant_join_timeout", "expired"
        ] = EndReason.SCENARIO_ENDED,
    ) -> None:
        """End a conversation, by default as an ending node does; nothing happens if it has ended."""
        self._world.end(conversation_id, self.now, EndReason(reason))
        self._journal.wake()

    def participant(self, connection: HasSessionId) -> AbstractAsyncContextManager[None]:
        """Return a participant of a connection's conversation: entered, it joins; left, it leaves."""
        return self._participant(connection.conversation_session_id)

    @asynccontextmanager
    async def _participant(self, conversation_id: str | UUID) -> AsyncIterator[None]:
        self.join(conversation_id)
        try:
            yield
        finally:
            self.leave(conversation_id)

    # Faults

    def add_fault(self, fault: Fault) -> FaultHandle:
        """Put a fault in force; the handle takes it out again and counts its hits."""
        return self._faults.add(fault)

    def clear_faults(self) -> None:
        """Take all faults out of force."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[FaultHandle, ...]:
        """The faults in force, the oldest first."""
        return self._faults.handles

    # Observation

    @property
    def requests(self) -> deque[SeenRequest]:
        """The latest requests to the API and the storage host, the oldest first; a copy."""
        return self._journal.requests.copy()

    def count(self, route: Route | None = None, *, conversation_id: str | UUID | None = None) -> int:
        """Return how many requests were seen since the start: of one route, for one conversation, or all."""
        return self._journal.count(route, None if conversation_id is None else str(conversation_id).lower())

    async def wait_for_request(
        self,
        route: Route | None = None,
        *,
        count: int = 1,
        conversation_id: str | UUID | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        """Wait until so many such requests were seen since the start.

        Raises `TimeoutError` after `timeout` real seconds; None waits for ever.
        """
        await self.wait_until(lambda: self.count(route, conversation_id=conversation_id) >= count, timeout=timeout)

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float | None = 10.0) -> None:
        """Wait until a condition holds; raises `TimeoutError` after `timeout` real seconds.

        It is looked at after every request and every call that changes something, not because time passes.
        """
        await self._journal.wait_until(condition, timeout)

    @property
    def conversations(self) -> Mapping[str, ConversationView]:
        """All conversations by id, the oldest first, each as of the moment it is looked up."""
        return _Views(self._world, self._clock)

    @property
    def open_conversations(self) -> int:
        """How many conversations hold a slot."""
        return self._world.open_count(self.now)

    @property
    def leaked_credentials(self) -> int:
        """How many requests brought an `Authorization` header to the storage host: must be 0."""
        return self._storage.leaked_credentials

    def statistics(self) -> Statistics:
        """Return the account in numbers, the peak of concurrency among them."""
        return self._world.statistics(self.now)


class _Views(Mapping[str, ConversationView]):
    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock

    def __getitem__(self, conversation_id: str) -> ConversationView:
        if conversation_id not in self._world.conversations:
            raise KeyError(conversation_id)
        now = self._clock.now()
        return self._world.find(conversation_id, now).view(now)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._world.conversations))

    def __len__(self) -> int:
        return len(self._world.conversations)
