"""The other forms."""

import json
import re

import pytest

from vestibule.control.metrics.pages import apache_auto_page, html_page, json_page, nginx_page, write_pages
from vestibule.control.metrics.picture import make_picture
from vestibule.model.config import Config, Metrics

from .example import COUNTERS, GAUGES, PROGRAM, picture


def test_json() -> None:
    kind, _, text = json_page(picture()).partition("\n")
    told = json.loads(text)
    assert kind == "application/json"
    assert (told["version"], told["collected"], told["uptime_s"], told["accepted"], told["tunnels"]) == (
        "1.2", "2023-11-15T23:14:21Z", 90_061.5, 10, 1,
    )  # fmt: skip
    assert told["sites"]["photos"]["answers"] == {"none": 1, "1xx": 0, "2xx": 6, "3xx": 0, "4xx": 1, "5xx": 1}
    assert told["upstreams"]["app"]["10.0.0.1:80"]["attempts"] == 8
    assert told["upstreams"]["app"]["10.0.0.2:80"]["state"] == "down"
    assert told["listeners"]["raw"]["bytes_out"] == 8
    assert "version" not in json.loads(json_page(picture().seen_by(Metrics("json", version=False))).partition("\n")[2])


def test_stub_status_to_the_byte() -> None:
    assert nginx_page(picture()) == (
        "text/plain\nActive connections: 4 \nserver accepts handled requests\n 10 10 20 \nReading: 0 Writing: 3 Waiting: 1 \n"
    )


def test_more_requests_than_connections() -> None:
    busy = {**GAUGES, "process": {"connections": 1, "exchanges": 9}}
    page = nginx_page(make_picture(PROGRAM, Config((), (), ()), COUNTERS, busy, []))
    assert page.endswith("Writing: 1 Waiting: 0 \n")


@pytest.mark.parametrize("started_at", [PROGRAM.started_at, PROGRAM.at])
def test_server_status(started_at: float) -> None:
    program = PROGRAM.__class__("1.2", True, 77, started_at, PROGRAM.at, 3, 2, 1)
    kind, first, *lines = apache_auto_page(make_picture(program, Config((), (), ()), COUNTERS, GAUGES, [])).splitlines()
    assert (kind, first) == ("text/plain; charset=utf-8", "vestibule")
    told = dict(line.split(": ", 1) for line in lines)
    assert told["Total Accesses"] == "20"
    assert (told["BusyWorkers"], told["IdleWorkers"], told["ConnsTotal"], told["Processes"]) == ("3", "1", "4", "2")
    assert told["Uptime"] == str(max(1, int(program.at - started_at)))
    assert float(told["ReqPerSec"]) > 0


def test_server_status_of_a_program_that_did_nothing() -> None:
    page = apache_auto_page(make_picture(PROGRAM, Config((), (), ()), {}, {}, []).seen_by(Metrics("apache", version=False, title="cellar")))
    assert page.splitlines()[1] == "cellar"
    assert "ServerVersion" not in page
    assert "BytesPerReq: 0\n" in page


def test_the_page_for_people() -> None:
    page = html_page(picture())
    assert "<td>photos</td><td>3</td><td>9</td><td>0</td><td>6</td><td>0</td><td>1</td><td>1</td><td>1</td><td>100 B</td>" in page
    assert "4.883 KiB" in page
    assert '<tr class="down"><td>10.0.0.2:80</td>' in page
    assert "<td>upstream.timeout_head</td><td>1</td>" in page
    assert "up 1d 1h01m01s" in page
    assert "Connections passed on" in page
    assert "<script" not in page
    assert re.search(r"(src|href)=", page) is None
    bare = html_page(make_picture(PROGRAM, Config((), (), ()), {}, {}, []).seen_by(Metrics("html", version=False, title="cellar")))
    assert "<title>vestibule: cellar</title>" in bare
    assert "Faults" not in bare


def test_sizes_have_units() -> None:
    sites = {"photos": {"bytes_in": 3 << 40, "bytes_out": 3 << 20}}
    page = html_page(make_picture(PROGRAM, Config((), (), ()), {"sites": {"-": sites["photos"]}}, {}, []))
    assert "<td>3 TiB</td><td>3 MiB</td>" in page


def test_each_page_is_written_once() -> None:
    sources = [Metrics(), Metrics(refresh_s=5), Metrics("haproxy"), Metrics("haproxy", version=False), Metrics("nginx"), Metrics("apache")]
    pages = write_pages(picture(), sources)
    kinds = [key.split(" ")[0] for key in pages]
    assert kinds == ["prometheus", "openmetrics", "haproxy", "haproxy_csv", "haproxy", "haproxy_csv", "nginx", "apache", "apache_auto"]
    assert all("\n" in text for text in pages.values())
