"""Who may start next, told with times passed in: no loop, no sleep."""

from collections.abc import Callable
from itertools import count, pairwise
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
    """Make one whose pauses are 1, 2, 4 ... 30 s exactly."""
    return Admission(limit, Pace(rate), full, lambda: 1.0)


def arrivals(door: Admission, count: int) -> list[int]:
    return [door.arrive() for _ in range(count)]


# The pace


def test_no_pace_is_no_wait() -> None:
    """Without a rate, nobody ever waits for a turn."""
    pace = Pace(None)
    assert [pace.wait(0.0) for _ in range(1000)] == [0.0] * 1000
    assert pace.until_next(0.0) == 0.0


def test_turns_come_evenly() -> None:
    """Past the burst, turns are exactly one part of a second apart, in the order of asking."""
    pace = Pace(10.0, burst=0.0)
    assert [pace.wait(5.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert pace.wait(5.25) == pytest.approx(0.15)


def test_asking_takes_no_turn() -> None:
    """To ask when the next turn is changes nothing."""
    pace = Pace(2.0)
    pace.wait(0.0)
    assert [pace.until_next(0.1) for _ in range(3)] == pytest.approx([0.3] * 3)
    assert pace.wait(0.1) == pytest.approx(0.3)


def test_a_lull_saves_up_no_more_than_the_burst() -> None:
    """After an hour without a turn, one burst may be taken at once, and not an hour's worth."""
    pace = Pace(128.0, burst=0.125)
    pace.wait(0.0)
    waits = [pace.wait(3600.0) for _ in range(30)]
    assert waits[:17] == [0.0] * 17
    assert waits[17:] == [number / 128 for number in range(1, 14)]


@given(st.floats(0.1, 1000), st.floats(0, 2), st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_the_pace_is_never_exceeded(rate: float, burst: float, gaps: list[float]) -> None:
    """In no window of any length are there more turns than rate and burst allow, and turns keep their order."""
    pace, now, turns = Pace(rate, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        until = pace.until_next(now)
        turns.append(now + pace.wait(now))
        assert turns[-1] == now + until
    for first, begin in enumerate(turns):
        for last, end in enumerate(turns[first:], first):
            assert last - first + 1 <= rate * (end - begin + burst) + 1 + 1e-6
    assert all(one <= other for one, other in pairwise(turns))


# Slots


def test_first_come_first_served() -> None:
    """As many run as may, and the next to be let in is always the one that waits longest."""
    door = admission(2)
    assert arrivals(door, 4) == [1, 2, 3, 4]
    assert door.admitted(0.0) == [1, 2]
    assert (door.running, door.waiting) == (2, 2)
    door.connected(1, 0.0)
    assert door.admitted(0.0) == []
    assert door.due(0.0) is None
    door.ended()
    assert door.admitted(0.0) == [3]
    door.failed(2)
    assert door.admitted(0.0) == [4]
    assert (door.running, door.waiting) == (2, 0)


def test_no_limit_lets_everybody_in() -> None:
    """Without a limit nobody waits."""
    door = admission()
    assert door.admitted(0.0) == []
    assert door.admitted(0.0) == arrivals(door, 0)
    tickets = arrivals(door, 1000)
    assert door.admitted(0.0) == tickets
    assert door.due(0.0) is None


def test_who_leaves_loses_its_place_and_nothing_else() -> None:
    """One that gives up while it waits takes nobody else's place."""
    door = admission(1)
    arrivals(door, 4)
    door.admitted(0.0)
    door.leave(3)
    door.connected(1, 0.0)
    door.ended()
    assert door.admitted(0.0) == [2]
    door.leave(2)
    assert door.admitted(0.0) == [4]
    assert (door.running, door.waiting) == (1, 0)


def test_dismissed() -> None:
    """Who waits can be sent away at once; one that gives up in that moment changes nothing any more."""
    door = admission(1)
    arrivals(door, 3)
    door.admitted(0.0)
    assert door.dismiss() == [2, 3]
    assert (door.running, door.waiting) == (1, 0)
    door.leave(3)
    assert (door.running, door.waiting) == (1, 0)
    assert door.arrive() == 4


def test_the_pace_of_starts() -> None:
    """Starts come as often as the pace allows, and it is known when the next is due."""
    door = admission(rate=2.0)
    arrivals(door, 3)
    assert door.admitted(0.0) == [1]
    assert door.due(0.0) == pytest.approx(0.4)
    assert door.admitted(0.39) == []
    assert door.admitted(0.41) == [2]
    assert door.due(0.41) == pytest.approx(0.49)
    assert door.admitted(0.91) == [3]
    assert door.due(0.91) is None


# An account whose slots are taken


def full_account(waiting: int = 3) -> Admission:
    """Let some wait, of whom the first was refused at 0 s."""
    door = admission()
    first, *_ = arrivals(door, 1)
    assert door.admitted(0.0) == [first]
    door.refused(first, 0.0)
    arrivals(door, waiting - 1)
    return door


def test_refused_keeps_its_place() -> None:
    """Who meets a full account waits again before all who came later, and one at a time goes to look."""
    door = full_account()
    assert (door.running, door.waiting) == (0, 3)
    assert door.admitted(0.9) == []
    assert door.due(0.25) == 0.75
    assert door.admitted(1.0) == [1]
    assert door.due(1.0) is None
    assert door.admitted(100.0) == []


def test_pauses_grow() -> None:
    """Each look in vain doubles the pause until the next, up to the cap."""
    door, now = full_account(), 0.0
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        assert door.due(now) == pause
        assert door.admitted(now + pause - 0.01) == []
        now += pause
        assert door.admitted(now) == [1]
        door.refused(1, now)


def test_a_burst_of_refusals_is_one() -> None:
    """Those who were on their way when the account was found full tell nothing new, and keep their order."""
    door = admission()
    tickets = arrivals(door, 50)
    assert door.admitted(0.0) == tickets
    for ticket in reversed(tickets):
        door.refused(ticket, 0.0)
    assert door.due(0.0) == 1.0
    assert door.admitted(1.0) == [1]


def test_a_slot_found_is_looked_for_again_at_once() -> None:
    """When a look succeeds, others may have given back more, so that the next looks at once; pauses begin anew."""
    door = full_account()
    for now in (1.0, 3.0):
        assert door.admitted(now) == [1]
        door.refused(1, now)
    assert door.admitted(7.0) == [1]
    door.connected(1, 7.5)
    assert door.admitted(7.5) == [2]
    assert door.admitted(7.5) == []
    door.refused(2, 8.0)
    assert door.due(8.0) == 2.0


def test_a_slot_seen_to_get_free_wakes_one() -> None:
    """While the account is full, an end here admits exactly one, at once, and besides the one that looks."""
    door = admission()
    arrivals(door, 4)
    assert door.admitted(0.0) == [1, 2, 3, 4]
    door.connected(1, 0.0)
    for ticket in (2, 3, 4):
        door.refused(ticket, 0.0)
    assert door.admitted(0.5) == []
    door.ended()
    assert door.due(0.5) == 0.0
    assert door.admitted(0.5) == [2]
    assert door.admitted(0.5) == []
    assert door.due(0.5) == 0.5
    assert door.admitted(1.0) == [3]
    door.connected(2, 1.0)
    door.ended()
    assert door.admitted(1.0) == [4]


def test_a_slot_that_got_free_before_the_refusal_was_heard_is_looked_for_at_once() -> None:
    """A refusal may be older than an end that was heard of before it; one that was asked for later is not."""
    door = admission()
    arrivals(door, 3)
    assert door.admitted(0.0) == [1, 2, 3]
    door.connected(1, 0.0)
    door.ended()
    door.refused(2, 0.1)
    door.refused(3, 0.1)
    assert door.due(0.1) == 0.0
    assert door.admitted(0.1) == [2]
    assert door.admitted(0.1) == []
    door.refused(2, 0.2)
    assert door.due(0.2) == 2.0


def test_an_end_before_a_connect_does_not_age_its_refusal() -> None:
    """Who was let in after the last end, and refused, waits for the pause."""
    door = admission()
    arrivals(door, 1)
    door.admitted(0.0)
    door.connected(1, 0.0)
    door.ended()
    arrivals(door, 1)
    assert door.admitted(0.1) == [2]
    door.refused(2, 0.2)
    assert door.due(0.2) == 1.0


def test_a_slot_that_gets_free_a_moment_after_its_end_is_found_soon() -> None:
    """Who is refused the slot of a conversation that has ended is followed by another look after a first pause."""
    door, now = full_account(), 0.0
    for pause in (1.0, 2.0, 4.0, 8.0):
        now += pause
        assert door.admitted(now) == [1]
        door.refused(1, now)
    door.freed()
    assert door.admitted(now) == [1]
    assert door.due(now) == 16.0
    door.refused(1, now)
    assert door.due(now) == 1.0


def test_a_slot_of_another_that_is_seen_to_get_free_wakes_one() -> None:
    """What ends here without having been started here lets one in, and takes nobody's place away."""
    door = admission()
    arrivals(door, 3)
    door.admitted(0.0)
    door.connected(1, 0.0)
    door.refused(2, 0.0)
    door.refused(3, 0.0)
    door.freed()
    assert door.admitted(0.0) == [2]
    assert door.admitted(0.0) == []
    assert door.running == 2


@pytest.mark.parametrize("give_up", [Admission.failed, Admission.leave])
def test_a_slot_that_was_not_taken_wakes_the_next(give_up: Callable[[Admission, int], None]) -> None:
    """If who was woken for a free slot gives up or fails, the slot is free still, and the next is woken."""
    door = admission()
    arrivals(door, 3)
    door.admitted(0.0)
    door.connected(1, 0.0)
    door.refused(2, 0.0)
    door.refused(3, 0.0)
    door.ended()
    assert door.admitted(0.1) == [2]
    give_up(door, 2)
    assert door.admitted(0.1) == [3]


@pytest.mark.parametrize("give_up", [Admission.failed, Admission.leave])
def test_a_look_that_came_to_nothing_is_made_by_the_next(give_up: Callable[[Admission, int], None]) -> None:
    """If who goes to look gives up or fails, the next goes at once."""
    door = full_account()
    assert door.admitted(1.0) == [1]
    give_up(door, 1)
    assert door.admitted(1.0) == [2]


def test_a_failure_before_the_account_was_full_frees_nothing() -> None:
    """Who was let in before the account was known to be full had no slot that its failure could free."""
    door = admission()
    arrivals(door, 3)
    door.admitted(0.0)
    door.refused(1, 0.0)
    door.failed(2)
    assert door.admitted(0.5) == []


def test_fullness_is_forgotten_when_nobody_waits() -> None:
    """When nobody waits any more, the next to come tries its luck at once, and slots seen before count no more."""
    for dismissed in (True, False):
        door = full_account(1)
        if dismissed:
            door.dismiss()
        else:
            door.leave(1)
        arrivals(door, 2)
        assert door.admitted(0.0) == [2, 3]
        door.refused(2, 0.0)
        door.refused(3, 0.0)
        assert door.admitted(0.9) == []
        assert door.due(0.0) == 1.0


def test_who_comes_while_the_last_one_looks_waits_for_its_word() -> None:
    """As long as somebody looks, fullness is not forgotten."""
    door = full_account(1)
    assert door.admitted(1.0) == [1]
    arrivals(door, 2)
    assert door.admitted(1.0) == []
    assert door.dismiss() == [2, 3]
    arrivals(door, 1)
    assert door.admitted(1.0) == []
    door.connected(1, 1.1)
    assert door.admitted(1.1) == [4]


def test_the_slot_of_one_who_left_is_not_kept_for_an_account_that_is_not_full() -> None:
    """A slot that was about to be taken when fullness was forgotten counts no more when it was not."""
    door = admission(limit=2)
    arrivals(door, 2)
    door.admitted(0.0)
    door.connected(1, 0.0)
    door.refused(2, 0.0)
    door.ended()
    assert door.admitted(0.0) == [2]
    door.connected(2, 0.0)
    arrivals(door, 2)
    assert door.admitted(0.0) == [3]
    door.failed(3)
    assert door.admitted(0.0) == [4]
    door.refused(4, 0.0)
    assert door.admitted(0.5) == []


class Queue(RuleBasedStateMachine):
    """An account with slots of its own, others who use it, and those who come and go here."""

    @initialize(
        limit=st.none() | st.integers(1, 4), rate=st.none() | st.sampled_from([1.0, 20.0]), slots=st.integers(0, 4)
    )
    def begin(self, limit: int | None, rate: float | None, slots: int) -> None:
        self.door = Admission(limit, Pace(rate), FULL, lambda: 0.5)
        self.limit, self.rate, self.slots = limit, rate, slots
        self.now = 0.0
        self.expected: list[int] = []  # who waits, in the order of arrival
        self.coming: list[int] = []
        self.answers: dict[int, bool] = {}  # on their way to those who come: whether each has got a slot
        self.alone = True  # nobody else uses the account
        self.lived = 0
        self.dismissed: list[int] = []
        self.starts: list[float] = []

    def admit(self) -> list[int]:
        tickets = self.door.admitted(self.now)
        assert tickets == self.expected[: len(tickets)]
        del self.expected[: len(tickets)]
        self.coming += tickets
        self.starts += [self.now] * len(tickets)
        assert self.door.admitted(self.now) == []
        return tickets

    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        self.expected += [self.door.arrive() for _ in range(count)]
        self.admit()

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def leave_while_waiting(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.expected))
        self.expected.remove(ticket)
        self.door.leave(ticket)
        self.admit()

    @property
    def taken(self) -> int:
        """How many slots of the account are in use, whether or not that was heard."""
        return self.lived + sum(self.answers.values())

    @precondition(lambda self: len(self.coming) > len(self.answers))
    @rule(data=st.data())
    def be_answered(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([ticket for ticket in self.coming if ticket not in self.answers]))
        self.answers[ticket] = self.taken < self.slots

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def hear_the_answer(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.answers)))
        self.coming.remove(ticket)
        if self.answers.pop(ticket):
            self.lived += 1
            self.door.connected(ticket, self.now)
        else:
            self.door.refused(ticket, self.now)
            self.expected = sorted([*self.expected, ticket])
        self.admit()

    @precondition(lambda self: len(self.coming) > len(self.answers))
    @rule(data=st.data(), give_up=st.sampled_from([Admission.failed, Admission.leave]))
    def give_up(self, data: st.DataObject, give_up: Callable[[Admission, int], None]) -> None:
        ticket = data.draw(st.sampled_from([ticket for ticket in self.coming if ticket not in self.answers]))
        self.coming.remove(ticket)
        give_up(self.door, ticket)
        self.admit()

    @precondition(lambda self: self.lived)
    @rule()
    def end(self) -> None:
        self.lived -= 1
        could = self.expected and not (self.rate and self.door.pace.until_next(self.now))
        full = self.door._refusals
        self.door.ended()
        admitted = self.admit()
        if could and full:
            # None was free before, or it was taken: exactly the one that got free now, or the limit's place for a look.
            assert len(admitted) == 1 or self.door.due(self.now)

    @rule()
    def another_is_seen_to_end(self) -> None:
        self.slots += 1
        self.door.freed()
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
        assert self.door.dismiss() == self.expected
        self.dismissed += self.expected
        self.expected = []
        self.admit()

    @precondition(lambda self: self.dismissed)
    @rule()
    def leave_when_dismissed(self) -> None:
        self.door.leave(self.dismissed.pop())
        self.admit()

    @invariant()
    def counts_are_consistent(self) -> None:
        if not hasattr(self, "door"):
            return
        assert self.door.waiting == len(self.expected)
        assert self.door.running == len(self.coming) + self.lived
        assert self.limit is None or self.door.running <= self.limit
        looking = self.door._probing
        assert looking is None or looking in self.coming
        assert not self.door._freed or self.door._refusals

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """Whoever waits is let in by an end, by a look under way, or by time."""
        if not hasattr(self, "door") or not self.expected:
            return
        if self.limit is not None and self.door.running >= self.limit:
            assert self.door.due(self.now) is None
        elif self.door._probing is None:
            due = self.door.due(self.now)
            assert due is not None
            assert due <= FULL.cap + 1.0 / (self.rate or 1.0)

    @invariant()
    def no_slot_is_overlooked(self) -> None:
        """Where nobody else uses the account, nobody waits for a pause while a slot is free and nobody comes for it."""
        if not hasattr(self, "door") or not self.expected or self.coming or not self.alone:
            return
        if self.taken < self.slots and (self.limit is None or self.door.running < self.limit):
            due = self.door.due(self.now)
            assert due is not None
            assert due <= 1.0 / (self.rate or 1e9) + 1e-9

    def teardown(self) -> None:
        if not hasattr(self, "door"):
            return
        for first, begin in enumerate(self.starts if self.rate else ()):
            for last, end in enumerate(self.starts[first:], first):
                assert last - first + 1 <= (self.rate or 0.0) * (end - begin + 0.1) + 1 + 1e-6
        # With slots for all, time alone and ends let everybody in.
        self.slots = 10**6
        for _ in range(3 * len(self.expected) + 3 * len(self.coming) + 3):
            while self.coming:
                ticket = self.coming.pop()
                if self.answers.pop(ticket, True):
                    self.lived += 1
                    self.door.connected(ticket, self.now)
                else:
                    self.door.refused(ticket, self.now)
                    self.expected = sorted([*self.expected, ticket])
                self.admit()
            if self.lived and self.limit is not None:
                self.lived -= 1
                self.door.ended()
            self.now += self.door.due(self.now) or 0.0
            self.now += 1e-9
            self.admit()
        assert not self.expected


TestQueue = Queue.TestCase


# How long to wait while the account is full


def test_a_full_account_is_asked_ever_more_seldom() -> None:
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


@pytest.mark.parametrize(("policy", "name", "good", "bad", "text"), SETTINGS, ids=count())
def test_settings_are_checked(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """A wrong setting is refused by name, with what it must be; so are NaN and booleans."""
    check_setting(policy, name, good, bad, text)


def test_every_setting_is_in_the_table() -> None:
    """The table above has each field of each policy."""
    check_table(SETTINGS, FullPolicy)
