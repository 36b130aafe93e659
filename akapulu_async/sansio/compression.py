"""Decode answers that a gateway compressed although nobody asked for it, bounded in size and time."""

import zlib

MAX_MEMBERS = 64
"""Most members of a gzip stream. Gateways write one; each further one copies the rest of the body."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes | None:
    """Return the body without its compression.

    Args:
        body: What arrived. Its length bounds the time that this takes.
        encoding: The header `Content-Encoding`: `gzip` or `deflate`, once.
        limit: Most bytes that are decompressed.

    Returns None if the compression is another one, the body is damaged or cut off, or it is longer than the limit.
    """
    match [name for part in encoding.lower().split(",") if (name := part.strip()) not in {"", "identity"}]:
        case ["gzip" | "x-gzip"]:
            return _gunzip(body, limit)
        case ["deflate"]:
            # The standard's zlib format, or the bare stream that some servers send.
            plain = _inflate(body, zlib.MAX_WBITS, limit)
            plain = _inflate(body, -zlib.MAX_WBITS, limit) if plain is None else plain
            return plain and plain[0]
    return None


def _gunzip(body: bytes, limit: int) -> bytes | None:
    pieces, left = [], limit
    for _ in range(MAX_MEMBERS):
        member = _inflate(body, zlib.MAX_WBITS + 16, left)
        if member is None:
            return None
        piece, rest = member
        pieces.append(piece)
        left -= len(piece)
        body = rest.lstrip(b"\0")  # padding
        if not body:
            return b"".join(pieces)
    return None


def _inflate(body: bytes, window: int, limit: int) -> tuple[bytes, bytes] | None:
    """Return a stream's content and what follows the stream; None if it is damaged, cut off or too long."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        return None
    return (plain, stream.unused_data) if stream.eof and len(plain) <= limit else None
