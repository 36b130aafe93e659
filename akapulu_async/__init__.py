"""The asyncio client for live AI-avatar conversations on Akapulu.

The layers, each importing only from those above it:

- `errors`: every exception; `secret`: texts that show themselves to nobody.
- `models`: frozen values of what goes over the wire; `converter`: from JSON to them.
- `sansio`: pure: what a response means, when to try again, which addresses may be talked to.
- `http_session`, `transport`: aiohttp, behind deadlines, retries and a bounded pool.
- `recordings`, `conversations`: what the service can be asked.
- `client`: settings, and what is built from them.
- `simulator`: a local Akapulu for tests; it imports nothing of the others and is not imported by them.
"""

from akapulu_async.client import AkapuluClient
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    MinutesLimitError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RecordingNotReadyError,
    RecordingTimeoutError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from akapulu_async.models import (
    Avatar,
    Connection,
    ConnectRequest,
    ConversationDetail,
    ConversationUpdate,
    NodeTurn,
    RecordingStatus,
    TranscriptRow,
)
from akapulu_async.recordings import Recording
from akapulu_async.sansio.policies import RetryPolicy, Timeouts
from akapulu_async.secret import Secret

__all__ = [
    "AkapuluClient",
    "AkapuluError",
    "ApiError",
    "AuthenticationError",
    "Avatar",
    "BadRequestError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConnectOutcomeUnknownError",
    "ConnectRequest",
    "Connection",
    "ConversationDetail",
    "ConversationUpdate",
    "InvalidResponseError",
    "MinutesLimitError",
    "NodeTurn",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "Recording",
    "RecordingNotReadyError",
    "RecordingStatus",
    "RecordingTimeoutError",
    "RequestTimeoutError",
    "RetryPolicy",
    "Secret",
    "ServerError",
    "Timeouts",
    "TranscriptRow",
    "TransportError",
]
