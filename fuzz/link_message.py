"""Any bytes on the link between the processes. Permitted exits: messages, and `LinkError`.

Invariants
  1. How the bytes are cut makes no difference.
  2. A message that was read is written as it came, and read again as the same.
"""

import json

from fuzz.drive import main
from vestibule.link.frame import FrameReader, LinkError
from vestibule.link.messages import Message, from_json

_TEXTS = [
    '{"type":"Hello","pid":5,"version":"1"}',
    '{"type":"Commit","generation":3}',
    '{"type":"Ready","generation":3}',
    '{"type":"Refused","generation":3,"reasons":["a","b"]}',
    '{"type":"Addresses","addresses":{"a:80":["127.0.0.1:80"]}}',
    '{"type":"Event","level":"info","event":"a","fields":{"b":"c"}}',
    '{"type":"Stop","grace_ms":5000}',
    '{"type":"Prepare","generation":1,"config":"{}","listeners":{},"logs":{},"assets":{}}',
]
SEEDS = [len(text).to_bytes(4, "big") + text.encode() for text in _TEXTS]
WORDS = [*SEEDS, b"\0\0\0\2{}", b"\0\0\0\0", b"\xff\xff\xff\xff", b"[", b"{", b'"', b"type", b":", b",", b"1e999", b"null", b"\xff"]


def messages_of(pieces: list[bytes]) -> tuple[list[Message], bool]:
    """Return the messages in these pieces, and whether they end in an error."""
    reader = FrameReader()
    found: list[Message] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (frame := reader.next()) is not None:
                found.append(decoded(frame))
    except LinkError:
        return found, True
    return found, False


def decoded(frame: bytes) -> Message:
    """Return what a frame says. Raises `LinkError`."""
    try:
        data = json.loads(frame)
    except (ValueError, RecursionError):
        raise LinkError("not JSON") from None
    if not isinstance(data, dict):
        raise LinkError("not an object")
    return from_json(data, [])


def target(data: bytes) -> None:
    found, failed = messages_of([data])
    middle = len(data) // 2
    again, failed_again = messages_of([data[:middle], data[middle:]])
    assert failed == failed_again and [each.to_json() for each in found] == [each.to_json() for each in again]
    for each in found:
        told = each.to_json()
        assert from_json(json.loads(json.dumps(told)), []).to_json() == told


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
