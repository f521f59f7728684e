"""A file that is looked at from time to time, for who wants to save it and have it served.

Rules: a change is told by SIGHUP to this process, so that it is a reload like any other, refused where there are mistakes. Only the file
itself counts, not those that it includes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

# How often it is looked at.
WATCH_S = 1.0


class Watch:
    """Has the program that serves read its configuration anew once a file has changed; without a file, nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on, as long as the loop of this moment runs."""
        if self._path is not None:
            self._task = asyncio.get_running_loop().create_task(self._look(self._path))

    async def _look(self, path: Path) -> None:
        known = _changed_at(path)
        while True:
            await asyncio.sleep(WATCH_S)
            at = _changed_at(path)
            # One that is being replaced may be away for a moment.
            if at and at != known:
                known = at
                os.kill(os.getpid(), signal.SIGHUP)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
