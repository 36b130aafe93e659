"""Over real sockets: whatever bytes come as an answer, a call returns a model or raises an error of the library."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akapulu_async import AkapuluClient, AkapuluError, RetryPolicy, Timeouts
from tests.robustness.fuzzing.targets import KEY, check_error
from tests.support.misbehaving import REQUEST, SESSION, UPDATE, Peer, Seen, Server, http

CALLS: dict[str, Callable[[AkapuluClient, Path], Awaitable[object]]] = {
    "connect": lambda client, _: client.conversations.connect(REQUEST),
    "updates": lambda client, _: client.conversations.updates(SESSION),
    "detail": lambda client, _: client.conversations.detail(SESSION),
    "request": lambda client, _: client.request("GET", "/scenarios/"),
    "download": lambda client, folder: client.conversations.download_recording(
        SESSION, folder / "call.mp4", overwrite=True
    ),
}

# Parts of answers, good and bad.
STATUS_LINES = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 503", b"HTTP/1.1 302 Found", b"HTTP/1.1 206 Part"),
    *(b"HTTP/1.1 101 Up", b"HTTP/1.1 100 Continue", b"HTTP/2 200", b"HTTP/1.1 204 None", b"HTTP/1.1 999 \xff"),
)
NAMES = (
    *(b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Content-Type", b"Location", b"Retry-After"),
    *(b"ETag", b"Content-Range", b"Set-Cookie", b"Connection", b"Content-Disposition", b"Upgrade", b"Link", b"\xff"),
)
VALUES = (
    *(b"0", b"5", b"-1", b"99999999999999999999", b"chunked", b"gzip", b"deflate, br", b"application/json", b"close"),
    *(b"text/html; charset=\xff", b"https://a..b/", b"//x", b"bytes 0-4/5", b"bytes 1-4/*", b'"v\xff"', b"websocket"),
)
BODIES = (
    *(b"", b"hello", b"{}", b'{"error": "\\ud800"}'),
    *(b"5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello", b"ffffffffffffffff\r\n"),
)
UPGRADE = b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\xff"

pieces = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.binary(max_size=12))
answers = st.builds(
    lambda status, headers, body: b"\r\n".join([status, *(b": ".join(header) for header in headers), b"", body]),
    st.sampled_from(STATUS_LINES),
    st.lists(pieces, max_size=4),
    st.sampled_from(BODIES) | st.binary(max_size=40),
)


class Speaker:
    """Sends the next answer, then closes."""

    def __init__(self) -> None:
        self.words = b""

    async def __call__(self, peer: Peer, seen: Seen) -> None:
        await peer.send(self.words)
        peer.open = False


@asynccontextmanager
async def speaking() -> AsyncGenerator[tuple[Speaker, AkapuluClient]]:
    """Yield a client and the answers of its service."""
    speaker = Speaker()
    timeouts, retry = Timeouts(total=20), RetryPolicy(attempts=1)
    async with (
        Server(speaker) as server,
        AkapuluClient(KEY.reveal(), base_url=server.base_url, timeouts=timeouts, retry=retry) as client,
    ):
        yield speaker, client


@pytest.mark.parametrize("name", CALLS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=100) | answers, min_size=1, max_size=5))
async def test_any_answer(name: str, tmp_path: Path, said: list[bytes]) -> None:
    """Whatever comes, a call returns or raises an error of the library."""
    async with speaking() as (speaker, client):
        for speaker.words in said:
            try:
                await CALLS[name](client, tmp_path)
            except AkapuluError as error:
                check_error(error, caused=True)


@pytest.mark.parametrize("words", [b"\xff" * 100, UPGRADE, b"HTTP/1.1 200\r\n\r\n{"], ids=["noise", "upgrade", "cut"])
async def test_the_client_recovers(words: bytes) -> None:
    """After an invalid answer, the next call succeeds."""
    async with speaking() as (speaker, client):
        speaker.words = words
        with pytest.raises(AkapuluError):
            await client.conversations.updates(SESSION)
        speaker.words = http(200, {}, json.dumps(UPDATE).encode())
        assert (await client.conversations.updates(SESSION)).completion_percent == UPDATE["completion_percent"]
