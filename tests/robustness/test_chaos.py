"""A flood through few slots, faults and restarts: nothing is lost, doubled or left, whatever the seed."""

import pytest

from tests.robustness.chaotic import run, to_repeat


@pytest.fixture
def no_blocking_calls() -> None:
    """Let calls block: to watch for them takes longer than the runs, and all that runs here is watched elsewhere."""


# A few: CI runs more of them by `make chaos`, which runs as many as one likes.
@pytest.mark.parametrize("seed", range(2))
async def test_chaos(seed: int) -> None:
    """Each request has one outcome and one conversation at most, each conversation is known or said to be in doubt,
    states come in order, figures add up, and nothing is left.
    """
    account = await run(seed, limit=25)  # before pytest's own, which does not tell how to repeat it
    assert account.violations(alone=False) == [], to_repeat(seed)
