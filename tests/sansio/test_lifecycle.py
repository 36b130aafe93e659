"""The lifecycle machine: any facts in any order, and the meaning of each."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

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
    PATH,
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
    """Return refusals whose codes read like limits of the account, although the conversation has its slot."""
    return [kind(status=status, method="GET", path="/") for kind in (ConcurrencyLimitError, MinutesLimitError)]


UNREACHABLE = TransportError(method="GET", path="/", reason="the connection broke", sent=True)
NONSENSE = InvalidResponseError(method="GET", path="/", status=200, problem="it is not JSON")
FAILURES: list[AkapuluError] = [*map(refusal, (400, 401, 403, 404, 408, 410, 429, 500, 503)), UNREACHABLE, NONSENSE]


def connected(signals: UpdateSignals | None = None, max_failures: int | None = 2) -> Lifecycle:
    """Return a machine whose connect was answered, with its events fetched."""
    machine = Lifecycle(signals or UpdateSignals(), max_failures, lambda: EPOCH)
    machine.receive_connecting(START)
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
    """Facts as a session passes them: the connect first, then any others in any order, also after the end."""

    @initialize(max_failures=st.none() | st.integers(0, 3), patient=st.booleans())
    def begin(self, max_failures: int | None, *, patient: bool) -> None:
        signals = UpdateSignals(gone_after_ready=None) if patient else UpdateSignals(gone_before_ready=EndReason.FAILED)
        self.machine = Lifecycle(signals, max_failures, lambda: self.wall_clock)
        self.now, self.wall_clock = START, EPOCH
        self.events: list[SessionEvent] = []
        self.shown = Progress()
        self.reported_ready = False
        self.began = self.now
        self.machine.receive_connecting(self.now)

    @rule(seconds=st.floats(0, 100), stepped=st.sampled_from([0, 0, 3600, -3600]))
    def time_passes(self, seconds: float, stepped: int) -> None:
        """Only the wall clock is set, and only it runs while the machine is suspended."""
        self.now += seconds
        self.wall_clock += timedelta(seconds=seconds + stepped)

    @rule()
    def connecting_again(self) -> None:
        """The next try of a connect resets the times if nothing else was reported yet; later it changes nothing."""
        self.fetched()
        if self.machine.state is CONNECTING and self.machine.session_id is None:
            if len(self.events) > 1:  # a poll before the connect was answered: no session does that
                return
            self.began = self.now
        self.machine.receive_connecting(self.now)

    @rule()
    def connected(self) -> None:
        self.machine.receive_connected(SESSION)

    @rule()
    def joined(self) -> None:
        self.machine.receive_reached(ROOM_JOINED, self.now)

    @rule()
    def was_ready(self) -> None:
        self.reported_ready |= self.machine.state is not ENDED
        self.machine.receive_reached(BOT_READY, self.now)

    @rule(text=st.sampled_from(WORDS) | st.text(max_size=5), percent=st.floats(0, 100), is_ready=st.booleans())
    def updated(self, text: str, percent: float, *, is_ready: bool) -> None:
        if self.machine.state is not ENDED:
            self.reported_ready |= is_ready
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
        events = self.machine.events_received()
        assert all(event.at == self.wall_clock for event in events), "an event has the time at which it happens"
        self.events += events
        assert self.machine.events_received() == [], "an event was handed out twice"

    @invariant()
    def holds(self) -> None:
        self.fetched()
        entered = [event for event in self.events if isinstance(event, StateChanged)]
        order = [event.state for event in entered]
        assert order == sorted(set(order), key=list(SessionState).index), "each at most once, in order"
        assert order[0] is CONNECTING
        assert BOT_READY not in order or ROOM_JOINED in order, "none is skipped before bot_ready"
        assert (BOT_READY in order) == self.reported_ready, "ready if and only if the service reported it"
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
        shown = [(event.percent, event.text) for event in self.events if isinstance(event, ProgressChanged)]
        assert [percent for percent, _ in shown] == sorted(percent for percent, _ in shown), "it never goes back"
        assert all(before != after for before, after in pairwise(shown)), "only changes are events"
        assert self.machine.progress == self.shown == Progress(*(shown[-1] if shown else ()))


TestAnyFacts = pytest.mark.timeout(120)(AnyFacts.TestCase)
TestAnyFacts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_path() -> None:
    """The path leads from connecting over room_joined to bot_ready."""
    assert PATH == (CONNECTING, ROOM_JOINED, BOT_READY)


def test_states_compare_as_texts() -> None:
    """There are exactly four states, in this order. States and end reasons compare as their texts."""
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
        "unknown",
    ]


def test_fresh() -> None:
    """Before the first fact, a machine is connecting, without times, events or an id."""
    machine = Lifecycle(UpdateSignals(), 1, lambda: EPOCH)
    assert machine.state is CONNECTING
    assert machine.session_id is None
    assert machine.elapsed(CONNECTING) is None
    assert machine.entered_at(CONNECTING) is None
    assert machine.events_received() == []


def test_id_and_time_of_events() -> None:
    """An event has the conversation's id once it is known, the wall clock's time, and the seconds since the connect."""
    times = [EPOCH, EPOCH + timedelta(hours=1)]  # the machine was suspended meanwhile
    machine = Lifecycle(UpdateSignals(), 1, lambda: times.pop(0))
    machine.receive_connecting(START)
    machine.receive_connected(SESSION)
    machine.receive_update(update("loading", 9.1), START + 1.5)
    assert machine.events_received() == [
        StateChanged(session_id=None, at=EPOCH, elapsed=0.0, state=CONNECTING),
        ProgressChanged(session_id=SESSION, at=EPOCH + timedelta(hours=1), elapsed=1.5, percent=9.1, text="loading"),
    ]


def test_repr_of_a_cause() -> None:
    """The repr of an end shows the type of its cause, not its text, which may quote a token."""
    machine = Lifecycle(UpdateSignals(), 1, lambda: EPOCH)
    machine.receive_connecting(START)
    machine.receive_ended(EndReason.FAILED, START + 1, RuntimeError("private"))
    connecting, ended = machine.events_received()
    assert "cause=None" in repr(connecting)
    assert "cause=RuntimeError" in repr(ended)
    assert "private" not in repr(ended)


def test_ready_first() -> None:
    """If the service reports ready first, room_joined is entered and then bot_ready, at the same time."""
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
    by_shell.receive_reached(ROOM_JOINED, START + 1)
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
    """A service that takes its readiness back does not change the session's state."""
    machine = ready()
    machine.receive_update(update("reconnecting", 63.6), START + 9)
    assert machine.state is BOT_READY
    assert machine.progress == Progress(100.0, "reconnecting")
    assert states(machine) == []


def test_when_the_percent_last_rose() -> None:
    """`rose` is the time when the percent last rose: a new text, a lower or an equal percent does not count."""
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
    """A lower percentage is not shown, a new text with it is, and no change is no event."""
    machine = connected()
    for percent, text in [(50, "a"), (40, "a"), (40, "b"), (40, "b")]:
        machine.receive_update(update(text, percent), START + 1)
    shown = [(event.percent, event.text) for event in machine.events_received() if isinstance(event, ProgressChanged)]
    assert shown == [(50, "a"), (50, "b")]


@pytest.mark.parametrize("reason", EndReason)
def test_ended_by_its_owner(reason: EndReason) -> None:
    """The session's owner ends it for any reason, from any state, once; the cause is kept."""
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
def test_ended_by_text(text: str, before_ready: EndReason, after_ready: EndReason) -> None:
    """A text can end a session; an end without a special reason is a completion only after ready."""
    for machine, reason in ((connected(), before_ready), (ready(), after_ready)):
        machine.receive_update(update(text), START + 9)
        assert machine.end_reason is reason
        assert machine.cause is None


def attached(*, confirmed: bool = False, max_failures: int | None = 2) -> Lifecycle:
    """Return a machine whose conversation was connected elsewhere, with its events fetched."""
    machine = Lifecycle(UpdateSignals(), max_failures, lambda: EPOCH)
    machine.receive_attached(SESSION, confirmed=confirmed)
    machine.receive_connecting(START)
    machine.events_received()
    return machine


@pytest.mark.parametrize("status", [404, 410])
def test_an_id_without_a_conversation(status: int) -> None:
    """An id that no poll has confirmed is not followed any more once the service does not know it."""
    machine, later = attached(), attached()
    machine.receive_poll_failure(refusal(status), START + 1)
    later.receive_poll_failure(UNREACHABLE, START + 1)
    assert later.state is CONNECTING
    later.receive_poll_failure(refusal(status), START + 1)
    for each in (machine, later):
        assert each.end_reason is EndReason.UNKNOWN
        assert isinstance(each.cause, NotFoundError)


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("status", [404, 410])
def test_a_conversation_that_existed(status: int, confirmed: bool) -> None:
    """A conversation that was seen before is polled again; if it stays gone, nobody saw whether it completed."""
    machine = attached(confirmed=confirmed)
    if not confirmed:
        machine.receive_update(update(), START + 1)
    for _ in range(2):
        machine.receive_poll_failure(refusal(status), START + 2)
        assert machine.state is CONNECTING
    machine.receive_poll_failure(refusal(status), START + 2)
    assert machine.end_reason is EndReason.UNKNOWN


def test_other_ends_of_an_attached_session() -> None:
    """The end of an attached session is unknown only if the service reports it without having been seen ready."""
    by_text, special, refused, completed, page = (attached() for _ in range(5))
    by_text.receive_update(update("conversation ended"), START + 1)
    special.receive_update(update("duration_limit_reached"), START + 1)
    refused.receive_poll_failure(refusal(401), START + 1)
    completed.receive_update(update(ready=True), START + 1)
    completed.receive_poll_failure(refusal(404), START + 1)
    for _ in range(3):
        page.receive_poll_failure(NotFoundError(method="GET", path="/", status=404, from_service=False), START + 1)
    assert [machine.end_reason for machine in (by_text, special, refused, completed, page)] == [
        EndReason.UNKNOWN,
        EndReason.DURATION_LIMIT_REACHED,
        EndReason.FAILED,
        EndReason.COMPLETED,
        EndReason.FAILED,
    ]


def test_ready_and_ended_in_one_update() -> None:
    """An update that reports both ready and an end passes through all states."""
    machine = connected()
    machine.receive_update(update("conversation ended", 100, ready=True), START + 3)
    assert states(machine) == [ROOM_JOINED, BOT_READY, ENDED]
    assert machine.end_reason is EndReason.COMPLETED


def test_ready_timeout() -> None:
    """The ready timeout ends a session whose bot is not ready, and does nothing after ready."""
    late, in_time = connected(), ready()
    late.receive_ready_timeout(START + 100)
    in_time.receive_ready_timeout(START + 100)
    assert late.end_reason is EndReason.READY_TIMEOUT
    assert in_time.end_reason is None


def test_longest_duration() -> None:
    """A poll at or after the longest duration ends the session, whatever it says, unless it reports an end itself."""

    def long(*, ready: bool = True) -> Lifecycle:
        machine = Lifecycle(UpdateSignals(), 2, lambda: EPOCH, 60.0)
        machine.receive_connecting(START)
        machine.receive_connected(SESSION)
        machine.receive_update(update(ready=ready), START + 59.9)
        machine.receive_poll_failure(UNREACHABLE, START + 59.9)
        assert machine.end_reason is None
        return machine

    answered, failed, unready, ended = long(), long(), long(ready=False), long()
    answered.receive_update(update(ready=True), START + 60)
    failed.receive_poll_failure(UNREACHABLE, START + 1000)
    unready.receive_update(update(), START + 60)
    ended.receive_update(update("conversation ended"), START + 60)
    for machine in (answered, failed, unready):
        assert (machine.end_reason, machine.cause, machine.outlived) == (EndReason.UNKNOWN, None, True)
    assert (ended.end_reason, ended.outlived) == (EndReason.COMPLETED, False)


@pytest.mark.parametrize("status", [404, 410])
def test_gone(status: int) -> None:
    """A 404 or 410 after ready is the completion, without a cause."""
    machine = ready()
    machine.receive_poll_failure(refusal(status), START + 6)
    assert (machine.end_reason, machine.cause) == (EndReason.COMPLETED, None)


@pytest.mark.parametrize("status", [404, 410, 403, 409])
def test_gone_as_a_failed_poll(status: int) -> None:
    """If signals do not take a refusal for the end, it is a failed poll like others, and the last is the cause."""
    patient = UpdateSignals(gone_after_ready=None)
    for machine in (connected(), ready(patient) if status in {404, 410} else connected()):
        before, error = machine.state, refusal(status)
        for _ in range(2):
            machine.receive_poll_failure(error, START + 6)
            assert machine.state is before
        machine.receive_poll_failure(error, START + 6)
        assert (machine.end_reason, machine.cause) == (EndReason.FAILED, error)


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
    """A refusal that another poll would not change ends the session at once and is the cause."""
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
def test_failed_polls(error: AkapuluError) -> None:
    """As many failed polls in a row as allowed change nothing; the next one ends the session and is the cause."""
    machine = connected(max_failures=2)
    for count in (1, 2):
        machine.receive_poll_failure(error, START + count)
        assert machine.failures == count
        assert machine.state is CONNECTING
    machine.receive_poll_failure(error, START + 3)
    assert (machine.end_reason, machine.cause) == (EndReason.FAILED, error)


def test_failures_in_a_row() -> None:
    """An answered poll resets the count of failures in a row."""
    machine = connected(max_failures=1)
    for _ in range(5):
        machine.receive_poll_failure(UNREACHABLE, START + 1)
        machine.receive_update(update(), START + 1)
        assert machine.failures == 0
    assert machine.state is CONNECTING


def test_any_number_of_failures() -> None:
    """Without a limit, no number of temporary failures ends a session."""
    machine = connected(max_failures=None)
    for _ in range(1000):
        machine.receive_poll_failure(UNREACHABLE, START + 1)
    assert machine.failures == 1000
    assert machine.state is CONNECTING


def test_events_as_json() -> None:
    """to_json() gives an event without its cause; only an end has a reason."""
    machine = Lifecycle(UpdateSignals(), 0, lambda: EPOCH)
    machine.receive_connecting(START)
    machine.receive_connected(SESSION)
    machine.receive_update(update("starting", 12.5), START + 0.1234567)
    machine.receive_poll_failure(UNREACHABLE, START + 1)
    at = EPOCH.isoformat()
    assert [json.loads(json.dumps(event.to_json())) for event in machine.events_received()] == [
        {"event": "state", "session_id": None, "at": at, "elapsed": 0.0, "state": "connecting"},
        {"event": "progress", "session_id": SESSION, "at": at, "elapsed": 0.123, "percent": 12.5, "text": "starting"},
        {"event": "state", "session_id": SESSION, "at": at, "elapsed": 1.0, "state": "ended", "end_reason": "failed"},
    ]


def test_a_connect_that_is_sent_again() -> None:
    """Durations count from the last try of the connect; its state is entered once, at the first."""
    times = [EPOCH + timedelta(seconds=seconds) for seconds in (0, 60, 65, 65, 65)]
    machine = Lifecycle(UpdateSignals(), 0, lambda: times.pop(0))
    machine.receive_connecting(START)
    machine.receive_connecting(START + 60)
    machine.receive_connected(SESSION)
    machine.receive_update(update(ready=True), START + 65)
    assert states(machine) == [CONNECTING, ROOM_JOINED, BOT_READY]
    assert (machine.began, machine.began_at) == (START + 60, EPOCH + timedelta(seconds=60))
    assert (machine.elapsed(CONNECTING), machine.elapsed(BOT_READY)) == (0.0, 5.0)
    assert machine.entered_at(CONNECTING) == EPOCH
    assert machine.entered_at(BOT_READY) == EPOCH + timedelta(seconds=65)


def test_connecting_after_the_answer_changes_nothing() -> None:
    """Once the conversation is known, its beginning stays as it is."""
    machine = connected()
    machine.receive_connecting(START + 60, EPOCH + timedelta(seconds=60))
    assert (machine.began, machine.began_at, states(machine)) == (START, EPOCH, [])


class OwnSignals:
    """Signals that do not derive from the library's."""

    def reads_as_join(self, text: str) -> bool:
        return text == "da"

    def reads_as_end(self, text: str) -> EndReason | None:
        return EndReason.LEFT if text == "weg" else None

    def refused(self, error: ApiError, *, ready: bool) -> EndReason | None:
        return EndReason.DURATION_LIMIT_REACHED if ready else EndReason.PARTICIPANT_JOIN_TIMEOUT


def test_own_signals() -> None:
    """Any object with the methods decides the meaning of updates and refusals."""
    machine = Lifecycle(OwnSignals(), 0, lambda: EPOCH)
    machine.receive_connecting(START)
    machine.receive_update(update("bot joined daily room"), START)
    machine.receive_update(update("conversation ended"), START)
    assert machine.state is CONNECTING
    machine.receive_update(update("da"), START)
    assert machine.state is ROOM_JOINED
    error = refusal(410)
    machine.receive_poll_failure(error, START)
    assert (machine.end_reason, machine.cause) == (EndReason.PARTICIPANT_JOIN_TIMEOUT, error)
