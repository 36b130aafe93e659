"""Texts that must not be seen, and the cleaning of texts that may contain them. Imports nothing of ours."""

import hmac
import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn, Self, final
from urllib.parse import quote

MASK = "***"

# Texts, which `re` compiles when they are first needed: few programs need all, and an import would wait for each.
# These two also match what is none, but without their group: else each `eyJ` of a long run would be tried to its end.
_JWT = r"(?a)eyJ[\w-]++(\.[\w-]*){0,4}"
_JWT_BEGINNING = r"(?a)eyJ[\w-]*+(\Z)?"
_BEARER = r"(?i)\b(bearer\s+)[^\s\"',;}]+"
# A value ends with the quote that it began with: `"`, `'`, or `\"` where JSON is quoted in JSON.
_MEMBER = (
    r"""(?is)((?:token|api[_-]?key|secret|password|authorization)\\?["']"""
    r"""\s*:\s*(\\?["']))(?:(?!\2)(?:\\.|.))*"""
)
# `&` also as HTML (`&amp;`) and as careful JSON (`\u0026`) write it.
_QUERY = (
    r"(?i)((?:[?&;#]|\\u0026)"
    r"(?:t|key|sig|policy|[\w-]*(?:token|signature|secret|password|api[_-]?key)|x-(?:amz|goog)-[\w-]+)=)[^&\s\"']+"
)


@final
class Secret:
    """A text that shows itself to nobody by accident: `str()`, `repr()` and formatting give `***`.

    It compares in constant time, and refuses to be pickled, since a pickle is a file that others may read.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Keep it out of logs and browsers."""
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
        raise TypeError("a Secret is not pickled; pass what reveal() gives, if the receiver may know it")


def _bytes(text: str) -> bytes:
    # JSON can bear a lone surrogate, and the error of a strict encoding would hold the whole text.
    return text.encode("utf-8", "surrogatepass")


def redact(text: str, secrets: Collection[Secret] = ()) -> str:
    """Return the text with each of the given secrets, and whatever looks like a credential, masked."""
    # The longest first: one secret may be a part of another.
    for form in sorted(_forms(secrets), key=len, reverse=True):
        text = text.replace(form, MASK)
    text = re.sub(_JWT, lambda match: match[0] if match[1] is None else MASK, text)
    for pattern in (_BEARER, _MEMBER, _QUERY):
        text = re.sub(pattern, rf"\g<1>{MASK}", text)
    return text


def _forms(secrets: Collection[Secret]) -> Iterator[str]:
    """Yield how the secrets may be written: as they are, in JSON that escapes slashes, in a URL, and in a page."""
    for text in filter(None, (secret.reveal() for secret in secrets)):
        yield from (text, text.replace("/", "\\/"), quote(text, safe="", errors="replace"))
        # Not by the html module, whose thousands of names an import would wait for.
        page = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for double, single in (('"', "'"), ("&quot;", "&#x27;"), ("&#34;", "&#39;")):
            yield page.replace('"', double).replace("'", single)


def excerpt(text: str, secrets: Collection[Secret] = (), limit: int = 200) -> str:
    """Return the beginning of a text on one line, for people, without secrets.

    Args:
        text: Anything that a peer sent.
        secrets: Texts to mask wherever they stand.
        limit: How many characters to show at the most.
    """
    # Cut twice: cleaning must not cost more than showing, nor may a cut leave half a secret that no rule knows.
    whole = len(text) <= limit * 20
    clean = redact(text, secrets) if whole else _without_half(redact(text[: limit * 20], secrets), secrets)
    line = "".join(character if character.isprintable() else " " for character in clean)
    line = " ".join(line.split())
    return line if len(line) <= limit and whole else f"{line[: limit - 1]}…"


def _without_half(beginning: str, secrets: Collection[Secret]) -> str:
    """Return the clean beginning of a longer text without the part of a secret that it may end in."""
    for form in _forms(secrets):
        half = next((end for end in range(len(form) - 1, 0, -1) if beginning.endswith(form[:end])), 0)
        beginning = beginning[: len(beginning) - half]
    return re.sub(_JWT_BEGINNING, lambda match: match[0] if match[1] is None else "", beginning)
