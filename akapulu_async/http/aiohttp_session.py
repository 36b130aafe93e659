"""How aiohttp is set up, and what its exceptions mean."""

import os
import platform
import re
import ssl
from collections.abc import Callable, Coroutine
from http.cookies import BaseCookie, SimpleCookie
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.http_exceptions import HttpProcessingError, TransferEncodingError
from yarl import URL

from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.urls import is_loopback
from akapulu_async.secret import excerpt
from akapulu_async.version import __version__

KEEPALIVE = 30.0
"""Seconds that an idle connection is kept: longer than the pause between two polls, shorter than what servers
commonly keep (60 s and more), so that seldom one is used that the other side is just closing."""

DNS_TTL = 60
"""Seconds that an address is remembered."""


USER_AGENT = f"akapulu_async/{__version__} Python/{platform.python_version()}"
"""What this library calls itself."""


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and does not make a new empty jar to say so for each request."""

    def __init__(self) -> None:
        super().__init__()
        self._none: BaseCookie[str] = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> "BaseCookie[str]":  # noqa: ARG002 - aiohttp's
        """Return none."""
        return self._none


class CleanConnector(aiohttp.TCPConnector):
    """Uses no kept connection again on which something came that nobody asked for.

    A service, or a proxy, that sends an answer twice would else have its second read as the answer to whatever is asked
    next, and so on for as long as the connection is kept.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Return a connection, new or kept."""
        connection = await super().connect(req, traces, timeout)
        tries = 1
        while connection.protocol and connection.protocol.should_close and tries <= self.limit:  # as many may be kept
            connection.close()
            connection = await super().connect(req, traces, timeout)
            tries += 1
        return connection


def make_http(base_url: str, connections: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
    """Return a session for one service, and one for whom it redirects to: on the same bounded pool.

    Both are without cookies. The first is behind the environment's proxy if there is one for the service, which is
    looked up once, since aiohttp's `trust_env` starts a thread a request for it; with the second, each request has to
    say its own. A custom CA is found as OpenSSL finds it, by `SSL_CERT_FILE`.

    Args:
        base_url: Of the service.
        connections: How many there may be.
    """
    connector = CleanConnector(limit=connections, keepalive_timeout=KEEPALIVE, ttl_dns_cache=DNS_TTL)
    proxy, cookies = environment_proxy(base_url), NoCookies()
    service = aiohttp.ClientSession(connector=connector, cookie_jar=cookies, proxy=proxy, middlewares=(sent_once,))
    foreign = aiohttp.ClientSession(
        connector=connector, connector_owner=False, cookie_jar=cookies, middlewares=(sent_once,)
    )
    return service, foreign


def let_go(service: aiohttp.ClientSession, foreign: aiohttp.ClientSession) -> None:
    """Close both at once, as far as their loop lets them, so that they do not complain of having been dropped."""
    connector = service.connector
    foreign.detach()
    service.detach()
    if connector is not None:
        closing = connector.close()
        if isinstance(closing, Coroutine):
            closing.send(None)  # its first step closes; the rest would wait
            closing.close()


def environment_proxy(url: str) -> str | None:
    """Return the proxy for a URL, as `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say; None for none.

    Loopback is never behind a proxy.

    Raises:
        ConfigurationError: It is not an HTTP proxy, or not the URL of one.
    """
    parts = urlsplit(url)
    if is_loopback(parts.hostname) or not getproxies_environment() or proxy_bypass(parts.netloc):
        return None
    proxy, problem = _read_proxy(parts.scheme)
    if problem:
        raise ConfigurationError(f"{parts.scheme.upper()}_PROXY: {problem}")
    return proxy


def _read_proxy(scheme: str) -> tuple[str | None, str]:
    """Return a scheme's proxy, and what is wrong with it: without its URL, in which a password may stand."""
    proxies = getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None, ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.partition("://")[0].lower() not in {"http", "https"}:
        return None, "only HTTP proxies are supported; pass http= for a session that does more"
    try:
        beyond = str(URL(proxy).relative())  # which there is only if there is a host
    except ValueError:
        beyond = "@"
    if "@" in beyond:  # a password with a slash can look like a port and a path
        return None, "it is not a URL such as http://host:3128; in a password, write special characters as %XX"
    return proxy, ""


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """A connection broke; unlike aiohttp's own exceptions for that, it does not make aiohttp send a GET again."""


async def sent_once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: how often it is tried is the retry policy's to say."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise BrokenConnectionError(str(error)) from error


async def without_credentials(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Strip what a borrowed session adds to each request that only its own host may see."""
    for name in ("Authorization", "Cookie"):
        request.headers.popall(name, None)
    return await sent_once(request, handler)


def never_sent(error: Exception) -> bool:
    """Whether an exception of aiohttp's proves that the request did not leave: no connection was made."""
    return isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError
    )


def failure_reason(error: Exception) -> str:
    """Return in words what an exception of aiohttp's means."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason(error)
    return f"{type(error).__name__}: {excerpt(str(error))}"


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    return (
        f"the certificate of {error.host} was not accepted: {_verify_message(error)}; "
        "for a CA of your own set SSL_CERT_FILE, or pass http="
    )


def _system_text(error: OSError) -> str:
    # asyncio puts a sentence of its own in the place of the system's.
    return os.strerror(error.errno) if error.errno else str(error.strerror)


def _without_quote(message: str) -> str:
    """Leave out what aiohttp quotes of the answer: it may be any part of it, a token's too."""
    # Below a long quote is a line of as many blanks, over which the search would take its square.
    return excerpt(re.split(r":?\s+(?:bytearray\()?b?['\"]", message[:200])[0])


def _not_http(error: aiohttp.ClientResponseError | HttpProcessingError) -> str:
    complaint, seen = _without_quote(error.message), error.__cause__
    broken_chunk = isinstance(error, TransferEncodingError)
    while seen is not None:
        broken_chunk |= isinstance(seen, TransferEncodingError)
        seen = seen.__cause__
    # aiohttp's parser in Python says nothing of a broken chunk but what stands in it.
    return f"what came is not HTTP: {'a chunk of it is broken' if broken_chunk else complaint}"


# The first that fits counts: subclasses stand before their bases.
_REASONS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (aiohttp.ClientConnectorDNSError, lambda error: f"the host name {error.host} could not be resolved"),
    (aiohttp.ClientConnectorCertificateError, _certificate_reason),
    (aiohttp.ClientConnectorSSLError, lambda error: f"TLS with {error.host} failed: {error.strerror}"),
    (
        aiohttp.ClientProxyConnectionError,
        lambda error: f"could not connect to the proxy at {error.host}:{error.port} ({_system_text(error)})",
    ),
    (aiohttp.ClientHttpProxyError, lambda error: f"the proxy refused with {error.status}"),
    (
        aiohttp.ClientConnectorError,
        lambda error: f"could not connect to {error.host}:{error.port} ({_system_text(error)})",
    ),
    (aiohttp.ClientPayloadError, lambda _: "the connection was closed in the middle of the answer"),
    (aiohttp.ClientResponseError, _not_http),
    (HttpProcessingError, _not_http),
    (aiohttp.InvalidURL, lambda _: "a URL is not valid: the request's, or that of the session's proxy"),
    (aiohttp.ClientConnectionError, lambda _: "the connection was closed before the answer"),
    (OSError, lambda error: f"the connection broke ({error.strerror or type(error).__name__})"),
)


def _verify_message(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)


def system_cause(error: BaseException) -> OSError | None:
    """Return the operating system's own error below an exception of aiohttp's, without frames; None if there is none.

    aiohttp's exceptions, and the variables of its frames, hold the request's headers, and with them the API key.
    So they are not chained to ours.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and not isinstance(seen, aiohttp.ClientError):
            return _without_frames(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def _without_frames(error: OSError) -> OSError:
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
