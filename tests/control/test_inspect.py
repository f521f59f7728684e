"""`check` without serving: the text, the files, and what can be built."""

from pathlib import Path

from vestibule.control.inspect import inspect
from vestibule.control.source import ConfigFile

from .papers import Paper, write

SITE = '[sites.a]\nlisten = "https://127.0.0.1:0"\nto = "http://127.0.0.1:1"\ncert = "a.pem"\n'


def test_a_good_one_with_a_doubt_is_good(tmp_path: Path) -> None:
    paper = Paper("a", days=3)
    write(tmp_path / "a.pem", paper.pem, paper.key_pem())
    (tmp_path / "a.toml").write_text(SITE)
    found = inspect(ConfigFile(str(tmp_path / "a.toml")).read())
    assert found.ok
    (line,) = found.lines
    assert line.startswith(f"{tmp_path / 'a.toml'}:sites.a.cert: warning: the certificate in ")


def test_an_account_is_only_a_warning(tmp_path: Path) -> None:
    paper = Paper("a")
    write(tmp_path / "a.pem", paper.pem, paper.key_pem())
    (tmp_path / "a.toml").write_text(SITE + '[process]\nuser = "no-such-user"\n')
    found = inspect(ConfigFile(str(tmp_path / "a.toml")).read())
    assert found.ok
    assert any("warning: process.user: there is no user `no-such-user`" in line for line in found.lines)


def test_mistakes_in_text_and_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SITE + "nonsense = 1\n")
    found = inspect(ConfigFile(str(tmp_path / "a.toml")).read())
    assert not found.ok
    assert any("nonsense: error:" in line for line in found.lines)
    assert any("sites.a.cert: error:" in line and "does not exist" in line for line in found.lines)


def test_what_clients_will_refuse_is_an_error_to_check_alone(tmp_path: Path) -> None:
    """A start goes on with an expired certificate: that serves better than none."""
    paper = Paper("a", days=-3)
    write(tmp_path / "a.pem", paper.pem, paper.key_pem())
    (tmp_path / "a.toml").write_text(SITE)
    found = inspect(ConfigFile(str(tmp_path / "a.toml")).read())
    assert not found.ok
    assert any("sites.a.cert: error: the certificate in " in line and "expired on" in line for line in found.lines)


def test_hosts_that_the_certificate_is_not_for_are_named(tmp_path: Path) -> None:
    paper = Paper("b")
    write(tmp_path / "a.pem", paper.pem, paper.key_pem())
    (tmp_path / "a.toml").write_text(SITE)
    found = inspect(ConfigFile(str(tmp_path / "a.toml")).read())
    assert found.ok
    assert any("warning: the certificate is not for `a` but for `b`" in line for line in found.lines)
