"""SECURITY.md agrees with the code."""

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
    """The limits in the text are those of the code."""
    assert f"A JSON body has at most {MAX_JSON_BYTES // 2**20} MiB" in policy
    assert f"nested at most {MAX_JSON_DEPTH} deep" in policy
    assert f"at most {MAX_REDIRECTS} times" in policy


def test_reports_are_private(policy: str) -> None:
    """Reports go by a private advisory, not to an e-mail address."""
    assert "*Security*, then *Report a vulnerability*" in policy
    assert not re.search(r"\S@\S", policy)


def test_supported_python_is_the_packages(policy: str) -> None:
    """The supported Python is the one that the package requires."""
    wanted = re.search(r'requires-python = ">= ([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert wanted
    assert f"Python {wanted[1]} or newer" in policy


def test_linked_files_exist() -> None:
    """Files that the policy and the fault matrix link to exist."""
    for page in (ROOT / "SECURITY.md", ROOT / "docs" / "faults.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), link
