"""Requests and responses as values, and the meaning of a response."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from akapulu_async.checks import shown
from akapulu_async.converter import PayloadError
from akapulu_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConcurrencyLimitError,
    ConfigurationError,
    InvalidResponseError,
    MinutesLimitError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from akapulu_async.sansio.headers import parse_retry_after
from akapulu_async.sansio.json_body import parse_json
from akapulu_async.secret import Secret, excerpt

T = TypeVar("T")

ErrorTypes = Mapping[str, type[ApiError]]
"""Exact error codes and their error classes."""

ERROR_TYPES: ErrorTypes = {"AUTH_INVALID": AuthenticationError}
"""The known error codes [seen]."""

# The codes of these limits are not documented; these are parts that such codes are assumed to contain.
_CODE_PARTS = (
    ("(?i)CONCURREN", ConcurrencyLimitError),
    # But not RATE_LIMIT_PER_MINUTE and the like, which is over in a minute, not in a month.
    ("(?i)^(?!.*(RATE|PER.?MINUTE)).*(MINUTE|USAGE)", MinutesLimitError),
)

_STATUS_TYPES: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
}


def _as_it_is(payload: Any) -> Any:
    return payload


@attrs.frozen(eq=False)
class Request(Generic[T]):
    """A request to the service.

    Attributes:
        method: `GET`, `POST`, ...
        path: The path below the base URL; it begins with `/`.
        template: The path with a name in braces for each id, for logs and figures; the path if None.
        session_id: The conversation that it concerns; None for none.
        body: The JSON body, None for no body; see `encode_json()`.
        params: The query, None for no query.
        read: Turns the parsed answer into the result; raises `PayloadError` if it cannot.
        on_late_answer: Called with the answer of a call that was cancelled, if it comes within a bounded time. None: a
            cancelled call does not wait for its answer.
        confidential: Whether the answer contains a credential, so that a bad one is only quoted if it is a web page.
        safe: Whether sending it twice does nothing twice.
    """

    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    params: Mapping[str, str] | None = None
    read: Callable[[Any], T] = _as_it_is
    on_late_answer: Callable[[T], object] | None = None
    confidential: bool = False
    session_id: str | None = None
    template: str | None = None
    safe: bool = attrs.field(init=False)

    @safe.default
    def _is_safe(self) -> bool:
        return self.method in {"GET", "HEAD"}


@attrs.define
class Response:
    """An answer. `headers` is read with lower-case names, and must ignore case or be lower-case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def decipher(
    request: Request[T],
    response: Response,
    *,
    now: datetime,
    error_types: ErrorTypes = ERROR_TYPES,
    attempts: int = 1,
    secrets: Collection[Secret] = (),
) -> T:
    """Return the result of a request, read from its answer.

    Args:
        request: The request.
        response: Its answer.
        now: The time, aware; for a `Retry-After` that is a date.
        error_types: Exact error codes and their error classes; they take precedence over all other rules.
        attempts: How often the request was tried, for the errors.
        secrets: Texts that no error may show.

    Raises:
        ApiError: The service refused, or redirected.
        InvalidResponseError: The answer makes no sense.
    """
    if not 200 <= response.status < 300:  # noqa: PLR2004 - the 2xx
        raise _refusal(request, response, now=now, error_types=error_types, attempts=attempts, secrets=secrets)
    try:
        return request.read(_payload(response))
    except PayloadError as error:
        # Cleaned at once: a problem may quote a header, and tracebacks may show variables.
        field, problem = error.field, excerpt(error.problem, secrets)
    # Raised out here, the error has no context: what json and cattrs raise holds the whole body.
    raise invalid_response(request, response, problem, field=field, secrets=secrets)


def invalid_response(
    request: Request[Any],
    response: Response,
    problem: str,
    *,
    field: str | None = None,
    secrets: Collection[Secret] = (),
) -> InvalidResponseError:
    """Return the error for an answer that makes no sense."""
    return InvalidResponseError(
        method=request.method,
        path=request.path,
        status=response.status,
        # A problem, and even a field's name, may quote the peer.
        problem=excerpt(problem, secrets),
        field=field and excerpt(field, secrets),
        excerpt=excerpt(_text(response.body), secrets) if _may_be_quoted(request, response) else "",
    )


def _may_be_quoted(request: Request[Any], response: Response) -> bool:
    """Return True if a bad answer may be shown: it is readable, and may not contain a credential.

    A damaged answer may be damaged in the very name that marks a credential. But a web page comes from a wrong address
    or a proxy, and shows best what is wrong.
    """
    if _compression(response) is not None:
        return False
    return not request.confidential or response.body.lstrip()[:1] == b"<"


def _compression(response: Response) -> str | None:
    encoding = response.headers.get("content-encoding", "identity")
    return None if encoding.lower() == "identity" else encoding


def _payload(response: Response) -> Any:
    if response.status == 204:  # noqa: PLR2004 - No Content
        return None
    try:
        return parse_json(response.body)
    except ValueError as error:
        raise PayloadError(None, _not_json(response, error)) from None


def _not_json(response: Response, error: ValueError) -> str:
    encoding = _compression(response)
    if encoding is not None:
        return f"it is compressed ({encoding}), which was not asked for"
    if not response.body:
        return "it is empty"
    return f"it is not JSON ({response.headers.get('content-type', 'no content type')}): {error}"


def _text(body: bytes) -> str:
    # Only the beginning of a body is shown; the rest need not be decoded.
    return body[:16_384].decode("utf-8", "replace")


def _refusal(
    request: Request[Any],
    response: Response,
    *,
    now: datetime,
    error_types: ErrorTypes,
    attempts: int,
    secrets: Collection[Secret],
) -> ApiError:
    error_code, message = _error_body(response.body)
    return _error_type(response.status, error_code, error_types)(
        status=response.status,
        method=request.method,
        path=request.path,
        error_code=error_code and excerpt(error_code, secrets, limit=80),
        message=excerpt(message, secrets),
        attempts=attempts,
        retry_after=parse_retry_after(response.headers.get("retry-after"), now),
    )


def _error_body(body: bytes) -> tuple[str | None, str]:
    """Return code and sentence of an error's body [seen]; the beginning of the body if it has neither."""
    try:
        payload = parse_json(body)
    except ValueError:
        payload = None
    if not isinstance(payload, Mapping):
        return None, _text(body)
    return (
        _first_text(payload, "error_code", "code", "status_code"),
        _first_text(payload, "error", "detail", "message") or (_text(body) if payload else ""),
    )


def _first_text(payload: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if isinstance(text := payload.get(name), str) and text.strip()), None)


def _error_type(status: int, error_code: str | None, error_types: ErrorTypes) -> type[ApiError]:
    """Return the class of a refusal: by its code first, then by its status."""
    if error_code is not None:
        for known in (error_types, ERROR_TYPES):
            if error_code in known:
                return known[error_code]
        for part, error_type in _CODE_PARTS:
            if re.search(part, error_code):
                return error_type
    if status >= 500:  # noqa: PLR2004 - the 5xx
        return ServerError
    return _STATUS_TYPES.get(status, ApiError)


def check_error_types(error_types: Any) -> dict[str, type[ApiError]]:
    """Return a copy of a user's error codes.

    Raises:
        ConfigurationError: One of its values is not an `ApiError` class.
    """
    if not isinstance(error_types, Mapping):
        kind = type(error_types).__name__
        raise ConfigurationError(f"error_types: it must be a mapping of codes to errors, not {kind}")
    for code, error_type in error_types.items():
        if not isinstance(code, str):
            raise ConfigurationError(f"error_types: a code must be a text, not {shown(code)}")
        if not (isinstance(error_type, type) and issubclass(error_type, ApiError)):
            raise ConfigurationError(
                f"error_types[{shown(code)}]: it must be a subclass of ApiError, not {shown(error_type)}"
            )
    return dict(error_types)


def not_ready_text(body: bytes, secrets: Collection[Secret] = ()) -> str:
    """Return why a recording is not ready, as the JSON answer to its request says; empty if it does not."""
    try:
        payload = parse_json(body)
    except ValueError:
        return ""
    if not isinstance(payload, Mapping):
        return ""
    return excerpt(_first_text(payload, "status_text", "error", "detail", "message") or "", secrets)
