"""Stands in for a pool's hands: carries out what the books say, at once and on paper, and sees that it is fair."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from aioaurora._core.commands import Close, Command, Fail, Hand, Open
from aioaurora._core.observation import Mode
from aioaurora._core.selection import two_choices
from aioaurora._core.serving import Limits
from aioaurora._core.shares import GONE, IDLE, LEASED, OPENING, Side, Slot
from aioaurora._core.sight import Sight
from aioaurora._core.slots import Books
from aioaurora._core.topology import Instance
from aioaurora.errors import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

W, R = Role.WRITER, Role.READER


class Customer:
    """Somebody who wants a slot."""

    def __init__(self, name: str, role: Role | None, instance: str | None, asked_at: float) -> None:
        self.name, self.role, self.instance, self.asked_at = name, role, instance, asked_at
        self.slot: Slot | None = None
        self.is_patient = True
        self.has_failed = False

    def still_wants(self) -> bool:
        return self.is_patient and self.slot is None and not self.has_failed

    def serve(self, slot: Slot) -> None:
        assert self.still_wants(), "it was handed a slot that it does not want"
        self.slot = slot

    def fail(self, error: BaseException) -> None:
        self.has_failed = True

    def __repr__(self) -> str:
        return self.name


def instance(name: str, *, generation: int = 0, lag_s: float | None = 0.0) -> Instance:
    """One instance, as a topology has it."""
    return Instance(id=name, host=f"{name}.test", port=3306, mode=Mode.READ_ONLY, lag_s=lag_s, generation=generation)


def sight(
    writer: str | None = "db-1",
    readers: Iterable[str] = ("db-2", "db-3"),
    *,
    others: Iterable[str] = (),
    epoch: int = 1,
    is_sought: bool = False,
    is_custom: bool = False,
    generations: dict[str, int] | None = None,
    lags: dict[str, float] | None = None,
) -> Sight:
    """A cluster as a pool sees it: `others` are part of it and serve nobody now."""
    names = [*([writer] if writer else []), *readers, *others]
    made = {
        name: instance(name, generation=(generations or {}).get(name, 0), lag_s=(lags or {}).get(name, 0.0))
        for name in names
    }
    return Sight(
        is_known=True,
        is_sought=is_sought,
        is_custom=is_custom,
        epoch=epoch,
        writer=made[writer] if writer else None,
        readers=tuple(made[name] for name in readers),
        instances=made,
    )


class Desk:
    """Books, the time, and all that was done on their word."""

    def __init__(self, *, default=W, strategy=two_choices, known=True, weights=None, seed=0, **limits) -> None:
        self.books = Books(
            Limits(**{"minsize": 0, **limits}),
            default=default,
            strategy=strategy,
            weights=weights or {},
            chance=random.Random(seed).random,
        )
        self.now = 100.0
        self.opening: list[Slot] = []
        self.closed: list[tuple[Slot, str]] = []
        self.customers: list[Customer] = []
        self.follow(sight() if known else Sight())

    # --- what happens ------------------------------------------------------------------------------------------

    def do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Open(slot):
                    assert slot.where is OPENING
                    self.opening.append(slot)
                case Hand(slot, customer):
                    assert slot.where is LEASED
                    self._sees_no_queue_jumping(slot, customer)
                    customer.serve(slot)
                case Close(slot, why):
                    assert slot.where is GONE
                    assert why
                    self.closed.append((slot, why))
                    self.opening = [each for each in self.opening if each is not slot]
                case Fail(customer):
                    customer.fail(OSError())

    def _sees_no_queue_jumping(self, slot: Slot, customer: Customer) -> None:
        assert not slot.staleness(self.books.sight)
        assert slot.share in slot.side.candidates or customer.instance == slot.instance
        if customer.instance is None:
            others = [each for each in slot.side.line if each.still_wants()]
        else:
            others = [each for each in slot.side.pinned.get(customer.instance, ()) if each.still_wants()]
        assert all(each.asked_at >= customer.asked_at for each in others), "it jumped the queue"

    def ask(self, name="", *, role=None, instance=None) -> Customer:
        """Ask for a slot, as a pool does."""
        books = self.books
        side = books.side_of(role, instance)
        customer = Customer(name, role, instance, self.now)
        self.customers.append(customer)
        slot = books.take(side, instance)
        if slot is None:
            self.do(books.wait(customer, side, self.now))
        else:
            customer.serve(slot)
        return customer

    def arrive(self, slot: Slot, at: str | None = None, *, generation=None, epoch=None) -> None:
        """Let a connect succeed; at whom it was ordered to or else whoever holds the role."""
        seen = self.books.sight
        name = at or slot.instance or self.holder_of(slot.side.role)
        known = seen.instances.get(name)
        slot.connection = object()
        slot.instance = name
        slot.generation = generation if generation is not None else known.generation if known else 0
        slot.epoch = seen.epoch if epoch is None else epoch
        self.opening.remove(slot)
        self.do(self.books.opened(slot, self.now))

    def holder_of(self, role: Role | None) -> str:
        seen = self.books.sight
        if role is R and seen.readers:
            return seen.readers[0].id
        return seen.writer.id if seen.writer else "db-1"

    def arrive_all(self) -> None:
        while self.opening:
            self.arrive(self.opening[0])

    def fail(self, slot: Slot, *, is_final=False) -> None:
        self.opening.remove(slot)
        self.do(self.books.failed(slot, self.now, is_final=is_final))

    def give_back(self, customer: Customer) -> None:
        slot, customer.slot = customer.slot, None
        customer.is_patient = False
        if slot.where is LEASED:
            self.do(self.books.give_back(slot, self.now))

    def give_up(self, customer: Customer) -> None:
        customer.is_patient = False
        self.books.give_up(customer)

    def follow(self, seen: Sight) -> None:
        self.do(self.books.follow(seen, self.now))

    def tick(self, seconds=1.0) -> None:
        self.now += seconds
        self.do(self.books.look_over(self.now))

    # --- what there is -----------------------------------------------------------------------------------------

    def side(self, role=W) -> Side:
        return self.books.sides[role]

    @property
    def why_closed(self) -> Counter[str]:
        return Counter(why for _, why in self.closed)

    @property
    def orders(self) -> list[str | None]:
        """To whom connects are under way."""
        return [slot.instance for slot in self.opening]

    def idle(self, role=W) -> list[str]:
        return sorted(slot.instance for slot in self.books.slots if slot.where is IDLE and slot.side.role is role)
