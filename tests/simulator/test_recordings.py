"""Recordings play, and are read from any byte."""

import io
import struct
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.recordings import FORMATS, LARGEST, wav_size


def boxes(data: bytes) -> list[tuple[str, int]]:
    """Return the names and sizes of an MP4 file's boxes. Raises an error unless they fill the file exactly."""
    found, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        found.append((name.decode(), size))
        at += size
    assert at == len(data)
    return found


@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_a_video_plays(more: int) -> None:
    """A video has a picture and a sound track, is padded to its size, and starts before it has arrived whole."""
    size = FORMATS["mp4"].smallest + more
    data = FORMATS["mp4"].make(size).read(0, LARGEST)
    assert len(data) == size
    assert [name for name, _ in boxes(data)] == ["ftyp", "moov", "free", "mdat", "free"]
    assert b"avc1" in data
    assert b"mp4a" in data
    assert b"Lavf" not in data
    assert size - more < 10_000


def test_a_tone_plays() -> None:
    """The standard library reads it: two seconds of a quiet tone."""
    with wave.open(io.BytesIO(FORMATS["wav"].make(wav_size(2)).read(0, LARGEST))) as file:
        assert file.getnframes() == 2 * file.getframerate()
        samples = file.readframes(file.getnframes())
    assert len(samples) == 16_000
    assert 100 < min(samples) < 128 < max(samples) < 150


@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 3000), st.integers(0, 12_000), st.integers(0, 12_000))
def test_any_piece_is_the_same_as_in_the_whole(kind: str, more: int, offset: int, length: int) -> None:
    """Any piece equals that part of the whole."""
    size = FORMATS[kind].smallest + more
    file = FORMATS[kind].make(size)
    whole = file.read(0, size)
    assert len(whole) == size
    assert file.read(offset, length) == whole[offset : offset + length]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_largest_is_made_on_demand(kind: Any) -> None:
    """The end of a 4 GiB recording is read without making the rest."""
    assert len(FORMATS[kind].make(LARGEST).read(LARGEST - 10, 100)) == 10
    assert wav_size(1e9) == LARGEST
