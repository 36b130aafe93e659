"""Each cell of the fault matrix, over real sockets: what the caller gets, how often the service saw it, how long."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from akapulu_async import AkapuluError
from akapulu_async.transport import DOWNLOAD_POOL_SIZE, POOL_SIZE
from tests.faults.cells import OPERATIONS, Cell, told, words
from tests.faults.matrix import render
from tests.faults.operations import DO, bench, left_behind
from tests.faults.table import LASTING, PASSING, Row

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


async def observed(row: Row, operation: str, cell: Cell, folder: Path) -> str:
    """Do an operation under a fault, and return in the words of a cell what came of it."""
    async with bench(folder) as service, row.scene(service, operation, cell.when.timeouts) as client:
        seen, connects = service.seen(operation), service.simulator.count("connect")
        began, error = time.monotonic(), None
        try:
            await DO[operation](service, client)
        except AkapuluError as raised:
            error = raised
        took = time.monotonic() - began
        assert service.simulator.count("connect") - connects <= 1
        places, downloads = client._transport._places, client._transport._download_places
        assert (places._free, downloads._free) == (POOL_SIZE, DOWNLOAD_POOL_SIZE)
        when = cell.when.value if cell.when.fits(took) else f"after {took:.3f} s"
        return words(told(error), service.seen(operation) - seen, when)


ROWS = {f"once: {row.fault}": row for row in PASSING} | {f"always: {row.fault}": row for row in LASTING}


@pytest.mark.skipif(sys.platform != "linux", reason="what a full queue and a reset do is the system's to say")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_cells(row: Row, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Under each fault each operation ends as the matrix says; no task, no place in the pool, no connection is left."""
    cells = {name: cell for name, cell in zip(OPERATIONS, row.cells, strict=True) if cell is not None}
    folders = {name: tmp_path_factory.mktemp(name) for name in cells}
    calls = [observed(row, name, cell, folders[name]) for name, cell in cells.items()]
    results = [await call for call in calls] if row.in_turn else await asyncio.gather(*calls)
    assert dict(zip(cells, results, strict=True)) == {name: str(cell) for name, cell in cells.items()}
    assert left_behind() == []


def test_page() -> None:
    """The page that users read is what these tests assert."""
    assert PAGE.read_text(encoding="utf-8") == render()
