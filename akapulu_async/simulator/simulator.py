"""`Simulator`: the local Akapulu."""

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
from akapulu_async.simulator.recordings import RecordingFormat
from akapulu_async.simulator.requests import API_PREFIX
from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script, ScriptRow
from akapulu_async.simulator.server import Listener, Server
from akapulu_async.simulator.settings import OF_PLAN, AfterEnd, RecordingForm, Settings

__all__ = ["Simulator"]

OPTIONS = tuple(setting.name for setting in attrs.fields(Settings) if setting.init)
"""The names of all options."""


class Simulator(Operations):
    """A local Akapulu on a loopback port, while its `async with` is open.

        async with Simulator(speed=20, max_concurrent=2) as sim:
            ...  # talk to sim.base_url with sim.api_key

    Durations are simulated seconds unless noted otherwise: `speed` of them pass in a real second. A limit of None
    means no limit. Constructing opens nothing and needs no running loop. Wrong options raise `ValueError` or
    `TypeError` with their names. It can be entered again after it was left, and keeps its conversations.
    Facts about the service are marked as documented, seen or assumed; each assumption has an option here.

    Args:
        host: the address to listen on, for the API and the storage host. For `0.0.0.0` and `::`, `base_url` and
            `storage_url` contain the loopback address. Anyone who can connect can control the simulator:
            `/_simulator/` needs no key. On a loopback address, requests must use a loopback name (`localhost`,
            `127.0.0.0/8`, `[::1]`, with any port) as `Host`, or get 403 `HOST_REFUSED`: otherwise web pages could
            reach it by DNS rebinding. On other addresses, any name is served.
        port: of the API; 0 takes a free one.
        storage_port: of the storage host; 0 takes a free one.
        storage_url: the URL by which clients on another machine or in a container reach the storage host; signed URLs
            begin with it. None: the address it listens on.
        api_key: the only key accepted.
        speed: simulated seconds per real second; 0: time moves with `advance` only.
        seed: makes ids, tokens and all random values the same in each run, and the epoch too unless it is given;
            None: different each time.
        epoch: the aware time of the simulated second 0, the base of `created_at` and of the times in tokens; None: now,
            or 2026-01-01 with a seed, so that tokens may have expired.
        plan: the account's limits, such as `Plan.free()`.
        max_concurrent: replaces the plan's limit, as do the next four.
        minutes: see `Plan`.
        max_call_seconds: see `Plan`.
        participant_join_timeout: see `Plan`.
        max_lifetime: see `Plan`.
        scenarios: the ids of existing scenarios; None: any UUID.
        avatars: the ids of existing avatars; None: any UUID.
        ready_time: seconds from connect until the bot is ready, or a function that draws them from a `random.Random`.
        auto_join: whether a pretend participant joins each conversation by itself and says `client-ready`.
        join_after: seconds from connect until the pretend participant joins.
        call_seconds: seconds from ready until the pretend participant leaves; None: it stays.
        script: the dialogue of every call.
        end_with_script: whether the last row of the script is an ending node.
        django_errors: whether unknown paths and ids that are not UUIDs get an HTML 404, and wrong methods an empty 405,
            without a look at the key, as Django does. Assumed of the service. False: JSON errors, after the key.
        after_end: how `/updates/` answers after the end: `not_found` (404), `gone` (410), `text` (200, with a
            text that says so and `call_is_ready` false) or `unchanged` (200, as before). What the real service does
            is unknown.
        recording_form: how a ready recording is delivered: `redirect` (302 to a signed URL), `bytes`, or `json` (only
            its status). What the real service does, and the path, are unknown.
        recording_format: `mp4`, a video of two seconds (documented: a recording is a video), or `wav`, a quiet tone of
            the call's length.
        recording_delay: seconds from the end until a recording is ready. Assumed.
        recording_seconds: the length of every WAV recording; None: that of the call.
        recording_size: the size of every recording in bytes, for a video at least its own (some kilobytes); None: from
            its format and length.
        recording_ranges: whether `Range` is supported.
        recording_not_ready_status: of the JSON answer while a recording is not ready. Assumed.
        signed_url_lifetime: seconds a signed URL is valid. Assumed.
        concurrency_refusal: the answer when all slots are taken. Assumed.
        minutes_refusal: the answer when the minutes are used up. Assumed.
        requests_kept: how many of the latest requests `requests` keeps; None: all.
        conversations_kept: how many of the latest ended conversations are kept; older ones get 404. None: all, at about
            2.5 KB each. Open ones are always kept.

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
        django_errors: bool = False,
        after_end: AfterEnd = "text",
        recording_form: RecordingForm = "redirect",
        recording_format: RecordingFormat = "mp4",
        recording_delay: float = 3.0,
        recording_seconds: float | None = None,
        recording_size: int | None = None,
        recording_ranges: bool = True,
        recording_not_ready_status: int = 409,
        signed_url_lifetime: float = 3600.0,
        concurrency_refusal: Refusal = CONCURRENCY_LIMIT,
        minutes_refusal: Refusal = MINUTES_LIMIT,
        requests_kept: int | None = 10_000,
        conversations_kept: int | None = 10_000,
    ) -> None:
        given = dict(locals())  # each option has the name of its setting
        self._settings = settings = Settings(**{name: given[name] for name in OPTIONS})
        super().__init__(settings)
        api = Api(self._world, self._storage, settings)
        server = Server(api, self._storage, Control(self), self._clock.now, self._faults, self._journal)
        self._listener = Listener(server.handle_api)
        self._storage_listener = Listener(server.handle_storage, any_name=True)  # its URLs are signed
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Listen. Raises `OSError` if that fails, with the option to change in `option`.

        Raises `RuntimeError` if the simulator is entered already.
        """
        if self._is_open:
            raise RuntimeError("the simulator is entered already: leave it before entering it again")
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

    # Addresses

    @property
    def base_url(self) -> str:
        """The base URL for clients: `http://127.0.0.1:PORT/api`."""
        return self._listener.address + API_PREFIX

    @property
    def storage_url(self) -> str:
        """The URL of the storage host, with which signed URLs begin."""
        address = self._storage_listener.address
        return self._settings.storage_url or address

    @property
    def api_key(self) -> str:
        """The only key accepted."""
        return self._settings.api_key
