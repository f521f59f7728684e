"""tools/last_failed.py: what failed in a run of pytest is named, and a run with many failures is not run again."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "last_failed.py"
BOOK = """
import pytest

@pytest.mark.parametrize("number", range(5))
def test_it(number):
    assert number >= COUNT
"""


def ran(folder: Path, fails: int) -> int:
    """Run a book of five tests of which so many fail; return pytest's status."""
    (folder / "test_book.py").write_text(BOOK.replace("COUNT", str(fails)))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--rootdir", str(folder), str(folder / "test_book.py")]
    return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode


def judged(folder: Path, *options: str) -> tuple[int, list[str]]:
    """Ask the tool in this folder; return its status and its lines."""
    done = subprocess.run([sys.executable, str(TOOL), *options], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("fails, status", [(0, 1), (1, 0), (3, 0), (4, 1)])
def test_a_few_are_run_again(tmp_path: Path, fails: int, status: int) -> None:
    assert ran(tmp_path, fails) == (1 if fails else 0)
    names = [f"failed: test_book.py::test_it[{number}]" for number in range(fails)]
    refused = ["4 tests failed, more than 3: none is run again"] if fails == 4 else []
    assert judged(tmp_path, "--most", "3") == (status, names + refused)


def test_without_a_bound_any_number_will_do(tmp_path: Path) -> None:
    assert judged(tmp_path) == (1, [])
    ran(tmp_path, 5)
    assert judged(tmp_path)[0] == 0
