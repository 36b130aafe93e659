"""The storage host: signed URLs, and the files behind them. Pure."""

import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Mapping
from random import Random

from akapulu_async.simulator.answers import Answer, file_answer, refusal_answer
from akapulu_async.simulator.refusals import Refusal, RefusedError
from akapulu_async.simulator.wav import Wav

__all__ = ["Storage", "recording_answer"]

_TARGET = re.compile(
    r"(?P<path>/(?P<folder>recordings|avatars)/(?P<id>[0-9a-f-]{36})(?:-(?P<size>[0-9]{1,10}))?\.(?:wav|png))"
    r"\?expires=(?P<expires>[0-9]{1,12}\.[0-9]{3})&signature=(?P<signature>[0-9a-f]{64})"
)
_IMAGE_SIDE = 64  # pixels


class Storage:
    """Serves whoever bears a URL that it signed, and refuses the API key.

    The key must never come here (documented).

    Attributes:
        leaked_credentials: how many requests bore an `Authorization` header.

    """

    def __init__(self, rng: Random, *, url_lifetime: float, ranges: bool) -> None:
        self.base_url = ""
        self.leaked_credentials = 0
        self._secret = rng.randbytes(32)
        self._lifetime = url_lifetime
        self._ranges = ranges

    def recording_url(self, identifier: str, size: int, now: float) -> str:
        """Return a URL under which a recording can be had until the lifetime of signed URLs is over."""
        return self._sign(f"/recordings/{identifier}-{size}.wav", now)

    def image_url(self, identifier: str, now: float) -> str:
        """Return a URL under which an avatar's picture can be had."""
        return self._sign(f"/avatars/{identifier}.png", now)

    def answer(self, method: str, target: str, headers: Mapping[str, str], now: float) -> Answer:
        """Answer a request for a file."""
        if "Authorization" in headers:
            self.leaked_credentials += 1
            return refusal_answer(
                Refusal(400, "AUTHORIZATION_NOT_WANTED", "A signed URL must be asked without credentials.")
            )
        if method not in {"GET", "HEAD"}:
            return refusal_answer(
                Refusal(405, "METHOD_NOT_ALLOWED", f"{method} is not allowed."), {"Allow": "GET, HEAD"}
            )
        try:
            found = self._check(target, now)
        except RefusedError as refused:
            return refusal_answer(refused.refusal)
        if found["folder"] == "avatars" or found["size"] is None:
            return Answer(200, {"Content-Type": "image/png"}, _picture(found["id"]))
        return recording_answer(found["id"], int(found["size"]), headers, ranges=self._ranges)

    def _check(self, target: str, now: float) -> re.Match[str]:
        found = _TARGET.fullmatch(target)
        if found is None:
            raise RefusedError(Refusal(404, "NOT_FOUND", "Nothing is here."))
        signature = self._signature(found["path"], found["expires"])
        if not hmac.compare_digest(signature, found["signature"]):
            raise RefusedError(Refusal(403, "SIGNATURE_INVALID", "The signature does not fit the URL."))
        if float(found["expires"]) < now:
            raise RefusedError(Refusal(403, "URL_EXPIRED", "The signed URL has expired; ask the API for a new one."))
        return found

    def _sign(self, path: str, now: float) -> str:
        expires = f"{now + self._lifetime:.3f}"
        return f"{self.base_url}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path} {expires}".encode(), hashlib.sha256).hexdigest()


def recording_answer(identifier: str, size: int, headers: Mapping[str, str], *, ranges: bool) -> Answer:
    """Answer with the bytes of a recording."""
    file_headers = {
        "Content-Type": "audio/wav",
        "Content-Disposition": f'attachment; filename="conversation-{identifier}.wav"',
    }
    return file_answer(Wav(size), headers, file_headers, etag=f'"{identifier}-{size}"', ranges=ranges)


def _picture(identifier: str) -> bytes:
    """Return a PNG in the one colour that belongs to an avatar."""
    colour = hashlib.sha256(identifier.encode()).digest()[:3]
    rows = (b"\0" + colour * _IMAGE_SIDE) * _IMAGE_SIDE
    shape = struct.pack(">2I5B", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", shape), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
