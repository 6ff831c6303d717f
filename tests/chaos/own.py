"""What befalls the program itself: its loop stalls, its clock jumps; `host.py` stops it.

Importing this puts a clock in the place of `time.time` that can jump: before the library, which takes it at its import.
The loop's own clock cannot jump, whatever is done to the wall's.
"""

from __future__ import annotations

import time

_true_time = time.time


class Clock:
    """The wall's clock, which somebody sets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Say what it is."""
        return _true_time() + self.ahead_s


CLOCK = Clock()
time.time = CLOCK


def stall(seconds: float) -> None:
    """Let our loop not turn."""
    time.sleep(seconds)


def jump(by_s: float) -> None:
    """Set the clock."""
    CLOCK.ahead_s += by_s


CALLS = {"clock": jump, "stall": stall}
