"""The key that marks of sticky clients are signed with.

Facts: a client keeps its mark for as long as its cookie lives, which is longer than a process does; so the key is in a file.

Rules: whoever cannot write the state directory has a key for this run; clients then get new marks after a restart, no worse.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_BYTES = 32
_NAME = "mark.key"


def mark_key(state_dir: Path) -> str:
    """Return the key in hex: that of the state directory, or a new one, which is put there."""
    path = state_dir / _NAME
    try:
        kept = path.read_text().strip()
        if len(kept) == _BYTES * 2 and not set(kept) - set("0123456789abcdef"):
            return kept
    except (OSError, UnicodeDecodeError):
        pass
    key = secrets.token_hex(_BYTES)
    draft = path.with_name(f"{_NAME}.{os.getpid()}")
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w") as file:
            file.write(key)
        draft.replace(path)
    except OSError:
        # It holds for this run.
        pass
    return key
