"""Secrets are not shown, and a peer's texts are masked before they are shown."""

import ast
import copy
import html
import json
import logging
import marshal
import pickle
import traceback
from itertools import count
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import secret as module
from akapulu_async.secret import MASK, Secret, excerpt, redact

KEY = "ak_live_0123456789abcdef"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJlLXdpdGgtXy0"

keys = st.text("abcdefXYZ0189_-+/=.:", min_size=8, max_size=60)
words = st.text("ab \n\t<>{}\"':,\x00é", max_size=30)


@attrs.frozen
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(KEY)),
        repr(Secret(KEY)),
        ascii(Secret(KEY)),
        f"{Secret(KEY)} {Secret(KEY)!r} {Secret(KEY)!s} {Secret(KEY):>10}",
        "{} {!r} {:^20}".format(Secret(KEY), Secret(KEY), Secret(KEY)),  # noqa: UP032 - it is the example
        "%s %r %10s" % (Secret(KEY), Secret(KEY), Secret(KEY)),  # noqa: UP031 - it is the example
        json.dumps({"key": Secret(KEY)}, default=str),
        repr(Holder(Secret(KEY))),
        repr([Secret(KEY)]),
        repr(attrs.asdict(Holder(Secret(KEY)))),
        logging.LogRecord("name", logging.INFO, "path", 1, "%s %r", (Secret(KEY), Secret(KEY)), None).getMessage(),
    ],
    ids=count(),
)
def test_it_is_shown_nowhere(shown: str) -> None:
    """Any formatting gives `***`."""
    assert MASK in shown
    assert KEY not in shown


def test_formatting_pads_the_mask() -> None:
    """A format's width applies to the mask."""
    assert f"{Secret(KEY):>6}|" == "   ***|"


def test_a_traceback_with_variables_does_not_show_it() -> None:
    """A traceback with variables shows the mask."""

    def fail(secret: Secret) -> None:
        raise RuntimeError(f"with {secret}")

    try:
        fail(Secret(KEY))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = ***" in shown
    assert KEY not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol: int) -> None:
    """Pickling is refused, with advice."""
    with pytest.raises(TypeError, match=r"not pickled; pass the text that reveal\(\) returns") as caught:
        pickle.dumps([Secret(KEY)], protocol)
    assert KEY not in str(caught.value)


def test_it_is_not_marshalled_nor_written_as_json() -> None:
    """Other serializations are refused too."""
    with pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(Secret(KEY))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(Secret(KEY))


def test_it_has_no_variables() -> None:
    """`vars()` finds nothing, since there is no dictionary."""
    assert not hasattr(Secret(KEY), "__dict__")


@given(st.text(st.characters()), st.text(st.characters()))
def test_equality(one: str, other: str) -> None:
    """Secrets compare and hash by their texts, even those that cannot be encoded."""
    assert Secret(one).reveal() == one
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(str(one))
    assert hash(Secret(one)) == hash(Secret(str(one)))
    assert Secret(one) != one


def test_a_lone_surrogate_is_compared() -> None:
    """Comparing lone surrogates does not fail, which would show the text."""
    assert Secret("\ud800") == Secret("\ud800") != Secret("\ud801")


def test_copies_are_the_same() -> None:
    """Copying a model copies its secret without a pickle."""
    holder = Holder(Secret(KEY))
    assert copy.copy(holder.secret) is holder.secret
    assert copy.deepcopy(holder) == holder


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key {KEY}, again {KEY}", "key ***, again ***"),
        (f"token {JWT} is bad", "token *** is bad"),
        (f"x{JWT}", "x***"),
        ("eyJhbGciOiJub25lIn0.eyJ4IjoxfQ.", "***"),
        ("Authorization: Bearer abc.def/ghi== sent", "Authorization: Bearer *** sent"),
        ("'authorization': 'BEARER   abc'", "'authorization': '***'"),
        ('{"token": "abc", "x": 1}', '{"token": "***", "x": 1}'),
        ('{"token":"abc\\/def\\"ghi", "x": 1}', '{"token":"***", "x": 1}'),
        ('{"token": "it\'s", "x": 1}', '{"token": "***", "x": 1}'),
        ("{'token': 'say \"x\"', 'x': 1}", "{'token': '***', 'x': 1}"),
        ('{"access_token" : "abc"}', '{"access_token" : "***"}'),
        ('{"api_key":"a","apiKey":"b","x-api-key":"c"}', '{"api_key":"***","apiKey":"***","x-api-key":"***"}'),
        ('{"client_secret":"a","password":"b"}', '{"client_secret":"***","password":"***"}'),
        ('"{\\"token\\": \\"abc\\", \\"x\\": 1}"', '"{\\"token\\": \\"***\\", \\"x\\": 1}"'),
        ('{"token": "abc', '{"token": "***'),
        ('ut": 1, my_token": "abc", "x": 1}', 'ut": 1, my_token": "***", "x": 1}'),
        ("https://x.daily.co/r?t=abc&x=1", "https://x.daily.co/r?t=***&x=1"),
        (
            "https://s3/x?X-Amz-Date=1&X-Amz-Signature=ab%2F&response=2",
            "https://s3/x?X-Amz-Date=***&X-Amz-Signature=***&response=2",
        ),
        ("/x?a=1&X-Goog-Signature=ab", "/x?a=1&X-Goog-Signature=***"),
        ("/x?Policy=a&Signature=b&access_token=c", "/x?Policy=***&Signature=***&access_token=***"),
        ("/x?a=1&amp;token=abc", "/x?a=1&amp;token=***"),
        ("/x?a=1\\u0026sig=abc", "/x?a=1\\u0026sig=***"),
        ("/cb#access_token=abc", "/cb#access_token=***"),
        ("a heyday, tokens: 3, ?text=1, bearing up", "a heyday, tokens: 3, ?text=1, bearing up"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    """Only known secrets and texts that look like credentials are masked."""
    assert redact(text, [Secret(KEY)]) == clean


@given(words, words, keys, st.sampled_from(["{}", '{{"token": "{}"}}', "Bearer {}", "https://x/?t={}"]))
def test_redact_masks_a_known_secret_anywhere(before: str, after: str, key: str, form: str) -> None:
    """A known secret is masked wherever it is."""
    assert key not in redact(before + form.format(key) + after, [Secret(key)])


@given(words, words)
def test_redact_masks_a_token_anywhere(before: str, after: str) -> None:
    """A room token is masked although it is not a known secret."""
    clean = redact(before + JWT + after)
    assert not any(part in clean for part in JWT.split("."))


@pytest.mark.parametrize(
    ("text", "key"), [('{"key": "ab\\/cd+ef=="}', "ab/cd+ef=="), ("/login?next=ab%2Fcd%2Bef%3D%3D", "ab/cd+ef==")]
)
def test_redact_knows_how_secrets_are_written(text: str, key: str) -> None:
    """Escaped as in JSON or as in a URL, a known secret is masked as well."""
    clean = redact(text, [Secret(key)])
    assert MASK in clean
    assert "cd" not in clean


@pytest.mark.parametrize(
    "page",
    [
        "a&amp;b&lt;c&gt;d&quot;e&#x27;f-0123",
        "a&amp;b&lt;c&gt;d&#34;e&#39;f-0123",
        """a&amp;b&lt;c&gt;d"e'f-0123""",
        html.escape("""a&b<c>d"e'f-0123"""),
    ],
    ids=count(),
)
def test_redact_knows_how_pages_write_a_secret(page: str) -> None:
    """A secret is masked in HTML too, where some of its characters are escaped."""
    assert redact(f"<p>{page}</p>", [Secret("""a&b<c>d"e'f-0123""")]) == f"<p>{MASK}</p>"


def test_a_secret_within_a_secret() -> None:
    """If one secret is the beginning of another, both are masked whole."""
    assert redact("abcdefgh", [Secret("abc"), Secret("abcdefgh")]) == MASK


def test_an_empty_secret_masks_nothing() -> None:
    """An empty secret, which every text contains, is ignored."""
    assert redact("plain", [Secret("")]) == "plain"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        (" two\r\n\t lines\x00here\ufeff\u202e ", "two lines here"),
        ("half \ud800 a character", "half a character"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("x" + " " * 5000 + "y", "x…"),
    ],
)
def test_excerpt(text: str, shown: str) -> None:
    """An excerpt is the beginning of a text on one line, and shows that it was cut."""
    assert excerpt(text) == shown


@given(st.text(max_size=500), st.integers(1, 30))
def test_excerpts_are_short_lines(text: str, limit: int) -> None:
    """An excerpt never exceeds its limit, and is printable."""
    line = excerpt(text, limit=limit)
    assert len(line) <= limit
    assert line.isprintable()


@given(st.text("KQZ0189_-+/=.", min_size=1, max_size=60), st.sampled_from(' \nx"'), st.integers(0, 260), words)
def test_no_secret_survives_an_excerpt(key: str, fill: str, before: int, after: str) -> None:
    """No character of a secret is shown, even if the text is cut within it."""
    for text in (fill * before + key, fill * before + key + after, fill * before + key + " end" * 100):
        assert not set(key) & set(excerpt(text, [Secret(key)], limit=10))


@given(st.integers(150, 202), st.sampled_from([KEY, JWT]))
def test_a_secret_across_the_cut(before: int, secret: str) -> None:
    """Half a secret at the cut is dropped, even where collapsing white space would show it."""
    line = excerpt(" " * before + secret + " end" * 100, [Secret(KEY)], limit=10)
    assert secret[:4] not in line


def test_the_cut_does_not_uncover() -> None:
    """A secret whose end looks like its beginning is masked whole."""
    assert excerpt("ab" * 10 + " secrets" + " " * 172 + "x", [Secret("secrets")], limit=10) == "ababababa…"
    assert excerpt(" " * 193 + "secrets" + " more" * 9, [Secret("secrets")], limit=10) == "***…"


def test_it_imports_nothing_of_ours() -> None:
    """Secrets can be used anywhere without a circle."""
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert not (node.module or "").startswith("akapulu_async")
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("akapulu_async") for alias in node.names)
