"""Asks for a name and a password (RFC 7617) and lets nobody pass without.

Facts
  Browsers send credentials with every request once they were accepted, so one connection shows the same ones again
  and again, and hashes are slow on purpose.
  A realm is a quoted string (RFC 9110 11.5).

Rules
  Two Authorization lines are none: who reads the other one would be told something else.
  The field is left in the request.
  What takes long to judge is judged beside the reactor, and the request waits.

Not here: hashes (`plan/password.py`), who judges (`plan/judge.py`), the page (`plan/error_page.py`).
"""

from typing import Final

from vestibule.contract import ANSWERED, PASS, WAIT, Step
from vestibule.exchange import Exchange
from vestibule.fault import NEVER, PROXY, PROXY_DENIED, Fault, FaultKind
from vestibule.http.fields import fields_of
from vestibule.net.reactor import Reactor
from vestibule.plan.error_page import html_body, json_body, wants_json
from vestibule.plan.judge import Judge
from vestibule.plan.password import Users, basic_of
from vestibule.plan.sent import came_fields
from vestibule.plan.steps.claim import Claim
from vestibule.plan.steps.waiting import Wait

_NO_CREDENTIALS: Final = FaultKind(
    PROXY_DENIED.name, PROXY, 401, NEVER, "This request needs a name and a password that are known here.", ""
)


class BasicAuth(Step):
    """Answers 401 unless the request shows the name and password of one of the users."""

    def __init__(
        self,
        realm: bytes,
        names: list[bytes],
        secrets: list[bytes],
        reactor: Reactor | None = None,
        delay_ms: int = 0,
        judge: Judge | None = None,
    ) -> None:
        """`delay_ms` is how long an answer to who may not pass is held back, by a timer of `reactor`; `judge` judges what takes long."""
        escaped = realm.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self._challenge = b'Basic realm="%s"' % escaped
        self._asked = fields_of([(b"WWW-Authenticate", self._challenge)])
        self._users = Users(names, secrets)
        self._reactor = reactor
        self._delay_ms = delay_ms
        self._judge = judge if self._users.slow else None

    def run(self, ex: Exchange) -> int:
        lines = came_fields(ex.request).get_all(b"authorization")
        if len(lines) != 1:
            return self.decide(ex, False)
        if self._judge is None or self._reactor is None:
            return self.decide(ex, self._users.accepts(lines[0]))
        text = basic_of(lines[0])
        known = False if text is None else self._users.known(text)
        if text is None or known is not None:
            return self.decide(ex, known is True)
        return _Claim(ex, self).begin(ex, self._judge, self._reactor, self._users, text)

    def decide(self, ex: Exchange, accepted: bool) -> int:
        """Go on as a verdict says."""
        if accepted:
            return PASS
        if self._reactor is not None and self._delay_ms:
            Held(ex, self, self._reactor, self._delay_ms)
            return WAIT
        self.refuse(ex)
        return ANSWERED

    def refuse(self, ex: Exchange) -> None:
        """Answer 401."""
        fault = Fault(_NO_CREDENTIALS)
        if ex.replaces(401):
            ex.auth_answer = self._asked
            ex.fail(fault)
            return
        headers = [(b"WWW-Authenticate", self._challenge), (b"Cache-Control", b"no-store")]
        if wants_json(ex, True):
            headers.append((b"Content-Type", b"application/json"))
            body = json_body(ex, fault)
        else:
            headers.append((b"Content-Type", b"text/html; charset=utf-8"))
            headers.append((b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"))
            body = html_body(ex, fault, False)
        ex.answer(401, headers, body)


class Held(Wait):
    """One refusal that is held back."""

    def __init__(self, ex: Exchange, step: BasicAuth, reactor: Reactor, delay_ms: int) -> None:
        super().__init__(ex, reactor, delay_ms)
        self._step = step

    def go_on(self, ex: Exchange) -> None:
        self._step.refuse(ex)


class _Claim(Claim):
    """A request whose password is being judged."""

    def __init__(self, ex: Exchange, step: BasicAuth) -> None:
        super().__init__(ex)
        self._step = step

    def decide(self, ex: Exchange, accepted: bool) -> int:
        return self._step.decide(ex, accepted)
