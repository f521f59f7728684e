"""Names looked up again and again."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from vestibule.control import resolver as module
from vestibule.control.logs import ErrorLog
from vestibule.control.resolver import Resolver, look_up, names_of
from vestibule.model.config import Config, Process, Server, Upstream


class Dns:
    """Answers from a table; a name that is not in it fails, one mapped to None hangs."""

    def __init__(self, **table: list[str] | None) -> None:
        self.table: dict[str, list[str] | None] = dict(table)
        self.released = threading.Event()
        self.asked = 0

    def __call__(self, name: str) -> list[str]:
        self.asked += 1
        if name not in self.table:
            raise OSError(-2, "Name or service not known")
        found = self.table[name]
        if found is None:
            self.released.wait(10)
            found = self.table[name] or []
        return list(found)


@pytest.fixture
def journal(tmp_path: Path) -> ErrorLog:
    log = ErrorLog(tmp_path)
    log.open_target("error.log", "info")
    return log


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT_S", 0.01)
    monkeypatch.setattr(module, "LONG_S", 0.02)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 5 s")


def kinds(tmp_path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in (tmp_path / "error.log").read_text().splitlines()]


def test_addresses_move_and_are_told(journal: ErrorLog, tmp_path: Path) -> None:
    async def play() -> None:
        dns = Dns(immich=["10.0.0.1", "fd00::1"])
        told: list[dict[str, list[str]]] = []
        names = Resolver(journal, told.append, dns)
        assert await names.addresses({"immich"}, 5) == {"immich": ["10.0.0.1", "fd00::1"]}
        told.clear()
        dns.table["immich"] = ["fd00::1", "10.0.0.1"]
        asked = dns.asked
        await until(lambda: dns.asked > asked + 2)
        assert told == []
        dns.table["immich"] = ["10.0.0.2"]
        await until(lambda: told == [{"immich": ["10.0.0.2"]}])
        assert names.report() == {"immich": ["10.0.0.2"]}
        names.keep(set())
        asked = dns.asked
        await asyncio.sleep(0.05)
        assert dns.asked == asked

    asyncio.run(play())
    assert kinds(tmp_path) == ["resolver.moved"]


def test_silence_keeps_what_was_known_and_is_told_once(journal: ErrorLog, tmp_path: Path) -> None:
    async def play() -> None:
        dns = Dns(immich=["10.0.0.1"])
        names = Resolver(journal, lambda _: None, dns)
        await names.addresses({"immich"}, 5)
        del dns.table["immich"]
        asked = dns.asked
        await until(lambda: dns.asked > asked + 3)
        assert names.report() == {"immich": ["10.0.0.1"]}
        dns.table["immich"] = ["10.0.0.1"]
        await until(lambda: "resolver.found" in kinds(tmp_path))
        names.keep(set())

    asyncio.run(play())
    assert kinds(tmp_path) == ["resolver.failed", "resolver.found"]


def test_a_start_does_not_wait_for_a_name_that_hangs(journal: ErrorLog) -> None:
    async def play() -> None:
        dns = Dns(slow=None, quick=["10.0.0.1"])
        told: list[dict[str, list[str]]] = []
        names = Resolver(journal, told.append, dns)
        assert await names.addresses({"slow", "quick", "wrong"}, 0.05) == {"quick": ["10.0.0.1"], "slow": [], "wrong": []}
        # The answer that comes after the patience is told like a change.
        dns.table["slow"] = ["10.0.0.9"]
        dns.released.set()
        await until(lambda: {"slow": ["10.0.0.9"]} in told)
        names.keep(set())

    asyncio.run(play())


def test_a_lookup_that_never_ends_is_asked_anew(journal: ErrorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)

    async def play() -> None:
        dns = Dns(slow=None)
        names = Resolver(journal, lambda _: None, dns)
        await names.addresses({"slow"}, 5)
        await until(lambda: dns.asked > 2)
        names.keep(set())
        dns.released.set()

    asyncio.run(play())


def test_look_up_takes_addresses_and_refuses_nonsense() -> None:
    assert look_up("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in look_up("localhost")
    with pytest.raises((OSError, UnicodeError)):
        look_up("x" * 70 + ".example")


def test_names_are_hosts_that_are_no_addresses() -> None:
    servers = (Server("immich", 2283), Server("10.0.0.1", 80), Server("fd00::1", 80), Server(path="/run/x.sock"))
    assert names_of(Config((), (), (Upstream("a", servers),))) == {"immich"}


# ---------------------------------------------------------------- DNS itself


class NameServer:
    """A name server on a free port that answers from a table of `NAME TYPE` to records."""

    def __init__(self, ttl: int, table: dict[str, list[str]]) -> None:
        self.table = table
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self._ttl = ttl
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self.sock.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            question = query.question[0]
            kind = dns.rdatatype.to_text(question.rdtype)
            records = self.table.get(f"{question.name.to_text().rstrip('.')} {kind}")
            if records:
                answer.answer.append(dns.rrset.from_text(question.name, self._ttl, "IN", kind, *records))
            elif records is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.sock.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.sock.getsockname())
        self._thread.join(5)
        self.sock.close()


TABLE = {
    "many.test A": ["192.0.2.1", "192.0.2.2"],
    "many.test AAAA": ["2001:db8::1"],
    "six.test AAAA": ["2001:db8::6"],
    "six.test A": [],
    "_immich._tcp.test SRV": ["10 5 2283 many.test.", "20 0 2284 six.test.", "30 1 1 nobody.test."],
    "_none._tcp.test SRV": ["0 0 0 ."],
}


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    monkeypatch.setattr(module, "LONG_S", 30.0)
    server = NameServer(7, TABLE)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.sock.getsockname()[1]
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield server
    server.close()


def test_all_addresses_of_a_name_with_their_time_to_live(name_server: NameServer) -> None:
    found = module.look_up("all:many.test")
    assert sorted(found) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert isinstance(found, module.Found) and found.ttl_s == 7
    assert module.look_up("all:six.test") == ["2001:db8::6"]


def test_what_dns_does_not_know_may_stand_in_the_hosts_file(name_server: NameServer) -> None:
    assert set(module.look_up("all:localhost")) <= {"127.0.0.1", "::1"}


def test_services_with_ports_weights_and_priorities(name_server: NameServer) -> None:
    found = module.look_up("srv:_immich._tcp.test")
    assert sorted(found) == [
        "192.0.2.1 2283 5 10",
        "192.0.2.2 2283 5 10",
        "2001:db8::1 2283 5 10",
        "2001:db8::6 2284 0 20",
    ]
    assert module.look_up("srv:_none._tcp.test") == []
    with pytest.raises(OSError, match="SRV"):
        module.look_up("srv:_other._tcp.test")


@pytest.mark.parametrize(("ttl", "wait"), [(0.2, 1.0), (7.0, 7.0), (600.0, 30.0)])
def test_an_answer_is_believed_for_as_long_as_it_holds(journal: ErrorLog, monkeypatch: pytest.MonkeyPatch, ttl: float, wait: float) -> None:
    monkeypatch.setattr(module, "LONG_S", 30.0)

    async def play() -> None:
        names = Resolver(journal, lambda _: None, lambda _: module.Found(["192.0.2.1"], ttl))
        await names.addresses({"all:many.test"}, 5)
        assert names._names["all:many.test"].wait_s == wait
        names.keep(set())

    asyncio.run(play())


def test_names_are_asked_for_as_their_servers_are_resolved() -> None:
    servers = [Server(f"{how}.test", 80, resolve=how) for how in ("one", "all", "srv")]  # type: ignore[arg-type]
    config = Config((), (), (Upstream("u", (*servers, Server("192.0.2.1", 80, resolve="all"))),))
    assert names_of(config) == {"one.test", "all:all.test", "srv:srv.test"}


def test_a_name_is_sought_once_for_all_who_want_it(journal: ErrorLog) -> None:
    async def story() -> None:
        told: list[dict[str, list[str]]] = []
        table = Dns(a=["192.0.2.1"], slow=None)
        resolver = Resolver(journal, lambda names: None, table)
        resolver.seek("slow", told.append)
        resolver.seek("slow", told.append)
        resolver.seek("a", told.append)
        resolver.seek("none", told.append)
        await until(lambda: len(told) == 2)
        assert {"a": ["192.0.2.1"]} in told and {"none": []} in told
        table.table["slow"] = ["192.0.2.9"]
        table.released.set()
        await until(lambda: len(told) == 4)
        assert told[2:] == [{"slow": ["192.0.2.9"]}] * 2
        assert table.asked == 3
        resolver.close()

    asyncio.run(story())


def test_a_name_that_is_watched_is_known_at_once_and_there_is_room_for_so_many(journal: ErrorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(module, "SOUGHT_MOST", 1)
        told: list[dict[str, list[str]]] = []
        table = Dns(a=["192.0.2.1"], slow=None)
        resolver = Resolver(journal, lambda names: None, table)
        await resolver.addresses({"a"}, 5)
        resolver.seek("a", told.append)
        resolver.seek("slow", told.append)
        resolver.seek("other", told.append)
        assert told == [{"a": ["192.0.2.1"]}, {"other": []}]
        await asyncio.sleep(0)
        resolver.close()
        await until(lambda: len(told) == 3)
        assert told[2] == {"slow": []}
        table.released.set()

    asyncio.run(story())


def test_what_requests_name_may_be_asked_of_servers_of_its_own(journal: ErrorLog, name_server: NameServer) -> None:
    async def story() -> None:
        port = name_server.sock.getsockname()[1]
        told: list[dict[str, list[str]]] = []
        resolver = Resolver(journal, lambda names: None, Dns())
        for resolve in ("any", "ipv4", "ipv6"):
            resolver.ask_at(Process(resolvers=(f"127.0.0.1:{port}",), resolve=resolve))  # type: ignore[arg-type]  # it is one of them
            resolver.seek("many.test", told.append)
            await until(lambda: not resolver._sought)
        assert [sorted(each["many.test"]) for each in told] == [
            ["192.0.2.1", "192.0.2.2", "2001:db8::1"],
            ["192.0.2.1", "192.0.2.2"],
            ["2001:db8::1"],
        ]
        resolver.seek("nobody.test", told.append)
        await until(lambda: not resolver._sought)
        assert told[-1] == {"nobody.test": []}
        resolver.ask_at(Process())
        resolver.seek("many.test", told.append)
        await until(lambda: not resolver._sought)
        assert told[-1] == {"many.test": []}, "the system does not know it"

    asyncio.run(story())
