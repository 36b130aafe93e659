"""Recordings are playable, and can be read from anywhere."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.wav import LARGEST, SMALLEST, Wav, size_of


def test_a_recording_plays() -> None:
    """The standard library reads it: two seconds of a tone that is neither silent nor loud."""
    with wave.open(io.BytesIO(Wav(size_of(2)).read(0, LARGEST))) as file:
        assert file.getnframes() == 2 * file.getframerate()
        samples = file.readframes(file.getnframes())
    assert len(samples) == 16_000
    assert 100 < min(samples) < 128 < max(samples) < 150


@given(st.integers(SMALLEST, 3000), st.integers(0, 3500), st.integers(0, 3500))
def test_any_piece_is_the_same_as_in_the_whole(size: int, offset: int, length: int) -> None:
    """Reading a piece is reading the whole and cutting."""
    file = Wav(size)
    whole = file.read(0, size)
    assert len(whole) == size
    assert file.read(offset, length) == whole[offset : offset + length]


@pytest.mark.parametrize("size", [0, SMALLEST - 1, LARGEST + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    """A file smaller than its header or larger than the format allows cannot be made."""
    with pytest.raises(ValueError, match="bytes"):
        Wav(size)


def test_the_largest_is_made_on_demand() -> None:
    """The end of a 4 GiB recording is read without making the rest."""
    assert len(Wav(LARGEST).read(LARGEST - 10, 100)) == 10
    assert size_of(1e9) == LARGEST
