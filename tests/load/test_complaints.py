"""What the library warns of while a load test runs."""

from uuid import uuid4

from akapulu_async.load.complaints import Complaints
from akapulu_async.log import logger


def test_warnings_of_one_kind_count_together() -> None:
    """Warnings that differ in the conversation alone are one sentence with their number; debug lines are none."""
    complaints = Complaints()
    with complaints.heard():
        for _ in range(1200):
            logger.warning("! conversation %s holds a slot", uuid4())
        logger.warning("! a run could not be ended")
        logger.debug("~ a pause")
    assert complaints.told == ("conversation ... holds a slot (1,200 times).", "a run could not be ended.")


def test_it_listens_for_its_block_alone() -> None:
    """Before and after the block, warnings go where they always go."""
    complaints = Complaints()
    with complaints.heard():
        assert complaints in logger.handlers
    assert complaints not in logger.handlers
    assert complaints.told == ()
