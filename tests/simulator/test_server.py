"""The server serves the API, the storage host and the control over real sockets."""

import asyncio
import gc
import io
import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from akapulu_async.simulator import Fault, Simulator
from akapulu_async.simulator.server import url_of


async def recorded(user: Any) -> Any:
    identifier = await user.connect(record_conversation=True)
    user.sim.advance(100)
    return f"/conversations/{identifier}/recording/"


async def test_a_conversation_over_http(open_sim: Any) -> None:
    """Connect, polls and detail work over the wire, with JSON types and lengths."""
    async with open_sim(ready_time=11) as user:
        identifier = await user.connect(runtime_vars={"user_name": "Ann"})
        assert (await user.updates(identifier))[1]["completion_percent"] == 0.0
        user.sim.advance(60)
        assert (await user.updates(identifier))[1]["call_is_ready"]
        status, headers, detail = await user.request("GET", f"/conversations/{identifier}/")
        assert (status, headers["Content-Type"], detail["id"]) == (200, "application/json", identifier)
        assert detail["transcript_rows"]


async def test_a_missing_slash_swallows_a_post(open_sim: Any) -> None:
    """A redirected POST connects nothing, as with the real service."""
    async with open_sim() as user:
        status, headers, _ = await user.request("POST", "/conversations/connect", json={"a": 1})
        assert (status, headers["Location"]) == (301, "/api/conversations/connect/")
        assert not user.sim.conversations


async def test_a_wrong_key_gets_401(open_sim: Any) -> None:
    """A wrong key is refused with the documented code."""
    async with open_sim(api_key="secret") as user:
        status, _, answer = await user.request("GET", "/conversations/x/", key="other")
        assert (status, answer["error_code"]) == (401, "AUTH_INVALID")


async def test_a_redirected_recording(open_sim: Any) -> None:
    """The redirect leads to another port, which serves the bytes without a key and refuses one."""
    async with open_sim(recording_size=200_000) as user:
        status, headers, _ = await user.request("GET", await recorded(user))
        url = headers["Location"]
        assert (status, url.startswith(user.sim.storage_url + "/")) == (302, True)
        async with user.http.get(url) as response:
            assert (response.status, len(await response.read())) == (200, 200_000)
        assert user.sim.leaked_credentials == 0
        assert (await user.request("GET", url))[0] == 400
        assert user.sim.leaked_credentials == 1
        assert user.sim.count("storage") == 2


async def test_pieces_of_a_recording(open_sim: Any) -> None:
    """A range gets a 206 with its bytes."""
    async with open_sim(recording_form="bytes", recording_size=150_000) as user:
        path = await recorded(user)
        _, _, whole = await user.request("GET", path)
        status, headers, tail = await user.request("GET", path, headers={"Range": "bytes=100000-"})
        assert (status, headers["Content-Range"]) == (206, "bytes 100000-149999/150000")
        assert tail == whole[100_000:]
        assert (await user.request("GET", path, headers={"Range": "bytes=150000-"}))[0] == 416


async def test_head_tells_the_size_and_sends_nothing(open_sim: Any) -> None:
    """HEAD has the headers of GET and no body, at the API and at the storage host."""
    async with open_sim(recording_form="bytes", recording_size=150_000) as user:
        status, headers, body = await user.request("HEAD", await recorded(user))
        assert (status, headers["Content-Length"], body) == (200, "150000", b"")
    async with open_sim(recording_size=150_000) as user:
        _, headers, _ = await user.request("GET", await recorded(user))
        async with user.http.head(headers["Location"]) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, "150000")


async def test_a_large_body_gets_413(open_sim: Any) -> None:
    """More than 1 MiB is refused in the service's form, and recorded."""
    async with open_sim() as user:
        body = io.BytesIO(b" " * 2**21)
        status, _, answer = await user.request("POST", "/conversations/connect/", data=body)
        assert (status, answer["error_code"]) == (413, "BODY_TOO_LARGE")
        assert user.sim.requests[-1].status == 413


POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer simulator-key\r\n"
ADVANCE, CONNECT = b"/_simulator/advance", b"/api/conversations/connect/"


@pytest.mark.parametrize(("path", "seen"), [(ADVANCE, 0), (CONNECT, 1)])
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"Content-Length: 2000000\r\n\r\n" + b" " * 2_000_000, 413),
        (b"Content-Length: 2\r\n\r\n\xff\xff", 400),
    ],
)
async def test_bad_bodies_are_refused_where_they_came(
    open_sim: Any, caplog: Any, path: bytes, seen: int, rest: bytes, status: int
) -> None:
    """A body that cannot be read gets 400 or 413 without a traceback; control requests are not recorded."""
    async with open_sim() as user:
        address = urlsplit(user.sim.base_url)
        if path == ADVANCE:
            user.sim.add_fault(Fault(status=500))
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(POST % path + rest)
        head = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r", 1)[0]))
        writer.close()
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert json.loads(answer)["error_code"]
        assert (len(user.sim.requests), len(user.sim.faults)) == (seen, 1 - seen)
    assert not caplog.records


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        (Fault(body="x" * 10_000, bytes_per_second=10_000), b"GET /api/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (Fault(delay=0.05), b"GET /api/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (None, POST % CONNECT + b"Content-Length: 100\r\n\r\n{"),
        (None, POST % ADVANCE + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
    ],
)
async def test_clients_may_go_away(open_sim: Any, caplog: Any, fault: Any, sent: bytes) -> None:
    """A client that disconnects during an answer, a delay or its own body leaves no traceback and no task."""
    async with open_sim() as user:
        before = asyncio.all_tasks()
        address = urlsplit(user.sim.base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET /_simulator/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # now the server has accepted the connection
        if fault is not None:
            user.sim.add_fault(fault)
        writer.write(sent)
        if fault is not None:
            await user.sim.wait_for_request()
        writer.transport.abort()
        _, left = await asyncio.wait(asyncio.all_tasks() - before, timeout=10)
        assert not left
    assert not caplog.records


LOOPBACK = ["localhost", "LocalHost:1", "127.0.0.1", "127.9.8.7:65535", "[::1]", "[::1]:8080"]
FOREIGN = [
    "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost", "",
    "128.0.0.1", "[::2]", "0.0.0.0", "localhost:x", "evil.example:127.0.0.1", "localhost@evil.example",  # noqa: S104 - a name in question
]  # fmt: skip


@pytest.mark.parametrize("path", ["/_simulator/stats", "/api/else/"])
async def test_on_loopback_only_loopback_names_are_served(open_sim: Any, path: str) -> None:
    """Any other `Host` gets 403 and says what to do, for the controls and the API, and changes nothing."""
    async with open_sim() as user:
        url, fault = user.sim.base_url.removesuffix("/api"), user.sim.add_fault(Fault(delay=0.001, times=None))
        for host in LOOPBACK:
            status, _, _ = await user.request("GET", url + path, headers={"Host": host})
            assert status in {200, 404}, host
        seen = user.sim.count(), fault.hits
        for host in FOREIGN:
            status, _, answer = await user.request("GET", url + path, headers={"Host": host})
            assert (status, answer["error_code"]) == (403, "HOST_REFUSED"), host
            assert "localhost, 127.0.0.0/8 and [::1]" in answer["error"]
            assert "--host" in answer["error"]
        assert (user.sim.count(), fault.hits) == seen


async def test_rebinding_controls_nothing(open_sim: Any) -> None:
    """A web page whose own name resolves to loopback, and is its origin, changes nothing."""
    async with open_sim() as user:
        page = {"Host": "evil.example", "Origin": "http://evil.example"}
        status, answer = await user.control("POST", "advance", json={"seconds": 5}, headers=page)
        assert (status, answer["error_code"], user.sim.now) == (403, "HOST_REFUSED", 0)


async def test_elsewhere_any_name_is_served(open_sim: Any) -> None:
    """On another address than loopback, and on the storage host, the name does not matter."""
    named = {"Host": "simulator.example:8080"}
    async with open_sim(host="0.0.0.0") as user:  # noqa: S104 - the case in question
        assert (await user.control("GET", "stats", headers=named))[0] == 200
        assert (await user.request("GET", "/conversations/x/", headers=named))[0] == 400
    async with open_sim(recording_size=200_000) as user:
        _, headers, _ = await user.request("GET", await recorded(user))
        async with user.http.get(headers["Location"], headers=named) as response:
            assert response.status == 200


async def test_a_request_without_a_host_is_served(open_sim: Any) -> None:
    """A request without `Host`, as health checks send it, comes from no web page and is served."""
    async with open_sim() as user:
        address = urlsplit(user.sim.base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET /_simulator/ HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200")
        writer.close()


async def test_what_was_seen(open_sim: Any) -> None:
    """Every request is recorded with its route, conversation, status and fault."""
    async with open_sim() as user:
        identifier = await user.connect()
        fault = Fault(route="updates", status=503)
        user.sim.add_fault(fault)
        await user.updates(identifier)
        await user.control("GET", "stats")
        connect, poll = user.sim.requests
        assert (connect.number, connect.method, connect.route, connect.status) == (1, "POST", "connect", 200)
        assert (poll.number, poll.route, poll.conversation_id) == (2, "updates", identifier)
        assert (poll.status, poll.fault, poll.path) == (
            503, fault, f"/api/conversations/{identifier}/updates/"
        )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - the case in question
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("fe80::1%eth0", "http://[fe80::1%eth0]:80"),
    ],
)
def test_an_address_as_a_url(address: str, url: str) -> None:
    """An unspecified address becomes loopback, others stay, IPv6 is in brackets."""
    assert url_of(address, 80) == url


async def test_closing_does_not_wait_for_slow_answers() -> None:
    """A simulator whose answers are delayed for minutes still closes at once."""
    async with Simulator() as sim:
        sim.add_fault(Fault(delay=600))
        host, port = sim.base_url.removeprefix("http://").removesuffix("/api").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /api/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await sim.wait_for_request()
    assert await reader.read() == b""
    writer.close()


async def test_a_port_in_use_is_an_error_and_leaves_nothing_open(open_sim: Any) -> None:
    """A storage port in use raises OSError, and the API's port is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with open_sim() as user:
        taken = urlsplit(user.sim.storage_url).port
        with pytest.raises(OSError, match="in use"):
            async with Simulator(port=port, storage_port=taken):
                pass
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("rounds", range(4))
async def test_closed_while_connections_come(rounds: int) -> None:
    """A listener closed while it accepts, at any step, closes the connection without a complaint."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with Simulator() as sim:
        with socket.create_connection(("127.0.0.1", urlsplit(sim.base_url).port or 0), timeout=5) as client:
            for _ in range(rounds):
                await asyncio.sleep(0)
            await sim.__aexit__(None, None, None)
            with suppress(ConnectionResetError):  # it may never have been accepted
                assert client.recv(1) == b""
    gc.collect()
    assert complaints == []
