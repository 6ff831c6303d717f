"""Everything that happened to a simulated cluster, in order, with loop time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import overload


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened.

    Attributes:
        at: Loop time.
        kind: "started", "fault" (`detail["fault"]` says which), "restarting", "sessions_killed", "promoted",
            "returned", "spoke_again", "dns_moved", "statement_lost", "wrong_role", "added", "removed",
            "custom_endpoint", "switched_over", "healed", "dns_healed".
        instance: Id of the instance that it happened to, None for the cluster.
        detail: What else there is to know.
    """

    at: float
    kind: str
    instance: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


class Timeline(Sequence[Entry]):
    """The entries so far, oldest first; grows while the cluster runs."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._waiting: set[tuple[Callable[[Entry], bool], asyncio.Future[Entry]]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        return self._entries[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __repr__(self) -> str:
        return f"<Timeline {len(self)} entries | {', '.join(dict.fromkeys(entry.kind for entry in self))}>"

    def add(self, kind: str, instance: str | None = None, **detail: object) -> Entry:
        """Note what happens now."""
        now = asyncio.get_running_loop().time()
        entry = Entry(at=now, kind=kind, instance=instance, detail=MappingProxyType(detail))
        self._entries.append(entry)
        for wanted, future in tuple(self._waiting):
            if wanted(entry) and not future.done():
                future.set_result(entry)
        return entry

    def of(self, *kinds: str, instance: str | None = None) -> list[Entry]:
        """Return the entries of these kinds, of one instance if one is given."""
        return [each for each in self._entries if each.kind in kinds and instance in (None, each.instance)]

    async def wait_for(self, kind: str, *, instance: str | None = None, since: float | None = None) -> Entry:
        """Return the first entry of this kind from now on, or from the loop time `since` on."""

        def is_wanted(entry: Entry) -> bool:
            return entry.kind == kind and instance in (None, entry.instance)

        if since is not None:
            for entry in self._entries:
                if entry.at >= since and is_wanted(entry):
                    return entry
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        waiting = (is_wanted, future)
        self._waiting.add(waiting)
        try:
            return await future
        finally:
            self._waiting.discard(waiting)
