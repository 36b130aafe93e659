"""The asyncio client for live AI-avatar conversations on Akapulu.

::

    from akapulu_async import AkapuluClient, ConnectRequest

    async with AkapuluClient() as client:  # reads AKAPULU_API_KEY
        async with client.session(ConnectRequest(scenario_id, avatar_id)) as session:
            print("Join here:", session.join_url)
            await session.bot_ready.wait()
            await session.ended.wait()

Start here:

- `AkapuluClient`: settings, single calls (`client.conversations`) and sessions (`client.session()`).
- `ConversationSession`: one conversation from its connect to its end: states to wait for, events, progress.
- `SessionManager`: many sessions on one event loop, within limits: `start()`, `attach()`, `run()`.
- `akapulu_async.simulator.Simulator`: a local Akapulu for tests, without an account.
- `akapulu-async --help`, or `python -m akapulu_async --help`: the command line, with a load test.

All errors are `AkapuluError`s. docs/architecture.md describes how the package is built.
"""

from akapulu_async.client import AkapuluClient
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    ClosedError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    ErrorKind,
    InvalidResponseError,
    ManagerClosedError,
    MinutesLimitError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RecordingNotReadyError,
    RecordingTimeoutError,
    RequestTimeoutError,
    ServerError,
    SessionEndedError,
    StartTimeoutError,
    TransportError,
    WaitTimeoutError,
)
from akapulu_async.manager import EventsMissed, FanOut, ManagerEvent, Outcome, SessionManager
from akapulu_async.models.connection import Connection, ConnectRequest
from akapulu_async.models.conversation import (
    Avatar,
    ConversationDetail,
    ConversationUpdate,
    NodeTurn,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.observing import Attempt, ExchangeRecord, GateEvent, GateStep, Observer
from akapulu_async.resources.recordings import Recording
from akapulu_async.sansio.admission import FullPolicy
from akapulu_async.sansio.lifecycle import (
    EndReason,
    Progress,
    ProgressChanged,
    SessionEvent,
    SessionState,
    Signals,
    StateChanged,
)
from akapulu_async.sansio.polling import PollPolicy, ProgressPollPolicy
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.sansio.statistics import ManagerStatistics
from akapulu_async.secret import Secret
from akapulu_async.session import ConversationSession, Participant, StateEvent
from akapulu_async.version import __version__ as __version__

__all__ = [
    "AkapuluClient",
    "AkapuluError",
    "ApiError",
    "Attempt",
    "AuthenticationError",
    "Avatar",
    "BadRequestError",
    "ClosedError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConnectOutcomeUnknownError",
    "ConnectRequest",
    "Connection",
    "ConversationDetail",
    "ConversationSession",
    "ConversationUpdate",
    "EndReason",
    "ErrorKind",
    "EventsMissed",
    "ExchangeRecord",
    "FanOut",
    "FullPolicy",
    "GateEvent",
    "GateStep",
    "InvalidResponseError",
    "ManagerClosedError",
    "ManagerEvent",
    "ManagerStatistics",
    "MinutesLimitError",
    "NodeTurn",
    "NotFoundError",
    "Observer",
    "Outcome",
    "Participant",
    "PermissionDeniedError",
    "PollPolicy",
    "Progress",
    "ProgressChanged",
    "ProgressPollPolicy",
    "RateLimitError",
    "Recording",
    "RecordingNotReadyError",
    "RecordingStatus",
    "RecordingTimeoutError",
    "RequestTimeoutError",
    "RetryPolicy",
    "Secret",
    "ServerError",
    "SessionEndedError",
    "SessionEvent",
    "SessionManager",
    "SessionSnapshot",
    "SessionState",
    "Signals",
    "StartTimeoutError",
    "StateChanged",
    "StateEvent",
    "Timeouts",
    "TranscriptRow",
    "TransportError",
    "UpdateSignals",
    "WaitTimeoutError",
]
