"""What commands said is there after a restart, and a broken file stops nobody."""

from pathlib import Path

import pytest

from vestibule.control.logs import ErrorLog
from vestibule.control.remembered import Remembered


def test_kept_over_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "not" / "yet"
    first = Remembered(ErrorLog(tmp_path), state)
    first.keep({"u a:80": ("drain", -1), "u b:80": ("", 7)})
    first.keep({"u a:80": ("ready", -1)})
    again = Remembered(ErrorLog(tmp_path), state)
    assert again.find("u a:80") == ("ready", -1)
    assert again.find("u b:80") == ("", 7)
    assert again.find("u c:80") is None
    again.forget(["u b:80", "u c:80"])
    assert Remembered(ErrorLog(tmp_path), state).find("u b:80") is None
    assert [path.name for path in state.iterdir()] == ["servers.json"]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"a": 1}', '{"a": {"mode": "x", "weight": 1}}', '{"a": {"mode": "", "weight": "1"}}']
)
def test_a_broken_file_is_told_of(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "servers.json").write_text(text)
    assert Remembered(ErrorLog(tmp_path), tmp_path).find("a") is None
    assert "servers.json" in capfd.readouterr().err


def test_without_a_directory_it_lasts_as_long_as_the_program(tmp_path: Path) -> None:
    one = Remembered(ErrorLog(tmp_path), None)
    one.keep({"a": ("drain", -1)})
    assert one.find("a") == ("drain", -1)


def test_a_directory_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").write_text("a file")
    one = Remembered(ErrorLog(tmp_path), tmp_path / "state" / "deeper")
    one.keep({"a": ("drain", -1)})
    assert one.find("a") == ("drain", -1)
    assert "ends with the program" in capfd.readouterr().err
