"""``Require`` and ``AuthType Basic``: who may enter.

Facts: several requirements in one section are joined by *or*; the last section that fits a request and has any decides alone.

Rules: requirements are lowered to refusals and one question for a password. What mixes them in other ways is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.read import ReadText
from vestibule.model.config import Action, BasicAuth, ClientCertificate, Deny, When
from vestibule.model.expr import AllOf, AnyOf, Compare, Const, Expr, InNet, InSet, Not, Var
from vestibule.model.quantity import parse_network

_LOCAL = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a request needs: a test it must pass, and users of whom it must be one. Either may be missing."""

    test: Expr | None = None
    users: tuple[str, ...] | None = None
    either: bool = False


class Access:
    """Lowers the requirements of sections."""

    def __init__(self, scope: Scope, read_text: ReadText) -> None:
        self._scope = scope
        self._record = scope.record
        self._read_text = read_text

    def actions(self) -> tuple[Action, ...] | None:
        """Return the actions of the requirements of this section; None where it has none."""
        directives = self._scope.own("Require", "RequireAll", "RequireAny", "RequireNone")
        if not directives:
            return None
        return self._lowered(self._any(directives))

    def client_certificate(self) -> tuple[Action, ...] | None:
        """Return the actions of ``SSLVerifyClient`` in this section; None where it has none."""
        directives = self._scope.own("SSLVerifyClient")
        if not directives:
            return None
        how = directives[-1].text().lower()
        if how not in ("require", "optional", "none"):
            not_built(self._record, directives[-1], 0, f"`{how}` in a section", "write `require`, `optional` or `none`")
        return (When(Var("tls"), (ClientCertificate(403),)),) if how == "require" else ()

    def _lowered(self, wanted: _Wanted) -> tuple[Action, ...]:
        auth = self._basic_auth(wanted.users) if wanted.users is not None else None
        actions: list[Action] = []
        if wanted.test is not None:
            turned_away = _negated(wanted.test)
            if auth is not None and wanted.either:
                return (auth,) if turned_away == Const(True) else () if turned_away == Const(False) else (When(turned_away, (auth,)),)
            if turned_away == Const(True):
                actions.append(Deny(403))
            elif turned_away != Const(False):
                actions.append(When(turned_away, (Deny(403),)))
        return (*actions, auth) if auth is not None else tuple(actions)

    def _any(self, directives: list[Directive]) -> _Wanted:
        return self._joined([self._one(each) for each in directives], either=True, at=directives[0])

    def _joined(self, parts: list[_Wanted], either: bool, at: Directive) -> _Wanted:
        """Join requirements; a password is asked for once."""
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts if part.test is not None]
        users = [part.users for part in parts if part.users is not None]
        if any(part.test is not None and part.users is not None for part in parts):
            not_built(self._record, at, 0, "a mixture of addresses and users", "write one level of `RequireAny` or `RequireAll`")
        named: tuple[str, ...] | None = None
        if users:
            named = () if () in users else tuple(dict.fromkeys([name for each in users for name in each]))
        joined = _either(tests) if either else _every(tests)
        return _Wanted(joined if tests else None, named, either)

    def _one(self, directive: Directive) -> _Wanted:
        if directive.name == "requireany":
            return self._any(list(directive.block or ())) if directive.block else _Wanted(Const(True))
        if directive.name == "requireall":
            parts = [self._one(each) for each in directive.block or ()]
            return self._joined(parts, either=False, at=directive) if parts else _Wanted(Const(True))
        if directive.name == "requirenone":
            inner = self._any(list(directive.block or ())) if directive.block else _Wanted(Const(False))
            if inner.users is not None:
                not_built(self._record, directive, 0, "users in `RequireNone`")
            return _Wanted(_negated(inner.test or Const(False)))
        return self._require(directive)

    def _require(self, directive: Directive) -> _Wanted:
        words = list(directive.args)
        negated = words[0].text.lower() == "not"
        if negated:
            words.pop(0)
        kind = words[0].text.lower() if words else ""
        values = [word.text for word in words[1:]]
        if kind == "valid-user":
            return _Wanted(users=())
        if kind == "user":
            return _Wanted(users=tuple(values))
        test = self._test(directive, kind, values)
        return _Wanted(_negated(test) if negated else test)

    def _test(self, directive: Directive, kind: str, values: list[str]) -> Expr:
        if kind == "all" and values in (["granted"], ["denied"]):
            return Const(values == ["granted"])
        if kind == "ip" and values:
            return InNet(Var("client_ip"), tuple([each for each in [self._network(directive, value) for value in values] if each]))
        if kind == "ssl":
            return Var("tls")
        if kind == "ssl-verify-client":
            return Compare("==", Var("tls_client_verify"), Const("SUCCESS"))
        if kind == "local":
            return InNet(Var("client_ip"), _LOCAL)
        if kind == "method" and values:
            methods = [value.upper() for value in values]
            return InSet(Var("method"), (*methods, "HEAD") if "GET" in methods else tuple(methods))
        if kind in ("host", "forward-dns", "group", "env", "expr", "ldap-user", "ldap-group", "claim"):
            not_built(self._record, directive, 0, f"`Require {kind}`", "write `Require ip` or `Require valid-user`")
        else:
            message = f"`Require {' '.join(directive.texts)}` is no requirement"
            self._record.error(directive.place(0), "bad-value", message, "write `Require all granted`, `ip`, `valid-user`")
        return Const(False)

    def _network(self, directive: Directive, text: str) -> str:
        # `10.1` is short for the network of all addresses that begin so.
        parts = text.split(".")
        if "/" not in text and ":" not in text and 1 <= len(parts) <= 3 and all(part.isdigit() for part in parts):
            text = ".".join([*parts, *["0"] * (4 - len(parts))]) + f"/{8 * len(parts)}"
        try:
            return parse_network(text)
        except ValueError as bad:
            self._record.error(directive.place(1), "bad-network", str(bad))
            return ""

    def _basic_auth(self, users: tuple[str, ...]) -> BasicAuth | None:
        scope = self._scope
        kind = scope.find("AuthType")
        file = scope.find("AuthUserFile")
        span = scope.directives[0].span
        if kind is None or kind.text().lower() != "basic":
            self._record.error(kind.span if kind else span, "missing", "users are asked for by `AuthType Basic` only", "write it here")
            return None
        if file is None:
            self._record.error(kind.span, "missing", "`AuthType Basic` needs its users", "add `AuthUserFile`")
            return None
        provider = scope.find("AuthBasicProvider")
        if provider is not None and provider.text().lower() != "file":
            not_built(self._record, provider, 0, f"the users of `{provider.text()}`", "put them into a file")
        try:
            text = self._read_text(file.text())
        except (OSError, UnicodeError) as bad:
            reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
            self._record.error(file.place(0), "include", f"`{file.text()}` cannot be read: {reason}", "check the path")
            return None
        known: dict[str, str] = {}
        for line in text.splitlines():
            name, colon, secret = line.strip().partition(":")
            if colon and not name.startswith("#") and (not users or name in users):
                known.setdefault(name, secret.partition(":")[0])
        return BasicAuth(tuple(known.items()), scope.text("AuthName", "vestibule"))


def _negated(test: Expr) -> Expr:
    if isinstance(test, Const):
        return Const(test.value is False)
    return test.test if isinstance(test, Not) else Not(test)


def _either(tests: list[Expr]) -> Expr:
    if Const(True) in tests:
        return Const(True)
    kept = [test for test in tests if test != Const(False)]
    if len(kept) > 1 and all(isinstance(test, InNet) and test.subject == Var("client_ip") for test in kept):
        return InNet(Var("client_ip"), tuple([network for test in kept if isinstance(test, InNet) for network in test.networks]))
    return Const(False) if not kept else kept[0] if len(kept) == 1 else AnyOf(tuple(kept))


def _every(tests: list[Expr]) -> Expr:
    if Const(False) in tests:
        return Const(False)
    kept = [test for test in tests if test != Const(True)]
    return Const(True) if not kept else kept[0] if len(kept) == 1 else AllOf(tuple(kept))
