"""Build the distributions as they are published, and check them: `make release-check REPOSITORY=https://...`.

The project's metadata names no address, since it has none of its own. The build runs in a clone of the last commit, in
which pyproject.toml has the project's URLs, and the README's relative links lead into the repository at the version's
tag: REPOSITORY/blob/TAG/PATH, the form of GitHub's links. The checkout is not changed. The distributions are in
build/release afterwards, ready for upload.
"""

# ruff: noqa: S603, T201 - a program that runs git, build and twine

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from pathlib import Path

from markdown_it import MarkdownIt

from akapulu_async import __version__

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "release"
LINK = re.compile(r"(?ms)^ *```.*?^ *```|`[^`\n]+`|(?<=\]\()[^)\s]+(?=\))")
"""Code, which stays as it is, or the target of a link."""


class ReleaseError(Exception):
    """The distributions cannot be released, for this reason."""


def checked(repository: str) -> str:
    """Return the repository's address without a last slash."""
    if not repository:
        raise ReleaseError(
            "REPOSITORY is missing: the address of the repository's page, which the metadata's links begin with. "
            "Run: make release-check REPOSITORY=https://..."
        )
    if not re.fullmatch(r"https://[\w.:-]+(/[\w.~-]+)+/?", repository):
        raise ReleaseError(f"REPOSITORY must be https://HOST/PATH, not {repository}")
    return repository.removesuffix("/")


def with_absolute_links(text: str, repository: str, root: Path) -> str:
    """Return a page of Markdown whose relative links lead into the repository."""

    def absolute(match: re.Match[str]) -> str:
        target = match[0]
        if target.startswith(("`", " ", "#")) or ":" in target:
            return target
        if not (root / target.partition("#")[0]).exists():
            raise ReleaseError(f"README.md links to {target}, which does not exist")
        return f"{repository}/blob/v{__version__}/{target}"

    return LINK.sub(absolute, text)


def project_urls(repository: str) -> str:
    """Return the table of the project's URLs for pyproject.toml."""
    return (
        "\n[project.urls]\n"
        f'Homepage = "{repository}"\n'
        f'Source = "{repository}"\n'
        f'Changelog = "{repository}/blob/HEAD/CHANGELOG.md"\n'
        f'Issues = "{repository}/issues"\n'
    )


def prepare(copy: Path, repository: str) -> None:
    """Write the URLs and links into a copy of the sources."""
    readme, project = copy / "README.md", copy / "pyproject.toml"
    readme.write_text(with_absolute_links(readme.read_text("utf-8"), repository, copy), "utf-8")
    project.write_text(project.read_text("utf-8") + project_urls(repository), "utf-8")


def complaints(metadata: bytes) -> Iterator[str]:
    """Yield what is wrong with a wheel's metadata."""
    message = message_from_bytes(metadata)
    for field in ("Name", "Version", "Summary", "Author", "License-Expression", "Keywords", "Project-URL"):
        if not message[field]:
            yield f"{field} is missing"
    body = message.get_payload(decode=True)
    assert isinstance(body, bytes)
    page = MarkdownIt("commonmark").enable("table").render(body.decode("utf-8"))
    for target in re.findall(r'(?:href|src)="([^"]*)"', page):
        if not target.startswith(("https://", "#")):
            yield f"the long description links to {target}, which is a dead link on an index"


def run(*command: str) -> str:
    """Return the output of a command; raise ReleaseError if it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def release(repository: str) -> None:
    """Build and check the distributions."""
    if changed := run("git", "status", "--porcelain"):
        raise ReleaseError(f"a release is built from a commit; commit these first:\n{changed}")
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "sources")
        run("git", "clone", "--quiet", str(ROOT), str(copy))
        prepare(copy, repository)
        run(sys.executable, "-m", "build", "--outdir", str(OUT), str(copy))
    built = sorted(map(str, OUT.iterdir()))
    print(run(sys.executable, "-m", "twine", "check", "--strict", *built), end="")
    (wheel,) = OUT.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        metadata = contents.read(f"akapulu_async-{__version__}.dist-info/METADATA")
    if found := list(complaints(metadata)):
        raise ReleaseError("\n".join(found))
    print(metadata.partition(b"\n\n")[0].decode())
    print("\nReady for upload:", *built, sep="\n")


def main(arguments: Sequence[str]) -> int:
    """Return the exit code."""
    try:
        release(checked(*arguments))
    except ReleaseError as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
