"""The machine: any facts in any order, and what each of them means."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from akapulu_async.errors import (
    AkapuluError,
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
    TransportError,
)
from akapulu_async.models.conversation import ConversationUpdate
from akapulu_async.sansio.lifecycle import (
    FOLLOWING,
    EndReason,
    Lifecycle,
    Progress,
    ProgressChanged,
    SessionEvent,
    SessionState,
    StateChanged,
)
from akapulu_async.sansio.signals import UpdateSignals

SESSION = "33333333-3333-4333-8333-333333333333"
EPOCH = datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)
START = 1000.0
CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState
WORDS = ["", "starting", "bot joined daily room", "bot ready", "conversation ended", "duration_limit_reached"]


def update(text: str = "", percent: float = 0.0, *, ready: bool = False) -> ConversationUpdate:
    return ConversationUpdate(SESSION, ready, percent, text)


def refusal(status: int) -> ApiError:
    kinds: dict[int, type[ApiError]] = {
        400: BadRequestError,
        401: AuthenticationError,
        403: PermissionDeniedError,
        404: NotFoundError,
        410: NotFoundError,
        429: RateLimitError,
    }
    kind = ServerError if status >= 500 else kinds.get(status, ApiError)
    return kind(status=status, method="GET", path="/")


def limits(status: int) -> list[AkapuluError]:
    """Return refusals whose codes read like limits of the account, which has given the conversation its slot."""
    return [kind(status=status, method="GET", path="/") for kind in (ConcurrencyLimitError, MinutesLimitError)]


UNREACHABLE = TransportError(method="GET", path="/", reason="the connection broke", sent=True)
NONSENSE = InvalidResponseError(method="GET", path="/", status=200, problem="it is no JSON")
FAILURES: list[AkapuluError] = [*map(refusal, (400, 401, 403, 404, 408, 410, 429, 500, 503)), UNREACHABLE, NONSENSE]


def connected(signals: UpdateSignals | None = None, max_failures: int | None = 2) -> Lifecycle:
    """Return a machine whose connect was answered, with its events fetched."""
    machine = Lifecycle(signals or UpdateSignals(), max_failures)
    machine.receive_connecting(START, EPOCH)
    machine.receive_connected(SESSION)
    machine.events_received()
    return machine


def ready(signals: UpdateSignals | None = None, max_failures: int | None = 2) -> Lifecycle:
    """Return a machine whose bot is ready since its fifth second, with its events fetched."""
    machine = connected(signals, max_failures)
    machine.receive_update(update(percent=100, ready=True), START + 5)
    machine.events_received()
    return machine


def states(machine: Lifecycle) -> list[SessionState]:
    return [event.state for event in machine.events_received() if isinstance(event, StateChanged)]


class AnyFacts(RuleBasedStateMachine):
    """Facts as the shell may tell them: first that it connects, then all else in any order, also after the end."""

    @initialize(max_failures=st.none() | st.integers(0, 3), patient=st.booleans())
    def begin(self, max_failures: int | None, *, patient: bool) -> None:
        signals = UpdateSignals(gone_before_ready=None, gone_after_ready=None) if patient else UpdateSignals()
        self.machine = Lifecycle(signals, max_failures)
        self.now = START
        self.events: list[SessionEvent] = []
        self.shown = Progress()
        self.told_ready = False
        self.began, self.epoch = self.now, EPOCH
        self.machine.receive_connecting(self.now, EPOCH)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def connecting_again(self) -> None:
        """As long as nothing but the connect was reported, its next try begins anew; later, it changes nothing."""
        self.fetched()
        if self.machine.state is CONNECTING and self.machine.session_id is None:
            if len(self.events) > 1:  # a poll before the connect was answered: not in this world
                return
            self.began, self.epoch = self.now, self.epoch + timedelta(days=1)
        self.machine.receive_connecting(self.now, EPOCH + timedelta(days=1) if self.epoch == EPOCH else self.epoch)

    @rule()
    def connected(self) -> None:
        self.machine.receive_connected(SESSION)

    @rule()
    def joined(self) -> None:
        self.machine.receive_joined(self.now)

    @rule()
    def was_ready(self) -> None:
        self.told_ready |= self.machine.state is not ENDED
        self.machine.receive_ready(self.now)

    @rule(text=st.sampled_from(WORDS) | st.text(max_size=5), percent=st.floats(0, 100), is_ready=st.booleans())
    def updated(self, text: str, percent: float, *, is_ready: bool) -> None:
        if self.machine.state is not ENDED:
            self.told_ready |= is_ready
            self.shown = Progress(100.0 if is_ready else max(self.shown.percent, percent), text)
        self.machine.receive_update(update(text, percent, ready=is_ready), self.now)

    @rule(error=st.sampled_from(FAILURES))
    def poll_failed(self, error: AkapuluError) -> None:
        self.machine.receive_poll_failure(error, self.now)

    @rule(reason=st.sampled_from(EndReason), cause=st.sampled_from([None, UNREACHABLE]))
    def ended(self, reason: EndReason, cause: BaseException | None) -> None:
        self.machine.receive_ended(reason, self.now, cause)

    @rule()
    def timed_out(self) -> None:
        self.machine.receive_ready_timeout(self.now)

    @rule()
    def fetched(self) -> None:
        self.events += self.machine.events_received()
        assert self.machine.events_received() == [], "an event was handed out twice"

    @invariant()
    def holds(self) -> None:
        self.fetched()
        entered = [event for event in self.events if isinstance(event, StateChanged)]
        order = [event.state for event in entered]
        assert order == sorted(set(order), key=list(SessionState).index), "each once at most, in order"
        assert order[0] is CONNECTING
        assert BOT_READY not in order or ROOM_JOINED in order, "none is skipped before bot_ready"
        assert (BOT_READY in order) == self.told_ready, "ready if and only if the service said so"
        assert ENDED not in order or self.events[-1] is entered[-1], "nothing after the end"
        assert self.machine.state is order[-1]
        self._times_agree(entered)
        self._end_agrees(entered)
        self._progress_agrees()

    def _times_agree(self, entered: list[StateChanged]) -> None:
        elapsed = [event.elapsed for event in self.events]
        assert elapsed == sorted(elapsed)
        assert elapsed[0] == 0.0
        assert elapsed[-1] <= self.now - self.began
        assert self.events[0].at == EPOCH, "the first event keeps its time"
        assert all(event.at == self.epoch + timedelta(seconds=event.elapsed) for event in self.events[1:])
        for state in SessionState:
            of_state = [(event.elapsed, event.at) for event in entered if event.state is state]
            assert of_state in ([], [(self.machine.elapsed(state), self.machine.entered_at(state))])
            assert bool(of_state) == (self.machine.elapsed(state) is not None)

    def _end_agrees(self, entered: list[StateChanged]) -> None:
        assert (self.machine.end_reason is not None) == (entered[-1].state is ENDED)
        assert all(event.end_reason is None and event.cause is None for event in entered if event.state is not ENDED)
        last = entered[-1]
        assert (last.end_reason, last.cause) == (self.machine.end_reason, self.machine.cause)

    def _progress_agrees(self) -> None:
        told = [(event.percent, event.text) for event in self.events if isinstance(event, ProgressChanged)]
        assert [percent for percent, _ in told] == sorted(percent for percent, _ in told), "it never goes back"
        assert all(told[number] != told[number + 1] for number in range(len(told) - 1)), "only what changed is told"
        assert self.machine.progress == self.shown == Progress(*(told[-1] if told else ()))


TestAnyFacts = AnyFacts.TestCase
TestAnyFacts.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def test_table() -> None:
    """From connecting, the table leads over room_joined to bot_ready, and from there and from ended nowhere."""
    assert FOLLOWING == {
        None: CONNECTING,
        CONNECTING: ROOM_JOINED,
        ROOM_JOINED: BOT_READY,
        BOT_READY: None,
        ENDED: None,
    }


def test_states_compare_as_texts() -> None:
    """There are exactly four states, in this order, and they compare as their texts, as end reasons do."""
    assert [*SessionState] == ["connecting", "room_joined", "bot_ready", "ended"]
    assert [*EndReason] == [
        "left",
        "completed",
        "ready_timeout",
        "duration_limit_reached",
        "participant_join_timeout",
        "connect_failed",
        "failed",
        "cancelled",
    ]


def test_fresh() -> None:
    """Before anything was received, a machine is connecting, without times, events or an id."""
    machine = Lifecycle(UpdateSignals(), 1)
    assert machine.state is CONNECTING
    assert machine.session_id is None
    assert machine.elapsed(CONNECTING) is None
    assert machine.entered_at(CONNECTING) is None
    assert machine.events_received() == []


def test_events_bear_id_and_time() -> None:
    """An event tells the conversation as soon as it is known, the time and the seconds since the connect."""
    machine = Lifecycle(UpdateSignals(), 1)
    machine.receive_connecting(START, EPOCH)
    machine.receive_connected(SESSION)
    machine.receive_update(update("loading", 9.1), START + 1.5)
    assert machine.events_received() == [
        StateChanged(session_id=None, at=EPOCH, elapsed=0.0, state=CONNECTING),
        ProgressChanged(
            session_id=SESSION, at=EPOCH + timedelta(seconds=1.5), elapsed=1.5, percent=9.1, text="loading"
        ),
    ]


def test_a_cause_is_shown_by_its_kind_alone() -> None:
    """An end tells what kind of error caused it, but not its words, which may quote a token."""
    machine = Lifecycle(UpdateSignals(), 1)
    machine.receive_connecting(START, EPOCH)
    machine.receive_ended(EndReason.FAILED, START + 1, RuntimeError("private"))
    connecting, ended = machine.events_received()
    assert "cause=None" in repr(connecting)
    assert "cause=RuntimeError" in repr(ended)
    assert "private" not in repr(ended)


def test_ready_first() -> None:
    """If the service reports ready first, room_joined is entered first and then bot_ready, in the same moment."""
    machine = connected()
    machine.receive_update(update("bot ready", 100, ready=True), START + 11)
    progress, joined, is_ready = machine.events_received()
    assert isinstance(progress, ProgressChanged)
    assert isinstance(joined, StateChanged)
    assert isinstance(is_ready, StateChanged)
    assert (joined.state, is_ready.state) == (ROOM_JOINED, BOT_READY)
    assert joined.elapsed == is_ready.elapsed == 11


def test_join_by_the_shell_and_by_words() -> None:
    """A join is a join, whoever tells it: the application, or the words of an update."""
    by_shell, by_words = connected(), connected()
    by_shell.receive_joined(START + 1)
    by_words.receive_update(update("bot joined daily room", 63.6), START + 1)
    assert states(by_shell) == states(by_words) == [ROOM_JOINED]


@pytest.mark.parametrize("text", ["bot ready", "call_is_ready", "READY", "bot joined daily room", "100 %"])
def test_text_never_makes_ready(text: str) -> None:
    """No text and no percentage makes a session ready."""
    machine = connected()
    machine.receive_update(update(text, 100), START + 1)
    assert not machine.ready
    assert BOT_READY not in states(machine)


def test_unready_again() -> None:
    """A service that takes its word back does not take the session back."""
    machine = ready()
    machine.receive_update(update("reconnecting", 63.6), START + 9)
    assert machine.state is BOT_READY
    assert machine.progress == Progress(100.0, "reconnecting")
    assert states(machine) == []


def test_when_the_percent_last_rose() -> None:
    """It is known when the percent was last seen to rise: words, a step back and the same again are no rise."""
    machine = connected()
    assert machine.rose == START
    rises = []
    for seconds, (percent, text) in enumerate([(0, "a"), (10, "a"), (10, "b"), (5, "b"), (10, "b"), (20, "b")]):
        machine.receive_update(update(text, percent), START + seconds)
        rises.append(machine.rose - START)
    assert rises == [0, 1, 1, 1, 1, 5]
    machine.receive_update(update("bot ready", 90, ready=True), START + 9)
    assert machine.rose == START + 9


def test_progress_does_not_go_back() -> None:
    """A lower percentage is not shown, new words beside it are, and the same again is no event."""
    machine = connected()
    for percent, text in [(50, "a"), (40, "a"), (40, "b"), (40, "b")]:
        machine.receive_update(update(text, percent), START + 1)
    told = [(event.percent, event.text) for event in machine.events_received() if isinstance(event, ProgressChanged)]
    assert told == [(50, "a"), (50, "b")]


@pytest.mark.parametrize("reason", EndReason)
def test_ended_by_the_shell(reason: EndReason) -> None:
    """The shell ends a session for any reason, from any state, once; the cause stays with it."""
    for machine in (connected(), ready()):
        cause = OSError("why")
        machine.receive_ended(reason, START + 6, cause)
        machine.receive_ended(EndReason.CANCELLED, START + 7)
        (event,) = machine.events_received()
        assert isinstance(event, StateChanged)
        assert (event.state, event.end_reason, event.cause, event.elapsed) == (ENDED, reason, cause, 6)
        assert (machine.end_reason, machine.cause) == (reason, cause)


@pytest.mark.parametrize(
    ("text", "before_ready", "after_ready"),
    [
        ("conversation ended", EndReason.FAILED, EndReason.COMPLETED),
        ("duration_limit_reached", EndReason.DURATION_LIMIT_REACHED, EndReason.DURATION_LIMIT_REACHED),
        ("participant_join_timeout", EndReason.PARTICIPANT_JOIN_TIMEOUT, EndReason.PARTICIPANT_JOIN_TIMEOUT),
    ],
)
def test_ended_by_words(text: str, before_ready: EndReason, after_ready: EndReason) -> None:
    """Words end a session; an end for no special reason is a completion only if the bot had been ready."""
    for machine, reason in ((connected(), before_ready), (ready(), after_ready)):
        machine.receive_update(update(text), START + 9)
        assert machine.end_reason is reason
        assert machine.cause is None


def test_ready_and_ended_in_one_update() -> None:
    """An update that says both ready and over passes through all states."""
    machine = connected()
    machine.receive_update(update("conversation ended", 100, ready=True), START + 3)
    assert states(machine) == [ROOM_JOINED, BOT_READY, ENDED]
    assert machine.end_reason is EndReason.COMPLETED


def test_ready_timeout() -> None:
    """The ready timeout ends a session whose bot is not ready, and means nothing to one whose bot is."""
    late, in_time = connected(), ready()
    late.receive_ready_timeout(START + 100)
    in_time.receive_ready_timeout(START + 100)
    assert late.end_reason is EndReason.READY_TIMEOUT
    assert in_time.end_reason is None


@pytest.mark.parametrize("status", [404, 410])
def test_gone(status: int) -> None:
    """A 404 or 410 is a failure before the bot was ready, and the completion after; the failure bears its cause."""
    error = refusal(status)
    before, after = connected(), ready()
    before.receive_poll_failure(error, START + 6)
    after.receive_poll_failure(error, START + 6)
    assert (before.end_reason, before.cause) == (EndReason.FAILED, error)
    assert (after.end_reason, after.cause) == (EndReason.COMPLETED, None)


@pytest.mark.parametrize("status", [404, 410])
def test_gone_as_a_failed_poll(status: int) -> None:
    """Signals may say that a 404 or 410 means nothing: then it is a failed poll, and so many are borne."""
    machine = ready(UpdateSignals(gone_after_ready=None), max_failures=2)
    for _ in range(2):
        machine.receive_poll_failure(refusal(status), START + 6)
        assert machine.state is BOT_READY
    machine.receive_poll_failure(refusal(status), START + 6)
    assert machine.end_reason is EndReason.FAILED


@pytest.mark.parametrize(
    "error",
    [
        refusal(400),
        refusal(401),
        refusal(403),
        refusal(409),
        *limits(402),
        *limits(403),
        ConfigurationError("the client is not open"),
    ],
)
def test_ends_at_once(error: AkapuluError) -> None:
    """What another poll would not change ends the session at once, with its cause."""
    machine = ready(max_failures=None)
    machine.receive_poll_failure(error, START + 6)
    assert (machine.end_reason, machine.cause) == (EndReason.FAILED, error)


@pytest.mark.parametrize(
    "error",
    [
        refusal(408),
        refusal(429),
        refusal(500),
        refusal(503),
        *limits(408),
        *limits(429),
        *limits(503),
        UNREACHABLE,
        NONSENSE,
    ],
)
def test_borne(error: AkapuluError) -> None:
    """What may pass is borne as often in a row as the policy says; the next one ends the session with that cause."""
    machine = connected(max_failures=2)
    for count in (1, 2):
        machine.receive_poll_failure(error, START + count)
        assert machine.failures == count
        assert machine.state is CONNECTING
    machine.receive_poll_failure(error, START + 3)
    assert (machine.end_reason, machine.cause) == (EndReason.FAILED, error)


def test_failures_in_a_row() -> None:
    """An answer ends the row of failures, so that only those without an answer between them count."""
    machine = connected(max_failures=1)
    for _ in range(5):
        machine.receive_poll_failure(UNREACHABLE, START + 1)
        machine.receive_update(update(), START + 1)
        assert machine.failures == 0
    assert machine.state is CONNECTING


def test_any_number_of_failures() -> None:
    """Without a limit, no number of failures that may pass ends a session."""
    machine = connected(max_failures=None)
    for _ in range(1000):
        machine.receive_poll_failure(UNREACHABLE, START + 1)
    assert machine.failures == 1000
    assert machine.state is CONNECTING


def test_events_as_json() -> None:
    """Events write themselves as JSON, without the cause; only an end has a reason."""
    machine = Lifecycle(UpdateSignals(), 0)
    machine.receive_connecting(START, EPOCH)
    machine.receive_connected(SESSION)
    machine.receive_update(update("starting", 12.5), START + 0.1234567)
    machine.receive_poll_failure(UNREACHABLE, START + 1)
    at = EPOCH.isoformat()
    assert [json.loads(json.dumps(event.to_json())) for event in machine.events_received()] == [
        {"event": "state", "session_id": None, "at": at, "elapsed": 0.0, "state": "connecting"},
        {
            "event": "progress",
            "session_id": SESSION,
            "at": (EPOCH + timedelta(seconds=0.1234567)).isoformat(),
            "elapsed": 0.123,
            "percent": 12.5,
            "text": "starting",
        },
        {
            "event": "state",
            "session_id": SESSION,
            "at": (EPOCH + timedelta(seconds=1)).isoformat(),
            "elapsed": 1.0,
            "state": "ended",
            "end_reason": "failed",
        },
    ]


def test_a_connect_that_is_sent_again_begins_anew() -> None:
    """Durations count from the last try of the connect; its state is entered once, and keeps the first time."""
    machine = Lifecycle(UpdateSignals(), 0)
    machine.receive_connecting(START, EPOCH)
    machine.receive_connecting(START + 60, EPOCH + timedelta(seconds=60))
    machine.receive_connected(SESSION)
    machine.receive_update(update(ready=True), START + 65)
    assert states(machine) == [CONNECTING, ROOM_JOINED, BOT_READY]
    assert (machine.began, machine.began_at) == (START + 60, EPOCH + timedelta(seconds=60))
    assert (machine.elapsed(CONNECTING), machine.elapsed(BOT_READY)) == (0.0, 5.0)
    assert machine.entered_at(CONNECTING) == EPOCH
    assert machine.entered_at(BOT_READY) == EPOCH + timedelta(seconds=65)


class OwnSignals:
    """Signals that owe nothing to the library's own."""

    def reads_as_join(self, text: str) -> bool:
        return text == "da"

    def reads_as_end(self, text: str) -> EndReason | None:
        return EndReason.LEFT if text == "weg" else None

    def gone(self, *, ready: bool) -> EndReason | None:
        return EndReason.DURATION_LIMIT_REACHED if ready else EndReason.PARTICIPANT_JOIN_TIMEOUT


def test_own_signals() -> None:
    """Any object that has the methods decides what updates and refusals mean."""
    machine = Lifecycle(OwnSignals(), 0)
    machine.receive_connecting(START, EPOCH)
    machine.receive_update(update("bot joined daily room"), START)
    machine.receive_update(update("conversation ended"), START)
    assert machine.state is CONNECTING
    machine.receive_update(update("da"), START)
    assert machine.state is ROOM_JOINED
    error = refusal(410)
    machine.receive_poll_failure(error, START)
    assert (machine.end_reason, machine.cause) == (EndReason.PARTICIPANT_JOIN_TIMEOUT, error)
