"""Has a password that takes long to judge judged before conditions ask for it.

Facts: a condition (`is_user`) is decided at once, wherever it stands; what `Users` remember it finds there.

Rules
  A request that shows no credentials, or known ones, does not wait.
  Nobody is refused here: what a verdict means is for the conditions to say.

Not here: who judges (`plan/judge.py`), hashes (`plan/password.py`), who asks for a password (`auth_basic.py`).
"""

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Judge
from vestibule.plan.password import Users, basic_of
from vestibule.plan.sent import came_fields
from vestibule.plan.steps.claim import Claim


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
                return _Claim(ex, self, text).begin(ex, self._judge, self._reactor, users, text)
        return PASS


class _Claim(Claim):
    """A request whose credentials the next of the users may have to see as well."""

    def __init__(self, ex: Exchange, step: JudgeFirst, text: bytes) -> None:
        super().__init__(ex)
        self._step = step
        self._text = text

    def decide(self, ex: Exchange, accepted: bool) -> int:
        return self._step.ask(ex, self._text)
