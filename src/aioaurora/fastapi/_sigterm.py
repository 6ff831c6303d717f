"""SIGTERM: the application hears of it, and then whoever would have heard of it without."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextlib.contextmanager
def told_of_sigterm(tell: Callable[[], None], delay_s: float) -> Iterator[None]:
    """Call `tell` on the running loop at each SIGTERM, and the handler that was there `delay_s` later.

    Where there is no handler, as in a test, or none can be set, as outside of the main thread, nothing is done.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    loop, pass_on = asyncio.get_running_loop(), before

    def told(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: there is nothing left to drain.
            loop.call_soon_threadsafe(tell)
            if delay_s:
                loop.call_soon_threadsafe(loop.call_later, delay_s, pass_on, number, frame)
                return
        pass_on(number, frame)

    signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is told:  # Else somebody else has taken over meanwhile.
            signal.signal(signal.SIGTERM, before)
