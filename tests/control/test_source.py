"""Configurations read from a file or from the command line."""

from pathlib import Path

import pytest

from vestibule.control import source as module
from vestibule.control.source import ConfigFile, command_line

GOOD = '[sites.a]\nlisten = "127.0.0.1:0"\nto = "http://127.0.0.1:1"\n'


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    source = ConfigFile(str(path), workers=3)
    draft = source.read()
    assert draft.ok
    assert draft.config is not None
    assert draft.config.process.workers == 3
    assert (draft.base, draft.name) == (tmp_path, str(path))
    path.write_text(GOOD.replace("sites.a", "sites.b"))
    again = source.read().config
    assert again is not None
    assert [site.name for site in again.sites] == ["b"]
    path.unlink()
    gone = source.read()
    assert (gone.ok, gone.config) == (False, None)
    assert [each.render() for each in gone.diagnostics] == [f"{path}: error: there is no such file; check the path"]


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    (only,) = ConfigFile(str(tmp_path)).read().diagnostics
    assert only.render().endswith("it cannot be read: Is a directory; name a file")


def test_paths_count_from_where_the_program_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    source = ConfigFile("sub/a.toml")
    line = command_line("http://127.0.0.1:1", host="", cert="", key="", listen=(), workers=None)
    monkeypatch.chdir("/")
    assert source.read().ok
    assert source.base == tmp_path / "sub"
    assert line.base == tmp_path


def test_a_dialect_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("# nothing yet\n" + GOOD)
    assert ConfigFile(str(tmp_path / "config")).read().ok
    assert ConfigFile(str(tmp_path / "config"), dialect="toml").read().ok
    (only,) = ConfigFile(str(tmp_path / "config"), dialect="klingon").read().diagnostics
    assert "klingon" in only.render()


def test_the_command_line_makes_a_site() -> None:
    draft = command_line("http://immich:2283", host="a.example.org", cert="c.pem", key="k.pem", listen=(), workers=2).read()
    assert draft.config is not None
    assert draft.config.process.workers == 2
    assert sorted((each.tls, getattr(each.address, "port", 0)) for each in draft.config.listeners) == [(False, 80), (True, 443)]
    wrong = command_line("immich", host="", cert="", key="", listen=("x y",), workers=None).read()
    assert not wrong.ok


def test_included_files_count_from_the_directory_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf.d" / "deep.conf").mkdir(parents=True)
    for name in ("b.conf", "a.conf", "c.txt"):
        (tmp_path / "conf.d" / name).write_text(name)
    (tmp_path / "main.toml").write_text(GOOD)
    seen: list[object] = []
    load = module.dialects.load

    def spy(name: str, text: str, read_text: object, dialect: str) -> object:
        seen.append(read_text)
        return load(name, text, read_text, dialect)  # type: ignore[arg-type]

    monkeypatch.setattr(module.dialects, "load", spy)
    assert ConfigFile(str(tmp_path / "main.toml")).read().ok
    (reader,) = seen
    assert reader("conf.d/a.conf") == "a.conf"  # type: ignore[operator]
    assert reader.find_files("conf.d/*.conf") == ["conf.d/a.conf", "conf.d/b.conf"]  # type: ignore[attr-defined]
