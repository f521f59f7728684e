"""What stands below a directory, for those who serve it or only ask.

Facts: a FIFO, a socket or a device has a name, too, and is no file that could be sent.

Rules
  A path is looked at in normal form, so no segment climbs; a separator or NUL in an encoded byte is no file. Symbolic links
  are followed: who may make one in the directory decides what is found.
  What is found is of this moment, so nothing is kept.

Not here: sending files (`sources/files.py`).
"""

import os
import stat
from typing import Final

from vestibule.exchange import Exchange
from vestibule.fault import ProtocolError
from vestibule.http.target import normal_path
from vestibule.plan.expr import EXCHANGE, Node

# What stands at a path.
NOTHING: Final = 0
FILE: Final = 1
DIRECTORY: Final = 2
FORBIDDEN: Final = 3


def look(name: bytes) -> int:
    """Return what stands at a name of the system."""
    try:
        mode = os.stat(name).st_mode
    except PermissionError:
        return FORBIDDEN
    except (OSError, ValueError):
        return NOTHING
    if stat.S_ISREG(mode):
        return FILE
    return DIRECTORY if stat.S_ISDIR(mode) else NOTHING


def name_of(root: bytes, path: bytes) -> bytes:
    """Return the system's name of a path in normal form below a root without `/` at its end; empty where it can be none."""
    if path.find(b"%2F") >= 0 or path.find(b"\0") >= 0:
        return b""
    return root + path.replace(b"%25", b"%")


class _Below(Node):
    """A path, if what stands there below a directory is as it must be."""

    def __init__(self, root: bytes, path: Node) -> None:
        super().__init__(EXCHANGE)
        self._root = root.rstrip(b"/")
        self._path = path

    def find(self, ex: Exchange) -> bytes | None:
        path = self._path.text(ex)
        wanted = path if path[:1] == b"/" else b"/" + path
        try:
            name = name_of(self._root, normal_path(wanted))
        except ProtocolError:
            return None
        return wanted if name and self.fits(name) else None

    def fits(self, name: bytes) -> bool:
        """Tell whether what stands at a name of the system is as it must be."""
        raise NotImplementedError


class Existing(_Below):
    """A path, if something stands there below a directory: a directory where the path ends with `/`, else a file."""

    def fits(self, name: bytes) -> bool:
        return look(name.rstrip(b"/") or b"/") == (DIRECTORY if name[-1:] == b"/" else FILE)


class Executable(_Below):
    """A path, if what stands there below a directory may be executed by its owner."""

    def fits(self, name: bytes) -> bool:
        try:
            return bool(os.stat(name).st_mode & stat.S_IXUSR)
        except (OSError, ValueError):
            return False
