"""Asks for a name and a password (RFC 7617) and lets nobody pass without.

Facts
  Browsers send credentials with every request once they were accepted, so one connection shows the same ones again
  and again, and hashes are slow on purpose.
  A realm is a quoted string (RFC 9110 11.5).

Rules
  Two Authorization lines are none: who reads the other one would be told something else.
  The field is left in the request.

Not here: hashes (`plan/password.py`), the page (`plan/error_page.py`).
"""

from typing import Final

from vestibule.contract import ANSWERED, PASS, Step
from vestibule.exchange import Exchange
from vestibule.fault import NEVER, PROXY, PROXY_DENIED, Fault, FaultKind
from vestibule.plan.error_page import html_body, json_body, wants_json
from vestibule.plan.password import Users
from vestibule.plan.sent import came_fields

_NO_CREDENTIALS: Final = FaultKind(
    PROXY_DENIED.name, PROXY, 401, NEVER, "This request needs a name and a password that are known here.", ""
)


class BasicAuth(Step):
    """Answers 401 unless the request shows the name and password of one of the users."""

    def __init__(self, realm: bytes, names: list[bytes], secrets: list[bytes]) -> None:
        escaped = realm.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self._challenge = b'Basic realm="%s"' % escaped
        self._users = Users(names, secrets)

    def run(self, ex: Exchange) -> int:
        lines = came_fields(ex.request).get_all(b"authorization")
        if len(lines) == 1 and self._users.accepts(lines[0]):
            return PASS
        fault = Fault(_NO_CREDENTIALS)
        headers = [(b"WWW-Authenticate", self._challenge), (b"Cache-Control", b"no-store")]
        if wants_json(ex, True):
            headers.append((b"Content-Type", b"application/json"))
            body = json_body(ex, fault)
        else:
            headers.append((b"Content-Type", b"text/html; charset=utf-8"))
            headers.append((b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"))
            body = html_body(ex, fault, False)
        ex.answer(401, headers, body)
        return ANSWERED
