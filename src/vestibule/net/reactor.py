"""One turn: wait, read, decide, write, keep time.

Facts: epoll is level-triggered here, so one read for each readiness is enough and no read ever has to
fail to learn that it was the last. A descriptor closed in the middle of a batch may be given out again
by the kernel within the same batch. A registration belongs to the open file, not to the descriptor: where
another descriptor names the same file, closing ours leaves it behind (epoll(7), Q6).

Rules
  1. Handlers called from a turn only queue bytes. The flush at its end is where sending happens, at
     the top of the stack; what a flush sets off is flushed in the same turn.
  2. Descriptors are closed at the end of the turn, so no event of a batch can meet a new owner.
  3. Interest in events is changed at the end of the turn, once, and only if it differs from what the
     kernel has: a pause that was taken back costs nothing.

Not here: what the bytes mean (`proxy/`), deadlines (`timers.py`).
"""

import os
import select
import time
from typing import Final

from mypy_extensions import trait

from vestibule.net.timers import Wheel

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
_GONE: Final = select.EPOLLHUP | select.EPOLLERR

# Events taken at once. A large batch delays the flush of its first answer behind the work of its last.
_BATCH: Final = 64

# The longest sleep: a signal's flag is looked at this often even where nothing wakes us.
_SLEEP_MOST_MS: Final = 1000

# The buffer every read goes to first. Larger ones were measured slower: they leave the second-level cache.
SCRATCH_BYTES: Final = 131_072
RECORD_BYTES: Final = 16_384  # the most plaintext of one TLS record (RFC 8446 5.1)

# What a plain socket is asked for at once: eight TLS records, each with a DATA frame's header (RFC 9113 4.1) in it. With the
# whole buffer a ninth frame and a ninth record would carry the few bytes left of each read.
PLAIN_READ_BYTES: Final = 8 * (RECORD_BYTES - 9)


@trait
class Later:
    """Something that asked for one call in the next turn."""

    def on_turn(self) -> None:
        raise NotImplementedError


@trait
class Crashes:
    """Who is told of exceptions that nobody expected: bugs of this program."""

    def on_crash(self, error: Exception) -> None:
        raise NotImplementedError


class Pollable:
    """The owner of one descriptor. `interest` is what it wants of epoll, `known` what epoll was told."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.interest = 0
        self.known = -1  # -1: not registered
        self.listed = False
        self.shared = False  # other descriptors name the same socket, so closing this one does not end its registration

    def on_readable(self) -> None:
        raise NotImplementedError

    def on_writable(self) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Send what is queued. Called at the end of a turn after `Reactor.need_flush`."""

    def on_bug(self) -> None:
        """One of our own methods failed in a way nobody foresaw: give up what this object stands for."""

    def close_fd(self) -> None:
        """Close the descriptor. Called by the reactor at the end of the turn that doomed it."""
        os.close(self.fd)


class Reactor:
    """The event loop of one worker."""

    def __init__(self) -> None:
        self.ahead_ms = 0  # how far our time is ahead of the system's: what lets a test wait an hour at once
        self.now_ms = _now()
        self.timers = Wheel()
        self.running = False
        self.scratch = bytearray(SCRATCH_BYTES)
        self.view = memoryview(self.scratch)
        self.records = [self.view[at : at + RECORD_BYTES] for at in range(0, SCRATCH_BYTES, RECORD_BYTES)]
        self.crashes: Crashes | None = None
        self._epoll = select.epoll()
        self._pollables: list[Pollable | None] = []
        self._dirty: list[Pollable] = []
        self._changed: list[Pollable] = []
        self._doomed: list[Pollable] = []
        self._later: list[Later] = []

    def add(self, pollable: Pollable, interest: int) -> None:
        """Take a descriptor in. Registration itself happens at the end of the turn."""
        fd = pollable.fd
        while len(self._pollables) <= fd:
            self._pollables.append(None)
        self._pollables[fd] = pollable
        self.want(pollable, interest)

    def hand_over(self, before: Pollable, pollable: Pollable, interest: int) -> None:
        """Give the descriptor of one pollable to another, with what epoll knows of it."""
        pollable.known = before.known
        self._pollables[pollable.fd] = pollable
        self.want(pollable, interest)

    def want(self, pollable: Pollable, interest: int) -> None:
        """Set which events the pollable wants (READ, WRITE, both or 0)."""
        pollable.interest = interest
        if interest != pollable.known and not pollable.listed:
            pollable.listed = True
            self._changed.append(pollable)

    def mute(self, pollable: Pollable) -> None:
        """Hear nothing of a descriptor until its interest changes, not even that it broke."""
        if pollable.known >= 0:
            self._epoll.unregister(pollable.fd)
            pollable.known = -1

    def need_flush(self, pollable: Pollable) -> None:
        """Have `flush` called before this turn ends. The pollable sees to it that it asks once."""
        self._dirty.append(pollable)

    def doom(self, pollable: Pollable) -> None:
        """Let go of the descriptor now and close it at the end of the turn."""
        self._pollables[pollable.fd] = None
        pollable.interest = 0
        self._doomed.append(pollable)

    def call_later(self, later: Later) -> None:
        """Have `on_turn` called in the next turn."""
        self._later.append(later)

    def turn(self, wait_ms: int) -> None:
        """Run one turn; wait at most so long for the first event."""
        events = self._epoll.poll(wait_ms / 1000, _BATCH)
        # After the sleep, not before it: a deadline armed by one of these events would else be short by as much.
        self.now_ms = _now() + self.ahead_ms
        for fd, mask in events:
            pollable = self._pollables[fd]
            if pollable is None:
                continue
            try:
                if mask & (READ | _GONE):
                    # An error without interest in reading would be reported for ever: reading tells what it is.
                    pollable.on_readable()
                if mask & WRITE and self._pollables[fd] is pollable:
                    pollable.on_writable()
            except Exception as error:  # a bug met by one connection must not end the others
                self._on_bug(pollable, error)
        self.settle()

    def settle(self) -> None:
        """Do all that follows the events: late calls, timers, flushes, interests, closes."""
        if self._later:
            later = self._later
            self._later = []
            for call in later:
                try:
                    call.on_turn()
                except Exception as error:  # as above
                    self._on_bug(None, error)
        try:
            self.timers.run(self.now_ms)
        except Exception as error:  # as above
            self._on_bug(None, error)
        while self._dirty:
            dirty = self._dirty
            self._dirty = []
            for pollable in dirty:
                try:
                    pollable.flush()
                except Exception as error:  # as above
                    self._on_bug(pollable, error)
        if self._changed:
            self._apply_interests()
        if self._doomed:
            doomed = self._doomed
            self._doomed = []
            for pollable in doomed:
                if pollable.shared and pollable.known >= 0:
                    self._epoll.unregister(pollable.fd)
                pollable.close_fd()

    def _on_bug(self, pollable: Pollable | None, error: Exception) -> None:
        """Tell of a bug and give up the connection that met it; without anybody to tell, raise."""
        if self.crashes is None:
            raise error
        self.crashes.on_crash(error)
        if pollable is not None:
            pollable.on_bug()

    def pollables(self) -> list[Pollable]:
        """Return everything with a descriptor. Costs as much as there is."""
        return [pollable for pollable in self._pollables if pollable is not None]

    def _apply_interests(self) -> None:
        for pollable in self._changed:
            pollable.listed = False
            if pollable.interest == pollable.known or self._pollables[pollable.fd] is not pollable:
                continue
            if pollable.known < 0:
                self._epoll.register(pollable.fd, pollable.interest)
            else:
                self._epoll.modify(pollable.fd, pollable.interest)
            pollable.known = pollable.interest
        self._changed.clear()

    def run(self) -> None:
        """Turn until `running` is set to False."""
        self.running = True
        while self.running:
            self.turn(self.wait_ms())

    def wait_ms(self) -> int:
        """Return how long the next turn may sleep."""
        if self._later:
            return 0
        due = self.timers.next_ms()
        if due == 0:
            return _SLEEP_MOST_MS
        return max(0, min(due - _now() - self.ahead_ms + 1, _SLEEP_MOST_MS))

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()


def _now() -> int:
    return int(time.monotonic() * 1000)
