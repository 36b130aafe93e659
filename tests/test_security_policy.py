"""SECURITY.md says what the code does."""

import re
from pathlib import Path

import pytest

from akapulu_async.http.transport import MAX_REDIRECTS
from akapulu_async.sansio.json_body import MAX_JSON_BYTES, MAX_JSON_DEPTH

ROOT = Path(__file__).parent.parent


@pytest.fixture
def policy() -> str:
    return " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())


def test_bounds_are_the_codes(policy: str) -> None:
    """The figures that are promised are those in force."""
    assert f"A JSON body has {MAX_JSON_BYTES // 2**20} MiB at the most" in policy
    assert f"nested {MAX_JSON_DEPTH} deep at the most" in policy
    assert f"{MAX_REDIRECTS} times at the most" in policy


def test_reports_are_private(policy: str) -> None:
    """Reports go by a private advisory; there is no address that nobody reads."""
    assert "*Security*, then *Report a vulnerability*" in policy
    assert not re.search(r"\S@\S", policy)


def test_supported_python_is_the_packages(policy: str) -> None:
    """The Python that is supported is the one that the package asks for."""
    wanted = re.search(r'requires-python = ">= ([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert wanted
    assert f"Python {wanted[1]} or newer" in policy


def test_links_lead_somewhere() -> None:
    """Files that the policy and the matrix of faults link to are there."""
    for page in (ROOT / "SECURITY.md", ROOT / "docs" / "faults.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), link
