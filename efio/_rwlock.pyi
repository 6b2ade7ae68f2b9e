"""Types of the compiled module; the explanations are in _rwlock.pyx."""

from contextlib import AbstractContextManager
from typing import final

from efio._sync_types import RWLockStatistics

@final
class RWLock:
    """Many readers or one writer, first come, first served: between greenlets of any hubs and threads.

    Its holders are greenlets, where greenlets are in use, else threads. A reader may read again; one that wants to
    write is refused with RuntimeError, since two of them would wait for each other.
    """

    def acquire_read(self, blocking: bool = True, timeout: float = -1) -> bool:
        """False when it was not possible within ``timeout`` seconds (-1: no limit), or at once if not ``blocking``."""

    def acquire_write(self, blocking: bool = True, timeout: float = -1) -> bool:
        """The same. RuntimeError when the caller reads or writes already."""

    def release_read(self) -> None:
        """RuntimeError when the caller does not read."""

    def release_write(self) -> None:
        """RuntimeError when the caller does not write."""

    def downgrade(self) -> None:
        """From writing to reading, with nobody in between; waiting readers are let in, too."""

    @property
    def reading(self) -> AbstractContextManager[RWLock]: ...
    @property
    def writing(self) -> AbstractContextManager[RWLock]: ...
    @property
    def waiters(self) -> int:
        """How many wait for it."""

    def statistics(self) -> RWLockStatistics: ...
    def _at_fork_reinit(self) -> None: ...
