"""A flood through few slots, with faults and restarts: nothing is lost, doubled or left behind, whatever the seed."""

import pytest

from tests.robustness.chaotic import run, to_repeat

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def no_blocking_calls() -> None:
    """Do not watch for blocking calls: that takes longer than the run, and the same code is watched elsewhere."""


# `make chaos` runs more seeds.
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_chaos(seed: int) -> None:
    """Each request gets one outcome and at most one conversation, each conversation is known or in doubt, states come
    in order, figures add up, and nothing is left.
    """
    account = await run(seed, limit=200)  # before pytest's own limit, which does not say how to repeat the seed
    assert account.violations(alone=False) == [], to_repeat(seed)
