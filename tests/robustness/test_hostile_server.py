"""A hostile service costs bounded memory and time, and every call ends with an error of the library."""

import asyncio
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import trustme

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ApiError,
    InvalidResponseError,
    RequestTimeoutError,
    RetryPolicy,
    Timeouts,
    TransportError,
)
from akapulu_async.http.aiohttp_session import PARSER_IN_PYTHON
from tests.support.calls import CHUNKED, JSON, MIB, Call, both_loops, error_of, quick_on_asyncio, server_tls, timed_out
from tests.support.misbehaving import (
    RECORDING,
    SESSION,
    Behaviour,
    Peer,
    Seen,
    Server,
    client_of,
    connect,
    drip,
    flood,
    http,
    poll,
    raw,
)
from tests.support.storing import CONTENT, download, files, read, redirect, store

TEN_GB = 10 * 10**9
ENDLESS = 10**9
PIECE = b" " * 65_536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
ONCE = RetryPolicy(attempts=1)


async def detail(client: AkapuluClient) -> object:
    return await client.conversations.detail(SESSION)


async def request(client: AkapuluClient) -> object:
    return await client.request("POST", "/things/", json={})


CALLS: dict[str, Call] = {"connect": connect, "updates": poll, "detail": detail, "request": request, "recording": read}
QUICK_CALLS = {"connect", "recording"}
calls = pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, id=name, marks=[] if name in QUICK_CALLS else [pytest.mark.slow])
        for name, call in CALLS.items()
    ],
)
some_calls = pytest.mark.parametrize(
    "call", [pytest.param(connect, id="connect"), pytest.param(read, id="recording", marks=pytest.mark.slow)]
)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fail if Python takes more memory at any time in the block."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MIB:.1f} MiB"


# Bodies


def chunked(status: int) -> bytes:
    return CHUNKED.replace(b"200", str(status).encode())


BODIES: dict[str, Behaviour] = {
    "announced": flood(http(200, JSON, length=TEN_GB), PIECE, ENDLESS),
    "in chunks without end": flood(chunked(200), CHUNK, ENDLESS),
    "until the connection closes": flood(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", PIECE, ENDLESS),
    "of a refusal, announced": flood(http(403, JSON, length=TEN_GB), PIECE, ENDLESS),
    "of a refusal, in chunks without end": flood(chunked(403), CHUNK, ENDLESS),
}


@pytest.mark.parametrize("behaviour", BODIES.values(), ids=BODIES)
@calls
@both_loops
async def test_endless_body_is_cut_off(behaviour: Behaviour, call: Call) -> None:
    """A body of 10 GB, announced or not, is cut off after 8 MiB with an error, in little more memory."""
    async with Server(behaviour) as server, client_of(server) as client:
        with memory_below(20 * MIB):
            error = await error_of(call(client))
        await server.abandoned()
    assert isinstance(error, InvalidResponseError)
    assert "it is larger than 8 MiB" in error.problem
    assert len(server.requests) == 1
    assert server.bytes_sent < 32 * MIB


async def test_redirects_own_body_is_not_read() -> None:
    """A redirect's own body of 10 GB is not read."""
    endless = flood(http(302, {"Location": "/elsewhere"}, length=TEN_GB), PIECE, ENDLESS)
    async with Server(endless, store()) as server, client_of(server) as client:
        with memory_below(20 * MIB):
            assert await read(client) == CONTENT


async def test_recording_waits_for_its_reader() -> None:
    """An endless recording that nobody reads takes no memory: the sender has to wait."""
    endless = flood(http(200, {"Content-Type": "video/mp4"}, length=TEN_GB), PIECE, ENDLESS)
    async with Server(endless) as server, client_of(server) as client:
        with memory_below(8 * MIB):
            async with client.conversations.recording(SESSION) as recording:
                assert recording.size == TEN_GB
                for _turn in range(2000):
                    await asyncio.sleep(0)
        await server.abandoned()
    assert server.bytes_sent < 32 * MIB


async def test_endless_recording_is_the_callers_to_stop(target: Path) -> None:
    """An endless download takes no memory, and the progress callback can end it; no file is left."""

    def enough(received: int, _: int | None) -> None:
        if received > 16 * MIB:
            raise LookupError

    endless = flood(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n", PIECE, ENDLESS)
    async with Server(endless) as server, client_of(server) as client:
        with memory_below(12 * MIB):
            assert type(await error_of(download(client, target, progress=enough))) is LookupError
    assert files(target.parent) == []


# Heads, trailers and interim answers


_HEAD = b"HTTP/1.1 200 OK\r\n"
_TRAILER = CHUNKED + b"2\r\n{}\r\n0\r\n"

FLOODS: dict[str, Behaviour] = {
    "headers": flood(_HEAD, b"X-A: " + b"a" * 4000 + b"\r\n", ENDLESS),
    "short headers": flood(_HEAD, b"a:b\r\n" * 1000, ENDLESS),
    "one header": flood(_HEAD + b"X: ", b"a" * 65_536, ENDLESS),
    "a header's name": flood(_HEAD, b"a" * 65_536, ENDLESS),
    "the status line": flood(b"HTTP/1.1 200 ", b"a" * 65_536, ENDLESS),
    "no HTTP": flood(b"", b"a" * 65_536, ENDLESS),
    "trailers": flood(_TRAILER, b"a: " + b"b" * 4000 + b"\r\n", ENDLESS),
    "short trailers": flood(_TRAILER, b"a:b\r\n" * 1000, ENDLESS),
    "one trailer": flood(_TRAILER + b"a: ", b"b" * 65_536, ENDLESS),
    "headers after a redirect": flood(_HEAD.replace(b"200", b"302"), b"Location: /a\r\n" * 1000, ENDLESS),
}


@pytest.mark.parametrize("behaviour", FLOODS.values(), ids=FLOODS)
@some_calls
async def test_endless_head_is_cut_off(behaviour: Behaviour, call: Call) -> None:
    """Endless headers, trailers and lines are an error at once, take little memory, and are cut off."""
    async with Server(behaviour) as server, client_of(server, retry=ONCE) as client:
        with memory_below(8 * MIB):
            error = await error_of(call(client))
        await server.abandoned()
    assert isinstance(error, AkapuluError)
    assert "the answer is not HTTP" in str(error) or "closed in the middle of the answer" in str(error)
    assert server.bytes_sent < 32 * MIB


TRICKLES: dict[str, Behaviour] = {
    "blank lines": flood(b"", b"\r\n" * 4096, ENDLESS),
    "one header of blanks": flood(_HEAD + b"X: ", PIECE, ENDLESS),
    "interim answers": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, ENDLESS),
    "interim answers with headers": flood(b"", b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n" * 100, ENDLESS),
    "one chunk's extension": flood(CHUNKED + b"2;", b"a" * 65_536, ENDLESS),
    "one chunk's size": flood(CHUNKED, b"0" * 65_536, ENDLESS),
    "chunks of one byte": flood(CHUNKED, b"1\r\n \r\n" * 1000, ENDLESS),
}


QUICK_TRICKLES = {"blank lines", "interim answers", "chunks of one byte"}


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(behaviour, id=name, marks=[] if name in QUICK_TRICKLES else [pytest.mark.slow])
        for name, behaviour in TRICKLES.items()
    ],
)
@some_calls
async def test_endless_preliminaries_end_at_the_deadline(behaviour: Behaviour, call: Call) -> None:
    """Valid HTTP that never becomes an answer ends at the deadline, and takes little memory until then.

    aiohttp's parser in Python does not wait that long for some.
    """
    async with Server(behaviour) as server, client_of(server, retry=ONCE, timeouts=Timeouts(total=0.3)) as client:
        with memory_below(16 * MIB):
            error = await error_of(call(client))
        await server.abandoned()
    assert isinstance(error, AkapuluError)
    assert PARSER_IN_PYTHON or "0.3 s passed" in str(error)


# Compression


@cache
def bomb(mebibytes: int) -> bytes:
    """Return zeros, compressed with gzip: a thousandth of their size."""
    compressor = zlib.compressobj(9, wbits=31)
    block = bytes(MIB)
    return b"".join(compressor.compress(block) for _ in range(mebibytes)) + compressor.flush()


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br"])
@pytest.mark.parametrize("status", [200, 403])
@calls
async def test_compressed_bombs_are_not_unpacked(encoding: str, status: int, call: Call) -> None:
    """An answer that unpacks to 64 MiB is unpacked up to the limit of JSON, if at all, and refused."""
    packed = raw(http(status, {**JSON, "Content-Encoding": encoding}, bomb(64)))
    async with Server(packed) as server, client_of(server) as client:
        with memory_below(24 * MIB):
            error = await error_of(call(client))
    assert isinstance(error, InvalidResponseError if status == 200 else ApiError)
    assert f"is compressed ({encoding})" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "GZIP, gzip", "identity, deflate", "aws-chunked,br", "zstd"])
async def test_compressed_recording_is_refused(encoding: str, target: Path) -> None:
    """A compressed recording is refused, and never unpacked."""
    packed = raw(http(200, {"Content-Type": "video/mp4", "Content-Encoding": encoding}, bomb(64)))
    async with Server(packed) as server, client_of(server) as client:
        with memory_below(16 * MIB):
            error = await error_of(download(client, target))
    assert isinstance(error, InvalidResponseError)
    assert "it is compressed (" in error.problem
    assert files(target.parent) == []


# Slow drips: each piece comes in time, the whole never does


SLOW = b"X-A: b\r\n" * 500
DRIPS: dict[str, tuple[Behaviour, ...]] = {
    "head": (drip(_HEAD + SLOW, 0.01),),
    "body": (drip(http(200, JSON, PIECE), 0.001),),
    "body of a refusal": (drip(http(403, JSON, PIECE), 0.001),),
    "head after a redirect": (redirect("/elsewhere"), drip(_HEAD + SLOW, 0.01)),
    "JSON after a redirect": (redirect("/elsewhere"), drip(http(200, JSON, PIECE), 0.001)),
}


@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
@quick_on_asyncio
async def test_dripping_answer_to_a_recording_ends_at_the_deadline(script: tuple[Behaviour, ...]) -> None:
    """Before a recording begins, pieces that each come in time do not extend the deadline."""
    async with Server(*script) as server, client_of(server, timeouts=Timeouts(total=0.3)) as client:
        error = await timed_out(read(client), 0.3)
        await server.abandoned()
    assert isinstance(error, RequestTimeoutError)


async def test_dripping_recording_is_the_callers_to_stop(target: Path) -> None:
    """A recording may take any time as long as each piece comes in time; `asyncio.timeout()` ends it cleanly."""

    async def slow(peer: Peer, seen: Seen) -> None:
        await peer.send(http(200, {"Content-Type": "video/mp4"}, length=TEN_GB))
        await drip(PIECE, 0.01)(peer, seen)

    async with Server(slow) as server, client_of(server, timeouts=Timeouts(total=0.2)) as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.6):  # three times what one piece may take
                await download(client, target)
        await server.abandoned()
    assert not isinstance(caught.value, RequestTimeoutError)
    assert files(target.parent) == []


# Redirects


async def test_redirects_between_two_hosts_are_counted() -> None:
    """Two hosts that redirect to each other are followed five times, and only the first request has the key."""
    other_url = ""

    async def to_and_fro(peer: Peer, seen: Seen) -> None:
        await redirect(other_url)(peer, seen)

    async with Server(to_and_fro) as server, Server(redirect(f"{server.url}/api{RECORDING}")) as other:
        other_url = f"{other.url}/elsewhere"
        async with client_of(server) as client:
            error = await error_of(read(client))
        await other.abandoned()
    assert isinstance(error, InvalidResponseError)
    assert "it redirects more than 5 times" in error.problem
    assert (len(server.requests), len(other.requests)) == (3, 3)
    keys = [seen.headers.get("authorization") for seen in (*server.requests, *other.requests)]
    assert [key is not None for key in keys] == [True, False, False, False, False, False]


async def test_redirect_to_an_unknown_certificate_is_not_followed() -> None:
    """A redirect to a host with an untrusted certificate is an error, and nothing is read from it."""
    async with (
        Server(store(), tls=server_tls(trustme.CA())) as impostor,
        Server(redirect(impostor.url)) as server,
        client_of(server) as client,
    ):
        error = await error_of(read(client))
    assert isinstance(error, TransportError)
    assert "the certificate of localhost was not accepted" in error.reason
    assert impostor.requests == []


async def test_redirect_does_not_leave_https() -> None:
    """Every further redirect, too, is followed only to https, or from loopback to loopback."""
    async with Server(redirect("http://files.example/a")) as storage, Server(redirect(storage.url)) as server:
        async with client_of(server) as client:
            error = await error_of(read(client))
        await storage.abandoned()
    assert isinstance(error, InvalidResponseError)
    assert "only to https" in error.problem
    assert (len(server.requests), len(storage.requests)) == (1, 1)
