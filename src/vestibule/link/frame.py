"""Frames on a byte stream: four bytes of length, most significant first, then so many bytes of JSON.

Facts: on a unix stream socket, descriptors sent with a `sendmsg` are received together with its first byte, in the order they
were sent (unix(7)). One `sendmsg` carries 253 at most (SCM_MAX_FD).

Rules: the whole list of descriptors of a frame is sent no later than its last byte, so a complete frame always finds its
descriptors in hand. A frame over the limit is an error, since the other end is our own program.

Not here: what the JSON means (`messages`).
"""

from typing import Final

HEADER_BYTES: Final = 4

# Ten thousand sites are about 10 MB of model; certificates add 4 KB each.
FRAME_MOST_BYTES: Final = 256 * 1024 * 1024

# Below SCM_MAX_FD (253) with room to spare.
DESCRIPTORS_PER_PACKET: Final = 200


class LinkError(Exception):
    """The other end of the link said something that is no message; the text names the place."""


class Packet:
    """What one `sendmsg` takes: bytes, and the descriptors that travel with the first of them."""

    def __init__(self, data: bytes, fds: list[int]) -> None:
        self.data = data
        self.fds = fds


class FrameReader:
    """Cuts a byte stream into frames. Give it bytes by `feed`, take frames by `next` until it returns None."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next whole frame without its length, or None while it is not whole. Raises `LinkError`."""
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(buffer[:HEADER_BYTES], "big")
        if size > FRAME_MOST_BYTES:
            raise LinkError(f"frame: {size} bytes are more than {FRAME_MOST_BYTES}")
        end = HEADER_BYTES + size
        if len(buffer) < end:
            return None
        frame = bytes(buffer[HEADER_BYTES:end])
        del buffer[:end]
        return frame

    @property
    def is_empty(self) -> bool:
        """Whether no begun frame is waiting for its rest."""
        return not self._buffer


def frame(body: bytes) -> bytes:
    """Return a body with its length in front. Raises `LinkError` for one that no reader would take."""
    if len(body) > FRAME_MOST_BYTES:
        raise LinkError(f"frame: {len(body)} bytes are more than {FRAME_MOST_BYTES}")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def packets(framed: bytes, fds: list[int]) -> list[Packet]:
    """Split a framed message so that no packet carries more descriptors than the kernel takes.

    Every packet but the last has one byte of the frame; the descriptors are on their way before the frame is whole.
    """
    parts: list[Packet] = []
    at = 0
    while len(fds) > DESCRIPTORS_PER_PACKET:
        # A frame has four bytes of length alone, and each packet brings 200 descriptors: there are always bytes enough.
        parts.append(Packet(framed[at : at + 1], fds[:DESCRIPTORS_PER_PACKET]))
        fds = fds[DESCRIPTORS_PER_PACKET:]
        at += 1
    parts.append(Packet(framed[at:], fds))
    return parts
