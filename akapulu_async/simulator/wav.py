"""Recordings: a playable WAV of any size, of which any piece is made on demand. Pure."""

import io
import math
import wave

__all__ = ["LARGEST", "SMALLEST", "Wav", "size_of"]

SAMPLE_RATE = 8000  # Hz, of 8-bit mono: a byte a sample
_PERIOD = 200  # samples: 11 waves of 440 Hz, after which the tone repeats itself
_LOUDNESS = 12  # of 127: quiet
_SILENCE = 128  # 8-bit WAV samples are unsigned
_HEADER_SIZE = 44

SMALLEST = _HEADER_SIZE
"""Bytes of a recording without a single sample."""

LARGEST = 2**32 - 1
"""Bytes: the format's own limit."""

_TONE = bytes(_SILENCE + round(_LOUDNESS * math.sin(2 * math.pi * 11 * sample / _PERIOD)) for sample in range(_PERIOD))


def size_of(seconds: float) -> int:
    """Return the bytes of a recording that lasts so many seconds, never more than `LARGEST`."""
    return min(LARGEST, _HEADER_SIZE + round(seconds * SAMPLE_RATE))


class Wav:
    """A quiet tone in a WAV file of exactly `size` bytes.

    It holds the header only; the samples are made when they are read.
    """

    def __init__(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"a recording has {SMALLEST} to {LARGEST} bytes, not {size}")
        self.size = size
        self._header = _header(size - _HEADER_SIZE)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` on; fewer at the end of the file."""
        end = min(self.size, offset + length)
        head = self._header[offset:end]
        first = max(0, offset - _HEADER_SIZE)
        count = end - _HEADER_SIZE - first
        if count <= 0:
            return head
        shift = first % _PERIOD
        repeats = (shift + count) // _PERIOD + 1
        return head + (_TONE * repeats)[shift : shift + count]


def _header(samples: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 1, SAMPLE_RATE, samples, "NONE", "not compressed"))
        file.writeframesraw(b"")  # the header promises the samples; they are not written
        return buffer.getvalue()
