"""The storage host serves signed URLs and nobody's key."""

import struct
import zlib
from random import Random
from typing import Any

import pytest

from akapulu_async.simulator.storage import Storage

ID = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def storage() -> Any:
    return Storage(Random(1), url_lifetime=100, ranges=True)


def test_a_signed_url_leads_to_the_recording(storage: Any) -> None:
    """The bytes come with type, file name and ETag, until the URL expires."""
    url = storage.recording_url(ID, 500, now=10)
    answer = storage.answer("GET", url, {}, now=110)
    assert (answer.status, answer.size, answer.headers["Content-Type"]) == (200, 500, "audio/wav")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="conversation-{ID}.wav"'
    expired = storage.answer("GET", url, {}, now=110.1)
    assert (expired.status, b"URL_EXPIRED" in expired.body) == (403, True)


def test_credentials_are_refused_and_counted(storage: Any) -> None:
    """A request with `Authorization` gets 400, even with a good URL."""
    url = storage.recording_url(ID, 500, now=0)
    assert storage.answer("GET", url, {"Authorization": "Bearer k"}, now=0).status == 400
    assert storage.answer("GET", url, {}, now=0).status == 200
    assert storage.leaked_credentials == 1


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [("-500.wav", "-900.wav", 403), ("expires=1", "expires=9", 403), ("&signature=", "&signature=0", 404),
     ("/recordings/", "/secrets/", 404)],
)  # fmt: skip
def test_urls_cannot_be_changed(storage: Any, old: str, new: str, status: int) -> None:
    """Another size, expiry or path than the signed one is refused."""
    url = storage.recording_url(ID, 500, now=0)
    assert old in url
    assert storage.answer("GET", url.replace(old, new), {}, now=0).status == status


def test_only_reading(storage: Any) -> None:
    """Other methods than GET and HEAD get 405."""
    answer = storage.answer("PUT", storage.recording_url(ID, 500, now=0), {}, now=0)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_picture_is_a_png(storage: Any) -> None:
    """An avatar's picture is a whole PNG of 64 by 64."""
    answer = storage.answer("GET", storage.image_url(ID, now=0), {}, now=0)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.body.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">2I", answer.body[16:24]) == (64, 64)
    data = answer.body[answer.body.index(b"IDAT") + 4 :]
    assert len(zlib.decompressobj().decompress(data)) == 64 * (1 + 64 * 3)
