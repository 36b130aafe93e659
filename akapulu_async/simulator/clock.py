"""The simulated clock."""

import math
import time
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Simulated seconds since it was made: `speed` of them in a real one, and what `advance` adds."""

    def __init__(self, speed: float = 1.0, *, real: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= speed < math.inf:
            raise ValueError(f"speed must be a finite number, 0 (time stands still) or more, not {speed}")
        self.speed = speed
        self._real = real
        self._start = real()
        self._advanced = 0.0

    def now(self) -> float:
        """Return the simulated second."""
        return (self._real() - self._start) * self.speed + self._advanced

    def advance(self, seconds: float) -> None:
        """Move forward at once; raises `ValueError` for going back."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be a finite number, 0 or more, not {seconds}")
        self._advanced += seconds
