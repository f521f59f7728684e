"""HAProxy's table, as CSV and for people."""

import csv

import pytest

from vestibule.control.metrics.haproxy import COLUMNS, csv_page, csv_text, rows_of, status_word, table_page
from vestibule.control.metrics.picture import make_picture
from vestibule.model.config import Metrics

from .example import CONFIG, PROGRAM, picture


def table() -> dict[tuple[str, str], dict[str, str]]:
    head, *lines = csv_page(picture()).partition("\n")[2].splitlines()
    rows = list(csv.DictReader([head.removeprefix("# "), *[line.replace("\n", " ") for line in lines if line]]))
    return {(row["pxname"], row["svname"]): row for row in rows}


@pytest.mark.parametrize(
    ("state", "checked", "word"),
    [("up", True, "UP"), ("down", True, "DOWN"), ("up", False, "no check"), ("disabled", False, "MAINT"), ("draining", True, "DRAIN")],
)
def test_words(state: str, checked: bool, word: str) -> None:
    assert status_word(state, checked) == word


def test_rows_have_their_places() -> None:
    rows = rows_of(picture())
    assert [(row["pxname"], row["svname"], row["type"]) for row in rows] == [
        ("photos", "FRONTEND", 0), ('o"dd\n', "FRONTEND", 0), ("raw", "FRONTEND", 0),
        ("app", "10.0.0.1:80", 2), ("app", "10.0.0.2:80", 2), ("app", "BACKEND", 1),
        ("many", "10.1.0.1:8080", 2), ("many", "10.1.0.2:8080", 2), ("many", "BACKEND", 1),
    ]  # fmt: skip
    assert all(set(row) <= set(COLUMNS) for row in rows)


def test_numbers() -> None:
    rows = table()
    photos = rows["photos", "FRONTEND"]
    assert [photos[name] for name in ("scur", "stot", "bin", "bout", "hrsp_2xx", "hrsp_other", "req_tot", "ereq", "dreq")] == [
        "3", "9", "100", "5000", "6", "1", "9", "1", "2",
    ]  # fmt: skip
    assert (rows["raw", "FRONTEND"]["mode"], rows["raw", "FRONTEND"]["stot"], rows["raw", "FRONTEND"]["hrsp_2xx"]) == ("tcp", "2", "")
    one = rows["app", "10.0.0.1:80"]
    assert [one[name] for name in ("qcur", "scur", "stot", "bin", "bout", "econ", "wretr", "rtime", "status", "check_status")] == [
        "1", "2", "8", "90", "4000", "2", "1", "10", "UP", "L7OK",
    ]  # fmt: skip
    two = rows["app", "10.0.0.2:80"]
    assert (two["status"], two["last_chk"], two["bck"], two["stot"], two["rtime"]) == ("DOWN", "refused, twice", "1", "", "")
    backend = rows["app", "BACKEND"]
    assert [backend[name] for name in ("status", "act", "bck", "weight", "stot", "lastchg")] == ["UP", "1", "0", "1", "8", "5"]


def test_what_several_addresses_did_is_in_the_row_of_their_backend() -> None:
    rows = table()
    assert (rows["many", "10.1.0.2:8080"]["stot"], rows["many", "BACKEND"]["stot"], rows["many", "BACKEND"]["scur"]) == ("", "3", "")


def test_every_line_has_every_column() -> None:
    head, *lines = csv_text(rows_of(picture())[:1]).splitlines()
    assert head.endswith("agg_check_status,")
    assert {line.count(",") for line in (head, *lines)} == {len(COLUMNS)}


def test_the_page_for_people() -> None:
    seen = picture().seen_by(Metrics("haproxy", title="<cellar>", names=(("app/one", "10.0.0.1:80"),)))
    page = table_page(seen)
    assert page.startswith("text/html; charset=utf-8\n<!DOCTYPE html>")
    assert "<title>Statistics report for vestibule 1.2 on &lt;cellar&gt;</title>" in page
    assert "<h3>backend app</h3>" in page
    assert '<tr class="UP"><td>one</td><td>1</td><td>2</td><td>8</td>' in page
    assert "o&quot;dd" in page
    assert "1.2" not in table_page(picture().seen_by(Metrics("haproxy", version=False)))


def test_an_upstream_without_servers_that_are_known() -> None:
    rows = rows_of(make_picture(PROGRAM, CONFIG, {}, {}, []))
    backend = next(row for row in rows if row["pxname"] == "app")
    assert (backend["status"], backend["lastchg"], "stot" in backend) == ("DOWN", 0, False)
    assert all("hrsp_2xx" not in row for row in rows)
