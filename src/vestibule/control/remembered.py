"""What commands said of servers, kept in a file so that a restart does not undo it.

Facts: whoever takes a server out for repair does not expect an update of the proxy to bring it back.

Rules
  The file is whole or as it was before. One that cannot be read or written is told of and changes nothing else: commands then
  hold until the end of the program.

Not here: what commands mean (`health.py`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from vestibule.control.logs import ErrorLog

_NAME = "servers.json"
_MODES = ("", "ready", "drain", "maintenance")


class Remembered:
    """Modes and weights of servers by their keys; a weight of -1 is that of the configuration."""

    def __init__(self, journal: ErrorLog, state_dir: Path | None) -> None:
        self._journal = journal
        self._path = None if state_dir is None else state_dir / _NAME
        self._said: dict[str, tuple[str, int]] = {}
        if self._path is not None:
            try:
                self._said = _parse(json.loads(self._path.read_text()))
            except FileNotFoundError:
                pass  # no command said anything yet
            except (OSError, ValueError) as bad:
                journal.warning("upstream.not_remembered", f"{self._path}: {bad}; what commands said of servers is forgotten")

    def find(self, key: str) -> tuple[str, int] | None:
        """Return mode and weight of a server, if a command said any."""
        return self._said.get(key)

    def keep(self, said: dict[str, tuple[str, int]]) -> None:
        """Remember this of these servers."""
        self._said.update(said)
        self._write()

    def forget(self, keys: list[str]) -> None:
        """Remember nothing of these servers."""
        known = [key for key in keys if key in self._said]
        for key in known:
            del self._said[key]
        if known:
            self._write()

    def _write(self) -> None:
        path = self._path
        if path is None:
            return
        data = {key: {"mode": mode, "weight": weight} for key, (mode, weight) in sorted(self._said.items())}
        fresh = path.with_suffix(".new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(json.dumps(data, indent=1) + "\n")
            os.replace(fresh, path)
        except OSError as bad:
            self._journal.warning("upstream.not_remembered", f"{path}: {bad.strerror}; what the command said ends with the program")


def _parse(data: object) -> dict[str, tuple[str, int]]:
    """Read the file's content. Raises ValueError where it is something else."""
    said: dict[str, tuple[str, int]] = {}
    if not isinstance(data, dict):
        raise ValueError("not a table of servers")
    for key, each in data.items():
        mode = each.get("mode") if isinstance(each, dict) else None
        weight = each.get("weight") if isinstance(each, dict) else None
        if mode not in _MODES or not isinstance(weight, int) or weight < -1:
            raise ValueError(f"{key} is not understood")
        said[key] = (mode, weight)
    return said
