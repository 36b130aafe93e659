"""The client: its settings, and the objects that are built from them."""

import os
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID

import aiohttp
from anyio import AsyncContextManagerMixin

from akapulu_async.checks import check_count, check_kind, shown
from akapulu_async.errors import ApiError, ConfigurationError
from akapulu_async.http.transport import POOL_SIZE, Transport
from akapulu_async.models.connection import ConnectRequest, check_request
from akapulu_async.observing import Observer, Observers
from akapulu_async.resources.conversations import RECORDING_PATH, Conversations, check_recording_path
from akapulu_async.sansio.http import Request, check_error_types
from akapulu_async.sansio.json_body import encode_json
from akapulu_async.sansio.lifecycle import Signals
from akapulu_async.sansio.polling import PollPolicy
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot, as_start
from akapulu_async.sansio.urls import DEFAULT_BASE_URL, check_base_url, check_path
from akapulu_async.secret import Secret
from akapulu_async.session import READY_TIMEOUT, ConversationSession, Participant, SessionSettings


class AkapuluClient(AsyncContextManagerMixin):
    """The client of Akapulu. Make one for the life of your program, and share it.

    ::

        async with AkapuluClient() as client:
            connection = await client.conversations.connect(request)

    or `await client.open()` and `await client.aclose()`, in the same task or in different ones. In between it belongs
    to the running event loop; in another one it raises `ClosedError`. Making it needs no loop and does no I/O.

    Args:
        api_key: The account's key, for servers only. None: the environment's `AKAPULU_API_KEY`.
        base_url: None: the environment's `AKAPULU_BASE_URL`, else `https://akapulu.com/api`. It must be https, unless
            it is loopback.
        http: An `aiohttp.ClientSession` to use, with its proxies, CAs and traces; you close it. It works as aiohttp
            does: it may send a GET a second time by itself, and if an answer comes twice, it may take the second for
            the next call's. None: an own one, which does neither, costs less for each poll, and takes a proxy from
            `HTTPS_PROXY` and a CA from `SSL_CERT_FILE`.
        timeouts: How long to wait, see `Timeouts`.
        retry: How often to try, see `RetryPolicy`.
        poll: How often sessions poll, see `PollPolicy`.
        error_types: The `ApiError` class of an exact `error_code`, such as `{"NO_SLOT": ConcurrencyLimitError}`. It
            takes precedence over the library's own rules.
        pool_size: How many calls may be under way at once, each on a connection; others wait, within their own
            deadline. A poll takes milliseconds, so 64 serve thousands of conversations.
        recording_path: The path of a recording below the base URL, with `{session_id}` in it. The default is assumed.
        observers: Called for attempts, session events and waiting starts, see `akapulu_async.observing.Observer`.

    Raises:
        ConfigurationError: There is no API key, or a setting is unusable.
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        base_url: str | None = None,
        http: aiohttp.ClientSession | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        poll: PollPolicy = PollPolicy(),  # noqa: B008 - frozen
        error_types: Mapping[str, type[ApiError]] | None = None,
        pool_size: int = POOL_SIZE,
        recording_path: str = RECORDING_PATH,
        observers: Iterable[Observer] = (),
    ) -> None:
        # First, so that no frame shows the key if a setting is refused.
        source = "AKAPULU_API_KEY" if api_key is None else "api_key"
        api_key = _read_api_key(api_key)
        _check_api_key(api_key, source)
        if http is not None:
            check_kind("http", http, aiohttp.ClientSession)
        check_kind("timeouts", timeouts, Timeouts)
        check_kind("retry", retry, RetryPolicy)
        check_kind("poll", poll, PollPolicy)
        check_count("pool_size", pool_size)
        self._transport = Transport(
            base_url=check_base_url(_read_base_url(base_url)),
            api_key=api_key,
            http=http,
            timeouts=timeouts,
            retry=retry,
            observers=Observers(observers),
            error_types=check_error_types({} if error_types is None else error_types),
            pool_size=pool_size,
        )
        self.poll = poll
        self.conversations = Conversations(self._transport, recording_path=check_recording_path(recording_path))

    @property
    def base_url(self) -> str:
        """The URL of the service, without the last slash."""
        return self._transport.base_url

    def __repr__(self) -> str:
        # Tools that show variables may show a client whose settings are being refused, which has none yet.
        where = repr(self.base_url) if hasattr(self, "_transport") else "..."
        return f"AkapuluClient(base_url={where})"

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        await self.open()
        try:
            yield self
        finally:
            await self.aclose()

    async def open(self) -> None:
        """Get ready to send. Sends nothing; does nothing if it is open.

        Raises:
            ClosedError: It is open in another event loop.
        """
        await self._transport.open()

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open. Does nothing if it is closed."""
        await self._transport.aclose()

    def session(
        self,
        request: ConnectRequest,
        *,
        poll: PollPolicy | None = None,
        ready_timeout: float | None = READY_TIMEOUT,
        participant: Participant | None = None,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> ConversationSession:
        """Return a conversation; `async with` connects it.

        Args:
            request: The scenario, the avatar and their settings.
            poll: How often to poll; None as the client's `poll`.
            ready_timeout: Seconds from the connect until the bot must be ready, else the session ends
                (`EndReason.READY_TIMEOUT`); None for no limit.
            participant: A function that takes the connection and returns an async context manager: entering it joins
                the room, leaving it leaves, which ends the conversation. If it raises, the session ends with that
                cause. None: somebody else joins.
            signals: The meaning of the service's texts, and of its silence after an end.
        """
        check_request(request)
        settings = SessionSettings(
            poll=self.poll if poll is None else poll,
            ready_timeout=ready_timeout,
            participant=participant,
            signals=signals,
        )
        return ConversationSession(self.conversations, request, settings)

    def attach(
        self,
        session: str | UUID | SessionSnapshot | Mapping[str, Any],
        *,
        poll: PollPolicy | None = None,
        ready_timeout: float | None = READY_TIMEOUT,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> ConversationSession:
        """Return a conversation that was connected elsewhere: by another worker, or before a restart.

        It has the same states and events. Its room and token are not known here.

        Args:
            session: Its id; or a `session.snapshot()` or its `to_json()`: then the states that it had entered are
                entered at once, with their times.
            poll: How often to poll; None as the client's `poll`.
            ready_timeout: Seconds until the bot must be ready: from now if only the id is given, from the connect
                with a snapshot; None for no limit.
            signals: The meaning of the service's texts, and of its silence after an end.

        Raises:
            ConfigurationError: It is neither an id nor a snapshot.
        """
        settings = SessionSettings(
            poll=self.poll if poll is None else poll, ready_timeout=ready_timeout, signals=signals
        )
        return ConversationSession(self.conversations, as_start(session), settings)

    async def request(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, str | int | float | bool] | None = None
    ) -> Any:
        """Call any endpoint, and return its JSON; None for an answer without content (204).

        Args:
            method: `GET`, `POST`, ... A GET is retried as the retry policy says, all else only if it was certainly not
                sent, or refused before any work.
            path: Below the base URL, such as `/scenarios/`. The service requires a `/` at its end.
            json: The body; None for none. A GET has none.
            params: The query.

        Raises:
            ConfigurationError: Method, path, body or query cannot be sent.
            ClosedError, TransportError, InvalidResponseError, ApiError: As all calls.

        When cancelled, the request may have reached the service or not.
        """
        request: Request[Any] = Request(
            _check_method(method),
            check_path(path),
            body=None if json is None else encode_json(json),
            params=_params(params),
        )
        if request.safe and request.body is not None:
            raise ConfigurationError(f"json: a {request.method} must not have a body; use params for the query")
        return await self._transport.send(request)


def _read_base_url(base_url: str | None) -> str:
    """Return the base URL: the argument, else the environment's, else the default. An empty one counts as none."""
    if base_url is None or base_url == "":
        return os.environ.get("AKAPULU_BASE_URL") or DEFAULT_BASE_URL
    return base_url


def _read_api_key(api_key: str | Secret | None) -> Secret:
    """Return the key: the argument, else the environment's."""
    if api_key is None:
        api_key = os.environ.get("AKAPULU_API_KEY")
        if api_key is None:
            raise ConfigurationError("No API key: set AKAPULU_API_KEY, or pass api_key=, on a server only")
    # A key from a file often ends in a line break.
    text: Any = api_key.reveal() if isinstance(api_key, Secret) else api_key
    return Secret(text.strip() if isinstance(text, str) else text)


def _check_api_key(api_key: Secret, source: str) -> None:
    if not isinstance(api_key.reveal(), str):
        raise ConfigurationError(f"{source}: it must be a text or a Secret")
    if not api_key.reveal():
        raise ConfigurationError(f"{source}: it must not be empty")
    if not re.fullmatch("[!-~]+", api_key.reveal()):
        raise ConfigurationError(f"{source}: it must not contain white space, control or non-ASCII characters")


def _check_method(method: object) -> str:
    # CONNECT asks for a tunnel, and TRACE for the headers, API key included.
    if not isinstance(method, str) or not re.fullmatch("(?ai)(?!connect$|trace$)[a-z]+", method):
        raise ConfigurationError(f"method: it must be one such as 'GET', not {shown(method)}")
    return method.upper()


def _params(params: object) -> dict[str, str] | None:
    if params is None:
        return None
    if not isinstance(params, Mapping):
        raise ConfigurationError(f"params: it must be a mapping of names to values, not {type(params).__name__}")
    return {_query_text(name): _param(name, value) for name, value in params.items()}


def _param(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        try:
            return str(value)
        except ValueError:
            raise _unusable_param(name, f"{shown(value)} has too many digits") from None
    return _query_text(value, name)


def _query_text(text: object, value_of: str | None = None) -> str:
    if not isinstance(text, str):
        raise _unusable_param(value_of, f"{shown(text)} is neither a text nor a number")
    if any("\ud800" <= character <= "\udfff" for character in text):
        # yarl would drop it silently.
        raise _unusable_param(value_of, "the lone surrogate in it cannot be sent")
    return text


def _unusable_param(name: str | None, why: str) -> ConfigurationError:
    where = "params: a name" if name is None else f"params[{shown(name)}]"
    return ConfigurationError(f"{where}: {why}")
