"""nginx's language to model: the golden cases, and what they cannot show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.golden import Golden

from vestibule.dialects.nginx import parse
from vestibule.dialects.nginx.directives import DIRECTIVES, STREAM, How
from vestibule.dialects.toml import write

SOURCES = Path(parse.__code__.co_filename).parent


FILES = {
    "proxy.conf": "proxy_set_header Host $http_host;\n",
    "sites/a.conf": "server { server_name a.example; return 204; }\n",
    "sites/b.conf": "server { server_name b.example; return 204; }\n",
    "broken.conf": "server {\n  listen 80\n}\n",
    "loop.conf": "include loop.conf;\n",
    "odd": "alice:saltOldDesCrypt\nbob:{PLAIN}secret\nnocolon\n",
    "users": "# people\nalice:$apr1$ABCDEFGH$0123456789012345678901\nbob:{PLAIN}secret\n",
}
GOLDEN = Golden(__file__, "n.conf", parse, FILES, usual=parse("usual", "server { return 204; }").config)
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


def test_every_supported_directive_is_looked_at() -> None:
    """None is parsed and forgotten: its name stands somewhere in the code that lowers, outside the table."""
    code = "\n".join([path.read_text() for path in SOURCES.glob("*.py") if path.name != "directives.py"])
    names = set(re.findall(r'"([a-z0-9_]+)"', code))
    # A hello is looked at where a route asks for what is in it.
    names.add("ssl_preread")
    missing = [row.name for row in (*DIRECTIVES.values(), *STREAM.values()) if row.how is How.SUPPORTED and row.name not in names]
    assert missing == []


def test_what_is_moved_says_where_it_was_written() -> None:
    text = "upstream up { server a; }\nserver {\n  location / { proxy_pass http://up; }\n  location /b { return 204; }\n}"
    loaded = parse("n.conf", text)
    assert loaded.config is not None
    comments = [line for line in write(loaded.config, loaded.place).splitlines() if line.startswith("#")]
    assert comments == ["# n.conf:2:1", "# n.conf:1:1", "# n.conf:2:1", "# n.conf:3:3", "# n.conf:4:3"]


def test_including_a_directory_that_does_not_match_is_no_mistake() -> None:
    assert parse("n.conf", "include nothing/*.conf; server { return 204; }", GOLDEN.files).ok


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="server{};listen 80#\"'\\$\n(location/=~", max_size=60))
def test_no_text_raises(text: str) -> None:
    loaded = parse("n.conf", text)
    assert loaded.config is not None or loaded.diagnostics


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*DIRECTIVES, "on", "off", "80", "/", "{", "}", ";", ";", "$host", "~", "http://a"]), max_size=25))
def test_no_order_of_words_raises(words: list[str]) -> None:
    assert parse("n.conf", " ".join(words)).diagnostics is not None
