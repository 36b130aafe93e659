"""Scripted faults: which requests fail, and how. Pure."""

import base64
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Literal
from uuid import UUID

from attrs import Factory, asdict, field, fields_dict, frozen

from akapulu_async.simulator.answers import Answer
from akapulu_async.simulator.checks import check_headers, check_id, number, one_of, optional
from akapulu_async.simulator.requests import METHODS, Match, Route

__all__ = ["Fault", "FaultBook", "FaultHandle"]


_FIRST_ERROR = 400
_BODILESS = {204, 304}
_WITHOUT_CONVERSATION = {"connect", "storage"}
_EFFECTS = ("status", "body", "content_type", "headers", "delay", "reset", "truncate_at", "bytes_per_second")
_ERROR_BODY = b'{"error": "A scripted fault.", "error_code": "SCRIPTED_FAULT"}'


def _optional_id(identifier: str | UUID | None) -> str | None:
    try:
        return None if identifier is None else check_id(identifier)
    except ValueError as error:
        raise ValueError(f"conversation_id: {error}") from error


def _check_headers(_fault: Any, _attribute: Any, headers: object) -> None:
    check_headers(headers)


def _check_content_type(_fault: Any, _attribute: Any, content_type: object) -> None:
    if content_type is not None:
        check_headers({"content_type": content_type})


def _default_times(fault: "Fault") -> int | None:
    return 1 if fault.rate is None else None


@frozen(kw_only=True)
class Fault:
    """A scripted failure. A request is hit by one fault at most: the first added that matches it.

    Which requests it hits:

    Attributes:
        route: `connect`, `updates`, `detail`, `recording` or `storage`; None: any.
        conversation_id: only requests for this conversation; None: any request. Requests to `connect` and
            `storage` have no conversation.
        after: how many matching requests pass first.
        times: how many requests it hits until it is spent; None: all until it is removed. Default: 1, or None
            with a `rate`.
        rate: the probability, 0 to 1, of hitting a matching request, drawn with the simulator's seed; None: always.

    What happens to them, at least one of these; contradictions are refused:

    Attributes:
        status: answer with this status; the request is not handled.
        body: answer with this body: bytes, text or another JSON value, with 200 unless there is a `status`; the request
            is not handled. An error status without a body gets an error in the service's form.
        content_type: of a made-up answer (default: `application/json`), or in place of the true one.
        headers: added to the answer, replacing those of the same name. A `Content-Length` is sent as given: if it
            is too large, the connection is closed after the body; if too small, the body is cut.
        delay: REAL seconds before the answer is sent or the connection reset; the request is handled first.
        reset: reset the TCP connection (RST), either `before` the request is handled, so that nothing happens, or
            `after`, so that only the answer is lost. Can be combined with `delay` only.
        truncate_at: close the connection after this many bytes of the body; `Content-Length` promises more.
        bytes_per_second: send the body at this rate (real seconds).

    Raises `ValueError` naming the wrong field.
    """

    route: Route | None = field(default=None, validator=optional(one_of(*METHODS)))
    conversation_id: str | None = field(default=None, converter=_optional_id)
    after: int = field(default=0, validator=number(whole=True))
    rate: float | None = field(default=None, validator=optional(number(0, 1)))
    times: int | None = field(
        default=Factory(_default_times, takes_self=True), validator=optional(number(1, whole=True))
    )
    status: int | None = field(default=None, validator=optional(number(200, 599, whole=True)))
    body: Any = None
    content_type: str | None = field(default=None, validator=_check_content_type)
    headers: dict[str, str] = field(factory=dict, validator=_check_headers)
    delay: float | None = field(default=None, validator=optional(number(above=True)))
    reset: Literal["before", "after"] | None = field(default=None, validator=optional(one_of("before", "after")))
    truncate_at: int | None = field(default=None, validator=optional(number(whole=True)))
    bytes_per_second: float | None = field(default=None, validator=optional(number(above=True)))

    def __attrs_post_init__(self) -> None:
        """Refuse a fault that does nothing, contradicts itself or cannot be sent."""
        if not self._effects():
            raise ValueError("a fault must do something: give status, body, headers, delay, reset, ...")
        if self.reset is not None:
            self._exclude("reset", self._effects() - {"reset", "delay"})
        if self.status in _BODILESS:
            self._exclude(f"status {self.status}", self._effects() & {"body", "truncate_at", "bytes_per_second"})
        if self.truncate_at is not None and self.content_length is not None:
            raise ValueError("truncate_at and a Content-Length header exclude each other")
        if self.route in _WITHOUT_CONVERSATION and self.conversation_id is not None:
            raise ValueError(f"conversation_id: requests to {self.route} have no conversation")
        try:
            self._body()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"body must be bytes, text or another JSON value: {error}") from error

    def _effects(self) -> set[str]:
        values = {name: getattr(self, name) for name in _EFFECTS}
        return {name for name, value in values.items() if value is not None and (name != "headers" or value)}

    @staticmethod
    def _exclude(name: str, others: set[str]) -> None:
        if others:
            raise ValueError(f"{name} and {min(others)} exclude each other")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fault":
        """Return the fault that a JSON object describes. Raises `ValueError` naming the wrong field.

        A body of bytes is given as `body_base64`.
        """
        if "body_base64" in values:
            values = _with_bytes(values)
        if unknown := values.keys() - fields_dict(cls).keys():
            raise ValueError(f"a fault has no field {min(unknown)!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error.args[0])) from error

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set, and always `times`, as JSON for `from_json`."""
        values = asdict(self, recurse=False, filter=lambda field, value: value is not None or field.name == "times")
        if isinstance(self.body, bytes):
            del values["body"]
            values["body_base64"] = base64.b64encode(self.body).decode()
        return values

    @property
    def content_length(self) -> int | None:
        """The made-up `Content-Length`; None: the true one."""
        lengths = [value for name, value in self.headers.items() if name.lower() == "content-length"]
        return int(lengths[-1]) if lengths else None

    @property
    def made_up(self) -> bool:
        """Whether the answer is made up and the request not handled."""
        return self.status is not None or self.body is not None

    @property
    def loses_answer(self) -> bool:
        """Whether the answer does not arrive, or not whole."""
        return self.reset is not None or self.truncate_at is not None

    def answer(self) -> Answer:
        """Return the made-up answer."""
        headers = _merged({"Content-Type": self.content_type or "application/json"}, self.headers)
        return Answer(200 if self.status is None else self.status, headers, self._body())

    def distort(self, answer: Answer) -> Answer:
        """Return the true answer with this fault's headers."""
        content_type = {} if self.content_type is None else {"Content-Type": self.content_type}
        return Answer(answer.status, _merged(answer.headers, content_type, self.headers), answer.body)

    def _body(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        if self.body is not None:
            return json.dumps(self.body).encode()
        return b"" if self.status is None or self.status < _FIRST_ERROR else _ERROR_BODY


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; of two with one name, whatever their case, the later one stays."""
    return dict({name.lower(): (name, value) for layer in layers for name, value in layer.items()}.values())


def _with_bytes(values: Mapping[str, Any]) -> dict[str, Any]:
    if "body" in values:
        raise ValueError("body and body_base64 exclude each other")
    try:
        body = base64.b64decode(values["body_base64"], validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"body_base64 must be base64: {error}") from error
    return {name: value for name, value in values.items() if name != "body_base64"} | {"body": body}


class FaultHandle:
    """A fault in force.

    Attributes:
        id: its number, for the control over HTTP.
        fault: what was added.
        hits: the number of requests it has hit.

    """

    def __init__(self, book: "FaultBook", identifier: int, fault: Fault) -> None:
        self._book = book
        self.id = identifier
        self.fault = fault
        self.hits = 0
        self._to_skip = fault.after

    def remove(self) -> None:
        """Remove it. Does nothing if it is spent or removed."""
        self._book.remove(self.id)

    def select(self, where: Match, rng: Random) -> bool:
        """Return True if it hits this request, and count the hit."""
        fault = self.fault
        if fault.route not in {None, where.route}:
            return False
        if fault.conversation_id not in {None, where.conversation_id}:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        if fault.rate is not None and rng.random() >= fault.rate:
            return False
        self.hits += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether it has hit its last request."""
        return self.fault.times is not None and self.hits >= self.fault.times


class FaultBook:
    """The faults in force, oldest first. `on_change` is called when one is added or removed, not when it is spent."""

    def __init__(self, rng: Random, on_change: Callable[[], None] = lambda: None) -> None:
        self._rng = rng
        self._on_change = on_change
        self._handles: dict[int, FaultHandle] = {}
        self._next_id = 1

    @property
    def handles(self) -> tuple[FaultHandle, ...]:
        """The faults that are neither spent nor removed."""
        return tuple(self._handles.values())

    def add(self, fault: Fault) -> FaultHandle:
        """Add a fault."""
        handle = FaultHandle(self, self._next_id, fault)
        self._next_id += 1
        self._handles[handle.id] = handle
        self._on_change()
        return handle

    def remove(self, identifier: int) -> None:
        """Remove a fault. Does nothing if it is spent or removed."""
        if self._handles.pop(identifier, None) is not None:
            self._on_change()

    def clear(self) -> None:
        """Remove all faults."""
        self._handles.clear()
        self._on_change()

    def select(self, where: Match) -> Fault | None:
        """Return the fault that hits this request, if any."""
        for handle in self._handles.values():
            if handle.select(where, self._rng):
                if handle.spent:
                    del self._handles[handle.id]
                return handle.fault
        return None
