"""Transactions: begun by ``with``, nested by savepoints, on a connection that is theirs until they end."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from greenlet import getcurrent

from service_utils.db.errors import ConcurrentUse, ConnectionLost, DatabaseError, ReadOnlyViolation, TransactionOver
from service_utils.db.queries import Queries
from service_utils.db.rows import Result
from service_utils.db.scope import Scope, current_scope
from service_utils.db.session import DEFAULT, Options, Session
from service_utils.pool import Lease

if TYPE_CHECKING:
    from service_utils.db.database import Database

__all__ = ["Transaction"]


class Transaction(Queries):
    """``with db.transaction() as tx:`` commits at the end of the block; an error rolls back.

    Within the block, ``db`` itself means this transaction, too, for the greenlet (or thread) that has begun it; others
    have connections of their own. ``tx.transaction()``, or ``db.transaction()`` again, nests: a savepoint.
    ``db.begin()`` is the same without a block: it ends with ``commit()`` or ``rollback()``, at the latest with the
    request that is handled.
    """

    def __init__(self, database: Database, options: Options, parent: Transaction | None, ambient: bool = True) -> None:
        self.database = database
        self.dialect = database.dialect
        self.macros = database.macros
        self._options = options
        self._parent = parent
        self._ambient = ambient
        self._lease: Lease[Session] | None = None
        self._session: Session | None = None  # as long as it is open
        self._owner: Any = None
        self._outer: Transaction | None = None
        self._scope: weakref.ref[Scope] | None = None
        self._name = ""
        self._depth: int = 0 if parent is None else parent._depth + 1
        self._top: Transaction = self if parent is None else parent._top
        self._in_use = False  # of the outermost one: somebody is in the middle of an exchange with the server
        self._left: Lease[Session] | None = None  # it has ended meanwhile: whoever that is ends the connection

    # --- beginning and end

    def begin(self) -> Transaction:
        """Begins it; ``with`` does so."""
        if self._owner is not None:
            raise TransactionOver("a transaction can be begun once; make another one")
        self._owner = weakref.ref(getcurrent())
        if self._parent is None:
            self._lease = self.database.pool.acquire()
            self._session = self._lease.connection
            try:
                self._session.begin(self._options)
            except BaseException as error:
                self._give_back(error)
                raise
            scope = current_scope()
            if scope is not None:
                scope.open.add(self)
                self._scope = weakref.ref(scope)
        else:
            session = self._parent._usable()
            self._name = f"s{self._depth}"
            self._sole(session.savepoint, self._name)
            self._session = session
        if self._ambient:
            self._outer = self.database._ambient.get()
            self.database._ambient.set(self)
        return self

    def transaction(self) -> Transaction:
        """One within this one: a savepoint."""
        return Transaction(self.database, DEFAULT, self, self._ambient)

    @property
    def over(self) -> bool:
        """Whether it, or the one around it, has ended."""
        return self._session is None or (self._parent is not None and self._parent.over)

    def commit(self) -> None:
        """Ends it; when that fails it is rolled back, and the error says why. TransactionOver the second time.

        ConcurrentUse, and nothing has happened, while another greenlet or thread waits for a statement of it.
        """
        session = self._usable()
        if self._name:
            self._sole(session.release, self._name)
            self._end()
            return
        self._refuse_company()
        try:
            self._sole(session.commit)
        except BaseException as error:
            if isinstance(error, DatabaseError) and not isinstance(error, ConnectionLost) and session.idle:
                self._roll_back(session)
            self._give_back(error)
            raise
        self._give_back(None)

    def rollback(self) -> None:
        """Ends it, as if nothing had been done. TransactionOver the second time; ConcurrentUse as ``commit``."""
        session = self._usable()
        if self._name:
            self._sole(session.rollback_to, self._name)
            self._sole(session.release, self._name)
            self._end()
            return
        self._refuse_company()
        try:
            self._sole(session.rollback)
        except BaseException as error:
            self._give_back(error)
            raise
        self._give_back(None)

    def _roll_back(self, session: Session) -> None:
        with contextlib.suppress(DatabaseError):  # the connection is not clean then, and will not be used again
            session.rollback()

    def _usable(self) -> Session:
        session = self._session
        if session is None:
            raise TransactionOver(
                "the transaction is over" if self._owner is not None else "the transaction has not begun"
            )
        if self._lease is not None:
            session = self._lease.connection  # LeaseOver in the child of a fork
        if self._parent is not None:
            self._parent._usable()
        return session

    def _end(self) -> None:
        self._session = None
        if self._ambient and self.database._ambient.get() is self:
            self.database._ambient.set(self._outer)

    def _give_back(self, error: BaseException | None) -> None:
        lease, self._lease = self._lease, None
        self._end()
        if self._scope is not None and (scope := self._scope()) is not None:
            scope.open.discard(self)
        if lease is not None:
            if self._in_use:
                self._left = lease  # ended under the feet of whoever waits for it, it would never wake them
            else:
                self.database._give_back(lease, error)

    def _leave(self, error: BaseException) -> None:
        """Without a word to the server."""
        if self._name:
            self._end()  # the outermost one ends the connection
        else:
            self._give_back(error)

    def _forsake(self) -> None:
        """The request is over: from the destructor of something, so that nothing may be sent or waited for."""
        lease, self._lease = self._lease, None
        self._end()
        del lease  # the pool's keeper ends what is dropped

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session = self._session
        if session is None:
            return  # ended by hand
        if error is None:
            try:
                self.commit()
            except ConcurrentUse as refused:
                if self._session is not None:
                    self._leave(refused)
                raise
        elif isinstance(error, Exception) and session.idle and not isinstance(error, ConnectionLost):
            if isinstance(error, ReadOnlyViolation) and not self._options.read_only:
                self.database._notice_read_only()
            try:
                self.rollback()
            except DatabaseError as second:  # the first one is what matters
                error.add_note(f"and the transaction could not be rolled back: {second}")
                if self._session is not None:
                    self._leave(error)
        else:
            self._leave(error)

    # --- statements

    def _run(self, text: str, values: Sequence[Any]) -> Result:
        session = self._usable()
        result: Result = self._alone(session.run, text, values)
        return result

    def _run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        return int(self._alone(self._usable().run_many, text, values))

    def _run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]:
        together: list[Result] = self._alone(self._usable().run_together, text, values)
        return together

    def _copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        return int(self._alone(self._usable().copy_in, table, columns, rows))

    def _copy_out(self, text: str) -> Iterator[bytes]:
        pieces = self._usable().copy_out(text)
        try:
            while (piece := self._alone(next, pieces, None)) is not None:
                yield piece
        finally:
            pieces.close()  # type: ignore[attr-defined]  # a generator

    def _stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        pieces = self._usable().stream(text, values, batch)
        try:
            while (piece := self._alone(next, pieces, None)) is not None:
                yield piece
        finally:
            pieces.close()  # type: ignore[attr-defined]  # a generator

    def _alone(self, call: Any, *arguments: Any) -> Any:
        """A statement: alone on the connection, and in the log."""
        started = self.database._begin_log()
        try:
            result = self._sole(call, *arguments)
        except BaseException as error:
            if started:
                self.database._end_log(started, arguments, error)
            raise
        if started:
            self.database._end_log(started, arguments, result)
        return result

    def _sole(self, call: Any, *arguments: Any) -> Any:
        top = self._top
        if top._in_use:
            self._refuse_company()
        top._in_use = True
        try:
            return call(*arguments)
        finally:
            top._in_use = False
            if top._left is not None:
                left, top._left = top._left, None
                left.discard()

    def _refuse_company(self) -> None:
        if self._top._in_use:
            raise ConcurrentUse("another greenlet or thread is in the middle of a statement on this transaction")
