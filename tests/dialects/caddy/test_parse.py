"""Caddyfile to model: the golden cases, and what they cannot show.

A case is a Caddyfile, a line of dashes, and what comes of it: the diagnostics, and if none of them is an error the model
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
from vestibule.dialects.caddy import parse
from vestibule.dialects.toml import parse as parse_toml
from vestibule.dialects.toml import write
from vestibule.link.messages import Assets
from vestibule.model.wire import to_data

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
RULE = "\n----------\n"
FILES = {
    "common.caddy": "encode gzip\nheader X-Common {args[0]}\n",
    "sites/a.caddy": "a.example.net {\n\treverse_proxy a:80\n}\n",
    "sites/b.caddy": "b.example.net {\n\treverse_proxy b:80\n}\n",
    "loop.caddy": "import loop.caddy\n",
}


class Read:
    """The files that cases import."""

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
    loaded = parse("Caddyfile", text, read)
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
    loaded = parse("Caddyfile", case.read_text(encoding="utf-8").partition(RULE)[0], read)
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
    text = "\n".join(chosen)
    for each in parse("Caddyfile", text[: len(text) - cut], read).diagnostics:
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
