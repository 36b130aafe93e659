"""Each cell of the fault matrix, over real sockets: the caller's result, how often the service saw it, how long."""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from akapulu_async import AkapuluError
from akapulu_async.http.transport import DOWNLOAD_POOL_SIZE, POOL_SIZE
from tests.robustness.faults.cells import COLUMNS, LEAST_DELAY, LINK_SPEED, UNITS, Cell, When, told, words
from tests.robustness.faults.matrix import render
from tests.robustness.faults.operations import bench, left_behind
from tests.robustness.faults.table import LASTING, PASSING, Row

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


@attrs.frozen
class Observed:
    """What came of an operation, in the words of a cell."""

    words: str
    too_late: bool


async def observe(row: Row, operation: str, cell: Cell, folder: Path, start: asyncio.Barrier, unit: float) -> Observed:
    """Do an operation under a fault."""
    timeouts = cell.when.timeouts(unit)
    async with bench(operation, folder) as service, row.scene(service, operation, timeouts) as client:
        await start.wait()
        seen, connects = service.seen(), service.simulator.count("connect")
        began, error = time.monotonic(), None
        try:
            await service.do(client)
        except (AkapuluError, AssertionError) as raised:  # the latter: a wrong answer
            error = raised
        took = time.monotonic() - began
        assert service.simulator.count("connect") - connects <= 1
        assert service.simulator.leaked_credentials == 0
        places, downloads = client._transport._places, client._transport._download_places
        assert (places._value, downloads._value) == (POOL_SIZE, DOWNLOAD_POOL_SIZE)
        link = service.link.bytes_passed / LINK_SPEED + service.link.delays * LEAST_DELAY
        too_late = cell.too_late(took, unit, link)
        when = f"after {took:.3f} s" if too_late or cell.too_early(took, unit, link) else cell.when.value
        return Observed(words(told(error), service.seen() - seen, when), too_late)


async def observe_all(row: Row, cells: Mapping[str, Cell], folders: Path, unit: float) -> dict[str, Observed]:
    """Do all operations under a fault."""
    # Setting up must not slow down what is timed.
    start = asyncio.Barrier(1 if row.in_turn else len(cells))
    tasks = {}
    async with asyncio.TaskGroup() as group:
        for name, cell in cells.items():
            folder = folders / f"{name} {unit}"
            folder.mkdir()
            tasks[name] = group.create_task(observe(row, name, cell, folder, start, unit))
            if row.in_turn:
                await asyncio.wait((tasks[name],))
    return {name: task.result() for name, task in tasks.items()}


def waits(row: Row) -> bool:
    """Return True if a cell of the row takes several deadlines, or waits for a slow link."""
    return any(cell is not None and cell.when in {When.AFTER_DEADLINES, When.LINK} for cell in row.cells)


ROWS = [
    pytest.param(row, id=f"{often}: {row.fault}", marks=[pytest.mark.slow] if waits(row) else [])
    for often, rows in (("once", PASSING), ("always", LASTING))
    for row in rows
]


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue and a reset act differently on other systems")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("row", ROWS)
async def test_cells(row: Row, tmp_path: Path) -> None:
    """Under each fault each operation ends as the matrix says; no task, place in the pool or connection is left."""
    columns = zip(COLUMNS.values(), row.cells, strict=True)
    cells = {name: cell for names, cell in columns for name in names if cell is not None}
    for unit in UNITS:
        results = await observe_all(row, cells, tmp_path, unit)
        if not any(result.too_late for result in results.values()):
            break
    assert {name: result.words for name, result in results.items()} == {name: str(cell) for name, cell in cells.items()}
    assert left_behind() == []


def test_page() -> None:
    """The page for users is generated from what these tests assert."""
    assert PAGE.read_text(encoding="utf-8") == render()
