"""Several servers in one URL: which one is tried first, and which one will do.

In the words of libpq (PostgreSQL's documentation, section 34.1.1.3), and for MySQL and MariaDB alike::

    postgresql://user@one:5432,two:5433/shop?target_session_attrs=primary

Each new connection tries the hosts in the order of the URL (``load_balance_hosts=random``: in any order), and takes the
first that can be reached and plays the wanted part. One that failed is tried last for some seconds, so that a machine
that is gone does not cost its timeout each time. An error that another host would give, too, such as a wrong password,
ends the search.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from service_utils.db.errors import ConnectionLost, error_for
from service_utils.db.session import Session

if TYPE_CHECKING:
    from service_utils.db.url import Address

__all__ = ["PARTS", "Hosts"]

PARTS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
REST = 10.0  # seconds for which one that failed is tried last

Place = tuple[str, int]  #: host and port
Attempt = Callable[[str, int, str, float], Session]


class Hosts:
    """The servers of an address, and how they did. ValueError for options that are none."""

    def __init__(self, address: Address, name: str) -> None:
        self.places: tuple[Place, ...] = ((address.host, address.port), *address.more)
        options = dict(address.options)
        self.wanted = options.pop("target_session_attrs", "any")
        if self.wanted not in PARTS:
            raise ValueError(f"{name}: target_session_attrs={self.wanted}: there are {', '.join(PARTS)}")
        balance = options.pop("load_balance_hosts", "disable")
        if balance not in ("disable", "random"):
            raise ValueError(f"{name}: load_balance_hosts={balance}: there are disable, random")
        self._shuffle = balance == "random"
        self.options = options  #: what is left of those of the URL
        self._rests: dict[Place, float] = {}  # until when

    @property
    def writes(self) -> bool:
        """Whether a server that lets nobody write is the wrong one."""
        return self.wanted in ("read-write", "primary")

    def connect(self, timeout: float, longest: float, attempt: Attempt) -> Session:
        """``attempt(host, port, wanted, timeout)`` with one host after the other, in ``timeout`` seconds for all and
        ``longest`` for each. ``wanted`` is one of PARTS, without prefer-standby. CannotConnect of all of them."""
        if len(self.places) == 1 and self.wanted != "prefer-standby":
            return attempt(*self.places[0], self.wanted, min(timeout, longest))
        deadline = monotonic() + timeout
        problems: list[tuple[Place, ConnectionLost]] = []
        rounds = ("standby", "any") if self.wanted == "prefer-standby" else (self.wanted,)
        tries = [(place, wanted) for wanted in rounds for place in self._order()]
        for number, (place, wanted) in enumerate(tries):
            share = max(0.001, (deadline - monotonic()) / (len(tries) - number))
            try:
                session = attempt(*place, wanted, min(longest, share))
            except ConnectionLost as error:
                problems.append((place, error))
                self._rests[place] = monotonic() + REST
                if monotonic() >= deadline:
                    break
            else:
                self._rests.pop(place, None)
                return session
        told = "; ".join(f"{host}:{port}: {error}" for (host, port), error in problems)
        last = problems[-1][1]
        nobody = error_for("08001", f"no server will do (target_session_attrs={self.wanted}): {told}", last.engine)
        raise nobody from last

    def _order(self) -> list[Place]:
        now = monotonic()
        places = list(self.places)
        if self._shuffle:
            random.shuffle(places)
        return sorted(places, key=lambda place: self._rests.get(place, 0.0) > now)
