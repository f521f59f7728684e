"""The error log's lines and limits, and the files of access logs."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from vestibule.control.logs import BURST, WINDOW_S, AccessLogFiles, ErrorLog, LogError, access_log_paths, syslog_hosts
from vestibule.model.config import AccessLog, Config, Proxy, Respond, Route, Site, Switch, Syslog
from vestibule.model.config import ErrorLog as ErrorLogModel


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> ErrorLog:
    log = ErrorLog(tmp_path, clock)
    log.open_target("error.log", "info")
    return log


def test_a_line_is_an_object(journal: ErrorLog, tmp_path: Path) -> None:
    journal.write("warning", "upstream.refused", "it is\ndown", kind="not the kind", upstream="immich")
    (line,) = lines(tmp_path / "error.log")
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "kind": "upstream.refused", "message": "it is\ndown", "upstream": "immich"}


def test_levels_below_the_least_are_left_out(journal: ErrorLog, tmp_path: Path) -> None:
    journal.debug("a", "no")
    journal.info("a", "yes")
    journal.open_target("error.log", "error")
    journal.warning("a", "no")
    journal.error("a", "yes")
    assert [each["message"] for each in lines(tmp_path / "error.log")] == ["yes", "yes"]


def test_a_flood_of_one_kind_is_counted_and_others_pass(journal: ErrorLog, clock: Clock, tmp_path: Path) -> None:
    for _ in range(BURST + 7):
        journal.error("flood", "again")
    journal.error("other", "heard")
    assert len(lines(tmp_path / "error.log")) == BURST + 1
    clock.now += WINDOW_S
    journal.error("flood", "later")
    told = lines(tmp_path / "error.log")[-2:]
    assert told[0]["suppressed"] == 7
    assert told[1]["message"] == "later"


def test_the_end_tells_what_was_left_out(journal: ErrorLog, tmp_path: Path) -> None:
    for _ in range(BURST + 2):
        journal.error("flood", "again")
    journal.flush()
    journal.flush()
    told = [each for each in lines(tmp_path / "error.log") if "suppressed" in each]
    assert [each["suppressed"] for each in told] == [2]


def test_off_writes_nothing(journal: ErrorLog, tmp_path: Path) -> None:
    journal.open_target("off", "debug")
    journal.error("a", "b")
    assert lines(tmp_path / "error.log") == []


def test_reopen_follows_a_rotation(journal: ErrorLog, tmp_path: Path) -> None:
    journal.info("a", "old")
    (tmp_path / "error.log").rename(tmp_path / "error.log.1")
    journal.info("a", "old too")
    journal.reopen()
    journal.info("a", "new")
    assert [each["message"] for each in lines(tmp_path / "error.log.1")] == ["old", "old too"]
    assert [each["message"] for each in lines(tmp_path / "error.log")] == ["new"]


def test_a_target_that_cannot_be_opened_leaves_the_old_one(journal: ErrorLog, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="make its directory first"):
        journal.open_target("missing/error.log", "info")
    with pytest.raises(LogError):
        journal.check("missing/error.log")
    journal.info("a", "still here")
    assert lines(tmp_path / "error.log")[-1]["message"] == "still here"


def test_a_terminal_gets_lines_for_people_without_control_bytes(tmp_path: Path) -> None:
    main, terminal = os.openpty()
    journal = ErrorLog(tmp_path)
    journal.open_target(os.ttyname(terminal), "info")
    journal.warning("a", "evil \x1b[2J", path="/a")
    seen = os.read(main, 1000).decode()
    os.close(main)
    os.close(terminal)
    assert "warning evil \\x1b[2J  path=/a" in seen
    assert "\x1b" not in seen


def config(*targets: str) -> Config:
    routes = tuple([Route(Respond(), access_log=AccessLog(target)) for target in targets[2:]])
    site = Site("a", ("a",), (), Switch((Route(Switch(routes)),)), access_log=AccessLog(targets[1]))
    return Config((), (site, Site("b", ("b",), (), Proxy("x"))), (), access_log=AccessLog(targets[0]))


def test_paths_are_found_at_every_depth() -> None:
    assert list(access_log_paths(config("a.log", "off", "b.log", "stderr", "c.log"))) == ["a.log", "b.log", "c.log"]


def test_files_stay_open_over_a_reload_and_close_when_nobody_names_them(tmp_path: Path) -> None:
    files = AccessLogFiles(tmp_path)
    first = files.prepare(config("a.log", "b.log"))
    files.commit(first)
    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) & 0o007 == 0
    second = files.prepare(config("a.log", "c.log"))
    assert second["a.log"] == first["a.log"]
    files.abort(second)
    os.fstat(first["a.log"])
    with pytest.raises(OSError):
        os.fstat(second["c.log"])
    third = files.prepare(config("a.log", "stdout"))
    files.commit(third)
    with pytest.raises(OSError):
        os.fstat(first["b.log"])
    files.commit({})


def test_one_bad_path_opens_none(tmp_path: Path) -> None:
    files = AccessLogFiles(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LogError):
        files.prepare(config("a.log", "missing/b.log"))
    assert len(os.listdir("/proc/self/fd")) == before
    assert files.fds == {}


def test_reopen_gives_new_files(tmp_path: Path) -> None:
    files = AccessLogFiles(tmp_path)
    files.commit(files.prepare(config("a.log", "off")))
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    files.reopen()
    os.write(files.fds["a.log"], b"new\n")
    assert (tmp_path / "a.log").read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == ""
    files.commit({})


def test_lines_go_to_a_syslog_server_and_to_standard_error_while_there_is_none(
    journal: ErrorLog, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "log")
    journal.open_target(f"syslog:{path}", "info", Syslog("local1", tag="v", format="rfc5424"))
    journal.warning("a", "nobody there")
    assert json.loads(capfd.readouterr().err)["message"] == "nobody there"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(5)
        journal.error("up.down", "evil\n", server="b")
        said = server.recv(1000)
    assert said.startswith(b"<139>1 ")
    assert said.endswith(b" - - up.down: evil\\x0a server=b")
    assert capfd.readouterr().err == ""
    journal.open_target("off", "info")


def test_a_syslog_server_may_have_a_name(journal: ErrorLog) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        journal.addresses = {"logs.lan": ["127.0.0.1"]}.__getitem__
        journal.open_target(f"syslog:logs.lan:{server.getsockname()[1]}", "info")
        journal.reopen()
        journal.info("a", "here")
        assert server.recv(1000).endswith(b": a: here")
        journal.open_target("off", "info")


def test_syslog_servers_are_no_files_and_their_names_are_known() -> None:
    log = AccessLog("a.log", also=(AccessLog("syslog:/dev/log"), AccessLog("syslog:logs.lan"), AccessLog("b.log")))
    config = Config((), (Site("a", ("a",), (), Proxy("x"), access_log=log),), (), error_log=ErrorLogModel("syslog:more.lan:99"))
    assert list(access_log_paths(config)) == ["a.log", "b.log"]
    assert list(syslog_hosts(config)) == ["more.lan", "logs.lan"]
