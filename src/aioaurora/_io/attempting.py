"""Attempts at one thing until it is done, with tenacity's pauses between them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import tenacity

T = TypeVar("T")

_LEAST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class Attempting:
    """The attempts at one thing, with the pauses between them: tenacity's loop, made when one has failed.

    It costs as much as a statement, and hardly anything needs a second attempt.

    Attributes:
        number: Which attempt it is, counted from 1.
    """

    def __init__(
        self,
        *,
        deadline: float,
        least_pause_s: float = _LEAST_PAUSE_S,
        stop: Callable[[tenacity.RetryCallState], bool] | None = None,
        wait: Callable[[tenacity.RetryCallState], float] | None = None,
        before_sleep: Callable[[tenacity.RetryCallState], Any] | None = None,
    ) -> None:
        self.number: int = 1
        self._deadline, self._least_pause_s = deadline, least_pause_s
        self._stop, self._wait, self._before_sleep = stop, wait, before_sleep
        self._began_at = time.monotonic()  # tenacity's clock.
        self._loop: tenacity.AsyncRetrying | None = None

    async def run(self, function: Callable[[], Awaitable[T]], is_worth_another: Callable[[Exception], bool]) -> T:
        """Call it until it does not raise, or raises what is not worth another attempt."""
        while True:
            try:
                return await function()
            except Exception as error:
                if not is_worth_another(error):
                    raise
                await self.pause(error)

    async def pause(self, error: Exception) -> None:
        """Wait for the next attempt after this error, which is raised if there is to be none."""
        if self._loop is None:
            self._loop = self._made()
            self._attempt = await anext(aiter(self._loop))  # The one that has failed.
            self._attempt.retry_state.start_time = self._began_at
        self._attempt.__exit__(type(error), error, error.__traceback__)
        self._attempt = await anext(self._loop)
        self.number = self._attempt.retry_state.attempt_number

    def _made(self) -> tenacity.AsyncRetrying:
        import tenacity  # noqa: PLC0415 - large, and not needed until something fails.

        clock = asyncio.get_running_loop().time  # tenacity's delay stops read another one.

        def is_over(state: tenacity.RetryCallState) -> bool:
            is_late = clock() + state.upcoming_sleep >= self._deadline
            return is_late or (self._stop is not None and bool(self._stop(state)))

        return tenacity.AsyncRetrying(
            wait=self._wait or tenacity.wait_random_exponential(self._least_pause_s, _LONGEST_PAUSE_S),
            stop=is_over,
            before_sleep=self._before_sleep,
            sleep=asyncio.sleep,
            reraise=True,
        )
