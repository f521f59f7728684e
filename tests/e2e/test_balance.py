"""Several servers behind the real program: clients that stay, servers that come and go, restarts nobody notices."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client, close_all
from .ports import free_ports
from .rig import Vestibule, settings
from .upstream import Turn, Upstream


class Fleet:
    """A proxy with servers behind it; each answers its own number."""

    def __init__(self, folder: Path, count: int, more: str, *, workers: int = 1, hold: str = "0s") -> None:
        # Theirs too are told to nobody else, since they go away and come back.
        port, *self.ports = free_ports(1 + count)
        self.upstreams = [self._upstream(at, self.ports[at]) for at in range(count)]
        servers = ", ".join(f'"http://127.0.0.1:{each.port}"' for each in self.upstreams)
        self.config = (
            f'{settings(folder, workers)}[timeouts]\nhold = "{hold}"\n'
            f'[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "u"\n[upstreams.u]\nservers = [{servers}]\n{more}\n'
        )
        self.proxy = Vestibule(folder, self.config, [port])
        self.client = Client(("127.0.0.1", port))
        self.port = port

    @staticmethod
    def _upstream(at: int, port: int) -> Upstream:
        upstream = Upstream(port=port)
        upstream.script = lambda turn: turn.answer(b"%d" % at)
        return upstream

    def kill(self, at: int) -> None:
        self.upstreams[at].close()

    def revive(self, at: int) -> None:
        self.upstreams[at] = self._upstream(at, self.ports[at])

    def who(self, *fields: tuple[str, str], target: str = "/") -> str:
        """Ask over a connection of its own; return who answered."""
        response = Client(("127.0.0.1", self.port)).get(target, *fields)
        assert response.status == 200, response.body
        return response.body.decode()

    def close(self) -> None:
        close_all()
        try:
            self.proxy.stop()
        finally:
            for upstream in self.upstreams:
                upstream.close()


@contextlib.contextmanager
def fleet(folder: Path, count: int, more: str = "", *, workers: int = 1, hold: str = "0s") -> Iterator[Fleet]:
    made = Fleet(folder, count, more, workers=workers, hold=hold)
    try:
        yield made
    finally:
        made.close()


def test_a_marked_client_stays_through_workers_reloads_and_restarts(tmp_path: Path) -> None:
    with fleet(tmp_path, 3, '[upstreams.u.sticky]\ncookie = "srv"', workers=2) as made:
        response = made.client.get("/")
        cookie = response.find("Set-Cookie")
        assert cookie is not None
        mark, *attributes = cookie.decode().split("; ")
        assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
        mine = response.body.decode()
        assert {made.who(("Cookie", f"a=b; {mark}")) for _ in range(12)} == {mine}
        assert {made.who() for _ in range(12)} == {"0", "1", "2"}
        assert made.proxy.control("reload").returncode == 0
        assert {made.who(("Cookie", mark)) for _ in range(6)} == {mine}
        made.proxy.stop()
        made.proxy = Vestibule(tmp_path, made.config, [made.port])
        assert {made.who(("Cookie", mark)) for _ in range(6)} == {mine}
        made.kill(int(mine))
        other = Client(("127.0.0.1", made.port)).get("/", ("Cookie", mark))
        assert other.status == 200 and other.body.decode() != mine


def test_a_hash_of_an_expression_is_the_same_in_every_worker(tmp_path: Path) -> None:
    more = '[upstreams.u.balance]\nmethod = "hash"\nkey = "{arg:album}"'
    with fleet(tmp_path, 3, more, workers=2) as made:
        owners = {album: {made.who(target=f"/x?album={album}&n={n}") for n in range(4)} for album in range(30)}
        assert all(len(owner) == 1 for owner in owners.values())
        assert len(set().union(*owners.values())) == 3


def test_a_restart_of_the_only_server_is_not_noticed(tmp_path: Path) -> None:
    with fleet(tmp_path, 1, hold="15s") as made:
        assert made.who() == "0"
        made.kill(0)
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(made.who())) for _ in range(5)]
        for thread in threads:
            thread.start()
        assert not made.proxy.wait_until(lambda: bool(answers), 1)
        made.revive(0)
        for thread in threads:
            thread.join(15)
        assert answers == ["0"] * 5


def test_holding_ends_with_the_clear_page(tmp_path: Path) -> None:
    with fleet(tmp_path, 1, hold="500ms") as made:
        made.kill(0)
        response = made.client.get("/", ("Accept", "text/html"))
        assert response.status == 502 and b"refused" in response.body


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_status_is_tried_elsewhere_but_no_post_twice(method: str, tmp_path: Path) -> None:
    def busy(turn: Turn) -> None:
        turn.read_body()
        turn.answer(b"busy", b"503 Busy")

    with fleet(tmp_path, 2, "[upstreams.u.retry]\nstatuses = [503]") as made:
        made.upstreams[0].script = busy
        statuses = [made.client.request(method, "/", body=b"x" if method == "POST" else b"").status for _ in range(6)]
        asked = sum(len(upstream.requests) for upstream in made.upstreams)
        if method == "GET":
            assert statuses == [200] * 6 and asked == 9
        else:
            assert sorted(statuses) == [200] * 3 + [503] * 3 and asked == 6


def test_a_server_that_fails_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with fleet(tmp_path, 2, '[upstreams.u.passive]\nmax_fails = 2\nwindow = "60s"') as made:
        made.kill(0)
        assert {made.who() for _ in range(8)} == {"1"}
        made.revive(0)
        assert {made.who() for _ in range(8)} == {"1"}


def test_commands_act_on_the_running_program(tmp_path: Path) -> None:
    with fleet(tmp_path, 3, workers=2) as made:
        names = [f"127.0.0.1:{port}" for port in made.ports]

        def answers(wanted: str) -> bool:
            return {made.who() for _ in range(12)} == set(wanted)

        def tell(wanted: str, *words: str) -> None:
            done = made.proxy.control("upstream", *words)
            assert done.returncode == 0, done.stderr
            # The workers hear of it in a moment, and hold to it.
            assert made.proxy.wait_until(lambda: answers(wanted))
            assert answers(wanted)

        tell("12", "drain", "u", names[0])
        tell("2", "disable", "u", names[1])
        assert made.proxy.control("reload").returncode == 0
        assert {made.who() for _ in range(8)} == {"2"}
        listed = made.proxy.control("upstream", "list").stdout.splitlines()
        assert [line.split()[2].rstrip(",") for line in listed] == ["draining", "disabled", "up"]
        assert f"u {names[1]}: disabled" in made.proxy.control("status").stdout
        tell("012", "enable", "u", "all")
        tell("01", "weight", "u", names[2], "0")
        wrong = made.proxy.control("upstream", "drain", "u", "nobody")
        assert wrong.returncode == 1 and names[0] in wrong.stderr


def test_checks_take_servers_out_and_back_and_a_reload_changes_nothing(tmp_path: Path) -> None:
    more = '[upstreams.u.health]\ninterval = "200ms"\nfast = "100ms"\nrise = 2\nfall = 2\n[upstreams.u.retry]\non = []'
    with fleet(tmp_path, 2, more, workers=2) as made:

        def sick(turn: Turn) -> None:
            turn.answer(b"{}" if b"ping" in turn.request.target else b"0", b"200 OK")

        def well(turn: Turn) -> None:
            turn.answer(b'{"res":"pong"}' if turn.request.target == b"/api/server/ping" else b"w")

        for upstream in made.upstreams:
            upstream.script = well
        made.upstreams[0].script = sick
        made.proxy.wait_for("health.down")
        assert made.proxy.wait_until(lambda: {made.who() for _ in range(8)} == {"w"}), "the workers hear of it in a moment"
        assert {made.who() for _ in range(8)} == {"w"}
        assert made.proxy.control("reload").returncode == 0
        assert {made.who() for _ in range(8)} == {"w"}
        worker = made.proxy.workers[0]
        os.kill(worker, signal.SIGKILL)
        assert made.proxy.wait_until(lambda: worker not in made.proxy.workers and len(made.proxy.workers) == 2)
        assert {made.who() for _ in range(8)} == {"w"}
        assert "down" in made.proxy.control("upstream", "list").stdout
        made.upstreams[0].script = well
        made.upstreams[1].script = sick
        made.proxy.wait_for("health.up")
