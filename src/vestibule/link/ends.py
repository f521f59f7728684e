"""The two speakers on the link: bytes and descriptors in, messages out, and the other way round.

Rules: each end takes only what the other may say. Descriptors that came with bytes wait in order until the frame that counts them
is whole; `close` closes those that no message took, and is called when the link ends.

Not here: reading and writing the socket. The owner of the socket does

    data, fds, _, _ = socket.recv_fds(sock, 65536, 256)     # an empty `data` is the end of the link
    end.feed(data, fds)
    while (message := end.next()) is not None: ...
"""

import json
import os

from vestibule.link.frame import FrameReader, LinkError, Packet, frame, packets
from vestibule.link.messages import (
    Asked,
    Counts,
    Drained,
    Event,
    Hello,
    Message,
    Ready,
    Refused,
    Sought,
    Status,
    from_json,
)


class WorkerEnd:
    """The worker's end. Takes what control says; encodes what the worker says, which never has descriptors."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._fds: list[int] = []

    def feed(self, data: bytes, fds: list[int]) -> None:
        """Take what one `recvmsg` brought."""
        self._reader.feed(data)
        self._fds += fds

    def next(self) -> Message | None:
        """Return the next message of control, or None until more is fed. Raises `LinkError`."""
        body = self._reader.next()
        if body is None:
            return None
        data = _decode(body)
        count = data.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise LinkError(f"message.fds: {count} descriptors are announced, {len(self._fds)} came")
        fds = self._fds[:count]
        del self._fds[:count]
        try:
            message = from_json(data, fds)
        except LinkError:
            _close(fds)
            raise
        if is_from_worker(message):
            raise LinkError(f"message.type: `{data['type']}` is for the control process")
        return message

    def encode(self, message: Message) -> bytes:
        """Return the bytes to send for a message of the worker."""
        return frame(_encode(message, 0))

    def close(self) -> None:
        """Close descriptors no message took."""
        _close(self._fds)
        self._fds = []


class ControlEnd:
    """The control process's end of the link with one worker."""

    def __init__(self) -> None:
        self._reader = FrameReader()

    def feed(self, data: bytes) -> None:
        """Take what one `recv` brought."""
        self._reader.feed(data)

    def next(self) -> Message | None:
        """Return the next message of the worker, or None until more is fed. Raises `LinkError`."""
        body = self._reader.next()
        if body is None:
            return None
        data = _decode(body)
        message = from_json(data, [])
        if not is_from_worker(message):
            raise LinkError(f"message.type: `{data['type']}` is for a worker")
        return message

    def encode(self, message: Message) -> list[Packet]:
        """Return what to send, one `sendmsg` each, in this order. The caller still owns the descriptors."""
        return packets(frame(_encode(message, len(message.fds))), message.fds)


def is_from_worker(message: Message) -> bool:
    """Whether it is a worker that says this."""
    return isinstance(message, (Hello, Ready, Refused, Status, Counts, Event, Asked, Sought, Drained))


def _encode(message: Message, count: int) -> bytes:
    data = message.to_json()
    if count:
        data["fds"] = count
    return json.dumps(data, separators=(",", ":")).encode()


def _decode(body: bytes) -> dict[str, object]:
    try:
        data = json.loads(body)
    except ValueError as bad:
        raise LinkError(f"message: not JSON: {bad}") from None
    if not isinstance(data, dict):
        raise LinkError("message: an object is expected")
    return data


def _close(fds: list[int]) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            # Closing what the kernel already gave up is as good.
            pass
