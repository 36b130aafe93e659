"""`Simulator`: the local Akapulu, put together."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import attrs

from akapulu_async.simulator.answers import CONCURRENCY_LIMIT, MINUTES_LIMIT, Refusal
from akapulu_async.simulator.api import Api
from akapulu_async.simulator.control import Control
from akapulu_async.simulator.milestones import ReadyTime, lognormal_ready_time
from akapulu_async.simulator.operations import Operations
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.requests import API_PREFIX
from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script, ScriptRow
from akapulu_async.simulator.server import Listener, Server
from akapulu_async.simulator.settings import OF_PLAN, AfterEnd, RecordingForm, Settings

__all__ = ["Simulator"]

OPTIONS = tuple(setting.name for setting in attrs.fields(Settings) if setting.init)
"""The names of all options."""

_REQUESTS_KEPT = 10_000


class Simulator(Operations):
    """A local Akapulu on a loopback port, for the time of an `async with`.

        async with Simulator(speed=20, max_concurrent=2) as sim:
            ...  # talk to sim.base_url with sim.api_key

    All durations are simulated seconds unless they say otherwise: `speed` of them pass in a real one. None
    means no limit, wherever it is taken. Constructing opens nothing and needs no running loop; wrong options
    raise `ValueError` or `TypeError` with their names. Once left, it can be entered again, with all it knows.
    What is documented of the service, seen or assumed is told where it is used; each assumption is an option here.

    Args:
        host: the address to listen on, for the API and for the storage host. For `0.0.0.0` and `::`, which no
            client can ask, `base_url` and `storage_url` bear the loopback address. Beyond loopback, everybody on
            the network who reaches it can control the simulator: `/_simulator/` asks for no key.
        port: of the API; 0 takes a free one.
        storage_port: of the storage host; 0 takes a free one.
        storage_url: how others reach the storage host (another machine, a container): the beginning of every
            signed URL; None: as it listens.
        api_key: the one key that is accepted.
        speed: simulated seconds in a real one; 0: time moves with `advance` only.
        seed: repeats everything that is drawn, and unless `epoch` is given fixes it, so that ids, tokens and
            stamps are the same in each run; None: different each time.
        epoch: the aware time of the simulated second 0, from which `created_at` and the tokens' times are
            reckoned; None: now, or with a seed 2026-01-01, so that tokens may have expired long ago.
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
        conversations_kept: how many of the latest ended conversations are kept; who asks for an older one gets
            404. None: all, for ever, at some kilobytes each.

    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        storage_url: str | None = None,
        api_key: str = "simulator-key",
        speed: float = 1.0,
        seed: int | None = None,
        epoch: datetime | None = None,
        plan: Plan | None = None,
        max_concurrent: int | attrs.NothingType | None = OF_PLAN,
        minutes: int | attrs.NothingType | None = OF_PLAN,
        max_call_seconds: float | attrs.NothingType | None = OF_PLAN,
        participant_join_timeout: float | attrs.NothingType | None = OF_PLAN,
        max_lifetime: float | attrs.NothingType | None = OF_PLAN,
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
        conversations_kept: int | None = None,
    ) -> None:
        given = dict(locals())  # each option has the name of its setting, and can be lost nowhere
        self._settings = settings = Settings(**{name: given[name] for name in OPTIONS})
        super().__init__(settings)
        api = Api(self._world, self._storage, settings)
        server = Server(api, self._storage, Control(self), self._clock.now, self._faults, self._journal)
        self._listener, self._storage_listener = Listener(server.handle_api), Listener(server.handle_storage)
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Listen; raises `OSError` if an address cannot be had, `RuntimeError` if it listens already.

        The error's `option` names the option to change.
        """
        if self._is_open:
            raise RuntimeError("the simulator is entered already: it can be entered again once it is left")
        self._is_open = True
        settings = self._settings
        try:
            await self._listener.open(settings.host, settings.port, option="port")
            await self._storage_listener.open(settings.host, settings.storage_port, option="storage_port")
        except BaseException:
            await self._close()
            raise
        self._storage.base_url = self.storage_url
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._is_open = False
        try:
            await self._listener.close()
        finally:
            await self._storage_listener.close()

    # Where it is

    @property
    def base_url(self) -> str:
        """What a client takes as the base URL: `http://127.0.0.1:PORT/api`."""
        return self._listener.address + API_PREFIX

    @property
    def storage_url(self) -> str:
        """The storage host, to which signed URLs lead: `storage_url` if given, else where it listens."""
        address = self._storage_listener.address
        return self._settings.storage_url or address

    @property
    def api_key(self) -> str:
        """The one key that is accepted."""
        return self._settings.api_key
