"""What a simulated instance does: a listener on an address of its own, and the books of who is connected."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from aioaurora.simulator.conditions import Conditions, Knock
from aioaurora.simulator.desk import StatementDesk, Storage
from aioaurora.simulator.instance import SimulatedInstance
from aioaurora.simulator.login import Handshake
from aioaurora.simulator.relay import Ending, Front

if TYPE_CHECKING:
    import ssl

    from aioaurora.errors import Role
    from aioaurora.simulator.back import Back
    from aioaurora.simulator.conditions import State
    from aioaurora.simulator.engine import Engine
    from aioaurora.simulator.login import Account, Plugin

_BACKLOG = 512
_FILLERS = 4
_PAUSE_S = 0.01
_PASSES = 5  # Of the loop, in which aborted transports close their sockets.
_BLOCKED = "Host '127.0.0.1' is blocked because of many connection errors; unblock with 'mysqladmin flush-hosts'"


class Server(SimulatedInstance):
    """A simulated instance at work.

    What it does by itself is here; faults are calls on it (`faults.py`) or on the cluster.

    Attributes:
        sha2_cache: Users whose `caching_sha2_password` is known since the last start.
    """

    accounts: dict[str, Account]
    desk: StatementDesk
    engine: Engine

    def __init__(
        self,
        state: State,
        *,
        host: str,
        engine: Engine,
        accounts: dict[str, Account],
        default_plugin: Plugin,
        storage: Storage,
        encrypted_only: bool,
    ) -> None:
        self.desk = StatementDesk(state, is_mariadb=engine.is_mariadb, accounts=accounts, storage=storage)
        super().__init__(state, host=host, connections=self.desk.fronts)
        self.engine, self.accounts, self.default_plugin = engine, accounts, default_plugin
        self.version: str = state.version
        self.tls: ssl.SSLContext | None = None
        self.sha2_cache: set[str] = set()
        self._encrypted_only = encrypted_only
        self._next_id = 1
        self._cut_handshakes = 0
        self._next_login_at = 0.0
        self._listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: dict[asyncio.Task[None], Handshake] = {}
        self._forgotten: set[Front] = set()
        self._strangers: set[Front] = set()
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def state(self) -> State:
        """Who it is and what is wrong with it."""
        return self._state

    @property
    def connections(self) -> tuple[Front, ...]:
        """The connections that have logged in."""
        return tuple(self.desk.fronts.values())

    @property
    def requires_tls(self) -> bool:
        """Whether log-ins in the clear are refused: for good, or as a fault."""
        return self._encrypted_only or self.state.conditions.requires_tls

    # --- what a log-in asks -----------------------------------------------------------------------------------------

    async def awake(self) -> None:
        """Return when the instance is not silent."""
        await self._awake.wait()

    async def admission(self) -> tuple[int, str] | None:
        """Return the error in the place of a greeting, None if the client is let in."""
        conditions = self.state.conditions
        if self._cut_handshakes >= conditions.max_connect_errors:
            return 1129, _BLOCKED
        limit = conditions.max_connections
        if limit is not None and len(self.desk.fronts) + self.state.handshakes > limit:
            return 1040, "Too many connections"
        return None

    async def verdict(self, user: str) -> tuple[int, str] | None:
        """Return the error after a right password, None if all is well; takes the time that a log-in takes."""
        conditions, loop = self.state.conditions, asyncio.get_running_loop()
        if conditions.logins_per_s is not None:
            turn = max(loop.time(), self._next_login_at)
            self._next_login_at = turn + 1 / conditions.logins_per_s
            await asyncio.sleep(turn - loop.time())
        if conditions.login_latency_s:
            await asyncio.sleep(conditions.login_latency_s)
        return (1045, f"Access denied for user '{user}'") if loop.time() < conditions.denied_until else None

    def next_front(self, engine_id: int) -> Front:
        """Make the connection's front with the instance's next id."""
        front = Front(self.desk, self._next_id, engine_id)
        self._next_id += 1
        return front

    async def opened(self, front: Front) -> None:
        """Make the engine's session what a session of this instance is."""
        await self.desk.prepare(front)

    def admit(self, front: Front) -> None:
        """Take the connection into the books."""
        self._cut_handshakes = 0
        self.desk.fronts[front.connection_id] = front
        self.state.logins += 1

    # --- up and down ------------------------------------------------------------------------------------------------

    def rise(self, role: Role) -> None:
        """Start as a database process does: connection ids from 1, nothing remembered, listening."""
        self._stop_handshakes(Ending.RST)
        for front in self._forgotten:
            front.forget()
        self._strangers |= self._forgotten
        self._forgotten.clear()
        self._next_id, self._cut_handshakes = 1, 0
        self.sha2_cache.clear()
        self.state.role, self.state.is_up = role, True
        self.state.conditions.is_frozen = self.state.conditions.is_fenced = False
        self.desk.changed()
        self._awake.set()
        self.listen()

    def fall(self, ending: Ending, *, accepts: bool = True) -> list[Back]:
        """Stop serving in one instant; return the engine's sessions that were behind the connections.

        Nothing that a client sends reaches the engine after this.
        With SILENCE the address still accepts connections and never greets; `accepts=False`: not even that.
        """
        self.state.is_up = False
        if ending is Ending.SILENCE:
            self._awake.clear()
            if not accepts:
                self._stop_accepting()
        else:
            self.stop_listening()
        backs = self.drop(ending)
        if ending is not Ending.SILENCE:
            self._stop_handshakes(ending)
        return backs

    def drop(self, ending: Ending) -> list[Back]:
        """End all connections; return the engine's sessions that were behind them."""
        backs = []
        for front in self.connections:
            back = front.detach()
            if back is not None:
                backs.append(back)
            front.end(ending)
            (self._forgotten if ending is Ending.SILENCE else self._strangers).add(front)
        self._strangers = {front for front in self._strangers if not front.is_lost}
        self.desk.fronts.clear()
        if ending is not Ending.SILENCE:
            for front in self._forgotten:
                front.end(ending)
            self._forgotten.clear()
        return backs

    def silence(self) -> None:
        """Neither read nor write nor greet, and forget nothing."""
        self._awake.clear()
        for front in self.connections:
            front.silence()

    def speak(self) -> None:
        """Go on where `silence` stopped."""
        self._awake.set()
        for front in self.connections:
            front.speak()

    def recover(self) -> None:
        """Undo what is wrong with a running instance."""
        self.state.conditions = Conditions()
        self._cut_handshakes = 0
        self.desk.changed()
        self.desk.heal()
        for front in tuple(self._forgotten):
            front.end(Ending.RST)
        self._forgotten.clear()
        if self.is_up:
            self.speak()
            self.listen()

    async def close(self) -> None:
        """Close all sockets and end all tasks."""
        self.stop_listening()
        for back in self.drop(Ending.RST):
            back.abandon()
        for front in self._strangers:
            front.end(Ending.RST)
        tasks = [*self._handshakes]
        self._stop_handshakes(Ending.RST)
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_PASSES):
            await asyncio.sleep(0)

    # --- the listener -----------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Accept connections."""
        if self._fillers:
            self.stop_listening()  # Its queue was filled on purpose.
        if self._listener is not None:
            return
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, self.port))
            listener.listen(_BACKLOG)
            listener.setblocking(False)  # noqa: FBT003 - the library's signature
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))

    def stop_listening(self) -> None:
        """Refuse connections."""
        if self._listener is not None:
            with suppress(OSError):  # Not every system refuses at once after this; closing follows in the task.
                self._listener.shutdown(socket.SHUT_RDWR)
            self._close_listener(self._listener)
        for filler in self._fillers:
            filler.close()
        self._listener = self._accepting = None
        self._fillers.clear()

    def _close_listener(self, listener: socket.socket) -> None:
        """Close it when nobody waits on its descriptor any more, whose number may be given out again at once."""
        task = self._accepting
        if task is None or task.done():
            listener.close()
            return
        task.add_done_callback(lambda _: listener.close())
        task.cancel()

    def _stop_accepting(self) -> None:
        """Let new connections hang before they are made: the queue of the listening socket is full (Linux)."""
        listener = self._listener
        if listener is None:
            return
        if self._accepting is not None:
            self._accepting.cancel()
        listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003 - the library's signature
            with suppress(BlockingIOError):
                filler.connect((self.address, self.port))
            self._fillers.append(filler)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                await _readable(listener)
                continue
            except OSError:
                await asyncio.sleep(_PAUSE_S)  # Out of descriptors: those who have one will give it back.
                continue
            sock.setblocking(False)  # noqa: FBT003 - the library's signature
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake = Handshake(self, sock)
            self.state.handshakes += 1
            self.state.peak_handshakes = max(self.state.peak_handshakes, self.state.handshakes)
            task = loop.create_task(handshake.run())
            self._handshakes[task] = handshake
            task.add_done_callback(self._shaken)

    def _shaken(self, task: asyncio.Task[None]) -> None:
        handshake = self._handshakes.pop(task)
        self.state.handshakes -= 1
        now = asyncio.get_running_loop().time()
        self.state.knocks.append(Knock(handshake.user, handshake.began_at, now))
        handshake.finish()
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a simulated log-in failed", "exception": error})
        self._cut_handshakes += handshake.was_cut

    def _stop_handshakes(self, ending: Ending) -> None:
        for task, handshake in tuple(self._handshakes.items()):
            handshake.ending = ending
            task.cancel()


async def _readable(sock: socket.socket) -> None:
    """Wait for somebody at the door. asyncio's `sock_accept` fails if he comes in the turn in which it is cancelled."""
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def tell() -> None:
        if not arrived.done():
            arrived.set_result(None)

    loop.add_reader(sock, tell)
    try:
        await arrived
    finally:
        loop.remove_reader(sock)
