"""Texts that must not be seen, and the cleaning of texts that may contain them. Imports nothing of ours."""

import hmac
import re
from collections.abc import Iterable
from typing import Any, NoReturn, Self, final

MASK = "***"

_JWT = re.compile(r"\beyJ[\w-]+(\.[\w-]*){1,4}", re.ASCII)
_BEARER = re.compile(r"\b(bearer\s+)[^\s\"',;}]+", re.IGNORECASE)
_MEMBER = re.compile(
    r"""(["'](?:[\w-]*token|api_?key|secret|password|authorization)\\?["']\s*:\s*\\?["'])[^"'\\]*""", re.IGNORECASE
)
_QUERY = re.compile(
    r"([?&](?:t|token|key|api_?key|sig|signature|policy|x-(?:amz|goog)-[\w-]+)=)[^&\s\"']+", re.IGNORECASE
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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; pass what reveal() gives, if the receiver may know it")


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return the text with each of the given secrets, and whatever looks like a credential, masked."""
    for secret in secrets:
        text = text.replace(secret.reveal(), MASK)
    text = _JWT.sub(MASK, text)
    for pattern in (_BEARER, _MEMBER, _QUERY):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def excerpt(text: str, secrets: Iterable[Secret] = (), limit: int = 200) -> str:
    """Return the beginning of a text on one line, for people, without secrets.

    Args:
        text: Anything that a peer sent.
        secrets: Texts to mask wherever they stand.
        limit: How many characters to show at the most.
    """
    # Cut twice: cleaning must not cost more than showing, nor may a cut leave half a secret that no rule knows.
    clean = redact(text[: limit * 20], secrets)
    line = "".join(character if character.isprintable() else " " for character in clean)
    line = " ".join(line.split())
    return line if len(line) <= limit else f"{line[:limit]}…"
