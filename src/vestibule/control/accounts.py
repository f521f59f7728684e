"""Who the program is, and where it keeps its things.

Facts: only root may become another user (setuid(2)). systemd names the state directory of a service in STATE_DIRECTORY; the
desktop's convention is XDG_STATE_HOME.

Rules: the control process keeps the rights it was started with: it must be able to open ports, keys and logs again at a reload. It
reads nothing that clients send. The workers, which do, lose theirs between fork and exec.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from vestibule.control.process import Account
from vestibule.model.config import Process


class AccountError(Exception):
    """The account of `process.user` or `process.group` cannot be used; the text says why and how to mend it."""


def account_of(process: Process) -> Account:
    """Return who the workers become. Raises `AccountError`."""
    if not process.user and not process.group:
        return Account()
    uid, gid = -1, -1
    groups: list[int] = []
    try:
        if process.user:
            entry = pwd.getpwnam(process.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        if process.group:
            gid = grp.getgrnam(process.group).gr_gid
    except KeyError:
        wrong = (
            f"process.group: there is no group `{process.group}`"
            if uid >= 0 or not process.user
            else f"process.user: there is no user `{process.user}`"
        )
        raise AccountError(f"{wrong}; make it with adduser(8) or name another") from None
    if process.user:
        groups = os.getgrouplist(process.user, gid)
    if os.geteuid() != 0:
        if uid in (-1, os.geteuid()) and gid in (-1, os.getegid()):
            return Account()
        raise AccountError("process.user: only root can become another user; start vestibule as root or leave `user` and `group` out")
    return Account(uid, gid, groups)


def state_dir_of(process: Process, base: Path, environment: Mapping[str, str]) -> Path:
    """Return the directory for what outlives the program, without making it."""
    if process.state_dir:
        return base / process.state_dir
    # systemd joins several directories with colons; the first is ours.
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/vestibule")
    home = environment.get("XDG_STATE_HOME", "")
    if home.startswith("/"):
        return Path(home) / "vestibule"
    return Path(environment.get("HOME") or "/").joinpath(".local", "state", "vestibule")
