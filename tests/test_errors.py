"""Errors say what happened, to what, and what to do next; they are values that travel."""

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
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
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
        (f"The connect of scenario {ID} was sent, but its answer was lost: it broke off. The conversation may exist "
        "and hold a slot until nobody joins it in time; connect again only if that is acceptable."),
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
        InvalidResponseError(**POST, status=200, problem="it is empty"),
        ("POST /conversations/connect/ was answered 200, but it is empty. "
        "What was asked for may have been done all the same."),
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
        f"The recording of conversation {ID} is not ready. Use wait_for_recording(), or download_recording(wait=...).",
    ),
    (
        RecordingTimeoutError(session_id=ID, status_text="Processing"),
        (f"The recording of conversation {ID} is not ready: Processing. It becomes ready some time after the "
        "conversation has ended, and only if it was connected with record_conversation=True."),
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
    (NotFoundError(**GET, status=404), f"{WHERE} was refused with 404."),
    (
        ConcurrencyLimitError(**POST, status=402),
        ("POST /conversations/connect/ was refused with 402. "
        "Wait until a conversation ends, or raise the plan's concurrency."),
    ),
    (
        MinutesLimitError(**POST, status=402),
        ("POST /conversations/connect/ was refused with 402. "
        "Waiting does not help: raise the plan, or wait for the next month."),
    ),
    (
        RateLimitError(**GET, status=429, retry_after=2592000.0, attempts=2),
        (f"{WHERE} was refused with 429. Send fewer requests a second. "
        "The service asks to wait 2592000 s. Tried 2 times."),
    ),
    (
        ServerError(**GET, status=503, message="Down", retry_after=0.5),
        f"{WHERE} was refused with 503: Down. The service asks to wait 0.5 s.",
    ),
    (
        SessionEndedError(reason="completed", session_id=ID),
        f"Conversation {ID} ended (completed): it is completed.",
    ),
    (SessionEndedError(reason="later", session_id=None), "The conversation ended (later): later."),
    (
        SessionEndedError(reason="failed", session_id=ID, because="The key is not accepted"),
        f"Conversation {ID} ended (failed): it failed. The key is not accepted.",
    ),
    (
        WaitTimeoutError(session_id=None, awaited="bot_ready", state="connecting", timeout=5.0, progress="0 %"),
        "The conversation is not bot_ready after 5 s, it is connecting (0 %). The session goes on.",
    ),
    (
        WaitTimeoutError(
            session_id=ID, awaited="bot_ready", state="room_joined", timeout=5.0, progress="63.6 %"
        ),
        f"Conversation {ID} is not bot_ready after 5 s, it is room_joined (63.6 %). The session goes on.",
    ),
    (ManagerClosedError("the session manager is closed"), "the session manager is closed"),
    (
        StartTimeoutError(timeout=5.0, connecting=False, goes_on=False, running=20, waiting=3),
        (
            "The session was not started within 5 s: 20 run, 3 wait. "
            "It waited for its turn; wait longer, or raise max_sessions if the account allows more."
        ),
    ),
    (
        StartTimeoutError(timeout=5.0, connecting=True, goes_on=False, running=20, waiting=0),
        (
            "The session was not started within 5 s: 20 run, 0 wait. "
            "Its connect was on its way; the session was ended."
        ),
    ),
    (
        StartTimeoutError(timeout=5.0, connecting=True, goes_on=True, running=20, waiting=0),
        (
            "The session was not started within 5 s: 20 run, 0 wait. "
            "Its connect is on its way; the session goes on in the manager."
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
    """Where only the repr is shown, as in a gather's results or a log of locals, the text is there too."""
    assert repr(error) == f"{type(error).__name__}({text!r})"


def test_every_class_has_a_text() -> None:
    """The table above knows every class that can be raised."""
    assert {type(error) for error, _ in TEXTS} == set(public_classes()) - {AkapuluError}


class OwnError(ApiError):
    """What a user may derive: another constructor, more attributes."""

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
        (RequestTimeoutError, TimeoutError),
        (RequestTimeoutError, TransportError),
        (RecordingTimeoutError, TimeoutError),
        (RecordingTimeoutError, RecordingNotReadyError),
        (WaitTimeoutError, TimeoutError),
        (StartTimeoutError, TimeoutError),
    ],
)
def test_relations(error_type: type[Exception], base: type[Exception]) -> None:
    """Bad arguments are also ValueErrors, timeouts are also TimeoutErrors."""
    assert issubclass(error_type, base)


@pytest.mark.parametrize("base", [TransportError, OSError, ApiError])
def test_an_unknown_outcome_is_of_its_own_kind(base: type[Exception]) -> None:
    """No loop that retries transport errors or timeouts catches the connect that must not be sent twice."""
    assert not issubclass(ConnectOutcomeUnknownError, base)


def drawn_tree() -> dict[str, str]:
    """Read the tree of the module's docstring: each class and the one it stands below."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        if match := re.match(r"^    ((?:[│ ]   )*(?:[├└]── )?)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            parents[match[2]] = above[depth - 1] if depth else ""
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    """The docstring's tree has every class, below its base, and says which built-in error it also is."""
    real = {
        each.__name__: next(
            (base.__name__ for base in each.__mro__[1:] if base in public_classes()), ""
        )
        for each in public_classes()
    }  # fmt: skip
    assert drawn_tree() == real
    drawn_also = dict(re.findall(r"(\w+Error) \(also (\w+)\)", errors.__doc__ or ""))
    builtin = {each.__name__: base.__name__ for each in public_classes() for base in each.__bases__ if base in {ValueError, TimeoutError}}  # fmt: skip  # noqa: E501
    assert drawn_also == builtin


def test_it_imports_nothing_of_ours() -> None:
    """Errors can be imported, and unpickled, without the rest of the package."""
    imports = list(ast.walk(ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))))
    modules = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert modules == {"typing"}
    assert not [node for node in imports if isinstance(node, ast.Import)]


@given(st.text(), st.text(), st.none() | st.text(), st.integers(100, 599), st.none() | st.floats(0, 1e9))
def test_any_values_make_a_text(message: str, excerpt: str, code: str | None, status: int, wait: float | None) -> None:
    """Whatever a service says, the text of the error can be made."""
    refused = ApiError(**GET, status=status, error_code=code, message=message, retry_after=wait)
    assert str(refused).startswith(f"{WHERE} was refused with {status}")
    invalid = InvalidResponseError(**GET, status=status, problem=message, field=code, excerpt=excerpt)
    assert str(invalid).startswith(f"{WHERE} was answered {status}, but ")
