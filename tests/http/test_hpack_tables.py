"""The generated tables: they are what the tool makes, and what another implementation has."""

import subprocess
import sys
from pathlib import Path

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

from vestibule.http.hpack_tables import HUFFMAN_CODES, HUFFMAN_LENGTHS, STATIC

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make_hpack_tables.py"


def test_file_is_what_the_tool_makes() -> None:
    assert subprocess.run([sys.executable, str(TOOL), "--check"], check=False, timeout=30).returncode == 0


def test_static_table() -> None:
    assert tuple(STATIC[1:]) == tuple(HeaderTable.STATIC_TABLE)


def test_huffman_code() -> None:
    assert tuple(REQUEST_CODES) == tuple(HUFFMAN_CODES)
    assert tuple(REQUEST_CODES_LENGTH) == tuple(HUFFMAN_LENGTHS)
