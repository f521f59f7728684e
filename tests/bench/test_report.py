"""The report's text, and the templates of the contenders."""

import json
from pathlib import Path

import pytest
from bench.peer import BenchError, Site, free_port, render, template_values
from bench.stats import Cell, Reading

from bench import report

_FACTS = report.Facts("scripts/bench", "abc", {"nginx": "1.22"}, "not pinned", "1 round", 1.0)


def cells() -> list[Cell]:
    made = Cell("requests", "plain", "µs CPU/request", limit=1.1)
    for vestibule, nginx in ((20.0, 10.0), (24.0, 12.0)):
        made.add("vestibule", Reading(vestibule, 8.0, vestibule - 8.0, busy=0.3))
        made.add("nginx", Reading(nginx))
        made.add("caddy", None)
    return [made]


def test_document_has_medians_ratios_and_verdicts() -> None:
    text = report.document(cells(), ["requests, plain, caddy: it fell\nover"], _FACTS)
    assert "Targets: 0 of 1 met" in text
    row = next(line for line in text.splitlines() if line.startswith("| vestibule"))
    assert [part.strip() for part in row.strip("|").split("|")] == [
        "vestibule",
        "22.0",
        "(20.0–24.0)",
        "8.00",
        "14.0",
        "2.00",
        "2.00",
        "busy 30%",
    ]
    assert "* requests, plain, caddy: it fell over" in text


def test_history_line_leaves_out_what_is_missing() -> None:
    line = report.history_line(cells(), _FACTS)
    assert line.endswith("\n")
    assert json.loads(line)["medians"] == {"requests: plain": {"vestibule": 22.0, "nginx": 11.0}}


def test_table_is_aligned() -> None:
    lines = report.table(["a", "figure"], [["long name", "1"], ["b", "22"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith("-: |")


def test_template_with_an_unknown_name_is_an_error() -> None:
    assert render("listen @PORT@ a@b;", {"PORT": "80"}) == "listen 80 a@b;"
    with pytest.raises(BenchError, match="@HOST@"):
        render("@HOST@", {"PORT": "80"})


@pytest.mark.parametrize("http2", [False, True])
def test_no_template_names_an_unknown_place(tmp_path: Path, http2: bool) -> None:
    values = template_values(Site(tmp_path, 1, http2=http2), tmp_path, 2, 3) | {"PORT": "4", "FILES": "files"}
    peers = Path(report.__file__).parent / "peers"
    assert len(list(peers.iterdir())) >= 6
    for template in peers.iterdir():
        assert "@" not in render(template.read_text(), values)


def test_what_was_written_by_hand_stays() -> None:
    text = report.document(cells(), [], _FACTS)
    assert report.with_rest(text, "") == text
    once = report.with_rest(text, "# Results\n\nold\n\n## Old\n\n# Findings\n\n## A soak\n\nAn hour.\n")
    assert once == text + "\n# Findings\n\n## A soak\n\nAn hour.\n"
    assert report.with_rest(text, once) == once


def test_no_port_is_given_twice() -> None:
    assert len({free_port() for _ in range(500)}) == 500
