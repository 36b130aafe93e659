"""How aiohttp is set up, and what its exceptions mean.

The library leans on these parts of aiohttp that are not documented, or not to be relied on. Each is guarded: if it
changes, calls take longer or are retried less; none is sent twice, and none fails for it.

=================================================  ===============================================================
`http_exceptions` (here)                           looked up by name: without its parser in C, aiohttp raises them raw
`TCPConnector.connect()`, `protocol.should_close`  without them, a kept connection is used although something came on it
(`CleanConnector`)                                 unasked; the check of an answer's id then finds the wrong answer
attributes of a `ClientRequest` and a protocol     a GET whose kept connection was closed is not sent again
(`CleanConnector`, `sent_once()`)
`_parser` and its `_tail` and `_lines`             with the parser in Python, a body that is too long is accepted
(`complaint()`)
`TCPConnector._create_connection()`                an address to which no connection can be made is kept for 10 s
(`CleanConnector`)
`connector._closed` (`CleanConnector.disown()`)    the end of a forked child may disturb its parent's connections
the first step of `connector.close()`              a client that was never closed may leave sockets to the system
(`close_at_once()`)
`server_hostname` as a key of the pool             POSTs may go over kept connections; one that breaks is not retried
(`Transport`)
`writer.protocol.force_close()` (`Body`)           the same
`Payload.write()`, `Payload.decode()` (`Body`)     documented as abstract; no other way leads to the body's bytes
a `ClientRequest` and its handler, used again      tried when a client is opened, see `reused_request`
=================================================  ===============================================================
"""

import os
import platform
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from akapulu_async.errors import ConfigurationError
from akapulu_async.http.resolver import Resolver
from akapulu_async.sansio.proxies import find_proxy
from akapulu_async.secret import excerpt
from akapulu_async.version import __version__

KEEPALIVE = 30.0
"""Seconds that an idle connection is kept: longer than the pause between two polls, shorter than servers commonly keep
one (60 s and more), so that the other side is seldom just closing it."""

USER_AGENT = f"akapulu_async/{__version__} Python/{platform.python_version()}"

_undocumented = getattr(aiohttp, "http_exceptions", None)
HttpProcessingError: type[Exception] = getattr(_undocumented, "HttpProcessingError", aiohttp.ClientResponseError)
TransferEncodingError: type[Exception] = getattr(_undocumented, "TransferEncodingError", aiohttp.ClientPayloadError)

_parsers = getattr(aiohttp, "http_parser", None)
PARSER_IN_PYTHON = getattr(_parsers, "HttpResponseParser", None) is getattr(_parsers, "HttpResponseParserPy", None)
"""Whether aiohttp reads answers without its parser in C, which refuses more of them (`AIOHTTP_NO_EXTENSIONS=1`)."""

READ_ERRORS = (aiohttp.ClientError, OSError, HttpProcessingError)
"""The exceptions of reading an answer with aiohttp; the last only where aiohttp has no parser in C."""

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""The exceptions that say that no connection was made; see `was_never_sent()`."""


class CleanConnector(aiohttp.TCPConnector):
    """Never reuses a kept connection on which something came unasked, nor any for a request that must have a new one.

    A service, or a proxy, that sends an answer twice would else have the second read as the answer to the next request,
    and so on for as long as the connection is kept.

    Forgets addresses when a connection cannot be made: the service may have moved.
    """

    def __init__(self, limit: int, tls: ssl.SSLContext) -> None:
        self._addresses = Resolver()
        super().__init__(
            limit=limit, ssl=tls, keepalive_timeout=KEEPALIVE, resolver=self._addresses, use_dns_cache=False
        )
        _CONNECTORS.add(self)

    async def connect(self, req: Any, *args: Any, **options: Any) -> Any:
        """Return a connection, new or kept, and note on the request which of the two."""
        connection = await super().connect(req, *args, **options)
        for _ in range(self.limit):  # as many may be kept
            unwanted = getattr(req, "wants_new", False) and getattr(connection.protocol, "was_used", False)
            if not (unwanted or getattr(connection.protocol, "should_close", False)):
                break
            connection.close()
            connection = await super().connect(req, *args, **options)
        protocol: Any = connection.protocol
        try:  # noqa: SIM105 - each poll comes here, and suppress() takes longer
            req.over_kept, protocol.was_used = getattr(protocol, "was_used", False), True
        except AttributeError:  # aiohttp changed, so that stale connections cost polls
            pass
        return connection

    async def _create_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return await super()._create_connection(*args, **options)
        except BaseException:  # also a cancel: that is how time limits end it
            self._addresses.forget()
            raise

    def disown(self) -> None:
        """Count as closed, without touching the connections: in a forked child they are the parent's.

        To close one there would say goodbye on it, and stop the parent's loop from watching it.
        """
        self._closed = True

    async def close(self, **options: Any) -> None:
        """Close all connections, and give up all that are being made."""
        await self._addresses.close()
        await super().close(**options)


_CONNECTORS: WeakSet[CleanConnector] = WeakSet()


def _disown_all() -> None:
    for connector in list(_CONNECTORS):
        connector.disown()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown_all)


def trusted_authorities() -> ssl.SSLContext:
    """Return a TLS context that trusts the CAs of `SSL_CERT_FILE` and `SSL_CERT_DIR` as they are now, or the system's.

    aiohttp's own is made when aiohttp is imported, which is before a program has read its `.env` file. Reads files.
    """
    paths = ssl.get_default_verify_paths()
    changed = (Path(path).stat().st_mtime_ns for path in (paths.cafile, paths.capath) if path)
    # The variables, too: the paths leave out a list of folders, and those that do not exist.
    return _authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), *changed)


@lru_cache(maxsize=4)  # to read the system's takes 20 ms and more
def _authorities(*_: str | int | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context


def make_http(connections: int, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """Return a session with at most this number of connections, without cookies and without a proxy of its own."""
    return aiohttp.ClientSession(
        connector=CleanConnector(connections, tls), cookie_jar=aiohttp.DummyCookieJar(), middlewares=(sent_once,)
    )


def close_at_once(session: aiohttp.ClientSession) -> None:
    """Close a session without waiting, so that it does not complain about having been dropped."""
    connector = session.connector
    session.detach()
    if connector is not None:
        closing = connector.close().__await__()
        with suppress(StopIteration):
            next(closing)  # its first step closes; the rest would wait
            closing.close()


def environment_proxy(url: str) -> str | None:
    """Return the proxy for a URL by the environment, see `find_proxy()`; None for none.

    aiohttp's `trust_env` would start a thread for this at each request.

    Raises:
        ConfigurationError: The variable is not the URL of an HTTP proxy.
    """
    proxy, problem = _read_proxy(url)
    if problem:
        raise ConfigurationError(problem)
    return proxy


def _read_proxy(url: str) -> tuple[str | None, str]:
    """Return a URL's proxy, and the problem with it: without the proxy's URL, which may contain a password."""
    found = find_proxy(os.environ, url)
    if found is None:
        return None, ""
    variable, proxy = found
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.partition("://")[0].lower() not in {"http", "https"}:
        return None, f"{variable}: only HTTP proxies are supported; for another, pass an aiohttp session as http="
    try:
        beyond = str(URL(proxy).relative())  # raises if there is no host
    except ValueError:
        beyond = "@"
    if "@" in beyond:  # a password with a slash can look like a port and a path
        wanted = "a URL such as http://host:3128; in a password, write special characters as %XX"
        return None, f"{variable}: it is not {wanted}"
    return proxy, ""


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """A connection broke; unlike aiohttp's own exceptions for that, it does not make aiohttp send a GET again."""


async def sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: the retry policy says how often it is tried.

    Except a GET whose kept connection was closed before the answer, as servers do that restart: it is sent once more,
    at once and over a new connection.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        again: Any = request
        stale = request.method == "GET" and getattr(again, "over_kept", False) and not hasattr(again, "wants_new")
        if not stale:
            raise BrokenConnectionError(str(error)) from error
    again.wants_new = True
    try:
        return await sent_once(request, handler)
    except NEVER_SENT as error:
        error.sent_before = True  # type: ignore[union-attr] # see `was_never_sent()`
        raise
    finally:
        del again.wants_new


_FOR_ANY_HOST = frozenset(
    ["accept", "accept-encoding", "connection", "host", "if-range", "range", "traceparent", "tracestate", "user-agent"]
)
"""Headers that may go to a host to which a recording is redirected; an observer gives those of its trace."""


async def without_credentials(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Strip the headers that a borrowed session adds to each request: any of them may be a credential."""
    for name in set(request.headers):
        if name.lower() not in _FOR_ANY_HOST:
            request.headers.popall(name, None)
    return await sent_once(request, handler)


def failure_reason(error: Exception) -> str:
    """Return the meaning of an exception of aiohttp's in words."""
    return next(reason(error) for kind, reason in _REASONS if isinstance(error, kind))


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    problem = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
    remedy = "for a CA of your own set SSL_CERT_FILE, or pass http="
    return f"the certificate of {error.host} was not accepted: {problem}; {remedy}"


def _problem(error: aiohttp.ClientConnectorError) -> str:
    # asyncio replaces the system's sentence with its own, and gives some errors no more than a text.
    problem = os.strerror(error.errno) if error.errno else error.strerror or excerpt(str(error.os_error))
    return problem or type(error.os_error).__name__


def _peer(error: aiohttp.ClientConnectorError) -> str:
    return f"{error.host}:{error.port} ({_problem(error)})"


def _proxy_reason(error: aiohttp.ClientHttpProxyError) -> str:
    advice = ""
    if error.status in {401, 407}:
        advice = ": check the user name and the password in its URL (HTTPS_PROXY, ALL_PROXY, or the session's proxy)"
    elif error.status == 403:  # noqa: PLR2004 - Forbidden
        advice = ": it must allow CONNECT to this host, or NO_PROXY must list the host"
    return f"the proxy refused with {error.status}{advice}"


def was_never_sent(error: Exception) -> bool:
    """Return True if an exception of aiohttp's proves that the request never left."""
    return isinstance(error, NEVER_SENT) and not hasattr(error, "sent_before")


def is_refused_by_proxy(error: Exception) -> bool:
    """Return True if a proxy rejects the credentials or the host. Trying again could lock an account."""
    return isinstance(error, aiohttp.ClientHttpProxyError) and error.status in {401, 403, 407}


NOT_HTTP = "the answer is not HTTP"
AMBIGUOUS_HEADERS = f"{NOT_HTTP}: a header of it is broken or ambiguous"
NO_STATUS_LINE = f"{NOT_HTTP}: no status line where one must be, at its start or after its end"
_BROKEN_CHUNK = f"{NOT_HTTP}: a chunk of it is broken"

# Complaints of aiohttp's two parsers, in words that are the same for both.
_COMPLAINTS = {
    r"status line|Data after": NO_STATUS_LINE,
    r"Got more than": f"{NOT_HTTP}: a line of its head is longer than 64 KiB",
    r"Too many": f"{NOT_HTTP}: its head has too many lines",
    r"chunk": _BROKEN_CHUNK,
    r"header|Content-Length|Transfer-Encoding": AMBIGUOUS_HEADERS,
}


def _not_http(error: Any) -> str:
    seen = error
    while seen is not None:
        if isinstance(seen, TransferEncodingError):  # aiohttp's parser in Python says nothing but the chunk's content
            return _BROKEN_CHUNK
        seen = seen.__cause__
    # Without aiohttp's quote of the answer, in which anything may stand. Below a long quote is a line of as many
    # blanks, for which the search would take quadratic time.
    said = re.split(r":?\s+(?:bytearray\()?b?['\"]", error.message[:200])[0]
    return next((reason for pattern, reason in _COMPLAINTS.items() if re.search(pattern, said)), NOT_HTTP)


# The first that fits counts: subclasses come before their bases.
_REASONS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (aiohttp.ClientConnectorDNSError, lambda error: f"the host name {error.host} could not be resolved"),
    (aiohttp.ClientConnectorCertificateError, _certificate_reason),
    (
        aiohttp.ClientConnectorSSLError,
        lambda error: f"TLS with {error.host} failed: {error.strerror or _problem(error)}",
    ),
    (aiohttp.ClientProxyConnectionError, lambda error: f"could not connect to the proxy at {_peer(error)}"),
    (aiohttp.ClientHttpProxyError, _proxy_reason),
    (aiohttp.ClientConnectorError, lambda error: f"could not connect to {_peer(error)}"),
    (aiohttp.ClientPayloadError, lambda _: "the connection was closed in the middle of the answer"),
    (aiohttp.ClientResponseError, _not_http),
    (HttpProcessingError, _not_http),
    (aiohttp.InvalidURL, lambda _: "a URL is not valid: the request's, or that of the session's proxy"),
    (aiohttp.ClientConnectionError, lambda _: "the connection was closed before the answer"),
    (OSError, lambda error: f"the connection broke ({error.strerror or type(error).__name__})"),
    (Exception, lambda error: f"{type(error).__name__}: {excerpt(str(error))}"),
)


def complaint(response: aiohttp.ClientResponse) -> str | None:
    """Return why an answer is refused that only aiohttp's parser in Python accepts; None if it is not.

    Closes the connection if something other than an answer follows on it: aiohttp may have kept it already.
    """
    protocol = getattr(response, "_protocol", None)
    parser = getattr(protocol, "_parser", None)
    switches, problem = response.status == 101, None  # noqa: PLR2004 - to another protocol
    if len(response.headers.getall("Content-Length", ())) > 1:
        problem = AMBIGUOUS_HEADERS
    elif not switches and response.content.is_eof():
        # Bytes that came in one piece with the answer, after its end.
        surplus = getattr(parser, "_tail", b"") or getattr(parser, "_lines", ())
        problem = NO_STATUS_LINE if surplus else None
    if protocol is not None and (switches or problem is not None):
        protocol.close()
    return problem


def system_cause(error: BaseException) -> OSError | None:
    """Return the operating system's own error below an exception of aiohttp's, without frames; None if there is none.

    aiohttp's exceptions, and the variables of its frames, hold the request's headers with the API key. So they are not
    chained to ours.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and not isinstance(seen, aiohttp.ClientError):
            seen.__cause__ = seen.__context__ = None
            return seen.with_traceback(None)
        seen = seen.__cause__ or seen.__context__
    return None
