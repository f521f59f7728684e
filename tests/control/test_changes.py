"""Files as commands changed them: in memory, read as files are, and forgotten with a reload."""

import os
from pathlib import Path

import pytest

from vestibule.control.changes import Changes
from vestibule.control.source import ConfigFile, Included


def test_a_changed_file_is_read_where_it_is_now(tmp_path: Path) -> None:
    changes = Changes()
    path = tmp_path / "a.map"
    path.write_text("disk")
    assert changes.where(path) == path
    assert changes.put(path, b"first") is None
    assert changes.where(path).read_bytes() == b"first"
    assert changes.put(path, b"second" * 100_000) == b"first"
    assert changes.where(path).read_bytes() == b"second" * 100_000
    assert changes.find(path) == b"second" * 100_000
    changes.put(path, None)
    assert changes.where(path).read_text() == "disk"
    assert changes.find(path) is None


def test_all_are_forgotten_and_had_back(tmp_path: Path) -> None:
    changes = Changes()
    path = tmp_path / "b.map"
    changes.put(path, b"kept")
    taken = changes.take()
    assert (taken, changes.find(path), changes.begun) == ({path: b"kept"}, None, 1)
    changes.restore(taken)
    assert changes.where(path).read_bytes() == b"kept"


def test_a_configuration_includes_what_is_changed(tmp_path: Path) -> None:
    (tmp_path / "c.conf").write_text("disk")
    changes = Changes()
    included = Included(tmp_path, changes)
    changes.put(tmp_path / "c.conf", "ünïcode".encode())
    assert included("c.conf") == "ünïcode"
    assert ConfigFile(str(tmp_path / "d.toml")).changes.take() == {}


def test_what_was_changed_meanwhile_is_not_undone(tmp_path: Path) -> None:
    """A reload is refused while another command changes a file."""
    changes = Changes()
    for name in ("a", "b"):
        changes.put(tmp_path / name, b"old")
    taken = changes.take()
    changes.put(tmp_path / "a", b"new")
    changes.restore(taken)
    assert (changes.find(tmp_path / "a"), changes.find(tmp_path / "b")) == (b"new", b"old")
    changes.take()


def test_a_change_that_cannot_be_held_leaves_the_one_before(tmp_path: Path) -> None:
    """The kernel takes no name of a file in memory of more than 249 bytes, and may be out of descriptors."""
    changes = Changes()
    path = tmp_path / ("x" * 255)
    changes.put(path, b"old")
    with pytest.MonkeyPatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(os, "memfd_create", _full)
        changes.put(path, b"new")
    assert changes.find(path) == b"old" and changes.where(path).read_bytes() == b"old"
    changes.take()


def _full(name: str, flags: int) -> int:
    raise OSError("full")
