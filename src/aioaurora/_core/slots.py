"""The pool's books: who has which slot, who waits for one, and what is to be done about it.

One plain object without awaits. Each method changes the books at once and answers with commands, which the pool carries
out in order. What holds after each of them:

- nobody waits beside an idle slot that would serve;
- whoever waits and could be served has a connect under way for him, as far as the limits let (of the side's size, and
  of connects at a time to one instance), unless the writer is being sought or the last connect has just failed;
- a side never has more slots than its `maxsize`, those that are being opened included;
- an idle slot is fresh: it leads to an instance that is what it was when the connection was opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core.commands import Close, Command, Fail, Hand, Open
from aioaurora._core.serving import Serving
from aioaurora._core.shares import GONE, IDLE, LEASED, OPENING, Share, Side, Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aioaurora._core.line import Waiter
    from aioaurora._core.sight import Sight
    from aioaurora.errors import Role

# Of a side, how many connects a look over its books orders at most to bring it back into balance.
_MOVED_AT_ONCE = 0.05
_DRAINED = "the pool is drained"
_MOVED = "the readers are balanced"
_ANEW = "any instance will do"


class Books(Serving):
    """Who has what in one pool."""

    # --- asking ------------------------------------------------------------------------------------------------

    def take(self, side: Side, instance: str | None = None) -> Slot | None:
        """Lease an idle slot; None: there is none to be had now."""
        if instance is not None:
            return self._taken_of(side, instance)
        candidates = side.candidates
        share = candidates[0] if len(candidates) == 1 else self._chosen(side)
        if share is None or not share.idle:
            return self._stand_in() if side is self._readers and not candidates else None
        slot = share.idle.pop()
        slot.where = LEASED
        slot.uses += 1
        share.leased += 1
        return slot

    def put_by(self, slot: Slot) -> None:
        """Take back a slot that was taken just now and was not used."""
        slot.share.leased -= 1
        slot.where = IDLE
        slot.share.idle.append(slot)
        if slot.is_stand_in:
            slot.is_stand_in, slot.side.stand_ins = False, slot.side.stand_ins - 1

    def wait(self, waiter: Waiter[Slot], side: Side, now: float) -> list[Command]:
        """Put somebody into line who could not take a slot."""
        if side is self._readers and self._has_no_reader and waiter.instance is None:
            side = self._writers
            side.join(waiter, as_guest=True)
        else:
            side.join(waiter)
        return self._grown(side, now)

    def give_up(self, waiter: Waiter[Slot]) -> None:
        """Take somebody out of line."""
        for side in self.sides.values():
            side.leave(waiter)

    # --- slots come and go -------------------------------------------------------------------------------------

    def opened(self, slot: Slot, now: float) -> list[Command]:
        """Take in a slot whose connection, instance, epoch and generation have been filled in."""
        side, ordered = slot.side, slot.share
        if slot.where is GONE:
            return [Close(slot, "the pool was closed")]
        slot.uncount()
        slot.share = self._share(side, slot.instance)
        side.cheer()
        if slot.is_pinned and ordered.id != slot.instance:
            ordered.pause(now, self._chance())  # Its name leads elsewhere: that is no reason to hurry.
        slot.stale = slot.staleness(self.sight)
        commands = self._ended(slot, slot.stale) if slot.stale else self._placed(slot, now)
        return [*commands, *self._followed(side, now)]

    def failed(self, slot: Slot, now: float, *, is_final: bool) -> list[Command]:
        """Hear that a slot could not be opened; `is_final`: nor will it be, however often it is tried.

        Who waits goes on waiting where the side has other connections, which may come back, or other instances.
        """
        side, share = slot.side, slot.share
        if slot.where is GONE:
            return []
        slot.uncount()
        self._forget(slot)
        share.pause(now, self._chance())
        if side is self._readers and share.id:
            share.bench(now, self._chance())
            self._see(side, now)
        others = (each for each in side.candidates if each is not share) if side is self._readers else ()
        is_alone = not slot.is_pinned and not any(each.benched_until <= now for each in others)
        if is_alone:
            side.pause(now, self._chance())
        told = side.hopeless(slot.instance, is_alone=is_alone) if is_final else []
        for waiter in told:
            side.leave(waiter)
        return [*map(Fail, told), *self._followed(side, now)]

    def give_back(self, slot: Slot, now: float) -> Sequence[Command]:
        """Take back a leased slot that can be used again."""
        share, side = slot.share, slot.side
        if slot.stale or slot.expires_at <= now or self.is_closing:
            return self.discard(slot, slot.stale or ("it was old" if not self.is_closing else "the pool closes"), now)
        share.leased -= 1
        if slot.is_stand_in:
            slot.is_stand_in, side.stand_ins = False, side.stand_ins - 1
        if side.waiting or self.is_draining:
            commands = self._placed(slot, now)
            return commands if slot.where is LEASED else [*commands, *self._followed(side, now)]
        slot.where = IDLE
        slot.idle_since = now
        share.idle.append(slot)
        return ()

    def discard(self, slot: Slot, why: str, now: float) -> list[Command]:
        """Take a slot out that is not to be used again, wherever it is; doing it twice is no harm."""
        if slot.where is GONE:
            return []
        return [*self._dropped(slot, why), *self._followed(slot.side, now)]

    # --- the cluster changes -----------------------------------------------------------------------------------

    def follow(self, sight: Sight, now: float) -> list[Command]:
        """Follow the cluster: drop what is stale, and serve from whoever is right now."""
        if self.sight.is_known and not sight.is_known:
            return []  # The cluster is about to be followed anew: until then we know more.
        self._take_note(sight, now)
        commands: list[Command] = []
        for slot in [each for each in self.slots if each.where is not OPENING]:
            slot.stale = slot.stale or slot.staleness(self.sight)
            if slot.stale and slot.where is IDLE:
                commands += self._dropped(slot, slot.stale)
        return commands + self.refreshed(now)

    def mean(self, default: Role | None, now: float) -> list[Command]:
        """Take the default role to be this from now on: who took the default is served as what it is now."""
        if default is self.default:
            return []
        given_up = [command for slot in self._meant(default) for command in self._dropped(slot, _ANEW)]
        return given_up + self.refreshed(now)

    def refreshed(self, now: float) -> list[Command]:
        """See anew who may serve, move those who wait to where they are served, and order what is lacking."""
        for side in self.sides.values():
            self._see(side, now)
        self._move()
        self._forget_empty()
        commands = [command for side in self.sides.values() for command in self._followed(side, now)]
        return [*commands, *self._scouts(now)]

    def look_over(self, now: float) -> list[Command]:
        """Once in a while: drop what is old or was idle for long, and bring the readers into balance."""
        limits = self.limits
        commands: list[Command] = []
        for side in self.sides.values():
            for slot, why in side.outworn(now, max_idle=limits.max_idle, recycle_after=limits.recycle_after):
                commands += self._dropped(slot, why)
        if not (self.is_closing or self.is_draining):
            commands += self._balanced(self._readers, now)
        return commands + self.refreshed(now)

    def drain(self, now: float) -> list[Command]:
        """Keep nothing idle from now on; who waits for an instance that had no room gets it."""
        self.is_draining = True
        self._set_default(self.default)  # From now on it asks for no `minsize`.
        dropped = [command for slot in self.idle_slots for command in self._dropped(slot, _DRAINED)]
        return dropped + self.refreshed(now)

    @property
    def idle_slots(self) -> list[Slot]:
        """The slots that nobody has."""
        return [slot for slot in self.slots if slot.where is IDLE]

    def close(self) -> tuple[list[Command], list[Waiter[Slot]]]:
        """Order nothing from now on; gives what to close, and who waits in vain."""
        self.is_closing = True
        commands: list[Command] = []
        for slot in [each for each in self.slots if each.where is not LEASED]:
            commands += self._dropped(slot, "the pool closes")
        told = [waiter for side in self.sides.values() for line in side.lines for waiter in line]
        for waiter in told:
            self.give_up(waiter)
        return commands, told

    # --- inside ------------------------------------------------------------------------------------------------

    def _forget(self, slot: Slot) -> None:
        self.slots.pop(slot, None)
        slot.where = GONE
        slot.side.size -= 1

    def _ended(self, slot: Slot, why: str) -> list[Command]:
        self._forget(slot)
        return [Close(slot, why)]

    def _dropped(self, slot: Slot, why: str) -> list[Command]:
        slot.uncount()
        return self._ended(slot, why)

    def _placed(self, slot: Slot, now: float) -> list[Command]:
        """Give a slot that is counted nowhere to who waits for it, or put it by."""
        slot.idle_since = now
        waiter = self._next(slot)
        if waiter is not None:
            return [self._handed(slot, waiter)]
        if self.is_draining:
            return self._ended(slot, _DRAINED)
        slot.where = IDLE
        slot.share.idle.append(slot)
        return []

    def _followed(self, side: Side, now: float) -> list[Command]:
        """Serve those who can be served as of now, and order what is lacking."""
        return [*self._served(side), *self._grown(side, now)]

    def _handed(self, slot: Slot, waiter: Waiter[Slot]) -> Hand:
        self._leased(slot)
        return Hand(slot, waiter)

    def _next(self, slot: Slot) -> Waiter[Slot] | None:
        """Take out of line who is to have this slot."""
        side, share = slot.side, slot.share
        if not side.waiting:
            return None
        candidates = side.candidates
        is_alone = len(candidates) == 1
        serves_all = candidates[0] is share if is_alone else share in candidates and share in self._order(side)
        waiter = side.next_for(slot.instance, serves_all=serves_all, serves_one=self._serves_one(share, side))
        if waiter is None and serves_all and side.stand_ins < side.stand_ins_most:
            waiter = side.next_guest()
            if waiter is not None:
                slot.is_stand_in, side.stand_ins = True, side.stand_ins + 1
        return waiter

    def _taken_of(self, side: Side, instance: str) -> Slot | None:
        """Lease an idle slot of one instance."""
        share = side.shares.get(self._name(side, instance))
        if share is None or not self._serves_one(share, side):
            return None
        slot = next((each for each in reversed(share.idle) if each.instance == instance), None)
        if slot is not None:
            share.idle.remove(slot)
            self._leased(slot)
        return slot

    def _leased(self, slot: Slot) -> None:
        slot.where = LEASED
        slot.uses += 1
        slot.share.leased += 1

    def _stand_in(self) -> Slot | None:
        """Lease a slot of the writer's to who asks for a reader, of which there is none."""
        side = self._writers
        slot = self.take(side) if self._has_no_reader and side.stand_ins < side.stand_ins_most else None
        if slot is not None:
            slot.is_stand_in, side.stand_ins = True, side.stand_ins + 1
        return slot

    def _served(self, side: Side) -> Iterator[Command]:
        """Hand idle slots to those whom they serve as of now."""
        for share in list(side.shares.values()):
            while share.idle and (waiter := self._next(share.idle[-1])) is not None:
                yield self._handed(share.idle.pop(), waiter)

    def _grown(self, side: Side, now: float) -> list[Command]:
        """Order what those who wait need, and what `minsize` asks for, as far as the limit lets."""
        if side.is_full or self.is_closing or now < side.paused_until or not self._may_open(side):
            return []
        commands: list[Command] = []
        for instance, count in side.lacking(self._order(side)):
            for _ in range(count if self._may_open_to(side, instance, now) else 0):
                share = self._share_to_open(side, instance)
                if share is None:
                    break  # Ordered when one of those that are under way has come.
                if side.size >= side.maxsize:
                    victim = side.victim()
                    if victim is None:
                        return commands
                    if not self._is_there(instance):
                        break
                    commands += self._dropped(victim, "its place is needed")
                commands.append(self._ordered(side, share, pinned=instance))
        return commands

    def _share_to_open(self, side: Side, instance: str | None) -> Share | None:
        """Give the share that is to have one more: of readers, the first in order that has room for a connect."""
        if not instance and side is self._readers and not self._is_whole(side):
            shares = self._order(side)
        else:
            shares = [side.share(instance or "", self._weights.get(instance or "", 1.0))]
        return next((share for share in shares if share.opening < self.limits.connecting), None)

    def _ordered(self, side: Side, share: Share, *, pinned: str | None = None) -> Open:
        self._turn += 1
        share.turn = self._turn
        slot = Slot(side=side, share=share, instance=share.id or None, is_pinned=pinned is not None)
        self.slots[slot] = None
        share.opening, side.opening, side.size = share.opening + 1, side.opening + 1, side.size + 1
        return Open(slot)

    def _scouts(self, now: float) -> Iterator[Command]:
        """Connect once to each reader of which nobody knows how far it is, where that matters."""
        side = self._readers
        if not self._measures or not self.sight.is_known or self.is_closing or self.is_draining:
            return
        for share in side.candidates:
            if share.is_unknown and side.size < side.maxsize and now >= max(side.paused_until, share.benched_until):
                yield self._ordered(side, share)

    def _balanced(self, side: Side, now: float) -> list[Command]:
        """Move a few slots to the readers that the strategy wants and that have none idle."""
        commands: list[Command] = []
        most = max(1, int(side.maxsize * _MOVED_AT_ONCE)) if now >= side.paused_until else 0
        for share in side.poorest(measures=self._measures and self.sight.is_known)[:most]:
            if side.size >= side.maxsize:
                richest = side.richest()
                if richest.size < share.size + 2:
                    continue
                if not richest.idle:
                    self._retire(richest, share, most)
                    break
                commands += self._dropped(richest.idle[0], _MOVED)
            commands.append(self._ordered(side, share))
        return commands

    def _retire(self, rich: Share, poor: Share, most: int) -> None:
        """Have a few leased slots closed when they come back, so that there is room for others."""
        leased = [slot for slot in self.slots if slot.share is rich and slot.where is LEASED]
        retired = sum(bool(slot.stale) for slot in leased)
        spare = (rich.size - poor.size) // 2 - retired
        for slot in [each for each in leased if not each.stale][: max(0, min(most, spare))]:
            slot.stale = _MOVED
