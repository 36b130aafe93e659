"""Faults hit the requests they are meant for."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.answers import json_answer
from akapulu_async.simulator.faults import Fault, FaultBook
from akapulu_async.simulator.requests import Match

ID = "33333333-3333-4333-8333-333333333333"
UPDATES = Match("updates", ID)


def hits(book: Any, requests: Any) -> Any:
    return [book.select(where) is not None for where in requests]


def test_by_default_a_fault_hits_once() -> None:
    """A fault hits the next request and is then spent."""
    book = FaultBook(Random(1))
    handle = book.add(Fault(status=500))
    assert hits(book, [UPDATES, UPDATES]) == [True, False]
    assert (book.handles, handle.hits) == ((), 1)


def test_a_fault_selects_by_route_and_conversation() -> None:
    """Requests of other routes or conversations pass and are not counted."""
    book = FaultBook(Random(1))
    book.add(Fault(route="updates", conversation_id=ID.upper(), status=500))
    other = Match("updates", "44444444-4444-4444-8444-444444444444")
    assert hits(book, [Match("connect"), Match("detail", ID), other, UPDATES]) == [False] * 3 + [True]


@given(st.integers(0, 5), st.integers(1, 5))
def test_after_and_times(after: int, times: int) -> None:
    """The first `after` requests pass, the next `times` are hit, the rest pass."""
    book = FaultBook(Random(1))
    book.add(Fault(status=500, after=after, times=times))
    assert hits(book, [UPDATES] * 12) == ([False] * after + [True] * times + [False] * 12)[:12]


def test_none_hits_until_it_is_removed() -> None:
    """With `times=None` a fault lasts until it is removed; removing it twice does no harm."""
    book = FaultBook(Random(1))
    handle = book.add(Fault(status=500, times=None))
    assert all(hits(book, [UPDATES] * 100))
    handle.remove()
    handle.remove()
    assert not any(hits(book, [UPDATES] * 3))


def test_a_rate_is_drawn_from_the_seed() -> None:
    """A rate hits about its share of requests, without end, and repeats with the seed."""
    runs = []
    for _ in range(2):
        book = FaultBook(Random(3))
        book.add(Fault(status=500, rate=0.25))
        runs.append(hits(book, [UPDATES] * 1000))
    assert runs[0] == runs[1]
    assert 200 < sum(runs[0]) < 300


def test_a_request_meets_one_fault() -> None:
    """The fault added first hits first; the second follows when that is spent."""
    book = FaultBook(Random(1))
    first, second = book.add(Fault(status=500)), book.add(Fault(status=501))
    assert [book.select(UPDATES), book.select(UPDATES)] == [first.fault, second.fault]
    book.add(Fault(status=500))
    book.clear()
    assert book.select(UPDATES) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "must do something"),
        ({"route": "updates", "times": 3}, "must do something"),
        ({"route": "nowhere", "status": 500}, "route must be one of"),
        ({"status": 99}, "status"),
        ({"status": 500, "times": 0}, "times"),
        ({"status": 500, "rate": 2}, "rate"),
        ({"delay": 0}, "delay must be a number above 0"),
        ({"reset": "later"}, "reset must be one of before, after"),
        ({"truncate_at": -1}, "truncate_at"),
        ({"status": 500, "colour": "red"}, "no field 'colour'"),
        ({"status": 500, "content_type": 5}, "content_type"),
        ({"status": 500, "conversation_id": "x"}, "conversation_id: 'x' is not a UUID"),
        ({"content_type": "a\r\nb"}, "content_type must be a text"),
        ({"headers": {"X-A": 5}}, "X-A must be a text"),
        ({"headers": []}, "headers must map"),
        ({"reset": "after", "truncate_at": 3}, "reset and truncate_at exclude each other"),
        ({"reset": "after", "bytes_per_second": 3}, "reset and bytes_per_second"),
        ({"reset": "after", "status": 500}, "reset and status"),
        ({"reset": "before", "headers": {"X-A": "1"}}, "reset and headers"),
        ({"status": 204, "body": "x"}, "status 204 and body exclude each other"),
        ({"status": 304, "truncate_at": 0}, "status 304 and truncate_at"),
        ({"truncate_at": 1, "headers": {"content-length": "9"}}, "truncate_at and a Content-Length"),
        ({"route": "connect", "status": 500, "conversation_id": ID}, "conversation_id: requests to connect"),
        ({"route": "storage", "status": 500, "conversation_id": ID}, "conversation_id: requests to storage"),
        ({"body": {"a": {1}}}, "body must be bytes, text or another JSON value"),
        ({"body": "\ud800"}, "body must be"),
        ({"body_base64": "?"}, "body_base64 must be"),
        ({"body_base64": "AA==", "body": "x"}, "body and body_base64 exclude each other"),
    ],
)
def test_faults_that_cannot_be_are_refused(fields: Any, message: str) -> None:
    """A fault without effect, out of range or misspelt raises ValueError naming the field."""
    with pytest.raises(ValueError, match=message):
        Fault.from_json(fields)


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (Fault(body="<html>"), 200, "application/json", b"<html>"),
        (Fault(body="<html>", content_type="text/html"), 200, "text/html", b"<html>"),
        (Fault(status=503, body={"a": 1}), 503, "application/json", b'{"a": 1}'),
        (Fault(status=204), 204, "application/json", b""),
        (Fault(body=b"\xff"), 200, "application/json", b"\xff"),
    ],
)
def test_made_up_answers(fault: Any, status: int, content_type: str, body: Any) -> None:
    """An answer can be made of bytes, text or JSON, with any status and type."""
    answer = fault.answer()
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (status, content_type, body)


def test_an_error_status_alone_gets_the_services_form() -> None:
    """Without a body, an error has `error` and `error_code`."""
    body = Fault(status=503).answer().body
    assert isinstance(body, bytes)
    assert json.loads(body)["error_code"] == "SCRIPTED_FAULT"


def test_true_answers_can_be_distorted() -> None:
    """Headers and content type of the true answer are replaced; the body stays."""
    fault = Fault(content_type="text/html", headers={"X-A": "1"})
    true = json_answer({"a": 1})
    distorted = fault.distort(true)
    assert not fault.made_up
    assert (distorted.headers, distorted.body) == ({"Content-Type": "text/html", "X-A": "1"}, true.body)


def test_a_fault_as_json_and_back() -> None:
    """`from_json` restores what `to_json` gave."""
    for fault in (
        Fault(route="updates", status=503, headers={"Retry-After": "1"}, rate=0.5),
        Fault(status=503, times=None),
        Fault(rate=0.5, times=3, delay=1, conversation_id=ID),
        Fault(body=b"\xff\x00"),
        Fault(body={"a": [1]}),
    ):
        assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault


def test_headers_replace_those_of_their_name() -> None:
    """A header replaces the answer's, whatever its case."""
    fault = Fault(status=503, headers={"content-type": "text/html"})
    assert fault.answer().headers == {"content-type": "text/html"}
    assert Fault(headers={"CONTENT-TYPE": "a"}).distort(json_answer(1)).headers == {"CONTENT-TYPE": "a"}
