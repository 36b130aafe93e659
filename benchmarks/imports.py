"""Cost of `import akapulu_async`, compared with importing its dependencies.

    python benchmarks/imports.py [--rounds 25] [--quick] [--json [FILE]]

Each import happens in a fresh interpreter, one of either in turn, after a first of each that is not counted and leaves
its bytecode in a folder of this run. What is measured, and how, is in benchmarks/README.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from output import add_json_option, show
from processes import cores, pin

IMPORTS = {"libraries": "aiohttp, attrs, cattrs, anyio", "akapulu_async": "akapulu_async"}
BAR = 1.15
QUICK_ROUNDS = 2

# The clocks are read inside, so the start of the interpreter does not count.
_PROGRAM = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""

ROWS = (
    ("aiohttp, attrs, cattrs and anyio, ms", "libraries_ms"),
    ("akapulu_async, ms", "akapulu_async_ms"),
    ("  ratio", "ratio"),
    ("aiohttp, attrs, cattrs and anyio, CPU ms", "libraries_cpu_ms"),
    ("akapulu_async, CPU ms", "akapulu_async_cpu_ms"),
    ("  ratio", "cpu_ratio"),
)

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the import.")
    parser.add_argument("--rounds", type=int, default=25, help="imports of either (25)")
    parser.add_argument("--quick", action="store_true", help="check only that it works")
    add_json_option(parser)
    arguments = parser.parse_args()
    rounds = QUICK_ROUNDS if arguments.quick else max(2, arguments.rounds)
    figures, bar = measure(rounds), None if arguments.quick else BAR
    show({"rounds": rounds, "bar": bar, **figures}, rendered(figures, bar), arguments.json)


def measure(rounds: int) -> Figures:
    """Import both by turns, and return medians and quartiles of the times and their ratios."""
    pin(0, cores()[0])  # child processes inherit it
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for name in IMPORTS:
            _import(name, environment)
        for _ in range(rounds):
            for name, measured in times.items():
                measured.append(_import(name, environment))
    figures: Figures = {}
    for kind, place in (("", 0), ("cpu_", 1)):
        seconds = {name: [pair[place] for pair in measured] for name, measured in times.items()}
        for name, values in seconds.items():
            figures[f"{name}_{kind}ms"] = _summary([value * 1000 for value in values])
        pairs = zip(seconds["akapulu_async"], seconds["libraries"], strict=True)
        figures[f"{kind}ratio"] = _summary([ours / theirs for ours, theirs in pairs])
    return figures


def _import(name: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Return the seconds of wall clock and CPU that an import takes in a fresh interpreter."""
    command = [sys.executable, "-c", _PROGRAM.format(IMPORTS[name])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def _summary(values: Sequence[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def rendered(figures: Figures, bar: float | None) -> str:
    """Return the table as text."""
    lines = [f"{'':<42}{'median':>10}{'quartiles':>20}"]
    for title, name in ROWS:
        row = figures[name]
        lines.append(f"{title:<42}{row['median']:>10.2f}{row['low']:>10.2f}{row['high']:>10.2f}")
    if bar is not None:
        lines.append(f"at most {bar}: {'yes' if figures['ratio']['median'] <= bar else 'NO'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
