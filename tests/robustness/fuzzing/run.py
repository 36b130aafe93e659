"""Fuzzing that is guided by coverage, for as long as one likes.

    python -m tests.robustness.fuzzing.run [--seconds 60] [target ...]

Each target runs in a process of its own, so long that it fails or its seconds are over. It begins with the corpus that
is committed, and with what earlier runs found interesting (build/fuzz). What made it fail is left in build/fuzz, too,
as a file: mend the fault, and add the file to tests/robustness/fuzzing/corpus, from which the tests read.
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
    """Fuzz each target that was named, or all, and tell what came of it."""
    parser = argparse.ArgumentParser(description="Fuzz what reads answers.")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed (60)")
    parser.add_argument("--one", action="store_true", help="fuzz one target in this process")
    parser.add_argument("targets", nargs="*", help="which; none: all")
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.targets[0], arguments.seconds)
    names = arguments.targets or sorted(path.name for path in CORPUS.iterdir())
    failed = [name for name in names if not fuzz_apart(name, arguments.seconds)]
    sys.exit(f"fuzz: {', '.join(failed)} failed; what made them fail is in {FOUND}" if failed else 0)


def fuzz_apart(name: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own; whether it bore all that came."""
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
    """Fuzz a target in this process, which that ends."""
    atheris = importlib.import_module("atheris")  # not everybody who tests has it
    kept = FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=MODULES):
        targets = importlib.import_module("tests.robustness.fuzzing.targets").TARGETS
    options = (f"-max_total_time={seconds}", f"-artifact_prefix={kept}-", *LIMITS)
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / name)], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
