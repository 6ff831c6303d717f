"""One dial under way: a task with a deadline over all its steps.

Whoever waits for it may leave at any time; a dial that was greeted by then is let finish, within its deadline, and
closed politely: servers count cut handshakes, and lock a whole NAT out for them.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pymysql import err

from aioaurora._core.failover import InstanceLost, Late
from aioaurora._core.silence import OUR_LATENESS_S
from aioaurora._core.value import dataclass
from aioaurora._core.verdict import Scope, errno_of, scope_of
from aioaurora._io.driver import sentence_of
from aioaurora._io.session import Session
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from aioaurora._core.observation import Observation
    from aioaurora._core.topology import Instance

UNKNOWN_HOST = 2005
# Phases after the greeting: a dial that got so far is not cut off.
_GREETED = frozenset({"tls", "login", "role check", "ready"})
# Those of them in which the server lets in one after the other; in the others it has let this one in.
_LOGGING_IN = frozenset({"tls", "login"})
# A dial that stands in line is looked after this often.
_IN_LINE_FOR_S = 0.25
# Phases before the instance itself is spoken to.
_OURS = frozenset({"credentials", "dns"})

S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to dial: a name, which the certificate must carry, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Dialled(Generic[S]):
    """An open session and what its server said of itself on it."""

    session: S
    observation: Observation


class Dismissed(Exception):
    """Whoever was to be dialled is no longer what it was: choose anew."""


class Dial(Generic[S]):
    """One dial under way: a task that ends by its deadline."""

    def __init__(self, place: Place, deadline: float, *, is_hurried: bool, patient_until: float = -math.inf) -> None:
        self.place = place
        self.deadline = deadline
        self.patient_until = patient_until  # For so long it stays in line, if it stands in one by its deadline.
        self.is_hurried = is_hurried  # Its caller waits for less than an instance may take.
        self.started_at = asyncio.get_running_loop().time()
        self.session: S | None = None
        self.own_phase = "credentials"
        self.was_late = False  # Its deadline was missed by our own stalled loop: proves nothing about the server.
        self.is_expired = False
        self._waiter: asyncio.Future[bool] | None = None  # Who waits, until it has ended; False: sent away before.
        self.task: asyncio.Task[Dialled[S]]

    @property
    def phase(self) -> str:
        """What it waits for: "credentials", "dns", or the session's phase."""
        return self.own_phase if self.session is None else self.session.phase

    @property
    def is_greeted(self) -> bool:
        """Whether the server has said its first words."""
        return self.phase in _GREETED

    @property
    def is_in_line(self) -> bool:
        """Whether it waits for the log-in of an instance that is there: its kernel acknowledges what we send.

        Who leaves the line begins again at its end, and may have been worked for in vain.
        """
        if not self.is_greeted or self.session is None or self.task.done():
            return False
        signs = self.session.signs()
        return signs is not None and not signs.unacked

    async def wait(self) -> Dialled[S]:
        """Give the open session.

        Raises:
            ConnectTimeout: The deadline passed; says in which phase.
            pymysql.err.OperationalError: Refused, unknown host, log-in refused and so on.
            pymysql.err.InterfaceError: The Cluster was closed meanwhile.
            Dismissed: Its dialer knows better by now.
        """
        if not self.task.done():
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                has_ended = await self._waiter
            except asyncio.CancelledError:
                self.leave()
                raise
            if not has_ended:
                self.leave()
                raise Dismissed
        if self.task.cancelled():  # Not by whoever waits here.
            raise closed(self.place.host)
        return self.task.result()

    def blames(self, error: BaseException) -> bool:
        """Tell whether a failure is the instance's own, so that its connections are useless.

        Not a caller's haste, our own lateness (case 36), or a name that cannot be looked up (case 8); and who refuses a
        log-in, or has greeted and has too many of them, is there (case 25). Who has let us in and then says nothing may
        be stalled.
        """
        if isinstance(error, ConnectTimeout):
            return self._has_taken_long(error) and error.phase not in _LOGGING_IN
        errno = errno_of(error) or 0
        return errno != UNKNOWN_HOST and scope_of(errno) not in {Scope.ADMISSION, Scope.LOGIN}

    def strains(self, error: BaseException) -> bool:
        """Tell whether a failure shows an instance that has more connects than it copes with."""
        if isinstance(error, ConnectTimeout):
            return self._has_taken_long(error)
        return scope_of(errno_of(error) or 0) is Scope.ADMISSION

    def is_crowded_out(self, error: BaseException) -> bool:
        """Tell whether that instance is there for sure: it has greeted, or says so."""
        return self.strains(error) and not (isinstance(error, ConnectTimeout) and error.phase not in _GREETED)

    def _has_taken_long(self, error: ConnectTimeout) -> bool:
        """Tell whether it was the instance that the time went by with."""
        return not (self.is_hurried or self.was_late or error.phase in _OURS)

    def news(self, error: BaseException, instance: Instance, *, heard_at: float) -> InstanceLost | Late | None:
        """Give what a failure tells of the instance, of which the last sign of life came at the loop time `heard_at`.

        One that refuses is lost, and one that nobody acknowledges. One that was reached and did not go on is late: it
        may be stalled, and what it holds may yet be answered (case 53). One that says something else meanwhile is slow.
        """
        if not self.blames(error):
            return None
        if isinstance(error, ConnectTimeout):
            if heard_at >= self.started_at:
                return None
            if self.phase != "tcp":
                return Late(instance.id, error.waited_s)
        return InstanceLost(instance.id, instance.generation, sentence_of(error))

    def wake(self, *, has_ended: bool = True) -> None:
        """Let who waits go on."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(has_ended)

    def dismiss(self) -> None:
        """Send away who waits for it."""
        self.wake(has_ended=False)

    def leave(self) -> None:
        """Stop caring: a greeted dial finishes and closes politely, another is cut."""
        self.task.add_done_callback(_closed_politely)
        if not self.is_greeted:
            self.task.cancel()

    def expire(self) -> None:
        """End it at its deadline; an answer that lies unread because our loop stalled is read first."""
        loop = asyncio.get_running_loop()
        if loop.time() < self.patient_until and self.is_in_line:
            self.deadline = min(loop.time() + _IN_LINE_FOR_S, self.patient_until)
            loop.call_at(self.deadline, self.expire)
            return
        if not self.was_late and loop.time() - self.deadline > OUR_LATENESS_S:
            self.was_late = True
            loop.call_later(OUR_LATENESS_S, self.expire)
            return
        self.is_expired = not self.task.done()
        self.task.cancel()


def closed(host: str) -> err.InterfaceError:
    """Say that whoever waits will not be served any more."""
    return err.InterfaceError(0, f"the Cluster was closed while it connected to {host!r}")


def _closed_politely(task: asyncio.Task[Dialled[Any]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().session.close()
