"""The reference pages are as rendered, and every example in the docs is sound."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

from vestibule.dialects.toml import parse, schema
from vestibule.dialects.toml.table import Key, Table

ROOT = Path(__file__).resolve().parents[2]


def _load() -> types.ModuleType:
    """The tool, which lies in no package."""
    spec = importlib.util.spec_from_file_location("render_docs", ROOT / "tools" / "render_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


TOOL = _load()

GUIDE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)

SITE = '[sites."photos.example.org"]\nto = "http://immich:2283"\ntls = "off"\n'


def document(table: Table, key: Key) -> str:
    """A configuration with one key set to its example, in the place where the key stands."""
    line = f"{key.name} = {key.example}\n"
    inline = f"{{ {key.name} = {key.example} }}"
    if table is schema.ROOT:
        return line if key.name == "sites" else line + SITE
    if table is schema.SITE:
        return f'[sites."photos.example.org"]\n{line}'
    if table is schema.ACTION:
        return SITE + f"request = [{inline}]\n"
    if table is schema.ROUTE:
        return SITE + f"routes = [{inline}]\n"
    if table is schema.TCP_ROUTE:
        return f'listeners.front = {{ address = ":443", routes = [{inline}] }}\n' + SITE
    if table is schema.SERVER:
        return f"upstreams.x.servers = [{inline}]\n" + SITE
    if table is schema.ERROR:
        return SITE + f"errors = [{inline}]\n"
    if table is schema.OTHERWISE:
        return SITE + f'files = {{ root = "a", otherwise = {inline} }}\n'
    if table in (
        schema.AUTH_REQUEST,
        schema.READ_BODY,
        schema.SET_TIMEOUTS,
        schema.KEEP_ALIVE,
        schema.RATE_LIMIT,
        schema.CONCURRENCY_LIMIT,
        schema.BANDWIDTH_LIMIT,
        schema.COUNT_TABLE,
        schema.ANSWER,
        schema.SUBSTITUTE,
    ):
        return SITE + f"request = [{{ {table.title} = {inline} }}]\n"
    if table in (schema.RESPOND, schema.REDIRECT, schema.FILES, schema.METRICS, schema.HSTS, schema.COMPRESSION):
        return f'[sites."photos.example.org"]\n{table.title} = {inline}\n'
    if table is schema.COMMAND_SOCKET:
        more = "" if key.name == "path" else 'path = "a", '
        return f"process.command_sockets = [{{ {more}{line.strip()} }}]\n" + SITE
    if table is schema.EVENT_LOG:
        more = "" if key.name == "target" else 'target = "syslog:a:514", '
        return f"upstreams.x.events = [{{ {more}{line.strip()} }}]\n" + SITE
    if table is schema.SYSLOG:
        return f"error_log = {{ syslog = {inline} }}\n" + SITE
    return f"[{table.title}]\n{line}" + SITE


EXAMPLES = [(table, key) for table in TOOL.ORDER for key in table.keys]


@pytest.mark.parametrize(("table", "key"), EXAMPLES, ids=[f"{table.title}.{key.name}" for table, key in EXAMPLES])
def test_every_example_is_read(table: Table, key: Key) -> None:
    found = parse("v.toml", document(table, key))
    assert [each.render() for each in found.diagnostics if each.code in ("syntax", "unknown-key", "bad-value")] == []


def test_every_table_is_on_the_page() -> None:
    tables = {id(value) for value in vars(schema).values() if isinstance(value, Table)}
    assert tables == {id(table) for table in TOOL.ORDER}


def test_keys_and_fields_belong_together() -> None:
    """Every field of a class can be said, and every key that names a field names one that exists."""
    said = {
        "timeouts",
        "limits",
        "forwarding",
        "access_log",
        "compression",
        "name",
        "host",
        "port",
        "path",
        "source",
        "upstream",
        "listeners",
        "internal_tls",
        "acme",
        "on_demand",
        "errors",
        "otherwise",
        "address",
        "tls",
        "hsts",
        "https_port",
        "redirect_http",
        "also",
    }
    for table in TOOL.ORDER:
        if table.cls is object:
            continue
        names = set(table.cls.__dataclass_fields__)  # type: ignore[attr-defined]
        fields = {key.field for key in table.keys if key.field}
        assert fields <= names
        assert names - fields <= said, table.title


def test_docs_speak_of_toml_and_not_of_python() -> None:
    docs = TOOL.field_docs()
    for table in TOOL.ORDER:
        for key in table.keys:
            text = TOOL.key_doc(table, key, docs)
            assert text.strip()
            assert not re.search(r"\bNone\b|_ms\b|_bytes\b|Config\.", text), f"{table.title}.{key.name}: {text}"


@pytest.mark.parametrize("block", BLOCKS)
def test_the_guide_is_sound(block: str) -> None:
    assert [each.render() for each in parse("v.toml", block).diagnostics] == []


def test_the_guide_shows_real_messages() -> None:
    assert len(BLOCKS) >= 10
    text = '[timeouts]\nconnect = 5\n[sites."photos.example.org"]\nto = "http://immich:2283"\ncertt = "x"\ntls = "off"\n'
    for each in parse("vestibule.toml", text).diagnostics:
        assert each.render() in GUIDE


def test_pages_are_as_rendered() -> None:
    assert TOOL.main(["--check"]) == 0


def test_check_tells_what_differs_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert TOOL.main([], tmp_path) == 0
    page = tmp_path / "variables.md"
    page.write_text("old", encoding="utf-8")
    capsys.readouterr()
    assert TOOL.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "variables.md: differs; run tools/render_docs.py\n"
    assert page.read_text(encoding="utf-8") == "old"
    assert TOOL.main([], tmp_path) == 0
    assert TOOL.main(["--check"], tmp_path) == 0


def test_other_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert TOOL.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_field_without_a_text_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bare_fields.py"
    path.write_text("from dataclasses import dataclass\n\n\n@dataclass\nclass A:\n    x: int = 1\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("bare_fields", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bare_fields", module)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match=r"A\.x has no string under it"):
        TOOL.field_docs(module)
