"""Whatever happens in whatever order, the pool's books hold what they promise."""

from __future__ import annotations

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from aioaurora._core.selection import careful, least_leased, nearest, round_robin, two_choices
from aioaurora._core.shares import GONE, IDLE, LEASED, OPENING
from aioaurora._core.sight import Sight
from tests.core.counter import Desk, R, W, sight

NAMES = ("db-1", "db-2", "db-3")


def by_lot(candidates, chance):
    """A user's function that gives one."""
    return candidates[min(int(chance * len(candidates)), len(candidates) - 1)]


STRATEGIES = (two_choices, nearest, round_robin, least_leased, careful(by_lot, lambda error: None))


def one_of(data, things):
    """Draw one of several; told by its number, which is shorter than what it looks like."""
    return things[data.draw(st.integers(0, len(things) - 1))]


class Life(stateful.RuleBasedStateMachine):
    """The life of a pool's books."""

    @stateful.initialize(
        default=st.sampled_from([W, W, R, None]),
        strategy=st.sampled_from(STRATEGIES),
        seed=st.integers(0, 3),
        known=st.booleans(),
        is_custom=st.sampled_from([False, False, False, True]),
        minsize=st.integers(0, 1),
        reader_minsize=st.integers(0, 1),
        maxsize=st.integers(1, 2),
        reader_maxsize=st.integers(1, 3),
        stand_ins_most=st.integers(0, 2),
        max_lag=st.sampled_from([None, 1.0]),
        max_idle=st.sampled_from([None, 3.0]),
    )
    def begin(self, *, is_custom, **options):
        self.is_custom = is_custom
        self.epoch, self.writer, self.is_sought = 1, "db-1", False
        self.members, self.down = set(NAMES), set()
        self.generations, self.lags = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0.0)
        self.has_been_known = options["known"]
        self.desk = Desk(**options)
        self.books = self.desk.books
        self.refresh()

    def refresh(self):
        """Let the books see the cluster as it is."""
        if not self.has_been_known:
            return
        up = sorted(self.members - self.down)
        readers = [name for name in up if name != self.writer]
        writer = self.writer if self.writer in up and not self.is_sought else None
        others = sorted(self.members - set(readers) - {writer})
        self.desk.follow(
            sight(
                writer,
                readers,
                others=others,
                epoch=self.epoch,
                is_sought=self.is_sought,
                is_custom=self.is_custom,
                generations=self.generations,
                lags=self.lags,
            )
        )

    # --- customers ---------------------------------------------------------------------------------------------

    @stateful.precondition(lambda self: not self.books.is_closing)
    @stateful.rule(role=st.sampled_from([None, W, R]))
    def ask(self, role):
        self.desk.ask(f"c{len(self.desk.customers)}", role=role)

    @stateful.precondition(lambda self: not self.books.is_closing)
    @stateful.rule(role=st.sampled_from([None, None, W, R]), instance=st.sampled_from([*NAMES, "db-9"]))
    def ask_for_one(self, role, instance):
        self.desk.ask(f"c{len(self.desk.customers)}", role=role, instance=instance)

    @property
    def waiting(self):
        return [each for each in self.desk.customers if each.still_wants()]

    @property
    def served(self):
        return [each for each in self.desk.customers if each.slot is not None]

    @stateful.precondition(lambda self: self.waiting)
    @stateful.rule(data=st.data())
    def lose_patience(self, data):
        """Cancelled, in the moment before the books hear of it."""
        one_of(data, self.waiting).is_patient = False

    @stateful.rule()
    def give_up(self):
        for each in self.desk.customers:
            if not each.is_patient and each.slot is None:
                self.desk.give_up(each)

    @stateful.precondition(lambda self: self.waiting)
    @stateful.rule(data=st.data())
    def lose_patience_at_once(self, data):
        self.desk.give_up(one_of(data, self.waiting))

    @stateful.precondition(lambda self: self.served)
    @stateful.rule(data=st.data())
    def give_back(self, data):
        customer = one_of(data, self.served)
        slot, side = customer.slot, customer.slot.side
        is_kept = not (slot.stale or self.books.is_closing or self.books.is_draining or side.waiting)
        self.desk.give_back(customer)
        assert not is_kept or slot.where is IDLE, "a fresh slot is kept"

    @stateful.precondition(lambda self: self.served)
    @stateful.rule(data=st.data())
    def lose(self, data):
        customer = one_of(data, self.served)
        slot, customer.slot, customer.is_patient = customer.slot, None, False
        self.desk.do(self.books.discard(slot, "it was lost", self.desk.now))
        self.desk.do(self.books.discard(slot, "it was lost", self.desk.now))

    @stateful.rule(role=st.sampled_from([None, W, R]))
    def take_and_put_by(self, role):
        slot = self.books.take(self.books.sides[role])
        if slot is not None:
            self.books.put_by(slot)

    # --- servers -----------------------------------------------------------------------------------------------

    @stateful.precondition(lambda self: self.desk.opening)
    @stateful.rule(data=st.data())
    def arrive(self, data):
        self.desk.arrive(one_of(data, self.desk.opening))

    @stateful.precondition(lambda self: self.desk.opening)
    @stateful.rule(data=st.data(), at=st.sampled_from(NAMES))
    def arrive_elsewhere(self, data, at):
        self.desk.arrive(one_of(data, self.desk.opening), at)

    @stateful.precondition(lambda self: self.desk.opening)
    @stateful.rule(data=st.data(), is_older_epoch=st.booleans())
    def arrive_stale(self, data, is_older_epoch):
        slot = one_of(data, self.desk.opening)
        if is_older_epoch:
            self.desk.arrive(slot, epoch=self.books.sight.epoch - 1)
        else:
            self.desk.arrive(slot, generation=-1)

    @stateful.precondition(lambda self: self.desk.opening)
    @stateful.rule(data=st.data(), is_final=st.booleans())
    def fail(self, data, is_final):
        self.desk.fail(one_of(data, self.desk.opening), is_final=is_final)

    @stateful.precondition(lambda self: self.books.idle_slots)
    @stateful.rule(data=st.data())
    def hang_up(self, data):
        idle = sorted(self.books.idle_slots, key=lambda slot: (slot.instance, slot.idle_since, slot.uses))
        self.desk.do(self.books.discard(one_of(data, idle), "its server hung up", self.desk.now))

    @stateful.rule(name=st.sampled_from(NAMES), round_trip_s=st.sampled_from([0.0001, 0.002]))
    def measure(self, name, round_trip_s):
        for slot in self.books.slots:
            if slot.instance == name and slot.where is IDLE:
                self.books.measured(slot, round_trip_s)
        self.desk.do(self.books.refreshed(self.desk.now))

    # --- the cluster -------------------------------------------------------------------------------------------

    @stateful.rule()
    def reach(self):
        self.has_been_known = True
        self.refresh()

    @stateful.rule()
    def follow_anew(self):
        """What is not known is no news."""
        self.desk.follow(Sight())

    @stateful.rule()
    def seek(self):
        self.is_sought = True
        self.refresh()

    @stateful.rule(data=st.data())
    def find(self, data):
        up = sorted(self.members - self.down)
        writer = one_of(data, up) if up else None
        self.epoch += writer != self.writer
        self.writer, self.is_sought = writer, False
        self.refresh()

    @stateful.rule(name=st.sampled_from(NAMES), is_written_off=st.booleans())
    def go_down(self, name, is_written_off):
        self.down.add(name)
        self.generations[name] += is_written_off
        self.is_sought |= name == self.writer
        self.refresh()

    @stateful.rule(name=st.sampled_from(NAMES))
    def come_up(self, name):
        self.down.discard(name)
        self.members.add(name)
        self.refresh()

    @stateful.rule(name=st.sampled_from(NAMES))
    def leave_the_cluster(self, name):
        self.members.discard(name)
        self.is_sought |= name == self.writer
        self.refresh()

    @stateful.rule(name=st.sampled_from(NAMES), lag_s=st.sampled_from([0.0, 0.9, 5.0]))
    def lag(self, name, lag_s):
        self.lags[name] = lag_s
        self.refresh()

    @stateful.rule(role=st.sampled_from([W, None]))
    def mean(self, role):
        old, new = self.books.default_side, self.books.sides[role]
        moves = role is None and old is not new and not new.size
        self.desk.do(self.books.mean(role, self.desk.now))
        assert not moves or all(slot.side is not old or slot.where is OPENING for slot in self.books.slots)

    # --- time --------------------------------------------------------------------------------------------------

    @stateful.rule(seconds=st.sampled_from([0.05, 0.2, 1.0, 6.0, 70.0]))
    def pass_time(self, seconds):
        self.desk.tick(seconds)

    @stateful.precondition(lambda self: self.served or self.waiting)
    @stateful.rule()
    def drain(self):
        self.desk.do(self.books.drain(self.desk.now))

    @stateful.precondition(lambda self: self.served or self.waiting)
    @stateful.rule()
    def close(self):
        commands, told = self.books.close()
        self.desk.do(commands)
        for each in told:
            each.fail(RuntimeError())

    # --- what holds --------------------------------------------------------------------------------------------

    @property
    def sides(self):
        return self.books.sides.values()

    @stateful.invariant()
    def counters_are_what_a_recount_says(self):
        slots = self.books.slots
        for side in self.sides:
            mine = [slot for slot in slots if slot.side is side]
            assert side.size == len(mine)
            assert side.opening == sum(slot.where is OPENING for slot in mine)
            assert side.stand_ins == sum(slot.is_stand_in for slot in mine)
            assert side.stand_ins <= side.stand_ins_most
            assert side.waiting == sum(map(len, side.lines))
            for share in side.shares.values():
                its = [slot for slot in mine if slot.share is share]
                assert set(share.idle) == {slot for slot in its if slot.where is IDLE}
                assert len(share.idle) == sum(slot.where is IDLE for slot in its)
                assert share.leased == sum(slot.where is LEASED for slot in its)
                assert share.opening == sum(slot.where is OPENING for slot in its)
            assert side.idle + side.leased + side.opening == side.size
            assert set(side.candidates) <= set(side.shares.values())
        assert set(self.desk.opening) == {slot for slot in slots if slot.where is OPENING}
        assert all(slot.where is not GONE for slot in slots)

    @stateful.invariant()
    def a_slot_is_leased_to_one(self):
        held = [each.slot for each in self.served if each.slot.where is not GONE]
        assert len(held) == len(set(held))
        assert set(held) == {slot for slot in self.books.slots if slot.where is LEASED}

    @stateful.invariant()
    def a_waiter_stands_in_one_line(self):
        standing = [each for side in self.sides for line in side.lines for each in line]
        assert len(standing) == len(set(standing))
        assert {each for each in standing if each.still_wants()} == set(self.waiting)
        for side in self.sides:
            assert not side.guests or self.books._has_no_reader
            assert all(line for line in side.pinned.values())

    @stateful.invariant()
    def a_waiter_stands_where_he_belongs(self):
        default = self.books.default_side
        for side in self.sides:
            assert all(each.role is side.role or (each.role is None and side is default) for each in side.line)
            assert all(each.role is R or (each.role is None and default.role is R) for each in side.guests)

    @stateful.invariant()
    def there_are_never_more_than_maxsize(self):
        assert all(side.size <= side.maxsize for side in self.sides)

    @stateful.invariant()
    def an_idle_slot_is_fresh(self):
        for slot in self.books.idle_slots:
            assert not slot.stale
            assert not slot.staleness(self.books.sight)
            assert slot.connection is not None
            assert not self.books.is_draining
            assert not self.books.is_closing

    def serving(self, side):
        return [share for share in self.books._order(side) if share in side.candidates]

    def serves(self, slot, customer):
        """Tell whether a slot would do for somebody, by the rules alone."""
        share, side = slot.share, slot.side
        if customer.instance is not None:
            return customer.instance == slot.instance and (not share.id or share.id in side.able)
        return share in self.serving(side) and (customer not in side.guests or side.stand_ins < side.stand_ins_most)

    @stateful.invariant()
    def nobody_waits_beside_an_idle_slot_that_would_serve(self):
        for slot in self.books.idle_slots:
            for line in slot.side.lines:
                assert not any(self.serves(slot, each) for each in line if each.still_wants())

    @stateful.invariant()
    def nobody_waits_for_an_instance_beside_the_side_that_has_it(self):
        for side in self.sides:
            for name, line in side.pinned.items():
                home = self.books.sides[self.books.role_of(name)]
                assert home is side or name in side.able or all(each.role is not None for each in line)

    @stateful.invariant()
    def somebody_is_coming_for_who_waits(self):
        books, now = self.books, self.desk.now
        for side in self.sides:
            is_sought = side.role is W and books.sight.is_known and books.sight.is_sought
            if (
                books.is_closing
                or is_sought
                or now < side.paused_until
                or (side.size == side.maxsize and not side.idle)
            ):
                continue
            coming = [slot for slot in self.desk.opening if slot.side is side]
            for name, line in side.pinned.items():
                share = side.shares.get(name)
                is_elsewhere = name not in side.able and any(name in other.able for other in self.sides)
                if is_elsewhere or (share is not None and now < share.paused_until):
                    continue
                count = sum(each.still_wants() for each in line)
                its = [slot for slot in coming if slot.instance == name][:count]
                is_there = not books.sight.is_known or name in books.sight.instances
                assert len(its) == count or (not is_there and side.size == side.maxsize)
                coming = [slot for slot in coming if slot not in its]
            if side.role is R and books.sight.is_known and not side.candidates:
                continue
            wanted = sum(each.still_wants() for each in side.line)
            wanted += min(sum(each.still_wants() for each in side.guests), side.stand_ins_most - side.stand_ins)
            serving = {share.id for share in self.serving(side)} | {""}
            assert sum(slot.share.id in serving for slot in coming) >= wanted
            assert side.size >= side.minsize

    def teardown(self):
        """Closed, and all given back: nothing is left."""
        if not hasattr(self, "books"):
            return
        commands, told = self.books.close()
        self.desk.do(commands)
        for each in told:
            each.fail(RuntimeError())
        for customer in self.served:
            self.desk.give_back(customer)
        assert not self.books.slots
        assert self.books.waiting == 0
        assert not any(side.size or side.opening or side.stand_ins for side in self.sides)
        assert not self.waiting


TestLife = Life.TestCase
TestLife.settings = hypothesis.settings(stateful_step_count=40)
