"""Draw the wings and their imports, read from the sources: `python -m tests.support.wings > docs/wings.svg`.

A wing stands above every wing that it imports from. An arrow that follows from other arrows is left out: who imports
`client`, which imports `session`, may import `session` too.
"""

import sys
from itertools import pairwise
from statistics import fmean

from tests.test_layers import SOURCES, ours, wing

WIDTH = 720
ROW = 68
"""From the top of a row of boxes to the top of the next."""

HEIGHT = 34
"""Of a box."""

LABELS = {"__init__": "akapulu_async: the public names", "sansio": "sansio/ (no I/O)"}

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>The wings of akapulu_async, each above those that it imports from</title>
<style>
  .paper {{ fill: #ffffff; stroke: #d0d7de }}
  .wing {{ fill: #ddeaff; stroke: #4a7ac4 }}
  .pure {{ fill: #d5f2dc; stroke: #2f8a4c }}
  .module {{ fill: #f3f4f6; stroke: #8a929c }}
  .arrow {{ fill: none; stroke: #6a737d; stroke-width: 1.4 }}
  .tip {{ fill: #6a737d }}
  text {{ fill: #1f2328; font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }}
  @media (prefers-color-scheme: dark) {{
    .paper {{ fill: #0d1117; stroke: #30363d }}
    .wing {{ fill: #14294b; stroke: #5b8fe0 }}
    .pure {{ fill: #12351f; stroke: #46b065 }}
    .module {{ fill: #1d2229; stroke: #7d8691 }}
    .arrow {{ stroke: #9aa4af }}
    .tip {{ fill: #9aa4af }}
    text {{ fill: #e6edf3 }}
  }}
</style>
<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path class="tip" d="M0 0 8 4 0 8z"/>
</marker>
<rect class="paper" x=".5" y=".5" width="{paper[0]}" height="{paper[1]}" rx="8"/>
"""


def wing_imports() -> dict[str, set[str]]:
    """Return for each wing the wings that it imports from."""
    found: dict[str, set[str]] = {}
    for name in SOURCES:
        found.setdefault(wing(name), set()).update(wing(target) for target in ours(name))
    return {name: targets - {name} for name, targets in found.items()}


def arrows(imports: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return the imports without those that follow from others."""

    def reached(name: str) -> set[str]:
        return imports[name].union(*map(reached, imports[name]))

    return {
        name: sorted(targets - set[str]().union(*(reached(target) for target in targets)))
        for name, targets in sorted(imports.items())
    }


def rows(below: dict[str, list[str]]) -> list[list[tuple[str, str]]]:
    """Return the boxes from the top down, each directly below its lowest importer.

    A box is the pair of its wing and "". An arrow that passes a row has a place in it: the pair of its two ends.
    """
    above = {name: [each for each in below if name in below[each]] for name in below}

    def depth(name: str) -> int:
        return 1 + max(map(depth, above[name]), default=-1)

    found: list[list[tuple[str, str]]] = [[] for _ in range(1 + max(map(depth, below)))]
    for name in sorted(below):
        found[depth(name)].append((name, ""))
        for target in below[name]:
            for passed in range(depth(name) + 1, depth(target)):
                found[passed].append((name, target))
    for upper, row in pairwise(found):
        places = {box: (index + 0.5) / len(upper) for index, box in enumerate(upper)}

        def beside(box: tuple[str, str], places: dict[tuple[str, str], float] = places) -> float:
            name, target = box
            over = [box, (name, "")] if target else [each for up in above[name] for each in ((up, ""), (up, name))]
            return fmean(places[each] for each in over if each in places)

        row.sort(key=beside)
    return found


def label(name: str) -> str:
    """Return a wing's name as it is in the folder."""
    folder = any(source.startswith(f"{name}.") for source in SOURCES)
    return LABELS.get(name, f"{name}/" if folder else f"{name}.py")


def draw() -> str:
    """Return the picture as SVG."""
    below, lines = arrows(wing_imports()), []
    placed: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number, row in enumerate(rows(below)):
        widths = [8 if passing else _width(name) for name, passing in row]
        gap, x = (WIDTH - sum(widths)) / (len(row) + 1), 0.0
        for box, width in zip(row, widths, strict=True):
            placed.setdefault(box, []).append((round(x + gap + width / 2), 16 + number * ROW))
            x += gap + width
    height = max(y for places in placed.values() for _, y in places) + HEIGHT + 16
    for name, targets in below.items():
        for target in targets:
            way = [*placed[name, ""], *placed.get((name, target), []), *placed[target, ""]]
            lines.append(f'<path class="arrow" d="{_path(way)}" marker-end="url(#tip)"/>')
    lines += (_box(name, *at) for (name, passing), [at, *_] in placed.items() if not passing)
    return HEAD.format(width=WIDTH, height=height, paper=(WIDTH - 1, height - 1)) + "\n".join([*lines, "</svg>\n"])


def _path(way: list[tuple[float, float]]) -> str:
    (x, y), *stops = way
    path = f"M{x:g} {y + HEIGHT:g}"
    for to_x, to_y in stops:
        middle = (y + HEIGHT + to_y) / 2
        path += f" C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
        path += "" if (to_x, to_y) == stops[-1] else f" V{to_y + HEIGHT:g}"
        x, y = to_x, to_y
    return path


def _width(name: str) -> int:
    return 8 * len(label(name)) + 24


def _box(name: str, x: float, y: float) -> str:
    text, width = label(name), _width(name)
    kind = "pure" if name == "sansio" else "wing" if "/" in text else "module"
    return (
        f'<rect class="{kind}" x="{x - width / 2:g}" y="{y:g}" width="{width}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{x:g}" y="{y + HEIGHT / 2 + 4.5:g}" text-anchor="middle">{text}</text>'
    )


if __name__ == "__main__":
    sys.stdout.write(draw())
