"""The frames of one connection of HTTP/2 on their way into its transport, for both sides.

Not here: which frames (`http/h2*.py`), who asks (`down_h2.py`, `up_h2.py`).
"""

from typing import Final

from vestibule.http.h2 import H2
from vestibule.net.transport import MARK, Transport

# Bytes of frames made at a time: what one read of the other side brought goes out with one send.
_ROOM: Final = 2 * MARK


def push(codec: H2, transport: Transport, now_ms: int) -> bool:
    """Make frames of what streams have queued, as far as the transport is below its mark. Return False if it has enough by now."""
    codec.now_ms = now_ms
    queued = transport.queued()
    if queued < MARK:
        codec.pump(_ROOM - queued)
    return transport.write(codec.take_output()) if codec.out else True
