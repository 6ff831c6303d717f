"""One request led to one verified connection: choose, dial, check the role; look again when it was the wrong one."""

from __future__ import annotations

import asyncio
import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pymysql import err

from aioaurora._core import event as kinds
from aioaurora._core.endpoint import EndpointKind
from aioaurora._core.failover import Observed, Searching, Unreached, lease_target
from aioaurora._core.observation import Mode, Observation
from aioaurora._core.selection import Chosen, Hopeless, chosen
from aioaurora._core.silence import OUR_LATENESS_S
from aioaurora._core.verdict import Scope, errno_of, scope_of
from aioaurora._io.attempting import Attempting
from aioaurora._io.contact import first_contact
from aioaurora._io.dial import UNKNOWN_HOST, Dial, Dialled, Dismissed, Place, closed
from aioaurora._io.driver import sentence_of
from aioaurora._io.limits import ended, limited
from aioaurora._io.session import Session
from aioaurora.errors import ConnectTimeout, NoReader, NoWriter, Role, WriterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core.frozen import Event
    from aioaurora._io.dialer import Dialer
    from aioaurora._io.monitor import Monitor
    from aioaurora.config import Config

_RETRY_AFTER_S = 0.2, 0.4

S = TypeVar("S", bound=Session)


class _NotInThatRole(err.OperationalError):
    """The instance that was dialled turned out to hold another role: look again."""


@dataclass(slots=True)
class _Request:
    role: Role | None
    instance: str | None
    asked_at: float
    deadline: float
    is_modest: bool
    avoid: set[str] = field(default_factory=set)  # Readers that failed this request.


class Seeker:
    """Leads requests to instances."""

    def __init__(
        self,
        config: Config,
        *,
        monitor: Monitor,
        dialer: Dialer,
        emit: Callable[[Event], None],
        chance: Callable[[], float],
    ) -> None:
        self._config = config
        self._monitor = monitor
        self._dialer = dialer
        self._emit = emit
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._reaching: asyncio.Task[None] | None = None
        self._reached_by = 0.0
        self._has_reached = False
        self._told_why = ""

    @property
    def has_reached(self) -> bool:
        """Whether an instance has answered once."""
        return self._has_reached

    async def reach(self, deadline: float) -> None:
        """Wait until an instance has answered once; many may wait for the same first contact."""
        if self._has_reached:
            return
        asked_at, host = self._loop.time(), self._config.endpoint.host
        if self._reaching is None or self._reaching.done():
            self._reaching = self._begun_to_reach()
        # If both end at the same time, it knows better what was waited for.
        grace_s = OUR_LATENESS_S if deadline >= self._reached_by else 0.0
        if not await ended(self._reaching, by=deadline + grace_s):
            raise ConnectTimeout(host, phase="first contact", waited_s=deadline - asked_at)
        if self._reaching.cancelled():
            raise closed(host)
        self._reaching.result()

    def reach_meanwhile(self) -> None:
        """See to it that the cluster is observed; what keeps it from that is told, and nobody waits for it."""
        if self._reaching is None or (self._reaching.done() and _has_failed(self._reaching)):
            self._reaching = self._begun_to_reach()
            self._reaching.add_done_callback(self._reached_meanwhile)

    def deadline(self, timeout_s: float | None) -> float:
        """Tell until when a request may take that was asked now."""
        default = self._config.acquire_timeout if self._has_reached else self._config.connect_timeout
        return self._loop.time() + (timeout_s or default)

    async def seek(
        self,
        role: Role | None,
        instance: str | None,
        build: Callable[..., S],
        *,
        deadline: float,
        is_modest: bool = False,
    ) -> Dialled[S]:
        """Give a session whose server said on it that it holds `role`; see `Cluster.connect`.

        One that `is_modest` does not knock again where there are too many already.
        """
        request = _Request(role, instance, self._loop.time(), deadline, is_modest)
        self.refuse_late_comer(self._role_of(request))
        attempting = Attempting(deadline=request.deadline, least_pause_s=self._config.search_interval)
        try:
            return await attempting.run(
                functools.partial(self._attempt, request, build), functools.partial(self._is_passing, request)
            )
        except (err.MySQLError, OSError) as error:
            is_ours = isinstance(error, _NotInThatRole) or (self._has_reached and self._is_passing(request, error))
            if is_ours and not isinstance(error, TimeoutError):
                raise self._nobody(request, sentence_of(error)) from error
            raise

    async def settled(self, role: Role | None, *, deadline: float) -> None:
        """Wait until it is known who the writer is; raises what `seek` would."""
        request = _Request(role, None, self._loop.time(), deadline, is_modest=False)
        self.refuse_late_comer(role)
        while self._monitor.is_searching:
            await self._next_change(request)

    def refuse_late_comer(self, role: Role | None) -> None:
        """Fail at once who asks for the writer when the search has lasted for long; who waits goes on waiting."""
        patience = self._config.give_up_waiting_after if self._config.follow == "on" else None
        if patience is None or role is not Role.WRITER:
            return
        sought_s = self._monitor.searching_for_s
        if sought_s >= patience:
            least, most = _RETRY_AFTER_S
            retry_after_s = least + (most - least) * self._chance()
            sentence = f"the writer of {self._monitor.topology.cluster!r} has been sought for {sought_s:.1f} s"
            raise WriterUnavailable(sentence, waited_s=0.0, retry_after_s=retry_after_s)

    def refuse_stranger(self, role: Role | None, instance: str) -> None:
        """Fail at once who asks for an instance that the cluster does not have."""
        if self._config.follow == "on" and self._has_reached:
            choice = chosen(self._monitor.state, role, pinned=instance, chance=0.0)
            if isinstance(choice, Hopeless):
                raise (NoReader if role is Role.READER else NoWriter)(choice.sentence, waited_s=0.0)

    async def close(self) -> None:
        """Give up the first contact if it is still under way."""
        if self._reaching is not None and not self._reaching.done():
            self._reaching.cancel()
            await asyncio.wait({self._reaching})

    # --- one attempt -------------------------------------------------------------------------------------------

    async def _attempt(self, request: _Request, build: Callable[..., S]) -> Dialled[S]:
        dialled = None
        while dialled is None:  # Each turn of this loop takes a change of the topology.
            choice = None
            if self._config.follow == "on":
                await self.reach(request.deadline)
                choice = await self._choice(request)
            elif self._config.follow == "observe":
                self.reach_meanwhile()
            dialled = await self._dialled(request, choice, build)
        try:
            self._accept(dialled.observation, choice.role if choice else self._role_at_endpoint(request))
        except err.MySQLError:
            dialled.session.close()
            raise
        self._has_reached = True
        return dialled

    async def _dialled(self, request: _Request, choice: Chosen | None, build: Callable[..., S]) -> Dialled[S] | None:
        """Dial whom was chosen; None if the choice is no longer right."""
        endpoint = self._config.endpoint
        place = Place(choice.instance.host, choice.instance.port) if choice else Place(endpoint.host, endpoint.port)
        dial: Dial[S] | None = None
        try:
            dial = await self._dialer.in_turn(
                place,
                build,
                deadline=request.deadline,
                dial_by=math.inf if request.is_modest else None,  # A pool's has its own limit, and no hurry.
                is_patient=choice is not None and choice.role is Role.WRITER,
            )
            return await dial.wait()
        except Dismissed:
            return None
        except (err.MySQLError, OSError) as error:
            if choice is not None and dial is not None:
                self._failed(choice, dial, error)
                request.avoid.add(choice.instance.id)
            raise

    async def _choice(self, request: _Request) -> Chosen | None:
        """Choose an instance, waiting for one if need be; None: whoever the endpoint leads to."""
        if request.instance is None and self._takes_anyone(request):
            return None
        role = self._role_of(request)
        while True:
            choice = chosen(
                self._monitor.state,
                role,
                pinned=request.instance,
                chance=self._chance(),
                avoid=frozenset(request.avoid),
            )
            match choice:
                case Chosen():
                    self._told_of_fallback(choice)
                    return choice
                case Hopeless(sentence):
                    error = NoReader if role is Role.READER else NoWriter
                    raise error(sentence, waited_s=self._loop.time() - request.asked_at)
                case None:
                    await self._next_change(request)

    def _takes_anyone(self, request: _Request) -> bool:
        """Tell whether the endpoint alone decides: a plain server without a role asked for, or a custom endpoint."""
        kind = self._config.endpoint.kind
        return kind is EndpointKind.CUSTOM or (request.role is None and bool(self._dialer.is_plain))

    def _role_at_endpoint(self, request: _Request) -> Role | None:
        """Tell what whoever the endpoint leads to must be; a plain server is asked for what was said, and no more."""
        return request.role if self._dialer.is_plain else self._role_of(request)

    def _role_of(self, request: _Request) -> Role | None:
        if request.role is not None or request.instance is not None:
            return request.role
        return self._config.endpoint.default_role

    async def _next_change(self, request: _Request) -> None:
        try:
            async with limited(request.deadline):
                await self._monitor.changed()
        except TimeoutError:
            raise self._nobody(request, "") from None

    def _accept(self, observation: Observation, role: Role | None) -> None:
        """Check on this very connection what was asked for; a reader only where there was a choice."""
        follows, who = self._config.follow == "on", observation.instance_id
        if follows:
            self._monitor.tell(Observed(observation))
        elif self._config.follow == "observe":
            self._compare(observation, role)
        is_plain = self._dialer.is_plain or not follows
        if role is Role.READER and observation.mode is not Mode.READ_ONLY and not is_plain:
            raise _NotInThatRole(0, f"{who!r} says it is {observation.mode}, not a reader")
        if role is not Role.WRITER:
            return
        if observation.mode is not Mode.WRITABLE:
            raise _NotInThatRole(0, f"{who!r} says it is {observation.mode}, not the writer")
        writer = self._monitor.topology.writer
        if follows and (writer is None or writer.id != who):
            raise _NotInThatRole(0, f"{who!r} says it is writable, and so does {writer.id if writer else 'nobody'}")

    def _compare(self, observation: Observation, role: Role | None) -> None:
        """Take note of where the endpoint led, and tell if it was elsewhere than we would have gone."""
        if isinstance(self._monitor.state.phase, Unreached):
            return  # The first contact says more.
        self._monitor.tell(Observed(observation))
        writer, who = lease_target(self._monitor.state), observation.instance_id
        choice = writer.id if writer is not None else None
        if role is Role.WRITER and choice != who:
            cluster = self._monitor.topology.cluster
            self._emit(kinds.ChoiceWithheld(cluster=cluster, role=role, instance=who, choice=choice))

    def _failed(self, choice: Chosen, dial: Dial[S], error: Exception) -> None:
        # What the server says to this session (no such database, a bad init_command) tells nothing of it.
        if scope_of(errno_of(error) or 0) is Scope.STATEMENT:
            return
        news = dial.news(error, choice.instance, heard_at=self._monitor.last_sign_of(choice.instance.id))
        if news is not None:
            self._monitor.tell(news)

    def _told_of_fallback(self, choice: Chosen) -> None:
        if choice.is_fallback:
            cluster = self._monitor.topology.cluster
            self._emit(kinds.ReaderFallback(cluster=cluster, instance=choice.instance.id))

    # --- failing -----------------------------------------------------------------------------------------------

    def _is_passing(self, request: _Request, error: BaseException) -> bool:
        """Tell whether the same request may succeed a moment later."""
        if request.is_modest and scope_of(errno_of(error) or 0) is Scope.ADMISSION:
            return False
        if isinstance(error, (_NotInThatRole, ConnectTimeout)):
            return True
        if isinstance(error, (NoWriter, NoReader)) or not isinstance(error, (err.OperationalError, OSError)):
            return False
        errno = errno_of(error) or 0
        if errno == UNKNOWN_HOST:
            return self._has_reached
        scope = scope_of(errno)
        if scope is Scope.LOGIN:
            return self._has_reached and self._monitor.is_unsettled
        return scope is not Scope.STATEMENT

    def _nobody(self, request: _Request, last_failure: str) -> NoWriter | NoReader:
        """Say what was waited for, for how long, and what was seen last."""
        topology, phase = self._monitor.topology, self._monitor.state.phase
        waited_s = self._loop.time() - request.asked_at
        role = request.role or self._config.endpoint.default_role or "instance"
        seen = f"last writer: {topology.writer_id or 'none'} (epoch {topology.epoch})"
        search = f"; searching: {phase.cause}" if isinstance(phase, Searching) else ""
        others = ", ".join(f"{each.id} {each.health} {each.mode or 'unasked'}" for each in topology.instances)
        failure = f"; last failure: {last_failure}" if last_failure else ""
        sentence = (
            f"no {role} of {topology.cluster!r} within {waited_s:.1f} s; {seen}{search}; instances: {others}{failure}"
        )
        return (NoReader if role is Role.READER else NoWriter)(sentence, waited_s=waited_s)

    def _begun_to_reach(self) -> asyncio.Task[None]:
        self._reached_by = self._loop.time() + self._config.connect_timeout
        return self._loop.create_task(self._first_contact(self._reached_by))

    def _reached_meanwhile(self, reaching: asyncio.Task[None]) -> None:
        error = None if reaching.cancelled() else reaching.exception()
        if error is not None and (why := f"observing failed: {sentence_of(error)}") != self._told_why:
            self._told_why = why
            endpoint = self._config.endpoint
            self._emit(kinds.NotFollowed(cluster=self._monitor.topology.cluster, host=endpoint.host, why=why))

    async def _first_contact(self, deadline: float) -> None:
        session, observation = await first_contact(self._config.endpoint, self._dialer, deadline=deadline)
        self._has_reached = True
        self._monitor.begin(Observed(observation), session)


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
