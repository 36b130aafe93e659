"""Control over HTTP, for other processes and languages: `/_simulator/...`, without a key."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from attrs import asdict

from akapulu_async.simulator.answers import Answer, Refusal, RefusedError, json_answer, refusal_answer
from akapulu_async.simulator.conversation import ConversationView
from akapulu_async.simulator.faults import Fault, FaultHandle
from akapulu_async.simulator.journal import SeenRequest
from akapulu_async.simulator.operations import SETTLE_TIMEOUT, Operations
from akapulu_async.simulator.requests import METHODS, parse_json_object
from akapulu_async.simulator.world import ConversationStateError, UnknownConversationError

__all__ = ["CONTROLS", "CONTROL_PREFIX", "Control"]

CONTROL_PREFIX = "/_simulator/"

_MOST_SECONDS = 1e9  # simulated: 30 years
_KEYS = {"join": ("client_ready",), "end": ("reason",)}
_NOT_FOUND = Refusal(404, "NOT_FOUND", "The simulator has no such control.")


CONTROLS: Mapping[str, str] = {
    "GET /_simulator/": "this list",
    "GET /_simulator/conversations": "all conversations, oldest first",
    "GET /_simulator/conversations/{id}": "one conversation",
    "POST /_simulator/conversations/{id}/join": 'the participant joins; {"client_ready": false}: without client-ready',
    "POST /_simulator/conversations/{id}/client-ready": "the participant says client-ready",
    "POST /_simulator/conversations/{id}/leave": "the participant leaves, which ends the conversation",
    "POST /_simulator/conversations/{id}/end": 'end the conversation; {"reason": "scenario_ended"}',
    "GET /_simulator/faults": "the faults in force",
    "POST /_simulator/faults": 'add one: the fields of Fault, such as {"route": "updates", "status": 503}',
    "DELETE /_simulator/faults": "remove all faults",
    "DELETE /_simulator/faults/{number}": "remove one fault",
    "POST /_simulator/advance": 'move the simulated clock: {"seconds": 60}',
    "POST /_simulator/settle": 'wait until every client has seen the last change; {"timeout": 20}',
    "GET /_simulator/requests": "the latest requests",
    "GET /_simulator/stats": "the account in numbers",
}
"""Every control: what it does, and the JSON object that it takes, if any."""


class Control:
    """Carries out control requests: see `CONTROLS`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a control request.

        Requests from web pages of another origin are refused: browsers let any page send them to loopback.
        """
        path = target.partition("?")[0].removeprefix(CONTROL_PREFIX).removesuffix("/")
        try:
            _check_origin(headers)
            values = parse_json_object(body) if body else {}
            return await self._dispatch(method, path.split("/"), values)
        except RefusedError as refused:
            return refusal_answer(refused.refusal)
        except UnknownConversationError as error:
            return refusal_answer(Refusal(404, "CONVERSATION_NOT_FOUND", str(error)))
        except ConversationStateError as error:
            return refusal_answer(Refusal(409, "CONVERSATION_STATE", str(error)))
        except TimeoutError as error:
            return refusal_answer(Refusal(504, "NOT_SETTLED", str(error)))
        except (TypeError, ValueError) as error:
            return refusal_answer(Refusal(400, "INVALID_REQUEST", str(error)))

    async def _dispatch(self, method: str, parts: list[str], values: Mapping[str, Any]) -> Answer:  # noqa: PLR0911 - a table
        operations = self._operations
        match method, *parts:
            case "GET", "":
                return json_answer({"controls": dict(CONTROLS)})
            case "GET", "conversations":
                views = map(operations.conversations.get, operations.conversations)
                return json_answer([view_json(view) for view in views if view is not None])
            case "GET", "conversations", identifier:
                return json_answer(self._view_json(identifier))
            case "POST", "conversations", identifier, verb:
                return self._conversation(identifier, verb, values)
            case _, "faults", *rest:
                return self._fault(method, rest, values)
            case "POST", "advance":
                _check_keys(values, ("seconds",))
                operations.advance(_seconds(values, "seconds"))
                return json_answer({"now": operations.now})
            case "POST", "settle":
                _check_keys(values, ("conversation_id", "timeout"))
                timeout = _seconds(values, "timeout") if "timeout" in values else SETTLE_TIMEOUT
                await operations.settle(conversation_id=values.get("conversation_id"), timeout=timeout)
                return json_answer({"now": operations.now})
            case "GET", "requests":
                return json_answer([_request_json(request) for request in operations.requests])
            case "GET", "stats":
                return json_answer(self._stats())
        raise RefusedError(_NOT_FOUND)

    def _conversation(self, identifier: str, verb: str, values: Mapping[str, Any]) -> Answer:
        do = self._operations
        verbs: dict[str, Callable[[], ConversationView]] = {
            "join": lambda: do.join(identifier, client_ready=_boolean(values, "client_ready", default=True)),
            "client-ready": lambda: do.client_ready(identifier),
            "leave": lambda: do.leave(identifier),
            "end": lambda: do.end(identifier, **values),
        }
        if verb not in verbs:
            raise RefusedError(_NOT_FOUND)
        _check_keys(values, _KEYS.get(verb, ()))
        return json_answer(view_json(verbs[verb]()))

    def _view_json(self, identifier: str) -> dict[str, Any]:
        try:
            return view_json(self._operations.conversations[identifier])
        except KeyError as error:
            raise UnknownConversationError(f"no conversation has the id {identifier}") from error

    def _fault(self, method: str, rest: list[str], values: Mapping[str, Any]) -> Answer:
        faults = self._operations.faults
        match method, *rest:
            case ("GET",):
                return json_answer([_fault_json(handle) for handle in faults])
            case ("POST",):
                return json_answer(_fault_json(self._operations.add_fault(Fault.from_json(values))), 201)
            case ("DELETE",):
                self._operations.clear_faults()
                return Answer(204, {})
            case "DELETE", number if found := [handle for handle in faults if str(handle.id) == number]:
                found[0].remove()
                return Answer(204, {})
        raise RefusedError(_NOT_FOUND)

    def _stats(self) -> dict[str, Any]:
        operations = self._operations
        account = asdict(operations.statistics(), recurse=False)
        return {
            "now": operations.now,
            **account,
            "ended": {reason.value: count for reason, count in account["ended"].items()},
            "requests": {"all": operations.count()} | {each: operations.count(each) for each in METHODS},
            "leaked_credentials": operations.leaked_credentials,
        }


def view_json(view: ConversationView) -> dict[str, Any]:
    """Return a conversation's view as JSON, with the connect request as received."""
    return {**asdict(view, recurse=False), "progress": asdict(view.progress), "request": dict(view.request.raw)}


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("Host", "").lower():
        raise RefusedError(
            Refusal(403, "ORIGIN_REFUSED", "Web pages of another origin must not control the simulator.")
        )


def _check_keys(values: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := values.keys() - set(known):
        expected = ", ".join(known) or "no field"
        raise ValueError(f"unknown field {min(unknown)!r}: this control takes {expected}")


def _boolean(values: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = values.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")  # noqa: TRY004 - one error for all values
    return value


def _seconds(values: Mapping[str, Any], name: str) -> float:
    seconds = values.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError(f"{name} must be a number from 0 to {_MOST_SECONDS:g}, not {seconds!r}")
    return float(seconds)


def _fault_json(handle: FaultHandle) -> dict[str, Any]:
    return {"id": handle.id, "hits": handle.hits, "fault": handle.fault.to_json()}


def _request_json(request: SeenRequest) -> dict[str, Any]:
    fault = None if request.fault is None else request.fault.to_json()
    return {**asdict(request, recurse=False), "fault": fault}
