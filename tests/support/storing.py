"""Servers of recordings, and helpers for their tests."""

import random
from pathlib import Path
from typing import Any

import attrs

from akapulu_async import AkapuluClient
from akapulu_async.simulator import Simulator
from tests.support.misbehaving import REQUEST, SESSION, Behaviour, Peer, Seen, answer, http, raw

MIB = 2**20
CONTENT = random.Random(1).randbytes(3 * MIB + 12_345)
OTHER = random.Random(2).randbytes(2 * MIB + 54_321)


def store(
    content: bytes = CONTENT,
    *,
    etag: str | None = '"v1"',
    stop: int | None = None,
    ranges: bool = True,
    content_range: str | None = None,
) -> Behaviour:
    """Serve bytes with Range and If-Range; with `stop`, break the connection after that many bytes."""

    async def behave(peer: Peer, seen: Seen) -> None:
        wanted = seen.headers.get("range", "")
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        headers = {"Content-Type": "video/mp4"} | ({"ETag": etag} if etag else {})
        status = 200
        if wanted and ranges and seen.headers.get("if-range") == etag:
            status = 206
            headers["Content-Range"] = content_range or f"bytes {first}-{len(content) - 1}/{len(content)}"
        else:
            first = 0
        body = content[first:]
        await peer.send(http(status, headers, body[:stop], length=len(body)))
        if stop is not None:
            peer.open = False

    return behave


def chunked(content: bytes, *, whole: bool, etag: str | None = '"v1"') -> Behaviour:
    """Serve bytes without a length."""
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + (f"ETag: {etag}\r\n" if etag else "") + "\r\n"
    data = f"{len(content):x}\r\n".encode() + content + (b"\r\n0\r\n\r\n" if whole else b"")
    return raw(head.encode(), data)


def too_long() -> Behaviour:
    """Serve the requested rest, and more in the same body."""

    async def behave(peer: Peer, seen: Seen) -> None:
        first = int(seen.headers["range"].removeprefix("bytes=").removesuffix("-"))
        head = 'HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: "v1"\r\n'
        head += f"Content-Range: bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}\r\n\r\n"
        body = CONTENT[first:] + CONTENT
        await peer.send(head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")

    return behave


def without_ranges(*, stop: int | None = None) -> Behaviour:
    """Serve the whole like `store()`, and refuse ranges."""
    whole, refusal = store(stop=stop), answer({}, 416)

    async def behave(peer: Peer, seen: Seen) -> None:
        await (refusal if "range" in seen.headers else whole)(peer, seen)

    return behave


def redirect(location: str | None, status: int = 302) -> Behaviour:
    """Redirect to a location."""
    return answer(body=b"", status=status, headers={} if location is None else {"Location": location})


def files(folder: Path) -> list[str]:
    """Return the names in a folder, with the unique names of parts shortened to `.part`."""
    return sorted(".part" if path.name.endswith(".part") else path.name for path in folder.iterdir())


async def read(client: AkapuluClient) -> bytes:
    """Read a recording to its end."""
    async with client.conversations.recording(SESSION) as recording:
        return b"".join([piece async for piece in recording.iter_bytes()])


async def download(client: AkapuluClient, target: Path, **options: Any) -> Path:
    """Download the tests' recording."""
    return await client.conversations.download_recording(SESSION, target, **options)


async def ended(simulator: Simulator, client: AkapuluClient) -> str:
    """Run a conversation to its end, and return its id."""
    connection = await client.conversations.connect(attrs.evolve(REQUEST, record_conversation=True))
    simulator.advance(60)
    simulator.end(connection.conversation_session_id)
    return connection.conversation_session_id
