"""Something that is asked for now and is there later: awaited, or handed to a task, as aiomysql's are."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


class Later(Coroutine[Any, Any, T]):
    """A coroutine that begins when it is first used, and that nobody needs to begin."""

    __slots__ = ("_started",)

    _started: Coroutine[Any, Any, T] | None

    def _start(self) -> Coroutine[Any, Any, T]:
        raise NotImplementedError

    def _begun(self) -> Coroutine[Any, Any, T]:
        if self._started is None:
            self._started = self._start()
        return self._started

    def send(self, value: Any) -> Any:
        """Go on, as coroutines do."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """Give up what was begun; not what came of it."""
        if self._started is not None:
            self._started.close()

    def __await__(self) -> Generator[Any, None, T]:
        return self._begun().__await__()
