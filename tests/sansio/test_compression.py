"""Compressed answers, decoded within bounds."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.sansio.compression import MAX_MEMBERS, decompress

LIMIT = 1000
TEXT = b'{"error": "No"}'


def bare(body: bytes) -> bytes:
    """Return a deflate stream without the zlib format around it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


FORMATS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip", gzip.compress),
    (" identity , gzip,", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare),
]
formats = pytest.mark.parametrize(("encoding", "compress"), FORMATS)


@formats
@given(st.binary(max_size=LIMIT))
def test_compressed_bodies_come_back(encoding: str, compress: Callable[[bytes], bytes], body: bytes) -> None:
    """Each format gives the body back, the empty one and one as long as the limit included."""
    assert decompress(compress(body), encoding, len(body)) == body


@formats
def test_a_longer_body_is_refused(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """One byte more than the limit is refused."""
    assert decompress(compress(bytes(LIMIT)), encoding, LIMIT) == bytes(LIMIT)
    assert decompress(compress(bytes(LIMIT + 1)), encoding, LIMIT) is None


@formats
def test_a_part_is_refused(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A body that is cut off anywhere is refused."""
    whole = compress(TEXT)
    assert [end for end in range(len(whole)) if decompress(whole[:end], encoding, LIMIT) is not None] == []


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "identity", "", "gzip;q=1"])
def test_other_compressions_are_refused(encoding: str) -> None:
    """Only one gzip or one deflate is decoded."""
    assert decompress(gzip.compress(TEXT), encoding, LIMIT) is None


def test_members_are_joined() -> None:
    """A gzip stream of several members, and with zeros after them, is one body, within one limit."""
    members = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(TEXT) + bytes(100)
    assert decompress(members, "gzip", 2 * len(TEXT)) == TEXT + TEXT
    assert decompress(members, "gzip", 2 * len(TEXT) - 1) is None
    assert decompress(gzip.compress(TEXT) + b"rest", "gzip", LIMIT) is None


def test_members_are_limited() -> None:
    """A stream of very many members, each of which costs time, is refused."""
    assert decompress(gzip.compress(b"a") * MAX_MEMBERS, "gzip", LIMIT) == b"a" * MAX_MEMBERS
    assert decompress(gzip.compress(b"a") * (MAX_MEMBERS + 1), "gzip", LIMIT) is None


@given(st.binary(), st.sampled_from([encoding for encoding, _ in FORMATS]))
def test_any_bytes(body: bytes, encoding: str) -> None:
    """Any bytes give a body within the limit, or None."""
    plain = decompress(body, encoding, LIMIT)
    assert plain is None or len(plain) <= LIMIT
