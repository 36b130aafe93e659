"""Every reader turns any bytes into a model or an error of the library."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robustness.fuzzing.targets import ID, KEY, TARGETS, answer_of

CORPUS = Path(__file__).parent / "corpus"
SEEDS = {name: [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] for name in TARGETS}

# Bytes that decoders and parsers often misread.
STRANGE = (
    b"\xff", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"\x00", b"\x1b[2J", b"\\ud800", b"1e400", b"NaN",
    b"9" * 5000, b"[" * 300, b"{", b"}", b'"', b"null", b"-0", b"://", b"..", b"%00", b"@", KEY.reveal().encode(),
)  # fmt: skip


def test_every_target_has_a_corpus() -> None:
    """Each target has examples, and there are no others."""
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert all(SEEDS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    """The examples pass, among them those that once failed."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return an example with parts replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        first, last = sorted(draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
        last = draw(st.sampled_from([last, first, min(first + 1, last)]))
        data = data[:first] + draw(st.sampled_from(STRANGE) | st.binary(max_size=8)) + data[last:]
    return data


@pytest.mark.parametrize("name", TARGETS)
@given(st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    """Changed examples and random bytes pass."""
    TARGETS[name](data.draw(st.binary(max_size=200) | changed(SEEDS[name])))


BAD = b'200\n\n{"id": "%s"}' % ID.encode()


def test_another_exception_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target fails if a reader raises an error that is not the library's."""
    monkeypatch.setattr("akapulu_async.sansio.http.excerpt", lambda *_: [].pop())
    with pytest.raises(IndexError):
        TARGETS["detail"](BAD)


@pytest.mark.parametrize("problem", [KEY.reveal(), "x" * 10_000, "\ud800"], ids=["key", "long", "surrogate"])
def test_a_bad_error_fails(monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    """A target fails if an error contains the key, is too long, or cannot be encoded for a log."""
    monkeypatch.setattr("akapulu_async.sansio.http.excerpt", lambda *_: problem)
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        TARGETS["detail"](BAD)


def test_answers_are_read_as_they_look() -> None:
    """An answer is parsed into status, headers and body; other bytes are a 200 without a body."""
    response = answer_of(b"404\nRetry-After:  5\nX: \xff\n\n{}\n\n")
    assert (response.status, response.headers, response.body) == (404, {"retry-after": "5", "x": "\udcff"}, b"{}\n\n")
    assert answer_of(b"\xff") == answer_of(b"")
    assert answer_of(b"").status == 200
