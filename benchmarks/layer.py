"""Cost of the session layer itself: from a poll's result to the event at a watcher, without I/O.

    python benchmarks/layer.py [--rounds 15] [--seconds 0.2] [--json [FILE]]

A session polls a stub that answers immediately, each time with a new text, and a watcher gets an event for each poll.
The event loop's turns for the poll and for the watcher are included. The result is the best round and the median.
"""

import argparse
import asyncio
import gc
import statistics
from collections.abc import Callable, Coroutine
from itertools import cycle
from typing import Any, cast

from akapulu_async import ConversationUpdate, PollPolicy
from akapulu_async.observing import Observers
from akapulu_async.resources.conversations import Conversations
from akapulu_async.session import ConversationSession, SessionSettings
from output import add_json_option, show
from processes import cores, own_cpu_seconds, pin

ID = "00000000-0000-0000-0000-000000000001"
BAR = 12.0  # microseconds


class AtOnce:
    """Stands for the service, with prepared answers."""

    observers = Observers()

    def poller(self, session_id: str) -> Callable[[], Coroutine[Any, Any, ConversationUpdate]]:
        """Return a poller that answers immediately."""
        updates = cycle(
            [
                ConversationUpdate(session_id, call_is_ready=False, completion_percent=10.0, latest_update_text=text)
                for text in ("loading the avatar", "loading the voice")
            ]
        )

        async def poll() -> ConversationUpdate:
            return next(updates)

        return poll


async def measure(rounds: int, seconds: float) -> dict[str, float]:
    """Return the CPU microseconds of a poll."""
    told = 0

    async def watch() -> None:
        nonlocal told
        async for _ in session.events():
            told += 1

    settings = SessionSettings(poll=PollPolicy(interval=1e-9))
    session = ConversationSession(cast(Conversations, AtOnce()), ID, settings)
    figures = []
    async with session:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(seconds)
        for _ in range(rounds):
            gc.collect()
            before, cpu, polls = session.polls, own_cpu_seconds(), 0
            while not polls:
                await asyncio.sleep(seconds)
                polls = session.polls - before
            figures.append((own_cpu_seconds() - cpu) / polls * 1e6)
    await watching
    if told < session.polls:
        raise RuntimeError(f"{session.polls} polls, but {told} events")
    return {"best_us": min(figures), "median_us": statistics.median(figures), "bar_us": BAR}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure the session layer without I/O.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a round is (0.2)")
    add_json_option(parser)
    arguments = parser.parse_args()
    pin(0, cores()[0])
    figures = asyncio.run(measure(arguments.rounds, arguments.seconds))
    text = "a poll's result to its event: best {best_us:.1f} us, median {median_us:.1f} us, at most {bar_us:g} us"
    show(figures, text.format(**figures), arguments.json)


if __name__ == "__main__":
    main()
