"""Names that requests name: asked for once, waited for, remembered, bounded."""

import pytest

from vestibule.proxy import lookups as module
from vestibule.proxy.lookups import ASKED, FOUND_MS, KNOWN, NOTHING, NOTHING_MS, Lookups, NameAsker, NameWaiter
from vestibule.proxy.pool import AddressBook

pytestmark = pytest.mark.interpreted_only  # who waits is a trait, and bounds are made smaller


class Asked(NameAsker):
    def __init__(self) -> None:
        self.names: list[str] = []

    def ask(self, name: str) -> None:
        self.names.append(name)


class Waits(NameWaiter):
    def __init__(self) -> None:
        self.told = 0

    def on_name(self) -> None:
        self.told += 1


class Office:
    """The names of a worker, and what tells them."""

    def __init__(self) -> None:
        self.book = AddressBook()
        self.lookups = Lookups(self.book)
        self.lookups.asker = self.asked = Asked()

    def tell(self, name: str, *addresses: str, now_ms: int = 0) -> None:
        self.book.update(name, list(addresses))
        self.lookups.told(name, now_ms)


def test_an_address_and_a_name_of_the_configuration_need_no_question() -> None:
    office = Office()
    office.book.update("app.lan", ["192.0.2.1"])
    assert [office.lookups.look(name, 0) for name in ("192.0.2.1", "2001:db8::1", "app.lan")] == [KNOWN] * 3
    office.lookups.told("app.lan", 0)
    assert office.lookups.look("app.lan", FOUND_MS * 9) == KNOWN
    assert office.asked.names == []


def test_a_name_is_asked_for_once_and_all_are_told() -> None:
    office, one, two, gone = Office(), Waits(), Waits(), Waits()
    assert [office.lookups.look("a.lan", 0), office.lookups.look("a.lan", 0)] == [ASKED, ASKED]
    for waiter in (one, two, gone):
        assert office.lookups.wait("a.lan", waiter)
    office.lookups.leave("a.lan", gone)
    office.lookups.leave("a.lan", gone)
    office.tell("a.lan", "192.0.2.1")
    assert (one.told, two.told, gone.told, office.lookups.waiting) == (1, 1, 0, 0)
    assert (office.asked.names, office.lookups.look("a.lan", 1)) == (["a.lan"], KNOWN)
    office.lookups.leave("a.lan", one)
    assert not office.lookups.wait("a.lan", one), "nobody is asked any more"


def test_what_was_found_is_used_while_it_is_asked_for_anew() -> None:
    office = Office()
    office.lookups.look("a.lan", 0)
    office.tell("a.lan", "192.0.2.1")
    assert office.lookups.look("a.lan", FOUND_MS - 1) == KNOWN
    assert office.asked.names == ["a.lan"]
    assert [office.lookups.look("a.lan", FOUND_MS), office.lookups.look("a.lan", FOUND_MS)] == [KNOWN, KNOWN]
    assert office.asked.names == ["a.lan", "a.lan"]


def test_that_there_is_nothing_holds_for_a_while() -> None:
    office = Office()
    office.lookups.look("a.lan", 0)
    office.tell("a.lan")
    assert office.lookups.look("a.lan", NOTHING_MS - 1) == NOTHING
    assert office.lookups.look("a.lan", NOTHING_MS) == ASKED


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("NAMES_MOST", "ASKED_MOST", "WAITING_MOST"):
        monkeypatch.setattr(module, bound, 2)
    office = Office()
    assert [office.lookups.look(name, 0) for name in ("a", "b", "c")] == [ASKED, ASKED, NOTHING]
    assert [office.lookups.wait("a", Waits()) for _ in range(3)] == [True, True, False]
    for name in ("a", "b"):
        office.tell(name, "192.0.2.1")
    office.lookups.look("c", 0)
    office.tell("c", "192.0.2.3")
    assert [office.book.find(name) for name in ("a", "b", "c")] == [[], ["192.0.2.1"], ["192.0.2.3"]], "the oldest goes"


def test_a_name_that_is_watched_later_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 1)
    office = Office()
    for name in ("a", "b"):
        office.lookups.look(name, 0)
        office.tell(name, "192.0.2.1")
        office.tell(name, "192.0.2.2")
    assert [office.book.find(name) for name in ("a", "b")] == [["192.0.2.2"], ["192.0.2.2"]]


def test_without_anybody_who_asks_the_question_is_not_heard() -> None:
    assert Lookups(AddressBook()).look("a.lan", 0) == ASKED


def test_a_name_that_is_watched_no_more_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or requests would go where a host was before a reload, for ever."""
    monkeypatch.setattr(module, "NAMES_MOST", 2)
    office = Office()
    for name in ("a.lan", "b.lan"):
        office.tell(name, "192.0.2.1")
    office.lookups.look("c.lan", 0)
    office.tell("c.lan", "192.0.2.3", now_ms=9)
    office.lookups.keep({"b.lan"})
    assert [office.lookups.look(name, 9) for name in ("a.lan", "b.lan", "c.lan")] == [KNOWN] * 3, "it is used until there is another"
    assert office.asked.names == ["c.lan", "a.lan"]
    office.tell("a.lan", "192.0.2.9", now_ms=9)
    for name in ("d.lan", "e.lan"):
        office.lookups.look(name, 9)
        office.tell(name, "192.0.2.4", now_ms=9)
    assert [office.book.find(name) for name in ("a.lan", "b.lan")] == [[], ["192.0.2.1"]], "and goes when it is the oldest"


def test_names_of_configurations_before_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 2)
    office = Office()
    for at in range(9):
        office.tell(f"{at}.lan", "192.0.2.1")
        office.lookups.keep(set())
    assert [len(office.book.find(f"{at}.lan")) for at in range(9)] == [0] * 7 + [1] * 2
