"""Recordings: files of any size that play, read from any byte without being made first. Pure.

`recording.mp4` is two seconds of H.264 and AAC, made with ffmpeg 5.1:

    ffmpeg -f lavfi -i testsrc=size=160x90:rate=5:duration=2 -f lavfi -i sine=sample_rate=16000:duration=2 \
        -c:v libx264 -preset veryslow -crf 40 -pix_fmt yuv420p -c:a aac -b:a 8k -filter:a volume=0.1 \
        -movflags +faststart -fflags +bitexact -flags:v +bitexact -flags:a +bitexact recording.mp4
"""

import io
import math
import struct
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import frozen

__all__ = ["FORMATS", "LARGEST", "File", "Format", "RecordingFormat", "wav_size"]

RecordingFormat: TypeAlias = Literal["mp4", "wav"]
"""The type of a recording. The service's recordings are videos (documented); which type is not published."""

LARGEST = 2**32 - 1
"""Size in bytes: the limit of the formats."""

_MP4 = Path(__file__).with_name("recording.mp4").read_bytes()
_BOX_HEADER_SIZE = 8
_PADDING = bytes(1024)

_SAMPLE_RATE = 8000  # Hz, 8-bit mono: one byte per sample
_PERIOD = 200  # samples: 11 waves of 440 Hz, after which the tone repeats itself
_LOUDNESS = 12  # of 127: quiet
_SILENCE = 128  # 8-bit WAV samples are unsigned
_WAV_HEADER_SIZE = 44
_TONE = bytes(_SILENCE + round(_LOUDNESS * math.sin(2 * math.pi * 11 * sample / _PERIOD)) for sample in range(_PERIOD))


@frozen
class File:
    """A head, then a pattern that is repeated up to the size in bytes. Only these two are in memory."""

    head: bytes
    pattern: bytes
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, starting at `offset`; fewer at the end of the file."""
        end = min(self.size, offset + length)
        head = self.head[offset:end]
        first = max(0, offset - len(self.head))
        count = end - len(self.head) - first
        if count <= 0:
            return head
        shift = first % len(self.pattern)
        repeats = (shift + count) // len(self.pattern) + 1
        return head + (self.pattern * repeats)[shift : shift + count]


@frozen
class Format:
    """A type of recording: its media type, its smallest size in bytes, and how a file of a size is made."""

    content_type: str
    smallest: int
    make: Callable[[int], File]


def wav_size(seconds: float) -> int:
    """Return the size in bytes of a WAV file of `seconds`, at most `LARGEST`."""
    return min(LARGEST, _WAV_HEADER_SIZE + round(seconds * _SAMPLE_RATE))


def _mp4(size: int) -> File:
    """Return the video, followed by a box that players skip."""
    return File(_MP4 + struct.pack(">I4s", size - len(_MP4), b"free"), _PADDING, size)


def _wav(size: int) -> File:
    """Return a quiet tone."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 1, _SAMPLE_RATE, size - _WAV_HEADER_SIZE, "NONE", "not compressed"))
        file.writeframesraw(b"")  # the header announces samples that are not written
        return File(buffer.getvalue(), _TONE, size)


FORMATS: Mapping[str, Format] = {
    "mp4": Format("video/mp4", len(_MP4) + _BOX_HEADER_SIZE, _mp4),
    "wav": Format("audio/wav", _WAV_HEADER_SIZE, _wav),
}
