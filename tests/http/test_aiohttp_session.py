"""How aiohttp is set up: the proxy, the CA, and words for what goes wrong."""

import asyncio
import errno
import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.http_exceptions import HttpProcessingError, InvalidHeader, LineTooLong, TransferEncodingError
from cryptography import x509
from yarl import URL

from akapulu_async import AkapuluClient, ConfigurationError, RetryPolicy, TransportError
from akapulu_async.http.aiohttp_session import BrokenConnectionError, environment_proxy, failure_reason, system_cause
from akapulu_async.http.reused_request import ReusedRequest
from tests.support.calls import Call, both_calls, error_of, server_tls
from tests.support.misbehaving import (
    API_KEY,
    QUICK,
    SESSION,
    UPDATE,
    Server,
    answer,
    client_of,
    close,
    http,
    leave,
    poll,
    raw,
    tunnel_to,
)
from tests.support.scanning import variables_of
from tests.support.storing import read, redirect, store

PROXY = "http://proxy.example:3128"
SERVICE = "https://akapulu.com/api"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without proxies, whatever the machine has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "akapulu.com"}, None),
    ],
)
def test_proxy_is_the_environments(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    """The environment's proxy is taken, with or without a scheme."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(SERVICE) == proxy


_NOT_HTTP, _NO_URL = "only HTTP proxies are supported", "it is not a URL such as http://host:3128"


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5://user:hunter2@proxy.example:1080", _NOT_HTTP),
        ("://user:hunter2@proxy.example", _NOT_HTTP),
        ("http://user:hunter/2@proxy.example:3128", _NO_URL),
        ("http://user:12/hunter@proxy.example:3128", _NO_URL),
        ("http://user:12?hunter@proxy.example:3128", _NO_URL),
        ("http://user:12#hunter@proxy.example:3128", _NO_URL),
        ("user:hunter#2@proxy.example:3128", _NO_URL),
        ("http://user:hunter2@proxy.example:31x28", _NO_URL),
        ("http://user:hunter2@proxy.example:312800", _NO_URL),
        ("http://user:hunter2@", _NO_URL),
        ("http://[::1", _NO_URL),
        ("http://", _NO_URL),
    ],
)
async def test_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str, problem: str) -> None:
    """A proxy that is none of HTTP's, or not written as a URL, is refused when the client opens, without its text."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match=f"HTTPS_PROXY: {problem}") as caught:
        await AkapuluClient(API_KEY, base_url=SERVICE).open()
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert "hunter" not in str(error) + "".join(variables_of(error))


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
async def test_variable_of_a_bad_proxy_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A proxy that cannot be used is blamed on the variable that names it."""
    monkeypatch.setenv(variable, "socks5://proxy.example:1080")
    with pytest.raises(ConfigurationError, match=f"^{variable}: only HTTP proxies"):
        await AkapuluClient(API_KEY, base_url=SERVICE).open()


@pytest.mark.parametrize(
    ("status", "times", "advice"),
    [
        (407, 1, ": check the user name and the password in its URL (HTTPS_PROXY, "),
        (401, 1, ": check the user name and the password in its URL (HTTPS_PROXY, "),
        (403, 1, ": it must allow CONNECT to this host, or NO_PROXY must list the host"),
        (502, 3, ""),
    ],
)
@both_calls
async def test_proxy_that_refuses_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, status: int, times: int, advice: str, call: Call
) -> None:
    """A proxy that does not accept the password, or the host, is asked once, which locks no account, with advice."""
    async with Server(raw(http(status))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:hunter2@"))
        async with AkapuluClient(API_KEY, base_url=SERVICE, retry=QUICK) as client:
            error = await error_of(call(client))
    assert type(error) is TransportError
    assert f"the proxy refused with {status}{advice}" in error.reason
    assert (error.sent, error.permanent, error.attempts) == (False, times == 1, times)
    assert [seen.method for seen in proxy.requests] == ["CONNECT"] * times
    assert "hunter" not in str(error) + "".join(variables_of(error))


async def test_borrowed_sessions_proxy_that_is_no_url_is_told() -> None:
    """A borrowed session's proxy may be no URL either, and its password does not show."""
    async with (
        aiohttp.ClientSession(proxy="http://user:hunter/2@proxy.example") as session,
        AkapuluClient(API_KEY, http=session, retry=RetryPolicy(attempts=1)) as client,
    ):
        error = await error_of(poll(client))
    assert isinstance(error, TransportError)
    assert error.reason == "a URL is not valid: the request's, or that of the session's proxy"


async def test_client_behind_a_proxy_goes_straight_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on this machine is asked without the proxy."""
    async with Server(answer({}, 502)) as proxy, Server(answer(UPDATE)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with client_of(server) as client:
            await poll(client)
    assert (len(server.requests), proxy.connections) == (1, 0)


async def test_cookies_are_not_kept() -> None:
    """A cookie that the service sets is not sent back: calls do not hang together."""
    async with Server(answer(UPDATE, headers={"Set-Cookie": "a=b"})) as server, client_of(server) as client:
        await poll(client)
        await poll(client)
    assert "cookie" not in server.requests[1].headers


_PROXIED_KEY = "violet-canyon"
_POLL = """
import asyncio, sys
from akapulu_async import AkapuluClient
async def main():
    async with AkapuluClient("violet-canyon", base_url=sys.argv[1]) as client:
        for _ in range(int(sys.argv[3])):
            print((await client.conversations.updates(sys.argv[2])).latest_update_text)
asyncio.run(main())
"""


async def test_own_authority_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA that `SSL_CERT_FILE` names when the client opens is trusted, also if the file or its name is new by then."""
    first, second = trustme.CA(), trustme.CA()
    file = tmp_path / "ca.pem"
    first.cert_pem.write_to_path(file)
    os.utime(file, (0, 0))
    async with (
        Server(answer(UPDATE), tls=server_tls(first)) as old,
        Server(answer(UPDATE), tls=server_tls(second)) as new,
    ):
        clients = [AkapuluClient(API_KEY, base_url=server.base_url, retry=QUICK) for server in (old, new)]
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        async with clients[0] as client:
            await poll(client)
        second.cert_pem.write_to_path(file)
        async with clients[1] as client:
            await poll(client)
        async with clients[0] as client:
            assert "certificate of localhost was not accepted" in str(await error_of(poll(client)))


async def test_own_authority_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA in a folder of `SSL_CERT_DIR` is trusted by a client that opens then, as long as the folder is named."""
    authority = trustme.CA(organization_name="own", organization_unit_name="authority")
    # OpenSSL finds it by a hash of its subject in lower case, which this one is already.
    subject = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject.public_bytes()[2:]
    name = f"{int.from_bytes(hashlib.sha1(subject).digest()[:4], 'little'):08x}.0"  # noqa: S324 - OpenSSL's choice
    authority.cert_pem.write_to_path(tmp_path / name)
    async with Server(answer(UPDATE), tls=server_tls(authority)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url, retry=QUICK)
        for folders in (str(tmp_path), f"/nowhere{os.pathsep}{tmp_path}"):
            monkeypatch.setenv("SSL_CERT_DIR", folders)
            async with client:
                await poll(client)
        monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere{os.pathsep}/nor/here")
        async with client:
            assert "certificate of localhost was not accepted" in str(await error_of(poll(client)))


async def test_environment_is_read_when_the_client_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and address of the environment are those of the moment at which the client opens; arguments stay."""
    async with Server(answer(UPDATE)) as server:
        monkeypatch.setenv("AKAPULU_API_KEY", "too-early")
        monkeypatch.setenv("AKAPULU_BASE_URL", "http://127.0.0.1:9")
        of_environment, of_arguments = AkapuluClient(), AkapuluClient(API_KEY, base_url=server.base_url)
        monkeypatch.setenv("AKAPULU_API_KEY", "just-right")
        monkeypatch.setenv("AKAPULU_BASE_URL", server.base_url)
        for client in (of_environment, of_arguments):
            async with client:
                await poll(client)
        monkeypatch.delenv("AKAPULU_API_KEY")
        with pytest.raises(ConfigurationError, match="There is no API key"):
            await of_environment.open()
        async with of_arguments as client:
            await poll(client)
    assert [seen.headers["authorization"] for seen in server.requests] == [
        "Bearer just-right",
        f"Bearer {API_KEY}",
        f"Bearer {API_KEY}",
    ]


async def test_client_is_opened_once_by_many() -> None:
    """A client that several tasks open at once is opened once."""
    async with Server(answer(UPDATE)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url)
        await asyncio.gather(*(client.open() for _ in range(3)))
        await poll(client)
        await client.aclose()
        await server.abandoned()
    assert server.connections == 1


class Counted(aiohttp.ClientRequest):
    """Counts how many requests were made."""

    made = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        Counted.made += 1


async def test_prepared_get_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared GET is made for its first URL, and then sent to others as it is, without a second try of aiohttp's."""
    monkeypatch.setattr(Counted, "made", 0)
    headers = {"Authorization": "Bearer key"}
    async with (
        Server(answer(UPDATE), answer(UPDATE), close) as server,
        aiohttp.ClientSession(headers=headers, request_class=Counted) as session,
    ):
        get = ReusedRequest(session, {"params": {"a": "b"}})
        for path in ("/first", "/second", "/third"):
            try:
                response = await get.send(URL(server.url + path), {})
            except BrokenConnectionError:
                assert path == "/third"
            else:
                assert await response.json() == UPDATE
    assert Counted.made == 1
    assert [seen.target for seen in server.requests] == ["/first?a=b", "/second", "/third"]
    assert server.requests[0].headers == server.requests[1].headers == server.requests[2].headers
    assert server.requests[0].headers["authorization"] == "Bearer key"


async def test_prepared_get_is_sent_once_the_first_time_too() -> None:
    """When the connection of a prepared GET's first sending breaks, aiohttp does not send it a second time."""
    async with Server(close, answer(UPDATE)) as server, aiohttp.ClientSession() as session:
        with pytest.raises(BrokenConnectionError):
            await ReusedRequest(session, {}).send(URL(server.url), {})
    assert len(server.requests) == 1


_WITHOUT = """
import asyncio, sys
import aiohttp, aiohttp.client_middlewares, aiohttp.client_proto, aiohttp.http_exceptions, aiohttp.http_writer
del aiohttp.client_proto.ResponseHandler.force_close, aiohttp.client_proto.ResponseHandler
del aiohttp.client_middlewares, aiohttp.http_exceptions, aiohttp.http_writer
for name in ("client_middlewares", "client_proto", "http_exceptions", "http_writer"):
    sys.modules["aiohttp." + name] = None
from akapulu_async import RetryPolicy
from tests.support.misbehaving import CONNECTION, UPDATE, Server, answer, client_of, close, connect, poll

async def main():
    async with Server(answer(UPDATE), answer(UPDATE), answer(CONNECTION), close) as server:
        async with client_of(server, retry=RetryPolicy(attempts=1)) as client:
            for call in (poll, poll, connect, connect):
                try:
                    print(type(await call(client)).__name__)
                except Exception as error:
                    print(type(error).__name__)

asyncio.run(main())
"""


async def test_undocumented_parts_of_aiohttp_may_be_gone() -> None:
    """Without the modules of aiohttp that are not documented, the library is imported, and calls are answered."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WITHOUT), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    kinds = ["ConversationUpdate", "ConversationUpdate", "Connection", "ConnectOutcomeUnknownError"]
    assert output.decode().split() == kinds, errors.decode()


async def test_calls_through_the_environments_proxy(tmp_path: Path) -> None:
    """Behind a proxy each call over a new connection asks for a tunnel, through which alone the key goes."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = Server(leave, tls=server_tls(authority, "akapulu.example"))
    async with server, Server(tunnel_to(server)) as proxy:
        environment = os.environ | {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _POLL, "https://akapulu.example/api", SESSION, "3"),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert output.decode().splitlines() == ["bot joined daily room"] * 3, errors.decode()
    assert [(seen.method, seen.target) for seen in proxy.requests] == [("CONNECT", "akapulu.example:443")] * 3
    assert [str(seen.headers) for seen in proxy.requests if _PROXIED_KEY in str(seen.headers)] == []
    assert [seen.headers["authorization"] for seen in server.requests] == [f"Bearer {_PROXIED_KEY}"] * 3


_READ = """
import asyncio, sys
from akapulu_async import AkapuluClient
async def main():
    async with AkapuluClient("violet-canyon", base_url=sys.argv[1]) as client:
        async with client.conversations.recording(sys.argv[2]) as recording:
            print(b"".join([piece async for piece in recording.iter_bytes()]).decode())
asyncio.run(main())
"""


async def _read_recording(base_url: str, folder: Path, authority: trustme.CA, **environment: str) -> str:
    """Read a recording in a process with another environment; return it, or what went wrong."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _READ, base_url, SESSION),
        env=os.environ | {"SSL_CERT_FILE": str(folder / "ca.pem"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode().strip()


async def test_storage_behind_a_proxy_is_asked_there(tmp_path: Path) -> None:
    """Where the service is reached without a proxy, the host to which a recording leads still has the environment's."""
    authority = trustme.CA()
    storage = Server(store(b"film"), tls=server_tls(authority, "storage.example"))
    async with storage, Server(tunnel_to(storage)) as proxy, Server(redirect("https://storage.example/film")) as server:
        read = await _read_recording(server.base_url, tmp_path, authority, HTTPS_PROXY=proxy.url)
    assert read == "film"
    assert [(seen.method, seen.target) for seen in proxy.requests] == [("CONNECT", "storage.example:443")]
    assert (len(server.requests), len(storage.requests)) == (1, 1)


async def test_storage_that_has_no_proxy_is_asked_directly(tmp_path: Path) -> None:
    """Where the service is behind a proxy, what `NO_PROXY` names is asked without it: here the recording's host."""
    authority = trustme.CA()
    async with Server(store(b"film"), tls=server_tls(authority)) as storage:
        server = Server(redirect(f"{storage.url}/film"), tls=server_tls(authority, "akapulu.example"))
        async with server, Server(tunnel_to(server)) as proxy:
            environment = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost"}
            read = await _read_recording("https://akapulu.example/api", tmp_path, authority, **environment)
    assert read == "film"
    assert [(seen.method, seen.target) for seen in proxy.requests] == [("CONNECT", "akapulu.example:443")]


async def test_borrowed_session_asks_storage_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a borrowed session, the environment has no say in how the recording's host is reached."""
    async with (
        Server(answer({}, 502)) as proxy,
        Server(redirect("https://storage.invalid/film")) as server,
        aiohttp.ClientSession() as session,
        AkapuluClient(API_KEY, base_url=server.base_url, http=session, retry=RetryPolicy(attempts=1)) as client,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = await error_of(read(client))
    assert isinstance(error, TransportError)
    assert error.reason == "the host name storage.invalid could not be resolved"
    assert proxy.connections == 0


@pytest.mark.parametrize("proxy", ["socks5://proxy.example", "http://proxy:x"])
async def test_storages_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy that only the recording's host would need is refused as the service's would be."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with Server(redirect("https://storage.invalid/film")) as server, client_of(server) as client:
        error = await error_of(read(client))
    assert type(error) is ConfigurationError
    assert str(error).startswith("HTTPS_PROXY: ")
    assert len(server.requests) == 1


async def test_making_and_opening_sends_nothing() -> None:
    """Making and opening a client connects to nobody."""
    async with Server(answer(UPDATE)) as server, client_of(server):
        pass
    assert server.connections == 0


def test_client_is_made_without_a_loop() -> None:
    """A client can be made where no loop runs, at import for example."""
    assert AkapuluClient(API_KEY).base_url == "https://akapulu.com/api"


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        _caused(aiohttp.ClientError(), ConnectionResetError(104, "reset")),
        _caused(
            aiohttp.ServerDisconnectedError(), _caused(aiohttp.ClientOSError(), ConnectionResetError(104, "reset"))
        ),
        ConnectionResetError(104, "reset"),
    ],
)
def test_system_cause_is_bare(error: BaseException) -> None:
    """The system's own error is found below aiohttp's, and bears neither frames nor further errors."""
    cause = system_cause(error)
    assert type(cause) is ConnectionResetError
    assert (cause.__cause__, cause.__context__, cause.__traceback__) == (None, None, None)


def test_system_cause_may_be_missing() -> None:
    """Where the system said nothing, there is no cause."""
    assert system_cause(aiohttp.ServerDisconnectedError()) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ClientError("odd"), "ClientError: odd"),
        (ConnectionResetError(104, "Connection reset by peer"), "the connection broke (Connection reset by peer)"),
        (ConnectionResetError(), "the connection broke (ConnectionResetError)"),
        (aiohttp.ClientError("Bearer s3cr3t-key"), "ClientError: Bearer ***"),
    ],
)
def test_reasons_are_words(error: Exception, reason: str) -> None:
    """What has no sentence of its own is told by its name, without credentials."""
    assert failure_reason(error) == reason


@pytest.mark.parametrize(
    ("system", "problem"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "Connection refused"),
        (OSError(None, "no more than a text"), "no more than a text"),
        (OSError("Multiple exceptions: [Errno 111], [Errno 101]"), "Multiple exceptions: [Errno 111], [Errno 101]"),
        (OSError(), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
@pytest.mark.parametrize("kind", [aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError])
def test_failed_connection_has_a_cause(system: OSError, problem: str, kind: type[aiohttp.ClientConnectorError]) -> None:
    """A connection that failed is explained by all that the system said, and never by None."""
    key: Any = SimpleNamespace(host="akapulu.com", port=443, ssl=True)
    assert failure_reason(kind(key, system)).endswith(f"akapulu.com:443 ({problem})")


@pytest.mark.parametrize(
    ("complaint", "reason"),
    [
        ("Invalid character in chunk size:\n\n  b'eyJhbGci'\n    ^", ": a chunk of it is broken"),
        ("Got more than 65536 bytes when reading: bytearray(b'chunk", ": a line of its head is longer than 64 KiB"),
        ("Duplicate Content-Length:\n\n  b'eyJhbGci'", ": a header of it is broken or ambiguous"),
        ("A new complaint:\n\n  b'Too many chunks'", ""),
    ],
)
def test_parsers_complaint_is_told_without_its_quote(complaint: str, reason: str) -> None:
    """What aiohttp quotes of a broken answer may be part of a token, so it is left out."""
    info: Any = None
    error = aiohttp.ClientResponseError(info, (), message=complaint)
    assert failure_reason(error) == f"the answer is not HTTP{reason}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransferEncodingError("eyJhbGci"), "a chunk of it is broken"),
        (
            _caused(HttpProcessingError(message="eyJhbGci"), TransferEncodingError("eyJhbGci")),
            "a chunk of it is broken",
        ),
        (LineTooLong(b"eyJhbGci", 65536), "a line of its head is longer than 64 KiB"),
        (InvalidHeader(b"eyJhbGci"), "a header of it is broken or ambiguous"),
    ],
)
def test_complaint_of_the_parser_in_python_is_told_without_its_quote(error: Exception, reason: str) -> None:
    """What aiohttp's parser in Python says of a broken answer is told without its quote, which may be all it says."""
    assert failure_reason(error) == f"the answer is not HTTP: {reason}"


def test_library_installs_no_handler() -> None:
    """Importing the library leaves logging alone."""
    logger = logging.getLogger("akapulu_async")
    assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)
