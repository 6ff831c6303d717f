"""Draws plans: each scene is one way in which faults overlap, with its times and kinds left to chance."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.chaos.plan import Episode, Fault, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

Faults: TypeAlias = list[Fault]

MODES = ("graceful", "crash", "blackhole")
ENDINGS = ("rst", "fin", "silence")
READERS = ("reader:0", "reader:1")
# With every other seed the silence that is waited for is longer than the longest patching, and clients wait so long.
_PATIENT = {"patience_s": 40.0, "options": {"stall_timeout": 30.0}}
_SLOW_SHARE = 0.6
_LONGEST_PATCHING_S, _SHORTER_PATCHING_S = 20.0, 8.0


def planned(seed: int, count: int | None = None) -> Plan:
    """Draw a plan of `count` episodes, or of each scene once, in an order of its own."""
    chance = random.Random(seed)
    rounds = itertools.chain.from_iterable(chance.sample(SCENES, len(SCENES)) for _ in itertools.count())
    is_patient = seed % 2 == 0
    chosen = itertools.islice(rounds, len(SCENES) if count is None else count)
    episodes = tuple(_episode(scene, chance, is_patient=is_patient) for scene in chosen)
    return Plan(seed=seed, episodes=episodes, **(_PATIENT if is_patient else {}))


def failovers(count: int, seed: int) -> Plan:
    """Draw a plan of so many failovers of all kinds, ten an episode, each a little after the promotion before."""
    chance = random.Random(seed)
    episodes = []
    for first in range(0, count, 10):
        faults, moment = [], 0.1
        for _ in range(min(10, count - first)):
            faults.append(failover(chance, moment, promote_after=chance.uniform(0.05, 0.3), **_QUICK))
            moment = promoted_at(faults[-1]) + chance.uniform(0.1, 0.4)
        episodes.append(Episode(name=f"failovers from {first + 1} on", lasts_s=round(moment, 2), faults=tuple(faults)))
    return Plan(title=f"{count} failovers", seed=seed, episodes=tuple(episodes))


_QUICK = {"target_down_for": 0.05, "returns_after": 0.05, "dns_lag": 0.05}


def _episode(scene: Callable[[random.Random], Faults], chance: random.Random, *, is_patient: bool) -> Episode:
    faults = patching(chance, is_patient=is_patient) if scene is patching else scene(chance)
    if chance.random() < _SLOW_SHARE:  # So that more is under way when it breaks.
        faults.append(at(0.0, "slow", instance="all", latency=chance.choice([0.003, 0.01, 0.03])))
    faults.sort(key=lambda fault: fault.at_s)
    ends = [fault.at_s + _lasts(fault) for fault in faults]
    return Episode(
        name=scene.__name__.replace("_", " "),
        lasts_s=round(max(ends) + chance.uniform(0.5, 1.5), 2),
        faults=tuple(faults),
    )


def _lasts(fault: Fault) -> float:
    """Say how long a fault takes that is to come to its own end."""
    arguments = fault.arguments
    named = ("promote_after", "silent_for", "down_for", "lasting", "seconds", "returns_after")
    return max((float(arguments.get(name, 0.0)) for name in named), default=0.0)


# --- pieces ---------------------------------------------------------------------------------------------------------


def at(at_s: float, call: str, /, **arguments: Any) -> Fault:
    """Make a fault."""
    return Fault(
        at_s=round(at_s, 2),
        call=call,
        arguments={name: round(each, 3) if isinstance(each, float) else each for name, each in arguments.items()},
    )


def failover(chance: random.Random, seconds: float, /, **said: Any) -> Fault:
    """Make a failover of any kind."""
    drawn = {
        "mode": chance.choice(MODES),
        "promote_after": chance.uniform(0.3, 2.5),
        "target_down_for": chance.uniform(0.1, 1.0),
        "returns_after": chance.uniform(0.1, 1.5),
        "dns_lag": chance.uniform(0.0, 2.0),
        "accepts": chance.random() < 0.7,
    }
    return at(seconds, "failover", **(drawn | said))


def promoted_at(fault: Fault) -> float:
    """Say when a failover promotes."""
    return fault.at_s + float(fault.arguments["promote_after"])


def dns_fault(chance: random.Random, seconds: float) -> Fault:
    """Make all names fail in one way."""
    return at(seconds, chance.choice(["dns_drop", "dns_servfail", "dns_refused", "dns_nxdomain"]))


def stall(seconds: float, lasting: float = 3.0) -> Fault:
    """Stall our own loop."""
    return at(seconds, "stall", seconds=lasting)


# --- scenes ---------------------------------------------------------------------------------------------------------


def a_second_failover_during_the_first(chance: random.Random) -> Faults:
    """It takes the first one's place."""
    first = failover(chance, 0.3, promote_after=chance.uniform(1.0, 3.0))
    return [first, failover(chance, chance.uniform(0.4, promoted_at(first) + 0.3))]


def dns_down_during_a_failover(chance: random.Random) -> Faults:
    """Addresses that are known must do; or the names are right and late."""
    begun = failover(chance, 0.5)
    slow = at(0.2, "dns_delay", seconds=chance.uniform(0.2, 1.5))
    return [begun, dns_fault(chance, chance.uniform(0.1, 0.9)) if chance.random() < 0.7 else slow]


def dns_down_alone(chance: random.Random) -> Faults:
    """No session may suffer."""
    frozen = at(0.2, chance.choice(["dns_servfail", "dns_refused", "dns_drop", "dns_freeze"]))
    return [frozen, at(0.8, "dns_delay", seconds=chance.uniform(0.1, 0.6))]


def dns_that_lies(chance: random.Random) -> Faults:
    """The writer's name leads to a reader, or the cluster's to yesterday's writer."""
    lie = at(0.2, "dns_lie", name=chance.choice(["cluster", "writer", "reader:0"]), leads_to=chance.choice(READERS))
    return [lie, failover(chance, 0.8)]


def all_readers_gone(chance: random.Random) -> Faults:
    """Reads go to the writer, and a failover has nobody to go to but them."""
    gone = [
        at(0.2 + number / 10, "crash", instance=each, mode=chance.choice(MODES)) for number, each in enumerate(READERS)
    ]
    return [*gone, failover(chance, chance.uniform(1.0, 2.0))] if chance.random() < 0.6 else gone


def the_new_writer_restarts(chance: random.Random) -> Faults:
    """Right after its promotion."""
    begun = failover(chance, 0.3)
    again = promoted_at(begun) + chance.uniform(0.0, 0.4)
    down_for = chance.uniform(0.2, 1.5)
    return [begun, at(again, "restart", instance="writer", mode=chance.choice(MODES), down_for=down_for)]


def restarts_in_place(chance: random.Random) -> Faults:
    """The writer stays the writer, and its sessions are dead all the same."""
    down_for = chance.uniform(0.2, 2.0)
    first = at(0.2, "restart", instance="writer", mode=chance.choice(MODES), down_for=down_for)
    reader = at(chance.uniform(0.2, 1.5), "restart", instance="reader:0", mode=chance.choice(MODES), down_for=1.0)
    return [first, reader]


def two_master_rows(chance: random.Random) -> Faults:
    """Rows alone abort nothing; with a failover behind them, what an instance says of itself decides."""
    masters = chance.choice([["writer", "reader:0"], ["reader:1"], []])
    rows = at(0.2, "distort_view", instance=chance.choice(["all", *READERS]), masters=masters)
    return [rows, failover(chance, 1.5)] if chance.random() < 0.6 else [rows, at(2.5, "distort_view", instance="all")]


def stale_and_empty_views(chance: random.Random) -> Faults:
    """Some show yesterday's rows, some none."""
    stale = at(0.2, "distort_view", instance=chance.choice(["all", "reader:0"]), stale=True)
    other = at(0.4, "distort_view", instance="reader:1", empty=chance.random() < 0.5, without=["writer"])
    return [stale, other, failover(chance, 0.8)] if chance.random() < 0.7 else [stale, other]


def rows_of_strangers(chance: random.Random) -> Faults:
    """Rows of instances that do not exist, one of them a writer; and lags that cannot be."""
    extra = [["ghost-1", "MASTER_SESSION_ID", chance.choice([0.0, 400.0])], ["no name!", "session", 0.0]]
    lag = at(0.3, "report_lag", instance="reader:0", lag_ms=chance.choice([18446744949882880.0, 5000.0]))
    return [
        at(0.2, "distort_view", instance="all", extra=extra),
        lag,
        at(1.5, "report_lag", instance="reader:1", lag_ms=0.0),
    ]


def refused_while_searching(chance: random.Random) -> Faults:
    """1040 and 1045 of the new writer."""
    begun = failover(chance, 0.3)
    crowd = at(0.4, "limit_connections", instance="all", limit=chance.choice([0, 1, 3]))
    denied = at(promoted_at(begun) - 0.1, "deny_logins", instance="all", lasting=chance.uniform(0.5, 2.0))
    enough = at(promoted_at(begun) + 1.0, "limit_connections", instance="all", limit=1000)
    return chance.choice([[begun, crowd, enough], [begun, denied], [begun, crowd, denied, enough]])


def commits_whose_answers_are_lost(chance: random.Random) -> Faults:
    """Executed or not, nobody hears."""
    moments = [chance.uniform(0.1, 3.0) for _ in range(8)]
    kinds = [
        {"executed": chance.random() < 0.6, "ending": chance.choice(ENDINGS), "times": chance.choice([1, 1, 3])}
        for _ in moments
    ]
    return [at(moment, "lose_commit_answer", **kind) for moment, kind in zip(moments, kinds, strict=True)]


def writes_whose_answers_are_lost(chance: random.Random) -> Faults:
    """The same of statements; some hang."""
    lost = [
        at(
            chance.uniform(0.1, 3.0),
            "lose_answer",
            pattern=each,
            executed=chance.random() < 0.6,
            ending=chance.choice(ENDINGS),
        )
        for each in chance.choices(["INSERT", "UPDATE", "SELECT", "START TRANSACTION", "SET AUTOCOMMIT"], k=6)
    ]
    return [*lost, at(chance.uniform(0.1, 3.0), "hang_statement", pattern=chance.choice(["INSERT", "UPDATE"]))]


def half_open_sockets(chance: random.Random) -> Faults:
    """The other end has forgotten the connections, and says nothing."""
    first = at(0.3, "half_open", instance="writer")
    return [
        first,
        at(chance.uniform(0.5, 2.0), "half_open", instance="reader:0"),
        at(2.5, "half_open", instance="writer"),
    ]


def our_own_loop_stalls(chance: random.Random) -> Faults:
    """Nothing is wrong but us."""
    return [stall(0.3), stall(3.3 + chance.uniform(0.2, 1.0), chance.uniform(1.0, 3.0))]


def our_own_loop_stalls_during_a_failover(chance: random.Random) -> Faults:
    """And so is the writer."""
    begun = failover(chance, 0.5)
    return [begun, stall(chance.uniform(0.2, promoted_at(begun)))]


def suspended(chance: random.Random) -> Faults:
    """The process is stopped, and goes on where it was."""
    return [at(0.3, "suspend", seconds=chance.choice([3.0, 6.0, 10.0]))]


def suspended_through_a_failover(chance: random.Random) -> Faults:
    """What it knew is no longer so."""
    seconds = chance.choice([3.0, 5.0])
    return [at(0.3, "suspend", seconds=seconds), failover(chance, chance.uniform(0.2, 2.0))]


def clocks_that_jump(chance: random.Random) -> Faults:
    """By hours, there and back."""
    jumps = [at(0.2 + number, "clock", by_s=chance.choice([-7200.0, 7200.0, 86400.0])) for number in range(3)]
    return [*jumps, failover(chance, 1.5)] if chance.random() < 0.5 else jumps


def patching(chance: random.Random, *, is_patient: bool = False) -> Faults:
    """Sessions are kept through a silence; none may be lost."""
    longest = _LONGEST_PATCHING_S if is_patient else _SHORTER_PATCHING_S
    return [at(0.3, "patch", instance=chance.choice(["writer", "writer", "reader:0"]), silent_for=longest)]


def a_freeze_and_a_switchover(chance: random.Random) -> Faults:
    """Writes are refused, and then there is another writer; or it was nothing."""
    frozen = at(0.3, "freeze")
    if chance.random() < 0.3:
        return [frozen, at(2.0, "report_lag", instance="reader:0", lag_ms=10.0)]
    return [frozen, failover(chance, chance.uniform(1.0, 3.0), mode="graceful")]


def two_that_say_writable(chance: random.Random) -> Faults:
    """The old one is fenced, and does not know."""
    doubled = at(0.3, "two_writers", promote_after=chance.uniform(0.0, 2.0), dns_lag=1.0)
    return [doubled, at(chance.uniform(3.0, 5.0), "report_lag", instance="reader:0", lag_ms=10.0)]


def locks_after_the_promotion(chance: random.Random) -> Faults:
    """Recovered transactions hold theirs, with no session to kill."""
    return [
        failover(chance, 0.3, undo_takes=chance.uniform(1.0, 4.0)),
        at(4.5, "report_lag", instance="reader:0", lag_ms=5.0),
    ]


def limited_logins(chance: random.Random) -> Faults:
    """So many a second, and slow ones; cut handshakes are counted."""
    paced = at(0.2, "pace_logins", instance="all", per_second=chance.choice([2.0, 5.0, 20.0]))
    slow = at(0.3, "slow_logins", instance="all", latency=chance.uniform(0.1, 0.8))
    blocked = at(0.1, "block_hosts", instance="all", after=chance.choice([2, 5]))
    return [*chance.choice([[paced], [slow], [paced, blocked], [slow, blocked]]), failover(chance, 0.5)]


def kills(chance: random.Random) -> Faults:
    """A DBA's, of a connection each."""
    return [
        at(chance.uniform(0.2, 3.0), "kill", instance=chance.choice(["writer", "writer", "reader:0"]))
        for _ in range(10)
    ]


def a_stalled_engine(chance: random.Random) -> Faults:
    """It says nothing for a while, and goes on; or there is another writer meanwhile."""
    hung = at(0.3, "hang", instance="writer")
    rest = at(chance.uniform(2.0, 6.0), "report_lag", instance="reader:0", lag_ms=5.0)
    return [hung, rest] if chance.random() < 0.5 else [hung, failover(chance, chance.uniform(0.5, 3.0))]


def nobody_is_promoted(chance: random.Random) -> Faults:
    """The writer is gone, and comes back when healed."""
    gone = at(0.3, chance.choice(["crash", "refuse"]), instance="writer")
    return [
        gone,
        at(0.5, "half_open", instance="reader:0"),
        at(chance.uniform(2.0, 4.0), "report_lag", instance="reader:1", lag_ms=5.0),
    ]


def slow_answers(chance: random.Random) -> Faults:
    """Slow is not silent; then a failover."""
    return [at(0.2, "slow", instance="all", latency=chance.uniform(0.02, 0.4)), failover(chance, 2.0)]


def members_come_and_go(chance: random.Random) -> Faults:
    """A reader goes, one comes, and the writer changes."""
    gone = at(0.3, "remove_instance", instance="reader:0")
    come = at(chance.uniform(0.5, 1.5), "add_instance")
    return [gone, come, failover(chance, chance.uniform(0.6, 2.0))]


def blue_and_green(chance: random.Random) -> Faults:
    """The names lead to other instances, with ids that are no names."""
    return [at(0.3, "switch_to_green", down_for=chance.uniform(0.2, 1.0)), failover(chance, 3.0)]


def logins_only_over_tls(chance: random.Random) -> Faults:
    """3159 until it is healed; and nobody knows why."""
    return [at(0.2, "require_tls", instance="all"), failover(chance, 0.6)]


def anything_at_all(chance: random.Random) -> Faults:
    """Pieces of all the others at once, none of which may hide another's end."""
    pieces = [piece for scene in chance.sample(MIXED, 3) for piece in scene(chance)]
    return [at(fault.at_s + chance.uniform(0.0, 1.5), fault.call, **fault.arguments) for fault in pieces]


MIXED = (
    a_second_failover_during_the_first,
    all_readers_gone,
    commits_whose_answers_are_lost,
    dns_down_during_a_failover,
    half_open_sockets,
    kills,
    limited_logins,
    locks_after_the_promotion,
    our_own_loop_stalls,
    refused_while_searching,
    restarts_in_place,
    slow_answers,
    stale_and_empty_views,
    suspended_through_a_failover,
    the_new_writer_restarts,
    two_master_rows,
    writes_whose_answers_are_lost,
)
SCENES = (
    *MIXED,
    *[anything_at_all] * 3,
    a_freeze_and_a_switchover,
    a_stalled_engine,
    blue_and_green,
    clocks_that_jump,
    dns_down_alone,
    dns_that_lies,
    logins_only_over_tls,
    members_come_and_go,
    nobody_is_promoted,
    our_own_loop_stalls_during_a_failover,
    patching,
    rows_of_strangers,
    suspended,
    two_that_say_writable,
)
