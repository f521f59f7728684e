"""Conditions on the program: which hold, and what is none."""

import pytest

from vestibule.dialects.haproxy.condition import ConditionError, holds
from vestibule.dialects.haproxy.lexer import read_lines
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.record import Record

ENVIRONMENT = {"HOME": "/root"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("0", False),
        ("1", True),
        ("true", True),
        ("!true", False),
        ("defined(HOME)", True),
        ("defined(NOPE)", False),
        ("!defined(NOPE) && feature(OPENSSL)", True),
        ("feature(LUA) || version_before(2.6)", False),
        ("feature(LUA) || (true && !false)", True),
        ("version_atleast(2.6-dev5)", True),
        ('streq("a", "a")', True),
        ("strneq(a,a)", False),
        ("strstr(abc,b)", True),
        ("true || nope(1)", None),
        ("(true", None),
        ("true)", None),
        ("nonsense", None),
        ("&& true", None),
        ("version_atleast(x)", None),
        ("streq(a)", None),
        ("streq(\"a b\",'a b')", True),
        ("streq('a,b',\"a,b\")", True),
        ('streq("$HOME","/root")', True),
        ("streq('$HOME',\"${HOME}\")", False),
        ("streq(')',')')", True),
        ('streq(a,"a)', None),
        ("-1000 && 200", True),
        ("200rrr", None),
    ],
)
def test_condition(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(ConditionError):
            holds(text, ENVIRONMENT)
    else:
        assert holds(text, ENVIRONMENT) is expected


def read(text: str, environment: dict[str, str] | None = None) -> tuple[list[list[str]], list[str]]:
    record = Record("h.cfg")
    lines = read_lines("h.cfg", text, Report(record), environment)
    return [line.texts() for line in lines], [each.render() for each in record.merge(())]


def test_blocks_choose_lines() -> None:
    text = 'a\n.if defined(HOME)\nb\n.if false\nc\n.else\nd\n.endif\n.elif true\ne\n.else\nf\n.endif\n.if false\n$( "\n.endif\ng\n'
    assert read(text, ENVIRONMENT) == ([["a"], ["b"], ["d"], ["g"]], [])


@pytest.mark.parametrize("text", [".if true\n", ".endif\n", ".else\n", ".if nope\n.endif\n", ".frob\n"])
def test_bad_blocks_are_told(text: str) -> None:
    assert len(read(text, ENVIRONMENT)[1]) == 1


def test_alerts_are_errors_where_they_are_read() -> None:
    text = '.if version_before(2.0)\n.alert "too old"\n.endif\n.warning "think"\n'
    assert read(text, ENVIRONMENT)[1] == ["h.cfg:4:1: warning: think"]


def test_variables_stand_for_their_values() -> None:
    assert read('bind "${HOME}:$HOME" "${NOPE-x}" "$NOPE" \'$HOME\'\n', ENVIRONMENT)[0] == [["bind", "/root:/root", "x", "", "$HOME"]]
    assert "is not read" in read('a "$HOME"\n')[1][0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bind ${IP}:80,$IP:81", ["bind", "192.0.2.1:80,192.0.2.1:81"]),
        ("server ${IP} ${IP}:$PORT check addr ${IP}", ["server", "${IP}", "192.0.2.1:2283", "check", "addr", "192.0.2.1"]),
        ("server a [::1]:${NONE-80} cookie $IP", ["server", "a", "[::1]:80", "cookie", "$IP"]),
        ("server a '${IP}:80'", ["server", "a", "${IP}:80"]),
        ("log ${IP} local0", ["log", "192.0.2.1", "local0"]),
        ("acl a path ${IP}", ["acl", "a", "path", "${IP}"]),
    ],
)
def test_addresses_have_variables_without_quotes(line: str, words: list[str]) -> None:
    assert read(line, {"IP": "192.0.2.1", "PORT": "2283"}) == ([words], [])
