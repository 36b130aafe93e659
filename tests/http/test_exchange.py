"""One call over real sockets: what the caller gets when an answer breaks off, makes no sense, or is late."""

import asyncio
import gzip
import json
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConcurrencyLimitError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    NotFoundError,
    RequestTimeoutError,
    RetryPolicy,
    Timeouts,
    TransportError,
)
from akapulu_async.http.aiohttp_session import PARSER_IN_PYTHON
from tests.support.calls import (
    CHUNKED,
    GOOD,
    JSON,
    MIB,
    Call,
    both_calls,
    both_loops,
    error_of,
    quick_on_asyncio,
    timed_out,
)
from tests.support.misbehaving import (
    API_KEY,
    CONNECTION,
    OTHER_SESSION,
    QUICK,
    REQUEST,
    SESSION,
    TOKEN,
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
    drip,
    flood,
    gated,
    hang,
    http,
    poll,
    raw,
    reset,
    reset_unread,
)
from tests.support.storing import read


async def get(client: AkapuluClient) -> object:
    """Send a GET that takes any JSON."""
    return await client.request("GET", "/things/")


async def head(client: AkapuluClient) -> object:
    """Send a HEAD."""
    return await client.request("HEAD", "/things/")


async def post(client: AkapuluClient) -> object:
    """Send a POST that takes any JSON."""
    return await client.request("POST", "/things/", json={})


four_calls = pytest.mark.parametrize("call", [get, head, post, read])


# What breaks off


AMBIGUOUS = "the answer is not HTTP: a header of it is broken or ambiguous"
# aiohttp's parser in Python waits for the end of what could be the head.
OTHER_PROTOCOL = "closed before the answer" if PARSER_IN_PYTHON else "no status line where one must be"

LOST: dict[str, tuple[Behaviour, str]] = {
    "reset before it was read": (reset_unread, "the connection was closed before the answer"),
    "reset after it was read": (reset, "the connection was closed before the answer"),
    "closed": (close, "the connection was closed before the answer"),
    "closed in the head": (raw(b"HTTP/1.1 200 OK\r\nContent-"), "the connection was closed before the answer"),
    "body too short": (raw(http(200, JSON, GOOD, length=10_000)), "closed in the middle of the answer"),
    "body too long": (raw(http(200, JSON, GOOD + b"extra", length=len(GOOD))), "no status line where one must be"),
    "chunk cut off": (raw(CHUNKED, b'40\r\n{"conv'), "closed in the middle of the answer"),
    "chunk of nonsense": (raw(CHUNKED, b'5\r\n{"con\r\nzz\r\nversation\r\n'), "HTTP: a chunk of it is broken"),
    "two lengths": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), AMBIGUOUS),
    "one length twice": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), AMBIGUOUS),
    "no number": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}"), AMBIGUOUS),
    "length and chunks": (raw(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"), b"2\r\n{}"), AMBIGUOUS),
    "another protocol": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), OTHER_PROTOCOL),
    "another protocol, at length": (raw(b"220 mail.example ESMTP\r\n\r\n"), "no status line where one must be"),
    "endless headers": (flood(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 4000 + b"\r\n", 10_000), "too many lines"),
    "an endless header": (flood(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536, 600), "a line of its head is longer than 64"),
}


lost = pytest.mark.parametrize(("behaviour", "reason"), LOST.values(), ids=LOST)


@lost
@both_loops
async def test_get_that_breaks_off_is_tried_as_often_as_the_policy_says(behaviour: Behaviour, reason: str) -> None:
    """A GET that gets no complete answer is on the wire exactly `attempts` times and then a TransportError."""
    async with Server(behaviour) as server, client_of(server) as client:
        error = await error_of(poll(client))
    assert type(error) is TransportError
    assert (error.method, error.path, error.attempts, error.sent) == ("GET", UPDATES, 3, True)
    assert reason in error.reason
    assert str(error).endswith("Tried 3 times.")
    assert max(len(server.requests), server.connections) == 3
    assert server.bytes_sent < 40 * MIB


@lost
@both_loops
async def test_connect_that_breaks_off_is_never_sent_twice(behaviour: Behaviour, reason: str) -> None:
    """A connect whose answer was lost is a ConnectOutcomeUnknownError, and was on the wire once."""
    async with Server(behaviour) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert type(error) is ConnectOutcomeUnknownError
    assert reason in error.reason
    assert "may exist and hold a slot" in str(error)
    assert max(len(server.requests), server.connections) == 1


_IN_PYTHON = """
import asyncio
from akapulu_async import RetryPolicy
from tests.support.calls import CHUNKED, error_of
from tests.support.misbehaving import TOKEN, Server, client_of, connect, drip, poll, raw
from tests.support.storing import read

FILM = CHUNKED.replace(b"application/json", b"video/mp4")
BROKEN = TOKEN.encode() + b"\\r\\n"

def broken_at_once(head):
    return raw(head, b"2\\r\\n{}\\r\\n", BROKEN)

def broken_later(head):
    async def behave(peer, seen):
        await peer.send(head + b"2\\r\\n{}\\r\\n")
        await drip(BROKEN, 0.001)(peer, seen)
    return behave

async def main():
    for broken in (broken_at_once, broken_later):
        for call, head in ((poll, CHUNKED), (connect, CHUNKED), (read, FILM)):
            async with Server(broken(head)) as server, client_of(server, retry=RetryPolicy(attempts=1)) as client:
                error = await error_of(call(client))
            print(type(error).__name__, error)

asyncio.run(main())
"""


async def test_broken_chunk_is_told_where_aiohttp_has_no_parser_in_c() -> None:
    """Where aiohttp's parser in Python quotes a broken answer in an exception, what comes out is ours, without it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _IN_PYTHON),
        cwd=Path(__file__).parents[2],
        env=os.environ | {"AIOHTTP_NO_EXTENSIONS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    lines = output.decode().splitlines()
    kinds = ["TransportError", "ConnectOutcomeUnknownError", "TransportError"]
    assert [line.partition(" ")[0] for line in lines] == kinds * 2, errors.decode()
    assert [line for line in lines if "the answer is not HTTP: a chunk of it is broken" not in line] == []
    assert [part for part in TOKEN.split(".") if part in output.decode() + errors.decode()] == []


async def test_what_follows_a_long_answer_costs_no_time() -> None:
    """A byte too many after 100 KB ends the call at once: what the parser says of it, at length, is not searched."""
    long = GOOD + b" " * 100_000
    async with Server(raw(http(200, JSON, long + b"x", length=len(long)))) as server, client_of(server) as client:
        began = time.thread_time()
        error = await error_of(client.conversations.updates(SESSION, attempts=1))
    assert time.thread_time() - began < 2
    assert isinstance(error, TransportError)
    assert "the answer is not HTTP" in error.reason


async def test_get_recovers() -> None:
    """What goes well at the second attempt goes well."""
    async with Server(reset, answer({}, 503), answer(UPDATE)) as server, client_of(server) as client:
        await poll(client)
    assert len(server.requests) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_request_without_a_body_knows_that_it_was_sent(method: str) -> None:
    """Not even an empty body makes a POST look unsent and go out twice."""
    async with Server(reset) as server, client_of(server) as client:
        error = await error_of(client.request(method, "/things/"))
    assert isinstance(error, TransportError)
    assert error.sent
    assert len(server.requests) == 1


async def by_write(request: Any, writer: Any, *_: object) -> None:
    """Send a body by `write()`, where aiohttp uses `write_with_length()`."""
    await request._body.write(writer)
    await writer.write_eof()


async def by_bytes(request: Any, writer: Any, *_: object) -> None:
    """Send a body's bytes, so that its own way of writing is never called."""
    await writer.write(await request._body.as_bytes())
    await writer.write_eof()


@pytest.mark.parametrize("writes", [by_write, by_bytes])
@pytest.mark.parametrize("behaviour", [close, hang])
async def test_connect_is_sent_once_however_aiohttp_writes_it(
    monkeypatch: pytest.MonkeyPatch, writes: Any, behaviour: Behaviour
) -> None:
    """A connect that arrived is known to be sent, and is not sent again, whichever way aiohttp writes bodies."""
    monkeypatch.setattr(aiohttp.ClientRequest, "write_bytes", writes)
    async with Server(behaviour) as server, client_of(server, timeouts=Timeouts(total=0.5)) as client:
        error = await error_of(connect(client))
    assert type(error) is ConnectOutcomeUnknownError
    assert json.loads(server.requests[0].body)["scenario_id"] == REQUEST.scenario_id
    assert len(server.requests) == 1


async def test_connect_that_breaks_off_unwritten_counts_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a connection breaks on which aiohttp never asked for the body, the connect is not sent again either."""

    async def never(request: Any, writer: Any, *_: object) -> None:
        writer.send_headers()
        writer.transport.abort()

    monkeypatch.setattr(aiohttp.ClientRequest, "write_bytes", never)
    async with Server(answer(CONNECTION)) as server, client_of(server) as client:
        error = await error_of(connect(client))
    assert type(error) is ConnectOutcomeUnknownError
    assert server.connections == 1


@both_calls
async def test_refused_connection_is_surely_not_sent(call: Call) -> None:
    """Where nobody listens, both kinds of call are tried again, and the error says that nothing was sent."""
    async with Server(hang) as server:
        pass
    async with AkapuluClient(API_KEY, base_url=server.base_url, retry=QUICK) as client:
        error = await error_of(call(client))
    assert type(error) is TransportError
    assert (error.sent, error.attempts) == (False, 3)
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert re.search(rf"could not connect to 127\.0\.0\.1:{server.port} \(.*refused", str(error), re.IGNORECASE)
    assert "It never reached the service." in str(error)


async def test_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that does not exist is told as that."""
    monkeypatch.setenv("NO_PROXY", "*")
    async with AkapuluClient(API_KEY, base_url="https://akapulu.invalid/api", retry=QUICK) as client:
        error = await error_of(connect(client))
    assert isinstance(error, TransportError)
    assert "the host name akapulu.invalid could not be resolved" in error.reason
    assert not error.sent


@four_calls
async def test_long_header_is_read(call: Call) -> None:
    """A header of 60,000 bytes, and a reason of as many, fail no call."""
    long = b"a" * 60_000
    top = b"HTTP/1.1 200 " + long + b"\r\nX-Policy: " + long + b"\r\nContent-Length: 2\r\n\r\n"
    behaviour = raw(top if call is head else top + b"{}")
    async with Server(behaviour) as server, client_of(server) as client:
        await call(client)
    assert len(server.requests) == 1


async def test_one_attempt_means_one() -> None:
    """`updates(attempts=1)` is sent once, whatever the client's policy says."""
    async with Server(reset) as server, client_of(server) as client:
        await error_of(client.conversations.updates(SESSION, attempts=1))
    assert len(server.requests) == 1


# Ways out of an exchange


SWITCH = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
ENDINGS: dict[str, bytes] = {
    "101": b"HTTP/1.1 101 Switching Protocols\r\n" + SWITCH + b"\r\n",
    "101 with more": b"HTTP/1.1 101 Switching Protocols\r\n" + SWITCH + b"\r\n" + b"x" * 300,
    "101 without a protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "200 with an upgrade": b"HTTP/1.1 200 OK\r\n" + SWITCH + b"Content-Length: 2\r\n\r\n{}",
    "200 in chunks with an upgrade": b"HTTP/1.1 200 OK\r\n"
    + SWITCH
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "426": b"HTTP/1.1 426 Upgrade Required\r\n" + SWITCH + b"Content-Length: 2\r\n\r\n{}",
    "1xx before the answer": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500 + http(200, {}, b"{}"),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    "204 with chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n{}",
    "an odd status": b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "an unreadable length": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    "a body too long": http(200, {}, b"{}extra", length=2),
    "two answers": http(200, {}, b"{}") * 2,
    "a refusal": http(404, {}, b"{}"),
    "a redirect": http(302, {"Location": "/x"}, b"{}"),
}


def _held(client: AkapuluClient) -> tuple[int, int, int]:
    """Return how many connections are in use, and how many places for calls and downloads are free."""
    transport = client._transport
    assert transport._http is not None
    connector: Any = transport._http.connector
    return len(connector._acquired), transport._places._value, transport._download_places._value


@pytest.mark.parametrize("data", ENDINGS.values(), ids=ENDINGS)
@four_calls
async def test_connection_comes_back_however_an_answer_ends(data: bytes, call: Call) -> None:
    """After any answer the connection is released or closed, though its server keeps it open, and the next is right."""

    async def keep(peer: Peer, _: Seen) -> None:
        await peer.send(data)

    script = (keep, answer({"fresh": True}))
    async with Server(*script) as server, client_of(server, retry=RetryPolicy(attempts=1)) as client:
        before = _held(client)
        with suppress(AkapuluError):
            await call(client)
        assert _held(client) == before
        assert await get(client) == {"fresh": True}
        assert _held(client) == before


ENDLESS: dict[str, Behaviour] = {
    "1xx": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 10_000),
    "an upgrade without a length": gated(b"HTTP/1.1 200 OK\r\n" + SWITCH + b"\r\n{}", asyncio.Event()),
    "HTTP/1.0 without a length": gated(b"HTTP/1.0 200 OK\r\n\r\n{}", asyncio.Event()),
}


@pytest.mark.parametrize("behaviour", ENDLESS.values(), ids=ENDLESS)
@four_calls
async def test_connection_comes_back_from_an_endless_answer(behaviour: Behaviour, call: Call) -> None:
    """An answer without an end ends at the deadline, and its connection is closed."""
    async with (
        Server(behaviour) as server,
        client_of(server, retry=RetryPolicy(attempts=1), timeouts=Timeouts(total=0.2)) as client,
    ):
        before = _held(client)
        with suppress(AkapuluError):
            await call(client)
        assert _held(client) == before


async def test_head_has_no_content() -> None:
    """`request("HEAD", ...)` returns None for an answer whose headers announce a body, and raises a refusal."""
    script = (
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"),
        raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n"),
    )
    async with Server(*script) as server, client_of(server) as client:
        assert await head(client) is None
        assert isinstance(await error_of(head(client)), NotFoundError)
    assert [seen.method for seen in server.requests] == ["HEAD"] * 2


# What makes no sense


INVALID: dict[str, tuple[Behaviour, str | None, str]] = {
    "HTML": (raw(http(200, {"Content-Type": "text/html"}, b"<h1>Welcome</h1>")), None, "not JSON (text/html)"),
    "half of it": (raw(http(200, JSON, GOOD[:40])), None, "not JSON (application/json): Unterminated string"),
    "nothing": (answer(body=b""), None, "it is empty"),
    "a list": (answer([]), None, "it must be an object, not a list"),
    "no fields": (answer({}), "", "is missing"),
    "wrong type": (
        answer({**UPDATE, **CONNECTION, "conversation_session_id": 5}),
        "conversation_session_id",
        "must be a UUID, not a number",
    ),
    "NaN": (raw(http(200, JSON, GOOD.replace(b"63.6", b"NaN"))), None, "NaN is not JSON"),
    "compressed": (
        raw(http(200, {**JSON, "Content-Encoding": "zstd"}, b"(\xb5/\xfd")),
        None,
        "it is compressed (zstd), which was not asked for, and cannot be decoded",
    ),
    "nested without end": (answer(body=b"[" * 200_000), None, "nested too deeply"),
}


@pytest.mark.parametrize(("behaviour", "field", "problem"), INVALID.values(), ids=INVALID)
@both_calls
async def test_nonsense_is_told_and_not_asked_for_again(
    behaviour: Behaviour, field: str | None, problem: str, call: Call
) -> None:
    """An answer that makes no sense is an InvalidResponseError that says why, after one request."""
    async with Server(behaviour) as server, client_of(server) as client:
        error = await error_of(call(client))
    assert type(error) is InvalidResponseError
    assert error.status == 200
    assert problem in error.problem
    assert error.field == field if field != "" else error.field
    assert len(server.requests) == 1


DECODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("Deflate", lambda body: zlib.compress(body, wbits=-15)),
}


@pytest.mark.parametrize(("encoding", "compress"), DECODED.values(), ids=DECODED)
@both_calls
async def test_answer_that_a_gateway_compressed_is_read(
    encoding: str, compress: Callable[[bytes], bytes], call: Call
) -> None:
    """An answer in gzip or deflate, which nobody asked for, is an answer like any other, and so is a refusal."""
    headers = {"Content-Encoding": encoding}
    good = answer(headers=headers, body=compress(json.dumps({**UPDATE, **CONNECTION}).encode()))
    refused = compress(b'{"error": "Full.", "error_code": "CONCURRENCY_LIMIT"}')
    async with Server(good, answer(status=429, headers=headers, body=refused)) as server, client_of(server) as client:
        await call(client)
        error = await error_of(call(client))
    assert isinstance(error, ConcurrencyLimitError)
    assert error.message == "Full."
    assert [seen.headers["accept-encoding"] for seen in server.requests] == ["identity"] * 2


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_connect_whose_answer_cannot_be_decoded_is_in_doubt(encoding: str) -> None:
    """A connect's answer that cannot be decoded names its compression and says that the conversation may exist."""
    packed = {"Content-Encoding": encoding}
    script = (answer(headers=packed, body=b"\x0b\x02\x80"), answer(status=503, headers=packed, body=b"\x0b\x02\x80"))
    async with Server(*script) as server, client_of(server) as client:
        bad, refused = [await error_of(connect(client)) for _ in range(2)]
    assert isinstance(bad, InvalidResponseError)
    assert bad.problem == f"it is compressed ({encoding}), which was not asked for, and cannot be decoded"
    assert bad.__notes__ == ["The conversation may exist and hold a slot."]
    assert isinstance(refused, ConnectOutcomeUnknownError)
    assert f"its text is compressed ({encoding})" in str(refused)
    assert len(server.requests) == 2


async def test_another_conversations_update_is_refused() -> None:
    """An answer with another conversation's id is not taken for this one's."""
    wrong = answer({**UPDATE, "conversation_session_id": OTHER_SESSION})
    async with Server(wrong) as server, client_of(server) as client:
        error = await error_of(poll(client))
    assert isinstance(error, InvalidResponseError)
    assert error.field == "conversation_session_id"
    assert OTHER_SESSION in error.problem


# The deadline


SLOW: dict[str, tuple[Behaviour, str]] = {
    "no answer": (hang, "while waiting for the answer"),
    "slow head": (drip(http(200, JSON, GOOD), 0.05), "while waiting for the answer"),
    "slow body": (gated(http(200, JSON, GOOD)[:-10], asyncio.Event()), "in the middle of the answer"),
    "interim answers": (drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01), "while waiting for the answer"),
}


@pytest.mark.parametrize(("behaviour", "doing"), SLOW.values(), ids=SLOW)
@both_calls
@quick_on_asyncio
async def test_deadline_ends_every_wait(behaviour: Behaviour, doing: str, call: Call) -> None:
    """However slowly an answer comes, the call ends at its deadline and says what it was doing."""
    async with Server(behaviour) as server, client_of(server, timeouts=Timeouts(total=0.3)) as client:
        error = await timed_out(call(client), 0.3)
    assert isinstance(error, RequestTimeoutError | ConnectOutcomeUnknownError)
    assert error.reason == f"0.3 s passed {doing}"
    assert isinstance(error, TimeoutError) == (call is poll)
    assert len(server.requests) == 1


async def test_deadline_covers_all_attempts() -> None:
    """Attempts and pauses share one deadline, and its error also tells why the attempt before failed."""
    async with Server(reset, hang) as server, client_of(server, timeouts=Timeouts(total=0.3)) as client:
        error = await timed_out(poll(client), 0.3)
    assert isinstance(error, RequestTimeoutError)
    assert error.attempts == 2
    assert "0.3 s passed while waiting for the answer; before that: " in error.reason
    assert "the connection was closed before the answer" in error.reason


async def test_no_deadline_is_none() -> None:
    """`Timeouts(total=None)` waits on."""
    gate = asyncio.Event()
    async with (
        Server(gated(b"", gate, http(200, JSON, GOOD))) as server,
        client_of(server, timeouts=Timeouts(connect=None, total=None)) as client,
    ):
        task = asyncio.create_task(client.conversations.updates(SESSION))
        await server.seen(1)
        gate.set()
        assert (await task).latest_update_text == "bot joined daily room"


@both_calls
async def test_connection_that_is_not_made_in_time_is_not_sent(call: Call) -> None:
    """`Timeouts.connect` ends a TLS handshake that hangs, and the request surely did not leave."""
    async with Server(hang) as server:
        timeouts, retry = Timeouts(connect=0.1, total=5), RetryPolicy(attempts=2, base=0)
        url = server.base_url.replace("http:", "https:")
        async with AkapuluClient(API_KEY, base_url=url, timeouts=timeouts, retry=retry) as client:
            error = await timed_out(call(client), 0.2)
    assert type(error) is RequestTimeoutError
    assert error.reason == "no connection was made in 0.1 s"
    assert (error.sent, error.attempts) == (False, 2)


async def test_deadline_while_connecting_is_not_sent() -> None:
    """A connect that is still connecting at its deadline surely holds no slot."""
    async with Server(hang) as server:
        url = server.base_url.replace("http:", "https:")
        async with AkapuluClient(API_KEY, base_url=url, timeouts=Timeouts(total=0.2)) as client:
            error = await timed_out(connect(client), 0.2)
    assert type(error) is RequestTimeoutError
    assert error.reason == "0.2 s passed while connecting"
    assert not error.sent
