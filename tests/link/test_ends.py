"""The two ends against each other, over a real socket where descriptors are involved."""

import os
import socket

import pytest

from vestibule.link.ends import ControlEnd, WorkerEnd
from vestibule.link.frame import DESCRIPTORS_PER_PACKET, LinkError, frame
from vestibule.link.messages import Assets, Commit, Hello, Message, Prepare, Ready, ReopenLogs, Stop


def cross(message: Message, size: int = 65_536) -> tuple[list[Message], WorkerEnd]:
    """Send a message of control through a socket pair, reading `size` bytes at a time."""
    here, there = socket.socketpair()
    with here, there:
        for packet in ControlEnd().encode(message):
            socket.send_fds(here, [packet.data], packet.fds)
        here.shutdown(socket.SHUT_WR)
        end = WorkerEnd()
        found: list[Message] = []
        for _ in range(100_000):
            data, fds, _, _ = socket.recv_fds(there, size, 256)
            if not data:
                break
            end.feed(data, fds)
            while (each := end.next()) is not None:
                found.append(each)
        return found, end


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_descriptors_arrive_with_their_message(size: int) -> None:
    read, write = os.pipe()
    (message,) = cross(ReopenLogs({"a": 0}, [write]), size)[0]
    os.close(write)
    assert isinstance(message, ReopenLogs)
    os.write(message.fds[message.logs["a"]], b"it is the pipe")
    os.close(message.fds[0])
    assert os.read(read, 100) == b"it is the pipe"
    os.close(read)


def test_more_descriptors_than_one_packet_takes() -> None:
    count = DESCRIPTORS_PER_PACKET * 2 + 3
    files = [os.memfd_create(str(index)) for index in range(count)]
    assets = Assets()
    assets.logs = {str(index): index for index in range(count)}
    (message,) = cross(Prepare(1, "{}", assets, files))[0]
    assert isinstance(message, Prepare)
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in message.fds]
    assert names == [f"/memfd:{index} (deleted)" for index in range(count)]
    for fd in [*files, *message.fds]:
        os.close(fd)


def test_a_worker_speaks_to_control() -> None:
    worker, control = WorkerEnd(), ControlEnd()
    control.feed(worker.encode(Hello(7, False)) + worker.encode(Ready(1))[:5])
    hello = control.next()
    assert isinstance(hello, Hello)
    assert (hello.pid, hello.compiled) == (7, False)
    assert control.next() is None


def test_each_end_takes_only_what_the_other_may_say() -> None:
    worker, control = WorkerEnd(), ControlEnd()
    control.feed(b"".join(packet.data for packet in ControlEnd().encode(Stop(1))))
    with pytest.raises(LinkError, match="is for a worker"):
        control.next()
    worker.feed(WorkerEnd().encode(Ready(1)), [])
    with pytest.raises(LinkError, match="is for the control process"):
        worker.next()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    end = ControlEnd()
    end.feed(frame(body))
    with pytest.raises(LinkError):
        end.next()


@pytest.mark.parametrize("count", ["1", 2, -1])
def test_announced_descriptors_that_did_not_come(count: object) -> None:
    end = WorkerEnd()
    end.feed(frame(b'{"type":"commit","generation":1,"fds":%s}' % (b'"1"' if count == "1" else str(count).encode())), [])
    with pytest.raises(LinkError, match="descriptors are announced"):
        end.next()


def test_descriptors_of_a_bad_message_are_closed() -> None:
    fd = os.memfd_create("bad")
    end = WorkerEnd()
    end.feed(frame(b'{"type":"commit","generation":1,"fds":1}'), [fd])
    with pytest.raises(LinkError):
        end.next()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_close_gives_up_descriptors_no_message_took() -> None:
    fd = os.memfd_create("left")
    end = WorkerEnd()
    end.feed(ControlEnd().encode(Commit(1))[0].data[:3], [fd])
    end.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_descriptors_that_are_closed_already_are_no_failure() -> None:
    fd = os.memfd_create("gone")
    end = WorkerEnd()
    end.feed(ControlEnd().encode(Commit(1))[0].data[:3], [fd])
    os.close(fd)
    end.close()
    end.close()
