"""The client: its settings, and reaching any endpoint."""

import asyncio
import json
import pickle
from itertools import count
from typing import Any

import pytest

from akapulu_async import (
    AkapuluClient,
    ApiError,
    BadRequestError,
    ClosedError,
    ConfigurationError,
    InvalidResponseError,
    Secret,
    ServerError,
)
from tests.support.calls import error_of
from tests.support.misbehaving import (
    API_KEY,
    QUICK,
    REQUEST,
    SESSION,
    UPDATE,
    Server,
    answer,
    client_of,
    gated,
    http,
    poll,
    raw,
)

LOCAL = "http://127.0.0.1:8080/api"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without settings, whatever the machine has."""
    monkeypatch.delenv("AKAPULU_API_KEY", raising=False)
    monkeypatch.delenv("AKAPULU_BASE_URL", raising=False)


# The key


async def key_sent(**options: Any) -> str:
    """Return what a client sends as its credential."""
    async with Server(answer(UPDATE)) as server:
        async with AkapuluClient(base_url=server.base_url, **options) as client:
            await poll(client)
        return server.requests[0].headers["authorization"]


async def test_key_is_the_arguments_then_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over `AKAPULU_API_KEY`, and either may end in a line break, as files do."""
    monkeypatch.setenv("AKAPULU_API_KEY", "of-environment\n")
    assert await key_sent() == "Bearer of-environment"
    assert await key_sent(api_key="of-argument\r\n") == "Bearer of-argument"
    assert await key_sent(api_key=Secret("a-secret\n")) == "Bearer a-secret"


def test_missing_key_is_told_with_the_way_out() -> None:
    """Without a key there is no client, and the error says where one is looked for."""
    with pytest.raises(ConfigurationError, match=r"There is no API key: set AKAPULU_API_KEY, or pass api_key="):
        AkapuluClient()


UNUSABLE = [
    "",
    " ",
    "\n",
    "two words",
    "a\nb",
    "a\r\nX-Other: b",
    "tab\tinside",
    "nul\0",
    "\x7fdelete",
    "ключ",
    "ke\u200by",
]


@pytest.mark.parametrize("key", UNUSABLE)
@pytest.mark.parametrize("wrap", [str, Secret])
def test_unusable_key_is_refused(key: str, wrap: Any) -> None:
    """An empty key, or one with white space or characters that no key has, is refused without being shown."""
    with pytest.raises(
        ConfigurationError, match=r"^api_key must be printable ASCII characters without spaces, and not empty$"
    ) as caught:
        AkapuluClient(wrap(key))
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "a b"])
def test_unusable_key_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """An unusable key of the environment is told by the variable's name."""
    monkeypatch.setenv("AKAPULU_API_KEY", key)
    with pytest.raises(ConfigurationError, match=r"^AKAPULU_API_KEY must be printable ASCII "):
        AkapuluClient()


async def test_key_is_asked_for_at_each_request() -> None:
    """A function gives the key of each request, so that it can be rotated; polls and connects send the new one."""
    keys: list[str | Secret] = ["first", Secret("second\n"), "second", "third", "fourth"]
    asked = list(keys)
    async with Server(answer(UPDATE), answer(UPDATE), answer(UPDATE), answer({}), answer(UPDATE)) as server:
        async with AkapuluClient(lambda: asked.pop(0), base_url=server.base_url) as client:
            assert len(asked) == 5, "nothing was sent yet"
            for number in range(5):
                await (client.request("POST", "/things/") if number == 3 else poll(client))
        sent = [seen.headers["authorization"] for seen in server.requests]
    assert sent == [f"Bearer {key}" for key in ("first", "second", "second", "third", "fourth")]
    assert asked == []


async def test_key_that_changes_while_a_poll_is_under_way() -> None:
    """A poll that was sent with the old key leaves nothing of it to the next poll."""
    key, gate = "old", asyncio.Event()
    body = json.dumps(UPDATE).encode()
    late = gated(b"", gate, http(200, {"Content-Type": "application/json"}, body))
    async with Server(answer(UPDATE), late, answer(UPDATE)) as server:
        async with AkapuluClient(lambda: key, base_url=server.base_url) as client:
            await poll(client)
            under_way = asyncio.create_task(poll(client))
            await server.seen(2)
            key = "new"
            await poll(client)
            gate.set()
            await under_way
            for _ in range(3):
                await poll(client)
        sent = [seen.headers["authorization"] for seen in server.requests]
    assert sent == ["Bearer old", "Bearer old", *["Bearer new"] * 4]


async def test_each_attempt_asks_for_the_key() -> None:
    """A retry sends the key of its own time, and no error shows any of them, old or new."""
    keys = iter(["key-number-1", "key-number-2", "key-number-3"])
    echo = answer({"error": "key-number-1 key-number-2 key-number-3"}, 503)
    async with (
        Server(echo) as server,
        AkapuluClient(lambda: next(keys), base_url=server.base_url, retry=QUICK) as client,
    ):
        error = await error_of(poll(client))
    assert isinstance(error, ServerError)
    assert [seen.headers["authorization"][-1] for seen in server.requests] == ["1", "2", "3"]
    assert error.message == "*** *** ***"


async def test_keys_by_turns() -> None:
    """Keys that are used by turns leave room for an older one, which no error shows either."""
    keys = iter(["key-number-1", *["key-number-2", "key-number-3"] * 8])
    script = (*[answer(UPDATE)] * 16, answer({"error": "key-number-1"}, 400))
    async with Server(*script) as server, AkapuluClient(lambda: next(keys), base_url=server.base_url) as client:
        for _ in range(16):
            await poll(client)
        error = await error_of(poll(client))
    assert isinstance(error, ApiError)
    assert error.message == "***"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        *((key, "printable ASCII characters without spaces, and not empty") for key in UNUSABLE),
        (None, "a text, not NoneType"),
        (b"bytes", "a text, not bytes"),
    ],
)
async def test_unusable_key_of_a_function_is_refused(key: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the function returns is checked each time, and the environment does not stand in for it."""
    monkeypatch.setenv("AKAPULU_API_KEY", "of-environment")
    answers = iter(["good", key, "good"])
    async with (
        Server(answer(UPDATE)) as server,
        AkapuluClient(lambda: next(answers), base_url=server.base_url) as client,
    ):
        await poll(client)
        error = await error_of(poll(client))
        await poll(client)
    assert str(error) == f"the result of api_key() must be {words}"
    assert len(server.requests) == 2


async def test_a_function_that_fails() -> None:
    """An error of the function is raised by the request, and nothing is sent."""
    async with Server(answer(UPDATE)) as server, AkapuluClient(lambda: str(1 // 0), base_url=server.base_url) as client:
        assert type(await error_of(poll(client))) is ZeroDivisionError
    assert server.requests == []


# The base URL


def test_base_url_is_the_arguments_then_the_environments_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over `AKAPULU_BASE_URL`, and that over the default; an empty one counts as none."""
    assert AkapuluClient(API_KEY).base_url == "https://akapulu.com/api"
    monkeypatch.setenv("AKAPULU_BASE_URL", "https://staging.example/api/")
    assert AkapuluClient(API_KEY).base_url == "https://staging.example/api"
    assert AkapuluClient(API_KEY, base_url=LOCAL).base_url == LOCAL
    monkeypatch.setenv("AKAPULU_BASE_URL", "")
    assert AkapuluClient(API_KEY).base_url == "https://akapulu.com/api"


@pytest.mark.parametrize(
    "url",
    [
        "akapulu.com/api",
        "http://akapulu.com/api",
        "ftp://akapulu.com/",
        "https://",
        "https://user:hunter2@akapulu.com/api",
        "https://akapulu.com/api?key=x",
        "https://akapulu.com/api#x",
        "https://akapulu.com/ api",
        "https://akapulu.com/api\n",
        "https://akapulu.com:port/",
        "https://[::1/",
    ],
)
def test_unusable_base_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes over https or stays on this machine; credentials in a URL are not shown."""
    arguments: tuple[dict[str, Any], ...] = ({"base_url": url}, {})
    for options in arguments:
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            AkapuluClient(API_KEY, **options)
        assert "hunter2" not in str(caught.value)
        monkeypatch.setenv("AKAPULU_BASE_URL", url)


# Other settings


HUGE = 10**5000  # which Python does not write


@pytest.mark.parametrize("size", [0, -1, 1.5, float("nan"), "5", None, True, HUGE, -HUGE], ids=count())
def test_pool_holds_a_connection_at_least(size: Any) -> None:
    """A pool without connections is refused."""
    with pytest.raises(ConfigurationError, match=r"^pool_size must be a whole number, 1 or more, not "):
        AkapuluClient(API_KEY, pool_size=size)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"NO_SLOT": ValueError}, "NO_SLOT"),
        ({5: ApiError}, "a code must be a text, not 5"),
        ("NO_SLOT", "must be a mapping of codes to errors, not str"),
        ([], "must be a mapping of codes to errors, not list"),
        (0, "must be a mapping of codes to errors, not int"),
        ({HUGE: ApiError}, "a code must be a text, not <int>"),
    ],
    ids=count(),
)
def test_error_types_are_checked(wrong: Any, words: str) -> None:
    """Codes can only be taught errors of the service."""
    with pytest.raises(ConfigurationError, match=f"error_types.*{words}"):
        AkapuluClient(API_KEY, error_types=wrong)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": API_KEY.encode()}, "api_key must be a text, not bytes"),
        ({"api_key": 5}, "api_key must be a text, not int"),
        ({"base_url": LOCAL.encode()}, "base_url must be a text, not bytes"),
        ({"base_url": Secret(API_KEY)}, "base_url must be a text, not Secret"),
        ({"base_url": b""}, "base_url must be a text, not bytes"),
        ({"base_url": 0}, "base_url must be a text, not int"),
    ],
)
def test_settings_that_are_no_text_are_told(options: dict[str, Any], words: str) -> None:
    """What is not even a text is refused with the name of the setting, without being shown."""
    with pytest.raises(ConfigurationError, match=f"^{words}") as caught:
        AkapuluClient(**{"api_key": API_KEY, **options})
    assert API_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("http", "ClientSession"), ("timeouts", "Timeouts"), ("retry", "RetryPolicy"), ("poll", "PollPolicy")],
)
@pytest.mark.shows_secrets  # frames hold what a caller put in the wrong place
def test_settings_of_another_kind_are_told(name: str, kind: str) -> None:
    """A setting that is an object of ours, or of aiohttp, can be nothing else, and what stands there is not shown."""
    wrong: list[tuple[Any, str]] = [(5, "int"), (API_KEY, "str"), (HUGE, "int")]
    for value, shown in wrong:
        with pytest.raises(ConfigurationError, match=rf"^{name} must be a {kind}, not {shown}$"):
            AkapuluClient(API_KEY, **{name: value})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("request", SESSION),
        ("request", {"scenario_id": REQUEST.scenario_id}),
        ("poll", 0),
        ("poll", 0.5),
        ("participant", 5),
        ("poll", HUGE),
        ("ready_timeout", "1"),
        ("ready_timeout", True),
        ("ready_timeout", 10**400),
        ("ready_timeout", HUGE),
        ("signals", 5),
        ("signals", None),
    ],
    ids=count(),
)
def test_unusable_arguments_of_a_session_are_named(name: str, wrong: Any) -> None:
    """An argument of a session that cannot be meant is refused with its name, when it is given and not later."""
    client = AkapuluClient(API_KEY, base_url=LOCAL)
    with pytest.raises(ConfigurationError, match=f"^{name}(:| must be) "):
        client.session(**{"request": REQUEST, name: wrong})
    if name in {"poll", "ready_timeout", "signals"}:
        with pytest.raises(ConfigurationError, match=f"^{name}(:| must be) "):
            client.attach(SESSION, **{name: wrong})


def test_repr_shows_no_key() -> None:
    """A client shows where it talks to and not with which key."""
    client = AkapuluClient(API_KEY, base_url=LOCAL)
    assert repr(client) == f"AkapuluClient(base_url='{LOCAL}')"
    assert API_KEY not in repr(vars(client))
    with pytest.raises(TypeError, match="Secret is not pickled"):
        pickle.dumps(client)


async def test_client_is_a_context_manager() -> None:
    """`async with` opens and closes, also when the body fails, and can be done again."""
    async with Server(answer(UPDATE)) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url)
        for _ in range(2):
            with pytest.raises(LookupError):  # noqa: PT012 - what fails is the body
                async with client as entered:
                    assert entered is client
                    await poll(client)
                    raise LookupError
            await server.abandoned()
            assert type(await error_of(poll(client))) is ClosedError


# Any endpoint


async def test_client_is_entered_once() -> None:
    """A client that is entered again while it is entered says so and stays open. Afterwards it can be entered again."""
    async with Server(answer({})) as server:
        client = AkapuluClient(API_KEY, base_url=server.base_url)
        for _ in range(2):
            async with client:
                with pytest.raises(ClosedError, match="entered already"):
                    await client.__aenter__()
                assert await client.request("GET", "/things/") == {}
        await client.open()
        async with client:
            await client.open()


async def test_request_reaches_any_endpoint() -> None:
    """`request()` sends method, path, JSON and query as they are given, and returns the JSON."""
    async with Server(answer({"id": 5})) as server, client_of(server) as client:
        assert await client.request("post", "/scenarios/create/", json={"name": "ä", "nodes": [1, None]}) == {"id": 5}
        await client.request("GET", "/scenarios/", params={"all": True, "page": 2, "q": "a&b=c d/é", "x": 1.5})
        await client.request("PUT", "/scenarios/a%20b/", json=[])
    posted, got, put = server.requests
    assert (posted.method, posted.target) == ("POST", "/api/scenarios/create/")
    assert json.loads(posted.body) == {"name": "ä", "nodes": [1, None]}
    assert posted.headers["content-type"] == "application/json"
    assert (got.method, got.body) == ("GET", b"")
    assert got.target == "/api/scenarios/?all=true&page=2&q=a%26b%3Dc+d/%C3%A9&x=1.5"
    assert (put.method, put.target, put.body) == ("PUT", "/api/scenarios/a%20b/", b"[]")


@pytest.mark.parametrize("payload", [{}, [], None, 0, "text", {"a": [1.5, True]}])
async def test_request_returns_whatever_json_comes(payload: Any) -> None:
    """Any JSON is returned as it is."""
    async with Server(answer(payload)) as server, client_of(server) as client:
        assert await client.request("GET", "/things/") == payload


async def test_request_returns_none_for_no_content() -> None:
    """A 204 is None."""
    async with Server(raw(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, client_of(server) as client:
        assert await client.request("DELETE", "/things/") is None


async def test_request_has_the_errors_of_all_calls() -> None:
    """A refusal and nonsense are told as everywhere."""
    async with Server(answer({"error": "No."}, 400), answer(body=b"<h1>")) as server, client_of(server) as client:
        refusal = await error_of(client.request("POST", "/things/"))
        nonsense = await error_of(client.request("POST", "/things/"))
    assert type(refusal) is BadRequestError
    assert isinstance(refusal, ApiError)
    assert (refusal.method, refusal.path) == ("POST", "/things/")
    assert type(nonsense) is InvalidResponseError
    assert "The service may have carried out the request." in str(nonsense)


@pytest.mark.parametrize(
    "path",
    [
        "things/",
        "",
        "//evil.example/",
        "https://evil.example/",
        "/../admin/",
        "/a/%2e%2e/b/",
        "/a/./b/",
        "/a?b=c",
        "/a#b",
        "/a b",
        "/a\r\nX-Other: b",
        "/a\\b",
        "/é",
        "/%zz",
        "/@evil.example:80//",
        None,
        b"/things/",
    ],
)
async def test_path_cannot_leave_the_base_url(path: Any) -> None:
    """A path that is not one is refused before anything is sent."""
    async with Server(answer({})) as server, client_of(server) as client:
        error = await error_of(client.request("GET", path))
    assert type(error) is ConfigurationError
    assert str(error).startswith("path must be ")
    assert server.connections == 0


@pytest.mark.parametrize(
    "method", ["", "GET /", "G\r\nET", "GÉT", "GET\n", "1", "CONNECT", "trace", None, b"GET", HUGE], ids=count()
)
async def test_method_cannot_be_injected(method: Any) -> None:
    """A method that is no word is refused before anything is sent."""
    async with Server(answer({})) as server, client_of(server) as client:
        error = await error_of(client.request(method, "/things/"))
    assert type(error) is ConfigurationError
    assert str(error).startswith("method must be one such as 'GET', not ")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"json": {1, 2}}, "json must be writable as JSON"),
        ({"json": float("nan")}, "json must be writable as JSON"),
        ({"params": {"a": HUGE}}, "params['a'] must be a text, a boolean or a number, not <int>"),
        ({"params": {HUGE: "a"}}, "params: a name must be a text, not <int>"),
        ({"params": {"a": {HUGE}}}, "params['a'] must be a text, a boolean or a number, not <set>"),
        ({"params": {"a": None}}, "params['a'] must be a text, a boolean or a number, not None"),
        ({"params": {"a": [1]}}, "params['a'] must be a text, a boolean or a number, not [1]"),
        ({"params": {"a": "\ud800"}}, r"params['a'] must not contain the control character '\ud800'"),
        ({"params": {"a": float("nan")}}, "params['a'] must be a text, a boolean or a number, not nan"),
        ({"params": {"a": "\0"}}, r"params['a'] must not contain the control character '\x00'"),
        ({"params": {"\ud800": "a"}}, r"params: a name must not contain the control character '\ud800'"),
        ({"params": {1: "a"}}, "params: a name must be a text, not 1"),
        ({"params": {None: "a"}}, "params: a name must be a text, not None"),
        ({"params": "a=b"}, "params must be a mapping of names to values, not str"),
    ],
    ids=count(),
)
async def test_unusable_arguments_are_told(options: dict[str, Any], words: str) -> None:
    """A body or a query that cannot be sent is refused, naming it."""
    async with Server(answer({})) as server, client_of(server) as client:
        error = await error_of(client.request("POST", "/things/", **options))
    assert type(error) is ConfigurationError
    assert words in str(error)
    assert server.connections == 0


async def test_get_with_a_body_is_refused() -> None:
    """A body that a GET would not send is not dropped in silence."""
    async with Server(answer({})) as server, client_of(server) as client:
        error = await error_of(client.request("GET", "/things/", json={}))
    assert type(error) is ConfigurationError
    assert "use params for the query" in str(error)


async def test_clients_are_independent() -> None:
    """Two clients at once have connections of their own, and closing one leaves the other alone."""
    async with (
        Server(answer(UPDATE)) as server,
        AkapuluClient(API_KEY, base_url=server.base_url) as first,
        AkapuluClient("other", base_url=server.base_url) as second,
    ):
        await asyncio.gather(poll(first), poll(second))
        await first.aclose()
        await poll(second)
    assert server.connections == 2
    assert server.requests[-1].headers["authorization"] == "Bearer other"
