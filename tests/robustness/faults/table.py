"""The matrix: the result of each operation under each fault. `test_matrix.py` asserts it, `matrix.py` prints it."""

import attrs

from tests.robustness.faults.cells import ANSWER, LEAST_DELAY, LINK_SPEED, TRIES, Cell, When
from tests.robustness.faults.proxy import FINE, Deed, Fault, Point
from tests.robustness.faults.scenes import Scene, certified, repeating, resolving, restarting, struck, unreachable

Cells = tuple[Cell | None, ...]
"""A cell for each of `COLUMNS`; None where the fault cannot strike."""


@attrs.frozen
class Row:
    """A fault, and the results of the operations under it."""

    fault: str
    scene: Scene
    cells: Cells
    in_turn: bool = False
    """Try the operations one after the other, as they would disturb each other."""


def _got(seen: int, when: When = When.AT_ONCE, *, fruitless: int = TRIES) -> Cell:
    return Cell(ANSWER, seen, when, fruitless)


def _unknown(seen: int, when: When = When.AT_ONCE) -> Cell:
    return Cell("`ConnectOutcomeUnknownError`", seen, when)


def _broken(seen: int) -> Cell:
    return Cell("`TransportError`", seen)


def _late(seen: int) -> Cell:
    return Cell("`RequestTimeoutError`", seen, When.DEADLINE)


def _failed(seen: int, when: When = When.AT_ONCE) -> Cell:
    return Cell("`SessionEndedError` (`failed`)", seen, when)


_ALL_UNSENT: Cells = (*[Cell("`TransportError` (not sent)", 0)] * 5, _failed(0))


def _all_got(when: When = When.AT_ONCE) -> Cells:
    return (_got(1, when),) * 6


def _once(at: Point, deed: Deed = Deed.RESET) -> Scene:
    return struck(Fault(at=at, deed=deed), FINE)


def _always(at: Point, deed: Deed = Deed.RESET) -> Scene:
    return struck(Fault(at=at, deed=deed))


_NO_FAULT = Row("none", struck(FINE), _all_got())

_BEFORE_IT_IS_DONE: Cells = (_unknown(0), *[_got(1)] * 5)
_AFTER_IT_IS_DONE: Cells = (_unknown(1), *[_got(2)] * 5)
_IN_THE_BODY: Cells = (_unknown(1), _got(2), _broken(1), *[_got(2)] * 3)

PASSING = (
    _NO_FAULT,
    Row("reset as soon as the connection is made", _once(Point.ACCEPT), _BEFORE_IT_IS_DONE),
    Row("reset after the request's head", _once(Point.REQUEST_HEAD), _BEFORE_IT_IS_DONE),
    Row("reset in the request's body", _once(Point.REQUEST_BODY), (_unknown(0), *[None] * 5)),
    Row("reset before the answer, after the request was handled", _once(Point.REQUEST), _AFTER_IT_IS_DONE),
    Row("reset after the status line", _once(Point.STATUS_LINE), _AFTER_IT_IS_DONE),
    Row("reset after the answer's head", _once(Point.HEAD), _IN_THE_BODY),
    Row("reset in the answer's body", _once(Point.BODY), _IN_THE_BODY),
    Row("reset after the answer", _once(Point.ANSWER), _all_got()),
    Row("answer cut short, connection closed", _once(Point.BODY, Deed.CLOSE), _IN_THE_BODY),
    Row("answer's body comes twice", struck(Fault(doubled=True), FINE), _AFTER_IT_IS_DONE),
    *(
        Row(
            f"a gateway answers {status} with a page and `Retry-After`, after the request was handled",
            struck(Fault(page=status), FINE),
            _AFTER_IT_IS_DONE,
        )
        for status in (500, 502, 503, 504)
    ),
    Row(
        "silence once the connection is made",
        _once(Point.ACCEPT, Deed.SILENCE),
        (_unknown(0, When.DEADLINE), *[_late(0)] * 3, *[_got(1, When.AFTER_DEADLINE)] * 2),
    ),
    Row(
        "silence instead of an answer, after the request was handled",
        _once(Point.REQUEST, Deed.SILENCE),
        (_unknown(1, When.DEADLINE), *[_late(1)] * 3, *[_got(2, When.AFTER_DEADLINE)] * 2),
    ),
    Row(
        "silence in the answer's body",
        _once(Point.BODY, Deed.SILENCE),
        (_unknown(1, When.DEADLINE), *[_late(1)] * 2, *[_got(2, When.AFTER_DEADLINE)] * 3),
    ),
    Row(
        "half-open: the peer of a kept connection vanished silently",
        struck(Fault(at=Point.REQUEST_HEAD, deed=Deed.SILENCE, kept=True), FINE, warm=True),
        (_got(1), *[_late(0)] * 3, *[_got(1, When.AFTER_DEADLINE)] * 2),
    ),
    Row(
        "stale: a kept connection is reset just as the request comes",
        struck(Fault(at=Point.REQUEST_HEAD, kept=True), FINE, warm=True),
        _all_got(),
    ),
    Row(
        "stale: a kept connection is closed (FIN) just as the request comes",
        struck(Fault(at=Point.REQUEST_HEAD, deed=Deed.CLOSE, kept=True), FINE, warm=True),
        _all_got(),
    ),
    Row(
        "the answer to the call before comes again, 20 ms later, on the connection that is kept", repeating, _all_got()
    ),
    Row("the service dies and comes back", restarting, _all_got(When.BACK), in_turn=True),
    Row("the host name is not resolved", resolving(1), _all_got()),
)
"""Faults that strike once: the first request, and of a session the first poll."""

_ALWAYS_BEFORE: Cells = (_unknown(0), *[_broken(0)] * 3, *[_failed(0)] * 2)
_ALWAYS_AFTER: Cells = (_unknown(1), *[_broken(3)] * 3, *[_failed(3)] * 2)
_ALWAYS_IN_THE_BODY: Cells = (_unknown(1), _broken(3), _broken(1), _got(7), *[_failed(3)] * 2)

LASTING = (
    Row("reset as soon as the connection is made", _always(Point.ACCEPT), _ALWAYS_BEFORE),
    Row("reset after the request's head", _always(Point.REQUEST_HEAD), _ALWAYS_BEFORE),
    Row("reset before the answer, after the request was handled", _always(Point.REQUEST), _ALWAYS_AFTER),
    Row("reset after the status line", _always(Point.STATUS_LINE), _ALWAYS_AFTER),
    Row(
        "reset after the answer's head",
        _always(Point.HEAD),
        (_unknown(1), _broken(3), _broken(1), _broken(3), *[_failed(3)] * 2),
    ),
    Row("reset in the answer's body, three quarters came", _always(Point.BODY), _ALWAYS_IN_THE_BODY),
    Row("reset after the answer", _always(Point.ANSWER), _all_got()),
    Row(
        "answer cut short after three quarters, connection closed", _always(Point.BODY, Deed.CLOSE), _ALWAYS_IN_THE_BODY
    ),
    Row("answer's body comes twice", struck(Fault(doubled=True)), _ALWAYS_AFTER),
    Row(
        "silence once the connection is made",
        _always(Point.ACCEPT, Deed.SILENCE),
        (_unknown(0, When.DEADLINE), *[_late(0)] * 3, *[_failed(0, When.AFTER_DEADLINES)] * 2),
    ),
    Row(
        "silence instead of an answer, after the request was handled",
        _always(Point.REQUEST, Deed.SILENCE),
        (_unknown(1, When.DEADLINE), *[_late(1)] * 3, *[_failed(3, When.AFTER_DEADLINES)] * 2),
    ),
    Row(
        "silence in the answer's body, three quarters came",
        _always(Point.BODY, Deed.SILENCE),
        (
            _unknown(1, When.DEADLINE),
            *[_late(1)] * 2,
            _got(6, When.AFTER_DEADLINES, fruitless=5),
            *[_failed(3, When.AFTER_DEADLINES)] * 2,
        ),
    ),
    Row(
        "black hole: packets vanish, no connection can be made",
        unreachable,
        (*[Cell("`RequestTimeoutError` (not sent)", 0, When.CONNECT_LIMIT)] * 5, _failed(0, When.CONNECT_LIMIT)),
    ),
    Row(
        "stale: each kept connection is reset just as a request comes",
        struck(Fault(at=Point.REQUEST_HEAD, kept=True), warm=True),
        _all_got(),
    ),
    Row(
        "each connection is closed after its first answer",
        struck(Fault(at=Point.ANSWER, deed=Deed.CLOSE), warm=True),
        _all_got(),
    ),
    Row("10 KB/s", struck(Fault(bytes_per_second=LINK_SPEED)), _all_got(When.LINK), in_turn=True),
    Row("latency of 10 to 30 ms a piece", struck(Fault(latency=2 * LEAST_DELAY)), _all_got(When.LINK)),
    Row("the host name is not resolved", resolving(-1), _ALL_UNSENT),
    Row("TLS: valid certificate", certified(), _all_got()),
    Row("TLS: certificate of another host", certified("akapulu.example"), _ALL_UNSENT),
    Row("TLS: certificate expired", certified(expired=True), _ALL_UNSENT),
    Row("TLS: certificate of an unknown authority", certified(known=False), _ALL_UNSENT),
)
"""Faults that strike each time."""
