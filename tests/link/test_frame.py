"""Frames on a byte stream, cut anywhere."""

import pytest

from vestibule.link.frame import DESCRIPTORS_PER_PACKET, FRAME_MOST_BYTES, FrameReader, LinkError, frame, packets


def test_one_frame_at_every_split_point() -> None:
    wire = frame(b"first") + frame(b"") + frame(b"third")
    for cut in range(len(wire) + 1):
        reader = FrameReader()
        found = []
        for part in (wire[:cut], wire[cut:]):
            reader.feed(part)
            while (body := reader.next()) is not None:
                found.append(body)
        assert found == [b"first", b"", b"third"], cut
        assert reader.is_empty


def test_byte_by_byte() -> None:
    reader = FrameReader()
    found = []
    for byte in frame(b"slow"):
        reader.feed(bytes([byte]))
        body = reader.next()
        if body is not None:
            found.append(body)
    assert found == [b"slow"]


def test_a_begun_frame_is_waited_for() -> None:
    reader = FrameReader()
    reader.feed(frame(b"long")[:-1])
    assert reader.next() is None
    assert not reader.is_empty


def test_a_length_over_the_limit_is_an_error() -> None:
    reader = FrameReader()
    reader.feed((FRAME_MOST_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(LinkError, match="are more than"):
        reader.next()


def test_few_descriptors_take_one_packet() -> None:
    (only,) = packets(frame(b"x"), [5, 6])
    assert (only.data, only.fds) == (frame(b"x"), [5, 6])


def test_many_descriptors_are_spread_and_leave_before_the_last_byte() -> None:
    fds = list(range(2 * DESCRIPTORS_PER_PACKET + 1))
    parts = packets(frame(b"x"), fds)
    assert [len(each.fds) for each in parts] == [DESCRIPTORS_PER_PACKET, DESCRIPTORS_PER_PACKET, 1]
    assert [fd for each in parts for fd in each.fds] == fds
    assert b"".join(each.data for each in parts) == frame(b"x")
    assert all(each.data for each in parts)


def test_what_no_reader_would_take_is_not_sent() -> None:
    with pytest.raises(LinkError, match="are more than"):
        frame(bytes(FRAME_MOST_BYTES + 1))
