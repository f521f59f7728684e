"""Bytes from one socket to another past the streams on them: plain ones through a pipe, those of TLS as they are decrypted.

Facts
  splice(2) moves pages between a socket and a pipe. A gigabyte costs about half the CPU of reading and
  writing it, less with a large pipe. What the sink did not take stays in the pipe: the pipe *is* the
  buffer, and its size the bound.
  What OpenSSL decrypted lies in the reactor's scratch. Sent from there it is still in the processor's cache, and is not copied again.

Rules
  1. A relay begins to move only when the sink's own queue is empty, so order is kept.
  2. While the pipe or the sink's queue holds anything, the source is not read: one pipe full, or one read, is the most that is in flight.
  3. A pipe that still holds bytes when its relay is stopped is closed, never lent again.

Not here: which bodies may be relayed (`proxy/relays.py`), encrypting (a sink is a plain socket).
"""

import fcntl
import os
from typing import Final

from mypy_extensions import trait

from vestibule.net.reactor import READ, SCRATCH_BYTES, WRITE
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Bypass, PlainTransport, Transport

PIPE_BYTES: Final = 1_048_576
_KEPT_PIPES: Final = 16
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


@trait
class Watcher:
    """Who is told how a relay goes on."""

    def on_moved(self, relay: "Relay", count: int) -> None:
        """So many more bytes are with the sink, or in its queue; `relay.left` says how many are still to come."""
        raise NotImplementedError

    def on_source_end(self, relay: "Relay") -> None:
        """The source ended before `left` bytes had come. The relay is stopped."""
        raise NotImplementedError


class Pipe:
    """A kernel pipe of a megabyte, or what the system grants."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # beyond the user's share the default of 64 KiB does, only slower

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


class Pipes:
    """Pipes not in use, few of them."""

    def __init__(self) -> None:
        self._kept: list[Pipe] = []

    def lend(self) -> Pipe:
        return self._kept.pop() if self._kept else Pipe()

    def take_back(self, pipe: Pipe) -> None:
        """Take back an empty pipe."""
        if len(self._kept) < _KEPT_PIPES:
            self._kept.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        for pipe in self._kept:
            pipe.close()
        self._kept.clear()


class Relay(Bypass):
    """One direction between two transports, for `left` bytes; -1 is until the source ends."""

    def __init__(self, source: Transport, sink: PlainTransport, left: int, watcher: Watcher) -> None:
        self.source = source
        self.sink = sink
        self.left = left
        self.stopped = False
        self._watcher = watcher

    def begin(self) -> None:
        """Take over the readiness of both ends."""
        self.source.source_bypass = self
        self.sink.sink_bypass = self

    def stop(self) -> None:
        """Give the readiness back."""
        if self.stopped:
            return
        self.stopped = True
        self.source.source_bypass = None
        sink = self.sink
        sink.sink_bypass = None
        if not sink.closed and sink.interest & WRITE and sink.queued() == 0:
            sink.reactor.want(sink, sink.interest & ~WRITE)

    def _hold_source(self) -> None:
        """Read nothing while the sink has not taken what it has."""
        source = self.source
        if source.known & READ:
            source.pause()
        # Epoll was told not to and reports it all the same: the source is broken, and would be reported for ever.
        elif source.patient:
            source.reactor.mute(source)  # until the sink has taken what is held: there may be more that came before
        else:
            self.stop()
            source.lose("reset")

    def _read_on(self) -> None:
        sink = self.sink
        if sink.interest & WRITE:
            sink.reactor.want(sink, sink.interest & ~WRITE)
        if not self.source.interest & READ:
            self.source.resume()

    def _tell(self, count: int) -> None:
        """Tell the watcher of `count` bytes more; with the last of them the relay is over."""
        if self.left > 0:
            self.left -= count
        if self.left == 0:
            self.stop()
        self._watcher.on_moved(self, count)


class SplicingRelay(Relay):
    """Between two plain sockets, through a pipe: the bytes never come into this program."""

    def __init__(self, source: PlainTransport, sink: PlainTransport, left: int, watcher: Watcher, pipes: Pipes) -> None:
        super().__init__(source, sink, left, watcher)
        self._to_read = left  # bytes the source has still to give
        self._held = 0  # bytes in the pipe
        self._pipes = pipes
        self._pipe = pipes.lend()

    def stop(self) -> None:
        if self.stopped:
            return
        super().stop()
        if self._held:
            self._pipe.close()
        else:
            self._pipes.take_back(self._pipe)

    def on_source_ready(self) -> None:
        source = self.source
        if self.sink.queued() or self._held:
            self._hold_source()
            return
        want = PIPE_BYTES if self._to_read < 0 or self._to_read > PIPE_BYTES else self._to_read
        try:
            count = os.splice(source.fd, self._pipe.into, want, flags=_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self.stop()
            source.lose(error.strerror or "read failed")
            return
        if count == 0:
            self.stop()
            source.pause()
            self._watcher.on_source_end(self)
            return
        self._held = count
        if self._to_read > 0:
            self._to_read -= count
        source.bytes_in += count
        source.active_ms = source.reactor.now_ms
        self._push()

    def on_sink_ready(self) -> None:
        if self._held:
            self._push()
        elif self._to_read:
            self._read_on()

    def _push(self) -> None:
        """Move what the pipe holds into the sink."""
        sink = self.sink
        try:
            count = os.splice(self._pipe.out, sink.fd, self._held, flags=_FLAGS)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self.stop()
            sink.break_off(error.strerror or "write failed")
            return
        self._held -= count
        if count:
            sink.bytes_out += count
            sink.active_ms = sink.reactor.now_ms
        if self._held:
            sink.reactor.want(sink, sink.interest | WRITE)
            self.source.pause()
        elif self._to_read:
            self._read_on()
        if count:
            self._tell(count)


class DecryptingRelay(Relay):
    """From a TLS socket that OpenSSL reads by itself to a plain one: each read is sent from where it was decrypted to."""

    def __init__(self, source: TlsTransport, sink: PlainTransport, left: int, watcher: Watcher) -> None:
        super().__init__(source, sink, left, watcher)
        self._tls = source

    def on_source_ready(self) -> None:
        if self.sink.queued():
            self._hold_source()
            return
        source = self._tls
        most = SCRATCH_BYTES if self.left < 0 or self.left > SCRATCH_BYTES else self.left
        count = source.decrypt(most)
        if count:
            self.sink.send(source.reactor.view[:count])
            self._tell(count)
        if source.is_over():
            self.stop()
        source.settle()

    def on_sink_ready(self) -> None:
        if self.sink.queued() == 0:
            self._read_on()
