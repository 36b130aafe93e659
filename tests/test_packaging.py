"""The metadata, and the files that users and CI start with."""

# ruff: noqa: S603, S607 - runs Python and bash on our own files

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from akapulu_async import __version__
from tests.support import release_check, wings
from tests.test_layers import SOURCES, wing

ROOT = Path(__file__).parent.parent
DISTRIBUTION = "akapulu-async"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(extra: str | None) -> set[str]:
    """Return the names required by an extra, or without any."""
    found = set()
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        needs_extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if (needs_extra[1] if needs_extra else None) == extra:
            name = re.match(r"[\w.-]+", requirement)
            assert name, line
            found.add(name[0].lower())
    return found


def test_runtime_dependencies() -> None:
    """The library requires four distributions."""
    assert requirements(None) == {"aiohttp", "anyio", "attrs", "cattrs"}


@pytest.mark.parametrize(
    ("extra", "some"), [("cli", {"hdrhistogram", "rich", "typer"}), ("speed", {"uvloop"}), ("dev", {"pytest"})]
)
def test_extras(extra: str, some: set[str]) -> None:
    """Optional parts have extras."""
    assert some <= requirements(extra)


def test_extras_are_known() -> None:
    """There are three extras."""
    metadata = importlib.metadata.metadata(DISTRIBUTION)
    assert set(metadata.get_all("Provides-Extra") or ()) == {"cli", "speed", "dev"}


def test_licence() -> None:
    """The metadata names the licence, and its text is there."""
    assert importlib.metadata.metadata(DISTRIBUTION)["License-Expression"] == "MIT"
    assert read("LICENSE").startswith("MIT License")


def test_python_version() -> None:
    """The metadata and the set-up require the same Python."""
    assert importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] == ">=3.11"
    assert "sys.version_info < (3, 11)" in read("Makefile")


def test_typed() -> None:
    """The package is marked as typed."""
    assert resources.files("akapulu_async").joinpath("py.typed").is_file()


def test_import_is_lean() -> None:
    """Importing the library imports neither the simulator nor a dependency of an extra."""
    code = "import sys, akapulu_async; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = r"akapulu_async\.(simulator|cli)|hdrh|rich|typer|uvloop"
    assert [name for name in done.stdout.split() if re.match(rf"({heavy})(\.|$)", name)] == []


def test_changelog() -> None:
    """The installed version is in the changelog, by number or as unreleased."""
    headings = re.findall(r"^## \[?([\w.]+)", read("CHANGELOG.md"), re.MULTILINE)
    assert headings
    assert {"Unreleased", importlib.metadata.version(DISTRIBUTION)} & set(headings)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?!=)", read("Makefile"), re.MULTILINE))


def test_readme_commands() -> None:
    """The Makefile has every command that the README names."""
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", read("README.md"), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets()


def test_make_targets() -> None:
    """Each target is phony, and `make help` lists it."""
    makefile = read("Makefile")
    phony = set(" ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split())
    documented = set(re.findall(r"^([a-z-]+):.*## \w", makefile, re.MULTILINE))
    assert targets() == phony == documented


def test_slow_tests() -> None:
    """`make test` leaves out the slow tests, `make test-all` runs both kinds, and CI runs all tests."""
    makefile = read("Makefile")
    assert "-m 'not slow'" in makefile
    assert re.search(r"^test-all: test .*\n(?:\t.*\n)*\t.*-m slow$", makefile, re.MULTILINE)
    assert re.search(r"^step make coverage .*--scan-secrets", read(".ci/run"), re.MULTILINE)


def test_set_up_names_the_python_that_it_needs(tmp_path: Path) -> None:
    """A Python that does not run, as a shim without its version, gets a line that names the version to install."""
    broken = tmp_path / "python 2"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text(read(name))
    command = ["make", "-C", str(tmp_path), "demo", f"PYTHON={broken}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"set-up: {broken} does not run (see build/set-up.log); Python 3.11 or newer is needed" in done.stderr


def test_ci() -> None:
    """CI is an executable script; it runs the README's test command first, and only targets that exist."""
    script = read(".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    steps = re.findall(r"^step make (\S+)", script, re.MULTILINE)
    assert steps[0] == "test"
    assert set(steps) <= targets()
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


REPOSITORY = "https://example.org/somebody/akapulu-async"
TAGGED = f"{REPOSITORY}/blob/v{__version__}"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("see [a](LICENSE).", f"see [a]({TAGGED}/LICENSE)."),
        ("[a](docs/faults.md#x) ![b](docs)", f"[a]({TAGGED}/docs/faults.md#x) ![b]({TAGGED}/docs)"),
        ("[a](https://example.org/b) [c](#c)", "[a](https://example.org/b) [c](#c)"),
        ("`x[0](y)` [a](LICENSE)", f"`x[0](y)` [a]({TAGGED}/LICENSE)"),
        ("```\nx[0](y)\n```\n[a](LICENSE)", f"```\nx[0](y)\n```\n[a]({TAGGED}/LICENSE)"),
    ],
)
def test_release_links(page: str, expected: str) -> None:
    """A release's README has absolute links where ours has relative ones, and is otherwise the same."""
    assert release_check.with_absolute_links(page, REPOSITORY, ROOT) == expected


def test_release_dead_links() -> None:
    """A README with a link to a missing file is not released."""
    with pytest.raises(release_check.ReleaseError, match="links to docs/none"):
        release_check.with_absolute_links("[a](docs/none.md)", REPOSITORY, ROOT)


def test_release_metadata(tmp_path: Path) -> None:
    """A release names the project's URLs, and no link of its long description is relative."""
    for path in ROOT.iterdir():
        if path.name in {"README.md", "pyproject.toml"}:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        else:
            (tmp_path / path.name).symlink_to(path)
    release_check.prepare(tmp_path, REPOSITORY)
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert set(urls) == {"Homepage", "Source", "Changelog", "Issues"}
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    page = (tmp_path / "README.md").read_bytes()
    assert not [each for each in release_check.complaints(b"\n" + page) if "links to" in each]


def test_release_complaints() -> None:
    """Metadata without a URL, or with a dead link in its long description, is refused."""
    head = b"Name: a\nVersion: 1\nSummary: b\nAuthor: c\nLicense-Expression: MIT\nKeywords: d\n"
    url = b"Project-URL: Source, https://example.org/a\n"
    assert list(release_check.complaints(head + url + b"\n[a](https://example.org/) [b](#c)")) == []
    missing, markdown, html = release_check.complaints(head + b'\n[a](LICENSE)\n\n<img src="docs/a.svg">')
    assert "Project-URL is missing" in missing
    assert "links to LICENSE" in markdown
    assert "links to docs/a.svg" in html


@pytest.mark.parametrize("given", ["", "http://example.org/a", "https://example.org", "somebody/akapulu-async"])
def test_release_needs_an_address(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a usable REPOSITORY, nothing is built, and the message says what to give."""
    assert release_check.main([given]) == 1
    assert "REPOSITORY" in (message := capsys.readouterr().err)
    assert "https://" in message


def test_picture_of_the_wings() -> None:
    """docs/wings.svg shows the imports as they are; `python -m tests.support.wings > docs/wings.svg` draws it again."""
    assert read("docs/wings.svg") == wings.draw()


def test_architecture() -> None:
    """docs/architecture.md has a row for each wing, and its walks name functions that exist."""
    page = read("docs/architecture.md")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {wing(name) for name in SOURCES}
    steps = re.findall(r"^\d+\. (?:`([\w/]+\.py)`, `(\w+)\(\)`: )?", page, re.MULTILINE)
    assert len(steps) > 20
    for file, function in steps:
        source = SOURCES[file.removesuffix(".py").replace("/", ".")].read_text(encoding="utf-8")
        assert f"def {function}(" in source, (file, function)
