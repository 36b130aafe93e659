"""Fuzz the readers of answers, guided by coverage.

    python -m tests.robustness.fuzzing.run [--seconds 60] [target ...]

Each target runs in a process of its own until it fails or its time is up. It starts with the committed corpus and the
inputs that earlier runs kept in build/fuzz. An input that made it fail is written there too: fix the fault, and add the
file to tests/robustness/fuzzing/corpus, so that the tests read it.
"""

import argparse
import importlib
import re
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1")
MODULES = ("akapulu_async", "email._parseaddr", "email.utils", "json", "urllib.parse")


def main() -> None:
    """Fuzz the named targets, or all, and print the results."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of answers.")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed (60)")
    parser.add_argument("--one", action="store_true", help="fuzz one target in this process")
    parser.add_argument("targets", nargs="*", help="targets to fuzz (all)")
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.targets[0], arguments.seconds)
    names = arguments.targets or sorted(path.name for path in CORPUS.iterdir())
    failed = [name for name in names if not fuzz_apart(name, arguments.seconds)]
    sys.exit(f"fuzz: {', '.join(failed)} failed; the inputs are in {FOUND}" if failed else 0)


def fuzz_apart(name: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own; return True if it did not fail."""
    command = [sys.executable, "-m", "tests.robustness.fuzzing.run", "--one", "--seconds", str(seconds), name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - ours
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    print(  # noqa: T201 - it is a command
        f"{name:<14} {int(count[1]) if count else 0:>12,} executions, {covered[-1] if covered else 0:>5} places, "
        f"{'no finding' if done.returncode == 0 else 'FAILED'}",
        flush=True,
    )
    if done.returncode:
        print(done.stderr[-6000:], file=sys.stderr)  # noqa: T201
    return done.returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz a target in this process, and end the process."""
    atheris = importlib.import_module("atheris")  # not in an extra
    kept = FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=MODULES):
        targets = importlib.import_module("tests.robustness.fuzzing.targets").TARGETS
    options = (f"-max_total_time={seconds}", f"-artifact_prefix={kept}-", *LIMITS)
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / name)], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
