"""The client: settings, and factories of sessions."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Self
from uuid import UUID

import aiohttp

from akapulu_async.checks import check_count, check_kind, check_text, is_number, refuse, refuse_kind, shown
from akapulu_async.errors import ApiError, ClosedError, ConfigurationError
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
from akapulu_async.session import MAX_DURATION, READY_TIMEOUT, ConversationSession, Participant, SessionSettings


class AkapuluClient:
    """The entry to Akapulu. Make one for the life of your program, and share it.

    ::

        async with AkapuluClient() as client:
            connection = await client.conversations.connect(request)

    or `await client.open()` and `await client.aclose()`, in the same task or in different ones. Between those it
    belongs to the running event loop and to its process. A forked child gets a `ClosedError` until it has closed the
    client, which leaves its parent's connections alone, and opened it again. The constructor needs no loop and does no
    I/O. Entering it again while it is entered raises a `ClosedError`, as with httpx: the inner block would close it for
    the outer one.

    The environment is read when the client opens: key, address, proxies and CAs. The constructor reads key and address,
    too, so that a missing or unusable one is reported early.

    Args:
        api_key: The account's key, for servers only. None: the environment's `AKAPULU_API_KEY`. A function without
            arguments is called for each request, so that a key can be rotated without a restart. It must return at
            once, since it is called in the event loop. Its errors are raised by the request, and nothing is sent; in a
            poll, they end the session.
        base_url: None: the environment's `AKAPULU_BASE_URL`, else `https://akapulu.com/api`. It must be https, unless
            it is loopback.
        http: An `aiohttp.ClientSession` to send with, which stays yours to close, with its proxies, CAs and traces.
            It may send a GET a second time by itself, and if an answer arrives twice, it may take the second for the
            next request's. None: an own one, which does neither (except for requests under way at that moment), polls
            at less cost, and takes a proxy from `HTTPS_PROXY` and CAs from `SSL_CERT_FILE` or `SSL_CERT_DIR`.
        timeouts: See `Timeouts`.
        retry: See `RetryPolicy`.
        poll: How often sessions poll, see `PollPolicy`.
        error_types: `ApiError` classes by exact `error_code`, such as `{"NO_SLOT": ConcurrencyLimitError}`. They win
            over what the library knows or assumes.
        pool_size: Maximum number of calls at once, each on a connection; further ones wait, within their own deadline.
            A poll takes milliseconds, so 64 are enough for thousands of conversations.
        recording_path: The path of a recording below the base URL, with `{session_id}` in it. The default is assumed.
        observers: See `Observer`.

    Raises:
        ConfigurationError: There is no API key, or a setting is unusable.
    """

    def __init__(
        self,
        api_key: str | Secret | Callable[[], str | Secret] | None = None,
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
        if api_key is not None and not callable(api_key):
            api_key = _as_secret(api_key)
        if http is not None:
            check_kind("http", http, aiohttp.ClientSession)
        check_kind("timeouts", timeouts, Timeouts)
        check_kind("retry", retry, RetryPolicy)
        check_kind("poll", poll, PollPolicy)
        check_count("pool_size", pool_size)
        self._transport = Transport(
            settings=partial(_read_settings, api_key, base_url),
            http=http,
            timeouts=timeouts,
            retry=retry,
            observers=Observers(observers),
            error_types=check_error_types({} if error_types is None else error_types),
            pool_size=pool_size,
        )
        self._entered = False
        self.poll = poll
        self.conversations = Conversations(self._transport, recording_path=check_recording_path(recording_path))

    @property
    def base_url(self) -> str:
        """The address of the service, without a trailing slash."""
        return self._transport.base_url

    def __repr__(self) -> str:
        # While a setting is refused there is no transport yet, and debuggers show the client.
        where = repr(self.base_url) if hasattr(self, "_transport") else "..."
        return f"AkapuluClient(base_url={where})"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ClosedError(
                "the client was entered already, and leaving the inner block would close it for both: share it, or use "
                "open() and aclose()"
            )
        await self.open()
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Read the environment, and get ready to send. Sends nothing; does nothing if it is open.

        Raises:
            ClosedError: It is open in another event loop.
            ConfigurationError: The environment has no API key any more, or its address or proxy is unusable.
        """
        await self._transport.open()

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open. Does nothing if it is closed."""
        self._entered = False
        await self._transport.aclose()

    def session(
        self,
        request: ConnectRequest,
        *,
        poll: PollPolicy | None = None,
        ready_timeout: float | None = READY_TIMEOUT,
        max_duration: float | None = MAX_DURATION,
        participant: Participant | None = None,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> ConversationSession:
        """Return a conversation, which `async with` connects.

        Args:
            request: The conversation to create.
            poll: How often to poll; None takes the client's `poll`.
            ready_timeout: Seconds from the connect within which the bot must get ready, else the session ends
                (`EndReason.READY_TIMEOUT`); None for no limit.
            max_duration: Seconds from the connect after which the session ends if the service never reports the end
                (`EndReason.UNKNOWN`), so that nothing polls without end; None for no limit. The conversation itself may
                continue, unless the session's participant leaves it.
            participant: Takes the connection and returns an async context manager: entered, it joined the room;
                exited, it left, which ends the conversation. If it raises, the session ends with that cause. None:
                somebody else joins.
            signals: Interprets the service's texts and its silence after an end, see `UpdateSignals`.
        """
        check_request(request)
        settings = SessionSettings(
            poll=self.poll if poll is None else poll,
            ready_timeout=ready_timeout,
            max_duration=max_duration,
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
        max_duration: float | None = MAX_DURATION,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> ConversationSession:
        """Return a conversation that was connected elsewhere: by another worker, or before a restart.

        It has the same states and events as there. Its room and token are unknown here. Entering it sends the first
        poll, and raises `NotFoundError` if only the id is given and there is no such conversation, or it is over (404,
        410). If it is over later, but was never seen ready, it ends with `EndReason.UNKNOWN`.

        Args:
            session: Its id; or a `session.snapshot()`, or the result of the snapshot's `to_json()`: then the states
                that were entered are entered at once, with their times.
            poll: See `session()`.
            ready_timeout: See `session()`. Counted from now if only the id is given, from the connect with a snapshot.
            max_duration: See `session()`. Counted like `ready_timeout`.
            signals: See `session()`.

        Raises:
            ConfigurationError: It is neither an id nor a snapshot.
        """
        settings = SessionSettings(
            poll=self.poll if poll is None else poll,
            ready_timeout=ready_timeout,
            max_duration=max_duration,
            signals=signals,
        )
        return ConversationSession(self.conversations, as_start(session), settings)

    async def request(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, str | int | float | bool] | None = None
    ) -> Any:
        """Send a request to any endpoint. Returns its JSON; None for an answer without content (204, or to a `HEAD`).

        If cancelled, the request may have reached the service.

        Args:
            method: `GET`, `POST`, ... A GET is retried as the retry policy says, any other only if it was surely not
                sent, or after a refusal that the service wrote; see `RetryPolicy`. Where an error's `outcome_unknown`
                is true, the request may have been carried out all the same.
            path: Below the base URL, such as `/scenarios/`. The service wants a `/` at its end.
            json: The body; None for none. A GET has none.
            params: The query.

        Raises:
            ConfigurationError: Method, path, body or query cannot be sent.
            TransportError, InvalidResponseError, ApiError: See `Conversations`.
        """
        request: Request[Any] = Request(
            _check_method(method),
            check_path(path),
            body=None if json is None else encode_json(json),
            params=_params(params),
        )
        if request.safe and request.body is not None:
            raise ConfigurationError(f"json must be None for a {request.method}; use params for the query")
        return await self._transport.send(request)


def _read_settings(
    api_key: Secret | Callable[[], str | Secret] | None, base_url: str | None
) -> tuple[str, Secret | Callable[[], Secret]]:
    """Return the base URL and the key: the arguments, else those of the environment as it is now."""
    source = "api_key"
    if api_key is None:
        source = "AKAPULU_API_KEY"
        if source not in os.environ:
            raise ConfigurationError(f"There is no API key: set {source}, or pass api_key=, on a server only")
        api_key = _as_secret(os.environ[source])
    if isinstance(api_key, Secret):
        _check_api_key(api_key, source)
    else:
        api_key = partial(_call_for_api_key, api_key)
    if base_url is None or base_url == "":
        base_url = os.environ.get("AKAPULU_BASE_URL") or DEFAULT_BASE_URL
    return check_base_url(base_url), api_key


def _call_for_api_key(function: Callable[[], str | Secret]) -> Secret:
    api_key = _as_secret(function())
    _check_api_key(api_key, "the result of api_key()")
    return api_key


def _as_secret(api_key: str | Secret) -> Secret:
    # A key read from a file tends to end in a line break.
    text: Any = api_key.reveal() if isinstance(api_key, Secret) else api_key
    return Secret(text.strip() if isinstance(text, str) else text)


def _check_api_key(api_key: Secret, source: str) -> None:
    if not isinstance(api_key.reveal(), str):
        raise ConfigurationError(f"{source} must be a text, not {type(api_key.reveal()).__name__}")
    if not re.fullmatch("[!-~]+", api_key.reveal()):
        raise ConfigurationError(f"{source} must be printable ASCII characters without spaces, and not empty")


def _check_method(method: object) -> str:
    # CONNECT asks a service for a tunnel, and TRACE for the headers, key and all.
    if not isinstance(method, str) or not re.fullmatch("(?ai)(?!connect$|trace$)[a-z]+", method):
        refuse("method", method, "one such as 'GET'")
    return method.upper()


def _params(params: object) -> dict[str, str] | None:
    if params is None:
        return None
    if not isinstance(params, Mapping):
        refuse_kind("params", params, "a mapping of names to values")
    return {
        check_text("params: a name", name): _param(f"params[{shown(name)}]", value) for name, value in params.items()
    }


def _param(where: str, value: object) -> str:
    if isinstance(value, bool) or is_number(value):
        return str(value).lower()  # a boolean as in JSON
    return check_text(where, value, "a text, a boolean or a number", allowed="\n\r\t")
