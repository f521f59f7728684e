"""The first message of a TLS client, as far as it says where the client wants to go.

Facts (RFC 8446 4.1.2, 5.1; RFC 6066 3; RFC 7301 3.1)
  A ClientHello may lie in several records and come in any number of pieces. Its extensions are in any order; a client puts in
  some that do not exist (GREASE, RFC 8701), which are skipped like all others that say nothing here. Since TLS 1.3 with post-quantum
  key shares it is longer than one packet.

Rules
  1. What is read is not taken out: all bytes go on to whoever speaks TLS.
  2. What cannot be a ClientHello is `NOT_TLS`, as soon as that can be told; nothing is guessed from a broken one.
  3. A record is looked at once, however small the pieces are in which a client sends its hello: no byte costs more than another.

Not here: what is done with the names (`proxy/raw.py`), TLS itself.
"""

from typing import Final

# What `read_hello` says.
NEED: Final = 0  # more bytes
FOUND: Final = 1  # `name` and `protocols` are there, perhaps empty
NOT_TLS: Final = 2

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_RECORD_MOST: Final = 16_384

# Real ones stay under 4 KiB; what a connection may hold before its first route.
HELLO_MOST: Final = 32_768


class _Cut(Exception):
    """Bytes that end too early, where there are no more to come."""


class ClientHello:
    """What a client said: the name it asks for, in lower case, and the protocols it offers, as ALPN has them."""

    def __init__(self) -> None:
        self.name = b""
        self.protocols: list[bytes] = []
        self._message = bytearray()  # what the records before `_at` hold
        self._at = 0

    def read(self, data: bytes) -> int:
        """Look at all bytes that have come so far, which begin with those of the last time. Returns NEED, FOUND or NOT_TLS."""
        if not data:
            return NEED
        if data[0] != _HANDSHAKE or (len(data) > 1 and data[1] != 3):
            return NOT_TLS
        message = self._message
        while self._at + 5 <= len(data):
            at = self._at
            length = data[at + 3] << 8 | data[at + 4]
            if data[at] != _HANDSHAKE or data[at + 1] != 3 or not 0 < length <= _RECORD_MOST:
                return NOT_TLS
            if not message and len(data) > at + 5 and data[at + 5] != _CLIENT_HELLO:
                return NOT_TLS
            end = at + 5 + length
            if end > len(data):
                break
            message += data[at + 5 : end]
            self._at = end
            if len(message) >= 4:
                size = message[1] << 16 | message[2] << 8 | message[3]
                if size > HELLO_MOST:
                    return NOT_TLS
                if len(message) >= 4 + size:
                    return self._take(bytes(message[4 : 4 + size]))
        return NEED if len(data) < HELLO_MOST else NOT_TLS

    def _take(self, body: bytes) -> int:
        try:
            self._parse(body)
        except _Cut:
            self.name = b""
            self.protocols = []
            return NOT_TLS
        return FOUND

    def _parse(self, body: bytes) -> None:
        """Read version, random, session, cipher suites and compression, then the extensions."""
        at = 34
        for width in (1, 2, 1):
            at = _skip(body, at, width)
        if at == len(body):
            return  # TLS 1.0 and 1.1 clients may send no extensions at all
        end = at + 2 + _number(body, at, 2)
        if end != len(body):
            raise _Cut
        at += 2
        while at < end:
            kind = _number(body, at, 2)
            length = _number(body, at + 2, 2)
            value = body[at + 4 : at + 4 + length]
            if at + 4 + length > end:
                raise _Cut
            if kind == _SERVER_NAME:
                self._take_name(value)
            elif kind == _ALPN:
                self._take_protocols(value)
            at += 4 + length

    def _take_name(self, value: bytes) -> None:
        if _number(value, 0, 2) + 2 != len(value):
            raise _Cut
        at = 2
        while at < len(value):
            length = _number(value, at + 1, 2)
            name = value[at + 3 : at + 3 + length]
            if len(name) < length:
                raise _Cut
            if value[at] == 0 and not self.name:  # of the type host_name
                self.name = name.lower()
            at += 3 + length

    def _take_protocols(self, value: bytes) -> None:
        if _number(value, 0, 2) + 2 != len(value):
            raise _Cut
        at = 2
        while at < len(value):
            length = value[at]
            name = value[at + 1 : at + 1 + length]
            if len(name) < length:
                raise _Cut
            self.protocols.append(name)
            at += 1 + length


def _number(data: bytes, at: int, width: int) -> int:
    if at + width > len(data):
        raise _Cut
    value = 0
    for byte in data[at : at + width]:
        value = value << 8 | byte
    return value


def _skip(data: bytes, at: int, width: int) -> int:
    """Return where a field ends whose length is said in its first `width` bytes."""
    end = at + width + _number(data, at, width)
    if end > len(data):
        raise _Cut
    return end
