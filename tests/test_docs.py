"""The pages' links lead to files and headings that exist, and the README's tables agree with the code."""

import re
from pathlib import Path

import attrs
import pytest

import akapulu_async

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Each relative link leads to a file, and to a heading if it names one."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the README, without its head."""
    text = (ROOT / "README.md").read_text("utf-8").partition(f"# {heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def names(cell: str) -> list[str]:
    """Return the bare names in backticks."""
    return re.findall(r"`(\w+)(?:\(\))?`", cell)


def test_fields_of_values() -> None:
    """The README lists the fields of the values, each of which exists, and leaves none out."""
    for value, fields in rows("Requests and values"):
        kind = getattr(akapulu_async, names(value)[0])
        listed = {name for name in names(fields) if name.islower()}
        assert [name for name in listed if not hasattr(kind, name)] == []
        assert {field.name for field in attrs.fields(kind) if field.alias == field.name} <= listed


def test_kinds_of_errors() -> None:
    """The README lists every error with its kind."""
    listed: dict[str, str] = {}
    for errors, _, cell in rows("Errors"):
        kinds = names(cell)
        listed |= {error: kinds[min(index, len(kinds) - 1)] for index, error in enumerate(names(errors))}
    public = {name: getattr(akapulu_async, name) for name in akapulu_async.__all__ if name.endswith("Error")}
    assert listed == {name: error.kind for name, error in public.items() if name not in {"AkapuluError", "ApiError"}}
