"""nginx's language to model: the golden cases, and what they cannot show.

A case is a configuration, a line of dashes, and what comes of it: the diagnostics, and if none of them is an error the model as
JSON without what has its default value or is as in any configuration of nginx.
"""

from __future__ import annotations

import dataclasses
import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestibule.dialects.nginx import parse
from vestibule.dialects.nginx.directives import DIRECTIVES, How
from vestibule.dialects.toml import parse as parse_toml
from vestibule.dialects.toml import write
from vestibule.model.wire import to_data

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
RULE = "\n----------\n"
SOURCES = Path(parse.__code__.co_filename).parent


class Files:
    """What cases include."""

    texts: ClassVar[dict[str, str]] = {
        "proxy.conf": "proxy_set_header Host $http_host;\n",
        "sites/a.conf": "server { server_name a.example; return 204; }\n",
        "sites/b.conf": "server { server_name b.example; return 204; }\n",
        "broken.conf": "server {\n  listen 80\n}\n",
        "loop.conf": "include loop.conf;\n",
        "users": "# people\nalice:$apr1$ABCDEFGH$0123456789012345678901\nbob:{PLAIN}secret\n",
    }

    def __call__(self, path: str) -> str:
        if path not in self.texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.texts[path]

    def find_files(self, pattern: str) -> list[str]:
        return [name for name in sorted(self.texts) if fnmatch(name, pattern)]


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


USUAL = parse("usual", "server { return 204; }").config


def outcome(text: str) -> str:
    """What comes of a text, as a case expects it."""
    loaded = parse("n.conf", text, Files())
    lines = [each.render() for each in loaded.diagnostics]
    if loaded.ok:
        shown = brief(loaded.config)
        assert isinstance(shown, dict)
        for name in ("timeouts", "limits", "forwarding"):
            if getattr(loaded.config, name) == getattr(USUAL, name):
                shown.pop(name, None)
        lines.append(json.dumps(shown, indent=1, ensure_ascii=False))
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
    loaded = parse("n.conf", case.read_text(encoding="utf-8").partition(RULE)[0], Files())
    if loaded.ok:
        assert loaded.config is not None
        again = parse_toml("again.toml", write(loaded.config, loaded.place))
        assert again.config == loaded.config


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


def test_every_supported_directive_is_looked_at() -> None:
    """None is parsed and forgotten: its name stands somewhere in the code that lowers, outside the table."""
    code = "\n".join([path.read_text() for path in SOURCES.glob("*.py") if path.name != "directives.py"])
    names = set(re.findall(r'"([a-z0-9_]+)"', code))
    # Nothing is hidden in the first place, so there is nothing to pass.
    names.add("proxy_pass_header")
    missing = [row.name for row in DIRECTIVES.values() if row.how is How.SUPPORTED and row.name not in names]
    assert missing == []


def test_what_is_moved_says_where_it_was_written() -> None:
    text = "upstream up { server a; }\nserver {\n  location / { proxy_pass http://up; }\n  location /b { return 204; }\n}"
    loaded = parse("n.conf", text)
    assert loaded.config is not None
    comments = [line for line in write(loaded.config, loaded.place).splitlines() if line.startswith("#")]
    assert comments == ["# n.conf:2:1", "# n.conf:1:1", "# n.conf:2:1", "# n.conf:3:3", "# n.conf:4:3"]


def test_including_a_directory_that_does_not_match_is_no_mistake() -> None:
    assert parse("n.conf", "include nothing/*.conf; server { return 204; }", Files()).ok


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="server{};listen 80#\"'\\$\n(location/=~", max_size=60))
def test_no_text_raises(text: str) -> None:
    loaded = parse("n.conf", text)
    assert loaded.config is not None or loaded.diagnostics


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*DIRECTIVES, "on", "off", "80", "/", "{", "}", ";", ";", "$host", "~", "http://a"]), max_size=25))
def test_no_order_of_words_raises(words: list[str]) -> None:
    assert parse("n.conf", " ".join(words)).diagnostics is not None
