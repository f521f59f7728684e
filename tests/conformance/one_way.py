"""What streams owe that go one way only: a file says a body and hears none, a question's client hears an answer and says nothing.

Facts: the sentences are those of `stream.py`, as far as they concern one direction. Answers from memory (`Exchange.answer`) have no
stream, and neither have sources that enter another plan.
Rules: as in `stream.py`; whoever is outside a file is the disk, and outside a question the exchange that asks it.
"""

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from vestibule.contract import DOWN, PASS, UP, WAIT, Client, Plan, Relays, Source
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_LOST, Fault
from vestibule.http.fields import fields_of
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.plan.sources.files import Files, Manner
from vestibule.plan.steps.ask import Asker, AuthRequest, NoPage

from .rigs_h1 import SpySource
from .stream import Spy
from .transport import BODY, garbage

CLIENT = (b"192.0.2.1", 1, b"192.0.2.2", 80, b"http")
PIECE = 131_072  # a slice of a file
ANSWER_MOST = 262_144  # of an answer to a question


def request() -> RequestHead:
    return RequestHead(b"GET", b"/file", b"a", fields_of([(b"Host", b"a")]), b"HTTP/1.1")


class FileRig:
    """A file answers; the spy is the client."""

    def __init__(self, more: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory()
        (Path(self.folder.name) / "file").write_bytes(BODY)
        self.reactor = Reactor()
        self.spy = Spy()
        self.spy.more = more
        files = Files(self.reactor, self.folder.name.encode(), b"", [], [], None, b"text/plain", {}, Manner())
        self.before = descriptors()
        self.ex = Exchange(self.spy, Client(*CLIENT), Plan("rig", files), Relays(), self.reactor.now_ms)
        self.ex.on_request(request(), True)
        assert self.ex.up is not None
        self.stream = self.ex.up

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(0)

    def close(self) -> None:
        assert self.ex.over
        assert descriptors() == self.before, "the file is open"
        self.reactor.close()
        self.folder.cleanup()


class AskRig:
    """A question is asked; the spy is the server that decides."""

    def __init__(self, more: bool = True) -> None:
        self.reactor = Reactor()
        self.spy = Spy()
        self.spy.more = more
        self.client = Spy()
        source = SpySource(self.spy)
        self.step = AuthRequest(self.reactor, Plan("decides", source, error_page=NoPage()), b"", None, None, [], True)
        self.asking = Exchange(self.client, Client(*CLIENT), Plan("asks", Silent()), Relays(), self.reactor.now_ms)
        self.asking.request = request()
        assert self.step.run(self.asking) == WAIT
        self.asking.waiting = True
        assert source.ex is not None
        self.ex = source.ex
        source.ex = None
        down = self.ex.down
        assert isinstance(down, Asker)
        self.stream = down

    def say(self, status: int, body: bytes, end: bool) -> None:
        self.ex.on_response(ResponseHead(status, b"", fields_of([])), end and not body)
        for at in range(0, len(body), 50_000):
            self.ex.on_response_body(body[at : at + 50_000], end and at + 50_000 >= len(body))

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(0)

    def close(self) -> None:
        assert self.ex.over
        if not self.asking.over:
            self.asking.hang_up(Fault(CLIENT_GONE))
        self.reactor.close()


class Silent(Source):
    """Never answers: what passes the question stays where it is."""

    def start(self, ex: Exchange) -> None:
        pass

    def cancel(self, ex: Exchange) -> None:
        pass


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---------------------------------------------------------------- files


def check_file_order(rig: FileRig) -> None:
    """1. and 5. Head, body, end once, and the stream is released."""
    assert rig.spy.calls == ["head"], "the body comes in a later turn"
    rig.turn(len(BODY) // PIECE + 5)
    assert rig.ex.over and rig.spy.got == BODY
    assert rig.spy.calls.count("end") == 1 and rig.spy.calls[-1] == "release"
    assert rig.ex.fault is None


def check_file_pause(rig: FileRig) -> None:
    """3. and 4. After a pause a slice at the most; going on waits for the next turn."""
    rig.spy.more = False
    rig.turn(5)
    had = len(rig.spy.got)
    assert 0 < had <= PIECE
    rig.turn(5)
    assert len(rig.spy.got) == had
    rig.stream.resume()
    rig.stream.pause()
    rig.turn(3)
    assert len(rig.spy.got) == had
    rig.spy.forbidden = True
    for _ in range(3):
        rig.stream.resume()
        rig.stream.pause()
        rig.stream.resume()
    rig.spy.forbidden = False
    assert len(rig.spy.got) == had
    rig.turn()
    assert had < len(rig.spy.got) <= had + PIECE, "one slice, however often it was told"
    rig.spy.more = True
    rig.ex.on_drain(DOWN)
    rig.turn(len(BODY) // PIECE + 5)
    assert rig.ex.over and rig.spy.got == BODY


def check_file_hears_nothing(rig: FileRig) -> None:
    """2. What is sent to it is never too much."""
    assert rig.stream.send_body(b"x" * 100_000, False)
    assert rig.stream.send_trailers(fields_of([]))
    check_file_order(rig)


def check_file_abort(rig: FileRig) -> None:
    """1. and 5. When the client leaves, nothing comes any more."""
    rig.turn()
    rig.ex.on_fault(DOWN, Fault(CLIENT_GONE))
    calls = list(rig.spy.calls)
    assert rig.ex.over and calls[-1] == "abort" and calls.count("abort") == 1
    rig.turn(5)
    rig.stream.resume()
    rig.turn(5)
    assert rig.spy.calls == calls


def check_file_that_shrinks(rig: FileRig) -> None:
    """5. What is cut is not taken for the whole."""
    rig.turn()
    (Path(rig.folder.name) / "file").write_bytes(b"")
    rig.turn(5)
    assert rig.ex.over and rig.ex.fault is not None
    assert rig.spy.calls[-1] == "abort" and "end" not in rig.spy.calls


# ---------------------------------------------------------------- questions


def check_answer_order(rig: AskRig) -> None:
    """1. and 5. The answer is taken whole, both sides are released, and who asked hears of it in a later turn."""
    rig.say(401, BODY[:100_000], True)
    assert rig.ex.over and rig.spy.calls[-1] == "release" and rig.spy.count("release") == 1
    assert rig.client.calls == []
    rig.turn()
    assert rig.asking.over and rig.client.got == BODY[:100_000]
    assert rig.client.count("release") == 1


def check_answer_that_lets_pass(rig: AskRig) -> None:
    """1. Who may pass goes on, once."""
    rig.say(200, b"ok", True)
    rig.turn(3)
    assert not rig.asking.over and rig.client.calls == []
    assert rig.step.decide(rig.asking, rig.stream) == PASS


def check_answer_too_large(rig: AskRig) -> None:
    """2. and 4. False once it is enough; the debt is paid by the end, which comes in the next turn."""
    rig.say(401, BODY[: ANSWER_MOST + 100_000], False)
    assert rig.spy.count("pause") >= 1
    assert not rig.ex.over
    rig.turn()
    assert rig.ex.over and rig.spy.count("abort") == 1 and rig.spy.count("release") == 0
    rig.turn()
    assert rig.asking.over and rig.asking.response is not None and rig.asking.response.status == 500


def check_answer_no_echo(rig: AskRig) -> None:
    """4. Nothing calls the exchange from inside."""
    rig.spy.forbidden = True
    rig.stream.pause()
    rig.stream.resume()
    rig.stream.send_head(ResponseHead(200, b"", fields_of([])), False)
    for _ in range(10):
        rig.stream.send_body(BODY[:100_000], False)
    rig.stream.send_trailers(fields_of([]))
    rig.spy.forbidden = False
    rig.turn(3)
    assert rig.ex.over


def check_answer_that_breaks(rig: AskRig) -> None:
    """5. Half an answer is none."""
    rig.say(200, b"half", False)
    rig.ex.on_fault(UP, Fault(UPSTREAM_LOST))
    assert rig.ex.over and rig.spy.count("release") + rig.spy.count("abort") == 1
    rig.turn(3)
    assert rig.asking.over and rig.asking.response is not None and rig.asking.response.status == 500


def check_who_asks_leaves(rig: AskRig) -> None:
    """1. and 5. Nobody waits for an answer that nobody wants."""
    rig.asking.on_fault(DOWN, Fault(CLIENT_GONE))
    calls = list(rig.spy.calls)
    assert rig.ex.over and rig.spy.count("abort") == 1
    rig.turn(3)
    assert rig.spy.calls == calls and rig.client.count("abort") == 1


FILE_CHECKS: tuple[Callable[[FileRig], None], ...] = (
    check_file_order,
    check_file_pause,
    check_file_hears_nothing,
    check_file_abort,
    check_file_that_shrinks,
)
ANSWER_CHECKS: tuple[Callable[[AskRig], None], ...] = (
    check_answer_order,
    check_answer_that_lets_pass,
    check_answer_too_large,
    check_answer_no_echo,
    check_answer_that_breaks,
    check_who_asks_leaves,
)


def check_nothing_survives() -> None:
    """6. Every way to end leaves nothing for the collector."""
    gc.collect()
    gc.disable()
    try:
        for each in FILE_CHECKS:
            rig = FileRig()
            each(rig)
            rig.close()
        for ask in ANSWER_CHECKS:
            asked = AskRig()
            ask(asked)
            asked.close()
        del rig, asked
        assert garbage() == []
    finally:
        gc.enable()
