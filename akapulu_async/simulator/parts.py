"""The simulator's parts, put together."""

from random import Random

from attrs import frozen

from akapulu_async.simulator.api import Api
from akapulu_async.simulator.clock import Clock
from akapulu_async.simulator.control import Control
from akapulu_async.simulator.faults import FaultBook
from akapulu_async.simulator.journal import Journal
from akapulu_async.simulator.server import Listener, Server
from akapulu_async.simulator.settings import Settings
from akapulu_async.simulator.storage import Storage
from akapulu_async.simulator.world import World

__all__ = ["Parts"]


@frozen
class Parts:
    """What a simulator is made of; nothing is open yet."""

    clock: Clock
    world: World
    faults: FaultBook
    storage: Storage
    journal: Journal
    listener: Listener
    storage_listener: Listener

    @classmethod
    def assemble(cls, settings: Settings) -> "Parts":
        """Make the parts and connect them; each draws from a generator of its own, all from one seed."""
        rng = Random(settings.seed)  # noqa: S311 - a simulation, not cryptography
        faults_rng, storage_rng = (Random(rng.getrandbits(64)) for _ in range(2))  # noqa: S311 - as above
        clock, world, faults = Clock(settings.speed), World(settings, rng), FaultBook(faults_rng)
        storage = Storage(storage_rng, url_lifetime=settings.signed_url_lifetime, ranges=settings.recording_ranges)
        journal = Journal(
            keep=settings.requests_kept, time_passes=settings.speed > 0, conversations=world.conversations
        )
        control = Control(world, clock, faults, journal, storage)
        server = Server(Api(world, storage, settings), storage, control, clock, faults, journal)
        listeners = Listener(server.handle_api), Listener(server.handle_storage)
        return cls(clock, world, faults, storage, journal, *listeners)
