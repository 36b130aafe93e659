"""Addresses of host names: how long they are remembered, and that a lookup that hangs holds nobody up."""

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from akapulu_async import AkapuluClient, ClosedError, RequestTimeoutError, RetryPolicy, Timeouts, TransportError
from akapulu_async.http import resolver
from akapulu_async.http.resolver import Resolver
from tests.support.calls import Call, both_calls, both_loops, error_of
from tests.support.misbehaving import API_KEY, PATIENCE, QUICK, UPDATE, Server, answer, connect, hang, leave, poll

HOST = "akapulu.example"
ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))


class Names:
    """Stands in for the system's lookup: counts, and waits while a test holds it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_asked = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.answer: Callable[[int], list[Any]] = lambda port: [(*ADDRESS[:4], ("127.0.0.1", port))]

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        self.was_asked.set()
        self.open.wait(PATIENCE)
        return self.answer(port)

    async def until_asked(self) -> None:
        """Return when the lookup was called."""
        await asyncio.to_thread(self.was_asked.wait, PATIENCE)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Replace the system's lookup."""
    stand_in = Names()
    monkeypatch.setattr(socket, "getaddrinfo", stand_in)
    monkeypatch.setenv("NO_PROXY", "*")
    yield stand_in
    stand_in.open.set()


async def test_waiting_calls_share_a_lookup(names: Names) -> None:
    """Calls for one host wait for one lookup, and later ones take its result."""
    names.open.clear()
    addresses = Resolver()
    waiting = [asyncio.create_task(addresses.resolve(HOST, 443)) for _ in range(3)]
    await names.until_asked()
    waiting[0].cancel()
    names.open.set()
    assert [found[0]["host"] for found in await asyncio.gather(*waiting[1:])] == ["127.0.0.1"] * 2
    assert waiting[0].cancelled()
    await addresses.resolve(HOST, 443)
    assert names.asked == [HOST]


async def test_address_is_remembered_for_a_while(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is asked for again after its time."""
    addresses = Resolver()
    await addresses.resolve(HOST, 443)
    await addresses.resolve(HOST, 443)
    monkeypatch.setattr(resolver, "DNS_TTL", 0.0)
    await addresses.resolve(HOST, 443)
    assert names.asked == [HOST] * 2


async def test_addresses_take_turns(names: Names) -> None:
    """All addresses are given, each first by turns, and a link-local one with its interface."""
    names.answer = lambda port: [
        (*ADDRESS[:4], ("192.0.2.1", port)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 2)),
    ]
    addresses = Resolver()
    found = [[one["host"] for one in await addresses.resolve(HOST, 443)] for _ in range(4)]
    assert sorted(found[0]) == ["192.0.2.1", "2001:db8::1", "fe80::1%2"]
    assert len({hosts[0] for hosts in found[:3]}) == 3
    assert found[3] == found[0]


async def test_failure_is_not_remembered(names: Names) -> None:
    """A host that could not be resolved is looked up again by the next call."""

    def fail(_: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    names.answer = fail
    addresses = Resolver()
    failures = await asyncio.gather(*(addresses.resolve(HOST) for _ in range(2)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [socket.gaierror] * 2
    assert failures[0] is not failures[1]
    assert names.asked == [HOST]
    with pytest.raises(socket.gaierror):
        await addresses.resolve(HOST)
    assert names.asked == [HOST] * 2


async def test_lookup_that_cannot_begin(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup for which the system has no thread fails like any other, and the next call asks again."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    addresses = Resolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            await addresses.resolve(HOST, 443)
    async with asyncio.timeout(PATIENCE):
        await addresses.resolve(HOST, 443)


async def test_answer_after_the_close_reaches_nobody(names: Names) -> None:
    """A lookup that ends after its resolver, or its loop, was closed disturbs nothing."""
    names.open.clear()
    addresses = Resolver()
    task = asyncio.create_task(addresses.resolve(HOST))
    await names.until_asked()
    await addresses.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    threads = [thread for thread in threading.enumerate() if thread.name == f"look up {HOST}"]
    assert len(threads) == 1
    names.open.set()
    await asyncio.to_thread(threads[0].join, PATIENCE)
    assert not threads[0].is_alive()


def test_answer_after_the_loops_end_reaches_nobody(names: Names) -> None:
    """A lookup that ends after its loop was closed raises nothing in its thread."""
    names.open.clear()

    async def give_up() -> None:
        task = asyncio.create_task(Resolver().resolve(HOST))
        await names.until_asked()
        task.cancel()

    asyncio.run(give_up())
    (thread,) = (thread for thread in threading.enumerate() if thread.name == f"look up {HOST}")
    names.open.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    gc.collect()


def test_close_after_the_loops_end(names: Names) -> None:
    """It can be closed although its loop was, while a call waited for an address."""
    names.open.clear()
    addresses, loop = Resolver(), asyncio.new_event_loop()

    async def leave_waiting() -> Coroutine[Any, Any, object]:
        waiting = addresses.resolve(HOST)
        waiting.send(None)
        await names.until_asked()
        return waiting

    waiting = loop.run_until_complete(leave_waiting())
    loop.close()
    asyncio.run(addresses.close())
    waiting.close()


@both_loops
async def test_moved_host_is_found_at_the_next_attempt(names: Names) -> None:
    """When a connection to a remembered address fails, the next attempt asks for the address anew."""
    async with Server(answer(UPDATE)) as new:
        async with Server(leave) as old:
            # One address is sure to be this machine's, so it is the port that moves.
            names.answer = lambda _: [(*ADDRESS[:4], ("127.0.0.1", old.port))]
            client = AkapuluClient(API_KEY, base_url=f"http://localhost:{old.port}/api", retry=QUICK)
            await client.open()
            await poll(client)
            await old.abandoned()
        names.answer = lambda _: [(*ADDRESS[:4], ("127.0.0.1", new.port))]
        await poll(client)
        await client.aclose()
    assert (len(old.requests), len(new.requests), len(names.asked)) == (1, 1, 2)


@both_loops
async def test_lookup_that_hangs_is_over_when_the_connection_should_be_made(names: Names) -> None:
    """`Timeouts.connect` ends the wait for an address, and the request surely did not leave."""
    names.open.clear()
    timeouts, retry = Timeouts(connect=0.1, total=PATIENCE), RetryPolicy(attempts=2, base=0)
    async with AkapuluClient(API_KEY, base_url=f"https://{HOST}", timeouts=timeouts, retry=retry) as client:
        error = await error_of(connect(client))
    assert type(error) is RequestTimeoutError
    assert error.reason == "no connection was made in 0.1 s"
    assert (error.sent, error.attempts) == (False, 2)
    assert names.asked == [HOST]  # the second attempt waits for the lookup of the first


@both_loops
async def test_close_ends_the_search_for_an_address(names: Names) -> None:
    """A call whose host is being looked up when the client is closed fails for that, and is not cancelled."""
    names.open.clear()
    client = AkapuluClient(API_KEY, base_url=f"https://{HOST}")
    await client.open()
    task = asyncio.create_task(error_of(poll(client)))
    await names.until_asked()
    await client.aclose()
    error = await task
    assert type(error) is ClosedError
    assert "the client is not open" in str(error)


@both_calls
async def test_error_says_once_whether_it_arrived(names: Names, call: Call) -> None:
    """When the attempt before never left, the error of a later one that did, or may have, does not say so."""

    def fail(_: int) -> list[Any]:
        names.answer = lambda _: [(*ADDRESS[:4], ("127.0.0.1", server.port))]
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    names.answer = fail
    async with Server(hang) as server:
        timeouts = Timeouts(total=0.5)
        url = f"http://localhost:{server.port}/api"
        async with AkapuluClient(API_KEY, base_url=url, timeouts=timeouts, retry=QUICK) as client:
            error: Any = await error_of(call(client))
    assert error.reason.startswith("0.5 s passed ")
    assert error.reason.endswith("; before that: the host name localhost could not be resolved")
    assert str(error).count("never reached") == (not getattr(error, "sent", True))


async def test_strange_failure_is_told(names: Names) -> None:
    """A host name that the system does not even try is an error of ours."""

    def fail(_: int) -> list[Any]:
        raise UnicodeError("label empty or too long")

    names.answer = fail
    async with AkapuluClient(API_KEY, base_url=f"https://{HOST}", retry=QUICK) as client:
        error = await error_of(poll(client))
    assert isinstance(error, TransportError)
    assert error.reason == f"the host name {HOST} could not be resolved"


_HANGS = """
import asyncio, socket, threading
def hang(*_, **__):
    print("asked", flush=True)
    threading.Event().wait()
socket.getaddrinfo = hang
from akapulu_async import AkapuluClient
async def main():
    async with AkapuluClient("ak-live", base_url="https://akapulu.example") as client:
        await client.request("GET", "/things/")
asyncio.run(main())
"""


async def test_interrupt_ends_a_program_whose_lookup_hangs() -> None:
    """Ctrl-C ends a program at once, though the system's lookup never returns."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HANGS), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"asked\n"
    process.send_signal(signal.SIGINT)
    try:
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert b"KeyboardInterrupt" in errors
