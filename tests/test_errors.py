"""Errors say what happened, to what, and what to do next; they can be pickled and copied."""

import ast
import copy
import inspect
import pickle
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import errors
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
from akapulu_async.sansio.lifecycle import EndReason

ID = "33333333-3333-4333-8333-333333333333"
GET: Any = {"method": "GET", "path": f"/conversations/{ID}/"}
POST: Any = {"method": "POST", "path": "/conversations/connect/"}
WHERE = f"GET /conversations/{ID}/"

TEXTS: list[tuple[AkapuluError, str]] = [
    (ConfigurationError("api_key: it is empty"), "api_key: it is empty"),
    (TransportError(**GET, reason="the connection broke", sent=True), f"{WHERE} got no answer: the connection broke."),
    (
        TransportError(**GET, reason="could not connect", sent=False, attempts=3),
        f"{WHERE} got no answer: could not connect. It never reached the service. Tried 3 times.",
    ),
    (
        RequestTimeoutError(**GET, reason="nothing came in 30 s", sent=True, attempts=2),
        f"{WHERE} got no answer: nothing came in 30 s. Tried 2 times.",
    ),
    (
        ConnectOutcomeUnknownError(scenario_id=ID, avatar_id="other", reason="it broke off."),
        (f"The connect of scenario {ID} was sent, but its outcome is unknown: it broke off. The conversation may exist "
        "and hold a slot until its join timeout. Look for it in the dashboard's list of conversations, by time, "
        "scenario and runtime_vars; connect again only if a second conversation is acceptable."),
    ),
    (InvalidResponseError(**GET, status=200, problem="it is empty"), f"{WHERE} was answered 200, but it is empty."),
    (
        InvalidResponseError(**GET, status=200, problem="is missing", field="avatar.id", excerpt='{"avatar": {}}'),
        f"{WHERE} was answered 200, but field 'avatar.id' is missing. The answer begins: {{\"avatar\": {{}}}}.",
    ),
    (
        InvalidResponseError(**GET, status=200, problem="it is not JSON", excerpt="<html>…"),
        f"{WHERE} was answered 200, but it is not JSON. The answer begins: <html>…",
    ),
    (
        InvalidResponseError(**POST, status=200, problem="it is empty", outcome_unknown=True),
        ("POST /conversations/connect/ was answered 200, but it is empty. "
        "The service may have carried out the request."),
    ),
    (
        InvalidResponseError(method="HEAD", path="/", status=200, problem="it is empty"),
        "HEAD / was answered 200, but it is empty.",
    ),
    (
        InvalidResponseError(**POST, status=307, problem="it redirects"),
        "POST /conversations/connect/ was answered 307, but it redirects.",
    ),
    (
        RecordingNotReadyError(session_id=ID),
        (f"The recording of conversation {ID} is not ready. "
        "Wait with wait_for_recording() or download_recording(wait=...)."),
    ),
    (
        RecordingTimeoutError(session_id=ID, because="GET /x was refused with 503"),
        (f"The recording of conversation {ID} is not ready. It becomes ready some time after the "
        "conversation has ended, and only if the conversation was connected with record_conversation=True. "
        "The last check failed: GET /x was refused with 503."),
    ),
    (
        RecordingTimeoutError(session_id=ID, status_text="Processing"),
        (f"The recording of conversation {ID} is not ready: Processing. It becomes ready some time after the "
        "conversation has ended, and only if the conversation was connected with record_conversation=True."),
    ),
    (
        ApiError(**POST, status=301),
        ("POST /conversations/connect/ was refused with 301. Redirects are not followed with the API key; "
        "check the base URL (https, host) and that the path ends in '/'."),
    ),
    (ApiError(**GET, status=299), f"{WHERE} was refused with 299."),
    (
        AuthenticationError(**GET, status=399),
        (f"{WHERE} was refused with 399. Redirects are not followed with the API key; "
        "check the base URL (https, host) and that the path ends in '/'."),
    ),
    (ApiError(**GET, status=400, message="No!"), f"{WHERE} was refused with 400: No!"),
    (ApiError(**GET, status=402, error_code="PAY"), f"{WHERE} was refused with 402 PAY."),
    (
        BadRequestError(**POST, status=400, error_code="BAD", message="Bad field"),
        "POST /conversations/connect/ was refused with 400 BAD: Bad field.",
    ),
    (
        AuthenticationError(**GET, status=401),
        f"{WHERE} was refused with 401. Check the API key (AKAPULU_API_KEY) and that it belongs to this base URL.",
    ),
    (
        PermissionDeniedError(**GET, status=403),
        f"{WHERE} was refused with 403. Check that the key's owner has access to the scenario and the avatar.",
    ),
    *(
        (
            kind(**GET, status=status, message="<html>…"),
            (f"{WHERE} was refused with {status}: <html>… The answer is a web page, not the API's: "
            "check that the base URL ends in '/api', and any firewall or proxy in between."),
        )
        for kind, status in (
            (BadRequestError, 400), (AuthenticationError, 401), (PermissionDeniedError, 403), (NotFoundError, 404),
            (ApiError, 405),
        )
    ),
    (
        RateLimitError(**GET, status=429, message="<html>…"),
        f"{WHERE} was refused with 429: <html>… Send fewer requests per second.",
    ),
    (
        ServerError(**GET, status=502, message="<html>…"),
        f"{WHERE} was refused with 502: <html>… Try again later.",
    ),
    (
        NotFoundError(**GET, status=404),
        (f"{WHERE} was refused with 404. It does not exist, or is over: check the id, and that the API key belongs to "
        "its account."),
    ),
    (
        ConcurrencyLimitError(**POST, status=402),
        ("POST /conversations/connect/ was refused with 402. "
        "Wait until a conversation ends, or upgrade the plan."),
    ),
    (
        MinutesLimitError(**POST, status=402),
        ("POST /conversations/connect/ was refused with 402. "
        "Retrying does not help: upgrade the plan, or wait for the next month."),
    ),
    (
        RateLimitError(**GET, status=429, retry_after=2592000.0, attempts=2),
        (f"{WHERE} was refused with 429. Send fewer requests per second. "
        "The service asks to wait 2592000 s. Tried 2 times."),
    ),
    (
        ServerError(**GET, status=503, message="Down", retry_after=0.5),
        f"{WHERE} was refused with 503: Down. Try again later. The service asks to wait 0.5 s.",
    ),
    (
        ServerError(**POST, status=502, message="Bad gateway", outcome_unknown=True),
        ("POST /conversations/connect/ was refused with 502: Bad gateway. "
        "The request may have been carried out all the same; look before you send it again."),
    ),
    *(
        (SessionEndedError(reason=reason, session_id=ID), f"Conversation {ID} ended ({reason}): {why}.")
        for reason, why in (
            ("left", "this program stopped following it: it left the block, called end() or closed the manager"),
            ("completed", "the service reported that it is over"),
            ("ready_timeout", "the bot was not ready in time; raise ready_timeout to wait longer"),
            ("duration_limit_reached", "it reached the plan's maximum duration, or used up the month's minutes"),
            ("participant_join_timeout", "nobody joined its room in time"),
            ("connect_failed", "its connect was refused or got no answer"),
            ("cancelled", "the task that followed it was cancelled"),
        )
    ),
    (SessionEndedError(reason="later", session_id=None), "The conversation ended (later)."),
    (
        SessionEndedError(reason="failed", session_id=ID, because="The key is not accepted"),
        (f"Conversation {ID} ended (failed): the service, the network or its participant failed. "
        "The key is not accepted."),
    ),
    (
        WaitTimeoutError(session_id=None, awaited="bot_ready", state="connecting", timeout=5.0, progress="0 %"),
        ("The conversation did not reach bot_ready within 5 s: it is connecting (0 %). "
        "The session continues; wait again, or leave it."),
    ),
    (
        WaitTimeoutError(
            session_id=ID, awaited="bot_ready", state="room_joined", timeout=5.0, progress="63.6 %"
        ),
        (f"Conversation {ID} did not reach bot_ready within 5 s: it is room_joined (63.6 %). "
        "The session continues; wait again, or leave it."),
    ),
    (ClosedError("the client is not open"), "the client is not open"),
    (ManagerClosedError("the session manager is closed"), "the session manager is closed"),
    (
        StartTimeoutError(timeout=5.0, connecting=False, goes_on=False, running=20, waiting=3),
        (
            "The session did not start within 5 s (20 running, 3 waiting). "
            "It waited for its turn; wait longer, or raise max_sessions if the account allows more."
        ),
    ),
    (
        StartTimeoutError(timeout=5.0, connecting=True, goes_on=False, running=20, waiting=0),
        (
            "The session did not start within 5 s (20 running, 0 waiting). "
            "Its connect was under way; the session was ended."
        ),
    ),
    (
        StartTimeoutError(timeout=5.0, connecting=True, goes_on=True, running=20, waiting=0),
        (
            "The session did not start within 5 s (20 running, 0 waiting). "
            "Its connect is under way; the session continues in the manager."
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=count())
def test_texts(error: AkapuluError, text: str) -> None:
    """A text says what happened, to which request or conversation, and what to do next."""
    assert str(error) == text


def public_classes() -> list[type[AkapuluError]]:
    return [
        value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, AkapuluError) and not name.startswith("_")
    ]


@pytest.mark.parametrize(("error", "text"), [*TEXTS, (AkapuluError("any"), "any")], ids=count())
def test_repr_shows_the_text(error: AkapuluError, text: str) -> None:
    """The repr contains the text: it is all that a gather's results or a log of locals show."""
    assert repr(error) == f"{type(error).__name__}({text!r})"


def test_every_class_has_a_text() -> None:
    """The table above has every class that can be raised."""
    assert {type(error) for error, _ in TEXTS} == set(public_classes()) - {AkapuluError}


class OwnError(ApiError):
    """A user's subclass: another constructor, one more attribute."""

    def __init__(self, *, plan: str, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.plan = plan


OWN = OwnError(**GET, status=402, error_code="PLAN", retry_after=1.5, attempts=2, message="No", plan="free")


@pytest.mark.parametrize("error", [*(error for error, _ in TEXTS), OWN], ids=count())
def test_errors_travel(error: AkapuluError) -> None:
    """Pickling and copying, shallow and deep, keep class, arguments, attributes, notes and text."""
    error.add_note("seen by worker 3")
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]  # noqa: S301 - our own
    for other in (*copies, copy.copy(error), copy.deepcopy(error)):
        assert other is not error
        assert type(other) is type(error)
        assert vars(other) == vars(error)
        assert (other.args, str(other)) == (error.args, str(error))


@pytest.mark.parametrize(
    ("error_type", "base"),
    [
        (ConfigurationError, ValueError),
        (ClosedError, RuntimeError),
        (ManagerClosedError, ClosedError),
        (RequestTimeoutError, TimeoutError),
        (RequestTimeoutError, TransportError),
        (RecordingTimeoutError, TimeoutError),
        (RecordingTimeoutError, RecordingNotReadyError),
        (WaitTimeoutError, TimeoutError),
        (StartTimeoutError, TimeoutError),
    ],
)
def test_relations(error_type: type[Exception], base: type[Exception]) -> None:
    """Bad arguments are also ValueErrors, wrong states RuntimeErrors, timeouts TimeoutErrors."""
    assert issubclass(error_type, base)


def test_every_kind_has_an_error() -> None:
    """Exit codes and HTTP statuses can be chosen by `kind`: each class has one, and none is without a class."""
    assert {each.kind for each in public_classes()} == set(ErrorKind)


def test_every_end_has_a_sentence() -> None:
    """The error of a session that ended explains each reason."""
    assert SessionEndedError._WHY.keys() == set(EndReason)


@pytest.mark.parametrize("base", [TransportError, OSError, ApiError])
def test_an_unknown_outcome_is_of_its_own_kind(base: type[Exception]) -> None:
    """A loop that retries transport errors or timeouts does not send a connect twice."""
    assert not issubclass(ConnectOutcomeUnknownError, base)


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (ConnectOutcomeUnknownError(scenario_id=ID, avatar_id=ID, reason=""), True),
        (TransportError(**POST, reason="", sent=True), True),
        (TransportError(**POST, reason="", sent=False), False),
        (TransportError(**GET, reason="", sent=True), False),
        (ApiError(**POST, status=500), False),
        (ApiError(**POST, status=500, outcome_unknown=True), True),
        (InvalidResponseError(**POST, status=200, problem="", outcome_unknown=True), True),
        (ConfigurationError(""), False),
    ],
    ids=count(),
)
def test_each_error_says_whether_the_outcome_is_unknown(error: AkapuluError, unknown: bool) -> None:
    """Every error says whether its request may have been carried out; a GET changes nothing."""
    assert error.outcome_unknown is unknown


def drawn_tree() -> dict[str, str]:
    """Return each class of the tree in the module's docstring, and its parent."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        if match := re.match(r"^    ((?:[│ ]   )*(?:[├└]── )?)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            parents[match[2]] = above[depth - 1] if depth else ""
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    """The docstring's tree has every class below its base, and its built-in base."""
    real = {
        each.__name__: next(
            (base.__name__ for base in each.__mro__[1:] if base in public_classes()), ""
        )
        for each in public_classes()
    }  # fmt: skip
    assert drawn_tree() == real
    drawn_also = dict(re.findall(r"(\w+Error) \(also (\w+)\)", errors.__doc__ or ""))
    builtin = {each.__name__: base.__name__ for each in public_classes() for base in each.__bases__ if base in {ValueError, TimeoutError, RuntimeError}}  # fmt: skip  # noqa: E501
    assert drawn_also == builtin


def test_it_imports_nothing_of_ours() -> None:
    """Errors can be imported, and unpickled, without the rest of the package."""
    imports = list(ast.walk(ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))))
    modules = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert modules == {"dataclasses", "enum", "typing"}
    assert not [node for node in imports if isinstance(node, ast.Import)]


@given(st.text(), st.text(), st.none() | st.text(), st.integers(100, 599), st.none() | st.floats(0, 1e9))
def test_any_values_make_a_text(message: str, excerpt: str, code: str | None, status: int, wait: float | None) -> None:
    """An error has a text whatever the service answers."""
    refused = ApiError(**GET, status=status, error_code=code, message=message, retry_after=wait)
    assert str(refused).startswith(f"{WHERE} was refused with {status}")
    invalid = InvalidResponseError(**GET, status=status, problem=message, field=code, excerpt=excerpt)
    assert str(invalid).startswith(f"{WHERE} was answered {status}, but ")
