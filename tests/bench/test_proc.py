"""Reading a tree of processes from /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import proc

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
child.stdin.close()
child.wait(10)
"""


def test_tree_holds_descendants_and_a_change_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        child = int((lines - {"up"}).pop())
        assert set(proc.tree(parent.pid)) == {parent.pid, child}
        before = proc.sample(parent.pid)
        used = proc.between(before, proc.sample(parent.pid))
        assert 0.0 <= used.total < 5.0
        assert used.user + used.system == pytest.approx(used.total)
        alone = proc.Sample({parent.pid: before.processes[parent.pid]})
        with pytest.raises(proc.TreeChanged, match=str(child)):
            proc.between(before, alone)
        assert proc.resident(parent.pid) > proc.resident(child) > 1_000_000
        parent.stdin.close()


def test_own_work_is_counted() -> None:
    before = proc.sample(os.getpid())
    sum(range(300_000))
    used = proc.between(before, proc.sample(os.getpid()))
    assert used.total > 0.0005
    assert used.busiest_thread <= used.busiest_process <= 1.0


def test_files_open_for_writing_are_found(tmp_path: Path) -> None:
    path = tmp_path / "body"
    with path.open("wb") as out:
        out.write(b"x" * 5000)
        out.flush()
        assert proc.open_files(os.getpid())[str(path)] == 5000
    assert str(path) not in proc.open_files(os.getpid())
    with path.open("rb"):
        assert str(path) not in proc.open_files(os.getpid())
