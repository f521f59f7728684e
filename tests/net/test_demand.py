"""Who waits for certificates, which names count, and that nothing of it grows without bound."""

import pytest

from vestibule.net.demand import (
    NAMES_MOST,
    PAIRS_MOST,
    REFUSALS_MOST,
    WAITING_MOST,
    Asker,
    Demand,
    DemandedHosts,
    DemandedPair,
    Waiter,
    is_public_form,
)

pytestmark = pytest.mark.interpreted_only

PAIR = DemandedPair(b"chain", b"key")


class Asked(Asker):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def ask(self, name: str) -> None:
        self.names.append(name)


class Client(Waiter):
    def __init__(self) -> None:
        self.answers = 0

    def on_answer(self) -> None:
        self.answers += 1


def demand() -> tuple[Demand, Asked]:
    made, asked = Demand(), Asked()
    made.asker = asked
    return made, asked


def test_a_name_is_asked_for_once_and_all_who_wait_are_told() -> None:
    made, asked = demand()
    clients = [Client() for _ in range(3)]
    assert all(made.wait("a.example.org", each, 0) for each in clients)
    made.leave("a.example.org", clients[0])
    assert (asked.names, made.waiting) == (["a.example.org"], 2)
    made.take("a.example.org", PAIR)
    assert [each.answers for each in clients] == [0, 1, 1]
    assert made.find("a.example.org") is PAIR
    assert made.waiting == 0


def test_a_refusal_holds_for_its_time() -> None:
    made, asked = demand()
    client = Client()
    assert made.wait("a.example.org", client, 0)
    made.refuse("a.example.org", 1_000)
    assert client.answers == 1
    assert not made.wait("a.example.org", client, 999)
    assert asked.names == ["a.example.org"]
    assert made.wait("a.example.org", client, 1_000)
    assert asked.names == ["a.example.org"] * 2


def test_names_and_connections_that_wait_are_bounded() -> None:
    made, asked = demand()
    assert all(made.wait(f"{at}.example.org", Client(), 0) for at in range(NAMES_MOST))
    assert not made.wait("more.example.org", Client(), 0)
    assert all(made.wait("0.example.org", Client(), 0) for _ in range(WAITING_MOST - NAMES_MOST))
    assert not made.wait("0.example.org", Client(), 0)
    assert len(asked.names) == NAMES_MOST


def test_what_is_remembered_is_bounded_and_the_least_used_goes_first() -> None:
    made, _ = demand()
    for at in range(PAIRS_MOST):
        made.take(f"{at}.example.org", PAIR)
    assert made.find("0.example.org") is PAIR
    made.take("more.example.org", PAIR)
    assert made.find("0.example.org") is PAIR
    assert made.find("1.example.org") is None
    for at in range(REFUSALS_MOST + 1):
        made.refuse(f"{at}.example.net", 1_000)
    assert made.wait("0.example.net", Client(), 0), "the oldest refusal is forgotten"
    assert not made.wait("1.example.net", Client(), 0)


@pytest.mark.parametrize(
    ("host", "name", "has"),
    [
        ("*", "a.example.org", True),
        ("*", "localhost", False),
        ("*", "192.0.2.1", False),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "a_b.example.org", False),
        ("*.example.org", "example.org", False),
        ("a.example.org", "a.example.org", True),
        ("a.example.org", "b.example.org", False),
    ],
)
def test_which_names_hosts_stand_for(host: str, name: str, has: bool) -> None:
    made = DemandedHosts()
    made.add(host)
    assert made.has(name) is has


@pytest.mark.parametrize("name", ["", "a", "a..b", ".a.b", "a.b.", "-a.example.org", "a-.example.org", "A.b.c", "a/b.c", "x" * 64 + ".org"])
def test_what_no_issuer_certifies(name: str) -> None:
    assert not is_public_form(name)
    assert not is_public_form(".".join(["abcdefgh"] * 40))


def test_leaving_a_name_that_nobody_waits_for() -> None:
    made, _ = demand()
    client = Client()
    made.leave("a.example.org", client)
    assert made.wait("a.example.org", Client(), 0)
    made.leave("a.example.org", client)
    assert made.waiting == 1
