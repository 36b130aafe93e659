"""The transport over real sockets: what the caller gets, how often the service saw it, and that nothing is left."""

import asyncio
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
import trustme
from yarl import URL

from akapulu_async import (
    AkapuluClient,
    ApiError,
    ClosedError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    MinutesLimitError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    Timeouts,
    TransportError,
)
from akapulu_async.simulator import Fault, Simulator
from tests.support.calls import GOOD, JSON, Call, Marks, both_calls, both_loops, error_of, server_tls, timed_out
from tests.support.managed import soon
from tests.support.misbehaving import (
    API_KEY,
    CONNECTION,
    PATIENCE,
    QUICK,
    REQUEST,
    SESSION,
    UPDATE,
    UPDATES,
    Behaviour,
    Peer,
    Seen,
    Server,
    answer,
    client_of,
    close,
    connect,
    gated,
    hang,
    http,
    leave,
    poll,
    raw,
    reset,
    tunnel_to,
)
from tests.support.storing import read, redirect, store

# Refusals


ONCE, THRICE = 1, 3
UNPROVEN = (408, 499, 500, 501, 502, 504, 520, 521, 522, 523, 524, 525, 526, 527)


async def post(client: AkapuluClient) -> object:
    """Send a POST other than a connect."""
    return await client.request("POST", "/things/", json={})


@pytest.mark.parametrize(
    ("status", "polls", "connects"),
    [
        *((status, ONCE, ONCE) for status in (400, 401, 403, 404, 409, 410, 501)),
        *((status, THRICE, ONCE) for status in (408, 500, 502, 504)),
        *((status, ONCE, ONCE) for status in (499, 520, 527)),
        *((status, THRICE, THRICE) for status in (429, 503)),
    ],
)
@pytest.mark.parametrize("retry_after", [None, "0", "0.01", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
async def test_refusal_is_tried_again_only_where_that_is_safe(
    status: int, polls: int, connects: int, retry_after: str | None
) -> None:
    """Each status is tried as often as promised: a GET when the service is unwell, a POST when it did nothing."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    async with Server(answer({"error": "No."}, status, headers)) as server, client_of(server) as client:
        for call, times in ((poll, polls), (post, connects)):
            before = len(server.requests)
            error = await error_of(call(client))
            assert isinstance(error, ApiError)
            assert (error.status, error.message, error.attempts) == (status, "No.", times)
            assert error.retry_after == {None: None, "0": 0, "0.01": 0.01, "soon": None}.get(retry_after, 0)
            assert len(server.requests) - before == times
            unknown = call is post and status in UNPROVEN
            assert error.outcome_unknown is unknown
            assert ("may have been carried out" in str(error)) is unknown


PAGE = b"<html><h1>Backend fetch failed</h1></html>"


@pytest.mark.parametrize("status", UNPROVEN)
@pytest.mark.parametrize("body", [b'{"error": "No.", "error_code": "E"}', PAGE, b""], ids=["JSON", "page", "empty"])
async def test_answer_that_proves_nothing_leaves_a_connect_in_doubt(status: int, body: bytes) -> None:
    """No 5xx, 408 or 499 proves that a connect made nothing: it is sent once, and the error has all that was said."""
    async with Server(answer(status=status, body=body)) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert isinstance(error, ConnectOutcomeUnknownError)
    assert (error.status, error.error_code) == (status, "E" if body.startswith(b"{") else None)
    assert error.message == ("No." if body.startswith(b"{") else body.decode())
    assert error.outcome_unknown
    assert "may exist and hold a slot" in str(error)
    assert f"{status}" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("retry_after", [{}, {"Retry-After": "0"}], ids=["plain", "Retry-After"])
async def test_503_of_a_gateway_leaves_a_connect_in_doubt(retry_after: dict[str, str]) -> None:
    """A gateway's page with 503, with which Varnish answers for everything behind it, does not repeat a connect."""
    page = answer(status=503, headers={"Content-Type": "text/html", **retry_after}, body=PAGE)
    async with Server(page, answer(CONNECTION)) as server, client_of(server) as client:
        error = await error_of(connect(client))
        assert await client.request("POST", "/things/", json={}) == CONNECTION
    assert isinstance(error, ConnectOutcomeUnknownError)
    assert (error.status, error.message) == (503, PAGE.decode())
    assert [seen.target for seen in server.requests] == ["/api/conversations/connect/", "/api/things/"]


class Stubborn(RetryPolicy):
    """Tries again whatever happened, as a user's policy may."""

    def pause(self, *_: Any, attempt: int, **__: Any) -> float | None:
        return 0.0 if attempt < self.attempts else None


@pytest.mark.parametrize("first", [reset, answer({}, 502)], ids=["reset", "502"])
@pytest.mark.parametrize(
    "second", [answer({"error": "No."}, 401), answer({"error": "No."}, 503), None], ids=["401", "503", "not listening"]
)
async def test_doubt_stays_for_the_whole_call(first: Behaviour, second: Behaviour | None) -> None:
    """Once a connect may have arrived, no later attempt makes its outcome known, not even one that is surely unsent."""

    async def begin(peer: Peer, seen: Seen) -> None:
        if second is None:
            server._server.close()
        await first(peer, seen)

    async with Server(begin, second or hang) as server, client_of(server, retry=Stubborn(attempts=2)) as client:
        error = await error_of(connect(client))
    assert isinstance(error, ConnectOutcomeUnknownError)
    assert getattr(error.__cause__, "attempts", None) == 2


async def test_retry_after_is_waited_for() -> None:
    """The next attempt does not come before the service wants it."""
    async with Server(answer({}, 429, {"Retry-After": "0.2"}), answer(UPDATE)) as server, client_of(server) as client:
        began = time.monotonic()
        await poll(client)
    assert time.monotonic() - began >= 0.2
    assert len(server.requests) == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
@both_calls
async def test_retry_after_beyond_the_deadline_raises_at_once(form: str, call: Call) -> None:
    """A pause that would end after the deadline is not begun: the refusal is raised at once and says how long."""
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    retry_after = "3600" if form == "seconds" else in_an_hour
    refusal, timeouts = answer({"error": "Busy."}, 503, {"Retry-After": retry_after}), Timeouts(total=3000)
    async with Server(refusal) as server, client_of(server, timeouts=timeouts) as client:
        error = await soon(error_of(call(client)))  # which would fail at the deadline
    assert isinstance(error, ServerError)
    assert error.retry_after == pytest.approx(3600, abs=120)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "CONCURRENCY_LIMIT_REACHED", ConcurrencyLimitError),
        (503, "MINUTES_EXHAUSTED", MinutesLimitError),
        (503, "NO_SLOT", ConcurrencyLimitError),
    ],
)
@both_calls
async def test_account_limits_are_not_tried_again(status: int, code: str, kind: type[ApiError], call: Call) -> None:
    """A limit of the account is raised at once, also where only `error_types` knows its code."""
    async with (
        Server(answer({"error": "Full.", "error_code": code}, status)) as server,
        client_of(server, error_types={"NO_SLOT": ConcurrencyLimitError}) as client,
    ):
        error = await error_of(call(client))
    assert type(error) is kind
    assert error.error_code == code
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@both_calls
async def test_redirect_is_never_followed_with_the_key(status: int, call: Call) -> None:
    """A redirected call raises, names the likely cause, and goes nowhere else."""
    async with (
        Server(answer(UPDATE)) as elsewhere,
        Server(answer({}, status, {"Location": elsewhere.base_url})) as server,
        client_of(server) as client,
    ):
        error = await error_of(call(client))
    assert isinstance(error, ApiError)
    assert error.status == status
    assert "Redirects are not followed with the API key" in str(error)
    assert "path ends in '/'" in str(error)
    assert (len(server.requests), elsewhere.connections) == (1, 0)


# The pool


@both_calls
@both_loops
async def test_call_without_a_connection_never_reached_the_service(call: Call) -> None:
    """A call that found all connections taken until its deadline says that, and that it was not sent."""
    timeouts = Timeouts(total=0.2)
    async with Server(hang) as server, client_of(server, pool_size=1, timeouts=timeouts) as client:
        await client._transport._places.acquire()
        error = await timed_out(call(client), 0.2)
        client._transport._places.release()
    assert type(error) is RequestTimeoutError
    assert error.reason == "0.2 s passed while waiting for one of the 1 connections to get free"
    assert not error.sent
    assert "It never reached the service." in str(error)
    assert server.connections == 0


async def test_connect_that_was_refused_and_then_waits_is_not_sent() -> None:
    """A connect refused with 429 did nothing, so a deadline in its second wait for a connection leaves no doubt."""
    gate = asyncio.Event()
    script = (gated(b"", gate, http(429, {"Retry-After": "0.05"})), hang)
    async with Server(*script) as server, client_of(server, pool_size=1, timeouts=Timeouts(total=0.4)) as client:
        connecting = asyncio.create_task(error_of(connect(client)))
        await server.seen(1)
        taking = asyncio.create_task(client._transport._places.acquire())
        await asyncio.sleep(0)
        gate.set()
        await taking
        error = await connecting
        client._transport._places.release()
    assert type(error) is RequestTimeoutError
    assert not error.sent
    assert len(server.requests) == 1


@both_loops
async def test_pool_is_bounded_and_shared() -> None:
    """Fifty calls at once over four connections all succeed, and the server never sees a fifth."""
    async with Server(answer(UPDATE)) as server, client_of(server, pool_size=4) as client:
        await asyncio.gather(*(poll(client) for _ in range(50)))
    assert len(server.requests) == 50
    assert server.most_connections <= 4
    assert server.connections <= 4


async def test_polls_share_a_kept_connection() -> None:
    """Polls one after the other need one connection."""
    async with Server(answer(UPDATE)) as server, client_of(server) as client:
        for _ in range(5):
            await poll(client)
    assert (len(server.requests), server.connections) == (5, 1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A CA that nobody knows."""
    return trustme.CA()


@asynccontextmanager
async def trusting(authority: trustme.CA) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session that knows the CA."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def alternate(server: Server, client: AkapuluClient) -> None:
    """Poll and connect by turns, and see which connections that takes."""
    for _ in range(3):
        await client.request("GET", "/things/")
        await client.request("POST", "/things/", json={})
    connections = [(seen.method, seen.connection) for seen in server.requests]
    posts = [connection for method, connection in connections if method == "POST"]
    assert len(set(posts)) == 3, connections
    assert len({connection for method, connection in connections if method == "GET"} - set(posts)) == 1, connections


@both_loops
async def test_post_never_uses_a_kept_connection() -> None:
    """Each POST has a connection of its own, even if the server keeps all of them open."""
    async with Server(answer({})) as server, client_of(server) as client:
        await alternate(server, client)
    assert [seen.headers["connection"] for seen in server.requests if seen.method == "POST"] == ["close"] * 3


async def test_post_never_uses_a_kept_connection_over_tls(authority: trustme.CA) -> None:
    """The same over TLS, with a borrowed session."""
    async with (
        Server(answer({}), tls=server_tls(authority)) as server,
        trusting(authority) as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session) as client,
    ):
        await alternate(server, client)


@both_loops
async def test_stale_connection_does_not_fail_a_poll() -> None:
    """A kept connection that the server closed meanwhile costs an attempt at the most."""
    async with Server(leave, leave, leave, answer(UPDATE)) as server, client_of(server, retry=RetryPolicy()) as client:
        for _ in range(4):
            await poll(client)
    assert len(server.requests) == 4


NO_RETRY = RetryPolicy(attempts=1)


@both_loops
@pytest.mark.parametrize("end", [close, reset])
async def test_get_whose_kept_connection_is_closed_is_sent_again(end: Behaviour) -> None:
    """A GET whose kept connection is closed before the answer is sent once more at once, over a new connection."""
    script = [answer(UPDATE), end, answer(UPDATE), answer(UPDATE)]
    async with Server(*script) as server, client_of(server, retry=NO_RETRY) as client:
        for _ in range(3):
            await poll(client)
    assert [seen.connection for seen in server.requests] == [1, 1, 2, 2]
    assert len({seen.target for seen in server.requests}) == 1


async def test_get_that_is_sent_again_uses_no_other_kept_connection() -> None:
    """The other kept connections may be closing, too: a new one is made."""
    gate = asyncio.Event()
    together = gated(b"", gate, http(200, JSON, GOOD))
    script = [together, together, close, answer(UPDATE)]
    async with Server(*script) as server, client_of(server, retry=NO_RETRY) as client:
        polls = asyncio.gather(poll(client), poll(client))
        await server.seen(2)
        gate.set()
        await polls
        await poll(client)
    assert server.requests[-1].connection == 3


@pytest.mark.parametrize(
    ("script", "call", "requests"),
    [
        ((answer(UPDATE), close), poll, 3),
        ((close,), poll, 1),
        ((answer(UPDATE), raw(http(200, length=5))), poll, 2),
        ((answer(UPDATE), close), connect, 2),
    ],
    ids=["twice in a row", "a new connection", "in the answer", "a POST"],
)
async def test_what_is_not_sent_again(script: tuple[Behaviour, ...], call: Call, requests: int) -> None:
    """Only a GET over a kept connection that was closed before the answer is sent again, and only once."""
    async with Server(*script) as server, client_of(server, retry=NO_RETRY) as client:
        if len(script) > 1:
            await poll(client)
        assert isinstance(await error_of(call(client)), TransportError | ConnectOutcomeUnknownError)
    assert len(server.requests) == requests


@both_loops
async def test_answer_that_comes_twice_is_not_taken_for_the_next() -> None:
    """When answers come again later, their connections are not used again, and each call gets what it asked for."""
    peers: dict[int, Peer] = {}

    async def tell(peer: Peer, seen: Seen) -> None:
        peers[seen.connection] = peer
        await answer(seen.target)(peer, seen)

    async with Server(tell) as server, client_of(server) as client:
        await asyncio.gather(*(client.request("GET", path) for path in ("/a/", "/b/")))
        for peer in peers.values():
            await answer("late")(peer, server.requests[0])
        for _ in range(3):  # of the loop, in which what was sent arrives
            await asyncio.sleep(0)
        for path in ("/c/", "/d/", "/e/"):
            assert await client.request("GET", path) == f"/api{path}"
    assert server.connections == 3


# TLS


async def test_unknown_authority_is_told_with_the_way_out(authority: trustme.CA) -> None:
    """A certificate of an unknown CA is refused, nothing is sent, and the error says what to do."""
    async with Server(answer(UPDATE), tls=server_tls(authority)) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert type(error) is TransportError
    assert "the certificate of localhost was not accepted: " in error.reason
    assert "for a CA of your own set SSL_CERT_FILE, or pass http=" in error.reason
    assert (error.sent, server.requests) == (False, [])


async def test_another_hosts_certificate_is_told(authority: trustme.CA) -> None:
    """A certificate of another host is refused, and the error names the mismatch."""
    async with (
        Server(answer(UPDATE), tls=server_tls(authority, "akapulu.example")) as server,
        trusting(authority) as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session, retry=QUICK) as client,
    ):
        error = await error_of(poll(client))
    assert isinstance(error, TransportError)
    assert "Hostname mismatch, certificate is not valid for 'localhost'" in error.reason
    assert server.requests == []


async def test_plain_http_where_tls_is_wanted_is_told() -> None:
    """A server that speaks no TLS is told as that."""
    async with Server(hang) as server:
        # What is no request is closed, when it is read as one.
        tcp = await asyncio.start_server(_say_hello, "127.0.0.1", 0)
        async with tcp:
            port = tcp.sockets[0].getsockname()[1]
            async with AkapuluClient(API_KEY, base_url=f"https://127.0.0.1:{port}", retry=QUICK) as client:
                error = await error_of(connect(client))
    assert isinstance(error, TransportError)
    assert "TLS with 127.0.0.1 failed" in error.reason
    assert (error.sent, server.requests) == (False, [])


async def _say_hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


# Cancellation


async def cancelled_by_task(call: Awaitable[object], moment: Awaitable[object]) -> None:
    """Cancel by `Task.cancel()`."""
    task = asyncio.ensure_future(call)
    await moment
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_by_timeout(call: Awaitable[object], moment: Awaitable[object]) -> None:
    """Cancel by an `asyncio.timeout()` around the call."""
    limit = asyncio.timeout(None)

    async def limited() -> None:
        async with limit:
            await call

    task = asyncio.create_task(limited())
    await moment
    limit.reschedule(asyncio.get_running_loop().time())
    with pytest.raises(TimeoutError) as caught:
        await task
    assert type(caught.value) is TimeoutError


async def cancelled_by_group(call: Awaitable[object], moment: Awaitable[object]) -> None:
    """Cancel by the failure of a sibling in a task group."""

    async def fail() -> None:
        await moment
        raise LookupError

    async def run() -> None:
        await call

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the group is what raises
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert task.cancelled()


async def cancelled_by_scope(call: Awaitable[object], moment: Awaitable[object]) -> None:
    """Cancel by an anyio scope."""
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await call
            pytest.fail("it went on")

        group.start_soon(run)
        await moment
        group.cancel_scope.cancel()


WAYS = (cancelled_by_task, cancelled_by_timeout, cancelled_by_group, cancelled_by_scope)


ways = pytest.mark.parametrize("cancelled", WAYS)


POINTS: dict[str, tuple[Behaviour, ...]] = {
    "answer": (hang, answer(UPDATE)),
    "head": (gated(b"HTTP/1.1 200 OK\r\nContent-", asyncio.Event()), answer(UPDATE)),
    "body": (gated(http(200, JSON, GOOD)[:-10], asyncio.Event()), answer(UPDATE)),
}


@pytest.mark.parametrize("script", POINTS.values(), ids=POINTS)
@ways
@both_loops
async def test_cancel_during_an_exchange_leaves_nothing(script: tuple[Behaviour, ...], cancelled: Any) -> None:
    """Cancelled while it waits for the answer or reads it, a call ends as cancelled and its place is free."""
    async with Server(*script) as server, client_of(server, pool_size=1) as client:
        await cancelled(poll(client), server.seen(1))
        await server.abandoned()
        await poll(client)
    assert len(server.requests) == 2


@ways
async def test_cancel_in_the_queue_leaves_nothing(cancelled: Any) -> None:
    """Cancelled while it waits for a connection, a call was never sent and takes no place."""
    gate = asyncio.Event()
    async with (
        Server(gated(b"", gate, http(200, JSON, GOOD)), answer(UPDATE)) as server,
        client_of(server, pool_size=1) as client,
    ):
        first = asyncio.create_task(client.conversations.updates(SESSION))
        await server.seen(1)
        await cancelled(poll(client), asyncio.sleep(0))
        gate.set()
        await first
        await poll(client)
    assert len(server.requests) == 2


@ways
async def test_cancel_while_connecting_leaves_nothing(cancelled: Any) -> None:
    """Cancelled in a TLS handshake, a call closes the connection and gives its place back."""
    async with Server(hang) as server:
        url = server.base_url.replace("http:", "https:")
        async with AkapuluClient(API_KEY, base_url=url, pool_size=1) as client:
            for count in (1, 2):
                await cancelled(poll(client), server.until(lambda count=count: server.connections == count))  # type: ignore[misc]
                await server.abandoned()


@ways
async def test_cancel_in_a_pause_leaves_nothing(cancelled: Any, marks: Marks) -> None:
    """Cancelled in the pause before the next attempt, a call is not sent again."""
    script = (answer({}, 503, {"Retry-After": "60"}), answer(UPDATE))
    async with Server(*script) as server, client_of(server, pool_size=1, timeouts=Timeouts(total=None)) as client:
        await cancelled(poll(client), marks.paused.wait())
        assert len(server.requests) == 1
        await poll(client)
    assert len(server.requests) == 2


# Opening and closing


async def test_open_and_close_in_different_tasks() -> None:
    """What one task opened another may use, and a third close."""
    async with Server(answer(UPDATE)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url)
        await asyncio.create_task(client.open())
        await asyncio.create_task(_run(poll(client)))
        await asyncio.create_task(client.aclose())
        await server.abandoned()


async def _run(call: Awaitable[object]) -> None:
    await call


@both_loops
async def test_open_and_close_twice_and_again() -> None:
    """Opening what is open and closing what is closed does nothing, and a closed client can be opened again."""
    async with Server(answer(UPDATE)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url)
        await client.aclose()
        for connections in (1, 2):
            await client.open()
            await client.open()
            await poll(client)
            await poll(client)
            assert server.connections == connections
            await client.aclose()
            await client.aclose()
            await server.abandoned()
        async with client:
            await poll(client)


@pytest.mark.parametrize("opened", [False, True], ids=["never opened", "closed"])
async def test_closed_client_says_what_to_do(opened: bool) -> None:
    """A call before `open()` or after `aclose()` is a ClosedError that says what to do."""
    client = AkapuluClient(API_KEY, base_url="http://127.0.0.1:9")
    if opened:
        async with client:
            pass
    for call in (
        poll(client),
        connect(client),
        client.request("GET", "/things/"),
        client.conversations.recording(SESSION).__aenter__(),
    ):
        error = await error_of(call)
        assert type(error) is ClosedError
        assert str(error) == "the client is not open: use `async with client:`, or await client.open()"


def test_second_loop_is_refused() -> None:
    """A client that is open in a loop says so in another one, with the remedy, and can be closed when that is over."""
    client = AkapuluClient(API_KEY, base_url="http://127.0.0.1:9")
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.open())
        for call in (poll(client), connect(client), read(client), client.open(), client.aclose()):
            error = second.run(error_of(call))
            assert type(error) is ClosedError
            assert "opened in another event loop: use one client for each loop" in str(error)
        first.close()
        second.run(client.aclose())
        second.run(client.open())
        assert isinstance(second.run(error_of(poll(client))), TransportError)
        second.run(client.aclose())


async def test_reopened_while_a_call_is_under_way() -> None:
    """A client that is closed and opened again in the middle of a call serves those that come then."""
    gate = asyncio.Event()
    async with Server(answer(UPDATE), gated(b"", gate), answer(UPDATE)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url, retry=RetryPolicy(attempts=1))
        await client.open()
        await poll(client)
        task = asyncio.create_task(error_of(poll(client)))
        await server.seen(2)
        await client.aclose()
        await client.open()
        assert isinstance(await task, TransportError)
        for _ in range(3):
            await poll(client)
        await client.aclose()
        await server.abandoned()


async def test_reopened_while_a_call_waits_for_another() -> None:
    """Who waits for a connection when the client is closed and opened again has its deadline, and loses no place."""
    accepted = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()  # and never take up TLS
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        client = AkapuluClient(API_KEY, base_url=url, timeouts=Timeouts(connect=10, total=0.5), pool_size=1)
        await client.open()
        calls = [asyncio.create_task(error_of(poll(client))) for _ in range(2)]
        await accepted.wait()
        await client.aclose()
        await client.open()
        assert [type(await call) for call in calls] == [RequestTimeoutError] * 2
        assert client._transport._places._value == 1
        await client.aclose()


async def test_close_under_way_ends_calls() -> None:
    """Closing the client ends what is under way with an error of ours."""
    async with Server(hang) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url, retry=QUICK)
        await client.open()
        task = asyncio.create_task(error_of(poll(client)))
        await server.seen(1)
        await client.aclose()
        error = await task
        assert isinstance(error, TransportError | ClosedError)
        await server.abandoned()


@both_loops
async def test_closed_while_a_call_waits_for_another() -> None:
    """A call that waits for a connection when the client is closed is not sent, and says that the client is closed."""
    async with Server(hang) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url, retry=RetryPolicy(attempts=1), pool_size=1)
        await client.open()
        first = asyncio.create_task(error_of(poll(client)))
        await server.seen(1)
        waiting = [asyncio.create_task(error_of(call(client))) for call in (poll, connect)]
        await asyncio.sleep(0)
        await client.aclose()
        await first
        assert [type(await call) for call in waiting] == [ClosedError] * 2
        await server.abandoned()
    assert len(server.requests) == 1


# A borrowed session


async def test_borrowed_session_is_not_closed() -> None:
    """A borrowed session works and stays open, and ours to close is nothing."""
    async with Server(answer(UPDATE)) as server, aiohttp.ClientSession() as session:
        async with AkapuluClient(API_KEY, base_url=server.base_url, http=session) as client:
            await poll(client)
        assert not session.closed
        async with session.get(server.url) as response:
            assert response.status == 200


async def test_borrowed_sessions_settings_do_not_disturb() -> None:
    """Its own headers, checks, decompression, time limits and base URL do not change what a call gets."""
    session = aiohttp.ClientSession(
        "http://127.0.0.1:9/",
        headers={"Authorization": "Bearer other", "X-Team": "blue", "Accept-Encoding": "gzip"},
        raise_for_status=True,
        auto_decompress=True,
        timeout=aiohttp.ClientTimeout(total=0.001),
    )
    script = (answer(UPDATE), answer({"error": "No."}, 404), answer({}, 302, {"Location": "/"}))
    async with session, Server(*script) as server, client_of(server, http=session) as client:
        await poll(client)
        errors = [await error_of(poll(client)) for _ in range(2)]
        assert [getattr(error, "status", error) for error in errors] == [404, 302]
        first = server.requests[0].headers
        assert (first["authorization"], first["x-team"]) == (f"Bearer {API_KEY}", "blue")
        assert first["accept-encoding"] == "identity"
        await session.close()


async def test_borrowed_sessions_own_credentials_are_refused() -> None:
    """A session with credentials of its own would replace the API key, which is told."""
    with pytest.warns(DeprecationWarning, match="deprecated|encode_basic_auth"):
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "password"))
    async with session, Server(answer(UPDATE)) as server, client_of(server, http=session) as client:
        error = await error_of(poll(client))
        await session.close()
    assert type(error) is ConfigurationError
    assert "it must have no auth= of its own" in str(error)
    assert server.requests == []


async def test_borrowed_session_that_is_closed_is_told() -> None:
    """A borrowed session that was closed is named as the cause."""
    session = aiohttp.ClientSession()
    await session.close()
    async with AkapuluClient(API_KEY, base_url="http://127.0.0.1:9", http=session) as client:
        error = await error_of(poll(client))
    assert type(error) is ConfigurationError
    assert "the aiohttp session that the client works with was closed" in str(error)


async def test_borrowed_session_that_is_closed_during_a_redirect_is_told() -> None:
    """A borrowed session that is closed when a recording's redirect has come is named as the cause."""

    async def shut(session: aiohttp.ClientSession, *_: object) -> None:
        await session.close()

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(shut)
    async with (
        Server(redirect("/elsewhere"), store()) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session, retry=QUICK) as client,
    ):
        error = await error_of(read(client))
    assert type(error) is ConfigurationError
    assert "the aiohttp session that the client works with was closed" in str(error)
    assert len(server.requests) == 1


@asynccontextmanager
async def queued(call: Call) -> AsyncGenerator[tuple["asyncio.Task[object]", aiohttp.ClientSession]]:
    """Give a call that waits for its borrowed session's only connection, and the session."""
    waits = asyncio.Event()

    async def tell(*_: object) -> None:
        waits.set()

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(tell)
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        Server(hang) as server,
        aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session, retry=QUICK) as client,
    ):
        first = asyncio.create_task(error_of(poll(client)))
        await server.seen(1)
        task = asyncio.ensure_future(call(client))
        await waits.wait()
        yield task, session
        await session.close()
        await first
    assert len(server.requests) == 1


three_calls = pytest.mark.parametrize("call", [poll, connect, read])


@three_calls
async def test_borrowed_session_that_is_closed_ends_what_waits_in_its_pool(call: Call) -> None:
    """A call that waits for a connection when its borrowed session is closed fails for that, and is not cancelled."""
    async with queued(call) as (task, session):
        await session.close()
        error = await error_of(task)
    assert type(error) is ConfigurationError
    assert "the aiohttp session that the client works with was closed" in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


@three_calls
async def test_cancel_is_one_also_when_the_borrowed_session_is_closed(call: Call) -> None:
    """A call that is cancelled when its borrowed session is closed ends as cancelled."""
    async with queued(call) as (task, session):
        task.cancel()
        await session.close()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("behaviour", [close, reset])
@pytest.mark.parametrize("borrowed", [False, True], ids=["own", "borrowed"])
@pytest.mark.parametrize("body", [None, {"a": 1}], ids=["empty", "JSON"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_what_may_have_been_done_is_sent_once(
    method: str, body: Any, borrowed: bool, behaviour: Behaviour
) -> None:
    """Whatever its method, what is not safe is on the wire once when its connection breaks, borrowed or not."""
    async with (
        Server(behaviour) as server,
        aiohttp.ClientSession() as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session if borrowed else None, retry=QUICK) as client,
    ):
        error = await error_of(client.request(method, "/things/", json=body))
    assert type(error) is TransportError
    assert (error.reason, error.sent) == ("the connection was closed before the answer", True)
    assert [seen.method for seen in server.requests] == [method]


async def test_borrowed_session_takes_its_proxy() -> None:
    """A borrowed session's proxy is used: an http call reaches it in absolute form, an https one by CONNECT."""

    async def refuse(peer: Peer, seen: Seen) -> None:
        await raw(http(407))(peer, seen)

    script = (answer(UPDATE), refuse)
    async with Server(*script) as proxy, aiohttp.ClientSession(proxy=proxy.url) as session:
        async with AkapuluClient(API_KEY, base_url="http://127.0.0.1:9/api", http=session) as client:
            await poll(client)
        async with AkapuluClient(API_KEY, base_url="https://akapulu.invalid", http=session, retry=QUICK) as client:
            error = await error_of(connect(client))
    assert proxy.requests[0].target == f"http://127.0.0.1:9/api{UPDATES}"
    assert {(seen.method, seen.target) for seen in proxy.requests[1:]} == {("CONNECT", "akapulu.invalid:443")}
    assert all(API_KEY not in str(seen.headers) for seen in proxy.requests[1:])
    assert isinstance(error, TransportError)
    assert "the proxy refused with 407" in error.reason
    assert not error.sent


async def test_tunnel_through_a_proxy(authority: trustme.CA) -> None:
    """An https call goes through a CONNECT proxy to the service, which alone sees the key."""
    async with Server(answer(UPDATE), tls=server_tls(authority)) as server:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            Server(tunnel_to(server)) as proxy,
            aiohttp.ClientSession(proxy=proxy.url, connector=connector) as session,
            AkapuluClient(API_KEY, base_url=server.base_url, http=session, retry=RetryPolicy(attempts=1)) as client,
        ):
            await poll(client)
    assert [seen.method for seen in proxy.requests] == ["CONNECT"]
    assert "authorization" not in proxy.requests[0].headers
    assert server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"


async def test_borrowed_session_does_its_part_for_each_call() -> None:
    """A borrowed session's cookies, middlewares and trace hooks are there for each call, not for the first alone."""
    seen: list[str] = []

    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(f"middleware {request.url.path}")
        return await handler(request)

    async def traced(*_: object) -> None:
        seen.append("trace")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(traced)
    async with (
        Server(answer(UPDATE)) as server,
        aiohttp.ClientSession(
            middlewares=(middleware,), trace_configs=[trace], cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session) as client,
    ):
        await poll(client)
        session.cookie_jar.update_cookies({"team": "blue"}, URL(server.url))
        await poll(client)
    assert seen == ["trace", f"middleware /api{UPDATES}"] * 2
    assert [request.headers.get("cookie") for request in server.requests] == [None, "team=blue"]


# The good paths


@both_loops
async def test_simulator_is_talked_to_as_documented() -> None:
    """Against the simulator, calls succeed, faults are lived through, and answers that are lost are told."""
    async with (
        Simulator(speed=20, seed=1) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url, retry=QUICK) as client,
    ):
        simulator.add_fault(Fault(route="connect", status=503))
        connection = await client.conversations.connect(REQUEST)
        simulator.add_fault(Fault(route="updates", reset="after", times=2))
        update = await client.conversations.updates(connection.conversation_session_id)
        assert update.conversation_session_id == connection.conversation_session_id
        simulator.add_fault(Fault(route="connect", reset="after"))
        with pytest.raises(ConnectOutcomeUnknownError):
            await client.conversations.connect(REQUEST)
        assert simulator.open_conversations == 2
        assert simulator.count("updates") == 3


# A forked child


_FORK = """
import asyncio, atexit, gc, os, sys, warnings
from akapulu_async import AkapuluClient, RetryPolicy
from tests.support.calls import error_of
from tests.support.misbehaving import UPDATE, poll

async def in_child(client, way):
    if way == "used":
        for _ in range(2):
            print(type(error := await error_of(poll(client))).__name__, error)
    if way in ("closed", "opened again"):
        await client.aclose()
    if way == "opened again":
        async with client:
            await poll(client)
            print("answered")

async def main(url, way):
    client = AkapuluClient("ak-live", base_url=url, retry=RetryPolicy(attempts=1))
    await client.open()
    waiting = asyncio.create_task(client.request("GET", "/slow/"))  # holds a connection in the middle of the fork
    await poll(client)
    child = os.fork()
    if child == 0:
        del waiting
        asyncio.run(in_child(client, way))
        del client
        gc.collect()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    await poll(client)
    print("parent", await waiting)
    await client.aclose()

warnings.simplefilter("ignore")  # newer versions of Python warn of a fork where threads run
asyncio.run(main(*sys.argv[1:]))
"""

_AFTER_FORK = {
    "left alone": "",
    "used": (
        "ClosedError the client was opened before this process was forked: open one in each process, "
        "or await client.aclose() here and open it again\n"
    )
    * 2,
    "closed": "",
    "opened again": "answered\n",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("tls", [pytest.param(False, marks=pytest.mark.slow, id="plain"), pytest.param(True, id="TLS")])
@pytest.mark.parametrize(("way", "output"), _AFTER_FORK.items(), ids=_AFTER_FORK)
async def test_forked_child_leaves_the_parents_connections_alone(
    way: str, output: str, tls: bool, authority: trustme.CA, tmp_path: Path
) -> None:
    """A forked child cannot use its parent's client, and neither its end nor a close disturbs the parent."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    released = asyncio.Event()
    polls = 0

    async def serve(peer: Peer, seen: Seen) -> None:
        nonlocal polls
        if seen.target.endswith("/slow/"):
            await released.wait()
            await answer("slow")(peer, seen)
            return
        polls += 1
        if polls == (3 if way == "opened again" else 2):  # the parent's, after its child's end
            released.set()
        await answer(UPDATE)(peer, seen)

    async with Server(serve, tls=server_tls(authority) if tls else None) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _FORK, server.base_url, way),
            cwd=Path(__file__).parents[2],
            env=os.environ | {"SSL_CERT_FILE": str(tmp_path / "ca.pem")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert printed.decode() == f"{output}parent slow\n", errors.decode()
    assert server.connections == (3 if way == "opened again" else 2)
