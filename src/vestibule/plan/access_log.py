"""One line for each finished exchange.

Facts: everything in a request is chosen by a stranger. A line feed in a log makes a second line, an
escape drives the terminal of whoever reads it, half a character breaks the reader's parser.

Rules
  A line is exactly one line: JSON is valid and in ASCII whatever came, other formats escape control
  bytes, quotes, backslashes and bytes over 0x7e as `\\xHH`.
  Secrets are redacted (`redact.py`), in the target, the Referer and in templates.
  This runs once per request: what the fields of a connection say is made into text once and kept.

Not here: writing (`log_sink.py`).
"""

import json
from typing import Final

from vestibule.contract import LogLine
from vestibule.exchange import Exchange
from vestibule.fault import UPSTREAM
from vestibule.http.fields import Fields
from vestibule.plan.expr import Node
from vestibule.plan.log_sink import LogSink
from vestibule.plan.redact import HIDDEN, SECRET_FIELDS, Redactor
from vestibule.plan.request_id import REQUEST_ID_SLOT
from vestibule.plan.sent import SentFields, came_fields, came_target
from vestibule.plan.variables import ALMANAC, now_ms, total_ms

# Visible ASCII and the blank, except what a quoted text escapes.
_SAFE: Final = bytes(c for c in range(32, 127) if c not in (34, 92))


# Servers whose text is kept, for each log line.
_SERVERS_MOST: Final = 256


def json_text(value: bytes) -> bytes:
    """Return bytes as a JSON string in ASCII; what is not UTF-8 becomes U+FFFD."""
    if not value.translate(None, _SAFE):
        return b'"' + value + b'"'
    return json.dumps(value.decode("utf-8", "replace")).encode("ascii")


# Nearly all methods and versions there are; the rest is checked like anything else.
_WORDS: Final[dict[bytes, bytes]] = {
    word: json_text(word) for word in b"GET HEAD POST PUT DELETE PATCH OPTIONS HTTP/1.0 HTTP/1.1 HTTP/2.0".split()
}


def _word(value: bytes) -> bytes:
    known = _WORDS.get(value)
    return json_text(value) if known is None else known


def log_text(value: bytes) -> bytes:
    """Return bytes as they may stand within quotes on one line."""
    if not value.translate(None, _SAFE):
        return value
    out: list[bytes] = []
    for i in range(len(value)):
        c = value[i : i + 1]
        if c in _SAFE:
            out.append(c)
        elif c in (b'"', b"\\"):
            out.append(b"\\" + c)
        else:
            out.append(b"\\x%02x" % value[i])
    return b"".join(out)


class LogWhen(LogLine):
    """Writes a line only where a test is true."""

    def __init__(self, condition: Node, line: LogLine) -> None:
        self._condition = condition
        self._line = line

    def write(self, ex: Exchange) -> None:
        if self._condition.test(ex):
            self._line.write(ex)


class JsonLog(LogLine):
    """One JSON object a line. `site` and `upstream` are names."""

    def __init__(self, sink: LogSink, redactor: Redactor, site: bytes, upstream: bytes) -> None:
        self._sink = sink
        self._redactor = redactor
        self._site = b',"site":' + json_text(site)
        self._upstream = b',"upstream":' + json_text(upstream)
        self._servers: dict[str, bytes] = {}

    def write(self, ex: Exchange) -> None:
        head = ex.request
        response = ex.response
        target = self._redactor.target(came_target(head))
        # One formatting for all that is always there costs half of joining the parts.
        line = b'{"time":"%s"%s,"method":%s,"target":%s,"protocol":%s,"status":%d,"bytes_in":%d,"bytes_out":%d,"total_ms":%d%s' % (
            ALMANAC.iso(now_ms()),
            self._note(ex),
            _word(head.method),
            json_text(target),
            _word(head.protocol),
            0 if response is None else response.status,
            ex.request_bytes,
            ex.response_bytes,
            total_ms(ex),
            self._site,
        )
        if ex.upstream_name:
            line += self._server(ex.upstream_name)
            if ex.head_ms >= 0:
                line += b',"head_ms":%d' % ex.head_ms
            if ex.connect_ms >= 0:
                line += b',"upstream_connect_ms":%d' % ex.connect_ms
        if ex.datagrams_in:
            line += b',"datagrams_in":%d,"datagrams_out":%d' % (ex.datagrams_in, ex.datagrams_out)
        slots = ex.variables
        if slots is not None and slots[REQUEST_ID_SLOT]:
            line += b',"request_id":' + json_text(slots[REQUEST_ID_SLOT])
        if ex.fault is not None:
            line += self._told_fault(ex)
        self._sink.add(line + b"}\n")

    def _told_fault(self, ex: Exchange) -> bytes:
        fault = ex.fault
        assert fault is not None
        text = b',"fault":' + json_text(fault.kind.name.encode())
        # Details of the client's side quote the request, and with it what must be redacted.
        if fault.detail and fault.kind.side == UPSTREAM:
            text += b',"detail":' + json_text(fault.detail.encode("utf-8", "replace"))
        return text

    def _server(self, name: str) -> bytes:
        """Return what is said of a server; there are few."""
        known = self._servers.get(name)
        if known is None:
            known = self._upstream + b',"upstream_address":' + json_text(name.encode())
            if len(self._servers) >= _SERVERS_MOST:
                self._servers.clear()
            self._servers[name] = known
        return known

    def _note(self, ex: Exchange) -> bytes:
        """Return what depends on the connection and its fields alone, the address of the client included."""
        fields = ex.request.fields
        if not isinstance(fields, SentFields):
            return self._make_note(ex, fields)
        if fields.note_owner is not self._redactor:
            fields.note = self._make_note(ex, fields.came)
            fields.note_owner = self._redactor
        return fields.note

    def _make_note(self, ex: Exchange, came: Fields) -> bytes:
        note = b',"client_ip":' + json_text(ex.client_address)
        if ex.client_address != ex.client.address:
            note += b',"peer_ip":' + json_text(ex.client.address)
        note += b',"host":' + json_text(ex.request.authority)
        referer = came.get(b"referer")
        if referer:
            note += b',"referer":' + json_text(self._redactor.link(referer))
        agent = came.get(b"user-agent")
        if agent:
            note += b',"user_agent":' + json_text(agent)
        return note


class CombinedLog(LogLine):
    """The combined format of Apache and nginx, which statistics read."""

    def __init__(self, sink: LogSink, redactor: Redactor) -> None:
        self._sink = sink
        self._redactor = redactor

    def write(self, ex: Exchange) -> None:
        head = ex.request
        response = ex.response
        came = came_fields(head)
        referer = came.get(b"referer") or b""
        agent = came.get(b"user-agent") or b""
        self._sink.add(
            b'%s - - [%s] "%s %s %s" %s %d "%s" "%s"\n'
            % (
                log_text(ex.client_address),
                ALMANAC.log(now_ms()),
                log_text(head.method),
                log_text(self._redactor.target(came_target(head))),
                log_text(head.protocol),
                b"-" if response is None else b"%d" % response.status,
                ex.response_bytes,
                log_text(self._redactor.link(referer)) or b"-",
                log_text(agent) or b"-",
            )
        )


class TemplateLog(LogLine):
    """A line of one's own. `template` was made of redacted and escaped nodes (`safe_part`)."""

    def __init__(self, sink: LogSink, template: Node) -> None:
        self._sink = sink
        self._template = template

    def write(self, ex: Exchange) -> None:
        self._sink.add(self._template.text(ex) + b"\n")


class Escaped(Node):
    """The text of a part of a template, as it may stand on a line."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        found = self._inner.find(ex)
        return None if found is None else log_text(found)


class JsonEscaped(Node):
    """The text of a part of a template, as it may stand within the quotes of a string of JSON."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        found = self._inner.find(ex)
        return None if found is None else json_text(found)[1:-1]


class Redacted(Node):
    """The value of a variable that holds a target, a query or a link, without its secrets."""

    def __init__(self, inner: Node, redactor: Redactor, form: int) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._redactor = redactor
        self._form = form

    def find(self, ex: Exchange) -> bytes | None:
        found = self._inner.find(ex)
        return self._redacted(found) if found else found

    def items(self, ex: Exchange) -> list[bytes]:
        return [self._redacted(value) for value in self._inner.items(ex) if value]

    def _redacted(self, found: bytes) -> bytes:
        if self._form == AS_TARGET:
            return self._redactor.target(found)
        if self._form == AS_QUERY:
            return self._redactor.query(found)
        return self._redactor.link(found) if self._form == AS_LINK else HIDDEN


# What a redacted value is.
AS_TARGET: Final = 0
AS_QUERY: Final = 1
AS_LINK: Final = 2
AS_SECRET: Final = 3


_FIELD_VARIABLES: Final = frozenset(
    (
        "header",
        "upstream_header",
        "each_upstream_header",
        "header_line",
        "each_header",
        "request_header",
        "request_header_line",
        "each_request_header",
        "response_header",
        "response_header_line",
        "each_response_header",
        "auth_header",
    )
)
"""Variables whose argument is the name of a field, and whose value is one."""


def redacted_variable(name: str, argument: str, node: Node, redactor: Redactor) -> Node:
    """Return a variable as a log may have it: the node itself unless it can hold a secret."""
    if name in ("target", "path", "decoded_path"):
        return Redacted(node, redactor, AS_TARGET)
    if name == "query":
        return Redacted(node, redactor, AS_QUERY)
    if name == "cookie" or (name == "arg" and redactor.is_secret(argument.encode("utf-8", "surrogateescape"))):
        return Redacted(node, redactor, AS_SECRET)
    if name in _FIELD_VARIABLES:
        field = argument.lower()
        if field.encode("utf-8", "surrogateescape") in SECRET_FIELDS:
            return Redacted(node, redactor, AS_SECRET)
        if field in ("referer", "location", "content-location", "x-original-uri", "x-forwarded-uri"):
            return Redacted(node, redactor, AS_LINK)
    return node
