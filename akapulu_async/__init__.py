"""The asyncio client for live AI-avatar conversations on Akapulu.

The wings, each importing only from those above it:

- `version`; `errors`: every exception; `secret`: texts that show themselves to nobody; `checks`: of arguments.
- `models`: frozen values of what goes over the wire; `converter`: from JSON to them.
- `sansio`: pure: what a response means, the life of a conversation, when to try again, which addresses may be
  talked to.
- `log`: the one logger; `tasks`: waiting for what must not be left behind; `leak_warnings`: telling of what was opened
  and never closed; `observing`: what observers are told.
- `http`: aiohttp, behind deadlines, retries and a bounded pool.
- `resources`: what the service can be asked.
- `session`: one conversation as an object that lives.
- `manager`: many conversations on one event loop.
- `client`: settings, and what is built from them.
- `load`: the load test, on the public names; `cli`: the command line; both with the extra `cli`.
- `simulator`: a local Akapulu for tests; it imports nothing of the others.
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
