"""A local Akapulu to develop and test against.

    from akapulu_async.simulator import Fault, Simulator

    async with Simulator(speed=20) as sim:
        client = AkapuluClient(sim.api_key, base_url=sim.base_url)
        sim.add_fault(Fault(route="updates", status=503, times=3))

From another process, in any language: `python -m akapulu_async simulate --port 8080`, and then

    curl -X POST localhost:8080/_simulator/advance -d '{"seconds": 60}'
    curl -X POST localhost:8080/_simulator/faults -d '{"route": "updates", "status": 503, "times": 3}'

`GET /_simulator/` lists the controls, which need no key:

- `GET conversations`, `GET conversations/{id}`
- `POST conversations/{id}/join` (`{"client_ready": false}` for a participant that is not ready yet),
  `.../client-ready`, `.../leave`, `.../end` (`{"reason": "scenario_ended"}`)
- `GET faults`, `POST faults` (the fields of `Fault`), `DELETE faults`, `DELETE faults/{number}`
- `POST advance` (`{"seconds": 60}`), `POST settle`
- `GET requests`, `GET stats`

The layers, bottom up. All but the last two lines are pure: time and generator are arguments.

- values: `checks`, `answers`, `milestones`, `scripts`, `requests`, `schedule`, `plan`, `recordings`,
  `storage`, `settings`
- state at a given simulated second: `conversation`, `world`
- from a request to its answer: `rendering`, `api`, `faults`
- time, waiting and sockets: `journal`, `operations`, `control`, `delivery`, `server`
- `simulator` puts them together, and `command` runs it from the command line
"""

from akapulu_async.simulator.answers import Refusal
from akapulu_async.simulator.conversation import ConversationEnd, ConversationState, ConversationView
from akapulu_async.simulator.faults import Fault, FaultHandle
from akapulu_async.simulator.journal import SeenRequest
from akapulu_async.simulator.milestones import ConversationProgress
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.scripts import Script, ScriptRow
from akapulu_async.simulator.simulator import Simulator
from akapulu_async.simulator.world import ConversationStateError, Statistics, UnknownConversationError

__all__ = [
    "ConversationEnd",
    "ConversationProgress",
    "ConversationState",
    "ConversationStateError",
    "ConversationView",
    "Fault",
    "FaultHandle",
    "Plan",
    "Refusal",
    "Script",
    "ScriptRow",
    "SeenRequest",
    "Simulator",
    "Statistics",
    "UnknownConversationError",
]
