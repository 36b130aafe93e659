"""How the benchmarks tell what they found: a table for people, JSON for programs, and the machine with either."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from processes import machine

STDOUT = Path("-")
"""Where the JSON goes if no file is named."""


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Let the user ask for JSON."""
    told = "JSON instead of the table; with FILE, JSON goes there, and the table is printed"
    parser.add_argument("--json", type=Path, nargs="?", const=STDOUT, metavar="FILE", help=told)


def tell(figures: Mapping[str, object], table: str, to: Path | None) -> None:
    """Tell figures as the user asked for them."""
    told = json.dumps({"machine": machine(), **figures})
    if to == STDOUT:
        print(told)
        return
    print(table)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(told + "\n", "utf-8")
