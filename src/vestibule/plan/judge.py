"""Passwords that take long to judge, judged beside the reactor.

Facts
  bcrypt and Argon2 take a twentieth of a second to a second on purpose, and let go of the interpreter's lock meanwhile. In the
  reactor nobody else would be served for as long, and who sends wrong passwords could see to it.

Rules
  One thread for each worker, begun with the first question, at a lower priority: a flood of wrong passwords takes what nobody wants.
  The same credentials are judged once for all who wait for them, and not at all once nobody waits.
  No more than `_LINE_MOST` wait; who comes then is not judged.

Not here: hashes, and what is remembered of them (`password.py`).
"""

import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import Final

from mypy_extensions import trait

from vestibule.net.reactor import READ, Pollable, Reactor
from vestibule.plan.password import Users

# Credentials in line. Of bcrypt's usual hashes that is three seconds of work, and of the slowest in use a minute.
_LINE_MOST: Final = 64

_NICE: Final = 10


@trait
class Waiter:
    """Who waits for a verdict."""

    def on_verdict(self, accepted: bool) -> None:
        raise NotImplementedError


class Case:
    """Credentials in line."""

    def __init__(self, users: Users, text: bytes) -> None:
        self.users = users
        self.text = text
        self.waiters: list[Waiter] = []
        self.judged = False
        self.accepted = False

    def leave(self, waiter: Waiter) -> None:
        """Wait no more."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)


class Judge(Pollable):
    """The line of one worker, and who sees to it."""

    def __init__(self) -> None:
        super().__init__(-1)
        self._line: dict[tuple[Users, bytes], Case] = {}
        self._asked: SimpleQueue[Case | None] = SimpleQueue()
        self._done: deque[Case] = deque()
        self._clerk: threading.Thread | None = None

    def ask(self, reactor: Reactor, users: Users, text: bytes, waiter: Waiter) -> Case | None:
        """Have credentials (`text` is what follows `Basic`) judged; None if the line is full."""
        case = self._line.get((users, text))
        if case is None:
            if len(self._line) >= _LINE_MOST:
                return None
            self._begin(reactor)
            case = Case(users, text)
            self._line[(users, text)] = case
            self._asked.put(case)
        case.waiters.append(waiter)
        return case

    def on_readable(self) -> None:
        os.eventfd_read(self.fd)
        while self._done:
            case = self._done.popleft()
            if not case.judged and case.waiters:  # they came after the thread had seen that nobody waited
                self._asked.put(case)
                continue
            del self._line[(case.users, case.text)]
            if case.judged:
                case.users.remember(case.text, case.accepted)
            waiters = case.waiters
            case.waiters = []
            for waiter in waiters:
                waiter.on_verdict(case.accepted)

    def stop(self, reactor: Reactor) -> None:
        """End the thread once it has done what it is at, and let go of the descriptor."""
        if self._clerk is not None:
            self._asked.put(None)
            self._clerk.join()
            self._clerk = None
            reactor.doom(self)

    def _begin(self, reactor: Reactor) -> None:
        if self._clerk is None:
            self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            reactor.add(self, READ)
            self._clerk = threading.Thread(target=self._work, name="judge", daemon=True)
            self._clerk.start()

    def _work(self) -> None:
        """Judge one after the other; this is another thread than all else."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        except OSError:
            pass  # as urgent as the rest, then
        while True:
            case = self._asked.get()
            if case is None:
                return
            if case.waiters:
                try:
                    case.accepted = case.users.judge(case.text)
                except BaseException:  # a library's own kinds as well: no verdict is no, and the next in line waits
                    case.accepted = False
                case.judged = True
            self._done.append(case)
            os.eventfd_write(self.fd, 1)
