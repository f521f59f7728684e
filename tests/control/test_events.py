"""What syslog servers are told of servers that come and go."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from vestibule.control.check import Outcome
from vestibule.control.events import Events, Left
from vestibule.model.config import Config, EventLog, Server, Syslog, Upstream

REFUSED = Outcome("Connection refused", "problem", 4, 0, "Connection refused", 3)


OPEN: list[Heard] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class Heard:
    """A syslog server, and an upstream that tells it things."""

    def __init__(self, **more: object) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        target = f"syslog:127.0.0.1:{self.socket.getsockname()[1]}"
        log = EventLog(target, Syslog("local0", tag="door", format="local"), servers=(("one", "192.0.2.1:80"),))
        self.events = Events(lambda name: [])
        OPEN.append(self)
        self.upstream = Upstream("photos", (Server("192.0.2.1", 80),), events=(replace(log, **more),))  # type: ignore[arg-type]

    def close(self) -> None:
        self.events.close()
        self.socket.close()

    def line(self) -> tuple[int, str]:
        """Return the severity and the text of the next line."""
        head, _, text = self.socket.recv(4096).decode().partition("]: ")
        assert head.startswith("<")
        return int(head[1:].partition(">")[0]) - 16 * 8, text


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(layer=4, took_ms=1), "succeeded, reason: Layer4 check passed, check duration: 1ms, status: 1/1 UP."),
        (Outcome(layer=6), "succeeded, reason: Layer6 check passed, check duration: 0ms, status: 1/1 UP."),
        (
            Outcome("", "passed", 7, 200, "OK", 2),
            'succeeded, reason: Layer7 check passed, code: 200, info: "OK", check duration: 2ms, status: 1/1 UP.',
        ),
        (
            Outcome("it answered 503", "status", 7, 503, 'No\n"', 2),
            'failed, reason: Layer7 wrong status, code: 503, info: "No\\x0a"", check duration: 2ms, status: 1/1 UP.',
        ),
        (REFUSED, 'failed, reason: Layer4 connection problem, info: "Connection refused", check duration: 3ms, status: 1/1 UP.'),
        (Outcome("late", "timeout", 7), "failed, reason: Layer7 timeout, check duration: 0ms, status: 1/1 UP."),
    ],
)
def test_outcomes_of_checks(outcome: Outcome, text: str) -> None:
    heard = Heard(checks=True)
    heard.events.checked(heard.upstream, "192.0.2.1:80", outcome, "1/1 UP")
    assert heard.line() == (5, f"Health check for server photos/one {text}")


def test_servers_that_come_and_go() -> None:
    heard = Heard()
    heard.events.checked(heard.upstream, "192.0.2.1:80", REFUSED, "0/1 DOWN")
    heard.events.changed(heard.upstream, "192.0.2.1:80", REFUSED, Left(0, 0, 2))
    heard.events.changed(heard.upstream, "192.0.2.1:80", Outcome(), Left(1, 0, 0))
    severity, text = heard.line()
    assert (severity, text[:45]) == (1, "Server photos/one is DOWN, reason: Layer4 con")
    assert text.endswith(". 0 active and 0 backup servers left. 2 sessions active, 0 requeued, 0 remaining in queue.")
    assert heard.line() == (0, "backend photos has no server available!")
    severity, text = heard.line()
    assert (severity, text[:24]) == (5, "Server photos/one is UP,")
    assert text.endswith(". 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.")


def test_what_commands_change() -> None:
    heard = Heard()
    for mode, before in (("maintenance", ""), ("ready", "maintenance"), ("drain", "ready"), ("ready", "drain"), ("ready", "ready")):
        heard.events.commanded(heard.upstream, "192.0.2.1:80", mode, before, Left(1, 0, 0))
    said = [heard.line() for _ in range(4)]
    assert [severity for severity, _ in said] == [1, 5, 5, 5]
    assert said[0][1].startswith("Server photos/one is going DOWN for maintenance. 1 active and 0 backup servers left. ")
    assert said[1][1] == "Server photos/one is UP/READY (leaving forced maintenance)."
    assert said[2][1].startswith("Server photos/one enters drain state. ")
    assert said[3][1] == "Server photos/one is UP (leaving forced drain)."


def test_a_log_takes_what_is_serious_enough_and_calls_nothing_more_serious_than_it_may() -> None:
    heard = Heard(most="alert", least="crit", checks=True)
    heard.events.checked(heard.upstream, "192.0.2.1:80", Outcome(), "1/1 UP")
    heard.events.changed(heard.upstream, "192.0.2.1:80", REFUSED, Left(0, 0, 0))
    assert [heard.line()[0], heard.line()[0]] == [2, 2]


def test_servers_of_logs_that_nobody_names_any_more_are_let_go() -> None:
    heard = Heard()
    heard.events.changed(heard.upstream, "192.0.2.1:80", Outcome(), Left(1, 0, 0))
    assert len(heard.events._servers) == 1
    heard.events.keep(Config((), (), (replace(heard.upstream, events=(replace(heard.upstream.events[0], servers=()),)),)))
    assert len(heard.events._servers) == 1, "it is the same server"
    heard.events.keep(Config((), (), ()))
    assert not heard.events._servers


def test_names_that_nobody_knows_are_left_alone() -> None:
    heard = Heard(target="syslog:logs.test:514")
    heard.events.changed(heard.upstream, "192.0.2.9:80", REFUSED, Left(0, 0, 0))
