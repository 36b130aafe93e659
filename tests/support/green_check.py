"""Run `make test` again and again on a busy machine, from a path that breaks careless quoting.

    make green-check ARGS="--runs 5 --busy 4"

The checkout is cloned into a temporary folder whose name has a space and a letter beyond ASCII. There `make test` runs
five times on the given Python and five times on the newest one of this machine, while four processes keep its
processors busy. All runs are made, whatever fails. The exit code is 1 if a run failed; its output is in
build/green-check. Needs Python, make and git.
"""

# ruff: noqa: S603, S607, T201 - a program that runs make and git

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.pythons import newest, version

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "build" / "green-check"
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"
"""Ends with its parent, however that ends."""


@contextmanager
def busy() -> Iterator[None]:
    """Keep a processor busy."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


def interpreters(given: str) -> list[str]:
    """Return the given Python and, if it is another version, the newest one of this machine."""
    found = newest()
    if found is None or version(found) == version(given):
        print("green-check: no newer Python was found", flush=True)
        return [given]
    return [given, str(found)]


def run(checkout: Path, python: str, log: Path) -> list[str]:
    """Run `make test` once, and return what failed."""
    # The variables of the make that runs this must not reach the other one.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    with log.open("wb") as output:
        command = ["make", "-C", str(checkout), "test", f"PYTHON={python}", "ARGS="]
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    text = log.read_text("utf-8", "replace")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S.*)$", text, re.MULTILINE)
    return failed or [f"make exited with {done.returncode}, see {log}"] * bool(done.returncode)


def main() -> int:
    """Run all, and report what failed."""
    parser = argparse.ArgumentParser(description="Run make test repeatedly on a busy machine.")
    parser.add_argument("--runs", type=int, default=5, help="how often on each Python (5)")
    parser.add_argument("--busy", type=int, default=4, help="processes that keep the machine busy beside it (4)")
    parser.add_argument("--python", default=sys.executable, help="the Python to run it on, beside the newest one")
    arguments = parser.parse_args()
    if subprocess.run(["git", "-C", ROOT, "diff", "--quiet", "HEAD"], check=False).returncode:
        print("green-check: changes that are not committed are not checked", flush=True)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    runs, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="grün check ", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        checkout = Path(folder) / "akapulu async"
        subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
        for _ in range(arguments.busy):
            stack.enter_context(busy())
        for python in interpreters(arguments.python):
            for number in range(arguments.runs):
                began = time.monotonic()
                problems = run(checkout, python, LOGS / f"{runs}.log")
                runs, failed = runs + 1, failed + bool(problems)
                outcome = "\n  ".join(["failed:", *problems]) if problems else "passed"
                seconds = time.monotonic() - began
                print(f"{python}, run {number + 1} of {arguments.runs}: {seconds:.0f} s, {outcome}", flush=True)
    print(f"green-check: {runs} runs, {failed} failed", flush=True)
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
