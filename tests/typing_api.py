"""The public API as a user's type checker sees it. Never run: mypy reads it like a user's code."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID

import aiohttp

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ApiError,
    Attempt,
    Avatar,
    ConcurrencyLimitError,
    Connection,
    ConnectOutcomeUnknownError,
    ConnectRequest,
    ConversationDetail,
    ConversationSession,
    ConversationUpdate,
    EndReason,
    ErrorKind,
    EventsMissed,
    ExchangeRecord,
    FanOut,
    GateEvent,
    GateStep,
    InvalidResponseError,
    ManagerEvent,
    ManagerStatistics,
    NodeTurn,
    Observer,
    Outcome,
    PollPolicy,
    ProgressChanged,
    ProgressPollPolicy,
    Recording,
    RecordingNotReadyError,
    RecordingStatus,
    RetryPolicy,
    Secret,
    SessionEvent,
    SessionManager,
    SessionSnapshot,
    SessionState,
    StateChanged,
    StateEvent,
    Timeouts,
    TranscriptRow,
    TransportError,
)

SCENARIO = "11111111-1111-4111-8111-111111111111"


def requests() -> None:
    """Ids are texts or UUIDs, keywords a text or any iterable; what is read back has one type."""
    request = ConnectRequest(SCENARIO, UUID(SCENARIO))
    ConnectRequest(
        UUID(SCENARIO),
        SCENARIO,
        runtime_vars={"name": "Ada"},
        stt_keywords="Akapulu, Daily",
        record_conversation=True,
        wait_for_client_ready=False,
        voice_only_mode=None,
        show_ai_label=True,
        extra={"later": [1]},
    )
    ConnectRequest(SCENARIO, SCENARIO, stt_keywords=(word for word in ("a", "b")), voice_only_mode=True)
    assert_type(request.scenario_id, str)
    assert_type(request.stt_keywords, tuple[str, ...])
    assert_type(request.voice_only_mode, bool | None)
    assert_type(request.wait_for_client_ready, bool | None)
    assert_type(request.to_json(), dict[str, Any])
    ConnectRequest(7, SCENARIO)  # type: ignore[arg-type]
    ConnectRequest(SCENARIO)  # type: ignore[call-arg]
    ConnectRequest(SCENARIO, SCENARIO, {})  # type: ignore[call-arg]
    request.scenario_id = SCENARIO  # type: ignore[misc]


def clients(http: aiohttp.ClientSession) -> None:
    """A client is made with nothing, or with settings by name."""
    AkapuluClient()
    AkapuluClient("key", base_url=None, http=None)
    AkapuluClient(lambda: "key")
    AkapuluClient(lambda: Secret("key"))
    AkapuluClient(lambda: 5)  # type: ignore[arg-type,return-value]
    client = AkapuluClient(
        Secret("key"),
        base_url="https://akapulu.com/api",
        http=http,
        timeouts=Timeouts(connect=None, total=5),
        retry=RetryPolicy(attempts=1, base=0, cap=1.5),
        poll=PollPolicy(interval=1, max_failures=None),
        error_types={"NO_SLOT": ConcurrencyLimitError},
    )
    assert_type(client.base_url, str)
    AkapuluClient(poll=ProgressPollPolicy(interval=1, longest=5))
    AkapuluClient(poll=5)  # type: ignore[arg-type]
    AkapuluClient(error_types={"NO_SLOT": ValueError})  # type: ignore[dict-item]
    AkapuluClient(timeout=5)  # type: ignore[call-arg]


async def calls(client: AkapuluClient, request: ConnectRequest) -> None:
    """Each call gives its model, and takes an id as text or UUID."""
    async with client as opened:
        assert_type(opened, AkapuluClient)
    connection = await client.conversations.connect(request)
    assert_type(connection, Connection)
    assert_type(connection.token, Secret)
    assert_type(connection.to_browser(), dict[str, str])
    assert_type(connection.token.reveal(), str)
    assert_type(connection.room_url, str)
    assert_type(connection.join_url, str)
    assert_type(connection.conversation_session_id, str)
    update = await client.conversations.updates(UUID(SCENARIO), attempts=1)
    assert_type(update, ConversationUpdate)
    assert_type(update.call_is_ready, bool)
    assert_type(update.completion_percent, float)
    assert_type(update.latest_update_text, str)
    assert_type(await client.request("GET", "/scenarios/", params={"page": 1, "all": True}), Any)
    assert_type(client.session(request), ConversationSession)
    assert_type(client.attach(UUID(SCENARIO)), ConversationSession)
    await client.conversations.updates(connection.token)  # type: ignore[arg-type]


def details(detail: ConversationDetail) -> None:
    """A detail is typed down to its rows; only what the service leaves open is Any."""
    assert_type(detail.created_at, datetime)
    assert_type(detail.avatar, Avatar)
    assert_type(detail.recording, RecordingStatus)
    assert_type(detail.recording.is_ready, bool)
    assert_type(detail.transcript_rows, tuple[TranscriptRow, ...])
    assert_type(detail.transcript_rows[0].content, Any)
    assert_type(detail.transcript_rows[0].node_id, str | None)
    assert_type(detail.transcript_rows[0].text, str)
    assert_type(detail.transcript_by_node(), tuple[NodeTurn, ...])
    assert_type(detail.transcript_text(), str)
    assert_type(detail.raw["new"], Any)


async def recordings(client: AkapuluClient) -> None:
    """A recording is read in pieces, or brought into a file."""
    assert_type(client.conversations.recording(SCENARIO), AbstractAsyncContextManager[Recording])
    async with client.conversations.recording(UUID(SCENARIO)) as recording:
        assert_type(recording.content_type, str)
        assert_type(recording.size, int | None)
        assert_type(recording.verified, bool)
        async for piece in recording.iter_bytes():
            assert_type(piece, bytes)
    assert_type(await client.conversations.detail(SCENARIO), ConversationDetail)
    assert_type(await client.conversations.wait_for_recording(SCENARIO, timeout=None), ConversationDetail)
    path = await client.conversations.download_recording(SCENARIO, "a.mp4", wait=60, progress=print, overwrite=True)
    assert_type(path, Path)
    await client.conversations.download_recording(UUID(SCENARIO), Path("a.mp4"))


async def sessions(session: ConversationSession) -> None:
    """A session has typed states, events and waits."""
    async with session as entered:
        assert_type(entered, ConversationSession)
    assert_type(session.id, str)
    assert_type(session.state, SessionState)
    assert_type(session.end_reason, EndReason | None)
    assert_type(session.bot_ready, StateEvent)
    assert_type(session.ended.is_set(), bool)
    assert_type(session.participant, object | None)
    assert_type(session.time_to_ready, float | None)
    assert_type(session.snapshot(), SessionSnapshot)
    await session.wait_for(SessionState.BOT_READY, timeout=60)
    async for event in session.events():
        assert_type(event, StateChanged | ProgressChanged)
        assert_type(event.session_id, str | None)
        assert_type(event.to_json(), dict[str, Any])
    async with session.ready() as call, session.phase(SessionState.ROOM_JOINED):
        assert_type(call, ConversationSession)
    await session.wait_for("ready")  # type: ignore[arg-type]


async def managers(client: AkapuluClient, request: ConnectRequest) -> None:
    """A manager's outcomes have the type that the handler returns."""

    async def handle(session: ConversationSession) -> float | None:
        return session.time_to_ready

    async with SessionManager(client, max_sessions=10, when_full="wait") as manager:
        assert_type(await manager.start(request, timeout=5), ConversationSession)
        assert_type(await manager.attach(UUID(SCENARIO)), ConversationSession)
        async with manager.session(request) as session:
            assert_type(session, ConversationSession)
        run = manager.run([request], handle, concurrency=2)
        assert_type(run, FanOut[float | None])
        async with run as outcomes:
            async for outcome in outcomes:
                assert_type(outcome, Outcome[float | None])
                assert_type(outcome.result(), float | None)
                assert_type(outcome.error, BaseException | None)
                assert_type(outcome.session, ConversationSession | None)
                assert_type(outcome.connect_unknown, bool)
        assert_type(manager.sessions, tuple[ConversationSession, ...])
        assert_type(manager.get(SCENARIO), ConversationSession | None)
        assert_type(manager.statistics(), ManagerStatistics)
        assert_type(manager.statistics().unknown_connects, int)
        assert_type(manager.events(), AsyncIterator[ManagerEvent])
        async for event in manager.events(buffer=10):
            assert_type(event, StateChanged | ProgressChanged | EventsMissed)
            assert_type(event.session_id, str | None)
            assert_type(event.to_json(), dict[str, Any])
        assert_type(await manager.drain(timeout=30), bool)
    SessionManager(client, when_full="retry")  # type: ignore[arg-type]
    manager.run([request], len)  # type: ignore[arg-type]


class Telemetry(Observer):
    """An observer overrides any of the methods, with facts that cannot be changed."""

    def attempt_started(self, attempt: Attempt) -> Mapping[str, str] | None:
        assert_type(attempt.template, str)
        attempt.number = 2  # type: ignore[misc]
        return {"traceparent": f"00-{attempt.number}"}

    def attempt_finished(self, attempt: Attempt) -> None:
        assert_type(attempt.seconds, float | None)
        assert_type(attempt.error, ErrorKind | None)

    def session_event(self, event: SessionEvent) -> None:
        assert_type(event.elapsed, float)

    def gate(self, event: GateEvent) -> None:
        assert_type(event.step, GateStep)

    def exchange(self, exchange: ExchangeRecord) -> None:
        assert_type(exchange.request_headers, Mapping[str, str])


def kinds(error: AkapuluError) -> None:
    """Every error has a kind to branch on."""
    assert_type(error.kind, ErrorKind)
    assert_type(error.outcome_unknown, bool)


def errors(
    refused: ApiError,
    broken: TransportError,
    unknown: ConnectOutcomeUnknownError,
    invalid: InvalidResponseError,
    unready: RecordingNotReadyError,
) -> None:
    """An error's attributes have types to branch on."""
    assert_type(refused.status, int)
    assert_type(refused.error_code, str | None)
    assert_type(refused.message, str)
    assert_type(refused.method, str)
    assert_type(refused.path, str)
    assert_type(refused.attempts, int)
    assert_type(refused.retry_after, float | None)
    assert_type(broken.reason, str)
    assert_type(broken.sent, bool)
    assert_type(unknown.scenario_id, str)
    assert_type(unknown.status, int | None)
    assert_type(unknown.error_code, str | None)
    assert_type(unknown.message, str | None)
    assert_type(invalid.field, str | None)
    assert_type(invalid.excerpt, str)
    assert_type(unready.status_text, str)
