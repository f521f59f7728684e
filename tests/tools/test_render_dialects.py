"""The pages of the dialects are as their tables say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "render_dialects.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_dialects", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_dialects"] = module
    spec.loader.exec_module(module)
    return module


def test_pages_are_as_rendered(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0


def test_a_page_that_differs_is_told_and_written(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in tool.PAGES:
        (tmp_path / name).write_text("# By hand\n\n" + tool.MARK + "old\n")
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    assert tool.main(["--check"]) == 1
    assert "caddy.md: differs" in capsys.readouterr().out
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    text = (tmp_path / "haproxy.md").read_text()
    assert text.startswith("# By hand\n")
    assert "| `http-request auth` |" in text
    assert "\nold\n" not in text


def test_every_row_is_in_its_page(tool: ModuleType) -> None:
    for name in tool.haproxy.DIRECTIVES:
        assert f"| `{name}` |" in tool.of_haproxy()
    for name in [*tool.caddy.DIRECTIVES, *tool.caddy.OPTIONS, *tool.caddy.PROXY_OPTIONS, *tool.caddy.TRANSPORT_OPTIONS]:
        assert f"| `{name}` |" in tool.of_caddy()
