"""Observers over real sockets: every attempt and its outcome, headers that travel with it, and no secret."""

import asyncio
import gzip
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from multidict import CIMultiDict

from akapulu_async import AkapuluClient, ConfigurationError, ErrorKind, RetryPolicy, Secret, Timeouts
from akapulu_async.observing import Attempt, ExchangeRecord, GateEvent, GateStep, LogObserver, Observer, Observers
from tests.support.calls import Call, both_calls, error_of
from tests.support.misbehaving import (
    API_KEY,
    CONNECTION,
    QUICK,
    RECORDING,
    SESSION,
    TOKEN,
    UPDATE,
    Server,
    answer,
    client_of,
    close,
    connect,
    hang,
    poll,
    reset,
)
from tests.support.storing import read, redirect, store

UPDATES_TEMPLATE = "/conversations/{session_id}/updates/"
NEVER_BUILT = RuntimeError("it is not to be built")


class Seeing(Observer):
    """Keeps the attempts."""

    def __init__(self) -> None:
        self.started: list[Attempt] = []
        self.finished: list[Attempt] = []

    def attempt_started(self, attempt: Attempt) -> None:
        self.started.append(attempt)

    def attempt_finished(self, attempt: Attempt) -> None:
        self.finished.append(attempt)

    def outcomes(self) -> list[tuple[object, ...]]:
        """Return number, status, error and whether it was sent, of each."""
        return [(each.number, each.status, each.error, each.sent) for each in self.finished]


class Tracing(Observer):
    """Adds headers, a new one each time."""

    def __init__(self, **more: str) -> None:
        self.count = 0
        self.more = more

    def attempt_started(self, attempt: Attempt) -> Mapping[str, str]:
        self.count += 1
        return {"Traceparent": f"00-{self.count}", "X-Other": "no", "Authorization": "no"} | self.more


class Recording(Observer):
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[ExchangeRecord] = []

    def exchange(self, exchange: ExchangeRecord) -> None:
        self.records.append(exchange)


async def test_attempts_of_a_call() -> None:
    """Each attempt begins and ends once, with its outcome: broken off, refused, answered."""
    seeing, before = Seeing(), datetime.now(UTC)
    script = (reset, answer({}, 503, {"Retry-After": "0.01"}), answer(UPDATE))
    async with Server(*script) as server, client_of(server, observers=[seeing]) as client:
        await poll(client)
    assert seeing.outcomes() == [
        (1, None, ErrorKind.UNREACHABLE, True),
        (2, 503, ErrorKind.SERVER, True),
        (3, 200, None, True),
    ]
    for started, finished in zip(seeing.started, seeing.finished, strict=True):
        assert before <= started.started_at <= datetime.now(UTC)
        assert (started.method, started.template, started.host) == ("GET", UPDATES_TEMPLATE, "127.0.0.1")
        assert started.session_id == SESSION
        assert (started.seconds, started.status, started.error, started.sent) == (None, None, None, False)
        assert finished.seconds is not None
        assert finished.seconds > 0
        assert attrs.evolve(finished, seconds=None, sent=False, status=None, error=None, retry_after=None) == started
    assert [each.retry_after for each in seeing.finished] == [None, 0.01, None]


async def test_templates() -> None:
    """An attempt is named by its template and its conversation; a connect has none, and a free request its path."""
    seeing = Seeing()
    async with Server(answer(CONNECTION), answer({})) as server, client_of(server, observers=[seeing]) as client:
        await connect(client)
        await error_of(client.conversations.detail(SESSION))
        await client.request("GET", "/things/")
    assert [(each.method, each.template, each.session_id) for each in seeing.finished] == [
        ("POST", "/conversations/connect/", None),
        ("GET", "/conversations/{session_id}/", SESSION),
        ("GET", "/things/", None),
    ]
    assert [each.error for each in seeing.finished] == [None, ErrorKind.INVALID_RESPONSE, None]


async def test_redirects_of_a_recording_are_attempts() -> None:
    """A recording is an attempt at each host on its way, and the trace goes along."""
    seeing, tracing = Seeing(), Tracing()
    async with (
        Server(store(b"film")) as storage,
        Server(redirect(storage.url.replace("127.0.0.1", "localhost"))) as server,
        client_of(server, observers=[seeing, tracing]) as client,
    ):
        await read(client)
    assert [(each.host, each.status, each.number, each.session_id) for each in seeing.finished] == [
        ("127.0.0.1", 302, 1, SESSION),
        ("localhost", 200, 1, SESSION),
    ]
    assert {each.template for each in seeing.finished} == {RECORDING.replace(SESSION, "{session_id}")}
    assert [request.headers["traceparent"] for request in (*server.requests, *storage.requests)] == ["00-1", "00-2"]


async def test_unsent_and_late_attempts() -> None:
    """An attempt says whether it may have arrived, and a deadline is a failure of the attempt under way."""
    seeing = Seeing()
    async with Server(hang) as server, client_of(server, observers=[seeing], timeouts=Timeouts(total=0.2)) as client:
        await error_of(poll(client))
        await error_of(connect(client))
    late = error_kind_of_a_deadline()
    assert seeing.outcomes() == [(1, None, late, True)] * 2
    client = AkapuluClient(API_KEY, base_url=server.base_url, observers=[seeing], retry=RetryPolicy(attempts=1))
    async with client:
        await error_of(connect(client))
    assert seeing.outcomes()[2:] == [(1, None, ErrorKind.UNREACHABLE, False)]


def error_kind_of_a_deadline() -> ErrorKind:
    """Return the kind of the error that a call raises at its deadline."""
    from akapulu_async import RequestTimeoutError  # noqa: PLC0415

    return RequestTimeoutError.kind


async def test_cancelled_attempt() -> None:
    """An attempt that is cancelled ends, without an error."""
    seeing = Seeing()
    async with Server(hang) as server, client_of(server, observers=[seeing]) as client:
        task = asyncio.create_task(client.conversations.updates(SESSION))
        await server.seen(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seeing.outcomes() == [(1, None, None, True)]


@pytest.mark.parametrize("call", [poll, connect])
async def test_headers_travel_with_their_attempt(call: Call) -> None:
    """`traceparent` and `tracestate`, and nothing else, are sent with the attempt that they were given for."""
    script = (reset if call is poll else answer({"error": "No."}, 503), answer(CONNECTION | UPDATE))
    observers = [Tracing(), Tracing(TraceState="a=b")]
    async with Server(*script) as server, client_of(server, observers=observers) as client:
        await call(client)
        await call(client)
    assert [seen.headers["traceparent"] for seen in server.requests] == ["00-1", "00-2", "00-3"]
    assert {seen.headers["tracestate"] for seen in server.requests} == {"a=b"}
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {API_KEY}"}
    assert [seen for seen in server.requests if "x-other" in seen.headers] == []


async def test_headers_of_one_call_are_not_sent_with_the_next() -> None:
    """A request that is reused forgets the headers that it was sent with."""

    class Once(Observer):
        def attempt_started(self, attempt: Attempt) -> Mapping[str, str] | None:
            return {"traceparent": "00"} if len(server.requests) == 1 else None

    async with Server(answer(UPDATE)) as server, client_of(server, observers=[Once()]) as client:
        for _ in range(3):
            await poll(client)
    assert ["traceparent" in seen.headers for seen in server.requests] == [False, True, False]


@pytest.mark.shows_secrets  # frames hold the body that the caller gave, with the key in it
async def test_records_mask_secrets() -> None:
    """Headers and bodies are recorded, without API key, token, cookies and what else looks like a credential."""
    recording = Recording()
    cookie = {"Set-Cookie": "session=eyJ0", "X-Key": API_KEY, "X-Team": "blue"}
    script = (answer(CONNECTION, headers=cookie), answer({"error": f"Bad key {API_KEY}"}, 401))
    async with Server(*script) as server, client_of(server, observers=[recording]) as client:
        await connect(client)
        await error_of(client.request("POST", "/things/", json={"api_key": "hunter2", "note": API_KEY, "a": 1}))
    connected, refused = recording.records
    assert connected.request_headers["Authorization"] == "***"
    assert '"scenario_id"' in connected.request_body
    assert connected.response_headers["X-Team"] == "blue"
    assert (connected.response_headers["Set-Cookie"], connected.response_headers["X-Key"]) == ("***", "***")
    assert '"room_url": "https://team.daily.co/room"' in connected.response_body
    assert '"token": "***"' in connected.response_body
    assert refused.request_body == '{"api_key": "***", "note": "***", "a": 1}'
    assert refused.response_body == '{"error": "Bad key ***"}'
    assert (refused.attempt.status, refused.attempt.error) == (401, ErrorKind.AUTHENTICATION)
    for hidden in (API_KEY, TOKEN, "hunter2"):
        assert hidden not in repr(recording.records)


async def test_record_of_a_compressed_answer_is_plain() -> None:
    """An answer that a gateway compressed is recorded as it was read: its text, and no compression."""
    recording, packed = Recording(), {"Content-Encoding": "gzip", "X-Team": "blue"}
    script = answer(headers=packed, body=gzip.compress(json.dumps(UPDATE).encode()))
    async with Server(script) as server, client_of(server, observers=[recording]) as client:
        await poll(client)
    (record,) = recording.records
    assert json.loads(record.response_body) == UPDATE
    assert CIMultiDict(record.response_headers).get("content-encoding") is None
    assert CIMultiDict(record.response_headers)["X-Team"] == "blue"


async def test_record_of_a_damaged_connect_shows_no_body() -> None:
    """A connect answer that makes no sense is not shown, since its token may be under another name."""
    recording = Recording()
    async with (
        Server(answer({"tok": "s3cr3t"}), store(b"film")) as server,
        client_of(server, observers=[recording]) as client,
    ):
        await error_of(connect(client))
        await read(client)
    damaged, film = recording.records
    assert damaged.response_body == "***"
    assert (film.attempt.status, film.response_body) == (200, "")


async def test_records_are_only_built_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an observer that defines `exchange`, no record is built."""

    def refuse(*_: object) -> None:
        raise NEVER_BUILT

    monkeypatch.setattr(ExchangeRecord, "masked", refuse)
    async with Server(answer(UPDATE)) as server, client_of(server, observers=[Seeing()]) as client:
        await poll(client)


async def test_nothing_is_built_without_observers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without observers, and with the log above DEBUG, there is not even an attempt."""
    caplog.set_level(logging.INFO, "akapulu_async")

    def refuse(*_: object, **__: object) -> None:
        raise NEVER_BUILT

    monkeypatch.setattr("akapulu_async.http.transport.Attempt", refuse)
    async with Server(answer(UPDATE)) as server, client_of(server) as client:
        await poll(client)
        assert await read_status(client) is None


async def read_status(client: AkapuluClient) -> object:
    """Return what the observers of a client's conversations define for sessions and the gate: nothing."""
    observers = client.conversations.observers
    return (*observers.session_event, *observers.gate, *observers.exchange) or None


class Raising(Observer):
    """Raises in all hooks."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def attempt_started(self, attempt: Attempt) -> Mapping[str, str]:
        raise self.error

    def attempt_finished(self, attempt: Attempt) -> None:
        raise self.error

    def exchange(self, exchange: ExchangeRecord) -> None:
        raise self.error


class Odd(Observer):
    """Returns headers that cannot be sent."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers

    def attempt_started(self, attempt: Attempt) -> Any:
        return self.headers


@pytest.mark.parametrize(
    "observer",
    [
        Raising(LookupError("why")),
        Raising(asyncio.CancelledError()),
        Raising(GeneratorExit()),
        Odd({"traceparent": "a\r\nX-Other: b"}),
        Odd({"traceparent": 5}),
        Odd("traceparent"),
    ],
    ids=["raises", "cancels", "exits", "injects", "number", "text"],
)
@both_calls
async def test_observer_that_raises(observer: Observer, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises, or returns nonsense, is reported once and disturbs neither calls nor other observers."""
    seeing = Seeing()
    observers = [observer, seeing]
    async with Server(answer(CONNECTION | UPDATE)) as server, client_of(server, observers=observers) as client:
        for _ in range(3):
            await call(client)
    assert seeing.outcomes() == [(1, 200, None, True)] * 3
    assert [seen for seen in server.requests if {"x-other", "traceparent"} & set(seen.headers)] == []
    (record,) = caplog.records
    assert record.getMessage() == f"Observer {type(observer).__name__} raised; its further errors are not logged"
    assert record.exc_info is not None


async def test_other_hooks_are_called() -> None:
    """Session and manager call the hooks of the observers that define them, by the same rules."""
    event, seen = GateEvent(step=GateStep.WAITING, at=datetime.now(UTC), waited=0.0), list[object]()

    class Waiting:
        def gate(self, event: GateEvent) -> None:
            seen.append(event)
            raise LookupError

    waiting: Any = Waiting()
    client = AkapuluClient(API_KEY, observers=[waiting, Seeing()])
    observers = client.conversations.observers
    for _ in range(2):
        observers.tell(observers.gate, event)
        observers.tell(observers.session_event, event)
    assert seen == [event, event]


class Empty(Observer):
    """Overrides nothing."""


class Async:
    """Would have to be awaited."""

    async def attempt_finished(self, attempt: Attempt) -> None: ...


@pytest.mark.parametrize(
    ("observers", "words"),
    [
        ([Empty()], "observers: Empty must define one or more of attempt_started, "),
        ([Async()], "observers: Async must define .*, none async"),
        (["gate"], "observers: str must define"),
        (5, "observers must be a list of observers, not int"),
        (LogObserver(), "observers must be a list of observers, not LogObserver"),
    ],
)
def test_unusable_observers_are_refused(observers: Any, words: str) -> None:
    """What would never be called, or never be awaited, is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=words):
        AkapuluClient(API_KEY, observers=observers)


def test_masking_by_given_secrets() -> None:
    """Given secrets are masked wherever they are, and a body that is not UTF-8 is shown as far as it can be."""
    attempt = Attempt(method="GET", template="/", host="h", session_id=None, started_at=datetime.now(UTC), number=1)
    record = ExchangeRecord.masked(attempt, ({"a": "violet"}, b"\xffviolet"), ({}, b""), [Secret("violet")])
    assert (record.request_headers, record.request_body) == ({"a": "***"}, "\ufffd***")


async def test_log_records_name_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    """Each log record of a call has the conversation's id, the pause's too; a connect has none."""
    caplog.set_level(logging.DEBUG, "akapulu_async")
    async with Server(close, answer(UPDATE), answer(CONNECTION)) as server, client_of(server, retry=QUICK) as client:
        await poll(client)
        await connect(client)
    ids = [
        (record.getMessage()[0], record.__dict__["session_id"])
        for record in caplog.records
        if record.name == "akapulu_async"
    ]
    assert ids == [(mark, SESSION) for mark in ">!~><"] + [(">", None), ("<", None)]


def test_no_observers() -> None:
    """Without observers nothing but the log's is there."""
    observers = Observers()
    assert not observers.attempts
    assert len(observers.attempt_started) == len(observers.attempt_finished) == 1
