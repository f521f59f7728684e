"""Has a password that takes long to judge judged before conditions ask for it.

Facts: a condition (`is_user`) is decided at once, wherever it stands; what `Users` remember it finds there.

Rules
  A request that shows no credentials, or known ones, does not wait.
  Nobody is refused here: what a verdict means is for the conditions to say.

Not here: who judges (`plan/judge.py`), hashes (`plan/password.py`), who asks for a password (`auth_basic.py`).
"""

from vestibule.contract import ANSWERED, PASS, WAIT, Ending, Step
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_BUSY, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Case, Judge, Waiter
from vestibule.plan.password import Users, basic_of
from vestibule.plan.sent import came_fields


class JudgeFirst(Step):
    """Waits until it is known of which of some users a request shows the name and password."""

    def __init__(self, users: list[Users], reactor: Reactor, judge: Judge) -> None:
        self._users = users
        self._reactor = reactor
        self._judge = judge

    def run(self, ex: Exchange) -> int:
        lines = came_fields(ex.request).get_all(b"authorization")
        text = basic_of(lines[0]) if len(lines) == 1 else None
        return PASS if text is None else self.ask(ex, text)

    def ask(self, ex: Exchange, text: bytes) -> int:
        """Have credentials judged by the first who have not seen them."""
        for users in self._users:
            if users.known(text) is None:
                claim = _Claim(ex, self, text)
                claim.case = self._judge.ask(self._reactor, users, text, claim)
                if claim.case is None:
                    ex.fail(Fault(PROXY_BUSY))
                    return ANSWERED
                ex.at_end(claim)
                return WAIT
        return PASS


class _Claim(Ending, Waiter):
    """One request whose credentials are being judged."""

    def __init__(self, ex: Exchange, step: JudgeFirst, text: bytes) -> None:
        self._ex: Exchange | None = ex
        self._plan = ex.plan
        self._step = step
        self._text = text
        self.case: Case | None = None

    def on_verdict(self, accepted: bool) -> None:
        ex = self._ex
        self._ex = None
        self.case = None
        if ex is not None and ex.waits_in(self._plan) and self._step.ask(ex, self._text) == PASS:
            ex.proceed()

    def on_end(self, ex: Exchange) -> None:
        self._ex = None
        if self.case is not None:
            self.case.leave(self)
            self.case = None
