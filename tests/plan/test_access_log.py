"""Lines of the access log: one each, valid whatever came, without secrets."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.compile_state import LogFlusher
from vestibule.contract import Client, LogLine, Plan, Relays, Step
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BAD_SYNTAX, UPSTREAM_REFUSED, Fault
from vestibule.http.address import NetworkSet
from vestibule.http.head import RequestHead
from vestibule.plan.access_log import (
    CombinedLog,
    Escaped,
    JsonEscaped,
    JsonLog,
    LogWhen,
    TemplateLog,
    json_text,
    log_text,
    redacted_variable,
)
from vestibule.plan.expr import EXCHANGE, Const, InSet, Not, concat
from vestibule.plan.fault_log import FaultLog, Reporter
from vestibule.plan.log_sink import LogSink
from vestibule.plan.redact import Redactor
from vestibule.plan.steps.forward import Forward, Terms
from vestibule.plan.variables import Method, Place, RequestId, Status, make_variable

from .fakes import FakeStream, FakeUpstream, client, fields, idle, request, respond

REDACTOR = Redactor([b"key", b"token"], True)


class Lines:
    """A log whose lines are read where they wait."""

    def __init__(self) -> None:
        self.sink = LogSink(LogFlusher())

    @property
    def lines(self) -> list[bytes]:
        for line in self.sink._lines:
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
        return [line[:-1] for line in self.sink._lines]

    def last(self) -> dict[str, object]:
        told = json.loads(self.lines[-1])
        assert isinstance(told, dict)
        return told


def json_plan(log: Lines, *steps: Step) -> tuple[Plan, FakeUpstream]:
    up = FakeUpstream()
    return Plan("p", up, [Forward(Terms(NetworkSet([])), []), *steps], log=[JsonLog(log.sink, REDACTOR, b"photos", b"immich")]), up


def test_json_tells_everything() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    lines = ('User-Agent: a "b"', "Referer: https://x.example/?key=1", "Cookie: session=s3cr3t", "Authorization: Bearer s3cr3t")
    ex, _ = request(plan, "/api/a?key=s3cr3t&x=1", *lines)
    ex.head_ms, ex.connect_ms, ex.ended_ms = 7, 2, 1012
    respond(ex, 200, "Content-Length: 5", body=b"hello")
    told = log.last()
    moment = told.pop("time")
    assert isinstance(moment, str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert told == {
        "client_ip": "203.0.113.7", "method": "GET", "target": "/api/a?key=***&x=1", "protocol": "HTTP/1.1", "status": 200,
        "bytes_in": 0, "bytes_out": 5, "total_ms": 12, "host": "photos.example", "referer": "https://x.example/?key=***",
        "user_agent": 'a "b"', "site": "photos", "upstream": "immich", "upstream_address": "192.0.2.80:2283", "head_ms": 7,
        "upstream_connect_ms": 2,
    }  # fmt: skip


def test_json_of_datagrams() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    ex, _ = request(plan)
    ex.datagrams_in, ex.datagrams_out = 1, 0
    respond(ex, 200)
    assert (log.last()["datagrams_in"], log.last()["datagrams_out"]) == (1, 0)


def test_json_of_a_fault() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    ex, _ = request(plan)
    ex.on_fault(1, Fault(UPSTREAM_REFUSED, "192.0.2.80:2283"))
    told = log.last()
    assert (told["status"], told["fault"], told["detail"]) == (502, "upstream.refused", "192.0.2.80:2283")


def test_details_that_quote_the_request_are_left_out() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    ex = Exchange(FakeStream(), client(), plan, Relays(), 0)
    ex.on_fault(0, Fault(CLIENT_BAD_SYNTAX, "Authorization: s3cr3t"))
    assert log.last()["fault"] == "client.bad_syntax"
    assert b"s3cr3t" not in log.lines[-1]
    assert log.last()["method"] == ""


def test_request_id_is_told_if_anyone_heard_it() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    ex, _ = request(plan)
    wanted = RequestId(EXCHANGE).text(ex).decode()
    respond(ex, 204)
    assert log.last()["request_id"] == wanted


def test_peer_is_told_where_it_is_not_the_client() -> None:
    log = Lines()
    plan, _ = json_plan(log)
    ex, _ = request(plan)
    ex.client_address = b"198.51.100.1"
    respond(ex, 204)
    assert (log.last()["client_ip"], log.last()["peer_ip"]) == ("198.51.100.1", "203.0.113.7")


def test_note_of_a_connection_is_made_once_and_belongs_to_its_fields() -> None:
    log = Lines()
    plan, up = json_plan(log)
    peer: Client = client()
    for agent in ("one", "one", "two"):
        section = fields("Host: photos.example", f"User-Agent: {agent}")
        notes = []
        for _ in range(3):
            ex, _ = request(plan, section=section, peer=peer)
            respond(ex, 204)
            assert log.last()["user_agent"] == agent
            notes.append(up.request().fields)
        assert notes[1] is notes[2]


def test_note_of_one_redactor_is_not_that_of_another() -> None:
    log = Lines()
    up = FakeUpstream()
    loose = JsonLog(log.sink, Redactor([], False), b"s", b"u")
    plan = Plan("p", up, [Forward(Terms(NetworkSet([])), [])], log=[JsonLog(log.sink, REDACTOR, b"s", b"u"), loose])
    ex, _ = request(plan, "/", "Referer: https://x/?key=1")
    respond(ex, 204)
    assert [json.loads(line)["referer"] for line in log.lines] == ["https://x/?key=***", "https://x/?key=1"]


@given(st.binary(max_size=30))
def test_any_bytes_are_valid_json(value: bytes) -> None:
    told = json.loads(json_text(value))
    assert told == value.decode("utf-8", "replace")
    assert all(32 <= c < 127 for c in json_text(value))


@given(st.binary(max_size=30))
def test_any_bytes_stand_on_one_line(value: bytes) -> None:
    text = log_text(value)
    assert all(32 <= c < 127 for c in text)
    assert re.search(rb'(?<!\\)(\\\\)*"', text) is None


@given(st.binary(min_size=1, max_size=20).filter(lambda b: b"\r" not in b and b"\n" not in b and b"\0" not in b))
def test_whatever_a_client_says_is_one_valid_line(value: bytes) -> None:
    log = Lines()
    combined = CombinedLog(log.sink, REDACTOR)
    js: LogLine = JsonLog(log.sink, REDACTOR, b"s", b"u")
    ex = idle()
    ex.request = RequestHead(value, b"/" + value, value, ex.request.fields, b"HTTP/1.1")
    js.write(ex)
    combined.write(ex)
    assert log.lines[1].count(b'" "') >= 1
    assert json.loads(log.lines[0])["method"] == value.decode("utf-8", "replace")


COMBINED = re.compile(r'^(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "([^"]*)" (\d{3}|-) (\d+) "([^"]*)" "([^"]*)"$')


def test_combined_is_what_statistics_read() -> None:
    log = Lines()
    up = FakeUpstream()
    plan = Plan("p", up, log=[CombinedLog(log.sink, REDACTOR)])
    ex, _ = request(plan, "/share/abc?token=1", "User-Agent: agent", "Referer: https://u:p@x/")
    respond(ex, 200, "Content-Length: 2", body=b"hi")
    found = COMBINED.match(log.lines[0].decode())
    assert found is not None
    assert found.group(1, 3, 4, 5, 6, 7) == (
        "203.0.113.7", "GET /share/***?token=*** HTTP/1.1", "200", "2", "https://***@x/", "agent",
    )  # fmt: skip


def test_combined_without_an_answer() -> None:
    log = Lines()
    CombinedLog(log.sink, REDACTOR).write(idle())
    assert b'" - 0 "-" "-"' in log.lines[0]


def test_template_escapes_values_and_keeps_its_own_text() -> None:
    log = Lines()
    header = make_variable("header", "X-A", Place())
    assert header is not None
    template = concat([Const(b'"'), Escaped(Method(EXCHANGE)), Const(b'" '), Escaped(header)])
    TemplateLog(log.sink, template).write(idle("/", 'X-A: "\x80'))
    assert log.lines == [b'"GET" \\"\\x80']
    assert Escaped(header).find(idle()) is None


def test_template_of_json_is_json_whatever_came() -> None:
    log = Lines()
    header = make_variable("header", "X-A", Place())
    assert header is not None
    line = TemplateLog(log.sink, concat([Const(b'{"a":"'), JsonEscaped(header), Const(b'"}')]))
    for value in ('say "\\x"', "caf\u00e9", "tab\there"):
        line.write(idle("/", f"X-A: {value.encode().decode('latin-1')}"))
        assert json.loads(log.lines[-1]) == {"a": value}
    line.write(idle())
    assert json.loads(log.lines[-1]) == {"a": ""}


@pytest.mark.parametrize(
    ("name", "argument"),
    [("target", ""), ("path", ""), ("decoded_path", ""), ("query", ""), ("arg", "key"), ("arg", "KEY"), ("cookie", "session"),
     ("header", "Authorization"), ("header", "cookie"), ("header", "x-api-key"), ("header", "Referer"), ("header", "X-Immich-Share-Key"),
     ("header_line", "Cookie"), ("each_header", "Cookie"), ("request_header", "Authorization"), ("request_header_line", "Authorization"),
     ("each_request_header", "Referer")],
)  # fmt: skip
def test_variables_with_secrets_are_redacted(name: str, argument: str) -> None:
    node = make_variable(name, argument, Place())
    assert node is not None
    safe = redacted_variable(name, argument, node, REDACTOR)
    lines = (
        "Cookie: session=s3cr3t", "Authorization: Basic s3cr3t", "X-API-Key: s3cr3t", "X-Immich-Share-Key: s3cr3t",
        "Referer: https://a/share/s3cr3t?key=s3cr3t",
    )  # fmt: skip
    ex = idle("/share/s3cr3t?key=s3cr3t&KEY=s3cr3t", *lines)
    assert b"s3cr3t" in node.text(ex)
    assert b"s3cr3t" not in safe.text(ex)
    assert b"***" in safe.text(ex)
    assert safe.text(idle("/")) in (b"", b"/")
    assert b"s3cr3t" not in b" ".join(safe.items(ex))


def test_other_variables_stay() -> None:
    node = Method(EXCHANGE)
    assert redacted_variable("method", "", node, REDACTOR) is node
    assert redacted_variable("header", "Accept", node, REDACTOR) is node
    assert redacted_variable("arg", "size", node, REDACTOR) is node


# ---- what the error log is told


def _told() -> Any:
    """Return a reporter that keeps its reports. Its class is made here, because a compiled trait takes no interpreted class."""

    class Told(Reporter):
        def __init__(self) -> None:
            self.reports: list[tuple[str, str, str, dict[str, str]]] = []

        def report(self, level: str, kind: str, text: str, details: dict[str, str]) -> None:
            self.reports.append((level, kind, text, details))

    return Told()


@pytest.mark.interpreted_only
def test_faults_of_upstreams_are_reported_up_to_a_rate() -> None:
    told = _told()
    log = FaultLog(told)
    for moment in [0] * 8 + [999, 1000, 1001]:
        ex = idle()
        ex.plan = Plan("photos[0]", FakeUpstream(), site="photos")
        ex.began_ms = moment
        ex.fault = Fault(UPSTREAM_REFUSED, "192.0.2.80:2283")
        ex.upstream_name = "192.0.2.80:2283"
        log.write(ex)
    assert len(told.reports) == 7
    level, kind, text, details = told.reports[5]
    assert (level, kind) == ("warning", "upstream.refused")
    assert text == "The upstream server refused the connection. 192.0.2.80:2283"
    assert details == {"site": "photos", "method": "GET", "upstream_address": "192.0.2.80:2283", "held_back": "4"}
    assert "held_back" not in told.reports[6][3]


@pytest.mark.interpreted_only
def test_clients_and_quiet_ends_are_not_reported() -> None:
    told = _told()
    log = FaultLog(told)
    log.write(idle())
    ex = idle()
    ex.fault = Fault(CLIENT_BAD_SYNTAX)
    log.write(ex)
    assert told.reports == []


def test_a_line_may_have_a_condition() -> None:
    log = Lines()
    line = LogWhen(Not(InSet(Status(EXCHANGE), [b"200"], False)), JsonLog(log.sink, REDACTOR, b"photos", b""))
    for status in (200, 404):
        ex, _ = request(Plan("p", FakeUpstream(), log=[line]))
        respond(ex, status)
    assert [json.loads(each)["status"] for each in log.lines] == [404]
