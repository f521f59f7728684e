"""The measure of what each file's own tests cover: what it compares, keeps and writes."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "coverage_by_file.py"))
Reached = TOOL["Reached"]

ROW = {"lines": 90, "branches": 80}


def test_a_file_that_falls_is_named_with_what_it_misses() -> None:
    fallen, notes = TOOL["compare"]({"a.py": Reached(90, 79, "3-5 9->exit")}, {"a.py": ROW})
    assert fallen == ["a.py: its own tests reach 79 % of its branches, not 80 %; missed: 3-5 9->exit"]
    assert notes == []


def test_a_file_that_rises_is_told_and_does_not_fail() -> None:
    fallen, notes = TOOL["compare"]({"a.py": Reached(95, 80, "")}, {"a.py": ROW})
    assert fallen == []
    assert notes == ["a.py: lines can go up from 90 to 95"]


def test_what_a_machine_cannot_run_is_not_compared() -> None:
    fallen, notes = TOOL["compare"]({"a.py": Reached(10, 80, "3", partly=True)}, {"a.py": ROW})
    assert fallen == []
    assert notes == ["a.py: not compared, because some of its tests are skipped on this machine"]


@pytest.mark.parametrize(("lines", "branches", "count"), [(100, 100, 0), (0, 0, 2)])
def test_a_new_file_needs_its_tests(lines: int, branches: int, count: int) -> None:
    fallen, notes = TOOL["compare"]({"new.py": Reached(lines, branches, "")}, {})
    assert (len(fallen), notes) == (count, [])


def test_the_table_is_written_as_it_is_read() -> None:
    table = {"b.py": {"lines": 100, "branches": 100}, "a.py": {"lines": 1, "branches": 2, "why": 'the "kernel" says so'}}
    assert tomllib.loads(TOOL["render"](table)) == table


@pytest.mark.parametrize(("now", "why"), [(Reached(99, 100, "7"), "old"), (Reached(100, 100, ""), None)])
def test_a_reason_stays_while_something_is_missing(tmp_path: Path, now: object, why: str | None) -> None:
    accept = TOOL["accept"]
    accept.__globals__["TABLE"] = tmp_path / "table.toml"
    accept({"a.py": now}, {"a.py": {"lines": 1, "branches": 1, "why": "old"}, "gone.py": dict(ROW)}, True)
    written = tomllib.loads((tmp_path / "table.toml").read_text())
    assert list(written) == ["a.py"]
    assert written["a.py"].get("why") == why


def test_ranges() -> None:
    assert TOOL["_ranges"]([9, 3, 5, 4]) == ["3-5", "9"]
    assert TOOL["_ranges"]([]) == []


def test_a_percent_is_never_rounded_up() -> None:
    assert TOOL["_percent"](999, 1000) == 99
    assert TOOL["_percent"](0, 0) == 100


def test_what_a_place_depends_on_changes_its_digest(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    before = TOOL["_digest"]([one, other])
    assert TOOL["_digest"]([one, other]) == before
    other.write_text("")
    assert TOOL["_digest"]([one, other]) != before


def test_every_source_file_is_measured_once() -> None:
    names = [name for files in TOOL["places"]().values() for name in files]
    assert sorted(names) == TOOL["MIRROR"]["sources"]()


def test_a_changed_test_or_source_asks_for_its_file() -> None:
    is_among = TOOL["_is_among"]
    assert is_among("http/h1.py", "http/test_h1.py", ["src/vestibule/http/h1.py"])
    assert is_among("http/h1.py", "http/test_h1.py", ["tests/http/test_h1.py"])
    assert is_among("plan/steps/deny.py", "plan", ["tests/plan/test_deny.py"])
    assert not is_among("http/h1.py", "http/test_h1.py", ["tests/http/test_h11.py", "src/vestibule/http/h2.py"])


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no source file"):
        TOOL["wanted"](["http/h9.py"], None)
    assert TOOL["wanted"](["http/h1.py"], None) == {"http/test_h1.py": ["http/h1.py"]}
