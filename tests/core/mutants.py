"""Plants faults into the core, one at a time, and sees that the tests find each: `nox -s mutants`.

Each is a slip that somebody could make. One that survives is a test that is missing. Names of modules as arguments
plant theirs only.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
CORE = "src/aioaurora/_core"
# Quickest first: most faults are found by a scenario, or by an example.
TESTS = (
    ("test_scenarios.py", "test_silence.py", "test_selection.py"),
    ("test_observation.py", "test_backoff.py", "test_verdict.py", "test_failover.py", "test_topology.py"),
)
TESTS_OF_POOL = (("test_slots.py",), ("test_selection.py", "test_sight.py"), ("test_books.py",))
POOL = frozenset({"line", "selection", "serving", "shares", "sight", "slots"})


class Mutant(NamedTuple):
    """A fault: in a module, one text for another."""

    module: str
    text: str
    fault: str


MUTANTS = (
    # Whose claim is better.
    Mutant("topology", "return incumbent.claim >= claimant.claim", "return incumbent.claim > claimant.claim"),
    Mutant("topology", "return incumbent.claim >= claimant.claim", "return False"),
    Mutant("topology", "return self.turned_at, -(self.thread_id", "return self.turned_at, (self.thread_id"),
    Mutant("topology", "-(self.thread_id or math.inf)", "-self.thread_id"),
    Mutant("topology", "turned_at=now if turned else", "turned_at="),
    Mutant("topology", "topology.with_instance(replace(observer, turned_at=now))", "topology"),
    Mutant("topology", "is Health.SUSPECT and was is not Mode.WRITABLE", "is Health.SUSPECT"),
    Mutant("topology", "is Health.SUSPECT and was is not Mode.WRITABLE", "is Health.SUSPECT and was is Mode.WRITABLE"),
    Mutant("topology", "or incumbent.health is Health.DOWN:", "or incumbent.health is not Health.UP:"),
    Mutant(
        "topology", "0 < observation.thread_id < known.thread_id / 2", "0 < observation.thread_id < known.thread_id"
    ),
    Mutant("topology", "if not observation.thread_id:", "if False:"),
    Mutant("topology", "epoch=topology.epoch + 1", "epoch=topology.epoch"),
    # What is no news.
    Mutant("topology", "observation.view is not None or observation.mode is not", "observation.mode is not"),
    Mutant("topology", " or known.health is not Health.UP:", ":"),
    Mutant("topology", "return is_there and known.id", "return known.id"),
    Mutant("topology", "return is_there and known.id == topology.writer_id and", "return is_there and"),
    Mutant("topology", "known.lag_s == 0 and not _has_restarted(known, observation)", "known.lag_s == 0"),
    Mutant("topology", "begun_at=begun_at, heard_at=now", "begun_at=begun_at"),
    Mutant("topology", "said_at = min(observation.asked_at, now)", "said_at = known.said_at"),
    # Who is there.
    Mutant("topology", "not by_writer and observation.view.stamp < crowned.stamp", "False"),
    Mutant("topology", "not by_writer and observation.view.stamp", "observation.view.stamp"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or not by_writer"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or not _is_forgotten(each, now)"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or True"),
    Mutant("topology", " and instance.health is not Health.SUSPECT", ""),
    Mutant("topology", "and place not in taken", ""),
    Mutant("topology", " if (other.host, other.port) != (host, port)]", "]"),
    Mutant("topology", "*filter(None, moved), ", ""),
    Mutant("topology", "or place in taken ", ""),
    Mutant("topology", " or without_green_suffix(instance.id) != instance.id", ""),
    Mutant("topology", "if known is not None and not observation.thread_id:", "if False:"),
    Mutant("topology", "max([topology.floor, *gone])", "topology.floor"),
    Mutant("topology", "generation=instance.generation + 1", "generation=instance.generation"),
    Mutant("topology", "        health=Health.UP,\n", ""),
    Mutant("topology", "min(masters", "max(masters"),
    Mutant("endpoint", "except InvalidEndpoint:\n            return None", "except KeyError:\n            return None"),
    Mutant("endpoint", "host == self.host and self.kind is not EndpointKind.INSTANCE", "False"),
    # The search.
    Mutant("failover", "instance_id != state.topology.writer_id or ", ""),
    Mutant("failover", "or not isinstance(state.phase, Steady)", ""),
    Mutant("failover", "instance is None or instance.generation != generation", "instance is None"),
    Mutant("failover", "<= TWO_LOSSES_WITHIN_S", "< 0"),
    Mutant("failover", "<= TWO_LOSSES_WITHIN_S", "<= 10 * TWO_LOSSES_WITHIN_S"),
    Mutant("failover", "instance.health is Health.DOWN:", "False:"),
    Mutant("failover", "(*commands, Abort(instance_id, cause))", "commands"),
    # Restarts.
    Mutant("restart", "opening.open_at <= self.begun_at and ", ""),
    Mutant("restart", "and self.number <= opening.number", "and self.number < opening.number"),
    Mutant("restart", " < _NUMBERS_END", ""),
    Mutant("restart", " or opening.open_at <= newest", ""),
    Mutant("restart", "opening.open_at <= newest", "opening.begun_at <= newest"),
    Mutant("restart", "begun_at is None or observation.server_id is None:", "begun_at is None:"),
    Mutant("restart", " or begun_at < known.numbered_at", ""),
    Mutant("restart", " + [self.gone_by]", ""),
    Mutant("restart", " < _NUMBERS_END or begun_at", " or begun_at"),
    Mutant("topology", "numbered_at=now, ", ""),
    Mutant("restart", "0 < observation.thread_id <= known.thread_id", "observation.thread_id <= known.thread_id"),
    Mutant("failover", "writers_only=answers", "writers_only=True"),
    Mutant("failover", "writers_only=answers", "writers_only=False"),
    Mutant("failover", "*_evicted(before, topology), ", ""),
    Mutant("failover", "*_deposed(before, topology), ", ""),
    Mutant("failover", "() if before.writer_id is None else (ended,)", "(ended,)"),
    Mutant("failover", "return state, (started, *aborts, SearchEnded", "return state, (*aborts, SearchEnded"),
    Mutant(
        "failover", "(SearchStarted(cause),) if state.topology.writer_id is not None else ()", "(SearchStarted(cause),)"
    ),
    Mutant("failover", "or topology.hint is not None", ""),
    Mutant("failover", "if all_answer else READER_ONLY_AT_LAST_S", "if True else 0"),
    Mutant("failover", "none_writes and now", "now"),
    Mutant("failover", "or instance.mode in {Mode.WRITABLE, Mode.FROZEN}", ""),
    Mutant("failover", "names = {each.id for each in topology.instances if by_writer and _is_open(each)} |", "names ="),
    Mutant("failover", "if by_writer and _is_open(each)", "if _is_open(each)"),
    Mutant("failover", "and each.id != topology.writer_id)", ")"),
    Mutant("failover", "    if observation.view is None:\n        return ()\n", ""),
    Mutant("failover", "return in_use & everyone or everyone", "return in_use & everyone"),
    Mutant("failover", "case ReaderOnly() if observation.mode is not Mode.FROZEN:", "case ReaderOnly():"),
    # What a silence means.
    Mutant("silence", "and silence.connect_hangs ", ""),
    Mutant("silence", "silence.unacknowledged is not False", "silence.unacknowledged"),
    Mutant("silence", "silence.unacknowledged is not False", "True"),
    Mutant("silence", "late_at = max(silence.asked_at, silence.last_sign_at)", "late_at = silence.asked_at"),
    Mutant(
        "silence",
        "max(late_at, silence.last_sign_at + self.stalled_after)",
        "silence.last_sign_at + self.stalled_after",
    ),
    Mutant("silence", "if mark > silence.now", "if mark >= silence.now"),
    Mutant("silence", "due = min([*ahead, ", "due = max([*ahead, "),
    # Which connect is worth another try.
    Mutant("verdict", "isinstance(phase, Unreached) and is_followed", "isinstance(phase, Unreached)"),
    Mutant("verdict", "isinstance(phase, Unreached) and is_followed", "is_followed"),
    Mutant("verdict", "return is_stranger or isinstance(phase, ReaderOnly)", "return is_stranger"),
    Mutant("verdict", "not isinstance(error, MySQLError) or scope_of", "scope_of"),
    # What rows say, whom a request is led to, how long is paused.
    Mutant("observation", "if newest - stamp <= ROWS_KEPT_S", ""),
    Mutant("observation", "or lag_s > LARGEST_LAG_S", ""),
    Mutant("observation", "return Mode.FROZEN if _is_on(read_only) else Mode.WRITABLE", "return Mode.WRITABLE"),
    Mutant("observation", "if all(row.server_id != observer for row in rows):", "if not rows:"),
    Mutant("selection", "if reader.id not in avoid", ""),
    Mutant("selection", "candidates = untried or readers", "candidates = untried"),
    Mutant("selection", "is_fallback=role is Role.READER", "is_fallback=True"),
    Mutant("backoff", "min(self.allowed + more, self.most)", "self.allowed + more"),
    Mutant("backoff", "if took_s <= QUICK_CONNECT_S else 1", "if took_s <= QUICK_CONNECT_S else 0"),
    Mutant("backoff", "self.allowed if took_s <= QUICK_CONNECT_S else 1", "self.allowed"),
    Mutant("backoff", "self.allowed if took_s <= QUICK_CONNECT_S else 1", "1"),
    Mutant("backoff", "max(self.allowed // 2, 1)", "self.allowed // 2"),
    Mutant("backoff", "max(search_interval, min(grown", "(min(grown"),
    # Who has what in a pool.
    Mutant("slots", "slot = share.idle.pop()\n", "slot = share.idle.popleft()\n"),
    Mutant("slots", "        slot.uses += 1\n        share.leased += 1\n", "        share.leased += 1\n"),
    Mutant("slots", "        slot.share.leased -= 1\n        slot.where = IDLE\n", "        slot.where = IDLE\n"),
    Mutant(
        "slots",
        "        if slot.is_stand_in:\n            slot.is_stand_in, slot.side.stand_ins",
        "        if False:\n            slot.is_stand_in, slot.side.stand_ins",
    ),
    Mutant("slots", "and self._has_no_reader and waiter.instance is None", "and self._has_no_reader"),
    Mutant("slots", "        return self._grown(side, now)\n\n    def give_up", "        return []\n\n    def give_up"),
    Mutant("slots", 'return [Close(slot, "the pool was closed")]', "return []"),
    Mutant("slots", "        side.cheer()\n", ""),
    Mutant("slots", "slot.is_pinned and ordered.id != slot.instance", "False"),
    Mutant("slots", "slot.stale = slot.staleness(self.sight)\n", 'slot.stale = ""\n'),
    Mutant(
        "slots", "return [*commands, *self._followed(side, now)]\n\n    def failed", "return commands\n\n    def failed"
    ),
    Mutant("slots", "        share.pause(now, self._chance())\n", ""),
    Mutant(
        "slots",
        "            share.bench(now, self._chance())\n            self._see(side, now)\n",
        "            share.bench(now, self._chance())\n",
    ),
    Mutant("slots", "not slot.is_pinned and not any(", "not any("),
    Mutant("slots", "each.benched_until <= now for each in others", "True for each in others"),
    Mutant("slots", "            side.pause(now, self._chance())\n", "            pass\n"),
    Mutant("slots", "if is_final else []", "if True else []"),
    Mutant("slots", "is_alone=is_alone) if", "is_alone=True) if"),
    Mutant(
        "slots",
        "return [*map(Fail, told), *self._followed(side, now)]",
        "return [*map(Fail, told), *self._grown(side, now)]",
    ),
    Mutant(
        "slots",
        "return [*map(Fail, told), *self._followed(side, now)]",
        "return [*map(Fail, told), *self._served(side)]",
    ),
    Mutant("slots", "if slot.stale or slot.expires_at <= now or", "if slot.expires_at <= now or"),
    Mutant("slots", "if slot.stale or slot.expires_at <= now or", "if slot.stale or"),
    Mutant(
        "slots", "or self.is_closing:\n            return self.discard", "or False:\n            return self.discard"
    ),
    Mutant("slots", "if slot.where is LEASED else [*commands, *self._followed(side, now)]", "if True else []"),
    Mutant("slots", "if side.waiting or self.is_draining:", "if side.waiting:"),
    Mutant("slots", "if side.waiting or self.is_draining:", "if self.is_draining:"),
    Mutant(
        "slots",
        "return [*self._dropped(slot, why), *self._followed(slot.side, now)]",
        "return [*self._dropped(slot, why), *self._grown(slot.side, now)]",
    ),
    Mutant(
        "slots",
        "return [*self._dropped(slot, why), *self._followed(slot.side, now)]",
        "return self._dropped(slot, why)",
    ),
    Mutant("slots", "if self.sight.is_known and not sight.is_known:", "if False:"),
    Mutant("slots", "if slot.stale and slot.where is IDLE:", "if slot.stale:"),
    Mutant("slots", "slot.stale = slot.stale or slot.staleness(self.sight)", "pass"),
    Mutant("slots", "        self._move()\n", ""),
    Mutant("slots", "        self._forget_empty()\n", ""),
    Mutant("slots", "        self._set_default(self.default)", "        pass"),
    Mutant(
        "slots",
        "for slot in [each for each in self.slots if each.where is not LEASED]:",
        "for slot in self.idle_slots:",
    ),
    Mutant("shares", "            side.stand_ins -= self.is_stand_in\n", ""),
    Mutant("slots", "        if self.is_draining:\n            return self._ended(slot, _DRAINED)\n", ""),
    Mutant("slots", "serves_all = candidates[0] is share if is_alone else", "serves_all = True if is_alone else"),
    Mutant(
        "slots",
        "else share in candidates and share in self._order(side)",
        "else share in candidates",
    ),
    Mutant("slots", "if waiter is None and serves_all and", "if waiter is None and"),
    Mutant("slots", "side.stand_ins < side.stand_ins_most else None", "True else None"),
    Mutant("slots", "if share is None or not self._serves_one(share, side):", "if share is None:"),
    Mutant("slots", "now < side.paused_until or not", "not"),
    Mutant("slots", "or not self._may_open(side):", ":"),
    Mutant("slots", "or self.is_closing or now <", "or now <"),
    Mutant("slots", "self._may_open_to(side, instance, now)", "True"),
    Mutant("slots", '                    commands += self._dropped(victim, "its place is needed")\n', ""),
    Mutant("shares", "            if share.idle:\n                return False\n", "            pass\n"),
    Mutant("slots", "        share.turn = self._turn\n", ""),
    Mutant("slots", "if share.opening < self.limits.connecting", "if True"),
    Mutant("silence", "return max(due, silence.now + _LEAST_PAUSE_S)", "return due"),
    Mutant("slots", "is_pinned=pinned is not None", "is_pinned=False"),
    Mutant(
        "slots",
        "or self.is_closing or self.is_draining:\n            return\n",
        "or self.is_closing:\n            return\n",
    ),
    Mutant("slots", "if share.is_unknown and side.size", "if side.size"),
    Mutant("slots", "if richest.size < share.size + 2:", "if False:"),
    Mutant("slots", "self._retire(richest, share, most)\n", "pass\n"),
    Mutant("slots", "(rich.size - poor.size) // 2 - retired", "10"),
    Mutant("slots", "measures=self._measures and self.sight.is_known", "measures=False"),
    Mutant("slots", "[:most]", "[:1]"),
    Mutant("line", "places.get(queue[0][2]) != queue[0][1]", "False"),
    Mutant("line", "(waiter.asked_at, number, waiter)", "(0.0, number, waiter)"),
    Mutant("line", "(waiter.asked_at, number, waiter)", "(waiter.asked_at, -number, waiter)"),
    Mutant("line", "if waiter.still_wants():", "if True:"),
    Mutant("line", "        self.waiting -= has_left\n", ""),
    Mutant("line", "        self.waiting -= 1\n", ""),
    Mutant("line", "            del self.pinned[waiter.instance]\n", "            pass\n"),
    Mutant("line", "other.place < line.place", "False"),
    Mutant("line", "self.line.leave(waiter) or self.guests.leave(waiter)", "self.line.leave(waiter)"),
    Mutant("line", "                del self.pinned[instance]\n", "                pass\n"),
    Mutant("slots", "and serves_all and side.stand_ins < side.stand_ins_most:", "and serves_all:"),
    Mutant("shares", "            under_way += nameless.opening\n", "            pass\n"),
    Mutant("shares", "under_way = sum(share.opening for share in serving)", "under_way = self.opening"),
    Mutant("shares", "                under_way -= min(opening, len(line))\n", "                pass\n"),
    Mutant("shares", "len(line) - opening\n", "len(line)\n"),
    Mutant("shares", "min(len(self.guests), max(0, self.stand_ins_most - self.stand_ins))", "len(self.guests)"),
    Mutant("shares", "max(others, self.minsize - self.size)", "others"),
    Mutant("shares", "told = [] if has_live else", "told ="),
    Mutant("shares", "is_alone and self.size == self.opening else told", "is_alone else told"),
    Mutant("shares", "if now >= self.paused_until:", "if True:"),
    Mutant("shares", "min(self.pause_s * 2, PAUSE_MOST_S) or", "self.pause_s * 2 or"),
    Mutant(
        "shares",
        "self.is_behind = lag_s > (max_lag * CAUGHT_UP if self.is_behind else max_lag)",
        "self.is_behind = lag_s > max_lag",
    ),
    Mutant(
        "shares",
        "if max_lag is not None and lag_s is not None:",
        "if max_lag is not None:\n            lag_s = lag_s or 0.0",
    ),
    Mutant("shares", "instance.generation > self.generation and self.size", "False"),
    Mutant("shares", "        self.generation = instance.generation\n", ""),
    Mutant(
        "shares", "        if now < self.benched_until:\n            return", "        if False:\n            return"
    ),
    Mutant("shares", "if is_recent else BENCH_LEAST_S", "if True else BENCH_LEAST_S"),
    Mutant("shares", "if is_recent else BENCH_LEAST_S", "if False else BENCH_LEAST_S"),
    Mutant("shares", ".idle[0]\n", ".idle[-1]\n"),
    Mutant("shares", "(share not in self.candidates, len(share.idle))", "(share in self.candidates, len(share.idle))"),
    Mutant("shares", "and len(found) < spare", ""),
    Mutant("shares", "if slot.expires_at <= now:", "if slot.expires_at < now:"),
    Mutant("shares", "            share.missed = 0\n", "            pass\n"),
    Mutant("shares", "return self.leased + self.opening", "return self.leased"),
    Mutant("serving", "0 if self.is_draining else", ""),
    Mutant("serving", "if role is default else least", "if True else least"),
    Mutant(
        "serving", "limits.reader_maxsize if default is not Role.READER else limits.maxsize", "limits.reader_maxsize"
    ),
    Mutant("slots", "if not self._is_there(instance):", "if False:"),
    Mutant("slots", "                        break\n", "                        return commands\n"),
    Mutant("serving", "or instance in self.sight.instances", ""),
    Mutant("serving", "if each.role is None and side is not new", "if side is not new"),
    Mutant("serving", "if default is None and not new.size:", "if default is None:"),
    Mutant("serving", "if default is None and not new.size:", "if not new.size:"),
    Mutant("serving", "                    given_up.append(slot)\n", "                    pass\n"),
    Mutant("serving", "        slot.side.size, side.size = slot.side.size - 1, side.size + 1\n", ""),
    Mutant("serving", "key=lambda slot: slot.idle_since", "key=lambda slot: -slot.idle_since"),
    Mutant("slots", "return given_up + self.refreshed(now)", "return given_up"),
    Mutant("serving", "instance_id in self.sight.instances else self.default", "True else self.default"),
    Mutant("serving", "return self._measures and any(", "return any("),
    Mutant("serving", "if share.benched_until <= now] or near", "if share.benched_until <= now]"),
    Mutant("serving", "if share.benched_until <= now] or near", "]"),
    Mutant("serving", "if not share.is_behind]", "]"),
    Mutant("serving", "not (self.sight.is_known and self.sight.is_sought)", "True"),
    Mutant("serving", "not self.sight.is_known or bool(side.candidates)", "True"),
    Mutant("serving", "now < side.shares[instance].paused_until", "False"),
    Mutant(
        "serving",
        "return instance in side.able or not any(instance in other.able for other in self.sides.values())",
        "return True",
    ),
    Mutant(
        "serving",
        "return instance in side.able or not any(instance in other.able for other in self.sides.values())",
        "return instance in side.able",
    ),
    Mutant("serving", "(old.writer is None or old.epoch != sight.epoch)", "old.epoch != sight.epoch"),
    Mutant("serving", "                side.cheer()", "                pass"),
    Mutant("serving", "            self._bring_home(slot)\n", "            pass\n"),
    Mutant("serving", "and name not in self.sight.instances and", "and"),
    Mutant("serving", "if each.role is None and home is not side", "if home is not side"),
    Mutant("serving", "(self.sight.is_custom and side is self._readers)", "False"),
    Mutant("serving", "if sight.readers or not sight.is_custom or side.role is None else []", ""),
    Mutant("serving", "order[0].missed += 1", "pass"),
    Mutant("serving", "return not share.id or share.id in side.able", "return share.id in side.able"),
    Mutant("serving", "and not self._readers.candidates", "and True"),
    Mutant("sight", "if instance.generation != generation:", "if instance.generation < generation:"),
    Mutant("sight", "if role is Role.WRITER and epoch", "if epoch"),
    Mutant("sight", "and not self.is_plain", ""),
    Mutant("sight", '        if not self.is_known:\n            return ""\n', ""),
    Mutant("sight", "writer = lease_target(state)", "writer = topology.writer"),
    Mutant("selection", "second += second >= first", "pass"),
    Mutant("selection", "count * (count - 1) - 1), count - 1)", "count * (count - 1)), count - 1)"),
    Mutant("selection", "key=lambda each: each.turn", "key=lambda each: -each.turn"),
    Mutant("selection", "left -= each.weight\n        if left < 0", "left -= each.weight\n        if left <= 0"),
    Mutant("selection", "* (1 + _NEAR_SHARE) + _NEAR_S", "+ _NEAR_S"),
    Mutant("selection", "* (1 + _NEAR_SHARE) + _NEAR_S", "* (1 + _NEAR_SHARE)"),
    Mutant("selection", "max(_BUSY, 2 * far[0].busy)", "2 * far[0].busy"),
    Mutant("selection", "max(_BUSY, 2 * far[0].busy)", "_BUSY"),
    Mutant("selection", "min(map(_busy, near))", "max(map(_busy, near))"),
    Mutant("selection", "if not known:\n", "if len(known) < len(candidates):\n"),
    Mutant("selection", "    if not order:\n", "    if False:\n"),
    Mutant("selection", "strategy(tuple(candidates), chance)", "strategy(candidates, chance)"),
    Mutant("selection", "            if told != repr(error):\n", "            if True:\n"),
    Mutant("selection", "*two_choices(others, chance)]", "*[]]"),
)


def mutated(mutant: Mutant) -> str:
    """Give the module's text with the fault in it."""
    text = (ROOT / CORE / f"{mutant.module}.py").read_text(encoding="utf-8")
    if mutant.text not in text:
        raise LookupError(f"{mutant.module}.py has changed: no {mutant.text!r} in it")
    return text.replace(mutant.text, mutant.fault, 1)


def is_killed(mutant: Mutant, folder: pathlib.Path) -> bool:
    """Run the tests against a copy of the package with the fault in it; says whether one failed."""
    changed = folder / "aioaurora/_core" / f"{mutant.module}.py"
    whole = changed.read_text(encoding="utf-8")
    changed.write_text(mutated(mutant), encoding="utf-8")
    try:
        return any(_fails(names, folder) for names in (TESTS_OF_POOL if mutant.module in POOL else TESTS))
    finally:
        changed.write_text(whole, encoding="utf-8")


def _fails(names: tuple[str, ...], folder: pathlib.Path) -> bool:
    paths = [str(ROOT / "tests/core" / name) for name in names]
    # Derandomized: a fault that is found only now and then would make this fail only now and then.
    options = ["-qx", "--assert=plain", "-p", "no:randomly", "--hypothesis-seed=0", "--hypothesis-profile=unshrunk"]
    command = [sys.executable, "-m", "pytest", *options, *paths]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    except subprocess.TimeoutExpired:
        return True  # It goes round in circles.
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 1


def main(*modules: str) -> int:
    """Say of each fault whether it was found; the exit status counts those that were not."""
    survivors = 0
    mutants = [mutant for mutant in MUTANTS if not modules or mutant.module in modules]
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        shutil.copytree(ROOT / "src/aioaurora", folder / "aioaurora")
        if _fails(tuple({name for names in (*TESTS, *TESTS_OF_POOL) for name in names}), folder):
            print("the tests fail without any fault")
            return 1
        for number, mutant in enumerate(mutants, 1):
            killed = is_killed(mutant, folder)
            survivors += not killed
            print(
                f"{number:3} {'found' if killed else 'MISSED'}: {mutant.module}: {mutant.text!r} -> {mutant.fault!r}",
                flush=True,
            )
    print(f"{len(mutants) - survivors} of {len(mutants)} faults found")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
