"""Who the workers become, and where state is kept."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from vestibule.control.accounts import AccountError, account_of, state_dir_of
from vestibule.model.config import Process

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)


def test_nothing_said_leaves_what_we_are() -> None:
    account = account_of(Process())
    assert (account.uid, account.gid, account.groups) == (-1, -1, ())


@pytest.mark.usefixtures("as_root")
def test_a_user_brings_its_groups_and_a_group_may_differ() -> None:
    account = account_of(Process(user="nobody"))
    assert (account.uid, account.gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert set(account.groups) == set(os.getgrouplist("nobody", NOBODY.pw_gid))
    daemon = grp.getgrnam("daemon").gr_gid
    account = account_of(Process(user="nobody", group="daemon"))
    assert (account.gid, daemon in account.groups) == (daemon, True)
    account = account_of(Process(group="daemon"))
    assert (account.uid, account.gid, account.groups) == (-1, daemon, ())


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("process", "said"),
    [
        (Process(user="no-such-user"), "process.user: there is no user `no-such-user`"),
        (Process(group="no-such-group"), "process.group: there is no group `no-such-group`"),
        (Process(user="nobody", group="no-such-group"), "process.group: there is no group `no-such-group`"),
    ],
)
def test_accounts_that_do_not_exist(process: Process, said: str) -> None:
    with pytest.raises(AccountError, match=said):
        account_of(process)


@pytest.mark.usefixtures("as_nobody")
def test_who_is_not_root_can_only_be_itself() -> None:
    assert account_of(Process(user="nobody")).uid == -1
    with pytest.raises(AccountError, match="only root can become another user"):
        account_of(Process(user="root"))


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.parametrize(
    ("process", "environment", "place"),
    [
        (Process(state_dir="state"), {"STATE_DIRECTORY": "/given"}, "/base/state"),
        (Process(state_dir="/own"), {}, "/own"),
        (Process(), {"STATE_DIRECTORY": "/given:/other", "HOME": "/home/me"}, "/given"),
        (Process(), {"XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/vestibule"),
        (Process(), {"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/vestibule"),
        (Process(), {}, "/.local/state/vestibule"),
    ],
)
def test_where_state_is_kept(process: Process, environment: dict[str, str], place: str) -> None:
    assert state_dir_of(process, Path("/base"), environment) == Path(place)


@pytest.mark.usefixtures("as_root")
def test_where_root_keeps_state() -> None:
    assert state_dir_of(Process(), Path("/base"), {"XDG_STATE_HOME": "/xdg", "HOME": "/root"}) == Path("/var/lib/vestibule")
