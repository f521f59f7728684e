"""The frames of one connection of HTTP/2 on their way into its transport, for both sides.

Not here: which frames (`http/h2*.py`), who asks (`down_h2.py`, `up_h2.py`).
"""

from vestibule.http.h2 import H2
from vestibule.net.transport import MARK, Transport


def push(codec: H2, transport: Transport, now_ms: int) -> bool:
    """Make frames of what streams have queued, as far as the transport is below its mark. Return False if it has enough by now."""
    codec.now_ms = now_ms
    room = MARK - transport.queued()
    if room > 0:
        codec.pump(room)
    return transport.write(codec.take_output()) if codec.out else True
