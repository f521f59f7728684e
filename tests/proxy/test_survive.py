"""Ten thousand exchanges leave nothing behind: no garbage, no descriptor, no entry in any table (contract 6)."""

import gc
import os
import socket

from tests.conformance.transport import garbage, settle_garbage
from tests.plays.play import Play

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SEEN = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def kept(play: Play, count: int) -> None:
    """Run so many exchanges over one kept connection, a hundred in a row."""
    client = play.client_now
    for _ in range(count // 100):
        client.unsent += REQUEST * 100
        client.work()
        while len(client.got) < 100 * len(ANSWER):
            play.reactor.turn(1)
            if not play.upstreams:
                play.accept()
                continue
            upstream = play.upstream_now
            upstream.work()
            asked = len(upstream.got) // len(SEEN)
            if asked:
                del upstream.got[: asked * len(SEEN)]
                upstream.unsent += ANSWER * asked
                upstream.work()
            client.work()
        assert client.got == ANSWER * 100
        client.got.clear()


def one_each(play: Play, count: int, breaks: bool) -> None:
    """Run exchanges on a new client connection each; every other one breaks off in the middle."""
    for number in range(count):
        with socket.create_connection(play.address) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello" if breaks and number % 2 else REQUEST)
            for _ in range(200):
                play.reactor.turn(0)
                play.accept()
                for upstream in play.upstreams:
                    upstream.work()
                if play.upstreams and play.upstream_now.got:
                    break
            play.upstream_now.got.clear()
            if number % 2 == 0:
                play.upstream(ANSWER)
                while not select_readable(sock):
                    play.reactor.turn(1)
                assert sock.recv(1000) == ANSWER
        for _ in range(3):
            play.reactor.turn(0)
        for upstream in play.upstreams[:]:
            upstream.work()
            if upstream.ended or upstream.reset:
                upstream.sock.close()
                play.upstreams.remove(upstream)


def select_readable(sock: socket.socket) -> bool:
    try:
        sock.setblocking(False)
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.setblocking(True)


def test_ten_thousand_exchanges() -> None:
    play = Play()
    kept(play, 200)
    one_each(play, 4, True)
    play.quiet()
    settle_garbage()
    before = descriptors()
    gc.disable()
    try:
        kept(play, 9_600)
        one_each(play, 400, True)
        play.quiet()
        assert garbage() == []
    finally:
        gc.enable()
    assert descriptors() <= before
    assert play.tally.exchanges == 0 and play.tally.connections == 1
    assert play.pool.connections == play.pool.idle() <= 1
    play.upstreams = [upstream for upstream in play.upstreams if upstream.sock.fileno() >= 0]
    play.break_off()
