"""What a process tree has used: CPU time and resident memory, read from /proc.

Facts. `schedstat` of a thread counts its run time in nanoseconds. `utime` and `stime` in `stat` come in ticks of 10 ms and only
their *proportion* is sampled by the kernel; so the total is taken from `schedstat` and split by that proportion. Both cover soft
interrupts that ran while the thread was on the processor, which on loopback is most of TCP.

Rules. A tree whose set of processes changed between two samples gives no number: a worker that died took its time with it.

Not here: starting and stopping processes (`peer.py`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


class TreeChanged(Exception):
    """The processes of a contender are not those of the sample before."""


@dataclass(frozen=True)
class Cpu:
    """Processor seconds used between two samples, and what part of them, 0 to 1, the busiest process and thread used."""

    total: float
    user: float
    system: float
    busiest_process: float
    busiest_thread: float


@dataclass(frozen=True)
class _One:
    user_ticks: int
    system_ticks: int
    threads: dict[int, int]


@dataclass(frozen=True)
class Sample:
    """The counters of every process of a tree at one moment."""

    processes: dict[int, _One]


def tree(root: int) -> list[int]:
    """Return the ids of `root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat_fields(int(entry.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def sample(root: int) -> Sample:
    """Read the counters of the tree below `root`."""
    return Sample({pid: _read(pid) for pid in tree(root)})


def between(before: Sample, after: Sample) -> Cpu:
    """Return what was used from one sample to the next; raises TreeChanged if processes came or went."""
    if before.processes.keys() != after.processes.keys():
        raise TreeChanged(f"{sorted(before.processes)} became {sorted(after.processes)}")
    total_ns = 0
    busiest_process = 0
    busiest_thread = 0
    user = 0
    system = 0
    for pid, end in after.processes.items():
        start = before.processes[pid]
        # A thread that ended inside the window is missing here; the contenders keep theirs (fixed pools).
        used = [ns - start.threads.get(thread, 0) for thread, ns in end.threads.items()]
        total_ns += sum(used)
        busiest_process = max(busiest_process, sum(used))
        busiest_thread = max(busiest_thread, *used)
        user += end.user_ticks - start.user_ticks
        system += end.system_ticks - start.system_ticks
    total = total_ns / 1e9
    ticks = user + system
    share = user / ticks if ticks else 0.0
    whole = max(total_ns, 1)
    return Cpu(total, total * share, total * (1.0 - share), busiest_process / whole, busiest_thread / whole)


def ticks_between(before: Sample, after: Sample) -> float:
    """Return the same time by the coarse counters, in seconds: a cross-check for `between`."""
    used = 0
    for pid, end in after.processes.items():
        start = before.processes[pid]
        used += end.user_ticks + end.system_ticks - start.user_ticks - start.system_ticks
    return used / _TICK


def resident(root: int) -> int:
    """Return the resident bytes of the tree. Pages shared between processes count once for each."""
    pages = 0
    for pid in tree(root):
        pages += int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * _PAGE


def open_files(root: int) -> dict[str, int]:
    """Return the regular files, deleted ones too, that the tree holds open for writing, with their sizes."""
    found: dict[str, int] = {}
    for pid in tree(root):
        for link in (_PROC / str(pid) / "fd").iterdir():
            try:
                target = os.readlink(link)
                flags = (_PROC / str(pid) / "fdinfo" / link.name).read_text()
                status = link.stat()
            except FileNotFoundError:
                continue
            writable = int(flags.split("flags:")[1].split()[0], 8) & (os.O_WRONLY | os.O_RDWR)
            # A memory file (memfd, "/memfd:name") is no file on a disk, but a body kept in one would be a temporary file.
            if writable and stat.S_ISREG(status.st_mode):
                found[target] = status.st_size
    return found


def written(root: int) -> int:
    """Return the bytes the tree has sent towards storage since it started."""
    count = 0
    for pid in tree(root):
        for line in (_PROC / str(pid) / "io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                count += int(line.split()[1])
    return count


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name in brackets may itself hold blanks and brackets.
    return text[text.rindex(")") + 2 :].split()


def _read(pid: int) -> _One:
    fields = _stat_fields(pid)
    if not fields:
        raise TreeChanged(f"process {pid} went away")
    threads: dict[int, int] = {}
    for entry in (_PROC / str(pid) / "task").iterdir():
        try:
            threads[int(entry.name)] = int((entry / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return _One(int(fields[11]), int(fields[12]), threads)
