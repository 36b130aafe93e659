"""The fuzzing targets: each takes bytes as they could come from the network, and reads them.

A target fails by raising an exception. It catches the errors that a reader may raise, and uses the result as a program
would. The bytes for an answer are written like an answer.
"""

# ruff: noqa: PT017 - an error is one of two valid results

import json
import pickle
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from akapulu_async.converter import PayloadError, structure
from akapulu_async.errors import AkapuluError, ApiError, ConfigurationError, InvalidResponseError
from akapulu_async.models.connection import Connection
from akapulu_async.models.conversation import ConversationDetail, ConversationUpdate
from akapulu_async.resources.conversations import detail_request, read_connection, update_request
from akapulu_async.sansio.headers import MAX_RETRY_AFTER, parse_content_range, parse_retry_after
from akapulu_async.sansio.http import Request, Response, decipher, not_ready_text
from akapulu_async.sansio.lifecycle import Lifecycle, SessionState, StateChanged
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.sansio.urls import is_loopback, redirect_target
from akapulu_async.secret import Secret, excerpt

ID = "33333333-3333-4333-8333-333333333333"
KEY = Secret("violet/canyon+harvest=lantern")
NOW = datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)
LOCAL, REMOTE = "http://127.0.0.1:8080/api/x", "https://akapulu.com/api/x"
LONGEST_ERROR = 2_000
"""Characters of an error's text, however long the answer is."""

Target = Callable[[bytes], None]


def header_text(data: bytes) -> str:
    """Decode a header as aiohttp does."""
    return data.decode("utf-8", "surrogateescape")


def answer_of(data: bytes) -> Response:
    """Parse an answer: a status, one header per line, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    status, *lines = head.split(b"\n")
    fields = (line.partition(b":") for line in lines)
    headers = {header_text(name).strip().lower(): header_text(value).strip() for name, _, value in fields}
    known = re.fullmatch(rb"\s*([1-5][0-9]{2})\b.*", status)
    return Response(int(known[1]) if known else 200, headers, body)


def check_error(error: AkapuluError, *, caused: bool = False) -> None:
    """Check that an error can be logged and pickled, is short, has no key in it, and no cause unless `caused`."""
    texts = (str(error), repr(error), *map(str, vars(error).values()))
    for text in texts:
        assert len(text) < LONGEST_ERROR, len(text)
        assert KEY.reveal() not in text
        text.encode()  # a log cannot encode a lone surrogate
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), vars(again)) == (type(error), vars(error))
    assert caused or (error.__cause__ is None and error.__context__ is None)


def _reads(request: Request[Any], use: Callable[[Any], None]) -> Target:
    """Return the target for an operation: its answer becomes a model, which is used, or an error."""

    def target(data: bytes) -> None:
        response = answer_of(data)
        try:
            model = decipher(request, response, now=lambda: NOW, secrets=(KEY,))
        except (ApiError, InvalidResponseError) as error:
            assert isinstance(error, ApiError) is (not 200 <= response.status < 300)
            check_error(error)
        else:
            use(model)

    return target


def use_connection(connection: Connection) -> None:
    """Use a connection in every way."""
    hidden = attrs.evolve(connection, token=Secret(KEY.reveal()))
    assert KEY.reveal() not in f"{hidden} {hidden!r} {hidden.raw}"
    assert connection.join_url.startswith(("http://", "https://", " "))
    connection.join_url.encode()
    assert connection == attrs.evolve(connection)


def use_update(update: ConversationUpdate) -> None:
    """Use an update in every way, also in a session's machine."""
    assert 0.0 <= update.completion_percent <= 100.0
    assert pickle.loads(pickle.dumps(update)) == update  # noqa: S301 - our own
    lifecycle = Lifecycle(UpdateSignals(), 3, lambda: NOW)
    lifecycle.receive_connecting(0.0, NOW)
    lifecycle.receive_connected(ID)
    lifecycle.receive_update(update, 1.0)
    events = lifecycle.events_received()
    entered = [event.state for event in events if isinstance(event, StateChanged)]
    order = list(SessionState)
    assert entered == sorted(entered, key=order.index)
    assert (SessionState.BOT_READY in entered) is update.call_is_ready or SessionState.ENDED in entered
    repr(events)


def use_detail(detail: ConversationDetail) -> None:
    """Use a detail in every way."""
    assert pickle.loads(pickle.dumps(detail)) == detail  # noqa: S301 - our own
    turns = detail.transcript_by_node()
    assert tuple(row for turn in turns for row in turn.rows) == detail.transcript_rows
    assert isinstance(detail.transcript_text(), str)
    assert detail.created_at.astimezone(UTC) == detail.created_at
    assert detail.created_at.isoformat()
    repr(detail)


def use_json(payload: Any) -> None:
    """Use parsed JSON in every way."""
    assert isinstance(json.dumps(payload), str)
    repr(payload)
    pickle.dumps(payload)


def moment(data: bytes) -> None:
    """Read an RFC 3339 stamp of a detail."""
    text = data.decode("utf-8", "replace")
    payload = {
        "id": ID, "created_at": text, "created_at_text": "", "duration_text": "", "scenario_id": ID,
        "avatar": {"id": ID, "href": "", "profile_image_url": ""}, "transcript_rows": [],
        "recording": {"has_recording": True, "is_ready": True, "status_text": ""},
    }  # fmt: skip
    try:
        detail = structure(payload, ConversationDetail)
    except PayloadError as error:
        assert error.field == "created_at"
        assert error.__context__ is None
    else:
        use_detail(detail)


def retry_after(data: bytes) -> None:
    """Read seconds or an HTTP date, and the date from which it counts."""
    value, _, date = header_text(data).partition("\n")
    seconds = parse_retry_after(value, date, lambda: NOW)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER


def content_range(data: bytes) -> None:
    """Read which bytes a partial answer bears."""
    found = parse_content_range(header_text(data))
    assert found is None or 0 <= found[0] < (found[1] or 10**18)


def redirect(data: bytes) -> None:
    """Look where a redirect leads, from this machine and from elsewhere."""
    for base in (LOCAL, REMOTE):
        target = redirect_target(header_text(data), base)
        if target is None:
            continue
        scheme, _, rest = target.partition("://")
        host = rest.partition("/")[0].partition("?")[0].partition("#")[0]
        assert "@" not in host
        assert "\\" not in host
        bare = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        assert scheme.lower() == "https" or (base == LOCAL and is_loopback(bare))


def progress(data: bytes) -> None:
    """Read the text of an update."""
    try:
        text = data.decode("utf-8", "surrogatepass")  # JSON may contain a lone surrogate
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    signals = UpdateSignals()
    signals.reads_as_end(text)
    signals.reads_as_join(text)
    use_update(ConversationUpdate(ID, call_is_ready=False, latest_update_text=text))


def not_ready(data: bytes) -> None:
    """Read the answer that comes instead of a recording."""
    text = not_ready_text(data, (KEY,))
    assert text.isprintable()
    assert len(text) <= 200
    assert KEY.reveal() not in text


def shown(data: bytes) -> None:
    """Shorten a text that ends with the key."""
    text = excerpt(header_text(data) + KEY.reveal(), (KEY,))
    assert text.isprintable()
    assert len(text) <= 200
    assert KEY.reveal() not in text


def snapshot(data: bytes) -> None:
    """Read a stored snapshot, and restore it."""
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        read = SessionSnapshot.from_json(payload)
    except ConfigurationError as error:
        assert len(str(error)) < LONGEST_ERROR
        return
    assert SessionSnapshot.from_json(json.loads(json.dumps(read.to_json()))) == read
    lifecycle = Lifecycle(UpdateSignals(), 3, lambda: NOW)
    read.restore(lifecycle, 77.0, NOW)
    for state in SessionState:
        lifecycle.entered_at(state)
    SessionSnapshot.of(lifecycle)


TARGETS: Mapping[str, Target] = {
    "connect": _reads(
        Request("POST", "/conversations/connect/", body=b"{}", read=read_connection, confidential=True), use_connection
    ),
    "updates": _reads(update_request(ID), use_update),
    "detail": _reads(detail_request(ID), use_detail),
    "request": _reads(Request("GET", "/scenarios/"), use_json),
    "moment": moment,
    "retry_after": retry_after,
    "content_range": content_range,
    "redirect": redirect,
    "progress": progress,
    "not_ready": not_ready,
    "shown": shown,
    "snapshot": snapshot,
}
