"""What stands below a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vestibule.plan import lookup
from vestibule.plan.expr import EXCHANGE, Const
from vestibule.plan.lookup import DIRECTORY, FILE, FORBIDDEN, NOTHING, Executable, Existing, look, name_of

from .fakes import idle


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a b.txt").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path).encode()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/a%20b.txt", b"/a%20b.txt"),
        (b"a b.txt", b"/a b.txt"),
        (b"/sub/../a%20b.txt", b"/sub/../a%20b.txt"),
        (b"/sub/", b"/sub/"),
        (b"", b"/"),
        (b"/sub", None),
        (b"/a%20b.txt/", None),
        (b"/pipe", None),
        (b"/none", None),
        (b"/../x", None),
        (b"/a%2Fb", None),
        (b"/a%zz", None),
        (b"/a%00", None),
    ],
)
def test_existing(root: bytes, path: bytes, found: bytes | None) -> None:
    node = Existing(root + b"/", Const(path))
    assert node.scope == EXCHANGE
    assert node.find(idle()) == found


def test_what_a_name_is(root: bytes) -> None:
    names = [root + b"/sub", root + b"/a b.txt", root + b"/pipe", root + b"/none", b"\0"]
    assert [look(name) for name in names] == [DIRECTORY, FILE, NOTHING, NOTHING, NOTHING]


@pytest.mark.interpreted_only
def test_what_may_not_be_looked_at_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: bytes) -> os.stat_result:
        raise PermissionError

    monkeypatch.setattr(lookup.os, "stat", refuse)
    assert look(b"/x") == FORBIDDEN


def test_names() -> None:
    assert name_of(b"/r", b"/100%25") == b"/r/100%"
    assert name_of(b"/r", b"/a%2Fb") == name_of(b"/r", b"/\0") == b""


def test_what_its_owner_may_execute(root: bytes) -> None:
    (Path(os.fsdecode(root)) / "run").write_text("")
    (Path(os.fsdecode(root)) / "run").chmod(0o500)

    def find(path: bytes) -> bytes | None:
        return Executable(root, Const(path)).find(idle())

    assert [find(each) for each in (b"/run", b"run", b"/sub", b"/a%20b.txt", b"/none", b"/../x")] == [
        b"/run",
        b"/run",
        b"/sub",
        None,
        None,
        None,
    ]
