"""Sockets of generations: opened, kept, closed, and explained when they cannot be."""

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.e2e.ports import free_ports
from vestibule.control.listeners import ListenError, Listeners, bind_unix, clear_stale_socket
from vestibule.model.config import InheritedAddress, Listener, TcpAddress, UdpAddress, UnixAddress


def tcp(port: int, host: str = "127.0.0.1", name: str = "web") -> Listener:
    return Listener(name, TcpAddress(port, host))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path


def committed(doors: Listeners, *listeners: Listener, slots: int = 1) -> dict[str, list[socket.socket]]:
    opening = doors.prepare(listeners, slots)
    doors.listen(opening)
    doors.commit(opening)
    return doors.current.sockets(0)


def test_each_slot_has_a_socket_of_the_same_port(base: Path) -> None:
    doors = Listeners(base, {})
    opening = doors.prepare((tcp(0),), 3)
    doors.commit(opening)
    sockets = [opening.sockets(slot)["web"][0] for slot in range(3)]
    assert len({sock.fileno() for sock in sockets}) == 3
    assert {sock.getsockname()[1] for sock in sockets} == {opening.port("web")}
    assert opening.addresses() == {"web": f"127.0.0.1:{opening.port('web')}"}
    doors.close()
    assert all(sock.fileno() < 0 for sock in sockets)


def test_what_stays_is_the_same_socket(base: Path) -> None:
    doors = Listeners(base, {})
    first = committed(doors, tcp(0), tcp(0, name="other"))
    second = committed(doors, tcp(0))
    assert second["web"][0] is first["web"][0]
    assert first["other"][0].fileno() < 0
    doors.close()


def test_a_queued_connection_outlives_a_reload(base: Path) -> None:
    doors = Listeners(base, {})
    committed(doors, tcp(0))
    with socket.create_connection(("127.0.0.1", doors.current.port("web")), 5) as client:
        kept = committed(doors, tcp(0))
        door, _ = kept["web"][0].accept()
        door.sendall(b"x")
        door.close()
        assert client.recv(1) == b"x"
    doors.close()


def test_abort_closes_only_what_was_new(base: Path) -> None:
    doors = Listeners(base, {})
    kept = committed(doors, tcp(0))
    opening = doors.prepare((tcp(0), tcp(0, name="new")), 2)
    fresh = opening.sockets(1)
    doors.abort(opening)
    assert kept["web"][0].fileno() >= 0
    assert fresh["web"][0].fileno() < 0
    assert fresh["new"][0].fileno() < 0
    doors.close()


def test_sockets_of_further_slots_listen_from_commit_on(base: Path) -> None:
    doors = Listeners(base, {})
    committed(doors, tcp(0))
    opening = doors.prepare((tcp(0),), 2)
    grown = opening.sockets(1)["web"][0]
    assert not grown.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    doors.commit(opening)
    assert grown.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    doors.close()


def test_fewer_workers_share_the_sockets_of_more(base: Path) -> None:
    doors = Listeners(base, {})
    committed(doors, tcp(0), slots=3)
    three = [doors.current.sockets(slot)["web"][0] for slot in range(3)]
    committed(doors, tcp(0), slots=2)
    assert doors.current.sockets(0)["web"] == [three[0], three[2]]
    assert doors.current.sockets(1)["web"] == [three[1]]
    committed(doors, tcp(0), slots=4)
    assert [doors.current.sockets(slot)["web"][0] for slot in range(3)] == three
    doors.close()


def test_a_port_in_use_is_noticed_though_reuse_port_would_hide_it(base: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port} is in use by another program") as caught:
            Listeners(base, {}).prepare((tcp(0), tcp(port, name="taken")), 1)
        assert caught.value.name == "taken"


def test_our_own_port_may_get_another_address(base: Path) -> None:
    port = free_ports(1)[0]
    doors = Listeners(base, {})
    committed(doors, tcp(port))
    committed(doors, tcp(port, "*"))
    assert doors.current.addresses() == {"web": f"*:{port}"}
    doors.close()


def udp(port: int, host: str = "127.0.0.1", name: str = "dns") -> Listener:
    return Listener(name, UdpAddress(port, host))


def test_datagrams_come_to_one_socket_of_each_slot(base: Path) -> None:
    doors = Listeners(base, {})
    opening = doors.prepare((udp(0),), 2)
    doors.listen(opening)
    doors.commit(opening)
    port = doors.current.port("dns")
    assert doors.current.addresses() == {"dns": f"udp://127.0.0.1:{port}"}
    sockets = [doors.current.sockets(slot)["dns"][0] for slot in range(2)]
    assert {sock.getsockname()[1] for sock in sockets} == {port} and len({sock.fileno() for sock in sockets}) == 2
    assert {sock.type for sock in sockets} == {socket.SOCK_DGRAM}
    count = 64
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            near.sendto(b"x", ("127.0.0.1", port))
    got = []
    for sock in sockets:
        got.append(0)
        with contextlib.suppress(BlockingIOError):
            while sock.recv(10):
                got[-1] += 1
    assert sum(got) == count and min(got) > 0
    doors.close()


def test_datagrams_that_wait_outlive_a_reload(base: Path) -> None:
    doors = Listeners(base, {})
    first = committed(doors, udp(0))["dns"][0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.sendto(b"x", ("127.0.0.1", doors.current.port("dns")))
        assert committed(doors, udp(0))["dns"][0] is first
        assert first.recv(10) == b"x"
    committed(doors, tcp(0))
    assert first.fileno() < 0
    doors.close()


def test_a_port_may_have_connections_and_datagrams(base: Path) -> None:
    port = free_ports(1)[0]
    doors = Listeners(base, {})
    both = committed(doors, tcp(port), udp(port))
    assert [both[name][0].type for name in ("web", "dns")] == [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    assert committed(doors, tcp(port), udp(port)) == both
    doors.close()


@pytest.mark.parametrize("option", [socket.SO_REUSEPORT, socket.SO_REUSEADDR])
def test_datagrams_of_another_program_are_not_taken(base: Path, option: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"udp://127.0.0.1:{port} is in use by another program"):
            Listeners(base, {}).prepare((udp(port),), 1)


def test_an_address_this_machine_does_not_have(base: Path) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737).
    with pytest.raises(ListenError, match="no such address"):
        Listeners(base, {}).prepare((tcp(0, "192.0.2.1"),), 1)


def test_star_takes_both_families(base: Path) -> None:
    doors = Listeners(base, {})
    sock = committed(doors, tcp(0, "*"))["web"][0]
    with socket.create_connection(("127.0.0.1", doors.current.port("web")), 5):
        assert sock.accept()[0].close() is None
    if sock.family == socket.AF_INET6:
        with socket.create_connection(("::1", doors.current.port("web")), 5):
            assert sock.accept()[0].close() is None
    doors.close()


def test_v6only_leaves_the_other_family_out(base: Path) -> None:
    doors = Listeners(base, {})
    try:
        sock = committed(doors, tcp(0, "::1"))["web"][0]
    except ListenError:
        pytest.skip("no IPv6 here")
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert doors.current.addresses()["web"].startswith("[::1]:")
    doors.close()


def test_unix_socket_has_its_mode_and_goes_with_its_listener(base: Path) -> None:
    doors = Listeners(base, {})
    listener = Listener("door", UnixAddress("door.sock", 0o600))
    (sock,) = committed(doors, listener)["door"]
    path = base / "door.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (same,) = committed(doors, Listener("door", UnixAddress("door.sock", 0o666)))["door"]
    assert same is sock
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert doors.current.sockets(5)["door"] == [sock]
    committed(doors, tcp(0))
    assert not path.exists()
    doors.close()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(base: Path) -> None:
    path = base / "door.sock"
    bind_unix(str(path), 0o600).close()
    doors = Listeners(base, {})
    committed(doors, Listener("door", UnixAddress("door.sock")))
    with pytest.raises(ListenError, match="another program listens on it"):
        Listeners(base, {}).prepare((Listener("door", UnixAddress("door.sock")),), 1)
    doors.close()


def test_a_file_is_never_taken_for_a_socket(base: Path) -> None:
    (base / "file").write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        Listeners(base, {}).prepare((Listener("door", UnixAddress("file")),), 1)
    assert (base / "file").read_text() == "precious"


def test_an_unknown_owner_is_told(base: Path) -> None:
    with pytest.raises(ListenError, match="nobody-of-that-name"):
        Listeners(base, {}).prepare((Listener("door", UnixAddress("door.sock", user="nobody-of-that-name")),), 1)
    assert not (base / "door.sock").exists()


def test_inherited_sockets_are_shared_and_never_closed(base: Path) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen()
        doors = Listeners(base, {"web": [given]})
        listener = Listener("web", InheritedAddress("web"))
        assert committed(doors, listener)["web"] == [given]
        assert doors.current.sockets(3)["web"] == [given]
        committed(doors, tcp(0))
        assert given.fileno() >= 0
        assert committed(doors, listener)["web"] == [given]
        doors.close()
        assert given.fileno() >= 0


def test_an_inherited_socket_that_is_not_there(base: Path) -> None:
    with pytest.raises(ListenError, match="no socket named `web`, but none at all"):
        Listeners(base, {}).prepare((Listener("web", InheritedAddress("web")),), 1)


def test_an_inherited_socket_that_does_not_listen(base: Path) -> None:
    with socket.socket() as given, pytest.raises(ListenError, match="does not listen"):
        Listeners(base, {"web": [given]}).prepare((Listener("web", InheritedAddress("web")),), 1)


def test_clear_stale_socket_needs_nothing_to_be_there(base: Path) -> None:
    clear_stale_socket(str(base / "nothing"))
    assert os.listdir(base) == []


def test_what_is_handed_over_is_the_same_socket(base: Path) -> None:
    before = Listeners(base, {})
    listeners = (tcp(0), tcp(0, name="other"), Listener("door", UnixAddress("door.sock")))
    committed(before, *listeners, slots=2)
    keys = before.by_key()
    assert sorted(len(fds) for fds in keys.values()) == [1, 2, 2]
    handed = {key: [socket.socket(fileno=os.dup(fd)) for fd in fds] for key, fds in keys.items()}
    after = Listeners(base, {}, handed)
    # One listener is gone, and there is a worker more.
    committed(after, listeners[0], listeners[2], slots=3)
    assert after.current.addresses()["web"] == before.current.addresses()["web"]
    assert after.current.port("web") == before.current.port("web")
    assert len(after.current.sockets(0)["web"]) == 1 and len(after.by_key()) == 2
    before.bequeath()
    before.close()
    assert (base / "door.sock").exists()
    after.close()
    assert not (base / "door.sock").exists()


def test_a_handover_that_comes_to_nothing_leaves_the_name_of_a_socket(base: Path) -> None:
    before = Listeners(base, {})
    door = Listener("door", UnixAddress("door.sock"))
    committed(before, door)
    after = Listeners(base, {}, {key: [socket.socket(fileno=os.dup(fd)) for fd in fds] for key, fds in before.by_key().items()})
    after.abort(after.prepare((door,), 1))
    assert (base / "door.sock").exists()
    before.close()


def test_a_socket_of_systemd_is_handed_on_by_its_name(base: Path) -> None:
    listener = Listener("web", InheritedAddress("https"))
    with socket.create_server(("127.0.0.1", 0)) as given:
        before = Listeners(base, {"https": [given]})
        committed(before, listener)
        (key,) = before.by_key()
        after = Listeners(base, {}, {key: [socket.socket(fileno=os.dup(given.fileno()))]})
        (sock,) = committed(after, listener)["web"]
        assert sock.getsockname() == given.getsockname()
        # A reload finds it again.
        committed(after, tcp(0))
        assert committed(after, listener)["web"] == [sock]
        sock.close()
