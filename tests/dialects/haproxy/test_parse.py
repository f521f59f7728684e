"""haproxy.cfg to model: the golden cases, and what they cannot show."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.golden import Golden, text_of

from vestibule.dialects import load, recognise
from vestibule.dialects.haproxy import parse
from vestibule.dialects.haproxy.lower import FORWARDING
from vestibule.model.config import Config, Timeouts

FILES = {
    "hosts.map": "# by host\nphotos.example.net photos\nvideos.example.net videos\n",
    "certs/a.pem": "",
    "certs/b.pem": "",
    "certs/b.pem.key": "",
    "verified.txt": "c.pem [verify required ca-file ca.pem] c.example.net\n",
    "freed.txt": "c.pem [verify none ssl-min-ver TLSv1.2] c.example.net\n",
    "brackets.txt": "c.pem [alpn h2] [verify none] c.example.net\nd.pem [alpn h2\n",
    "hosts.txt": "c.pem [alpn h2 ssl-min-ver TLSv1.2] !a.example.net *.example.net # all\nc.pem [verify required] x.test\nd.pem !*\n",
    "list.txt": "# mine\nc.pem\nd.pem [alpn h2] *.example.net\n",
    "statuses.map": "200 1\n404 5\n",
    "ranges.map": "200:299 1\n",
    "nets.map": "10.0.0.0/8 inside\n10.1.0.0/16 nearer\n",
    "groups.map": "^/u/([a-z]+)/ /users/\\1\n",
    "page.http": "HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<p>soon</p>\n",
    "/etc/haproxy/errors/400.http": "HTTP/1.0 400 Bad request\r\nCache-Control: no-cache\r\n\r\n<h1>400 Bad request</h1>\n",
    "hello.lf": "hello %[src]\n",
    "bad.lf": "hello %[scr]\n",
    "bots.lst": "# those we know\nbadbot\nscraper\n",
    "page.html": "<p>away</p>\n",
    "nets.lst": "10.0.0.0/8\n192.168.1.7\n",
}
GOLDEN = Golden(__file__, "h.cfg", parse, FILES, Config((), (), (), timeouts=Timeouts(hold_ms=0), forwarding=FORWARDING))
CASES = GOLDEN.cases


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_case(case: Path, accept: bool) -> None:
    GOLDEN.check(case, accept)


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_can_be_moved_to_toml(case: Path) -> None:
    GOLDEN.check_move(case)


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_can_be_built(case: Path) -> None:
    GOLDEN.check_build(case)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_text_makes_the_reader_raise(data: st.DataObject) -> None:
    """Cut and spliced configurations; anything may come out except an exception."""
    lines = [line for case in CASES for line in text_of(case).splitlines()]
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=15))
    cut = data.draw(st.integers(0, 40))
    text = "frontend f\n bind *:80\n" + "\n".join(chosen)
    for each in parse("h.cfg", text[: len(text) - cut], GOLDEN.files).diagnostics:
        assert each.message
        assert each.render().startswith("h.cfg:")


@pytest.mark.parametrize(
    ("name", "text", "dialect"),
    [
        ("haproxy.cfg", "", "haproxy"),
        ("/etc/haproxy/haproxy.cfg", "# nothing", "haproxy"),
        ("photos", "frontend photos\n\tbind *:80\n", "haproxy"),
        ("photos.cfg", "# mine\nglobal\n    daemon\ndefaults\n    mode http\n", "haproxy"),
        ("site", "server {\n    listen 80;\n}\n", "nginx"),
    ],
)
def test_files_are_recognised(name: str, text: str, dialect: str) -> None:
    assert recognise(name, text) == dialect


def test_what_is_found_later_can_be_placed() -> None:
    loaded = load("haproxy.cfg", "frontend f\n bind :443 ssl crt /c.pem\n default_backend b\nbackend b\n server s h:80\n")
    assert loaded.place("certificates[0].cert").render() == "haproxy.cfg:2:20"
    assert loaded.place("listeners[0].tls").render() == "haproxy.cfg:2:7"
    assert loaded.place("upstreams[0].servers[0].host").render() == "haproxy.cfg:5:2"
    assert loaded.place("sites[0].certificates").render() == "haproxy.cfg:1:1"
    assert loaded.place("process").render() == "haproxy.cfg:1:1"
