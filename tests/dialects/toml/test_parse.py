"""TOML to model: the golden cases, and what they cannot show.

A case is TOML, a line of dashes, and what comes of it: the diagnostics, or else the model as JSON without what has its
default value.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestibule.dialects import load, recognise
from vestibule.dialects.toml import for_command_line, parse, write
from vestibule.model.config import Proxy, Server, TcpAddress
from vestibule.model.wire import to_data

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
RULE = "\n----------\n"


def brief(value: object) -> object:
    """The JSON form of a value, less what is as it is by default."""
    if isinstance(value, tuple):
        return [brief(item) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return to_data(value)
    shown: dict[str, object] = {"type": type(value).__name__}
    for field in dataclasses.fields(value):
        have = getattr(value, field.name)
        if have != field.default:
            shown[field.name] = brief(have)
    return shown


def outcome(text: str) -> str:
    """What comes of a text, as a case expects it."""
    loaded = parse("v.toml", text)
    lines = [each.render() for each in loaded.diagnostics]
    if loaded.ok:
        lines.append(json.dumps(brief(loaded.config), indent=1, ensure_ascii=False))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_case(case: Path, accept: bool) -> None:
    text, rule, expected = case.read_text(encoding="utf-8").partition(RULE)
    got = outcome(text + "\n")
    if accept:
        case.write_text(text + RULE + got, encoding="utf-8")
        return
    assert rule
    assert got == expected


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_is_written_and_read_back(case: Path) -> None:
    loaded = parse("v.toml", case.read_text(encoding="utf-8").partition(RULE)[0])
    if loaded.ok:
        assert loaded.config is not None
        again = parse("again.toml", write(loaded.config))
        assert again.config == loaded.config
        assert again.ok


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse("v.toml", '\ufeff[sites.a]\nto = "http://b"\n').ok


def test_a_number_too_long_for_the_reader_is_a_syntax_error() -> None:
    (one,) = parse("v.toml", "a = " + "9" * 5000).diagnostics
    assert (one.code, one.span.line) == ("syntax", 1)


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    deep = '[sites."*"]\nroutes = ' + "[{routes = " * 90 + "[]" + "}]" * 90 + "\n"
    found = [each.code for each in parse("v.toml", deep).diagnostics]
    assert "too-deep" in found
    assert parse("v.toml", "a = " + "[" * 5000 + "]" * 5000).diagnostics[0].code == "syntax"
    actions = "[{when = 'tls', actions = " * 90 + "[]" + "}]" * 90
    assert "too-deep" in [each.code for each in parse("v.toml", f'[sites."*"]\nto = "http://a"\nrequest = {actions}\n').diagnostics]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_text_makes_the_reader_raise(data: st.DataObject) -> None:
    """Cut and spliced real configurations; anything may come out except an exception."""
    sources = [case.read_text(encoding="utf-8").partition(RULE)[0] for case in CASES]
    first = data.draw(st.sampled_from(sources))
    lines = first.splitlines() + data.draw(st.sampled_from(sources)).splitlines()
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=12))
    for each in parse("v.toml", "\n".join(chosen)).diagnostics:
        assert each.message
        assert each.render().startswith("v.toml:")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_value_makes_the_reader_raise(data: st.DataObject) -> None:
    """Sound configurations with one value replaced by one of another type."""
    source = data.draw(st.sampled_from([case.read_text(encoding="utf-8").partition(RULE)[0] for case in CASES]))
    lines = source.splitlines()
    keys = [at for at, line in enumerate(lines) if " = " in line]
    if not keys:
        return
    at = data.draw(st.sampled_from(keys))
    values = ["1", "-1", "true", '""', '"x"', "[]", "[1]", "{}", "{ a = 1 }", "1.5", "1979-05-27", '"{"', '["a"]', "nan", "9" * 30]
    lines[at] = lines[at].partition(" = ")[0] + " = " + data.draw(st.sampled_from(values))
    loaded = parse("v.toml", "\n".join(lines))
    assert loaded.ok or loaded.diagnostics


def test_what_is_found_later_can_be_placed() -> None:
    loaded = parse("v.toml", '[sites."a.example.org"]\nto = "http://b"\ncert = "c.pem"\n[sites."b.test"]\nto = "http://c"\ntls = "off"\n')
    assert loaded.place("certificates[0].cert").render() == 'v.toml:sites."a.example.org".cert'
    assert loaded.place("certificates[0].key").render() == 'v.toml:sites."a.example.org".key'
    assert loaded.place("upstreams[1].servers[0]").render() == 'v.toml:sites."b.test".to'
    assert loaded.place("listeners[0]").render() == 'v.toml:sites."a.example.org".listen'
    given = for_command_line("http://a", "photos.example.org", "c.pem")
    assert given.place("certificates[0].cert").render() == "--cert"
    assert given.place("upstreams[0]").render() == "--to"


# ---------------------------------------------------------------- the command line


def test_a_target_alone_listens_on_8080() -> None:
    loaded = for_command_line("http://127.0.0.1:2283")
    assert loaded.ok and loaded.config is not None
    assert loaded.diagnostics == ()
    assert [each.address for each in loaded.config.listeners] == [TcpAddress(8080)]
    assert not loaded.config.listeners[0].tls
    (site,) = loaded.config.sites
    assert (site.name, site.hosts, site.source) == ("*", ("*",), Proxy("http://127.0.0.1:2283"))
    assert loaded.config.upstreams[0].servers == (Server("127.0.0.1", 2283),)


def test_a_certificate_brings_443_and_a_redirect_from_80() -> None:
    loaded = for_command_line("http://immich:2283", "photos.example.org", "fullchain.pem", "key.pem")
    assert loaded.ok and loaded.config is not None
    assert [(each.address, each.tls) for each in loaded.config.listeners] == [(TcpAddress(443), True), (TcpAddress(80), False)]
    (site,) = loaded.config.sites
    assert (site.name, site.redirect_http, site.https_port) == ("photos.example.org", True, 443)
    (certificate,) = loaded.config.certificates
    assert (certificate.cert, certificate.key) == ("fullchain.pem", "key.pem")
    assert site.certificates == (certificate.name,)


def test_a_certificate_for_any_host_serves_clients_that_name_none() -> None:
    loaded = for_command_line("http://immich:2283", cert="c.pem")
    assert loaded.ok and loaded.config is not None
    tls, plain = loaded.config.listeners
    assert (tls.unknown_sni, tls.default_site) == ("default", "*")
    assert (plain.unknown_sni, plain.default_site) == ("refuse", "")


def test_a_private_host_gets_a_certificate_of_the_local_ca() -> None:
    loaded = for_command_line("http://immich:2283", "localhost")
    assert loaded.config is not None
    assert loaded.config.sites[0].internal_tls


def test_listen_is_obeyed() -> None:
    loaded = for_command_line("http://immich:2283", listen=("127.0.0.1:0", "unix:/run/v.sock"))
    assert loaded.ok and loaded.config is not None
    assert [each.name for each in loaded.config.listeners] == ["127.0.0.1:0", "unix:/run/v.sock"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"to": "immich:2283"}, "--to: error: `immich:2283` is neither a URL nor the name of an upstream"),
        ({"to": "http://a", "host": "a/b"}, "--host: error: `a/b` is no host name"),
        ({"to": "http://a", "key": "k.pem"}, "--key: error: `key` belongs to a `cert`, and there is none"),
        ({"to": "http://a", "listen": ("x",)}, "--listen: error: expected an address such as `:8080`"),
        ({"to": ""}, "--to: error: `` is neither a URL nor the name of an upstream"),
    ],
)
def test_mistakes_are_placed_at_the_option(arguments: dict[str, str], line: str) -> None:
    loaded = for_command_line(**arguments)  # type: ignore[arg-type]
    assert not loaded.ok
    assert loaded.diagnostics[0].render().startswith(line)
    assert len(loaded.diagnostics) == 1


# ---------------------------------------------------------------- which dialect


@pytest.mark.parametrize(
    ("name", "text", "dialect"),
    [
        ("vestibule.toml", "", "toml"),
        ("VESTIBULE.TOML", "", "toml"),
        ("config", '# mine\n[sites."a.example"]\n', "toml"),
        ("config", "trusted_proxies = []\n", "toml"),
        ("site", "set $a = b;\n", None),
        ("empty", "", None),
    ],
)
def test_dialects_are_recognised(name: str, text: str, dialect: str | None) -> None:
    assert recognise(name, text) == dialect


def test_load_says_what_it_does_not_know() -> None:
    assert load("x", "hello").diagnostics[0].render() == (
        "x: error: this is no configuration vestibule knows; name its language with `--dialect`"
    )
    assert load("x", "", dialect="tomll").diagnostics[0].render() == "x: error: no dialect is named `tomll`; did you mean `toml`?"
    assert load("x", '[sites.a]\nto = "http://b"', dialect="toml").ok
