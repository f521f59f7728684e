"""haproxy.cfg to model: the golden cases, and what they cannot show.

A case is a haproxy.cfg, a line of dashes, and what comes of it: the diagnostics, and if none of them is an error the model
as JSON without what has its default value.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestibule.compile import dry_compile
from vestibule.dialects import load, recognise
from vestibule.dialects.haproxy import parse
from vestibule.dialects.toml import parse as parse_toml
from vestibule.dialects.toml import write
from vestibule.link.messages import Assets
from vestibule.model.wire import to_data

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
RULE = "\n----------\n"
FILES = {
    "hosts.map": "# by host\nphotos.example.net photos\nvideos.example.net videos\n",
    "certs/a.pem": "",
    "certs/b.pem": "",
    "certs/b.pem.key": "",
    "list.txt": "# mine\nc.pem\nd.pem [alpn h2] *.example.net\n",
    "bots.lst": "# those we know\nbadbot\nscraper\n",
    "page.html": "<p>away</p>\n",
    "nets.lst": "10.0.0.0/8\n192.168.1.7\n",
}


class Read:
    """The files that cases name."""

    def __call__(self, path: str) -> str:
        if path not in FILES:
            raise FileNotFoundError(2, "No such file or directory", path)
        return FILES[path]

    def find_files(self, pattern: str) -> list[str]:
        return sorted(fnmatch.filter(FILES, pattern))


read = Read()


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
    loaded = parse("h.cfg", text, read)
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
def test_every_sound_case_can_be_moved_to_toml(case: Path) -> None:
    loaded = parse("h.cfg", case.read_text(encoding="utf-8").partition(RULE)[0], read)
    if loaded.ok:
        assert loaded.config is not None
        again = parse_toml("again.toml", write(loaded.config))
        assert again.config == loaded.config


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_can_be_built(case: Path) -> None:
    loaded = parse("f", case.read_text(encoding="utf-8").partition(RULE)[0], read)
    if loaded.ok:
        assert loaded.config is not None
        # Certificates and authorities are files that nobody read here.
        assert [each for each in dry_compile(loaded.config, Assets()) if "was not read" not in each] == []


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_text_makes_the_reader_raise(data: st.DataObject) -> None:
    """Cut and spliced configurations; anything may come out except an exception."""
    lines = [line for case in CASES for line in case.read_text(encoding="utf-8").partition(RULE)[0].splitlines()]
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=15))
    cut = data.draw(st.integers(0, 40))
    text = "frontend f\n bind *:80\n" + "\n".join(chosen)
    for each in parse("h.cfg", text[: len(text) - cut], read).diagnostics:
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
