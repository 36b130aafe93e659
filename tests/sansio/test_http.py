"""What a response means, told on the bytes that came."""

import gzip
import json
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from akapulu_async.resources.conversations import detail_request, read_connection, update_request
from akapulu_async.sansio.http import (
    Request,
    Response,
    check_error_types,
    decipher,
    decoded,
    invalid_response,
    not_ready_text,
)
from akapulu_async.sansio.json_body import MAX_JSON_BYTES
from akapulu_async.secret import MASK, Secret

ID = "33333333-3333-4333-8333-333333333333"
KEY = "AKLIVE0123456789ABCDEF"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl"
NOW = datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)

ANYTHING: Request[Any] = Request("GET", "/scenarios/")
CONNECT = Request("POST", "/conversations/connect/", body=b"{}", read=read_connection, confidential=True)
UPDATES = update_request(ID)
DETAIL = detail_request(ID)


def answered(
    status: int, body: bytes = b"", request: Request[Any] = ANYTHING, headers: Mapping[str, str] = {}, **options: Any
) -> Any:
    return decipher(request, Response(status, headers, body), now=lambda: NOW, **options)


def refusal(status: int, body: bytes = b"", **options: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        answered(status, body, **options)
    return caught.value


def nonsense(status: int, body: bytes, **options: Any) -> InvalidResponseError:
    with pytest.raises(InvalidResponseError) as caught:
        answered(status, body, **options)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_success_is_read(status: int) -> None:
    """Every 2xx with JSON is an answer."""
    assert answered(status, b'{"a": [1, "\xc3\xa4"]}') == {"a": [1, "ä"]}


def test_an_answer_becomes_what_was_asked_for() -> None:
    """The request's reader turns the JSON into its model."""
    body = b'{"conversation_session_id": "%s", "call_is_ready": true, "completion_percent": 100}' % ID.encode()
    assert answered(200, body, UPDATES).call_is_ready


def test_no_content_is_none() -> None:
    """A 204 has no content, whatever a peer sends with it."""
    assert answered(204) is None
    assert answered(204, b"<html>") is None


def test_head_is_answered_with_none() -> None:
    """The answer to a HEAD has no content; a refusal of one is still raised."""
    assert answered(200, request=Request("HEAD", "/scenarios/")) is None
    assert refusal(404, request=Request("HEAD", "/scenarios/")).status == 404


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (100, ApiError), (199, ApiError), (300, ApiError), (301, ApiError), (304, ApiError), (308, ApiError),
        (400, BadRequestError), (401, AuthenticationError), (402, MinutesLimitError), (403, PermissionDeniedError),
        (404, NotFoundError), (405, ApiError), (408, ApiError), (409, ApiError), (410, NotFoundError),
        (413, ApiError), (422, ApiError), (429, RateLimitError), (499, ApiError),
        (500, ServerError), (501, ServerError), (502, ServerError), (503, ServerError), (504, ServerError),
        (599, ServerError),
    ],
)  # fmt: skip
def test_without_a_code_the_status_tells(status: int, kind: type[ApiError]) -> None:
    """Each status has its class; what has none of its own is a plain ApiError."""
    error = refusal(status, b'{"error": "No", "error_code": "SOMETHING_ELSE"}')
    assert type(error) is type(refusal(status)) is kind
    assert (error.status, error.error_code, error.message) == (status, "SOMETHING_ELSE", "No")
    assert (error.method, error.path, error.attempts, error.retry_after) == ("GET", "/scenarios/", 1, None)


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AUTH_INVALID", AuthenticationError),
        ("CONCURRENCY_LIMIT", ConcurrencyLimitError),
        ("max_concurrent_calls", ConcurrencyLimitError),
        ("TooManyConcurrentSessions", ConcurrencyLimitError),
        ("MINUTES_LIMIT_REACHED", MinutesLimitError),
        ("no_minutes_left", MinutesLimitError),
        ("Usage_Exceeded", MinutesLimitError),
        ("INSUFFICIENT_CREDITS", MinutesLimitError),
        ("no_credit_left", MinutesLimitError),
    ],
)
def test_the_code_goes_before_the_status(status: int, code: str, kind: type[ApiError]) -> None:
    """A code that is known or speaks of a limit decides, in any case of letters and with any status."""
    error = refusal(status, json.dumps({"error": "No", "error_code": code}).encode())
    assert type(error) is kind
    assert (error.status, error.error_code) == (status, code)


@pytest.mark.parametrize(
    "code", ["RATE_LIMIT_PER_MINUTE", "minute_rate_exceeded", "TOO_MANY_REQUESTS_PER_MINUTE", "BAD_CREDENTIALS"]
)
@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (503, ServerError), (400, BadRequestError)])
def test_a_rate_is_not_the_months_minutes(status: int, kind: type[ApiError], code: str) -> None:
    """A code that speaks of so many a minute says nothing of the month's minutes: the status decides."""
    assert type(refusal(status, json.dumps({"error": "No", "error_code": code}).encode())) is kind


class NoCreditError(ApiError):
    pass


def test_what_a_user_taught_goes_first() -> None:
    """A taught code wins over the known and the assumed ones, exactly as it is written; the others stay."""
    taught = {"AUTH_INVALID": NoCreditError, "CONCURRENT_MINUTES": MinutesLimitError}
    for code, kind in (
        ("AUTH_INVALID", NoCreditError),
        ("CONCURRENT_MINUTES", MinutesLimitError),
        ("concurrent_minutes", ConcurrencyLimitError),
        ("OTHER", BadRequestError),
    ):
        assert type(refusal(400, json.dumps({"error_code": code}).encode(), error_types=taught)) is kind
    assert type(refusal(400, b'{"code": "AUTH_INVALID"}', error_types={"X": NoCreditError})) is AuthenticationError


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        ({"error": "E", "error_code": "C"}, "C", "E"),
        ({"detail": "D", "code": "C"}, "C", "D"),
        ({"message": "M", "status_code": "C"}, "C", "M"),
        ({"error": "E", "detail": "D", "message": "M", "error_code": "1", "code": "2", "status_code": "3"}, "1", "E"),
        ({"error": None, "detail": "D", "error_code": None, "code": "2"}, "2", "D"),
        ({"error": "", "detail": "D", "error_code": "", "status_code": "3"}, "3", "D"),
        ({"error": " \n", "message": "M", "error_code": "\t", "code": "2"}, "2", "M"),
        ({"error": "E", "error_code": 7, "code": 400}, None, "E"),
        ({"error": {"code": "C"}}, None, '{"error": {"code": "C"}}'),
        ({"field": ["required"]}, None, '{"field": ["required"]}'),
        ({}, None, ""),
        (["E"], None, '["E"]'),
        ("E", None, '"E"'),
        (None, None, "null"),
        ({"error": "two\nlines\x1b[0m", "error_code": "A\nB"}, "A B", "two lines [0m"),
        ({"error": "x" * 500, "error_code": "y" * 500}, "y" * 79 + "…", "x" * 199 + "…"),
    ],
    ids=count(),
)
def test_where_code_and_sentence_stand(payload: Any, code: str | None, message: str) -> None:
    """Code and sentence are found under each name they were seen under; else the body's beginning is the sentence."""
    error = refusal(400, json.dumps(payload).encode())
    assert (error.error_code, error.message) == (code, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"<html>\n <h1>502 Bad Gateway</h1>", "<html> <h1>502 Bad Gateway</h1>"),
        (b'{"error": "No', '{"error": "No'),
        (b"\xff\xfe\x00", "\ufffd\ufffd"),
        (b'\xef\xbb\xbf{"error": "No"}', "No"),
        (b'{"error": NaN}', '{"error": NaN}'),
        (b"[" * 100_000, "[" * 199 + "…"),
        (gzip.compress(b'{"error": "No"}', mtime=0)[:4], "\ufffd"),
        ("ä".encode() * 20_000, "ä" * 199 + "…"),
    ],
    ids=count(),
)
def test_refusals_that_are_not_json(body: bytes, message: str) -> None:
    """A refusal in whatever form is told by its status, with the beginning of what came."""
    error = refusal(502, body)
    assert type(error) is ServerError
    assert (error.error_code, error.message.split()) == (None, message.split())


def test_a_refusal_that_cannot_be_decoded_names_its_compression() -> None:
    """The text of a refusal is not shown compressed; the compression is named, without a secret."""
    error = refusal(403, b"\x0b\x02", headers={"content-encoding": f"br, {KEY}"}, secrets=[Secret(KEY)])
    assert type(error) is PermissionDeniedError
    assert error.message == f"its text is compressed (br, {MASK}), which was not asked for, and cannot be decoded"


def test_a_refusal_without_a_text_has_no_compression() -> None:
    """An answer to a HEAD may name the compression that its text would have."""
    assert refusal(404, b"", headers={"content-encoding": "gzip"}).message == ""


def test_compressed_answers_are_decoded() -> None:
    """An answer in gzip or deflate becomes the plain answer, without the header; anything else stays as it is."""
    whole = gzip.compress(b'{"error": "No"}')
    plain = decoded(Response(400, {"content-encoding": "gzip", "retry-after": "1"}, whole))
    assert (plain.status, plain.headers, plain.body) == (400, {"retry-after": "1"}, b'{"error": "No"}')
    for headers in ({}, {"content-encoding": "br"}, {"content-encoding": "deflate"}):
        untouched = Response(400, headers, whole)
        assert decoded(untouched) is untouched
    assert decoded(Response(200, {"content-encoding": "gzip"}, gzip.compress(bytes(MAX_JSON_BYTES)))).body
    bomb = Response(200, {"content-encoding": "gzip"}, gzip.compress(bytes(MAX_JSON_BYTES + 1)))
    assert decoded(bomb) is bomb


ERROR, PAGE = b'{"error": "No"}', b"\n<html>Unavailable</html>"
WAIT, HTML = {"retry-after": "5"}, {"content-type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("body", "headers", "proven"),
    [
        (ERROR, {}, True),
        (b'{"detail": "No"}', {}, True),
        (b'{"error_code": "BUSY"}', {}, True),
        (ERROR, HTML, True),
        (b"", WAIT, False),
        (b"{}", WAIT, False),
        (b"Busy", {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, False),
        (b"", {}, False),
        (b"{}", {}, False),
        (b"[]", {}, False),
        (b"Service Unavailable", {}, False),
        (b'{"message": "Service Unavailable"}', {}, False),
        (PAGE, {}, False),
        (PAGE, WAIT, False),
        (PAGE, WAIT | HTML, False),
    ],
    ids=count(),
)
def test_which_503_the_service_wrote(body: bytes, headers: dict[str, str], proven: bool) -> None:
    """A 503 is a refusal with a JSON error; a Retry-After proves nothing, since gateways send one too."""
    error = refusal(503, body, request=CONNECT, headers=headers)
    assert error.outcome_unknown is not proven
    assert not refusal(503, body, headers=headers).outcome_unknown, "a GET does nothing"


bodies = st.sampled_from([b"", b"{}", ERROR, PAGE, b"text", b'{"error": "E", "error_code": "OTHER"}'])
headers_of_refusals = st.fixed_dictionaries({}, optional={"retry-after": st.just("5"), "content-type": st.text()})


@given(
    st.integers(100, 599).filter(lambda status: not 200 <= status < 300 and status != 503), bodies, headers_of_refusals
)
def test_which_statuses_prove_that_nothing_was_done(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Redirects and 4xx but 408 and 499 are refusals; no other status is, whatever comes with it."""
    refused = 300 <= status < 500 and status not in {408, 499}
    assert refusal(status, body, request=CONNECT, headers=headers).outcome_unknown is not refused
    assert not refusal(status, body, headers=headers).outcome_unknown


@given(st.integers(300, 599), st.sampled_from(["CONCURRENCY_LIMIT", "MINUTES_LIMIT_REACHED"]))
def test_a_limit_is_a_refusal(status: int, code: str) -> None:
    """A limit of the account is checked before anything is made, whatever its status."""
    assert not refusal(status, json.dumps({"error_code": code}).encode(), request=CONNECT).outcome_unknown


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"]), st.integers(100, 599))
def test_which_bad_answers_prove_that_nothing_was_done(method: str, status: int) -> None:
    """An answer that makes no sense leaves a request that changes something in doubt, unless its status refuses it."""
    error = invalid_response(Request(method, "/"), Response(status, {}, b""), "too large")
    refused = 300 <= status < 500 and status not in {408, 499}
    assert error.outcome_unknown is (method not in {"GET", "HEAD"} and not refused)


@pytest.mark.parametrize(
    ("status", "body", "from_service"),
    [
        (404, b'{"error": "No"}', True), (500, b'{"detail": "No"}', True), (404, b'{"code": "NO"}', True),
        (404, b"{}", False),
        (403, b'{"message": "Forbidden"}', False),
        (404, b"<html>", False), (404, b"", False), (401, b'{"error": "No', False), (404, b'["No"]', False),
        (403, b'"No"', False), (302, b'{"error": "No"}', False), (304, b"", False), (399, b"{}", False),
    ],
)  # fmt: skip
def test_who_wrote_a_refusal(status: int, body: bytes, from_service: bool) -> None:
    """Only JSON with a code or a text as the service writes it, and no redirect, is the service's own refusal."""
    assert refusal(status, body).from_service is from_service


def test_a_refusal_tells_how_often_it_was_tried() -> None:
    """The error says to what, how often, and for how long to wait."""
    error = refusal(429, b'{"error": "No"}', request=CONNECT, headers={"retry-after": "12"}, attempts=3)
    assert (error.method, error.path, error.attempts, error.retry_after) == ("POST", CONNECT.path, 3, 12.0)


def test_a_date_to_retry_after_counts_from_the_answers_date() -> None:
    """A clock that is wrong on one side changes no pause: the date to wait for counts from the answer's own date."""
    late = {"retry-after": "Tue, 10 Mar 2026 18:20:32 GMT", "date": "Tue, 10 Mar 2026 18:20:02 GMT"}
    assert refusal(503, headers=late).retry_after == 30.0
    del late["date"]
    assert refusal(503, headers=late).retry_after == 630.0


NOT_JSON: list[tuple[bytes, Mapping[str, str], str]] = [
    (b"", {}, "it is empty"),
    (
        b"<!doctype html>", {"content-type": "text/html"},
        "it is not JSON (text/html): Expecting value: line 1 column 1 (char 0)",
    ),
    (b"{", {}, ("it is not JSON (no content type): Expecting property name enclosed in double quotes: "
               "line 1 column 2 (char 1)")),
    (b'{"a": 1', {}, "it is not JSON (no content type): Expecting ',' delimiter: line 1 column 8 (char 7)"),
    (b"{} {}", {}, "it is not JSON (no content type): Extra data: line 1 column 4 (char 3)"),
    (b'{"a": NaN}', {}, "it is not JSON (no content type): NaN is not JSON"),
    (b'{"a": Infinity}', {}, "it is not JSON (no content type): Infinity is not JSON"),
    (b'{"a": -Infinity}', {}, "it is not JSON (no content type): -Infinity is not JSON"),
    (b"[" * 100_000, {}, "it is not JSON (no content type): it is nested too deeply"),
    (b'{"a":' * 100_000, {}, "it is not JSON (no content type): it is nested too deeply"),
    (
        b"\xff{}", {},
        "it is not JSON (no content type): 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
    (
        gzip.compress(b"{}"), {"content-encoding": "gzip"},
        "it is compressed (gzip), which was not asked for, and cannot be decoded",
    ),
    (
        b"x", {"content-encoding": "BR"},
        "it is compressed (BR), which was not asked for, and cannot be decoded",
    ),
    (b"", {"content-encoding": "Identity"}, "it is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "problem"), NOT_JSON, ids=count())
def test_successes_that_are_not_json(body: bytes, headers: Mapping[str, str], problem: str) -> None:
    """A 2xx without strict JSON is an InvalidResponseError that says what it is instead."""
    error = nonsense(200, body, headers=headers)
    assert (error.problem, error.field, error.status) == (problem, None, 200)
    assert (error.method, error.path) == ("GET", "/scenarios/")


def test_the_field_is_named() -> None:
    """What a reader refuses comes with the field's place and the answer's beginning."""
    error = nonsense(200, b'{"conversation_session_id": "x"}', request=UPDATES)
    assert (error.field, error.problem[:14]) == ("conversation_session_id", "must be a UUID")
    assert error.excerpt == '{"conversation_session_id": "x"}'


def test_no_content_where_there_must_be_some() -> None:
    """A 204 to a request that needs an answer is refused."""
    error = nonsense(204, b"", request=CONNECT)
    assert (error.problem, error.excerpt) == ("it must be an object, not null", "")


BAD_CONNECTION = json.dumps({"room_url": 7, "token": JWT, "conversation_session_id": ID}).encode()


@pytest.mark.parametrize(
    ("status", "body", "request_"),
    [(200, b"<html>", CONNECT), (200, BAD_CONNECTION, CONNECT), (400, BAD_CONNECTION, CONNECT), (500, b"{", ANYTHING)],
    ids=count(),
)
def test_errors_hold_no_body(status: int, body: bytes, request_: Request[Any]) -> None:
    """An error has neither cause nor context, since what json and the converter raise holds the whole body."""
    with pytest.raises((ApiError, InvalidResponseError)) as caught:
        answered(status, body, request_)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert JWT not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        (b'{"tokn": "room-secret"}', ""),
        (b'{"token": "room-secret", "room_url": ', ""),
        (b'x{"token: "room-secret"}', ""),
        (b"room-secret", ""),
        (b" \n<html>Sign in</html>", "<html>Sign in</html>"),
    ],
    ids=count(),
)
def test_bad_answer_that_may_bear_a_credential_is_not_quoted(body: bytes, quoted: str) -> None:
    """A damaged answer to a connect may hold the token where nothing tells it, so that only a web page is quoted."""
    with pytest.raises(InvalidResponseError) as caught:
        answered(200, body, CONNECT)
    assert caught.value.excerpt == quoted
    assert "room-secret" not in f"{caught.value} {vars(caught.value)}"
    with pytest.raises(InvalidResponseError) as caught:
        answered(200, body, UPDATES)
    assert caught.value.excerpt, "other answers are quoted"


def plant(secret: str, place: int, filler: str) -> tuple[bytes, dict[str, str]]:
    """Return a body and headers that bear a secret in one of many places."""
    text = f"{filler}{secret}"
    bodies = [
        {"error": text}, {"error": "No", "error_code": text}, {"code": text, "detail": text}, {"message": [text]},
        {"token": text}, {text: 1}, {"conversation_session_id": text}, {"room_url": text, "token": secret},
        {"conversation_session_id": ID, "call_is_ready": text}, {"created_at": text}, [text], text,
    ]  # fmt: skip
    raw = [text.encode(), b"\xff" + text.encode(), b'{"error": "' + text.encode(), b" " * 3990 + text.encode()]
    if place < len(bodies):
        return json.dumps(bodies[place]).encode(), {}
    if place < len(bodies) + len(raw):
        return raw[place - len(bodies)] + b" end" * 50, {}
    return b"<html>", [{"content-type": text}, {"content-encoding": text}, {"retry-after": text}][
        place - len(bodies) - len(raw)
    ]


@given(
    st.sampled_from([KEY, JWT]),
    st.integers(0, 18),
    st.text("xyz \n\t<>.'", max_size=300),
    st.sampled_from([200, 204, 301, 400, 401, 429, 503]),
    st.sampled_from([ANYTHING, CONNECT, UPDATES, DETAIL]),
)
def test_errors_never_show_a_secret(secret: str, place: int, filler: str, status: int, request_: Request[Any]) -> None:
    """Wherever a peer echoes the API key or a token, no error shows it, nor its beginning."""
    body, headers = plant(secret, place, filler)
    shown = ""
    try:
        answered(status, body, request_, headers, secrets=(Secret(KEY),))
    except (ApiError, InvalidResponseError) as error:
        shown = f"{error} {vars(error)}"
    assert secret[:6] not in shown
    assert not any(part in shown for part in secret.split("."))


def test_masks_stand_for_secrets() -> None:
    """Where a secret stood, a mask stands, so that the property above is not kept by showing nothing."""
    assert refusal(400, f'{{"error": "bad {KEY}!"}}'.encode(), secrets=[Secret(KEY)]).message == f"bad {MASK}!"
    error = invalid_response(ANYTHING, Response(200, {}, b"x" + KEY.encode()), KEY, field=KEY, secrets={Secret(KEY)})
    assert (error.problem, error.field, error.excerpt) == (MASK, MASK, f"x{MASK}")


json_bytes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(ID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "error_code", "token", "id", "role"]) | st.text(), inner, max_size=3
        )
    ),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())
header_texts = st.text(st.characters(), max_size=40)


@given(
    st.integers(100, 599),
    st.binary(max_size=200) | json_bytes,
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("content-type", "content-encoding", "retry-after"), header_texts)
    ),
    st.sampled_from([ANYTHING, CONNECT, UPDATES, DETAIL]),
)  # fmt: skip
def test_any_answer_is_a_value_or_one_of_two_errors(
    status: int, body: bytes, headers: dict[str, str], request_: Request[Any]
) -> None:
    """Any bytes, status and headers give a value, an ApiError or an InvalidResponseError: the first two by status."""
    outcome: Exception | None = None
    try:
        answered(status, body, request_, headers)
    except (ApiError, InvalidResponseError) as error:
        outcome = error
    assert isinstance(outcome, ApiError) is (not 200 <= status < 300)
    assert str(outcome)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"status_text": "Processing", "error": "E"}', "Processing"),
        (b'{"status_text": null, "error": "Not ready"}', "Not ready"),
        (b'{"detail": "D"}', "D"),
        (b'{"message": "two\\nlines"}', "two lines"),
        (b'{"message": 7}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"", ""),
        (b"<html>", ""),
        (b'{"error": "?token=abc"}', f"?token={MASK}"),
    ],
    ids=count(),
)
def test_not_ready_text(body: bytes, text: str) -> None:
    """What a recording's JSON says in words is found, if it says anything."""
    assert not_ready_text(body) == text


@given(st.binary() | json_bytes)
def test_any_not_ready_text(body: bytes) -> None:
    """Whatever comes in a recording's place, there is a short line."""
    text = not_ready_text(body)
    assert text.isprintable()
    assert len(text) <= 200


@pytest.mark.parametrize(
    ("method", "safe"),
    [("GET", True), ("HEAD", True), ("POST", False), ("PUT", False), ("PATCH", False), ("DELETE", False)],
)
def test_safe_methods(method: str, safe: bool) -> None:
    """Only what reads may be sent twice."""
    assert Request(method, "/").safe is safe


def test_a_request_does_not_show_its_body() -> None:
    """Runtime variables may be private: the text of neither side shows a body."""
    assert "private" not in repr(Request("POST", "/", b"private"))
    assert "private" not in repr(Response(200, {}, b"private"))


def test_error_types_are_checked_and_copied() -> None:
    """Only ApiError classes can be taught, and later changes of the caller's mapping do not matter."""
    taught: dict[str, Any] = {"NO_CREDIT": NoCreditError}
    kept = check_error_types(taught)
    taught["OTHER"] = NoCreditError
    assert kept == {"NO_CREDIT": NoCreditError}
    for wrong in (ValueError, "ConcurrencyLimitError", NoCreditError(status=400, method="GET", path="/"), None):
        with pytest.raises(ConfigurationError, match=r"^error_types\['X'\] must be a subclass of ApiError, not .*$"):
            check_error_types({"X": wrong})
    with pytest.raises(ConfigurationError, match=r"^error_types: a code must be a text, not 5$"):
        check_error_types({5: NoCreditError})
    with pytest.raises(ConfigurationError, match=r"^error_types must be a mapping of codes to errors, not list$"):
        check_error_types([NoCreditError])
