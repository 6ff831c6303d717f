"""Who may serve whom in a pool: the sides of the roles, seen in the light of what is believed of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core.selection import nearest
from aioaurora._core.shares import LEASED, OPENING, Share, Side, Slot
from aioaurora._core.sight import Sight
from aioaurora._core.value import dataclass
from aioaurora.errors import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aioaurora._core.selection import Strategy


UNLIMITED = 100_000  # MySQL's largest max_connections.


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the books keep to; see `create_pool`. Durations are seconds."""

    minsize: int = 1
    maxsize: int = 10
    reader_minsize: int = 0
    reader_maxsize: int = 10
    max_idle: float | None = None
    recycle_after: float | None = None
    max_lag: float | None = None
    stand_ins_most: int = 0
    connecting: int = UNLIMITED  # Connects at a time to one instance.


class Serving:
    """Who may serve whom now.

    Args:
        limits: What to keep to.
        default: The role that is meant when none is asked for.
        strategy: Puts readers into an order.
        weights: Of instances, for the strategy; 1 for those that are not named.
        chance: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        default: Role | None,
        strategy: Strategy,
        weights: Mapping[str, float],
        chance: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.sight = Sight()
        self.slots: dict[Slot, None] = {}  # A set that keeps its order: every run is the same.
        self.is_closing = self.is_draining = False
        self._strategy, self._weights, self._chance = strategy, weights, chance
        self._turn = 0
        self._measures = strategy is nearest
        self.sides = {
            role: Side(role, 0, limits.maxsize, limits.stand_ins_most) for role in (Role.WRITER, Role.READER, None)
        }
        self._writers, self._readers = self.sides[Role.WRITER], self.sides[Role.READER]
        self._readers.maxsize = limits.reader_maxsize if default is not Role.READER else limits.maxsize
        self._set_default(default)
        for side in self.sides.values():
            self._see(side, 0.0)

    def role_of(self, instance_id: str | None) -> Role | None:
        """Name the side that serves an instance which is asked for by its id; None: whichever it is."""
        if self.sight.writer is not None and self.sight.writer.id == instance_id:
            return Role.WRITER
        return Role.READER if instance_id in self.sight.instances else self.default

    def side_of(self, role: Role | None, instance: str | None) -> Side:
        """Give the side where somebody waits who asked for that; role None: the default, or what the instance has."""
        return self.sides[self.role_of(instance) if role is None else role]

    def serves(self, slot: Slot, instance: str | None) -> bool:
        """Tell whether a slot serves, as of now, who asked for its role, or for this instance and no other."""
        return slot.share in slot.side.candidates if instance is None else self._serves_one(slot.share, slot.side)

    def measured(self, slot: Slot, round_trip_s: float | None) -> None:
        """Note how far an instance is, by the kernel of a connection to it."""
        if slot.side is self._readers and round_trip_s is not None:
            self._share(slot.side, slot.instance).round_trip_s = round_trip_s

    @property
    def is_measuring(self) -> bool:
        """Whether a reader is connected to only to see how far it is."""
        return self._measures and any(each.opening and each.round_trip_s is None for each in self._readers.candidates)

    def is_stood_in_for(self, side: Side) -> bool:
        """Tell whether the writer serves in the place of a side, as there is no reader."""
        return side is self._readers and self._has_no_reader and self.sight.writer is not None

    @property
    def lag_s(self) -> float:
        """How far the readers that may serve are behind, as last reported."""
        return max((share.lag_s or 0.0 for share in self._readers.candidates), default=0.0)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(side.waiting for side in self.sides.values())

    @property
    def laggards(self) -> list[str]:
        """The readers that are too far behind, where nobody else serves who asks for a reader."""
        side = self._readers
        return [] if side.candidates else [share.id for share in side.shares.values() if share.is_behind]

    @property
    def is_share_used_up(self) -> bool:
        """Whether there is no reader, and requests for one have all that the writer has for them."""
        return self._has_no_reader and self._writers.stand_ins >= self._writers.stand_ins_most

    # --- inside ------------------------------------------------------------------------------------------------

    def _set_default(self, default: Role | None) -> None:
        """Take the default role to be this; it is the one that `minsize` is kept for."""
        self.default, self.default_side = default, self.sides[default]
        for role, side in self.sides.items():
            least = self.limits.reader_minsize if role is Role.READER else 0
            side.minsize = 0 if self.is_draining else self.limits.minsize if role is default else least

    def _meant(self, default: Role | None) -> list[Slot]:
        """Change the default role; gives the connects that are of no use any more.

        Where any instance will do from now on, all that the old side has moves to the new one if that is empty: one
        limit holds for who came before and who comes later. A role that it has not proved it cannot serve.
        """
        old, given_up = self.default_side, []
        self._set_default(default)
        new = self.default_side
        for side in self.sides.values():
            for waiter in [each for each in (*side.line, *side.guests) if each.role is None and side is not new]:
                side.leave(waiter)
                new.join(waiter)
        if default is None and not new.size:
            for slot in sorted((each for each in self.slots if each.side is old), key=lambda slot: slot.idle_since):
                if slot.where is OPENING:
                    given_up.append(slot)
                else:
                    self._move_slot(slot, new)
        return given_up

    def _move_slot(self, slot: Slot, side: Side) -> None:
        """Count a slot that is idle or leased under another side."""
        slot.uncount()
        slot.side.size, side.size = slot.side.size - 1, side.size + 1
        slot.side, slot.share = side, self._share(side, slot.instance)
        if slot.where is LEASED:
            slot.share.leased += 1
        else:
            slot.share.idle.append(slot)

    def _name(self, side: Side, instance_id: str | None) -> str:
        """Name the share that has what leads to an instance: "" where they are not told apart."""
        return "" if self._is_whole(side) else instance_id or ""

    def _is_whole(self, side: Side) -> bool:
        """Tell whether instances are not told apart: any, or whichever the endpoint leads to, will do."""
        return side.role is None or not self.sight.is_known or (self.sight.is_custom and side is self._readers)

    def _share(self, side: Side, instance_id: str | None) -> Share:
        name = self._name(side, instance_id)
        return side.share(name, self._weights.get(name, 1.0))

    @property
    def _has_no_reader(self) -> bool:
        """Whether requests for a reader go to the writer."""
        return self._writers.stand_ins_most > 0 and self.sight.is_known and not self._readers.candidates

    def _order(self, side: Side) -> Sequence[Share]:
        return self._strategy(side.candidates, self._chance()) if len(side.candidates) > 1 else side.candidates

    def _chosen(self, side: Side) -> Share | None:
        order = self._order(side)
        share = next((each for each in order if each.idle), None)
        if order and share is not order[0]:
            order[0].missed += 1
        if share is not None:
            self._turn += 1
            share.turn = self._turn
        return share

    def _see(self, side: Side, now: float) -> None:
        """See who may serve a side now."""
        sight = self.sight
        if self._is_whole(side):
            share = side.share("")
            share.lag_s = max((each.lag_s or 0.0 for each in sight.readers), default=0.0)
            side.candidates = [share] if sight.readers or not sight.is_custom or side.role is None else []
            side.able = frozenset(each.id for each in sight.readers) if sight.is_custom else frozenset()
        elif side is self._writers:
            side.candidates = [self._share(side, sight.writer.id)] if sight.writer is not None else []
            side.able = frozenset(share.id for share in side.candidates)
        else:
            shares = [self._share(side, each.id) for each in sight.readers]
            near = [share for share in shares if not share.is_behind]
            side.candidates = [share for share in near if share.benched_until <= now] or near
            side.able = frozenset(share.id for share in shares)

    def _serves_one(self, share: Share, side: Side) -> bool:
        """Tell whether a share serves who asks for its instance and no other."""
        return not share.id or share.id in side.able

    def _is_there(self, instance: str | None) -> bool:
        """Tell whether an instance is worth a place that another one has; None: whichever it is."""
        return instance is None or not self.sight.is_known or instance in self.sight.instances

    def _may_open(self, side: Side) -> bool:
        return side is not self._writers or not (self.sight.is_known and self.sight.is_sought)

    def _may_open_to(self, side: Side, instance: str | None, now: float) -> bool:
        """Tell whether to connect for who wants this instance: not where it has another role; None: for the others."""
        if instance is None:
            return side is not self._readers or not self.sight.is_known or bool(side.candidates)
        if instance in side.shares and now < side.shares[instance].paused_until:
            return False
        return instance in side.able or not any(instance in other.able for other in self.sides.values())

    def _take_note(self, sight: Sight, now: float) -> None:
        """Take in what is believed of the cluster, and of each reader."""
        old, self.sight = self.sight, sight
        has_news = sight.writer is not None and (old.writer is None or old.epoch != sight.epoch)
        if has_news or {each.id for each in sight.readers} - {each.id for each in old.readers}:
            for side in self.sides.values():
                side.cheer()  # Whoever has come was not who failed.
        for slot in self.slots:
            self._bring_home(slot)
        for each in sight.readers if sight.is_known else ():  # A new one may be far behind.
            self._share(self._readers, each.id)
        for share in self._readers.shares.values():
            known = sight.instances.get(share.id)
            if known is not None:
                share.note(known, max_lag=self.limits.max_lag, now=now, chance=self._chance())

    def _bring_home(self, slot: Slot) -> None:
        """Count a slot where its instance is counted: these may be told apart only now."""
        home = self._share(slot.side, slot.instance)
        if home is slot.share or slot.where is OPENING:
            return
        if slot.where is LEASED:
            slot.share.leased, home.leased = slot.share.leased - 1, home.leased + 1
        else:
            slot.share.idle.remove(slot)
            home.idle.append(slot)
        slot.share = home

    def _forget_empty(self) -> None:
        """Drop the shares of instances that are gone."""
        for side in self.sides.values():
            for name, share in list(side.shares.items()):
                if name and not share.size and name not in self.sight.instances and name not in side.pinned:
                    del side.shares[name]

    def _move(self) -> None:
        """Move those who wait to where they can be served now."""
        readers, writers = self._readers, self._writers
        source, target, has_no_reader = (readers, writers, True) if self._has_no_reader else (writers, readers, False)
        for waiter in list(source.line if has_no_reader else source.guests):
            source.leave(waiter)
            target.join(waiter, as_guest=has_no_reader)
        for side in self.sides.values():
            for instance in [each for each in side.pinned if each not in side.able]:
                home = self.sides[self.role_of(instance)]
                for waiter in [each for each in side.pinned[instance] if each.role is None and home is not side]:
                    side.leave(waiter)
                    home.join(waiter)
