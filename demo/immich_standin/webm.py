"""Make a short WebM film out of still pictures, without a video encoder.

Facts: the payload of a lossy WebP file is one VP8 key frame (RFC 9649 2.5), and WebM is EBML
elements around VP8 frames (RFC 8794, RFC 9559). A film of key frames only is large for what it
shows, and seeks to any frame, which is what a demonstration of range requests wants.
Not here: sound.
"""

import struct

from PIL import Image

from immich_standin.pictures import encode

FRAMES_PER_CLUSTER = 12


def film(frames: list[Image.Image], frame_ms: int) -> bytes:
    """Return a WebM file showing `frames`, each for `frame_ms`. All must have one size."""
    width, height = frames[0].size
    info = _element(
        "1549A966",
        [
            _number("2AD7B1", 1_000_000),  # one tick is a millisecond
            _text("4D80", "stand-in"),
            _text("5741", "stand-in"),
            _element("4489", [struct.pack(">d", len(frames) * frame_ms)]),
        ],
    )
    video = _element("E0", [_number("B0", width), _number("BA", height)])
    track = _element(
        "AE",
        [
            _number("D7", 1),
            _number("73C5", 1),
            _number("83", 1),
            _text("86", "V_VP8"),
            _number("23E383", frame_ms * 1_000_000),
            video,
        ],
    )
    head = info + _element("1654AE6B", [track])
    clusters = [_cluster(frames[i : i + FRAMES_PER_CLUSTER], i * frame_ms, frame_ms) for i in range(0, len(frames), FRAMES_PER_CLUSTER)]
    body = head + _cues(clusters, len(head), FRAMES_PER_CLUSTER * frame_ms) + b"".join(clusters)
    return _ebml_head() + _element("18538067", [body])


def _ebml_head() -> bytes:
    return _element(
        "1A45DFA3",
        [
            _number("4286", 1),
            _number("42F7", 1),
            _number("42F2", 4),
            _number("42F3", 8),
            _text("4282", "webm"),
            _number("4287", 2),
            _number("4285", 2),
        ],
    )


def _cues(clusters: list[bytes], offset: int, cluster_ms: int) -> bytes:
    """Return the seek index. Its own size shifts what it names, so its numbers are eight wide."""
    blank = b"".join(_cue(0, 0) for _ in clusters)
    position = offset + len(_element("1C53BB6B", [blank]))
    cues = []
    for number, cluster in enumerate(clusters):
        cues.append(_cue(number * cluster_ms, position))
        position += len(cluster)
    return _element("1C53BB6B", cues)


def _cue(at_ms: int, position: int) -> bytes:
    where = _element("B7", [_number("F7", 1), _element("F1", [position.to_bytes(8, "big")])])
    return _element("BB", [_element("B3", [at_ms.to_bytes(8, "big")]), where])


def _cluster(frames: list[Image.Image], at_ms: int, frame_ms: int) -> bytes:
    blocks = [_number("E7", at_ms)]
    for number, frame in enumerate(frames):
        # Track 1, time relative to the cluster, flags: key frame.
        prefix = struct.pack(">BhB", 0x81, number * frame_ms, 0x80)
        blocks.append(_element("A3", [prefix + _key_frame(frame)]))
    return _element("1F43B675", blocks)


def _key_frame(frame: Image.Image) -> bytes:
    """Return the VP8 chunk of `frame` written as lossy WebP."""
    riff = encode(frame, "WEBP", 60)
    position = 12
    while position + 8 <= len(riff):
        name, size = riff[position : position + 4], struct.unpack_from("<I", riff, position + 4)[0]
        if name == b"VP8 ":
            return riff[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    raise ValueError("the WebP encoder wrote no VP8 chunk")


def _element(name: str, parts: list[bytes]) -> bytes:
    data = b"".join(parts)
    # An eight-byte size: 01 and 56 bits.
    return bytes.fromhex(name) + (len(data) | 1 << 56).to_bytes(8, "big") + data


def _number(name: str, value: int) -> bytes:
    return _element(name, [value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")])


def _text(name: str, value: str) -> bytes:
    return _element(name, [value.encode("ascii")])
