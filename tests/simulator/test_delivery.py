"""Faults change answers on a real socket."""

import asyncio
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from akapulu_async.simulator import Fault, delivery

UNKNOWN = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the real seconds that answers wait, and skip the waits."""
    waited: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(delivery, "asyncio", SimpleNamespace(sleep=record))
    return waited


async def raw(user: Any, method: str = "GET", path: str = "/api/x/") -> Any:
    """Send a raw request and return all bytes until the connection ends."""
    address = urlsplit(user.sim.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_reset_is_a_real_one(open_sim: Any, when: Any) -> None:
    """The client's socket reports a reset (RST), not an end of file."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(reset=when))
        with pytest.raises(ConnectionResetError):
            await raw(user)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_reset_can_be_late(open_sim: Any, waits: list[float], when: Any) -> None:
    """With a delay, the connection stays open that long before it is reset."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(reset=when, delay=600))
        with pytest.raises(ConnectionResetError):
            await raw(user)
    assert waits == [600]


async def test_before_and_after_differ_in_what_happened(open_sim: Any) -> None:
    """A reset before means no conversation; a reset after means a conversation whose answer is lost."""
    async with open_sim() as user:
        faults = (Fault(route="connect", reset="before"), Fault(route="connect", reset="after"))
        for fault, conversations, status in zip(faults, (0, 1), (None, 200), strict=True):
            user.sim.add_fault(fault)
            with pytest.raises(aiohttp.ClientOSError):
                await user.connect()
            assert len(user.sim.conversations) == conversations
            assert user.sim.requests[-1].status == status


async def test_a_truncated_answer_promises_more(open_sim: Any) -> None:
    """`Content-Length` stays, the given number of bytes arrives, and the connection is closed."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(body="0123456789", truncate_at=4))
        head, _, body = (await raw(user)).partition(b"\r\n\r\n")
        assert b"Content-Length: 10" in head
        assert body == b"0123"


async def test_even_a_whole_body_can_be_too_short(open_sim: Any) -> None:
    """Truncated beyond its end, a body is sent whole, and one more byte is promised."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(body="0123", truncate_at=99))
        head, _, body = (await raw(user)).partition(b"\r\n\r\n")
        assert (b"Content-Length: 5" in head, body) == (True, b"0123")


@pytest.mark.parametrize(("promised", "sent"), [(b"7", b"0123"), (b"2", b"01")])
async def test_a_wrong_length_is_sent_as_it_stands(open_sim: Any, promised: bytes, sent: bytes) -> None:
    """A made-up `Content-Length` promises more than comes, or cuts the body."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(body="0123", headers={"content-length": promised.decode()}))
        head, _, body = (await raw(user)).partition(b"\r\n\r\n")
        assert head.lower().count(b"content-length: " + promised) == 1
        assert head.lower().count(b"content-length") == 1
        assert body == sent


async def test_a_recording_can_be_truncated(open_sim: Any) -> None:
    """A file ends early, at the given byte."""
    async with open_sim(recording_form="bytes", recording_size=500_000) as user:
        identifier = await user.connect(record_conversation=True)
        user.sim.advance(100)
        user.sim.add_fault(Fault(route="recording", truncate_at=100_000))
        url = f"{user.sim.base_url}/conversations/{identifier}/recording/"
        headers = {"Authorization": f"Bearer {user.sim.api_key}"}
        received = bytearray()
        async with user.http.get(url, headers=headers) as response:
            with pytest.raises(aiohttp.ClientPayloadError, match="100000 of 500000"):
                await _read_into(received, response)
        assert len(received) == 100_000


async def _read_into(received: bytearray, response: aiohttp.ClientResponse) -> None:
    async for chunk in response.content.iter_any():
        received.extend(chunk)


async def test_a_drip_takes_its_time(open_sim: Any, waits: list[float]) -> None:
    """A slow body arrives whole, in ten pieces per second."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(body="x" * 50, bytes_per_second=200))
        received = await raw(user)
    assert received.endswith(b"\r\n\r\n" + b"x" * 50)
    assert waits == [0.1, 0.1, 0.05]


async def test_a_delay_comes_after_the_fact(open_sim: Any) -> None:
    """The request is handled at once; only its answer is late."""
    async with open_sim() as user:
        user.sim.add_fault(Fault(delay=0.01))
        waiting = asyncio.create_task(user.connect())
        await user.sim.wait_for_request("connect")
        assert len(user.sim.conversations) == 1
        assert not waiting.done()
        await waiting


async def test_a_delay_is_in_real_seconds(open_sim: Any, waits: list[float]) -> None:
    """However fast the simulated clock runs, an answer is late by its delay in real seconds."""
    async with open_sim(speed=1000) as user:
        user.sim.add_fault(Fault(delay=600))
        await user.connect()
    assert waits == [600]


async def test_a_true_answer_under_a_false_label(open_sim: Any) -> None:
    """The content type is wrong, the body the true one."""
    async with open_sim() as user:
        identifier = await user.connect()
        user.sim.add_fault(Fault(route="updates", content_type="text/html"))
        _, headers, body = await user.request("GET", f"/conversations/{identifier}/updates/")
        assert headers["Content-Type"] == "text/html"
        assert identifier.encode() in body


async def test_effects_combine(open_sim: Any) -> None:
    """Status, headers, slowness and truncation can be combined."""
    async with open_sim() as user:
        user.sim.add_fault(
            Fault(status=503, body="down", headers={"Retry-After": "7"}, truncate_at=2, bytes_per_second=1000)
        )
        head, _, body = (await raw(user)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert (b"Retry-After: 7" in head, body) == (True, b"do")
