"""Many connects through a gateway, and the check that each conversation that they made is known or reported."""

import asyncio
from collections import Counter

import attrs

from akapulu_async import AkapuluClient, AkapuluError, Attempt, ConnectOutcomeUnknownError, Observer
from akapulu_async.simulator import Simulator
from tests.support.misbehaving import REQUEST

MANY = 300
_AT_ONCE = 24
_MARK = "mark"


class Answers(Observer):
    """Counts the statuses of the answers to all attempts; None for no answer."""

    def __init__(self) -> None:
        self.statuses: Counter[int | None] = Counter()
        self._changed = asyncio.Event()

    def attempt_finished(self, attempt: Attempt) -> None:
        self.statuses[attempt.status] += 1
        self._changed.set()

    async def reached(self, count: int) -> None:
        """Return when that many attempts are finished."""
        while self.statuses.total() < count:
            self._changed.clear()
            await self._changed.wait()


@attrs.frozen
class Account:
    """The results of `MANY` connects, by the mark that each carries as a runtime variable."""

    known: dict[str, str] = attrs.field(factory=dict)
    """The ids of the conversations."""

    unknown: dict[str, ConnectOutcomeUnknownError] = attrs.field(factory=dict)
    """The connects that may have made a conversation."""

    failed: dict[str, AkapuluError] = attrs.field(factory=dict)
    """The connects that made none."""

    async def connect_many(self, client: AkapuluClient) -> None:
        """Connect `MANY` times, some at once."""
        marks = iter(map(str, range(MANY)))

        async def connect_some() -> None:
            for mark in marks:
                await self._connect(client, mark)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(connect_some())

    async def _connect(self, client: AkapuluClient, mark: str) -> None:
        try:
            connection = await client.conversations.connect(attrs.evolve(REQUEST, runtime_vars={_MARK: mark}))
        except ConnectOutcomeUnknownError as error:
            self.unknown[mark] = error
        except AkapuluError as error:
            self.failed[mark] = error
        else:
            self.known[mark] = connection.conversation_session_id

    def check(self, simulator: Simulator) -> None:
        """Check that each conversation is known, or its connect reported as unknown, and that none was made twice."""
        made = made_by(simulator)
        lost = {mark: str(error) for mark, error in self.failed.items() if mark in made}
        assert not lost, f"{len(lost)} conversations are lost from sight: {min(lost.values())}"
        twice = {mark: ids for mark, ids in made.items() if len(ids) > 1}
        assert not twice, f"{len(twice)} connects made more than one conversation"
        assert {mark: made.get(mark) for mark in self.known} == {mark: [id_] for mark, id_ in self.known.items()}
        assert made.keys() <= self.known.keys() | self.unknown.keys()
        assert len(self.known) + len(self.unknown) + len(self.failed) == MANY


def made_by(simulator: Simulator) -> dict[str, list[str]]:
    """Return the ids of the conversations that each connect made, by its mark."""
    made: dict[str, list[str]] = {}
    for session_id, view in simulator.conversations.items():
        made.setdefault(view.request.runtime_vars[_MARK], []).append(str(session_id))
    return made
