"""Each cell of the fault matrix, over real sockets: what the caller gets, how often the service saw it, how long."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from akapulu_async import AkapuluError
from akapulu_async.http.transport import DOWNLOAD_POOL_SIZE, POOL_SIZE
from tests.robustness.faults.cells import COLUMNS, LEAST_DELAY, LINK_SPEED, Cell, told, words
from tests.robustness.faults.matrix import render
from tests.robustness.faults.operations import bench, left_behind
from tests.robustness.faults.table import LASTING, PASSING, Row

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


async def observed(row: Row, operation: str, cell: Cell, folder: Path, start: asyncio.Barrier) -> str:
    """Do an operation under a fault, and return in the words of a cell what came of it."""
    async with bench(operation, folder) as service, row.scene(service, operation, cell.when.timeouts) as client:
        await start.wait()
        seen, connects = service.seen(), service.simulator.count("connect")
        began, error = time.monotonic(), None
        try:
            await service.do(client)
        except (AkapuluError, AssertionError) as raised:  # the latter: it got what is wrong
            error = raised
        took = time.monotonic() - began
        assert service.simulator.count("connect") - connects <= 1
        assert service.simulator.leaked_credentials == 0
        places, downloads = client._transport._places, client._transport._download_places
        assert (places._value, downloads._value) == (POOL_SIZE, DOWNLOAD_POOL_SIZE)
        link = service.link.bytes_passed / LINK_SPEED + service.link.delays * LEAST_DELAY
        when = cell.when.value if cell.fits(took, link) else f"after {took:.3f} s"
        return words(told(error), service.seen() - seen, when)


ROWS = {f"once: {row.fault}": row for row in PASSING} | {f"always: {row.fault}": row for row in LASTING}


@pytest.mark.skipif(sys.platform != "linux", reason="what a full queue and a reset do is the system's to say")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_cells(row: Row, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Under each fault each operation ends as the matrix says; no task, no place in the pool, no connection is left."""
    columns = zip(COLUMNS.values(), row.cells, strict=True)
    cells = {name: cell for names, cell in columns for name in names if cell is not None}
    # Setting up is not to slow down what is timed.
    start = asyncio.Barrier(1 if row.in_turn else len(cells))
    tasks = {}
    async with asyncio.TaskGroup() as group:
        for name, cell in cells.items():
            folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
            tasks[name] = group.create_task(observed(row, name, cell, folder, start))
            if row.in_turn:
                await asyncio.wait((tasks[name],))
    results = {name: task.result() for name, task in tasks.items()}
    assert results == {name: str(cell) for name, cell in cells.items()}
    assert left_behind() == []


def test_page() -> None:
    """The page that users read is what these tests assert."""
    assert PAGE.read_text(encoding="utf-8") == render()
