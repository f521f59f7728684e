"""A connected socket with an output queue whose bytes are TLS.

Facts
  OpenSSL may hold decrypted bytes that epoll cannot see, so after every read the TLS object is drained
  until it wants more. One record is at most 16 KiB; a gigabyte is 65,536 of them, so each microsecond
  per record is 0.07 s per gigabyte.
  A write takes all it is given, in as many records as that needs, or raises (SSL_write(3); Python's `ssl` does not ask for
  partial writes).
  Ciphertext passes through memory BIOs, which are copied into and out of. Once a long body passes, OpenSSL
  reads from the socket and writes to it by itself, which spares each byte a copy or two and a clearing, and gives eight records
  for one call. What it has read ahead is told by nobody, not even by `pending`: it is asked until it wants more, or asked again in
  the next turn.

Rules: those of `transport.py`. Records that came before a broken one, or before the connection broke, are handed on first.

Not here: TLS settings (`tls.py`), what of OpenSSL is called without the `ssl` module (`openssl.py`).
"""

import socket
import ssl
from typing import Any, Final, Protocol

from vestibule.net import openssl
from vestibule.net.openssl import SOURCE_LEAST
from vestibule.net.reactor import READ, RECORD_BYTES, SCRATCH_BYTES, WRITE, Later, Pollable, Reactor
from vestibule.net.tls import ACME_OFFER, AskedObject
from vestibule.net.transport import JOIN_MOST, Owner, Transport

# Plaintext handed to OpenSSL at a time: eight records, about what a socket buffer takes in one go.
_ENCRYPT_MOST: Final = 131_072
_RECORD: Final = RECORD_BYTES

# What OpenSSL reads ahead or gathers for one write: eight full records with their head, type and tag (RFC 8446 5.2), so that
# a read ends where a record does, and what aligning them takes.
_AHEAD_BYTES: Final = 8 * (RECORD_BYTES + 22) + 3


class TlsObject(Protocol):
    """What we use of the object under `ssl.SSLObject`."""

    def read(self, most: int, into: memoryview, /) -> int: ...
    def write(self, data: bytes | memoryview, /) -> int: ...
    def pending(self) -> int: ...


class TlsTransport(Transport, Later):
    """An `ssl.SSLObject` over memory BIOs, fed and emptied by large reads and sends; long bodies it reads and writes by itself."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket, owner: Owner | None, tls: ssl.SSLContext, server_side: bool, server_name: str | None
    ) -> None:
        super().__init__(reactor, sock, owner)
        self._inward = ssl.MemoryBIO()
        self._outward = ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._inward, self._outward, server_side=server_side, server_hostname=server_name)
        # The wrapped object directly, because the Python method around each of its calls is paid per record.
        wrapper: Any = self.tls
        self._records: TlsObject = wrapper._sslobj
        self.secured = False
        self.watches_hello = False  # only while a challenge of ACME is open
        self._hello = b""
        self._leftover = b""  # ciphertext the kernel did not take
        self._peer_ended = False
        self._source: openssl.Source | None = None  # where OpenSSL reads the socket by itself
        self._more = False  # OpenSSL may hold bytes that were not asked for yet
        self._over = False  # the last `decrypt` met the end of what the peer sends
        self._broken = ""  # why no more can be read
        self._asked = False  # for a call in the next turn
        self._sink: openssl.Sink | None = None  # where OpenSSL writes by itself
        self._unsent = False  # it holds records that the kernel did not take
        self._sent_before = 0

    def start(self, before: Pollable | None = None) -> None:
        super().start(before)
        if not self.tls.server_side:
            self._shake()

    def take_over(self, before: Transport, early: bytes) -> None:
        """Speak TLS, as a server, on a socket that `before` has read from; `early` are bytes of TLS that came meanwhile."""
        before.surrender()
        self.start(before)
        if early:
            self.bytes_in += len(early)
            self._inward.write(early)
            if self.watches_hello:
                self._look_for_validation(early)
            # Not done by these bytes: a client's last ones answer ours.
            self._shake()

    def on_readable(self) -> None:
        if self.patient and not self.interest & READ and not self._breaking:
            self.reactor.mute(self)  # as in `PlainTransport`
            return
        if self._source is not None:
            self._read_more()
            return
        try:
            count = self.sock.recv_into(self.reactor.scratch)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(error.strerror or "read failed")
            return
        if count == 0:
            self._on_fin()
            return
        self.bytes_in += count
        self.active_ms = self.reactor.now_ms
        self._inward.write(self.reactor.view[:count])
        if not self.secured:
            if self.watches_hello:
                self._look_for_validation(bytes(self.reactor.view[:count]))
            if not self._shake():
                return
        self._hand_on()
        if count == SCRATCH_BYTES and self._inward.pending == 0 and not self.closed:
            self._source = openssl.read_from(self.tls, self.fd, _AHEAD_BYTES, self.reactor.scratch)
            if self._source is not None:
                self._inward = ssl.MemoryBIO()  # the old one would hold what it has grown to

    def close_fd(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        super().close_fd()

    def can_relay(self) -> bool:
        """Only as a source, and only while OpenSSL reads by itself."""
        return self._source is not None and not self.closed and not self._ending

    def is_quiet(self) -> bool:
        return not self._more and super().is_quiet()

    def resume(self) -> None:
        super().resume()
        if self._more:
            self._ask_again()

    def _ask_again(self) -> None:
        if not self._asked:
            self._asked = True
            self.reactor.call_later(self)

    def on_turn(self) -> None:
        """Take what OpenSSL holds, unless somebody has, or wants none now."""
        self._asked = False
        if self._more and self.interest & READ:
            self._read_more()

    def _read_more(self) -> None:
        bypass = self.source_bypass
        if bypass is None:
            self._hand_on()
        else:
            bypass.on_source_ready()

    def _look_for_validation(self, data: bytes) -> None:
        """Note whether the client offers the protocol of ACME's validation: the choice of certificate comes before that of protocol."""
        self._hello += data
        tls = self.tls
        if ACME_OFFER in self._hello and isinstance(tls, AskedObject):
            tls.validates = True
        if len(self._hello) > _RECORD:
            self.watches_hello = False

    def _on_fin(self) -> None:
        self.pause()
        owner = self.owner
        if owner is None:
            self.abort()
        elif not self.secured:
            self.lose("closed during the TLS handshake")
        elif not self._peer_ended:
            # No close_notify: somebody on the path may have cut the stream (RFC 8446 6.1), but clients
            # do it too. The reader of a message knows whether it was whole.
            self._peer_ended = True
            owner.on_end()

    def _shake(self) -> bool:
        """Take the handshake further; return whether it is done and the transport still open."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._soon_if_pending()
            return False
        except (ssl.SSLError, OSError) as error:
            self._send_alert()
            self.lose(_reason(error))
            return False
        self.secured = True
        self._soon_if_pending()
        owner = self.owner
        if owner is not None:
            owner.on_secured()
        if self._queued:
            self._soon()
        return not self.closed

    def decrypt(self, most: int) -> int:
        """Read complete records into the scratch of the reactor, no more than `most` bytes; return how many. `settle` must follow."""
        self._more = False
        source = self._source
        if source is None:
            filled = self._read_records(0, most)
        else:
            filled = source.read(most) if most >= SOURCE_LEAST else 0
            if filled == most:
                self._more = True
            elif most < SOURCE_LEAST or not source.is_drained():
                filled = self._read_records(filled, most)
            self.bytes_in += filled
            self.active_ms = self.reactor.now_ms
        if self._outward.pending:
            self._soon()
        return filled

    def _read_records(self, filled: int, most: int) -> int:
        """Read records one by one, behind what is in the scratch; return how many bytes there are, and note what kept it from more."""
        tls = self._records
        scratch = self.reactor.view
        records = self.reactor.records
        while True:
            room = min(most - filled, _RECORD)
            if room == 0:
                self._more = True
                break
            try:
                # Full records find their place cut out already: a slice costs as much as the call.
                is_aligned = room == _RECORD and filled % _RECORD == 0
                got = tls.read(room, records[filled // _RECORD] if is_aligned else scratch[filled : filled + room])
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                self._over = True
                break
            except (ssl.SSLError, OSError) as error:
                self._broken = _reason(error)
                break
            if got == 0:
                self._over = True
                break
            filled += got
            # After a full record there is likely more; after a short one asking is cheaper than an exception.
            if got < _RECORD and self._source is None and self._inward.pending == 0 and tls.pending() == 0:
                break
        return filled

    def is_over(self) -> bool:
        """Tell whether `decrypt` has met the end of what the peer sends, or what keeps it from reading on."""
        return self._over or bool(self._broken)

    def settle(self) -> None:
        """See to what `decrypt` met, once what it read has been handed on."""
        if self.closed:
            return
        if self._broken:
            self.lose(self._broken)
        elif self._over:
            self._on_notify()
        elif self._more:
            # What we read ourselves has an end; what OpenSSL reads waits for its turn.
            if self._source is None:
                self._hand_on()
            elif self.interest & READ:
                self._ask_again()

    def _hand_on(self) -> None:
        """Read what there is room for as one piece, and hand it on."""
        filled = self.decrypt(SCRATCH_BYTES)
        if filled:
            owner = self.owner
            if owner is not None:
                owner.on_data(bytes(self.reactor.view[:filled]))
        self.settle()

    def _on_notify(self) -> None:
        owner = self.owner
        if self.closed or self._peer_ended:
            return
        self._peer_ended = True
        self.pause()
        if owner is not None:
            owner.on_end()

    def _soon_if_pending(self) -> None:
        if self._outward.pending:
            self._soon()

    def _send_alert(self) -> None:
        """Try once to send what OpenSSL has to say about a failed handshake."""
        if self._outward.pending:
            try:
                self.sock.send(self._outward.read())
            except OSError:
                pass  # the alert is a courtesy

    def _has_leftover(self) -> bool:
        return bool(self._leftover) or self._outward.pending > 0 or self._unsent

    def _say_goodbye(self) -> None:
        if not self.secured or self._ended:
            return
        try:
            self.tls.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass  # want-read is the normal case: the peer's own close_notify is not waited for
        if self._outward.pending:
            try:
                self.sock.send(self._outward.read())
            except OSError:
                pass  # the peer is gone or its window is shut; FIN follows all the same

    def flush(self) -> None:
        self._dirty = False
        if self.closed:
            return
        if self._sink is not None:
            self._flush_into(self._sink)
            return
        while True:
            if not self._leftover:
                if self._queue and self.secured and not self._encrypt():
                    return
                if not self._outward.pending:
                    break
                self._leftover = self._outward.read()
            size = len(self._leftover)
            try:
                sent = self.sock.send(self._leftover)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.break_off(error.strerror or "write failed")
                return
            self.bytes_out += sent
            if sent:
                self.active_ms = self.reactor.now_ms
            if sent < size:
                if sent:
                    self._leftover = self._leftover[sent:]
                self.reactor.want(self, self.interest | WRITE)
                self._pay()
                return
            self._leftover = b""
            if size > _ENCRYPT_MOST and not self._outward.pending:
                self._sink = openssl.write_to(self.tls, self.fd, _AHEAD_BYTES)
                if self._sink is not None:
                    self._outward = ssl.MemoryBIO()  # as above
                    self._sent_before = self.bytes_out
                    self._flush_into(self._sink)
                    return
        if not self._queue:
            self._flushed()

    def _flush_into(self, sink: openssl.Sink) -> None:
        """Have OpenSSL encrypt the queue and send it."""
        blocked = False
        try:
            while self._queue and not blocked:
                data = self._take_queue(JOIN_MOST)
                try:
                    self._records.write(data)
                    self._queued -= len(data)
                except ssl.SSLWantWriteError:
                    # It has begun with these bytes and must be given them again.
                    self._queue.insert(0, data)
                    blocked = True
            blocked = blocked or not sink.flush()
        except (ssl.SSLError, OSError) as error:
            self.break_off(_reason(error))
            return
        sent = self._sent_before + sink.sent()
        if sent > self.bytes_out:
            self.bytes_out = sent
            self.active_ms = self.reactor.now_ms
        self._unsent = blocked
        if blocked:
            self.reactor.want(self, self.interest | WRITE)
            self._pay()
        else:
            self._flushed()

    def _encrypt(self) -> bool:
        """Turn a piece of the queue into records; return False if the transport was lost over it."""
        data = self._take_queue(JOIN_MOST)
        size = len(data)
        try:
            if size <= _ENCRYPT_MOST:
                self._records.write(data)
            else:
                self._queue.insert(0, data[_ENCRYPT_MOST:])
                size = _ENCRYPT_MOST
                self._records.write(memoryview(data)[:size])
        except (ssl.SSLError, OSError) as error:
            self.lose(_reason(error))
            return False
        self._queued -= size
        return True


def _reason(error: OSError) -> str:
    """Say what OpenSSL said, in its own short words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        # None where the connection broke below TLS, whatever the declared type says.
        reason: object = getattr(error, "reason", None)
        if isinstance(reason, str):
            return reason.lower().replace("_", " ")
    return error.strerror or str(error)
