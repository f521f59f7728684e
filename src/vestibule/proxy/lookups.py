"""Names that requests name, in one worker: which are looked up, who waits for one, and which have no address.

Facts: looking a name up may take seconds, and a worker never blocks; the control process does it. Requests may name any host, each
another one.

Rules
  1. A name is asked for once, however many wait for it; nobody waits longer than until his own deadline.
  2. What was found holds for `FOUND_MS`; after that it goes on in use while it is asked for anew. That there is nothing holds for
     `NOTHING_MS`.
  3. Everything is bounded: names that are remembered (`NAMES_MOST`, the one that was asked for longest ago goes), names that are
     asked for at a time (`ASKED_MOST`), requests that wait (`WAITING_MOST`). Where there is no room the answer is that there is nothing.

Not here: asking (`control/resolver.py`), names of a configuration, which are watched there.
"""

from typing import Final

from mypy_extensions import mypyc_attr, trait

from vestibule.proxy.pool import AddressBook, is_address

FOUND_MS: Final = 30_000
NOTHING_MS: Final = 5_000
NAMES_MOST: Final = 512
ASKED_MOST: Final = 64
WAITING_MOST: Final = 1_024

# What is known of a name.
KNOWN: Final = 0
NOTHING: Final = 1
ASKED: Final = 2


@trait
class NameWaiter:
    """Who waits for the addresses of a name."""

    def on_name(self) -> None:
        """They are known, or there are none."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class NameAsker:
    """Passes on which names are to be looked up."""

    def ask(self, name: str) -> None:
        """Say that a request names a host. Nobody hears it here."""


class Lookups:
    """The names that requests name; the same for all upstreams of a worker."""

    def __init__(self, book: AddressBook) -> None:
        self.asker = NameAsker()
        self.waiting = 0
        self._book = book
        self._until: dict[str, int] = {}  # how long what was answered holds
        self._asked: dict[str, list[NameWaiter]] = {}

    def look(self, name: str, now_ms: int) -> int:
        """Tell what is known of a name, and have it asked for where it has to be. `ASKED`: whoever needs it waits."""
        if is_address(name):
            return KNOWN
        until = self._until.get(name, -1)
        if self._book.find(name):
            if 0 <= until <= now_ms and name not in self._asked and len(self._asked) < ASKED_MOST:
                self._ask(name)
            return KNOWN
        if name in self._asked:
            return ASKED
        if now_ms < until or len(self._asked) >= ASKED_MOST:
            return NOTHING
        self._ask(name)
        return ASKED

    def _ask(self, name: str) -> None:
        self._asked[name] = []
        self.asker.ask(name)

    def wait(self, name: str, waiter: NameWaiter) -> bool:
        """Have somebody told when a name that is asked for is known. False: too many wait."""
        waiters = self._asked.get(name)
        if waiters is None or self.waiting >= WAITING_MOST:
            return False
        waiters.append(waiter)
        self.waiting += 1
        return True

    def leave(self, name: str, waiter: NameWaiter) -> None:
        """Wait no more. The name stays asked for."""
        waiters = self._asked.get(name)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self.waiting -= 1

    def watched(self, name: str) -> None:
        """A name is one of the configuration's, so the book keeps it."""
        self._until.pop(name, None)

    def keep(self, watched: set[str]) -> None:
        """These are the names of the configuration that serves now. What the book has of others held until now."""
        for name in self._book.names():
            if name not in watched and name not in self._until:
                self._until[name] = 0
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._until) > NAMES_MOST:
            oldest = next(iter(self._until))
            del self._until[oldest]
            self._book.forget(oldest)

    def told(self, name: str, now_ms: int) -> None:
        """The book was told the addresses of a name, or that it has none: because it was asked for, or is watched."""
        waiters = self._asked.pop(name, None)
        if waiters is None:
            self.watched(name)
            return
        self._until.pop(name, None)
        self._until[name] = now_ms + (FOUND_MS if self._book.find(name) else NOTHING_MS)
        self._forget_oldest()
        self.waiting -= len(waiters)
        for waiter in waiters:
            waiter.on_name()
