"""Connections that wait for the certificate of the name they ask for."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conformance.pair import Far
from tests.proxy.gate import REQUEST, Gate, choice, gate, hello
from vestibule.http.client_hello import HELLO_MOST
from vestibule.net.demand import Asker, Demand, DemandedHosts
from vestibule.net.tls import ACME_TLS, DemandedContexts

NAME = "new.example"


class Asked(Asker):
    def __init__(self) -> None:
        self.names: list[str] = []

    def ask(self, name: str) -> None:
        self.names.append(name)


class Place:
    """A gate whose certificates come on demand, and who is asked for them."""

    def __init__(self, one: Gate, demand: Demand, asked: Asked) -> None:
        self.one = one
        self.demand = demand
        self.asked = asked

    def say(self, *pieces: bytes) -> Far:
        """Return the far end of a connection that has said this."""
        far = self.one.connect()
        for piece in pieces:
            far.send(piece)
            self.one.turn()
        return far

    def is_answered(self, far: Far) -> bool:
        """Tell whether the handshake goes on, or is refused in the words of TLS."""
        self.one.turn(8)
        return far.got[:1] in (b"\x16", b"\x15")


@contextmanager
def place(**times: int) -> Iterator[Place]:
    chosen = choice("http/1.1")
    demand, hosts = Demand(), DemandedHosts()
    demand.asker = asked = Asked()
    hosts.add(NAME)
    chosen.serve_on_demand(demand, hosts, DemandedContexts())
    with gate(None, chosen, **times) as one:
        yield Place(one, demand, asked)
        assert demand.waiting == 0


def test_a_connection_waits_for_the_certificate_of_its_name_and_goes_on() -> None:
    with place() as here:
        said = hello(NAME)
        far = here.say(said[:7], said[7:])
        assert here.asked.names == [NAME] and here.demand.waiting == 1 and not far.got
        here.demand.refuse(NAME, 0)
        assert here.is_answered(far) and here.one.tally.connections == 1


def test_a_name_that_was_refused_is_not_waited_for() -> None:
    with place() as here:
        here.demand.refuse(NAME, 1 << 60)
        assert here.is_answered(here.say(hello(NAME))) and here.asked.names == []


@pytest.mark.parametrize("said", [hello("known.example"), hello(NAME, ACME_TLS), REQUEST])
def test_what_needs_no_certificate_on_demand_goes_on_at_once(said: bytes) -> None:
    with place() as here:
        far = here.say(said)
        here.one.turn(8)
        assert here.asked.names == [] and here.demand.waiting == 0
        assert far.got or far.ended or far.broken


def test_a_reload_that_takes_tls_away_ends_who_has_not_said_a_name() -> None:
    with place() as here:
        said = hello(NAME)
        far = here.say(said[:7])
        here.one.porch.door.tls = None
        far.send(said[7:])
        here.one.turn(8)
        assert (far.ended or far.broken) and not far.got and here.one.tally.connections == 0


def test_who_says_more_than_a_hello_while_it_waits_is_closed() -> None:
    with place() as here:
        far = here.say(hello(NAME), b"more")
        assert here.demand.waiting == 1
        for _ in range(HELLO_MOST // 1_000 + 1):
            far.send(bytes(1_000))
            here.one.turn(1)
        here.one.turn()
        assert (far.ended or far.broken) and here.demand.waiting == 0 and here.one.tally.handshakes_failed == 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(("how", "failed"), [("ends", 1), ("resets", 1), ("late", 1), ("stops", 0)])
def test_a_connection_that_goes_waits_no_more(how: str, failed: int, waits: bool) -> None:
    with place(tls_handshake_ms=2_000) as here:
        far = here.say(hello(NAME) if waits else hello(NAME)[:9])
        assert here.demand.waiting == int(waits)
        if how == "ends":
            far.finish()
        elif how == "resets":
            far.reset()
        elif how == "late":
            here.one.pass_time(2)
        else:
            here.one.stop()
        here.one.turn()
        assert (here.demand.waiting, here.one.tally.connections, here.one.tally.handshakes_failed) == (0, 0, failed)
