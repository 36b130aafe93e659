"""Requests and responses as values, and the reading of a response."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from akapulu_async.checks import refuse, refuse_kind, shown
from akapulu_async.converter import PayloadError
from akapulu_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConcurrencyLimitError,
    InvalidResponseError,
    MinutesLimitError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from akapulu_async.sansio.compression import decompress
from akapulu_async.sansio.headers import parse_retry_after
from akapulu_async.sansio.json_body import MAX_JSON_BYTES, parse_json
from akapulu_async.secret import Secret, excerpt

T = TypeVar("T")

ErrorTypes = Mapping[str, type[ApiError]]
"""Error classes by exact error code."""


ERROR_TYPES: ErrorTypes = {"AUTH_INVALID": AuthenticationError}
"""The known error codes [seen]."""

# The codes of these limits are not documented; these are parts that such codes are assumed to contain. Minutes were
# called credits until September 2026.
_CODE_PARTS = (
    ("(?i)CONCURREN", ConcurrencyLimitError),
    # But not RATE_LIMIT_PER_MINUTE and the like, which is over in a minute, not in a month.
    ("(?i)^(?!.*(RATE|PER.?MINUTE)).*(MINUTE|USAGE|CREDIT)", MinutesLimitError),
)

_STATUS_TYPES: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: MinutesLimitError,  # assumed: nothing else is paid for
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
}


@attrs.frozen(eq=False)
class Request(Generic[T]):
    """A request to the service.

    Attributes:
        method: `GET`, `POST`, ...
        path: The path below the base URL; it begins with `/`.
        body: The JSON body, see `encode_json()`; None for no body.
        params: The query; None for no query.
        read: Turns the parsed answer into the result; raises `PayloadError` if it cannot.
        on_late_answer: Called with the result if the call was cancelled and the answer arrives within a bounded time.
            None: a cancelled call does not wait for its answer.
        confidential: True if the answer contains a credential: a bad one is quoted only if it is a web page.
        session_id: The conversation that it is about; None if it is about none.
        template: The path with a name in braces for each id, for logs and figures; None if it equals the path.
        safe: True if the request can be sent twice without doing anything twice.
    """

    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    params: Mapping[str, str] | None = None
    read: Callable[[Any], T] = lambda payload: payload
    on_late_answer: Callable[[T], object] | None = None
    confidential: bool = False
    session_id: str | None = None
    template: str | None = None
    safe: bool = attrs.field(
        default=attrs.Factory(lambda self: self.method in {"GET", "HEAD"}, takes_self=True), init=False
    )


@attrs.define
class Response:
    """An answer. `headers` is read with lower-case names; it must be lower-case or ignore case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def decoded(response: Response) -> Response:
    """Return an answer without its compression; as it is, if it has none or one that is not decoded here."""
    encoding = response.headers.get("content-encoding")
    plain = None if encoding is None else decompress(response.body, encoding, MAX_JSON_BYTES)
    if plain is None:
        return response
    headers = {name.lower(): value for name, value in response.headers.items()}
    del headers["content-encoding"]
    return Response(response.status, headers, plain)


def decipher(
    request: Request[T],
    response: Response,
    *,
    now: Callable[[], datetime],
    error_types: ErrorTypes = ERROR_TYPES,
    attempts: int = 1,
    secrets: Collection[Secret] = (),
) -> T:
    """Return the result of a request.

    Args:
        request: The request.
        response: Its answer.
        now: Returns the time, aware; for a `Retry-After` that is a date, in an answer without a `Date`.
        error_types: Win over all other rules.
        attempts: How many attempts were made, for the errors.
        secrets: Secrets that no error may show.

    Raises:
        ApiError: The service refused, or redirected.
        InvalidResponseError: The interface does not allow the answer.
    """
    if not 200 <= response.status < 300:  # noqa: PLR2004 - the 2xx
        error_type, error_code, message, from_service = _refusal(response, error_types, secrets)
        proven = _proves_refusal(response.status, error_type, from_service=from_service)
        raise error_type(
            status=response.status,
            method=request.method,
            path=request.path,
            error_code=error_code,
            message=message,
            attempts=attempts,
            retry_after=parse_retry_after(response.headers.get("retry-after"), response.headers.get("date"), now),
            from_service=from_service,
            outcome_unknown=not request.safe and not proven,
        )
    try:
        return request.read(None if request.method == "HEAD" else _payload(response))
    except PayloadError as error:
        # Cleaned at once: a problem may quote a header, and tracebacks may show variables.
        field, problem = error.field, excerpt(error.problem, secrets)
    # Raised out here, the error has no context: the exceptions of json and cattrs hold the whole body.
    raise invalid_response(request, response, problem, field=field, secrets=secrets)


def _refusal(
    response: Response, error_types: ErrorTypes, secrets: Collection[Secret]
) -> tuple[type[ApiError], str | None, str, bool]:
    """Return class, code and sentence of a refusal [seen], and whether it has the service's form.

    The sentence is the beginning of its body if it has neither. Apart from `decipher()`, so that no frame of a
    traceback has the raw texts.
    """
    payload, encoding = _object(response.body), _compression(response)
    error_code = _first_text(payload or {}, "error_code", "code", "status_code")
    message = _first_text(payload or {}, "error", "detail")
    from_service = bool(error_code or message) and not 300 <= response.status < 400  # noqa: PLR2004 - the redirects
    if message is None:
        rest = f"its text {_not_decoded(encoding)}" if encoding else "" if payload == {} else _text(response.body)
        message = _first_text(payload or {}, "message") or rest
    error_type = _error_type(response.status, error_code, {**ERROR_TYPES, **error_types})
    return error_type, error_code and excerpt(error_code, secrets, limit=80), excerpt(message, secrets), from_service


def _proves_refusal(status: int, error_type: type[ApiError] = ApiError, *, from_service: bool = False) -> bool:
    """Return True if a request that was answered so was surely not carried out.

    Gateways also give 408, 499 and any 5xx after the service has done the work, a 503 with `Retry-After` too [seen]. Of
    those, only a 503 that the service wrote is a refusal, and a limit of the account, which it checks before anything
    is made [documented].
    """
    limit = issubclass(error_type, ConcurrencyLimitError | MinutesLimitError)
    if from_service and (status == 503 or limit):  # noqa: PLR2004
        return True
    return 300 <= status < 500 and status not in {408, 499}  # noqa: PLR2004 - redirects and the 4xx


def invalid_response(
    request: Request[Any],
    response: Response,
    problem: str,
    *,
    field: str | None = None,
    secrets: Collection[Secret] = (),
) -> InvalidResponseError:
    """Return the error that says what is wrong with an answer."""
    # A damaged answer may hide a credential from the masking. A web page, sent by a wrong address or a proxy, has none.
    quoted = not request.confidential or response.body.lstrip()[:1] == b"<"
    return InvalidResponseError(
        method=request.method,
        path=request.path,
        status=response.status,
        # A problem, and even a field's name, may quote the peer.
        problem=excerpt(problem, secrets),
        field=field and excerpt(field, secrets),
        outcome_unknown=not request.safe and not _proves_refusal(response.status),
        excerpt=excerpt(_text(response.body), secrets) if quoted and _compression(response) is None else "",
    )


def _compression(response: Response) -> str | None:
    encoding = response.headers.get("content-encoding", "identity")
    return encoding if response.body and encoding.lower() != "identity" else None


def _not_decoded(encoding: str) -> str:
    return f"is compressed ({encoding}), which was not asked for, and cannot be decoded"


def _payload(response: Response) -> Any:
    if response.status == 204:  # noqa: PLR2004 - No Content
        return None
    try:
        return parse_json(response.body)
    except ValueError as error:
        encoding = _compression(response)
        if encoding is not None:
            problem = f"it {_not_decoded(encoding)}"
        elif not response.body:
            problem = "it is empty"
        else:
            problem = f"it is not JSON ({response.headers.get('content-type', 'no content type')}): {error}"
        raise PayloadError(None, problem) from None


def _text(body: bytes) -> str:
    # Only the beginning of a body is shown.
    return body[:16_384].decode("utf-8", "replace")


def _object(body: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in a body; None if there is none."""
    try:
        payload = parse_json(body)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def _first_text(payload: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if isinstance(text := payload.get(name), str) and text.strip()), None)


def _error_type(status: int, error_code: str | None, error_types: ErrorTypes) -> type[ApiError]:
    """Return the class of a refusal: by its code first, then by its status."""
    if error_code is not None:
        if error_code in error_types:
            return error_types[error_code]
        for part, error_type in _CODE_PARTS:
            if re.search(part, error_code):
                return error_type
    if status >= 500:  # noqa: PLR2004 - the 5xx
        return ServerError
    return _STATUS_TYPES.get(status, ApiError)


def check_error_types(error_types: Any) -> dict[str, type[ApiError]]:
    """Return a copy of a user's error classes by error code.

    Raises:
        ConfigurationError: A key is not a text, or a value not an `ApiError` class.
    """
    if not isinstance(error_types, Mapping):
        refuse_kind("error_types", error_types, "a mapping of codes to errors")
    for code, error_type in error_types.items():
        if not isinstance(code, str):
            refuse("error_types: a code", code, "a text")
        if not (isinstance(error_type, type) and issubclass(error_type, ApiError)):
            refuse(f"error_types[{shown(code)}]", error_type, "a subclass of ApiError")
    return dict(error_types)


def not_ready_text(body: bytes, secrets: Collection[Secret] = ()) -> str:
    """Return why a recording is not ready, as its JSON answer says; empty if it does not."""
    return excerpt(_first_text(_object(body) or {}, "status_text", "error", "detail", "message") or "", secrets)
