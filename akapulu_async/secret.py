"""Secrets that do not show themselves, and masking of texts that may contain some. Imports nothing of ours."""

import hmac
import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn, Self, final
from urllib.parse import quote

MASK = "***"

# Patterns are texts, which `re` compiles when first needed: few programs need all, and each would slow the import.
# The first two also match other texts, but without their group: else each `eyJ` of a long run would be scanned to its
# end.
_JWT = r"(?a)eyJ[\w-]++(\.[\w-]*){0,4}"
_JWT_BEGINNING = r"(?a)eyJ[\w-]*+(\Z)?"
_BEARER = r"(?i)\b(bearer\s+)[^\s\"',;}]+"
# A value ends with its opening quote: `"`, `'`, or `\"` in JSON within JSON.
_MEMBER = (
    r"""(?is)((?:token|api[_-]?key|secret|password|authorization)\\?["']"""
    r"""\s*:\s*(\\?["']))(?:(?!\2)(?:\\.|.))*"""
)
# `&` may be escaped as in HTML (`&amp;`) or in JSON (`\u0026`).
_QUERY = (
    r"(?i)((?:[?&;#]|\\u0026)"
    r"(?:t|key|sig|policy|[\w-]*(?:token|signature|secret|password|api[_-]?key)|x-(?:amz|goog)-[\w-]+)=)[^&\s\"']+"
)


@final
class Secret:
    """A text that is not shown by accident: `str()`, `repr()` and formatting give `***`.

    It compares in constant time, and cannot be pickled, since others may read a pickle.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Keep it out of logs and browsers."""
        return self._text

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; pass the text that reveal() returns, if the receiver may know it")


def _bytes(text: str) -> bytes:
    # JSON may contain a lone surrogate, and the error of a strict encoding would hold the whole text.
    return text.encode("utf-8", "surrogatepass")


def redact(text: str, secrets: Collection[Secret] = ()) -> str:
    """Return the text with the given secrets, and anything that looks like a credential, masked."""
    # Longest first: a secret may be part of another.
    for form in sorted(_forms(secrets), key=len, reverse=True):
        text = text.replace(form, MASK)
    text = re.sub(_JWT, lambda match: match[0] if match[1] is None else MASK, text)
    for pattern in (_BEARER, _MEMBER, _QUERY):
        text = re.sub(pattern, rf"\g<1>{MASK}", text)
    return text


def _forms(secrets: Collection[Secret]) -> Iterator[str]:
    """Yield the secrets as written in plain text, in JSON that escapes slashes, in a URL and in HTML."""
    for text in filter(None, (secret.reveal() for secret in secrets)):
        yield from (text, text.replace("/", "\\/"), quote(text, safe="", errors="replace"))
        # Not with the html module: its thousands of names would slow the import.
        page = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for double, single in (('"', "'"), ("&quot;", "&#x27;"), ("&#34;", "&#39;")):
            yield page.replace('"', double).replace("'", single)


def excerpt(text: str, secrets: Collection[Secret] = (), limit: int = 200) -> str:
    """Return the beginning of a text on one line, for people, with secrets masked.

    Args:
        text: Anything that a peer sent.
        secrets: Secrets to mask.
        limit: Maximum number of characters.
    """
    # Cut twice: masking a long text would be slow, and a cut must not leave half a secret, which no pattern matches.
    whole = len(text) <= limit * 20
    clean = redact(text, secrets) if whole else _without_half(redact(text[: limit * 20], secrets), secrets)
    line = "".join(character if character.isprintable() else " " for character in clean)
    line = " ".join(line.split())
    return line if len(line) <= limit and whole else f"{line[: limit - 1]}…"


def _without_half(beginning: str, secrets: Collection[Secret]) -> str:
    """Return the beginning of a longer text without the partial secret that it may end with."""
    for form in _forms(secrets):
        half = next((end for end in range(len(form) - 1, 0, -1) if beginning.endswith(form[:end])), 0)
        beginning = beginning[: len(beginning) - half]
    return re.sub(_JWT_BEGINNING, lambda match: match[0] if match[1] is None else "", beginning)
