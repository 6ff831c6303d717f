"""Plants faults into the core, one at a time, and sees that the tests find each: `nox -s mutants`.

Each is a slip that somebody could make. One that survives is a test that is missing.
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
# Quickest first: most faults are found by a scenario.
TESTS = (
    ("test_scenarios.py", "test_silence.py", "test_selection.py"),
    ("test_observation.py", "test_backoff.py", "test_failover.py", "test_topology.py"),
)


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
    Mutant("topology", "thread_id=observation.thread_id or known.thread_id", "thread_id=observation.thread_id"),
    Mutant("topology", "epoch=topology.epoch + 1", "epoch=topology.epoch"),
    # Who is there.
    Mutant("topology", "not by_writer and observation.view.stamp < crowned.stamp", "False"),
    Mutant("topology", "not by_writer and observation.view.stamp", "observation.view.stamp"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or not by_writer"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or not _is_forgotten(each, now)"),
    Mutant("topology", "or not (by_writer and _is_forgotten(each, now))", "or True"),
    Mutant("topology", " and instance.health is not Health.SUSPECT", ""),
    Mutant("topology", "and place not in taken", ""),
    Mutant("topology", "and (other.host, other.port) != (host, port)", ""),
    Mutant("topology", "max([topology.floor, *gone])", "topology.floor"),
    Mutant("topology", "generation=instance.generation + 1", "generation=instance.generation"),
    Mutant("topology", "        health=Health.UP,\n", ""),
    Mutant("topology", "min(masters", "max(masters"),
    Mutant("topology", "except InvalidEndpoint:", "except KeyError:"),
    Mutant("topology", "host == endpoint.host and endpoint.kind is not EndpointKind.INSTANCE", "False"),
    # The search.
    Mutant("failover", "instance_id != state.topology.writer_id or ", ""),
    Mutant("failover", "or not isinstance(state.phase, Steady)", ""),
    Mutant("failover", "instance is None or instance.generation != generation", "instance is None"),
    Mutant("failover", "<= TWO_LOSSES_WITHIN_S", "< 0"),
    Mutant("failover", "<= TWO_LOSSES_WITHIN_S", "<= 10 * TWO_LOSSES_WITHIN_S"),
    Mutant("failover", "instance.health is Health.DOWN:", "False:"),
    Mutant("failover", "(*commands, Abort(instance_id, cause))", "commands"),
    Mutant("failover", "writers_only=answers", "writers_only=True"),
    Mutant("failover", "writers_only=answers", "writers_only=False"),
    Mutant("failover", "(*_evicted(before, topology), *_deposed(before, topology))", "_deposed(before, topology)"),
    Mutant("failover", "(*_evicted(before, topology), *_deposed(before, topology))", "_evicted(before, topology)"),
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
    Mutant("silence", "return min([*ahead, ", "return max([*ahead, "),
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
        return any(_fails(names, folder) for names in TESTS)
    finally:
        changed.write_text(whole, encoding="utf-8")


def _fails(names: tuple[str, ...], folder: pathlib.Path) -> bool:
    paths = [str(ROOT / "tests/core" / name) for name in names]
    # Derandomized: a fault that is found only now and then would make this fail only now and then.
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:randomly", "--hypothesis-seed=0", *paths]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 1


def main() -> int:
    """Say of each fault whether it was found; the exit status counts those that were not."""
    survivors = 0
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        shutil.copytree(ROOT / "src/aioaurora", folder / "aioaurora")
        if _fails(tuple(name for names in TESTS for name in names), folder):
            print("the tests fail without any fault")
            return 1
        for number, mutant in enumerate(MUTANTS, 1):
            killed = is_killed(mutant, folder)
            survivors += not killed
            print(f"{number:3} {'found' if killed else 'MISSED'}: {mutant.module}: {mutant.text!r} -> {mutant.fault!r}")
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} faults found")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
