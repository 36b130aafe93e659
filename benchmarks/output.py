"""Output of the benchmarks: a table or JSON, with the machine and the versions."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from processes import machine

STDOUT = Path("-")
"""Target of the JSON if no file is given."""


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    text = "JSON instead of the table; with FILE, write JSON there and print the table"
    parser.add_argument("--json", type=Path, nargs="?", const=STDOUT, metavar="FILE", help=text)


def show(figures: Mapping[str, object], table: str, to: Path | None) -> None:
    """Print the figures as the user wants them."""
    text = json.dumps({"machine": machine(), **figures})
    if to == STDOUT:
        print(text)
        return
    print(table)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text + "\n", "utf-8")
