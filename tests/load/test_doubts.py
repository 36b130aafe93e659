"""Whether the load generator itself was the bottleneck."""

from typing import Any

import pytest

from akapulu_async.load.doubts import doubts
from tests.support.measured import latencies, result


def test_a_calm_load_generator_raises_no_doubt() -> None:
    """Milliseconds of lag, on a loop that is idle most of the time, are not worth a word."""
    assert list(doubts(result(loop_lag=latencies(0.02), arrival_lag=latencies(0.02), cpu_share=0.8))) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"loop_lag": latencies(0.2)}, "was the bottleneck: its event loop was up to 0.200 s late (p99)"),
        ({"arrival_lag": latencies(0.3)}, "did not keep its schedule: arrivals were up to 0.300 s late (p99)"),
        ({"cpu_share": 0.97}, "used 97% of a core"),
        ({"interrupted": True}, "It was interrupted"),
    ],
)
def test_each_doubt_is_told(fields: Any, said: Any) -> None:
    """What makes the figures doubtful is said, with its own figure."""
    (doubt,) = doubts(result(**fields))
    assert said in doubt


def test_a_single_outlier_is_no_doubt() -> None:
    """One long pause among hundreds of looks does not make the loop a bottleneck."""
    assert list(doubts(result(loop_lag=latencies(*[0.001] * 500, 1.0)))) == []
