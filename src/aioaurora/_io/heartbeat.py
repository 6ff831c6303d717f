"""One instance, asked again and again on a connection of its own: role, rows, and whether it is there at all.

    dialling --open--> asking --answered--> pausing --due or nudged--> asking
       ^                 |  late: tells, and dials anew beside it
       +----broken-------+  dead or stalled: tells, and gives the connection up

An application's long query is never judged by its own silence: the question goes over this connection (case 35).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

import anyio
from pymysql import err

from aioaurora._core.backoff import OVERTAKEN_AFTER_S, dispersed, relief
from aioaurora._core.failover import Event, Late, Observed, SessionLost, Silenced
from aioaurora._core.silence import Patience, Quiet, Silence, Verdict, judged, usual
from aioaurora._io.dial import Dial, Dialled, Place
from aioaurora._io.overtaking import Dials
from aioaurora._io.probe import probe
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from aioaurora._core.backoff import Pace
    from aioaurora._core.observation import Observation
    from aioaurora._core.topology import Instance
    from aioaurora._io.dialer import Dialer
    from aioaurora._io.kernel import Signs
    from aioaurora._io.session import Session

# A statement that was given up is ended in the server within this time, or by itself (DECISIONS 8).
_KILL_WITHIN_S = 1.0
_FIRST = asyncio.FIRST_COMPLETED


class Surroundings(Protocol):
    """What a heartbeat needs of the monitor."""

    def tell(self, event: Event) -> None:
        """Take news in."""

    def pace(self) -> Pace:
        """Say how often to ask now."""

    def last_sign_of(self, instance_id: str) -> float:
        """Give the loop time at which the last byte of an instance arrived on any connection to it."""

    def killed(self, instance_id: str, thread_id: int) -> None:
        """Hear that a statement was killed."""


class Heartbeat:
    """Asks one instance for as long as it runs."""

    def __init__(
        self,
        instance: Instance,
        *,
        dialer: Dialer,
        surroundings: Surroundings,
        patience: Patience,
    ) -> None:
        self.instance = instance
        self._dialer = dialer
        self._around = surroundings
        self.patience = self._least_patience = patience
        self._usual_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._nudged = asyncio.Event()
        self._beside: Dial[Session] | None = None
        self.heard_at = -math.inf  # When it answered last.
        self._opened_at = self._view_due_at = 0.0
        self._quiet: Quiet | None = None  # While it owes an answer, on whatever connection.
        self._relief_s = 0.0  # For how long it is left alone that could not let us in.
        self._to_kill: deque[tuple[int, float]] = deque()
        self._scope = anyio.CancelScope()

    def adopt(self, session: Session) -> None:
        """Go on with a connection that is open already."""
        self._session = session
        session.when_ended(self.nudge)  # Its end is news at once: Aurora restarts whom it promotes.

    def nudge(self) -> None:
        """Ask now."""
        self._nudged.set()

    def kill(self, thread_id: int) -> None:
        """Have the server end a session whose statement was cancelled; not on a connection yet to come.

        By then the number may be a stranger's: they begin anew when an instance restarts.
        """
        if self._session is not None:
            self._to_kill.append((thread_id, self._loop.time() + _KILL_WITHIN_S))
            self.nudge()

    def stop(self) -> None:
        """Stop asking and close the connection."""
        self._scope.cancel()

    async def ask_once(self) -> None:
        """Ask one time, on a connection for that alone."""
        dial = self._start_dial()
        try:
            dialled = await dial.wait()
        except (err.MySQLError, OSError) as error:
            self._tell_failed(dial, error)
        else:
            dialled.session.close()
            self._around.tell(Observed(dialled.observation))

    async def run(self) -> None:
        """Ask until stopped."""
        with self._scope:
            try:
                while True:
                    if self._session is None:
                        await self._dialled()
                    else:
                        await self._asked(self._session)
                        await self._pause(self._around.pace().role_every)
            finally:
                self._give_up(polite=True)

    # --- dialling ----------------------------------------------------------------------------------------------

    async def _dialled(self) -> None:
        """Dial until one connects. While the writer is sought, a dial that hangs is overtaken by another."""
        dials = Dials(self._start_dial)
        try:
            while self._session is None:
                pace, quiet = self._around.pace(), self._begun()
                dials.add(pace.dials)
                due = self._loop.time() + OVERTAKEN_AFTER_S
                ended = await dials.ended()
                quiet.woken(self._loop.time(), due)
                has_failed = self._harvest(dials, ended)
                if self._session is None:
                    self._judge(quiet, None, connect_hangs=dials.is_hanging)
                if has_failed and self._relief_s:
                    await self._leave_alone(quiet, dispersed(self._relief_s, pace.chance))
                elif has_failed:
                    await self._pause_absent(quiet, pace.redial_every)
        finally:
            dials.leave()

    async def _leave_alone(self, quiet: Quiet, seconds: float) -> None:
        """Pause, and judge the silence meanwhile; nobody can hurry this one: it would be all processes at once."""
        until = self._loop.time() + seconds
        while (now := self._loop.time()) < until:
            due = self.patience.next_check(self._judge(quiet, None, connect_hangs=False), within_s=until - now)
            await asyncio.sleep(due - now)
            quiet.woken(self._loop.time(), due)

    async def _pause_absent(self, quiet: Quiet, seconds: float) -> None:
        silence = self._silence(quiet, None, connect_hangs=False)
        due = self.patience.next_check(silence, within_s=seconds)
        await self._pause(due - silence.now)
        quiet.woken(self._loop.time(), due)

    def _start_dial(self) -> Dial[Session]:
        place = Place(self.instance.host, self.instance.port)
        return self._dialer.start(place, self._dialer.bare, patience_s=self._relief_s)

    def _harvest(self, dials: Dials, ended: list[Dial[Session]]) -> bool:
        """Take the first open session; says whether there is none and a dial failed."""
        for dial in ended:
            dials.take_out(dial)
            try:
                self._opened(dial.task.result())
            except (err.MySQLError, OSError) as error:
                self._tell_failed(dial, error)
            else:
                break
        return bool(ended) and self._session is None

    def _opened(self, dialled: Dialled[Session]) -> None:
        self.adopt(dialled.session)
        self._to_kill.clear()
        self._note_answer()
        self._opened_at = self.heard_at
        self._view_due_at = self._relief_s = 0.0
        self._around.tell(Observed(dialled.observation))
        if dialled.observation.instance_id != self.instance.id:
            self._give_up(polite=True)  # The name was given to another instance, which is asked for itself.

    def _tell_failed(self, dial: Dial[Session], error: Exception) -> bool:
        """Tell of an instance that refuses or hangs; says whether it refuses."""
        took_s, least_s = self._loop.time() - dial.started_at, self._around.pace().redial_every
        self._relief_s = relief(self._relief_s, took_s, least_s) if dial.is_crowded_out(error) else 0.0
        news = dial.news(error, self.instance, heard_at=self._around.last_sign_of(self.instance.id))
        if news is not None:
            self._around.tell(news)
        return news is not None and not isinstance(error, ConnectTimeout)

    # --- asking ------------------------------------------------------------------------------------------------

    async def _asked(self, session: Session) -> None:
        self._nudged.clear()
        asking = self._loop.create_task(self._answer(session), name=f"aioaurora heartbeat {self.instance.id}")
        asking.add_done_callback(_looked_at)
        try:
            await self._until_answered(session, asking)
        finally:
            if not asking.done():
                asking.cancel()
                session.abort()
        if asking.done():
            self._heard(asking)

    async def _answer(self, session: Session) -> Observation:
        while self._to_kill:
            thread_id, until = self._to_kill.popleft()
            if self._loop.time() < until:
                await self._kill(session, thread_id)
        with_view = self._loop.time() >= self._view_due_at
        observation = await probe(session, plain=bool(self._dialer.is_plain), with_view=with_view)
        if with_view:
            self._view_due_at = self._loop.time() + self._around.pace().view_every
        return observation

    async def _kill(self, session: Session, thread_id: int) -> None:
        try:
            await session.query(f"KILL CONNECTION {thread_id:d}")
        except err.MySQLError:
            if session.closed:
                raise
            return  # It has ended by itself.
        self._around.killed(self.instance.id, thread_id)

    async def _until_answered(self, session: Session, asking: asyncio.Task[Observation]) -> None:
        """Wait for the answer and judge the silence meanwhile."""
        quiet = self._begun()
        beside: asyncio.Task[Dialled[Session] | None] | None = None
        try:
            while not asking.done():
                hangs = self._beside is not None and self._beside.phase == "tcp"
                silence = self._judge(quiet, session.signs(), connect_hangs=hangs)
                if quiet.is_ended:
                    return
                if quiet.is_suspected and beside is None:
                    beside = self._loop.create_task(self._dial_beside())
                wake_at = self.patience.next_check(silence)
                await asyncio.wait({asking, beside or asking}, timeout=wake_at - silence.now, return_when=_FIRST)
                quiet.woken(self._loop.time(), wake_at)
                if beside is not None and beside.done() and not asking.done():
                    dialled, beside = beside.result(), None
                    self._switched(dialled)
                    return
        finally:
            if beside is not None and not beside.cancel() and (unused := beside.result()) is not None:
                unused.session.close()

    async def _dial_beside(self) -> Dialled[Session] | None:
        """Dial until a connection opens, or the instance refuses: then None."""
        while True:
            self._beside = dial = self._start_dial()
            try:
                return await dial.wait()
            except (err.MySQLError, OSError) as error:
                if self._tell_failed(dial, error):
                    return None
            finally:
                self._beside = None
            await asyncio.sleep(max(OVERTAKEN_AFTER_S, self._relief_s))

    # --- silence -----------------------------------------------------------------------------------------------

    def _begun(self) -> Quiet:
        """Begin to ask, or go on: one that owes an answer owes it on every connection."""
        if self._quiet is None:
            now = self._loop.time()
            self._quiet = Quiet(now, max(self.heard_at, now - self._around.pace().role_every))
        return self._quiet

    def _note_answer(self) -> None:
        self.heard_at, self._quiet = self._loop.time(), None

    def _judge(self, quiet: Quiet, signs: Signs | None, *, connect_hangs: bool) -> Silence:
        """Say that the answer is late, or end what waits for an instance of which there is no sign."""
        silence = self._silence(quiet, signs, connect_hangs=connect_hangs)
        verdict = judged(silence, self.patience)
        if verdict is not Verdict.HEALTHY and not quiet.is_suspected:
            quiet.is_suspected = True
            self._around.tell(Late(self.instance.id, silence.now - quiet.asked_at))
        if verdict in {Verdict.DEAD, Verdict.STALLED} and not quiet.is_ended:
            quiet.is_ended = True
            self._give_up(polite=False)
            cause = f"{self.instance.id} {verdict}: silent for {silence.now - silence.last_sign_at:.1f} s"
            self._around.tell(Silenced(self.instance.id, self.instance.generation, cause))
        return silence

    def _silence(self, quiet: Quiet, signs: Signs | None, *, connect_hangs: bool) -> Silence:
        now = self._loop.time()
        if not self.patience.is_early(quiet.asked_at, now):  # To look at all connections costs, and would tell nothing.
            has_unread = signs is not None and signs.unread > 0
            quiet.heard(now if has_unread else self._around.last_sign_of(self.instance.id))
        unacknowledged = None if signs is None else signs.unacked > 0
        return quiet.silence(now, unacknowledged=unacknowledged, connect_hangs=connect_hangs)

    # --- what comes of it --------------------------------------------------------------------------------------

    def _switched(self, dialled: Dialled[Session] | None) -> None:
        """Go on with the connection that opened: the instance answers, only the first connection does not."""
        self._give_up(polite=False)
        if dialled is not None:
            self._opened(dialled)

    def _heard(self, asking: asyncio.Task[Observation]) -> None:
        if asking.cancelled():
            return
        try:
            observation = asking.result()
        except (err.MySQLError, OSError):
            self._give_up(polite=False)
            self._around.tell(SessionLost(self.instance.id, self.instance.generation))
            if self._loop.time() - self._opened_at < self._around.pace().redial_every:
                self._nudged.clear()  # One that breaks as soon as it opens is not dialled without a pause (case 29).
                self._quiet = None  # Whom we do not ask owes no answer; its last one is as young.
            return
        asked_at = max(observation.asked_at, self._quiet.asked_at if self._quiet else 0.0)  # Less our own stalls.
        self._usual_s = usual(self._usual_s, self._loop.time() - asked_at)
        self.patience = self._least_patience.with_usual(self._usual_s)
        self._note_answer()
        self._around.tell(Observed(observation))

    def _give_up(self, *, polite: bool) -> None:
        session, self._session = self._session, None
        self._to_kill.clear()
        if session is not None:
            session.when_ended(None)
            session.close() if polite else session.abort()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()


def _looked_at(task: asyncio.Task[Observation]) -> None:
    """Keep asyncio from reporting the failure of a question that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
