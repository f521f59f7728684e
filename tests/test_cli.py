"""The command line: what it prints, what it refuses, and the exit status of each."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import vestibule
from vestibule import cli

GOOD = """
[sites."photos.test"]
listen = "127.0.0.1:0"
to = "http://127.0.0.1:2283"
"""

BAD = """
[sites."photos.test"]
listen = "127.0.0.1:0"
to = "ftp://immich"
litsen = "8080"
cert = "missing.pem"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory and a state directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    yield tmp_path


def vest(*words: str) -> Result:
    return CliRunner().invoke(cli.main, words)


def test_help_names_every_command() -> None:
    text = vest("--help").stdout
    for name in ("run", "check", "adapt", "reload", "reopen", "status", "stop", "ca", "version"):
        assert f"\n  {name} " in text


def test_version() -> None:
    done = vest("version")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"vestibule {vestibule.__version__} (")
    assert ("compiled" in done.stdout) is not ("interpreted" in done.stdout)
    assert vest("--version").stdout == f"vestibule {vestibule.__version__}\n"


# ---------------------------------------------------------------- check, adapt


def test_check_says_ok(folder: Path) -> None:
    (folder / "a.toml").write_text(GOOD)
    done = vest("check", "a.toml")
    assert (done.exit_code, done.stdout) == (0, "ok\n")


def test_the_file_that_run_serves_without_a_name_is_looked_at_without_one(folder: Path) -> None:
    missing = vest("check")
    assert missing.exit_code == 1 and "vestibule.toml" in missing.output
    (folder / "vestibule.toml").write_text(GOOD)
    assert vest("check").stdout == "ok\n"
    assert json.loads(vest("adapt").stdout)["sites"][0]["name"] == "photos.test"


def test_check_lists_every_mistake(folder: Path) -> None:
    (folder / "a.toml").write_text(BAD)
    done = vest("check", "a.toml")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith('a.toml:sites."photos.test".litsen: error: ') and "listen" in line for line in lines)
    assert any(line.startswith('a.toml:sites."photos.test".to: error: ') for line in lines)
    assert any(line.startswith('a.toml:sites."photos.test".cert: error: ') and "missing.pem does not exist" in line for line in lines)
    assert "ok" not in lines


def test_check_finds_what_cannot_be_built(folder: Path) -> None:
    (folder / "a.toml").write_text(GOOD + '[listeners.web]\naddress = "127.0.0.1:0"\nproxy_protocol = true\n')
    done = vest("check", "a.toml")
    assert done.exit_code == 1
    assert "a.toml:listeners.web.proxy_protocol: error: " in done.stdout


def test_check_makes_no_authority(folder: Path) -> None:
    (folder / "a.toml").write_text(GOOD.replace('"photos.test"', "localhost").replace("listen =", 'tls = "internal"\nlisten ='))
    done = vest("check", "a.toml")
    assert (done.exit_code, done.stdout) == (0, "ok\n")
    assert not (folder / "state").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.toml", None, "none.toml: error: there is no such file"),
        ("bytes.toml", b"\xff\xfe", "bytes.toml: error: byte 0 is not UTF-8"),
        ("syntax.toml", b"[", "syntax.toml:1:2: error:"),
        ("what.xyz", b"<html>", "what.xyz: error: this is no configuration"),
    ],
)
def test_files_that_are_none(folder: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    done = vest("check", name)
    assert done.exit_code == 1
    assert said in done.stdout


def test_adapt_prints_json_or_toml(folder: Path) -> None:
    (folder / "a.toml").write_text(GOOD)
    done = vest("adapt", "a.toml")
    assert done.exit_code == 0
    assert [site["name"] for site in json.loads(done.stdout)["sites"]] == ["photos.test"]
    (folder / "b.toml").write_text(vest("adapt", "a.toml", "--to", "toml").stdout)
    assert vest("adapt", "b.toml").stdout == done.stdout


def test_adapt_of_a_bad_file(folder: Path) -> None:
    (folder / "a.toml").write_text(BAD)
    done = vest("adapt", "a.toml")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "litsen" in done.stderr


# ---------------------------------------------------------------- run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "name a configuration FILE"),
        (("run", "a.toml", "--to", "http://x"), "not both"),
        (("run", "a.toml", "--cert", "x.pem"), "--cert goes with --to"),
        (("run", "a.toml", "--listen", "80"), "--listen goes with --to"),
    ],
)
def test_run_refuses_what_does_not_go_together(words: tuple[str, ...], said: str) -> None:
    done = vest(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_run_says_what_is_wrong_with_an_option() -> None:
    done = vest("run", "--to", "ftp://immich")
    assert done.exit_code == 1
    assert "--to: error:" in done.stderr


def test_run_says_which_port_is_in_use_and_how_to_mend_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "vestibule", "run", "--to", "http://127.0.0.1:1", "--listen", f"127.0.0.1:{port}"],
            env={**os.environ, "PYTHONPATH": str(Path(vestibule.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("vestibule:")]
    assert f"127.0.0.1:{port} is in use by another program; stop" in line
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- commands to a running program


@pytest.mark.parametrize("command", ["reload", "reopen", "status", "stop"])
def test_commands_without_a_program_say_so(folder: Path, command: str) -> None:
    done = vest(command)
    assert done.exit_code == 1
    assert "no running vestibule has a socket in" in done.stderr
    done = vest(command, "--socket", "none.sock")
    assert done.exit_code == 1
    assert "nobody answers at none.sock" in done.stderr


def test_the_configuration_here_says_where_the_socket_is(folder: Path) -> None:
    (folder / "vestibule.toml").write_text(GOOD + '[process]\nadmin_socket = "here.sock"\n')
    assert f"nobody answers at {folder / 'here.sock'}" in vest("status").stderr
    (folder / "other.toml").write_text(GOOD + '[process]\nstate_dir = "elsewhere"\n')
    assert f"has a socket in {folder / 'elsewhere'}" in vest("status", "--config", "other.toml").stderr
    assert f"nobody answers at {folder / 'elsewhere' / 'admin-1.sock'}" in vest("status", "--config", "other.toml", "--pid", "1").stderr


def test_several_programs_are_told_apart(folder: Path) -> None:
    (folder / "state").mkdir()
    for pid in (os.getpid(), os.getppid()):
        (folder / "state" / f"admin-{pid}.sock").write_text("")
    done = vest("status")
    assert done.exit_code == 1
    assert "several are running: say which with --pid" in done.stderr
    assert str(os.getpid()) in done.stderr


# ---------------------------------------------------------------- ca


def test_ca_is_made_and_explained(folder: Path) -> None:
    done = vest("ca")
    path = folder / "state" / "ca" / "root.crt"
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == str(path)
    assert "update-ca-certificates" in done.stdout
    assert path.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert vest("ca").stdout == done.stdout


def test_ca_says_when_it_cannot_be_made(folder: Path) -> None:
    (folder / "state").write_text("")
    done = vest("ca")
    assert done.exit_code == 1
    assert "vestibule: " in done.stderr


def test_starting_is_not_slowed_by_what_is_not_needed() -> None:
    slow = ("asyncio", "cryptography", "rich", "ssl", "vestibule.model")
    code = f"import sys, vestibule.cli; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(vestibule.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == "[]"
