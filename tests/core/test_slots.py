"""What a pool's books promise, one rule at a time; `test_books.py` has all of them at once."""

from __future__ import annotations

import time

import pytest

from aioaurora._core.selection import nearest, round_robin, two_choices
from aioaurora._core.shares import IDLE, LEASED
from aioaurora._core.sight import Sight
from tests.core.counter import Desk, R, W, sight


def ready(count=1, *, role=W, instances=(), **options):
    """Books with so many idle slots of a role, or of these instances."""
    desk = Desk(**options)
    customers = [desk.ask(role=role, instance=each) for each in instances or [None] * count]
    desk.arrive_all()
    for each in customers:
        desk.give_back(each)
    assert len(desk.idle(role)) == count
    return desk


# --- asking ---------------------------------------------------------------------------------------------------------


def test_idle_slot_is_leased_at_once():
    """The one that was used last: its session and its caches are warm."""
    desk = ready(2)
    last = desk.side().shares["db-1"].idle[-1]

    customer = desk.ask()

    assert customer.slot is last
    assert last.where is LEASED


def test_each_lease_is_told_from_the_next():
    """By how often the slot was leased: a lease that is given back twice must not end somebody else's."""
    desk = ready()
    first = desk.ask()
    uses = first.slot.uses
    desk.give_back(first)

    assert desk.ask().slot.uses > uses


def test_slot_that_was_put_by_is_as_if_never_taken():
    """It goes back to where it was, and counts as idle."""
    desk = ready()

    desk.books.put_by(desk.books.take(desk.side()))

    assert (desk.side().idle, desk.side().leased) == (1, 0)


def test_connect_is_ordered_for_who_finds_nothing_idle():
    """One for each, up to `maxsize`; the fourth waits for one of the three."""
    desk = Desk(maxsize=3)

    for _ in range(4):
        desk.ask()

    assert desk.orders == [None] * 3
    assert desk.books.waiting == 4


def test_first_come_is_first_served():
    """Also by a slot that was ordered for somebody else."""
    desk = Desk(maxsize=2)
    first, second, third = desk.ask("first"), desk.ask("second"), desk.ask("third")

    desk.arrive(desk.opening[1])
    desk.arrive(desk.opening[0])
    desk.give_back(second)

    assert first.slot
    assert third.slot is not None


def test_who_has_to_stand_in_line_again_keeps_his_place():
    """His connection turned out to be dead: he asked before the others all the same."""
    desk = Desk(maxsize=1)
    early = desk.ask("early")
    desk.now += 5
    late = desk.ask("late")
    desk.arrive_all()
    slot, early.slot = early.slot, None
    desk.do(desk.books.wait(early, desk.side(), desk.now))

    desk.do(desk.books.give_back(slot, desk.now))

    assert early.slot is slot
    assert late.slot is None


def test_slot_is_handed_past_who_no_longer_wants_it():
    """Cancelled in the same moment: the next in line gets it."""
    desk = Desk(maxsize=1)
    holder = desk.ask()
    desk.arrive_all()
    cancelled, patient = desk.ask(), desk.ask()
    cancelled.is_patient = False

    desk.give_back(holder)

    assert cancelled.slot is None
    assert patient.slot
    assert desk.books.waiting == 0


def test_who_gave_up_is_out_of_line():
    """Giving up twice, or after having been served, is no harm."""
    desk = Desk(maxsize=1)
    served, waiting = desk.ask(), desk.ask()
    desk.arrive_all()

    for _ in range(2):
        desk.books.give_up(waiting)
        desk.books.give_up(served)

    assert desk.books.waiting == 0
    assert served.slot.where is LEASED


# --- slots come and go ----------------------------------------------------------------------------------------------


def test_returned_slot_is_idle_again():
    """Nothing is closed or ordered."""
    desk = ready()
    customer = desk.ask()
    slot = customer.slot
    desk.now += 7

    desk.give_back(customer)

    assert (slot.where, slot.idle_since) == (IDLE, desk.now)
    assert not desk.closed
    assert not desk.opening


def test_lost_slot_is_replaced_for_who_waits():
    """It is closed, and its place is free."""
    desk = Desk(maxsize=1)
    holder, waiting = desk.ask(), desk.ask()
    desk.arrive_all()
    slot = holder.slot

    desk.do(desk.books.discard(slot, "it was lost", desk.now))
    desk.arrive_all()

    assert desk.closed == [(slot, "it was lost")]
    assert waiting.slot


def test_slot_that_is_too_old_is_closed_when_it_comes_back():
    """Its lifetime ended while it was leased."""
    desk = ready()
    customer = desk.ask()
    customer.slot.expires_at = desk.now + 1
    desk.now += 1

    desk.give_back(customer)

    assert desk.why_closed == {"it was old": 1}
    assert desk.side().size == 0


def test_minsize_is_kept():
    """From the start, and when one is lost."""
    desk = Desk(minsize=2, maxsize=3)
    desk.arrive_all()
    assert len(desk.idle()) == 2

    desk.do(desk.books.discard(desk.books.idle_slots[0], "its server hung up", desk.now))

    assert len(desk.opening) == 1


def test_idle_slots_above_minsize_are_closed_after_max_idle():
    """The one at the bottom, which nobody has needed for so long; the last is kept."""
    desk = ready(3, minsize=1, maxsize=3, max_idle=10.0)
    desk.now += 9
    desk.give_back(desk.ask())

    desk.tick(2.0)
    assert desk.why_closed == {"it was idle for long": 2}
    desk.tick(60.0)

    assert len(desk.idle()) == 1


def test_any_idle_slot_is_replaced_after_pool_recycle():
    """As aiomysql has it: below `minsize` too, but then a new one is opened."""
    desk = ready(1, minsize=1, recycle_after=10.0)

    desk.tick(11.0)

    assert desk.why_closed == {"it was idle for long": 1}
    assert len(desk.opening) == 1


def test_slot_that_is_too_old_is_closed_while_it_is_idle():
    """And replaced as `minsize` says."""
    desk = ready(1, minsize=1)
    desk.books.idle_slots[0].expires_at = desk.now + 5

    desk.tick(4.0)
    assert not desk.closed
    desk.tick(1.0)

    assert desk.why_closed == {"it was old": 1}
    assert len(desk.opening) == 1


def test_closing_a_slot_twice_is_no_harm():
    """Whoever comes second finds it gone."""
    desk = ready()
    (slot,) = desk.books.idle_slots

    for _ in range(2):
        desk.do(desk.books.discard(slot, "its server hung up", desk.now))

    assert desk.closed == [(slot, "its server hung up")]
    assert desk.side().size == 0


# --- connects that fail ---------------------------------------------------------------------------------------------


def test_failed_connect_is_tried_again_after_a_pause():
    """Whoever waits goes on waiting; a loop without a pause would be a storm (case 29)."""
    desk = Desk()
    customer = desk.ask()

    desk.fail(desk.opening[0])
    assert not desk.opening
    desk.tick(0.05)
    assert not desk.opening
    desk.tick(0.1)

    assert len(desk.opening) == 1
    assert customer.still_wants()


def test_pause_grows_with_each_failure_up_to_its_most():
    """And is forgotten with the first success."""
    desk = Desk()
    desk.ask()
    pauses = []
    for _ in range(9):
        desk.fail(desk.opening[0])
        pauses.append(desk.side().pause_s)
        desk.tick(desk.side().paused_until - desk.now)

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    desk.arrive_all()
    assert desk.side().pause_s == 0.0


def test_connects_that_fail_together_are_one_failure():
    """They were begun together: twenty of them must not be paid for with the longest pause."""
    desk = Desk(maxsize=20)
    for _ in range(20):
        desk.ask()

    for slot in list(desk.opening):
        desk.fail(slot)

    assert desk.side().pause_s == 0.1


def test_new_writer_ends_the_pause():
    """What failed was another one: who waits is served at once."""
    desk = Desk()
    desk.ask()
    desk.fail(desk.opening[0])
    assert not desk.opening

    desk.follow(sight("db-2", ["db-3"], others=["db-1"], epoch=2))

    assert len(desk.opening) == 1


def test_writer_that_comes_back_ends_the_pause():
    """It is the same, and was sought."""
    desk = Desk()
    desk.ask()
    desk.fail(desk.opening[0])
    desk.follow(sight(None, others=["db-1"], is_sought=True))

    desk.follow(sight())

    assert len(desk.opening) == 1


def test_final_failure_tells_all_who_wait_where_nothing_is_alive():
    """A wrong password is wrong for everybody."""
    desk = Desk(maxsize=2)
    customers = [desk.ask() for _ in range(4)]

    desk.fail(desk.opening[0], is_final=True)

    assert all(each.has_failed for each in customers)
    assert desk.books.waiting == 0


def test_final_failure_tells_nobody_where_a_connection_lives():
    """It may come back to them."""
    desk = Desk(maxsize=2)
    holder = desk.ask()
    desk.arrive_all()
    customers = [desk.ask(), desk.ask()]

    desk.fail(desk.opening[0], is_final=True)
    desk.give_back(holder)

    assert not any(each.has_failed for each in customers)
    assert customers[0].slot


def test_passing_failure_tells_nobody():
    """The next try may succeed."""
    desk = Desk()
    customer = desk.ask()

    desk.fail(desk.opening[0])

    assert not customer.has_failed


def test_final_failure_of_one_reader_is_no_failure_of_the_others():
    """Another reader is dialled at once, without a pause."""
    desk = Desk()
    customer = desk.ask(role=R)
    (first,) = desk.orders

    desk.fail(desk.opening[0], is_final=True)

    assert not customer.has_failed
    assert desk.orders == [{"db-2": "db-3", "db-3": "db-2"}[first]]


def test_final_failure_of_the_only_reader_tells_who_waits():
    """And who falls back is not meant."""
    desk = Desk()
    desk.follow(sight(readers=["db-2"]))
    customer = desk.ask(role=R)

    desk.fail(desk.opening[0], is_final=True)

    assert customer.has_failed


def test_final_failure_of_one_instance_is_the_failure_of_those_who_want_it():
    """`instance="db-9"` is a slip of one caller: the others wait for the writer, and are not even paused."""
    desk = Desk(maxsize=3)
    other, lost = desk.ask(), desk.ask(instance="db-9")
    assert desk.orders == [None, "db-9"]

    desk.fail(desk.opening[1], is_final=True)
    desk.ask()

    assert lost.has_failed
    assert not other.has_failed
    assert desk.orders == [None, None]


def test_final_failure_of_one_instance_is_none_where_it_has_a_connection():
    """It may come back to who waits."""
    desk = Desk()
    holder = desk.ask(role=R, instance="db-2")
    desk.arrive_all()
    customer = desk.ask(role=R, instance="db-2")

    desk.fail(desk.opening[0], is_final=True)
    desk.give_back(holder)

    assert customer.slot


def test_passing_failure_of_one_instance_is_paced():
    """Nobody else is paused by it."""
    desk = Desk()
    desk.ask(role=R, instance="db-2")

    desk.fail(desk.opening[0])
    assert not desk.opening
    desk.tick(0.2)

    assert desk.orders == ["db-2"]


# --- the cluster changes --------------------------------------------------------------------------------------------


def test_idle_slots_of_the_old_writer_are_closed_at_once():
    """Leased ones when they come back; whoever waits is served from the new one."""
    desk = ready(2, maxsize=3)
    holder = desk.ask()

    desk.follow(sight("db-2", ["db-3", "db-1"], epoch=2))
    assert desk.why_closed == {"the writer changed": 1}
    desk.give_back(holder)
    customer = desk.ask()
    desk.arrive_all()

    assert desk.why_closed == {"the writer changed": 2}
    assert customer.slot.instance == "db-2"


def test_nothing_is_opened_while_the_writer_is_sought():
    """Whoever waits keeps his place."""
    desk = Desk()
    desk.follow(sight(None, others=["db-1"], is_sought=True))
    customer = desk.ask()
    desk.tick()
    assert not desk.opening

    desk.follow(sight())
    desk.arrive_all()

    assert customer.slot


def test_nothing_of_the_writer_is_handed_out_while_it_is_sought():
    """It was silent, and comes back: what is idle still is as good as before."""
    desk = ready()
    desk.follow(sight(None, others=["db-1"], is_sought=True))
    customer = desk.ask()
    assert customer.slot is None

    desk.follow(sight())

    assert customer.slot
    assert not desk.opening
    assert not desk.closed


def test_connection_that_arrives_too_late_is_closed():
    """Its instance was written off while it was being opened; another one is ordered."""
    desk = Desk()
    customer = desk.ask()
    desk.follow(sight(generations={"db-1": 1}))

    desk.arrive(desk.opening[0], generation=0)

    assert desk.why_closed == {"its instance was written off": 1}
    assert len(desk.opening) == 1
    assert customer.still_wants()


def test_reader_that_is_promoted_serves_no_reader():
    """Its connections are closed as they come back."""
    desk = ready(role=R)
    customer = desk.ask(role=R)
    promoted = customer.slot.instance
    other = {"db-2": "db-3", "db-3": "db-2"}[promoted]

    desk.follow(sight(promoted, [other], others=["db-1"], epoch=2))
    desk.give_back(customer)

    assert desk.why_closed == {"its instance is the writer now": 1}


def test_what_was_known_is_not_forgotten():
    """The cluster is about to be followed anew: nothing is closed meanwhile."""
    desk = ready()

    desk.follow(Sight())

    assert desk.books.sight == sight()
    assert desk.idle() == ["db-1"]


def test_slots_are_told_apart_when_the_cluster_is_reached():
    """Those that were opened before serve as any others."""
    desk = ready(1, role=R, known=False)
    held = desk.ask()
    desk.arrive(desk.opening[0], "db-1")
    desk.books.idle_slots[0].instance = "db-2"

    desk.follow(sight(epoch=0))
    desk.give_back(held)

    assert desk.ask(role=R).slot.instance == "db-2"
    assert desk.ask().slot.instance == "db-1"
    assert not desk.opening


# --- readers --------------------------------------------------------------------------------------------------------


def test_maxsize_of_readers_is_their_own():
    """It is spread over the instances."""
    desk = Desk(maxsize=1, reader_maxsize=4)

    for _ in range(6):
        desk.ask(role=R)

    assert sorted(desk.orders) == ["db-2", "db-2", "db-3", "db-3"]


@pytest.mark.parametrize("strategy", [two_choices, round_robin])
def test_connects_that_are_ordered_together_are_spread(strategy):
    """What is being opened counts, as if it were leased."""
    desk = Desk(strategy=strategy, reader_maxsize=10)

    for _ in range(10):
        desk.ask(role=R)

    assert desk.orders.count("db-2") == 5


def test_reader_that_fails_is_left_out_for_a_while_that_grows():
    """It is asked again at last; after a minute of good conduct it is as good as new."""
    desk = Desk()
    desk.follow(sight(readers=["db-2", "db-3"]))
    share, benches = desk.side(R).shares["db-2"], []
    for _ in range(3):
        customer = desk.ask(role=R, instance="db-2")
        desk.fail(desk.opening[-1])
        desk.give_up(customer)
        benches.append(share.bench_s)
        assert share not in desk.side(R).candidates
        desk.tick(share.benched_until - desk.now)
        assert share in desk.side(R).candidates

    assert benches == [1.0, 2.0, 4.0]
    desk.tick(61.0)
    share.bench(desk.now, 0.5)
    assert share.bench_s == 1.0


def test_bench_does_not_grow_by_what_was_begun_before():
    """Four connects that fail together are one failure."""
    desk = Desk()
    share = desk.side(R).shares["db-2"]

    for _ in range(4):
        share.bench(desk.now, 0.0)

    assert (share.bench_s, share.benched_until) == (1.0, desk.now + 0.75)


def test_reader_whose_connections_broke_is_left_out_for_a_while():
    """It was written off, and says that it is back: it has to prove itself."""
    desk = ready(role=R)
    (broken,) = desk.idle(R)
    other = {"db-2": "db-3", "db-3": "db-2"}[broken]

    desk.follow(sight(generations={broken: 1}))

    assert [share.id for share in desk.side(R).candidates] == [other]
    desk.tick(1.0)
    assert len(desk.side(R).candidates) == 2
    desk.ask(role=R, instance=broken)
    desk.follow(sight(generations={broken: 1}, lags={other: 0.1}))
    assert len(desk.side(R).candidates) == 2


def test_benched_reader_is_better_than_none():
    """All are benched: all are asked, with a pause between."""
    desk = Desk()
    desk.ask(role=R)
    desk.fail(desk.opening[0])
    desk.fail(desk.opening[0])

    assert not desk.opening
    assert len(desk.side(R).candidates) == 2
    desk.tick(0.2)
    assert len(desk.opening) == 1


def test_idle_slot_of_a_benched_reader_serves_when_all_are_benched():
    """Nobody waits beside it."""
    desk = ready(role=R)
    (benched,) = desk.idle(R)
    desk.side(R).shares[benched].bench(desk.now, 1.0)
    desk.do(desk.books.refreshed(desk.now))
    customer = desk.ask(role=R)
    assert customer.slot is None

    desk.fail(desk.opening[0])

    assert customer.slot.instance == benched


def test_reader_that_lags_is_cut_off_and_does_not_flap():
    """Above `max_lag` it serves nobody, until it is well below (case 4)."""
    desk = Desk(max_lag=1.0)
    seen = []
    for lag_s in (1.0, 1.1, 0.9, 0.81, 0.8, 0.9, 1.1):
        desk.follow(sight(lags={"db-2": lag_s}))
        seen.append(len(desk.side(R).candidates))

    assert seen == [2, 1, 1, 1, 2, 2, 1]


def test_reader_whose_lag_is_unknown_is_as_it_was():
    """Nothing is concluded from no report."""
    desk = Desk(max_lag=1.0)
    desk.follow(sight(lags={"db-2": 2.0}))

    desk.follow(sight(lags={"db-2": None}))

    assert [share.id for share in desk.side(R).candidates] == ["db-3"]


def test_new_reader_takes_its_share_within_a_minute():
    """By a few connections at a time, in a pool that is full: never by a storm."""
    desk = Desk(reader_maxsize=40)
    desk.follow(sight(readers=["db-2", "db-3"]))
    customers = [desk.ask(role=R) for _ in range(40)]
    desk.arrive_all()
    desk.follow(sight(readers=["db-2", "db-3", "db-4"]))
    closed = []
    for _ in range(60):
        before = len(desk.closed)
        for _ in range(10):
            desk.give_back(customers.pop(0))
            customers.append(desk.ask(role=R))
        desk.tick()
        closed.append(len(desk.closed) - before)
        desk.arrive_all()

    sizes = {share.id: share.size for share in desk.side(R).candidates}
    assert sizes["db-4"] >= 11
    assert all(sum(closed[:second]) <= 2 * second for second in range(61))


def test_new_reader_takes_its_share_of_idle_connections():
    """The richest gives one of those that nobody has."""
    desk = ready(2, role=R, reader_maxsize=2)
    desk.follow(sight(readers=["db-2"]))
    desk.follow(sight(readers=["db-2", "db-3"]))
    desk.arrive_all()
    for each in [desk.ask(role=R) for _ in range(2)]:
        desk.arrive_all()
        desk.give_back(each)

    for _ in range(20):
        desk.give_back(desk.ask(role=R))
        desk.tick()
        desk.arrive_all()

    assert desk.idle(R) == ["db-2", "db-3"]


def test_no_more_leases_are_ended_than_make_it_even():
    """They take minutes: half of what the richest has too much is asked back, however long that takes."""
    desk = Desk(reader_maxsize=10)
    desk.follow(sight(readers=["db-2"]))
    holders = [desk.ask(role=R) for _ in range(10)]
    desk.arrive_all()
    desk.follow(sight(readers=["db-2", "db-3"]))

    for _ in range(60):
        desk.give_up(desk.ask(role=R))
        desk.tick()

    assert sum(bool(each.slot.stale) for each in holders) == 5


def test_balance_is_not_kept_for_its_own_sake():
    """A reader that nobody would be led to gets no connection."""
    desk = ready(4, role=R, reader_maxsize=4)

    for _ in range(10):
        desk.tick()

    assert not desk.closed
    assert not desk.opening


def test_readers_are_measured_once_where_distance_matters():
    """One connection each; who is measured is not asked again."""
    desk = Desk(strategy=nearest)
    assert sorted(desk.orders) == ["db-2", "db-3"]
    assert desk.books.is_measuring

    for slot in list(desk.opening):
        desk.arrive(slot)
        desk.books.measured(slot, 0.001)
    for slot in desk.books.idle_slots:
        desk.do(desk.books.discard(slot, "it was idle for long", desk.now))
    desk.tick()

    assert not desk.opening
    assert not desk.books.is_measuring


def test_reader_is_measured_in_a_full_pool_too():
    """Room is made for it: else it would never be used."""
    desk = Desk(strategy=nearest, reader_maxsize=2, known=False)
    desk.follow(sight(readers=["db-2"]))
    desk.arrive(desk.opening[0])
    desk.books.measured(desk.books.idle_slots[0], 0.001)
    holders = [desk.ask(role=R, instance="db-2") for _ in range(2)]
    desk.arrive_all()
    desk.follow(sight(readers=["db-2", "db-3"]))

    for _ in range(3):
        desk.tick()
        for each in holders:
            if each.slot:
                desk.give_back(each)

    assert "db-3" in desk.orders


def test_nobody_is_measured_where_distance_does_not_matter():
    """A reader that is not asked for costs no connection."""
    desk = Desk()
    desk.ask(role=R)

    assert len(desk.opening) == 1
    assert not desk.books.is_measuring


def test_far_reader_makes_room_for_a_near_one():
    """In a full pool: whoever waits is not kept waiting beside a connection that does not serve him."""
    desk = Desk(strategy=nearest, reader_maxsize=2)
    for slot in list(desk.opening):
        desk.arrive(slot)
        desk.books.measured(slot, 0.0001 if slot.instance == "db-2" else 0.002)
    desk.do(desk.books.refreshed(desk.now))
    near, far = desk.ask(role=R), desk.ask(role=R, instance="db-3")
    waiting = desk.ask(role=R)
    assert (near.slot.instance, far.slot.instance, waiting.slot) == ("db-2", "db-3", None)

    desk.give_back(far)

    assert desk.why_closed == {"its place is needed": 1}
    assert desk.orders == ["db-2"]


def test_readers_of_a_custom_endpoint_are_not_told_apart():
    """DNS alone says who its members are: nobody is asked by name, or is missed."""
    desk = Desk(known=False, strategy=nearest, reader_maxsize=3)
    desk.follow(sight(is_custom=True, lags={"db-2": 0.2, "db-3": 0.4}))
    customers = [desk.ask(role=R) for _ in range(3)]
    assert desk.orders == [None] * 3

    desk.arrive_all()
    for each in customers:
        desk.give_back(each)
        desk.give_back(desk.ask(role=R))
        desk.tick()

    assert len(desk.idle(R)) == 3
    assert not desk.closed
    assert desk.books.lag_s == 0.4
    assert desk.ask(role=R, instance="db-2").slot.instance == "db-2"


def test_writer_stands_in_for_a_custom_endpoint_without_readers():
    """The cluster has none; when one comes, it is asked."""
    desk = Desk(known=False, stand_ins_most=1)
    desk.follow(sight(readers=[], is_custom=True))
    guest = desk.ask(role=R)
    assert desk.opening[0].side.role is W

    desk.follow(sight(readers=["db-2"], is_custom=True))

    assert guest.still_wants()
    assert [slot.side.role for slot in desk.opening] == [W, R]


# --- the writer in place of a reader --------------------------------------------------------------------------------


def without_readers(**options):
    """Books of a cluster that has lost its readers; the writer has one idle slot."""
    desk = ready(1, **options)
    desk.follow(sight(readers=[]))
    return desk


def test_writer_stands_in_for_readers_within_its_share():
    """Two of four; the third waits, though there would be room (case 17)."""
    desk = without_readers(maxsize=4, stand_ins_most=2)
    readers = [desk.ask(role=R) for _ in range(3)]
    desk.arrive_all()

    assert [each.slot is not None for each in readers] == [True, True, False]
    assert desk.side().stand_ins == 2
    holder = desk.ask()
    desk.arrive_all()
    desk.give_back(holder)
    assert readers[2].slot is None
    desk.give_back(readers[0])
    assert readers[2].slot


def test_stand_in_that_was_put_by_is_none_any_more():
    """The next one may have it."""
    desk = without_readers(stand_ins_most=1)

    for _ in range(2):
        slot = desk.books.take(desk.side(R))
        assert slot.is_stand_in
        desk.books.put_by(slot)

    assert desk.side().stand_ins == 0


def test_writer_does_not_stand_in_where_it_must_not():
    """`reader_fallback=False`: who wants a reader waits for one."""
    desk = without_readers(stand_ins_most=0)
    customer = desk.ask(role=R)
    desk.tick()
    assert customer.slot is None
    assert not desk.opening

    desk.follow(sight(readers=["db-2"]))
    desk.arrive_all()

    assert customer.slot.instance == "db-2"


def test_who_wants_the_writer_comes_before_who_wants_a_reader():
    """However early the other asked."""
    desk = without_readers(maxsize=1, stand_ins_most=1)
    holder = desk.ask()
    guest = desk.ask(role=R)
    desk.now += 1
    customer = desk.ask()

    desk.give_back(holder)

    assert customer.slot
    assert guest.slot is None


def test_loss_of_a_stand_in_lets_the_next_in():
    """An idle slot of the writer's serves him: nothing is opened."""
    desk = ready(2, maxsize=3, stand_ins_most=1)
    desk.follow(sight(readers=[]))
    guest, waiting = desk.ask(role=R), desk.ask(role=R)
    assert waiting.slot is None

    desk.do(desk.books.discard(guest.slot, "it was lost", desk.now))

    assert waiting.slot
    assert waiting.slot.is_stand_in
    assert not desk.opening


def test_writer_that_is_sought_does_not_stand_in():
    """What comes back of it is put by, until it is known to be the writer."""
    desk = without_readers(maxsize=1, stand_ins_most=1)
    holder, guest = desk.ask(), desk.ask(role=R)
    desk.follow(sight(None, [], others=["db-1"], is_sought=True))

    desk.give_back(holder)
    assert guest.slot is None
    desk.follow(sight(readers=[]))

    assert guest.slot


def test_writer_does_not_stand_in_for_who_wants_one_reader():
    """He waits for that reader, and can give up as anybody."""
    desk = ready(2, maxsize=2, stand_ins_most=2)
    desk.follow(sight(readers=[], others=["db-2"]))

    customer = desk.ask(role=R, instance="db-2")
    assert customer.slot is None
    desk.give_up(customer)

    assert desk.books.waiting == 0


def test_guests_go_back_to_the_readers_when_there_is_one():
    """In the order in which they asked."""
    desk = without_readers(maxsize=1, stand_ins_most=1)
    holder = desk.ask()
    guest = desk.ask("guest", role=R)

    desk.follow(sight(readers=["db-2"]))
    desk.arrive_all()
    desk.give_back(holder)

    assert guest.slot.instance == "db-2"
    assert desk.idle() == ["db-1"]


def test_who_waits_for_a_reader_is_served_by_the_writer_when_there_is_none_any_more():
    """Its last reader left."""
    desk = ready(1, stand_ins_most=1)
    customer = desk.ask(role=R)

    desk.follow(sight(readers=[], others=["db-2", "db-3"]))

    assert customer.slot.instance == "db-1"
    assert customer.slot.is_stand_in


# --- one instance ---------------------------------------------------------------------------------------------------


def test_who_wants_one_instance_gets_no_other():
    """Whoever comes after him is served first by the others."""
    desk = Desk(reader_maxsize=2)
    pinned = desk.ask(role=R, instance="db-2")
    other = desk.ask(role=R)

    desk.arrive(desk.opening[1], "db-3")
    assert (pinned.slot, other.slot.instance) == (None, "db-3")
    desk.arrive(desk.opening[0])

    assert pinned.slot.instance == "db-2"


@pytest.mark.parametrize("pinned_first", [True, False])
def test_who_asked_first_is_served_first_whatever_he_wants(pinned_first):
    """One wants this reader, the other any."""
    desk = Desk(reader_maxsize=1)
    holder = desk.ask(role=R, instance="db-2")
    desk.arrive_all()
    wishes = ["db-2", None] if pinned_first else [None, "db-2"]
    first, second = [desk.ask(role=R, instance=each) for each in wishes]

    desk.give_back(holder)

    assert first.slot
    assert second.slot is None


def test_nothing_is_handed_out_of_an_instance_that_is_late():
    """Its heartbeat is overdue: what is idle waits with who wants it."""
    desk = Desk()
    held = desk.ask(role=R, instance="db-2")
    desk.arrive_all()
    desk.give_back(held)
    desk.follow(sight(readers=["db-3"], others=["db-2"]))

    customer = desk.ask(role=R, instance="db-2")
    assert customer.slot is None
    desk.follow(sight())

    assert customer.slot


def test_place_is_made_for_who_wants_one_instance():
    """The side is full of idle slots of others."""
    desk = ready(2, role=R, reader_maxsize=2, strategy=round_robin)
    desk.follow(sight(readers=["db-2", "db-3", "db-4"]))

    customer = desk.ask(role=R, instance="db-4")
    desk.arrive_all()

    assert customer.slot.instance == "db-4"
    assert desk.why_closed == {"its place is needed": 1}


def test_no_place_is_made_for_an_instance_that_is_not_there():
    """Whatever callers make up must not cost a connection; who waits for one that left goes on waiting."""
    desk = ready(1, maxsize=2)
    stranger, another = desk.ask(instance="db-99"), desk.ask(instance="db-99")

    desk.tick()

    assert desk.orders == ["db-99"]
    assert not desk.closed
    assert desk.ask().slot is not None
    assert stranger.still_wants()
    assert another.still_wants()


def test_who_waits_for_an_instance_that_is_not_there_is_in_nobodys_way():
    """An idle slot of another instance makes place for who can use it."""
    desk = ready(instances=["db-2"], role=R, reader_maxsize=1)
    desk.ask(role=R, instance="db-99")
    desk.ask(role=R, instance="db-3")

    assert desk.orders == ["db-3"]
    assert desk.why_closed == {"its place is needed": 1}


def test_who_waits_for_an_instance_follows_it_to_its_new_role():
    """He did not ask for a role; a connect as writer would fail, again and again, and keep all others waiting."""
    desk = Desk(maxsize=1)
    desk.follow(sight(None, ["db-2"], others=["db-1"], is_sought=True))
    customer = desk.ask(instance="db-1")

    desk.follow(sight("db-2", ["db-1"], epoch=2))
    desk.arrive_all()

    assert customer.slot.instance == "db-1"
    assert customer.slot.side.role is R


def test_who_wants_an_instance_in_a_role_that_it_does_not_have_waits():
    """Nothing is dialled meanwhile; a change of roles serves him."""
    desk = Desk()
    customer = desk.ask(role=W, instance="db-2")
    desk.tick()
    assert not desk.opening

    desk.follow(sight("db-2", ["db-3"], others=["db-1"], epoch=2))
    desk.arrive_all()

    assert customer.slot.instance == "db-2"


def test_name_that_leads_elsewhere_is_not_dialled_over_and_over():
    """After a blue/green switchover: the connection is put by, and the next try is paced."""
    desk = Desk()
    customer = desk.ask(role=R, instance="db-2")

    desk.arrive(desk.opening[0], "db-3")

    assert desk.idle(R) == ["db-3"]
    assert not desk.opening
    desk.tick(0.2)
    assert desk.orders == ["db-2"]
    assert customer.still_wants()


def test_one_connect_is_ordered_for_who_wants_one_instance_of_an_unknown_cluster():
    """However often the books are looked at."""
    desk = Desk(known=False)
    customer = desk.ask(instance="db-2")
    desk.tick()
    assert desk.orders == ["db-2"]

    desk.arrive(desk.opening[0])
    desk.give_back(customer)

    assert desk.ask(instance="db-2").slot.instance == "db-2"


def test_instance_is_asked_for_on_the_side_that_has_it():
    """An unknown one on the default side, whose connect says that there is none."""
    desk = Desk()

    assert [desk.books.role_of(name) for name in ("db-1", "db-2", "db-9")] == [W, R, W]
    assert desk.books.side_of(None, "db-2").role is R
    assert desk.books.side_of(W, "db-2").role is W
    assert desk.books.side_of(R, None).role is R


def test_names_that_were_asked_for_in_vain_are_forgotten():
    """Whatever callers make up must not pile up."""
    desk = Desk(maxsize=100)
    for number in range(50):
        desk.ask(instance=f"db-9{number}")
    for slot in list(desk.opening):
        desk.fail(slot, is_final=True)

    desk.tick()

    assert set(desk.side().shares) <= {"", "db-1"}


# --- the end --------------------------------------------------------------------------------------------------------


def test_closed_pool_gives_back_whoever_waits_and_whatever_is_idle():
    """Leased slots are closed when they come back; then nothing is left."""
    desk = ready(2, maxsize=2)
    holder = desk.ask()
    blocked = desk.ask(role=R)

    commands, told = desk.books.close()
    desk.do(commands)
    assert told == [blocked]
    desk.give_back(holder)

    assert desk.why_closed == {"the pool closes": 3}
    assert not desk.books.slots


def test_connection_that_arrives_after_the_end_is_closed():
    """Whether it succeeded or not."""
    desk = Desk(maxsize=2)
    desk.ask()
    desk.ask()
    first, second = desk.opening
    desk.do(desk.books.close()[0])

    assert [each.why for each in desk.books.opened(first, desk.now)] == ["the pool was closed"]
    assert desk.books.failed(second, desk.now, is_final=True) == []


def test_drained_pool_keeps_nothing_idle_and_goes_on_serving():
    """Whoever waits gets what comes back; what is left over, or is opened too late, is closed."""
    desk = ready(1, minsize=1, maxsize=2)
    holder, late = desk.ask(), desk.ask()
    waiting = desk.ask()
    desk.do(desk.books.drain(desk.now))

    desk.give_back(holder)
    assert late.slot
    desk.arrive_all()
    assert waiting.slot
    for each in (late, waiting):
        desk.give_back(each)
    desk.tick()

    assert not desk.books.slots
    assert desk.why_closed == {"the pool is drained": 2}


def test_connection_that_nobody_waits_for_is_closed_by_a_drained_pool():
    """`minsize` had asked for it."""
    desk = Desk(minsize=1)
    desk.do(desk.books.drain(desk.now))

    desk.arrive_all()
    desk.do(desk.books.mean(None, desk.now))
    desk.tick()

    assert not desk.books.slots


def test_drained_pool_has_room_for_who_waits_for_an_instance():
    """Nobody's idle connection is closed for one that may not be there; a drained pool has none."""
    desk = ready(1, minsize=1, maxsize=1)
    desk.ask(instance="db-9")
    assert desk.opening == []

    desk.do(desk.books.drain(desk.now))

    assert [slot.instance for slot in desk.opening] == ["db-9"]


def test_drained_pool_measures_nobody():
    """It would never be empty."""
    desk = Desk(strategy=nearest)
    desk.arrive_all()
    desk.do(desk.books.drain(desk.now))

    desk.tick()

    assert not desk.books.slots


# --- what is meant, and what it costs -------------------------------------------------------------------------------


def test_default_role_is_what_minsize_is_kept_for():
    """It is learnt only when the server has answered that it is no Aurora."""
    desk = Desk(minsize=2, reader_minsize=1, maxsize=5, reader_maxsize=3)
    books = desk.books
    assert [books.sides[role].minsize for role in (W, R, None)] == [2, 1, 0]

    desk.do(books.mean(None, desk.now))

    assert [books.sides[role].minsize for role in (W, R, None)] == [0, 1, 2]
    assert books.default_side is books.sides[None]


def test_one_limit_holds_for_who_came_before_the_default_was_known():
    """A plain server shows that it is one when some have asked already: what they have counts where others ask."""
    desk = Desk(known=False, maxsize=3)
    leased, returned, waiting, late = (desk.ask() for _ in range(4))
    desk.arrive(desk.opening[0])
    desk.arrive(desk.opening[0])
    desk.give_back(returned)
    assert waiting.slot is not None
    old, new = desk.side(W), desk.side(None)

    desk.do(desk.books.mean(None, desk.now))

    assert (old.size, old.waiting, new.size, new.leased, new.waiting) == (0, 0, 3, 2, 1)
    assert [slot.side for slot in desk.opening] == [new]
    desk.arrive_all()
    assert late.slot.side is new
    assert desk.ask().slot is None
    assert desk.books.default_side.size == 3
    assert leased.slot.side is new


def test_idle_slots_serve_the_new_default():
    """The one that was used last first, as ever."""
    desk = Desk(known=False, maxsize=3)
    customers = [desk.ask() for _ in range(3)]
    desk.arrive_all()
    for each in reversed(customers):
        desk.now += 1
        desk.give_back(each)
    last = desk.side(W).shares[""].idle[-1]

    desk.do(desk.books.mean(None, desk.now))

    assert desk.ask().slot is last
    assert desk.side(None).idle == 2


def test_who_asked_for_the_writer_gets_one_that_proved_to_be_it():
    """Whatever the default has become meanwhile; the connect under way is asked for no role any more."""
    desk = Desk(known=False, maxsize=1)
    default, explicit = desk.ask(), desk.ask(role=W)

    desk.do(desk.books.mean(None, desk.now))
    assert {slot.side.role for slot in desk.opening} == {W, None}
    desk.arrive_all()

    assert default.slot.side is desk.side(None)
    assert explicit.slot.side is desk.side(W)


def test_slots_of_any_role_do_not_become_the_writers():
    """They have not proved it: only who waits moves."""
    desk = Desk(default=None, maxsize=2)
    held = desk.ask()
    desk.arrive_all()

    desk.do(desk.books.mean(W, desk.now))

    assert held.slot.side is desk.side(None)
    assert desk.ask().slot is None
    assert [slot.side for slot in desk.opening] == [desk.side(W)]


def test_slots_stay_where_the_new_default_has_some():
    """Together they might be more than its limit."""
    desk = Desk(default=None, maxsize=2)
    held = desk.ask()
    desk.arrive_all()
    desk.do(desk.books.mean(W, desk.now))
    desk.ask()
    desk.ask()
    desk.arrive_all()

    desk.do(desk.books.mean(None, desk.now))

    assert (desk.side(W).size, desk.side(None).size) == (2, 1)
    assert held.slot.side is desk.side(None)


def test_slot_that_stands_in_for_a_reader_is_the_writers_no_more():
    """It does not count against the share that it was taken from."""
    desk = without_readers(maxsize=2, stand_ins_most=1)
    reader = desk.ask(role=R)
    desk.arrive_all()
    assert reader.slot.is_stand_in

    desk.do(desk.books.mean(None, desk.now))

    assert (desk.side(W).stand_ins, reader.slot.is_stand_in) == (0, False)
    assert reader.slot.side is desk.side(None)


def test_limit_of_readers_is_maxsize_where_readers_are_the_default():
    """A pool of a reader endpoint has one limit: `maxsize`."""
    desk = Desk(default=R, minsize=2, maxsize=5, reader_maxsize=3)

    assert (desk.side(R).minsize, desk.side(R).maxsize) == (2, 5)


def test_lag_is_that_of_the_readers_that_serve():
    """How long one's own writes may be missing."""
    desk = Desk(max_lag=1.0)
    desk.follow(sight(lags={"db-2": 0.3, "db-3": 7.0}))

    assert desk.books.lag_s == 0.3


@pytest.mark.parametrize("count", [20_000])
def test_long_line_costs_no_more_than_a_short_one(count):
    """Waiting, being served and giving up do not look at those who stand in line: 20,000 would take minutes."""
    desk = Desk(maxsize=20)
    books, side = desk.books, desk.side()
    began = time.process_time()
    customers = [desk.ask(instance="db-2" if number % 5 == 0 else None) for number in range(count)]
    desk.arrive_all()
    for each in customers[::-1][: count // 2]:
        books.give_up(each)
        each.is_patient = False
    slots = [each.slot for each in customers if each.slot and each.slot.side is side]
    for _ in range(count // 80):
        slots = [command.slot for slot in slots for command in books.give_back(slot, desk.now)]

    assert len(slots) == 20
    desk.side(R).maxsize = count
    desk.side(R).shares["db-2"].pause(desk.now, 1.0)
    for _ in range(1000):
        desk.ask(role=R, instance="db-2")
    assert time.process_time() - began < 5.0


def test_line_forgets_who_gave_up_behind_one_who_is_patient():
    """A pool that is short for hours must not keep everybody who ever timed out."""
    desk = Desk(maxsize=1)
    patient = desk.ask()

    for _ in range(1000):
        desk.books.give_up(desk.ask())

    line = desk.side().line
    assert line.first is patient
    assert len(line) == 1
    assert len(line._queue) < 50


# --- what only a case of its own shows -----------------------------------------------------------------------------


def test_slot_of_a_reader_that_serves_nobody_is_not_handed_to_who_takes_any():
    """Though there is one reader that would serve, and it has nothing."""
    desk = Desk(max_lag=1.0, reader_maxsize=1)
    holder = desk.ask(role=R, instance="db-3")
    desk.arrive_all()
    waiting = desk.ask(role=R)
    desk.follow(sight(lags={"db-3": 5.0}))

    desk.give_back(holder)

    assert waiting.slot is None
    assert desk.orders == ["db-2"]


def test_connects_to_one_instance_are_limited():
    """The rest are ordered when those have come."""
    desk = Desk(connecting=2)
    for _ in range(5):
        desk.ask()
    assert len(desk.opening) == 2

    desk.arrive(desk.opening[0])

    assert len(desk.opening) == 2


def test_place_is_made_by_who_was_idle_for_longest():
    """His caches are the coldest."""
    desk = ready(2, role=R, instances=("db-2", "db-2"), reader_maxsize=2)
    first, last = desk.side(R).shares["db-2"].idle

    desk.ask(role=R, instance="db-3")

    assert [slot for slot, _ in desk.closed] == [first]
    assert last.where is IDLE


def test_place_is_made_by_who_serves_nobody():
    """However few he has: a reader that is too far behind."""
    desk = ready(3, role=R, instances=("db-2", "db-2", "db-3"), reader_maxsize=3, max_lag=1.0)
    desk.follow(sight("db-1", ["db-2", "db-3", "db-4"], lags={"db-3": 5.0}))

    desk.ask(role=R, instance="db-4")

    assert [slot.instance for slot, _ in desk.closed] == ["db-3"]


def test_reader_is_missed_no_more_once_the_books_were_looked_over():
    """Else it would be given connections for a rush that was over long ago."""
    desk = ready(
        1, role=R, instances=("db-2",), strategy=lambda shares, _: sorted(shares, key=lambda each: each.id != "db-3")
    )
    desk.give_back(desk.ask(role=R))
    desk.tick()
    assert desk.orders == ["db-3"]
    slot = desk.opening[0]
    desk.arrive(slot)
    desk.do(desk.books.discard(slot, "it was idle for long", desk.now))

    for _ in range(3):
        desk.tick()

    assert not desk.opening


def test_connect_under_way_counts_as_busy():
    """Else all who come at once would be led to the same reader."""
    desk = Desk()
    desk.ask(role=R, instance="db-2")

    share = desk.side(R).shares["db-2"]

    assert (share.leased, share.opening, share.busy) == (0, 1, 1)


def test_nothing_is_opened_by_a_name_that_leads_to_no_reader():
    """A custom endpoint whose members are all gone, or have become writers."""
    desk = Desk()
    desk.follow(sight(is_custom=True, readers=()))

    desk.ask(role=R)

    assert not desk.opening


def test_large_pool_is_balanced_by_more_connects_at_a_time():
    """By a twentieth of it in each look."""
    prefers = "db-2"
    desk = ready(
        5,
        role=R,
        instances=["db-2"] * 5,
        reader_maxsize=60,
        strategy=lambda shares, _: sorted(shares, key=lambda each: each.id != prefers),
    )
    prefers = "db-3"
    held = [desk.ask(role=R) for _ in range(5)]
    assert {each.slot.instance for each in held} == {"db-2"}

    desk.tick()

    assert desk.orders == ["db-3"] * 3
