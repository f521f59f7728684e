"""Prometheus' format, read by its own parsers."""

from collections.abc import Callable

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from vestibule.control.metrics.exposition import OPENMETRICS, PROMETHEUS, escape, openmetrics_page, prometheus_page
from vestibule.control.metrics.picture import make_picture
from vestibule.model.config import Config, Metrics

from .example import PROGRAM, picture

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(page: str) -> Values:
    kind, _, text = page.partition("\n")
    assert kind in (PROMETHEUS, OPENMETRICS)
    parse = open_parser.text_string_to_metric_families if kind == OPENMETRICS else parser.text_string_to_metric_families
    values: Values = {}
    for family in parse(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in values
            values[key] = float(sample.value)
    return values


@pytest.mark.parametrize("write", [prometheus_page, openmetrics_page])
def test_what_the_parsers_find(write: Callable[..., str]) -> None:
    values = read(write(picture()))

    def find(name: str, **labels: str) -> float:
        return values[f"vestibule_{name}", tuple(sorted(labels.items()))]

    assert find("build_info", version="1.2", build="compiled") == 1
    assert find("start_time_seconds") == 1_700_000_000
    assert (find("workers"), find("workers_replaced_total")) == (2, 1)
    assert (find("client_connections"), find("client_connections_accepted_total")) == (4, 10)
    assert find("http_requests_total", site="photos", code="2xx") == 6
    assert find("http_requests_total", site="photos", code="none") == 1
    assert find("http_requests_total", site='o"dd\n', code="2xx") == 0
    assert find("http_requests_open", site="photos") == 3
    assert find("http_response_body_bytes_total", site="photos") == 5000
    assert find("http_faults_total", site="photos", fault="upstream.timeout_head", side="upstream") == 1
    buckets = [find("http_request_duration_seconds_bucket", site="photos", le=le) for le in ("0.005", "0.05", "300.0", "+Inf")]
    assert buckets == [5, 8, 8, 9]
    assert find("http_request_duration_seconds_count", site="photos") == 9
    assert find("http_request_duration_seconds_sum", site="photos") == 1.5
    assert find("tcp_connections_total", listener="raw") == 2
    assert [find(name) for name in ("udp_sessions", "udp_sessions_refused_total", "udp_datagrams_dropped_total")] == [5, 3, 1]
    assert find("tcp_faults_total", listener="raw", fault="client.gone", side="client") == 1
    one = {"upstream": "app", "server": "10.0.0.1:80"}
    assert (find("upstream_server_up", **one), find("upstream_server_up", upstream="app", server="10.0.0.2:80")) == (1, 0)
    assert (find("upstream_attempts_total", **one), find("upstream_failures_total", **one), find("upstream_retries_total", **one)) == (
        8,
        2,
        1,
    )
    assert find("upstream_responses_total", code="2xx", **one) == 6
    assert (find("upstream_response_head_seconds_sum", **one), find("upstream_response_head_seconds_count", **one)) == (0.06, 6)
    assert (find("upstream_requests_active", **one), find("upstream_requests_waiting", **one)) == (2, 1)
    assert find("upstream_server_weight", upstream="many", server="app.lan:8080") == 4


def test_both_formats_say_the_same() -> None:
    assert read(prometheus_page(picture())) == read(openmetrics_page(picture()))


def test_an_empty_picture_and_a_hidden_version() -> None:
    empty = make_picture(PROGRAM, Config((), (), ()), {}, {}, []).seen_by(Metrics(version=False))
    values = read(openmetrics_page(empty))
    assert values["vestibule_build_info", (("build", "compiled"),)] == 1
    assert read(prometheus_page(empty)) == values


def test_label_values_are_escaped() -> None:
    assert escape('a\\b"c\nd') == 'a\\\\b\\"c\\nd'
