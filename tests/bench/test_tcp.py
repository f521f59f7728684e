"""The load and the origin of the TCP bench: what is said is what is moved, and a loss is noticed."""

import socket
from collections.abc import Iterator

import pytest
from bench.peer import BenchError
from bench.tcp import Origin, ask, knock, take


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


@pytest.mark.parametrize(("what", "count"), [(b"c", 0), (b"d", 3_000_000), (b"u", 3_000_000)])
def test_conversations(origin: Origin, what: bytes, count: int) -> None:
    ask(origin.port, what, count)


def test_a_loss_is_noticed() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"x" * 10)
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(BenchError, match="1 bytes are missing"):
            take(near, 11)


def test_connections_that_fail_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    failed: list[str] = []
    knock(port, 3, failed)
    assert len(failed) == 1
