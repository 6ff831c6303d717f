"""One session: what each statement does to it, to its transaction and to the tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aioaurora.simulator.memory import orders
from aioaurora.simulator.memory.evaluation import Scope
from aioaurora.simulator.memory.reading import View
from aioaurora.simulator.memory.state import State
from aioaurora.simulator.memory.syntax import Call, Named, Select, TableName, walked
from aioaurora.simulator.memory.values import SqlError, Value, as_number, unknown
from aioaurora.simulator.memory.virtual import shown
from aioaurora.simulator.memory.wire import (
    AUTOCOMMIT,
    IN_TRANSACTION,
    READ_ONLY_TRANSACTION,
    Done,
    ResultSet,
)
from aioaurora.simulator.memory.writing import Pen

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable

    from aioaurora.simulator.memory.locks import Row, Transaction
    from aioaurora.simulator.memory.orders import Statement
    from aioaurora.simulator.memory.tables import Table

T = TypeVar("T")
Write = orders.Insert | orders.Update | orders.Delete
Definition = orders.CreateTable | orders.DropTables | orders.Truncate | orders.CreateSchema | orders.DropSchema
_DEADLOCK = 1213


class Session(State):
    """Carries out statements, one at a time."""

    database: str
    last_insert_id: int
    row_count: int
    started: dt.datetime

    is_killed: bool = False
    _is_interrupted = False
    _nap: asyncio.Future[None] | None = None

    @property
    def status(self) -> int:
        """The status flags of OK and EOF packets."""
        is_open = self.transaction is not None
        is_read_only = self.transaction is not None and self.transaction.read_only
        return self.autocommits * AUTOCOMMIT | is_open * IN_TRANSACTION | is_read_only * READ_ONLY_TRANSACTION

    async def run(self, statement: Statement) -> Done | ResultSet:
        """Carry out one statement; raises SqlError."""
        self._is_interrupted = False
        self.started = self.server.now()
        await self._sleep(statement)
        done = await self._carried_out(statement)
        self.row_count = done.affected_rows if isinstance(done, Done) else -1
        if isinstance(done, Done) and done.insert_id:
            self.last_insert_id = done.insert_id
        return done

    async def _carried_out(self, statement: Statement) -> Done | ResultSet:
        match statement:
            case Select():
                return await self._select(statement)
            case orders.Insert() | orders.Update() | orders.Delete():
                return await self._write(statement)
            case orders.Show():
                return shown(statement, self)
            case orders.Begin() | orders.Commit() | orders.Rollback() | orders.Savepoint() | orders.Release():
                self._transact(statement)
            case orders.Use() | orders.SetVariables() | orders.Kill() | orders.Do():
                self._arrange(statement)
            case _:
                return self._define(statement)
        return Done()

    def _arrange(self, statement: orders.Use | orders.SetVariables | orders.Kill | orders.Do) -> None:
        match statement:
            case orders.Use(schema):
                self.use(schema)
            case orders.SetVariables():
                self._set(statement)
            case orders.Kill(target, query_only):
                connection_id = int(as_number(Scope(self).value(target)))
                self.server.kill(connection_id, query_only=query_only)
            case orders.Do(expressions):
                for expression in expressions:
                    Scope(self).value(expression)

    # --- reading ----------------------------------------------------------------------------------------------------

    def subquery(self, select: Select) -> list[tuple[Value, ...]]:
        """Run a query inside an expression."""
        return [tuple(row) for row in self._view(self.transaction).select(select).rows]

    async def _select(self, select: Select) -> ResultSet:
        for node in walked(select):
            if isinstance(node, Named) and self._table(node.table).is_transactional:
                self._open_if_needed()
        if not select.locks:
            return self._view(self.transaction).select(select)
        source = select.source
        if not isinstance(source, Named):
            what = "FOR UPDATE on anything but one table"
            raise unknown(what)

        async def locked(pen: Pen) -> ResultSet:
            await pen.locked(source, select.where, select.order, select.limit)
            return pen.view.select(select)

        return await self._in_transaction(self._table(source.table), locked)

    def _view(self, transaction: Transaction | None) -> View:
        return View(self, self._table, transaction)

    def _table(self, name: TableName) -> Table:
        return self.server.catalog.table(name, self.database)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _write(self, statement: Write) -> Done:
        name = statement.table if isinstance(statement, orders.Insert) else statement.source.table
        table = self._table(name)

        async def written(pen: Pen) -> Done:
            if pen.transaction.read_only and table.is_transactional:
                raise SqlError(1792, "Cannot execute statement in a READ ONLY transaction.", "25006")
            match statement:
                case orders.Insert():
                    return await pen.insert(statement)
                case orders.Update():
                    return await pen.update(statement)
                case _:
                    return await pen.delete(statement)

        if table.is_transactional:
            self._open_if_needed()
        return await self._in_transaction(table, written)

    async def _in_transaction(self, table: Table, work: Callable[[Pen], Awaitable[T]]) -> T:
        """Do the work in the open transaction, or in one of its own that ends with it."""
        own = self.transaction is None or not table.is_transactional
        transaction = self.new_transaction() if own or self.transaction is None else self.transaction
        mark, self.writing = len(transaction.undo), transaction
        try:
            pen = Pen(
                view=self._view(transaction),
                transaction=transaction,
                lock=self._lock,
                counts_found=self.counts_found,
            )
            result = await work(pen)
        except BaseException as error:
            if own:
                transaction.rollback()
            elif isinstance(error, SqlError) and error.errno == _DEADLOCK:
                self.rollback()
            else:
                transaction.rollback_to(mark)
            raise
        finally:
            self.writing = None
        if own:
            transaction.commit()
        return result

    async def _lock(self, transaction: Transaction, row: Row) -> None:
        await transaction.lock(row)
        self._go_on()

    def _define(self, statement: Definition) -> Done:
        self.commit()
        catalog = self.server.catalog
        match statement:
            case orders.CreateTable():
                catalog.create_table(statement, self.database)
            case orders.DropTables(tables, if_exists):
                for name in tables:
                    catalog.drop_table(name, self.database, if_exists=if_exists)
            case orders.Truncate(table):
                self._table(table).truncate()
            case orders.CreateSchema(name, if_not_exists):
                catalog.create_schema(name, if_not_exists=if_not_exists)
                return Done(1)
            case orders.DropSchema(name, if_exists):
                catalog.drop_schema(name, if_exists=if_exists)
        return Done()

    # --- transactions -----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.commit()

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.rollback()

    def _open_if_needed(self) -> None:
        if self.transaction is None and not self.autocommits:
            self.transaction = self.new_transaction()

    def _transact(
        self, statement: orders.Begin | orders.Commit | orders.Rollback | orders.Savepoint | orders.Release
    ) -> None:
        match statement:
            case orders.Begin(read_only):
                self.commit()
                self.transaction = self.new_transaction(read_only=read_only)
            case orders.Commit():
                self.commit()
            case orders.Rollback(name):
                self._roll_back(name)
            case orders.Savepoint(name):
                self._open_if_needed()
                if self.transaction is not None:  # Outside a transaction it is accepted and means nothing.
                    self.transaction.savepoints.pop(name.lower(), None)
                    self.transaction.savepoints[name.lower()] = len(self.transaction.undo)
            case orders.Release(name):
                self._savepoint(name).savepoints.pop(name.lower())

    def _roll_back(self, name: str | None) -> None:
        if name is None:
            self.rollback()
            return
        transaction = self._savepoint(name)
        transaction.rollback_to(transaction.savepoints[name.lower()])
        names = list(transaction.savepoints)
        for later in names[names.index(name.lower()) + 1 :]:
            del transaction.savepoints[later]

    def _savepoint(self, name: str) -> Transaction:
        if self.transaction is None or name.lower() not in self.transaction.savepoints:
            raise SqlError(1305, f"SAVEPOINT {name} does not exist", "42000")
        return self.transaction

    # --- the session ------------------------------------------------------------------------------------------------

    def use(self, schema: str) -> None:
        """Change the default schema; raises 1049."""
        if schema.lower() != "information_schema":
            self.server.catalog.schema(schema)
        self.database = schema

    def reset(self) -> None:
        """COM_RESET_CONNECTION: everything but the schema is as after log-in."""
        self.rollback()
        self.forget()

    def _set(self, statement: orders.SetVariables) -> None:
        for assignment in statement.assignments:
            value = None if assignment.value is None else Scope(self).value(assignment.value)
            if assignment.scope == "user":
                self.user_variables[assignment.name] = value
                continue
            before = self.autocommits
            self.variables.set(assignment.scope, assignment.name, value)
            if self.autocommits and not before:
                self.commit()

    # --- interruptions ----------------------------------------------------------------------------------------------

    def interrupt(self, *, for_good: bool) -> None:
        """End what is under way with 1317; `for_good`: the session too, with its transaction, at once."""
        self.is_killed |= for_good
        self._is_interrupted = self.doing is not None
        if self._nap is not None and not self._nap.done():
            self._nap.set_exception(_interrupted())
        if self.writing is not None:
            self.writing.interrupt(_interrupted())
        if for_good:
            if self.writing is not None:
                self.writing.rollback()
            self.rollback()

    def _go_on(self) -> None:
        """Raise 1317 if somebody has ended this statement."""
        if self._is_interrupted or self.is_killed:
            raise _interrupted()

    async def _sleep(self, statement: Statement) -> None:
        """Sleep for every SLEEP() of a statement, before anything of it is carried out."""
        for node in walked(statement):
            if isinstance(node, Call) and node.name == "sleep" and node.arguments:
                await self._nap_for(float(as_number(Scope(self).value(node.arguments[0]))))

    async def _nap_for(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        nap = self._nap = loop.create_future()
        alarm = loop.call_later(seconds, _wake, nap)
        try:
            await nap
        finally:
            alarm.cancel()
            self._nap = None
        self._go_on()


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)


def _interrupted() -> SqlError:
    return SqlError(1317, "Query execution was interrupted", "70100")
