"""The most that a connection may hold, derived from the constants of the program. `docs/internals/memory.md` has it in words.

Rules: whoever changes a constant changes the figures of that page, which a test compares.
"""

from vestibule.http.h2 import _BLOCK_MOST, H2Options
from vestibule.http.hpack import TABLE_BYTES
from vestibule.model.config import Limits
from vestibule.net.reactor import SCRATCH_BYTES
from vestibule.net.tls_transport import _ENCRYPT_MOST
from vestibule.net.transport import MARK
from vestibule.proxy.down_h2 import _CLOGGED

LIMITS = Limits()
H2 = H2Options()

# A read at once, which is what may come over a mark.
READ = SCRATCH_BYTES
# A writer is told to stop at the mark, with a read in hand.
QUEUE = MARK + READ
# Python's objects of a head: a hundred names and values, and what an exchange is made of.
OBJECTS = 32 * 1024
# Two records and the state of a connection, by OpenSSL 3.
OPENSSL = 48 * 1024

HEADS = LIMITS.head_bytes + LIMITS.response_head_bytes
FROM_CLIENT = LIMITS.head_bytes + READ
FROM_UPSTREAM = LIMITS.response_head_bytes + READ

PLAIN_H1 = FROM_CLIENT + HEADS + OBJECTS + 2 * QUEUE + FROM_UPSTREAM
TLS = READ + 2 * _ENCRYPT_MOST + OPENSSL
STREAM = HEADS + OBJECTS + QUEUE + MARK + FROM_UPSTREAM
CONNECTION_H2 = FROM_CLIENT + _BLOCK_MOST + 2 * TABLE_BYTES + _CLOGGED + MARK + H2.connection_window
PLAIN_H2 = CONNECTION_H2 + H2.streams * STREAM


def rows() -> list[tuple[str, int]]:
    """Return the figures of the page, in bytes."""
    return [
        ("HTTP/1.1", PLAIN_H1),
        ("HTTP/1.1 over TLS", PLAIN_H1 + TLS),
        ("a stream of HTTP/2", STREAM),
        ("HTTP/2 without its streams", CONNECTION_H2),
        ("HTTP/2", PLAIN_H2),
        ("HTTP/2 over TLS", PLAIN_H2 + TLS),
    ]
