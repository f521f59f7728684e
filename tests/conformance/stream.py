"""What every stream must do: the seven sentences of the contract in `contract.py`, one check for each.

Facts
  The stream under test stands on one side of a real exchange, a `Spy` on the other, and outside is the `Wire`
  it speaks to. What the exchange does to the spy tells what the stream did to the exchange.

Rules: a new implementation of `Stream` is added by a maker of `Rig`s, nothing else.
"""

import ast
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import vestibule.exchange
from vestibule.contract import Stream
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.http.fields import Fields
from vestibule.http.head import RequestHead, ResponseHead

from .transport import BODY, garbage

# The bound of B.5: the mark and one read, per direction; a stream may have handed on one read already.
MOST = 65_536 + 2 * 131_072


class Spy(Stream):
    """The other side of the exchange: writes down what is done to it, and answers as told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.got = bytearray()
        self.more = True
        self.forbidden = False

    def _note(self, call: str) -> None:
        assert not self.forbidden, f"{call}: the exchange was called from inside a call"
        self.calls.append(call)

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        self._note("head")
        if end:
            self._note("end")
        return self.more

    def send_body(self, data: bytes, end: bool) -> bool:
        if data:
            self._note("body")
        self.got += data
        if end:
            self._note("end")
        return self.more

    def send_trailers(self, fields: Fields) -> bool:
        self._note("trailers")
        self._note("end")
        return self.more

    def pause(self) -> None:
        self._note("pause")

    def resume(self) -> None:
        self._note("resume")

    def abort(self, fault: Fault) -> None:
        self._note("abort")

    def release(self) -> None:
        self._note("release")

    def takes_rest(self) -> bool:
        return True

    def count(self, call: str) -> int:
        return self.calls.count(call)


class Rig(ABC):
    """One exchange: the stream under test, the spy, and the peer on the wire.

    A rig begins with both heads exchanged, so that bodies without end flow in both directions.
    """

    spy: Spy
    ex: Exchange
    side: int  # of the stream under test
    stream: Stream
    most = MOST  # that may come after a pause

    @abstractmethod
    def turn(self, count: int = 1) -> None:
        """Let the reactor and the wire work."""

    @abstractmethod
    def push(self, data: bytes, end: bool) -> None:
        """Have the exchange send body bytes to the stream under test."""

    @abstractmethod
    def say(self, data: bytes, end: bool) -> None:
        """Have the peer on the wire send body bytes."""

    @abstractmethod
    def heard(self) -> bytes:
        """Return the body bytes the peer received so far, out of their framing."""

    @abstractmethod
    def state(self) -> str:
        """Return `open`, `whole` or `cut`: what the peer thinks of the message it receives."""

    @abstractmethod
    def stall(self, stalled: bool) -> None:
        """Have the peer stop or go on reading."""

    @abstractmethod
    def leave(self) -> None:
        """Have the peer break the connection."""

    @abstractmethod
    def fail(self) -> None:
        """Have the other side of the exchange fail."""

    @abstractmethod
    def close(self) -> None:
        """End everything."""

    def until(self, happened: Callable[[], bool]) -> None:
        for _ in range(3000):
            if happened():
                return
            self.turn()
        raise AssertionError(f"{self.spy.calls[-8:]}, heard {len(self.heard())}, {self.state()}")

    def drain_spy(self) -> None:
        """The spy pays its debt."""
        self.spy.more = True
        self.ex.on_drain(1 - self.side)


def check_stream(maker: Callable[[], Rig]) -> None:
    """Run the contract on the streams of a maker."""
    for check in CHECKS:
        rig = maker()
        check(rig)
        rig.close()
    check_nothing_survives(maker)


def check_order(rig: Rig) -> None:
    """1. Head, body, end once, nothing after it; in both directions, whatever the pieces."""
    for at in range(0, 200_000, 20_000):
        rig.push(BODY[at : at + 20_000], at == 180_000)
        rig.say(BODY[at : at + 20_000], at == 180_000)
        rig.turn()
    rig.until(lambda: len(rig.heard()) == 200_000 and rig.state() == "whole" and "end" in rig.spy.calls)
    rig.turn(3)
    assert rig.heard() == BODY[:200_000] and rig.spy.got == BODY[:200_000]
    told = [call for call in rig.spy.calls if call in ("head", "body", "trailers", "end", "release", "abort")]
    assert told[0] == "head" and told.count("head") == 1 and told.count("end") == 1
    assert told[-2:] == ["end", "release"] or told[-2:] == ["release", "end"], told[-3:]


def check_debt_after_a_clog(rig: Rig) -> None:
    """2. False is a debt: a stream whose peer did not read says so once, and drains once."""
    rig.stall(True)
    at = 0
    while not rig.spy.count("pause"):
        rig.push(BODY[at % 2_000_000 :][:60_000], False)
        at += 60_000
        assert at < 30_000_000, "never enough"
        rig.turn()
    rig.turn(10)
    before = rig.spy.count("resume")
    rig.stall(False)
    rig.until(lambda: rig.spy.count("resume") > before)
    rig.until(lambda: len(rig.heard()) == at)
    rig.turn(3)
    assert rig.spy.count("resume") == rig.spy.count("pause") == before + 1


def check_debt_paid_at_once(rig: Rig) -> None:
    """2. The flush that takes everything at once pays as well; once for each debt, however often it was said."""
    for debts in range(1, 4):
        for _ in range(3):
            rig.push(BODY[:70_000], False)
        rig.until(lambda wanted=210_000 * debts: len(rig.heard()) == wanted)  # type: ignore[misc]
        rig.turn(3)
        assert rig.spy.count("pause") == 3 * debts
        assert rig.spy.count("resume") == debts


def check_pause_is_bounded(rig: Rig) -> None:
    """3. After `pause` only what was in hand is delivered; after `resume` everything."""
    rig.spy.more = False
    rig.say(BODY, False)
    rig.turn(60)
    had = len(rig.spy.got)
    assert 0 < had <= rig.most
    rig.turn(20)
    assert len(rig.spy.got) == had
    rig.drain_spy()
    rig.until(lambda: len(rig.spy.got) == len(BODY))
    assert rig.spy.got == BODY


def check_no_echo(rig: Rig) -> None:
    """4. `send_body`, `pause` and `resume` never call the exchange, not even with a wire that is full or gone."""
    rig.stall(True)
    for gone in (False, True):
        if gone:
            rig.leave()
        rig.spy.forbidden = True
        for _ in range(30):
            rig.stream.send_body(BODY[:200_000], False)
        rig.stream.pause()
        rig.stream.resume()
        rig.spy.forbidden = False
        if not gone:
            rig.turn(3)
    rig.until(lambda: rig.ex.over)


def check_release_once(rig: Rig) -> None:
    """5. An exchange that went well releases both sides, once."""
    rig.push(b"x", True)
    rig.say(b"y", True)
    rig.until(lambda: rig.ex.over and rig.state() == "whole")
    rig.turn(3)
    assert rig.spy.count("release") == 1 and rig.spy.count("abort") == 0


def check_abort_when_the_peer_leaves(rig: Rig) -> None:
    """5. A peer that breaks off ends the exchange: the other side is aborted, once."""
    rig.say(b"y", False)
    rig.until(lambda: rig.spy.got == b"y")
    rig.leave()
    rig.until(lambda: rig.ex.over)
    rig.turn(3)
    assert rig.spy.count("release") + rig.spy.count("abort") == 1
    assert rig.ex.fault is not None


def check_abort_is_seen(rig: Rig) -> None:
    """5. When the other side fails, the peer does not take what it has for the whole."""
    rig.push(b"x" * 1000, False)
    rig.until(lambda: len(rig.heard()) == 1000)
    rig.fail()
    rig.until(lambda: rig.state() == "cut")
    rig.turn(3)
    assert rig.ex.over
    assert rig.spy.count("release") + rig.spy.count("abort") <= 1


def check_nothing_after_the_end(rig: Rig) -> None:
    """1. and 5. When the exchange is over nothing reaches the other side any more, whatever the peer does."""
    rig.fail()
    calls = list(rig.spy.calls)
    rig.say(b"late" * 1000, False)
    rig.turn(5)
    assert rig.spy.calls == calls


def check_nothing_survives(maker: Callable[[], Rig]) -> None:
    """6. Every way to end leaves nothing for the collector."""
    for check in CHECKS[:1]:
        rig = maker()
        check(rig)
        rig.close()
    gc.collect()
    gc.disable()
    try:
        for check in (check_release_once, check_abort_when_the_peer_leaves, check_abort_is_seen, check_nothing_after_the_end):
            rig = maker()
            check(rig)
            rig.close()
        del rig
        assert garbage() == []
    finally:
        gc.enable()


def check_neutral() -> None:
    """7. The exchange and the plans import no codec and no connection of any version."""
    home = Path(vestibule.exchange.__file__).parent
    for file in (home / "contract.py", home / "exchange.py", *(home / "plan").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                last = node.module.rpartition(".")[2]
                assert not node.module.startswith("vestibule.proxy"), file
                assert last not in ("h1", "h2", "hpack"), (file, node.module)


CHECKS: tuple[Callable[[Rig], None], ...] = (
    check_order,
    check_debt_after_a_clog,
    check_debt_paid_at_once,
    check_pause_is_bounded,
    check_no_echo,
    check_release_once,
    check_abort_when_the_peer_leaves,
    check_abort_is_seen,
    check_nothing_after_the_end,
)
