"""Files as commands have changed them, for as long as nobody reloads.

Facts: HAProxy's commands change maps, lists of patterns and certificates in memory and never on the disk; what they said is over with the
next reload. A file in memory has a name below `/proc/self/fd` (memfd_create(2)), by which all code that reads files reads it.

Rules: what is served is always what `where` says, so a change that is refused is taken back.

Not here: what commands say (`lists.py`, `pairs.py`).
"""

from __future__ import annotations

import os
from pathlib import Path


class Changes:
    """The changed files, by the path that names them on the disk."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[bytes, int]] = {}
        self.begun = 0
        """How often all of them were forgotten."""

    def where(self, path: Path) -> Path:
        """Return where a file is read from: in memory, if it was changed."""
        held = self._held.get(path)
        return path if held is None else Path(f"/proc/self/fd/{held[1]}")

    def find(self, path: Path) -> bytes | None:
        """Return what a file was changed to; None if it was not."""
        held = self._held.get(path)
        return None if held is None else held[0]

    def put(self, path: Path, data: bytes | None) -> bytes | None:
        """Change a file, or with None have it be what it is on the disk; return what it was changed to before."""
        fd = -1 if data is None else _hold(data)
        before = self._held.pop(path, None)
        if before is not None:
            os.close(before[1])
        if data is not None:
            self._held[path] = (data, fd)
        return None if before is None else before[0]

    def take(self) -> dict[Path, bytes]:
        """Forget all changes; return them."""
        taken = {path: data for path, (data, _) in self._held.items()}
        for path in taken:
            self.put(path, None)
        self.begun += 1
        return taken

    def restore(self, taken: dict[Path, bytes]) -> None:
        """Have changes back that were forgotten, where there is no later one."""
        for path, data in taken.items():
            if path not in self._held:
                self.put(path, data)


def _hold(data: bytes) -> int:
    """Return a file in memory."""
    fd = os.memfd_create("changed", os.MFD_CLOEXEC)
    try:
        rest = data
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        os.close(fd)
        raise
    return fd
