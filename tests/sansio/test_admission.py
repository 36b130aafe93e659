"""Which start is admitted next. Times are passed in: no loop, no sleep."""

from collections.abc import Callable
from itertools import count as numbers
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from akapulu_async.sansio.admission import Admission, FullPolicy, Pace
from tests.support.settings import ABOVE_0, NO_NUMBERS, check_setting, check_table

FULL = FullPolicy(base=1.0, cap=30.0)
FREE = Pace(None)


def admission(limit: int | None = None, rate: float | None = None, full: FullPolicy | None = FULL) -> Admission:
    """Return an Admission whose pauses are exactly 1, 2, 4 ... 30 s."""
    return Admission(limit, Pace(rate), full, lambda: 1.0)


def arrivals(queue: Admission, count: int) -> list[int]:
    return [queue.arrive() for _ in range(count)]


# Pace


def turn(pace: Pace, now: float) -> float:
    """Take the next turn, and return in how many seconds it is."""
    wait = pace.until_next(now)
    pace.take(now)
    return wait


def test_no_rate() -> None:
    """Without a rate, no turn has to wait."""
    pace = Pace(None)
    assert [turn(pace, 0.0) for _ in range(1000)] == [0.0] * 1000
    assert pace.until_next(0.0) == 0.0


def test_even_turns() -> None:
    """Beyond the burst, turns are evenly spaced, in the order of asking."""
    pace = Pace(10.0, burst=0.0)
    assert [turn(pace, 5.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert turn(pace, 5.25) == pytest.approx(0.15)


def test_asking_takes_no_turn() -> None:
    """Asking when the next turn is takes none."""
    pace = Pace(2.0)
    pace.take(0.0)
    assert [pace.until_next(0.1) for _ in range(3)] == pytest.approx([0.3] * 3)
    assert turn(pace, 0.1) == pytest.approx(0.3)


def test_turns_after_a_lull() -> None:
    """After an hour without a turn, one burst may be taken at once, not an hour's worth."""
    pace = Pace(128.0, burst=0.125)
    pace.take(0.0)
    waits = [turn(pace, 3600.0) for _ in range(30)]
    assert waits[:17] == [0.0] * 17
    assert waits[17:] == [number / 128 for number in range(1, 14)]


@given(st.floats(0.1, 1000), st.floats(0, 2), st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_the_pace_is_never_exceeded(rate: float, burst: float, gaps: list[float]) -> None:
    """No window of any length has more turns than rate and burst allow, and turns keep their order."""
    pace, now, turns = Pace(rate, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        turns.append(now + turn(pace, now))
    for first, begin in enumerate(turns):
        for last, end in enumerate(turns[first:], first):
            assert last - first + 1 <= rate * (end - begin + burst) + 1 + 1e-6
    assert all(one <= other for one, other in pairwise(turns))


# Places


def test_first_come_first_served() -> None:
    """As many run as allowed, and the next is always the one that has waited longest."""
    queue = admission(2)
    assert arrivals(queue, 4) == [1, 2, 3, 4]
    assert queue.admitted(0.0) == [1, 2]
    assert (queue.running, queue.waiting) == (2, 2)
    queue.connected(1, 0.0)
    assert queue.admitted(0.0) == []
    assert queue.due(0.0) is None
    queue.ended(started_here=True)
    assert queue.admitted(0.0) == [3]
    queue.failed(2)
    assert queue.admitted(0.0) == [4]
    assert (queue.running, queue.waiting) == (2, 0)


def test_no_limit() -> None:
    """Without a limit, no start waits."""
    queue = admission()
    assert queue.admitted(0.0) == []
    assert queue.admitted(0.0) == arrivals(queue, 0)
    tickets = arrivals(queue, 1000)
    assert queue.admitted(0.0) == tickets
    assert queue.due(0.0) is None


def test_giving_up() -> None:
    """A start that gives up while it waits takes no other start's place."""
    queue = admission(1)
    arrivals(queue, 4)
    queue.admitted(0.0)
    queue.leave(3)
    queue.connected(1, 0.0)
    queue.ended(started_here=True)
    assert queue.admitted(0.0) == [2]
    queue.leave(2)
    assert queue.admitted(0.0) == [4]
    assert (queue.running, queue.waiting) == (1, 0)


def test_dismissed() -> None:
    """All waiting starts can be dismissed; giving up after that changes nothing."""
    queue = admission(1)
    arrivals(queue, 3)
    queue.admitted(0.0)
    assert queue.dismiss() == [2, 3]
    assert (queue.running, queue.waiting) == (1, 0)
    queue.leave(3)
    assert (queue.running, queue.waiting) == (1, 0)
    assert queue.arrive() == 4


def test_the_pace_of_starts() -> None:
    """Starts are admitted at the pace, and the time until the next is known."""
    queue = admission(rate=2.0)
    arrivals(queue, 3)
    assert queue.admitted(0.0) == [1]
    assert queue.due(0.0) == pytest.approx(0.4)
    assert queue.admitted(0.39) == []
    assert queue.admitted(0.41) == [2]
    assert queue.due(0.41) == pytest.approx(0.49)
    assert queue.admitted(0.91) == [3]
    assert queue.due(0.91) is None


# A full account


def full_account(waiting: int = 3) -> Admission:
    """Return an Admission with waiting starts, the first of which was refused at 0 s."""
    queue = admission()
    first, *_ = arrivals(queue, 1)
    assert queue.admitted(0.0) == [first]
    queue.refused(first, 0.0)
    arrivals(queue, waiting - 1)
    return queue


def test_a_refused_start_keeps_its_place() -> None:
    """A refused start waits again at its old place, and one start at a time probes."""
    queue = full_account()
    assert (queue.running, queue.waiting) == (0, 3)
    assert queue.admitted(0.9) == []
    assert queue.due(0.25) == 0.75
    assert queue.admitted(1.0) == [1]
    assert queue.due(1.0) is None
    assert queue.admitted(100.0) == []


def test_pauses_grow() -> None:
    """Each failed probe doubles the pause before the next, up to the cap."""
    queue, now = full_account(), 0.0
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        assert queue.due(now) == pause
        assert queue.admitted(now + pause - 0.01) == []
        now += pause
        assert queue.admitted(now) == [1]
        queue.refused(1, now)


def test_a_burst_of_refusals() -> None:
    """Refusals of starts that were under way when the account was found full count as one, and keep the order."""
    queue = admission()
    tickets = arrivals(queue, 50)
    assert queue.admitted(0.0) == tickets
    for ticket in reversed(tickets):
        queue.refused(ticket, 0.0)
    assert queue.due(0.0) == 1.0
    assert queue.admitted(1.0) == [1]


def test_a_successful_probe() -> None:
    """After a successful probe the next is made at once, as more slots may be free, and the pauses start anew."""
    queue = full_account()
    for now in (1.0, 3.0):
        assert queue.admitted(now) == [1]
        queue.refused(1, now)
    assert queue.admitted(7.0) == [1]
    queue.connected(1, 7.5)
    assert queue.admitted(7.5) == [2]
    assert queue.admitted(7.5) == []
    queue.refused(2, 8.0)
    assert queue.due(8.0) == 2.0


def test_a_freed_slot_admits_one() -> None:
    """While the account is full, an end here admits exactly one start at once, besides the probe."""
    queue = admission()
    arrivals(queue, 4)
    assert queue.admitted(0.0) == [1, 2, 3, 4]
    queue.connected(1, 0.0)
    for ticket in (2, 3, 4):
        queue.refused(ticket, 0.0)
    assert queue.admitted(0.5) == []
    queue.ended(started_here=True)
    assert queue.due(0.5) == 0.0
    assert queue.admitted(0.5) == [2]
    assert queue.admitted(0.5) == []
    assert queue.due(0.5) == 0.5
    assert queue.admitted(1.0) == [3]
    queue.connected(2, 1.0)
    queue.ended(started_here=True)
    assert queue.admitted(1.0) == [4]


def test_a_slot_freed_before_a_refusal_arrives() -> None:
    """A refusal that may be older than an end before it is followed by a probe at once; a later one is not."""
    queue = admission()
    arrivals(queue, 3)
    assert queue.admitted(0.0) == [1, 2, 3]
    queue.connected(1, 0.0)
    queue.ended(started_here=True)
    queue.refused(2, 0.1)
    queue.refused(3, 0.1)
    assert queue.due(0.1) == 0.0
    assert queue.admitted(0.1) == [2]
    assert queue.admitted(0.1) == []
    queue.refused(2, 0.2)
    assert queue.due(0.2) == 2.0


def test_an_end_before_a_connect() -> None:
    """A start that was admitted after the last end and refused waits for the pause."""
    queue = admission()
    arrivals(queue, 1)
    queue.admitted(0.0)
    queue.connected(1, 0.0)
    queue.ended(started_here=True)
    arrivals(queue, 1)
    assert queue.admitted(0.1) == [2]
    queue.refused(2, 0.2)
    assert queue.due(0.2) == 1.0


def test_a_slot_freed_a_moment_after_its_end() -> None:
    """If a start is refused the slot of an ended conversation, the next probe comes after a first pause."""
    queue, now = full_account(), 0.0
    for pause in (1.0, 2.0, 4.0, 8.0):
        now += pause
        assert queue.admitted(now) == [1]
        queue.refused(1, now)
    queue.ended(started_here=False)
    assert queue.admitted(now) == [1]
    assert queue.due(now) == 16.0
    queue.refused(1, now)
    assert queue.due(now) == 1.0


def test_a_slot_freed_by_an_attached_session() -> None:
    """The end of an attached session admits one start and takes no place away."""
    queue = admission()
    arrivals(queue, 3)
    queue.admitted(0.0)
    queue.connected(1, 0.0)
    queue.refused(2, 0.0)
    queue.refused(3, 0.0)
    queue.ended(started_here=False)
    assert queue.admitted(0.0) == [2]
    assert queue.admitted(0.0) == []
    assert queue.running == 2


@pytest.mark.parametrize("give_up", [Admission.failed, Admission.leave])
def test_a_freed_slot_that_was_not_taken(give_up: Callable[[Admission, int], None]) -> None:
    """If the start admitted for a freed slot gives up or fails, the next is admitted for it."""
    queue = admission()
    arrivals(queue, 3)
    queue.admitted(0.0)
    queue.connected(1, 0.0)
    queue.refused(2, 0.0)
    queue.refused(3, 0.0)
    queue.ended(started_here=True)
    assert queue.admitted(0.1) == [2]
    give_up(queue, 2)
    assert queue.admitted(0.1) == [3]


@pytest.mark.parametrize("give_up", [Admission.failed, Admission.leave])
def test_a_probe_that_gives_up(give_up: Callable[[Admission, int], None]) -> None:
    """If the probing start gives up or fails, the next probes at once."""
    queue = full_account()
    assert queue.admitted(1.0) == [1]
    give_up(queue, 1)
    assert queue.admitted(1.0) == [2]


def test_a_failure_before_the_account_was_full_frees_nothing() -> None:
    """The failure of a start that was admitted before the account was known to be full frees no slot."""
    queue = admission()
    arrivals(queue, 3)
    queue.admitted(0.0)
    queue.refused(1, 0.0)
    queue.failed(2)
    assert queue.admitted(0.5) == []


def test_fullness_is_forgotten() -> None:
    """Once no start waits, the next one is tried at once, and slots freed before no longer count."""
    for dismissed in (True, False):
        queue = full_account(1)
        if dismissed:
            queue.dismiss()
        else:
            queue.leave(1)
        arrivals(queue, 2)
        assert queue.admitted(0.0) == [2, 3]
        queue.refused(2, 0.0)
        queue.refused(3, 0.0)
        assert queue.admitted(0.9) == []
        assert queue.due(0.0) == 1.0


def test_fullness_is_kept_while_probing() -> None:
    """While a start probes, the account still counts as full."""
    queue = full_account(1)
    assert queue.admitted(1.0) == [1]
    arrivals(queue, 2)
    assert queue.admitted(1.0) == []
    assert queue.dismiss() == [2, 3]
    arrivals(queue, 1)
    assert queue.admitted(1.0) == []
    queue.connected(1, 1.1)
    assert queue.admitted(1.1) == [4]


def test_a_freed_slot_is_forgotten_with_fullness() -> None:
    """A freed slot no longer counts once the account is known not to be full."""
    queue = admission(limit=2)
    arrivals(queue, 2)
    queue.admitted(0.0)
    queue.connected(1, 0.0)
    queue.refused(2, 0.0)
    queue.ended(started_here=True)
    assert queue.admitted(0.0) == [2]
    queue.connected(2, 0.0)
    arrivals(queue, 2)
    assert queue.admitted(0.0) == [3]
    queue.failed(3)
    assert queue.admitted(0.0) == [4]
    queue.refused(4, 0.0)
    assert queue.admitted(0.5) == []


class AnyStarts(RuleBasedStateMachine):
    """An account with slots, other programs that use it, and starts that come and go."""

    @initialize(
        limit=st.none() | st.integers(1, 4), rate=st.none() | st.sampled_from([1.0, 20.0]), slots=st.integers(0, 4)
    )
    def begin(self, limit: int | None, rate: float | None, slots: int) -> None:
        self.queue = Admission(limit, Pace(rate), FULL, lambda: 0.5)
        self.limit, self.rate, self.slots = limit, rate, slots
        self.now = 0.0
        self.expected: list[int] = []  # the waiting, in the order of arrival
        self.coming: list[int] = []
        self.answers: dict[int, bool] = {}  # under way: whether each got a slot
        self.alone = True  # no other program uses the account
        self.lived = 0
        self.dismissed: list[int] = []
        self.starts: list[float] = []

    def admit(self) -> list[int]:
        tickets = self.queue.admitted(self.now)
        assert tickets == self.expected[: len(tickets)]
        del self.expected[: len(tickets)]
        self.coming += tickets
        self.starts += [self.now] * len(tickets)
        assert self.queue.admitted(self.now) == []
        return tickets

    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        self.expected += [self.queue.arrive() for _ in range(count)]
        self.admit()

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def leave_while_waiting(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.expected))
        self.expected.remove(ticket)
        self.queue.leave(ticket)
        self.admit()

    @property
    def taken(self) -> int:
        """How many slots of the account are in use, also by connects whose answers are under way."""
        return self.lived + sum(self.answers.values())

    @precondition(lambda self: len(self.coming) > len(self.answers))
    @rule(data=st.data())
    def be_answered(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([ticket for ticket in self.coming if ticket not in self.answers]))
        self.answers[ticket] = self.taken < self.slots

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def receive_the_answer(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.answers)))
        self.coming.remove(ticket)
        if self.answers.pop(ticket):
            self.lived += 1
            self.queue.connected(ticket, self.now)
        else:
            self.queue.refused(ticket, self.now)
            self.expected = sorted([*self.expected, ticket])
        self.admit()

    @precondition(lambda self: len(self.coming) > len(self.answers))
    @rule(data=st.data(), give_up=st.sampled_from([Admission.failed, Admission.leave]))
    def give_up(self, data: st.DataObject, give_up: Callable[[Admission, int], None]) -> None:
        ticket = data.draw(st.sampled_from([ticket for ticket in self.coming if ticket not in self.answers]))
        self.coming.remove(ticket)
        give_up(self.queue, ticket)
        self.admit()

    @precondition(lambda self: self.lived)
    @rule()
    def end(self) -> None:
        self.lived -= 1
        could = self.expected and not (self.rate and self.queue.pace.until_next(self.now))
        full = self.queue._refusals
        self.queue.ended(started_here=True)
        admitted = self.admit()
        if could and full:
            # No slot was free before: one start for the freed one, or a probe for the freed place.
            assert len(admitted) == 1 or self.queue.due(self.now)

    @rule()
    def another_is_seen_to_end(self) -> None:
        self.slots += 1
        self.queue.ended(started_here=False)
        self.admit()

    @rule(slots=st.integers(0, 4))
    def others_come_and_go(self, slots: int) -> None:
        self.slots, self.alone = slots, False

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.admit()

    @rule()
    def dismiss(self) -> None:
        assert self.queue.dismiss() == self.expected
        self.dismissed += self.expected
        self.expected = []
        self.admit()

    @precondition(lambda self: self.dismissed)
    @rule()
    def leave_when_dismissed(self) -> None:
        self.queue.leave(self.dismissed.pop())
        self.admit()

    @invariant()
    def counts_are_consistent(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert self.queue.waiting == len(self.expected)
        assert self.queue.running == len(self.coming) + self.lived
        assert self.limit is None or self.queue.running <= self.limit
        looking = self.queue._probing
        assert looking is None or looking in self.coming
        assert not self.queue._freed or self.queue._refusals

    @invariant()
    def no_start_waits_forever(self) -> None:
        """Each waiting start will be admitted by an end, by a probe under way, or by time."""
        if not hasattr(self, "queue") or not self.expected:
            return
        if self.limit is not None and self.queue.running >= self.limit:
            assert self.queue.due(self.now) is None
        elif self.queue._probing is None:
            due = self.queue.due(self.now)
            assert due is not None
            assert due <= FULL.cap + 1.0 / (self.rate or 1.0)

    @invariant()
    def no_slot_is_overlooked(self) -> None:
        """No start waits for a pause while a slot is free, if no connect is under way and the account is ours alone."""
        if not hasattr(self, "queue") or not self.expected or self.coming or not self.alone:
            return
        if self.taken < self.slots and (self.limit is None or self.queue.running < self.limit):
            due = self.queue.due(self.now)
            assert due is not None
            assert due <= 1.0 / (self.rate or 1e9) + 1e-9

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        for first, begin in enumerate(self.starts if self.rate else ()):
            for last, end in enumerate(self.starts[first:], first):
                assert last - first + 1 <= (self.rate or 0.0) * (end - begin + 0.1) + 1 + 1e-6
        # With slots for all, time and ends admit everything.
        self.slots = 10**6
        for _ in range(3 * len(self.expected) + 3 * len(self.coming) + 3):
            while self.coming:
                ticket = self.coming.pop()
                if self.answers.pop(ticket, True):
                    self.lived += 1
                    self.queue.connected(ticket, self.now)
                else:
                    self.queue.refused(ticket, self.now)
                    self.expected = sorted([*self.expected, ticket])
                self.admit()
            if self.lived and self.limit is not None:
                self.lived -= 1
                self.queue.ended(started_here=True)
            self.now += self.queue.due(self.now) or 0.0
            self.now += 1e-9
            self.admit()
        assert not self.expected


TestAnyStarts = pytest.mark.timeout(120)(AnyStarts.TestCase)


# The pauses on a full account


def test_pauses_double_up_to_the_cap() -> None:
    """The pause doubles with each refusal up to the cap, and at least half of it is waited."""
    policy = FullPolicy(base=1.0, cap=30.0)
    assert [policy.pause(refusals, lambda: 1.0) for refusals in range(1, 8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [policy.pause(refusals, lambda: 0.0) for refusals in range(1, 4)] == [0.5, 1.0, 2.0]


@given(st.floats(0.001, 1e300), st.floats(0.001, 1e300), st.integers(1, 10**9), st.floats(0, 1))
def test_no_number_of_refusals_overflows(base: float, cap: float, refusals: int, rng: float) -> None:
    """However long an account stays full, the pause is from half the cap or formula to all of it."""
    longest = min(cap, base * 2.0 ** min(refusals - 1, 60))
    assert longest / 2 <= FullPolicy(base=base, cap=cap).pause(refusals, lambda: rng) <= longest


SETTINGS: list[tuple[type[Any], str, list[Any], list[Any], str]] = [
    (FullPolicy, "base", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (FullPolicy, "cap", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
]


@pytest.mark.parametrize(("policy", "name", "good", "bad", "text"), SETTINGS, ids=numbers())
def test_settings_are_checked(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """A wrong setting is refused by name, with what it must be; so are NaN and booleans."""
    check_setting(policy, name, good, bad, text)


def test_every_setting_is_in_the_table() -> None:
    """The table above has each field of each policy."""
    check_table(SETTINGS, FullPolicy)
