"""Recordings over real sockets: which answers count, and which redirects are followed."""

# ruff: noqa: ASYNC240 - the tests look at files while nothing else is to run

import asyncio
import gzip
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from akapulu_async import (
    AkapuluClient,
    InvalidResponseError,
    NotFoundError,
    RecordingNotReadyError,
    RequestTimeoutError,
    Timeouts,
    TransportError,
)
from akapulu_async.simulator import Fault, Simulator
from tests.support.calls import error_of
from tests.support.misbehaving import (
    API_KEY,
    QUICK,
    RECORDING,
    SESSION,
    Behaviour,
    Server,
    answer,
    client_of,
    close,
    drip,
    gated,
    hang,
    http,
    raw,
    reset,
)
from tests.support.storing import CONTENT, MIB, chunked, download, ended, files, read, redirect, store


@pytest.mark.parametrize("form", ["redirect", "bytes"])
async def test_simulators_recording_arrives(form: Any, target: Path) -> None:
    """A recording arrives whole, as bytes or by a redirect, and the storage host never sees the key."""
    async with (
        Simulator(speed=0, seed=1, recording_form=form, recording_size=2 * MIB, recording_delay=5) as simulator,
        AkapuluClient(simulator.api_key, base_url=simulator.base_url, retry=QUICK) as client,
    ):
        session_id = await ended(simulator, client)
        with pytest.raises(RecordingNotReadyError, match="is not ready"):
            await client.conversations.download_recording(session_id, target)
        assert files(target.parent) == []
        simulator.advance(10)
        simulator.add_fault(Fault(route="storage" if form == "redirect" else "recording", truncate_at=MIB))
        assert await client.conversations.download_recording(session_id, target) == target
        async with client.conversations.recording(session_id) as recording:
            assert (recording.content_type, recording.size) == ("video/mp4", 2 * MIB)
            whole = b"".join([piece async for piece in recording.iter_bytes()])
        assert target.read_bytes() == whole
        assert len(whole) == 2 * MIB
        assert simulator.leaked_credentials == 0
    assert files(target.parent) == ["call.mp4"]


LENGTHS: dict[str, tuple[Behaviour, bool]] = {
    "a length": (store(b"film"), True),
    "chunks with an end": (chunked(b"film", whole=True), False),
    "the connection's end": (raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\nfilm"), False),
    "the connection's end, by HTTP/1.0": (raw(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\n\r\nfilm"), False),
}


@pytest.mark.parametrize(("behaviour", "given"), LENGTHS.values(), ids=LENGTHS)
async def test_recording_is_verified_by_its_length_alone(behaviour: Behaviour, given: bool) -> None:
    """`verified` is True once all bytes were read that a length promised, and never without a length."""
    async with (
        Server(behaviour) as server,
        client_of(server) as client,
        client.conversations.recording(SESSION) as recording,
    ):
        assert not recording.verified
        pieces = [piece async for piece in recording.iter_bytes()]
        assert b"".join(pieces) == b"film"
        assert recording.verified is given


async def test_recording_that_breaks_off_is_not_verified() -> None:
    """A recording that ends before its length raises an error, and stays unverified."""
    async with (
        Server(store(stop=MIB)) as server,
        client_of(server) as client,
        client.conversations.recording(SESSION) as recording,
    ):
        with pytest.raises(TransportError):
            async for _ in recording.iter_bytes():
                pass
        assert not recording.verified


@pytest.mark.parametrize(("behaviour", "given"), LENGTHS.values(), ids=LENGTHS)
async def test_download_without_a_length_is_logged(
    behaviour: Behaviour, given: bool, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A download whose length nobody gave logs that it may have been cut off, with its conversation."""
    async with Server(behaviour) as server, client_of(server) as client:
        await download(client, target)
    assert target.read_bytes() == b"film"
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [getattr(record, "session_id", None) for record in warnings] == ([] if given else [SESSION])
    assert all("came without a length, so its 4 bytes may not be all" in one.message for one in warnings)


NOT_READY = {
    "200": answer({"status_text": "Processing"}),
    "202": answer({"status_text": "Processing"}, 202),
    "202 and nothing": answer(status=202, body=b""),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "code": answer({"error": "Processing", "error_code": "RECORDING_NOT_READY"}, 409),
}


@pytest.mark.parametrize("behaviour", NOT_READY.values(), ids=NOT_READY)
async def test_not_ready_is_told(behaviour: Behaviour, target: Path) -> None:
    """An answer without bytes means "not ready", with the service's status text, and creates no file."""
    async with Server(behaviour) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert type(error) is RecordingNotReadyError
    assert error.status_text in {"Processing", ""}
    assert "wait_for_recording()" in str(error)
    assert files(target.parent) == []


@pytest.mark.parametrize("etag", [b'"\xff"', b'"a\x7f"', b'"a\x01"', b'"a\tb"', b"", b'W/"a"'], ids=ascii)
async def test_etag_that_cannot_be_sent_back_is_none(etag: bytes, target: Path) -> None:
    """An ETag that is empty, weak or cannot be sent back is ignored."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: %b\r\n\r\n" % (len(CONTENT), etag)
    async with Server(raw(head, CONTENT[:MIB]), raw(head, CONTENT)) as server, client_of(server) as client:
        await download(client, target)
        async with client.conversations.recording(SESSION) as recording:
            assert recording.etag is None
    assert target.read_bytes() == CONTENT
    assert "range" not in server.requests[1].headers


async def test_missing_recording_is_an_api_error() -> None:
    """A refusal that does not mention readiness stays a refusal."""
    async with Server(answer({"error": "Unknown."}, 404)) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert type(error) is NotFoundError


async def test_compressed_words_are_read() -> None:
    """JSON that a gateway compressed says why the recording is not ready."""
    words = gzip.compress(b'{"status_text": "Processing"}')
    packed = answer(headers={"Content-Encoding": "gzip"}, body=words)
    async with Server(packed) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert isinstance(error, RecordingNotReadyError)
    assert error.status_text == "Processing"


async def test_slow_json_has_a_deadline() -> None:
    """JSON that drips in place of a recording ends with the timeouts' total."""
    slow = drip(http(200, {"Content-Type": "application/json"}, b" " * 1000), 0.001)
    behaviour = gated(http(200, {"Content-Type": "application/json"}, b"{", length=100), asyncio.Event())
    for script in (slow, behaviour):
        async with Server(script) as server, client_of(server, timeouts=Timeouts(total=0.3)) as client:
            assert isinstance(await error_of(read(client)), RequestTimeoutError)


NO_RECORDING: dict[str, tuple[Behaviour, str]] = {
    "web page": (raw(http(200, {"Content-Type": "text/html; charset=utf-8"}, b"<h1>Log in</h1>")), "it is a web page"),
    "compressed": (
        raw(http(200, {"Content-Type": "video/mp4", "Content-Encoding": "gzip"}, gzip.compress(CONTENT[:100]))),
        "it is compressed (gzip), which was not asked for",
    ),
    "part": (
        raw(http(206, {"Content-Type": "video/mp4", "Content-Range": "bytes 5-9/10"}, b"abcde")),
        "it is a range, which was not asked for",
    ),
    "half of a JSON": (
        raw(http(200, {"Content-Type": "application/json"}, b'{"status_text": "Proc')),
        "it is not JSON (application/json): Unterminated string",
    ),
    "compressed JSON": (
        raw(http(200, {"Content-Type": "application/json", "Content-Encoding": "br"}, b"\x0b\x02")),
        "it is compressed (br), which was not asked for",
    ),
    "huge JSON": (raw(http(200, {"Content-Type": "application/json"}, length=256 * MIB)), "larger than 8 MiB"),
}


@pytest.mark.parametrize(("behaviour", "problem"), NO_RECORDING.values(), ids=NO_RECORDING)
async def test_what_is_no_recording_makes_no_file(behaviour: Behaviour, problem: str, target: Path) -> None:
    """A web page, compressed bytes or an unrequested range are not the recording."""
    async with Server(behaviour) as server, client_of(server) as client:
        error = await error_of(download(client, target))
    assert type(error) is InvalidResponseError
    assert problem in error.problem
    assert files(target.parent) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed_without_credentials(status: int) -> None:
    """The host of a redirect gets neither the key nor cookies."""
    async with (
        Server(store()) as storage,
        Server(redirect(f"{storage.url}/a?sig=%2B", status)) as server,
        client_of(server) as client,
    ):
        assert await read(client) == CONTENT
    assert server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"
    (seen,) = storage.requests
    assert seen.target == "/a?sig=%2B"
    assert {"authorization", "cookie"}.isdisjoint(seen.headers)
    assert API_KEY not in str(seen)


async def test_redirect_on_the_same_host_is_without_credentials_too() -> None:
    """A relative redirect is followed, also without the key."""
    async with Server(redirect("/files/a"), store()) as server, client_of(server) as client:
        assert await read(client) == CONTENT
    assert server.requests[1].target == "/files/a"
    assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("status", [401, 403])
async def test_redirect_within_the_base_url_is_a_missing_slash(status: int) -> None:
    """When the API itself is the target of a redirect and wants a key, the error names the path, after one attempt."""
    script = (redirect(f"/api{RECORDING}"), answer({"detail": "no"}, status))
    async with (
        Server(*script) as server,
        client_of(server, recording_path="/conversations/{session_id}/recording") as client,
    ):
        error = await error_of(read(client))
    assert type(error) is InvalidResponseError
    assert error.status == status
    assert "redirects are not followed with the API key; check that recording_path ends in '/'" in str(error)
    assert len(server.requests) == 2


async def test_borrowed_sessions_credentials_stay_with_their_host() -> None:
    """The host of a redirect does not get what a borrowed session adds to each request."""
    jar = aiohttp.CookieJar(unsafe=True)
    credentials = {"Authorization": "Bearer o", "X-Internal-Token": "t", "Proxy-Authorization": "Basic p"}
    harmless = {"Accept": "video/*"}
    session = aiohttp.ClientSession(headers=credentials | harmless, cookies={"a": "b"}, cookie_jar=jar)
    async with (
        session,
        Server(store()) as storage,
        Server(redirect(storage.url)) as server,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session) as client,
    ):
        assert await read(client) == CONTENT
    assert set(storage.requests[0].headers) == {"accept", "accept-encoding", "host", "user-agent"}
    assert storage.requests[0].headers["accept"] == "video/*"
    assert server.requests[0].headers["x-internal-token"] == "t"


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "http://files.example/a",
        "http://10.0.0.1/a",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "https://user:password@files.example/",
        "http://[::1",
        "javascript:alert(1)",
    ],
)
async def test_redirect_to_elsewhere_is_refused(location: str | None) -> None:
    """Only https is followed, or loopback from loopback; other redirects raise an InvalidResponseError."""
    async with Server(redirect(location)) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert type(error) is InvalidResponseError
    assert "it redirects to where it must not be followed: only to https" in error.problem
    assert len(server.requests) == 1


async def test_redirects_are_counted() -> None:
    """A redirect to itself is followed five times."""
    async with Server(redirect(RECORDING)) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert type(error) is InvalidResponseError
    assert "it redirects more than 5 times" in error.problem
    assert len(server.requests) == 6


async def test_five_redirects_are_followed() -> None:
    """Five redirects are followed."""
    async with Server(*[redirect("/next")] * 5, store()) as server, client_of(server) as client:
        assert await read(client) == CONTENT


@pytest.mark.parametrize(("status", "times"), [(403, 3), (404, 3), (503, 3)])
async def test_refusing_storage_is_told_as_that(status: int, times: int) -> None:
    """A refusal by the storage host is a TransportError that says so, and a new link is requested."""
    async with Server(answer({"secret": "x"}, status)) as storage, Server(redirect(storage.url)) as server:
        async with client_of(server) as client:
            error = await error_of(read(client))
        await storage.abandoned()
    assert type(error) is TransportError
    assert f"the host to which the service redirected answered {status}" in error.reason
    assert (len(server.requests), len(storage.requests)) == (times, times)


@pytest.mark.parametrize("behaviour", [reset, close, hang])
async def test_storage_that_breaks_off_leaves_nothing(behaviour: Behaviour) -> None:
    """If the storage host fails, the error is ours, and no connection is left on either side."""
    async with Server(behaviour) as storage, Server(redirect(storage.url)) as server:
        async with client_of(server, timeouts=Timeouts(total=0.3)) as client:
            error = await error_of(read(client))
        await storage.abandoned()
    assert isinstance(error, TransportError)


async def test_body_that_breaks_off_raises() -> None:
    """A recording whose connection breaks raises, and does not count as whole."""
    async with Server(store(stop=MIB)) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert type(error) is TransportError
    assert "closed in the middle of the answer" in error.reason


async def test_body_without_a_length_ends_with_its_connection(target: Path) -> None:
    """A recording without a length ends with its connection."""
    behaviour = raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n", CONTENT[:300])
    async with Server(behaviour) as server, client_of(server) as client:
        assert await read(client) == CONTENT[:300]
        await download(client, target)
    assert target.read_bytes() == CONTENT[:300]


async def test_silent_body_raises_in_time() -> None:
    """A recording that stops arriving raises after the timeouts' total."""
    behaviour = gated(http(200, {"Content-Type": "video/mp4"}, b"abc", length=1000), asyncio.Event())
    async with Server(behaviour) as server, client_of(server, timeouts=Timeouts(total=1)) as client:
        error = await error_of(read(client))
    assert isinstance(error, RequestTimeoutError)
    assert "nothing came in 1 s" in error.reason


async def test_leaving_early_leaves_nothing() -> None:
    """Leaving a recording in the middle closes the connection and gives the place back."""
    async with Server(store()) as server, client_of(server) as client:
        for _ in range(10):  # more than there are places for downloads
            with pytest.raises(LookupError):  # noqa: PT012 - what fails is the reader
                async with client.conversations.recording(SESSION) as recording:
                    async for _piece in recording.iter_bytes():
                        raise LookupError
        await server.abandoned()
        assert await read(client) == CONTENT


async def test_poll_does_not_wait_for_downloads() -> None:
    """While all download places are taken, calls succeed, and a further download's error says why it waited."""
    behaviour = gated(http(200, {"Content-Type": "video/mp4"}, b"abc", length=1000), asyncio.Event())
    script = [*[behaviour] * 8, answer({})]
    async with Server(*script) as server, client_of(server, pool_size=1, timeouts=Timeouts(total=1)) as client:
        opened = [client.conversations.recording(SESSION) for _ in range(8)]
        for recording in opened:
            await recording.__aenter__()
        assert await client.request("GET", "/things/") == {}
        error = await error_of(read(client))
        assert isinstance(error, RequestTimeoutError)
        assert "while waiting for one of the 8 downloads to end" in error.reason
        for recording in opened:
            await recording.__aexit__(None, None, None)
