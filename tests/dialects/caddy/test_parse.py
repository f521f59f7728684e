"""Caddyfile to model: the golden cases, and what they cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.golden import Golden, text_of
from tests.plan.fakes import idle

from vestibule.compile_expr import ExprMaker, Mistakes
from vestibule.dialects import load, recognise
from vestibule.dialects.caddy import parse
from vestibule.model.config import BasicAuth, Respond, Rewrite, Switch
from vestibule.model.diagnostic import Severity
from vestibule.model.expr import Const
from vestibule.plan.variables import Place

FILES = {
    "common.caddy": "encode gzip\nheader X-Common {args[0]}\n",
    "sites/a.caddy": "a.example.net {\n\treverse_proxy a:80\n}\n",
    "sites/b.caddy": "b.example.net {\n\treverse_proxy b:80\n}\n",
    "secret.txt": "a{b}c\n",
    "loop.caddy": "import loop.caddy\n",
}
# What every Caddyfile says alike is not shown again.
GOLDEN = Golden(__file__, "Caddyfile", parse, FILES, parse("Caddyfile", ":80\n").config)
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


class Environment:
    """Variables of the environment, and no files."""

    def __init__(self, **variables: str) -> None:
        self.environment: Mapping[str, str] = variables

    def __call__(self, path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)


def test_the_environment_is_put_in() -> None:
    text = "{$HOST} {\n\tbasic_auth {\n\t\t{env.NAME} {env.HASH}\n\t}\n\treverse_proxy {$UP:immich:2283} {env.OTHER}:80\n}\n"
    hashed = "$2a$14$" + "a" * 53
    found = parse("Caddyfile", text, Environment(HOST="a.example.net", NAME="al ice", HASH=hashed, OTHER="other"))
    assert found.ok, [each.render() for each in found.diagnostics]
    assert found.config is not None
    assert found.config.sites[0].hosts == ("a.example.net",)
    assert found.config.sites[0].request[0] == BasicAuth((("al ice", hashed),), "restricted")
    assert [server.host for server in found.config.upstreams[0].servers] == ["immich", "other"]


def test_what_the_environment_lacks_is_empty_and_told() -> None:
    found = parse("Caddyfile", "http://a.example.net {\n\trespond x{$A}y{env.B}z{$C:c}\n}\n", Environment(A=""))
    assert found.ok
    assert [(each.code, each.severity) for each in found.diagnostics] == [("environment", Severity.WARNING)] * 2
    assert found.config is not None
    assert found.config.sites[0].source == Respond(200, Const("xyzc"))


@pytest.mark.parametrize(
    ("word", "met"),
    [
        ("http/2", ["HTTP/2.0"]), ("http/1.1+", ["HTTP/1.1", "HTTP/2.0"]), ("http/1.0", ["HTTP/1.0"]), ("http/3+", []),
    ],
)  # fmt: skip
def test_versions_of_requests_are_called_as_requests_are(word: str, met: list[str]) -> None:
    found = parse("Caddyfile", f":80\n@a protocol {word}\nrespond @a yes\nrespond no\n").config
    assert found is not None and isinstance(found.sites[0].source, Switch)
    test = found.sites[0].source.routes[0].when
    assert test is not None
    node = ExprMaker(Mistakes()).test("a", test, Place())
    seen = []
    for version in ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0"):
        ex = idle("/")
        ex.request.protocol = version.encode()
        seen += [version] if node.test(ex) else []
    assert seen == met


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_text_makes_the_reader_raise(data: st.DataObject) -> None:
    """Cut and spliced configurations; anything may come out except an exception."""
    lines = [line for case in CASES for line in text_of(case).splitlines()]
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=15))
    cut = data.draw(st.integers(0, 40))
    text = "\n".join(chosen)
    for each in parse("Caddyfile", text[: len(text) - cut], GOLDEN.files).diagnostics:
        assert each.message
        assert each.render()


@pytest.mark.parametrize(
    ("name", "text", "dialect"),
    [
        ("Caddyfile", "", "caddy"),
        ("/etc/caddy/Caddyfile", "# nothing", "caddy"),
        ("photos", "photos.example.net {\n\treverse_proxy immich:2283\n}\n", "caddy"),
        ("photos", ":80\n\nrespond hello\n", "caddy"),
        ("site", "server {\n    listen 80;\n}\n", "nginx"),
        ("proxy", "frontend photos\n\tbind *:80\n", "haproxy"),
    ],
)
def test_files_are_recognised(name: str, text: str, dialect: str) -> None:
    assert recognise(name, text) == dialect


def test_what_is_found_later_can_be_placed() -> None:
    loaded = load("Caddyfile", "a.example.net {\n\ttls c.pem k.pem\n\treverse_proxy b:80\n}\n")
    assert loaded.place("certificates[0].cert").render() == "Caddyfile:2:6"
    assert loaded.place("listeners[0].address").render() == "Caddyfile:1:1"
    assert loaded.place("upstreams[0].servers[0].host").render() == "Caddyfile:3:16"
    assert loaded.place("sites[0].source.upstream").render() == "Caddyfile:3:2"


@pytest.mark.parametrize(
    ("edit", "query", "wanted"),
    [
        ("-a", "a=1&b=2&a=3&ab=4", "b=2&ab=4"),
        ("-a", "b=2&a", "b=2"),
        ("-a", "xa=1", "xa=1"),
        ("-jo-b", "%6Ao-b=1&j%6f%2Db&b=2&jo%2b=3", "b=2&jo%2b=3"),
        ("a>c", "a=1&ba=2&a", "c=1&ba=2&c"),
        ("+a x/y", "", "a=x%2Fy"),
        ("+a x", "a=1", "a=1&a=x"),
        ("a x", "a=1&b=2", "b=2&a=x"),
        ("a x", "a=1", "a=x"),
        ("a x", "%61=1", "a=x"),
    ],
)
def test_edits_of_a_query(edit: str, query: str, wanted: str) -> None:
    config = parse("Caddyfile", f"http://a.example.net {{\n\turi query {edit}\n\trespond ok\n}}\n").config
    for action in config.sites[0].request:
        assert isinstance(action, Rewrite) and action.query is not None
        ex = idle(f"/p?{query}")
        query = ExprMaker(Mistakes()).text("query", action.query, Place()).text(ex).decode()
    assert query == wanted
