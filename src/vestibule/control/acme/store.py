"""Where accounts, certificates and unfinished orders are kept, and the locks that let several processes share them.

Facts: rename(2) within a directory replaces a file whole or not at all, and is lasting once the directory is synced too. flock(2)
belongs to the open file, so the kernel lets go of it when its holder dies, however that happens.

Rules:
* Keys are paths of plain names with `/` between. Values are bytes. A value is whole or absent, also after a crash.
* Directories are 0700 and files 0600: all of it is secret.
* Whoever changes what belongs to a name holds the lock of that name.

Not here: what is kept (`records.py`). Another store, shared by several machines, has to offer what `Store` says and no more.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from vestibule.control.certs import write_private

_SAFE = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_LOCK_LOOK_S = 0.1


class StoreError(Exception):
    """The store cannot be read or written; the text says where and why."""


class StoreBusy(Exception):
    """Another process holds the lock and did not let go in time."""


class Store(Protocol):
    """What is asked of a store."""

    def read(self, key: str) -> bytes | None:
        """Return a value, or None if there is none. Raises `StoreError`."""

    def write(self, key: str, value: bytes) -> None:
        """Keep a value, lasting when this returns. Raises `StoreError`."""

    def delete(self, key: str) -> None:
        """Forget a value, if there is one. Raises `StoreError`."""

    def keys(self, folder: str) -> list[str]:
        """Return the keys directly in a folder, sorted. Raises `StoreError`."""

    @contextmanager
    def lock(self, name: str, patience_s: float) -> Iterator[None]:
        """Hold the lock of a name, among all processes. Raises `StoreBusy`, `StoreError`."""
        yield


class DirectoryStore:
    """A store that is a directory. `private` makes it on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as bad:
            raise _explained(bad, self.root) from None

    def write(self, key: str, value: bytes) -> None:
        path = self._path(key)
        try:
            self._make(path.parent)
            write_private(path, value)
            _sync(path.parent)
        except OSError as bad:
            raise _explained(bad, self.root) from None

    def delete(self, key: str) -> None:
        try:
            path = self._path(key)
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync(path.parent)
        except OSError as bad:
            raise _explained(bad, self.root) from None

    def keys(self, folder: str) -> list[str]:
        try:
            names = [each.name for each in self._path(folder).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as bad:
            raise _explained(bad, self.root) from None
        # A name that begins with a dot is half written, by a process that may be dead.
        return sorted(f"{folder}/{name}" for name in names if not name.startswith("."))

    @contextmanager
    def lock(self, name: str, patience_s: float) -> Iterator[None]:
        path = self._path(f"locks/{name}.lock")
        try:
            self._make(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as bad:
            raise _explained(bad, self.root) from None
        try:
            end = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise StoreBusy(f"another process has worked on {name} for {patience_s:.0f} s") from None
                    time.sleep(_LOCK_LOOK_S)
            yield
        finally:
            # The file stays: who removes it would take the lock away from under somebody who just opened it.
            os.close(fd)

    def _path(self, key: str) -> Path:
        if not _SAFE.fullmatch(key):
            raise StoreError(f"`{key}` is no key")
        return self.root / key

    def _make(self, folder: Path) -> None:
        """Make a folder below the root, private at every level, whatever the umask says."""
        missing: list[Path] = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            try:
                each.mkdir(mode=0o700)
                _sync(each.parent)
            except FileExistsError:
                pass  # another process was quicker


def safe_name(names: tuple[str, ...], salt: str = "") -> str:
    """Return a key for a set of names: the first, readable, and a hash of all."""
    digest = hashlib.sha256(" ".join([*names, salt]).encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9.-]", "_", names[0].lower().replace("*", "wildcard")).lstrip("._-")[:80]
    return f"{readable or 'name'}-{digest}"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _explained(bad: OSError, root: Path) -> StoreError:
    return StoreError(f"{bad.filename or root}: {bad.strerror}; name a directory that vestibule may write with process.state_dir")
