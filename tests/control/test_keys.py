"""The key of marks: kept, private, and replaced when it is none."""

from pathlib import Path

from vestibule.control.keys import mark_key


def test_the_key_is_kept_for_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = mark_key(folder)
    assert len(bytes.fromhex(key)) == 32 and mark_key(folder) == key
    assert (folder / "mark.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["mark.key"]


def test_what_is_no_key_is_replaced(tmp_path: Path) -> None:
    for text in ("", "zz" * 32, "ab"):
        (tmp_path / "mark.key").write_text(text)
        key = mark_key(tmp_path)
        assert len(key) == 64 and mark_key(tmp_path) == key


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(mark_key(tmp_path / "file" / "state")) == 64
