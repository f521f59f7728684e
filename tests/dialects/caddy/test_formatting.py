"""Caddyfiles in their usual form."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.differential.originals import SEARCH
from tests.differential.test_differential import cases_of

from vestibule.dialects.caddy.formatting import formatted

MESSY = '\n\n  a.example.net   {\n\n\n# first\n  respond   /x "a  b"   200 # last  \n\n\n\thandle {\nrespond `c\n  d`\n}\n\n}\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("\n \n", ""),
        (MESSY, 'a.example.net {\n\t# first\n\trespond /x "a  b" 200 # last\n\n\thandle {\n\t\trespond `c\n  d`\n\t}\n}\n'),
        ("a\r\n", "a\n"),
        ("a {\nb \\\n   c\n}\n", "a {\n\tb \\\n\t\tc\n}\n"),
        ("a {\nrespond <<X\n  one\n X 200\n}\n", "a {\n\trespond <<X\n  one\n X 200\n}\n"),
        ("a <<X\nnever", "a <<X\nnever\n"),
        ('a "never\nb', 'a "never\nb\n'),
        ('a "\\" {"b {\n', 'a "\\" {"b {\n'),
        ("}\n}\na\n", "}\n}\na\n"),
        ("a #b\n#c", "a #b\n#c\n"),
        ("a\\\nb\n", "a \\\n\tb\n"),
    ],
)
def test_formatted(text: str, wanted: str) -> None:
    assert formatted(text) == wanted
    assert formatted(wanted) == wanted


@pytest.mark.parametrize("case", [each for each in cases_of("caddy") if "`" not in each.read_text()], ids=lambda case: case.stem)
def test_as_caddy_does_it(case: Path, tmp_path: Path) -> None:
    caddy = shutil.which("caddy", path=SEARCH)
    if caddy is None:
        pytest.skip("caddy is not installed")
    file = tmp_path / "Caddyfile"
    file.write_text(
        "\n".join([f"  {line.strip()} " if '"' not in line and "#" not in line else line for line in case.read_text().splitlines()])
    )
    done = subprocess.run([caddy, "fmt", str(file)], capture_output=True, text=True, timeout=15, check=True)
    assert formatted(file.read_text()) == done.stdout
