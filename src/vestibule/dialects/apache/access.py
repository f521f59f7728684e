"""``Require``, ``AuthType Basic``, and ``Order``, ``Allow``, ``Deny``, ``Satisfy`` of 2.2: who may enter.

Facts:
* Several requirements in one section are joined by *or*; the last section that fits a request and has any decides alone.
* What httpd 2.2 had (mod_access_compat) is asked besides, or, with ``Satisfy Any``, instead.
* Inside ``<Limit>`` requirements are for some methods only. ``AuthType`` and its kin come from sections around, too.
* ``AuthMerging`` joins the requirements of a section with those of the sections around it; without it they take their place.
* What is required *not* to be is never a reason to let somebody in. Who may not enter is asked who he is, too.

Rules: requirements are a tree of tests and users. What no user could mend is a refusal; what a user would mend asks for one. Where
branches want different users, the tree is followed for each user of the file, and users of one fate are asked for together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from vestibule.dialects.apache.expressions import negated, read_test
from vestibule.dialects.apache.fields import is_set
from vestibule.dialects.apache.patterns import network
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names
from vestibule.dialects.read import ReadText
from vestibule.model.config import Action, BasicAuth, ClientCertificate, Deny, When
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Compare, Const, Expr, If, InNet, InSet, Not, Var

_LOCAL = ("127.0.0.0/8", "::1/128")
_REQUIRE = ("Require", "RequireAll", "RequireAny", "RequireNone")
_COMPAT = ("Order", "Allow", "Deny", "Satisfy")
_LIMITS = ("Limit", "LimitExcept")
_MERGINGS = ("and", "or", "off")
_NOBODY = (("nobody", "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA="),)

_MOST_FATES = 3


@dataclass(frozen=True, slots=True)
class _Users:
    """One of these users, or, with none named, any; or any but these."""

    names: tuple[str, ...]
    groups: tuple[str, ...] = ()
    are_out: bool = False


@dataclass(frozen=True, slots=True)
class _Joined:
    """Requirements of which all must hold, or one."""

    every: bool
    parts: tuple[_Tree, ...]


_Tree: TypeAlias = Expr | _Users | _Joined


class Access:
    """Lowers the requirements of one section. ``around`` are the sections that hold wherever it does, the innermost first."""

    def __init__(self, scope: Scope, read_text: ReadText, names: Names, around: Sequence[Scope] = ()) -> None:
        self._scope = scope
        self._record = scope.record
        self._read_text = read_text
        self._names = names
        self._around = (scope, *around)

    def actions(self) -> tuple[Action, ...] | None:
        """Return the actions of the requirements of this section; None where it has none."""
        tree = self._tree(self._scope)
        return None if tree is None else self._lowered(self._merged(tree, 0))

    def user(self) -> Expr:
        """Return the name of the user of a request that passes: empty where it may without one."""
        found = [each for action in self.actions() or () for each in (action.actions if isinstance(action, When) else (action,))]
        if not any(isinstance(each, (BasicAuth, When)) for each in found):
            return EMPTY
        tree = self._tree(self._scope)
        assert tree is not None
        without = _value(self._merged(tree, 0), False)
        return Var("user") if without == Const(False) else If(without, EMPTY, Var("user"))

    def _tree(self, scope: Scope) -> _Tree | None:
        """Return what a section requires by itself; None where it requires nothing."""
        parts: list[_Tree] = []
        directives = scope.own(*_REQUIRE)
        if directives:
            parts.append(self._any(directives))
        old = self._old(scope)
        if old is not None:
            parts.append(old)
        for limit in scope.own(*_LIMITS):
            part = self._limited(limit)
            if part is not None:
                parts.append(part)
        if not parts:
            return None
        satisfy = scope.own("Satisfy")
        every = not satisfy or satisfy[-1].text().lower() != "any"
        return parts[0] if len(parts) == 1 else _Joined(every, tuple(parts))

    def _merged(self, tree: _Tree, at: int) -> _Tree:
        """Return what the section at a place, counted outwards, requires with what `AuthMerging` adds from those around it."""
        directives = self._around[at].own("AuthMerging")
        how = directives[-1].text().lower() if directives else "off"
        if how not in _MERGINGS:
            self._record.error(directives[-1].place(0), "bad-value", f"`{how}` is no way of merging", "write `Off`, `And` or `Or`")
        if how not in ("and", "or"):
            return tree
        for place in range(at + 1, len(self._around)):
            outer = self._tree(self._around[place])
            if outer is not None:
                return _Joined(how == "and", (self._merged(outer, place), tree))
        return tree

    def merges(self) -> Directive | None:
        """Return what asks for the requirements of other sections, too."""
        found = self._scope.own("AuthMerging")
        return found[-1] if found and found[-1].text().lower() in ("and", "or") else None

    def methods(self) -> tuple[Action, ...] | None:
        """Return the actions of ``AllowMethods`` in this section, which is asked before who it is; None where it has none."""
        directives = self._scope.own("AllowMethods")
        words = [word for each in directives for word in each.texts]
        if not directives or words[-1].lower() == "reset":
            return () if directives else None
        return (When(negated(_methods(words)), (Deny(405),)),)

    def client_certificate(self) -> tuple[Action, ...] | None:
        """Return the actions of ``SSLVerifyClient`` and ``SSLRequireSSL`` in this section; None where it has none."""
        plain: tuple[Action, ...] = (When(Not(Var("tls")), (Deny(403),)),) if self._scope.own("SSLRequireSSL") else ()
        for directive in self._scope.own("SSLRequire"):
            test = read_test(self._record, self._names, directive.raw, directive.place(0))
            if test is not None and test != Const(True):
                plain += (When(negated(test), (Deny(403),)),)
        directives = self._scope.own("SSLVerifyClient")
        if not directives:
            return plain or None
        how = directives[-1].text().lower()
        if how not in ("require", "optional", "none"):
            not_built(self._record, directives[-1], 0, f"`{how}` in a section", "write `require`, `optional` or `none`")
        return (*plain, When(Var("tls"), (ClientCertificate(403),))) if how == "require" else plain

    # ------------------------------------------------------------ trees

    def _lowered(self, tree: _Tree) -> tuple[Action, ...]:
        actions: list[Action] = []
        without = negated(_value(tree, False))
        hopeless = negated(_value(tree, True))
        if hopeless == Const(True):
            return (Deny(403),)
        if hopeless != Const(False):
            actions.append(When(hopeless, (Deny(403),)))
        wanted = _alike(tree)
        if wanted == [] or without == Const(False):
            return tuple(actions)
        asked = self._fates(tree, hopeless) if wanted is None else self._basic_auth(wanted[0])
        # What no user could mend was refused before; the rest is asked.
        alone = without == Const(True) or (hopeless != Const(False) and without == hopeless) or _is_every(tree)
        return (*actions, *(asked if alone or not asked else (When(without, asked),)))

    def _fates(self, tree: _Tree, refused: Expr) -> tuple[Action, ...]:
        """Return how users are asked for, where it depends on the request which of them may enter. Some are refused already."""
        everybody = self._basic_auth(_Users(()))
        groups = {each: self._members(each) for each in dict.fromkeys(_users_in(tree))}
        if not everybody or None in groups.values():
            return ()
        (auth,) = everybody
        assert isinstance(auth, BasicAuth)
        fates: dict[Expr, list[str]] = {}
        for name, _ in auth.users:
            known = {each: _has(each, members or (), name) for each, members in groups.items()}
            fates.setdefault(_value(tree, known), []).append(name)
        always = fates.pop(Const(True), [])
        fates.pop(Const(False), None)
        if len(fates) > _MOST_FATES:
            not_built(self._record, self._scope.directives[0], 0, "so rich a mixture of users", "write fewer levels of `RequireAny`")
            return ()
        made: list[Action] = []
        for chosen in range(2 ** len(fates)):
            tests: list[Expr] = []
            names = list(always)
            for at, (fate, those) in enumerate(fates.items()):
                is_met = bool(chosen >> at & 1)
                tests.append(fate if is_met else negated(fate))
                names += those if is_met else []
            users = tuple([each for each in auth.users if each[0] in names])
            test = _every(tests)
            if not users and test == refused:
                continue
            # Where nobody may, everybody is asked all the same: nobody has that password.
            action = BasicAuth(users or _NOBODY, auth.realm)
            made.append(action if test == Const(True) else When(test, (action,)))
        return tuple(made)

    def _any(self, directives: Sequence[Directive]) -> _Tree:
        self._check_positive(directives)
        parts = tuple([self._one(each) for each in directives])
        return parts[0] if len(parts) == 1 else _Joined(False, parts)

    def _check_positive(self, directives: Sequence[Directive]) -> None:
        """Note what is required not to be, where one of several is enough: as in httpd it lets nobody in."""
        for each in directives:
            if _is_negative(each):
                hint = "write it in `<RequireAll>`, beside who may, such as `Require all granted`"
                self._record.error(each.span, "no-effect", f"`{each.written}` here says only who may not", hint)

    def _one(self, directive: Directive) -> _Tree:
        block = directive.block or ()
        if directive.name == "require":
            return self._require(directive)
        if not block:
            return Const(True)
        if directive.name == "requireall":
            if all(_is_negative(each) for each in block):
                self._check_positive(block)
            return _Joined(True, tuple([self._one(each) for each in block]))
        if directive.name == "requireany":
            return self._any(block)
        self._check_positive(block)
        return _Joined(True, tuple([_not(self._one(each)) for each in block]))

    def _require(self, directive: Directive) -> _Tree:
        words = list(directive.args)
        is_not = words[0].text.lower() == "not"
        if is_not:
            words.pop(0)
        kind = words[0].text.lower() if words else ""
        values = [word.text for word in words[1:]]
        if kind in ("valid-user", "user", "group"):
            names = tuple(values) if kind == "user" else ()
            return _Users(names, tuple(values) if kind == "group" else (), is_not)
        test = self._test(directive, kind, values)
        return negated(test) if is_not else test

    def _test(self, directive: Directive, kind: str, values: list[str]) -> Expr:
        if kind == "all" and values in (["granted"], ["denied"]):
            return Const(values == ["granted"])
        if kind == "ip" and values:
            return self._in_networks(directive, values)
        if kind == "ssl":
            return Var("tls")
        if kind == "ssl-verify-client":
            return Compare("==", Var("tls_client_verify"), Const("SUCCESS"))
        if kind == "local":
            return InNet(Var("client_ip"), _LOCAL)
        if kind == "method" and values:
            return _methods(values)
        if kind == "env" and values:
            return _either([self._environment(value) for value in values])
        if kind == "expr" and values:
            text = directive.raw.lstrip()
            text = text[3:].lstrip() if text.lower().startswith("not ") else text
            text = text[4:].strip()
            if len(values) == 1:
                text = values[0]
            return read_test(self._record, self._names, text, directive.place(1)) or Const(False)
        if kind in ("host", "forward-dns", "ldap-user", "ldap-group", "ldap-attribute", "ldap-filter", "claim", "file-owner", "dbd-group"):
            not_built(self._record, directive, 0, f"`Require {kind}`", "write `Require ip` or `Require valid-user`")
        else:
            message = f"`Require {' '.join(directive.texts)}` is no requirement"
            self._record.error(directive.place(0), "bad-value", message, "write `Require all granted`, `ip`, `valid-user`")
        return Const(False)

    def _environment(self, name: str) -> Expr:
        return is_set(self._names.environment.get(name, EMPTY))

    def _in_networks(self, directive: Directive, values: Sequence[str]) -> Expr:
        found: list[str] = []
        for value in values:
            try:
                found.append(network(value))
            except ValueError as bad:
                self._record.error(directive.place(1), "bad-network", str(bad))
        return InNet(Var("client_ip"), tuple(found))

    # ------------------------------------------------------------ 2.2

    def _old(self, scope: Scope) -> _Tree | None:
        """Return the test of ``Order`` with its ``Allow`` and ``Deny``; None where there is none."""
        if not scope.own("Order", "Allow", "Deny"):
            return None
        orders = scope.own("Order")
        order = "".join(orders[-1].texts).lower() if orders else "deny,allow"
        allowed = _either([self._from(each) for each in scope.own("Allow")])
        denied = _either([self._from(each) for each in scope.own("Deny")])
        if order == "deny,allow":
            return _either([allowed, negated(denied)])
        if order in ("allow,deny", "mutual-failure"):
            return _every([allowed, negated(denied)])
        self._record.error(orders[-1].place(0), "bad-value", f"`{order}` is no order", "write `Require` instead")
        return None

    def _from(self, directive: Directive) -> Expr:
        """Return whom ``Allow from`` or ``Deny from`` is about."""
        words = list(directive.texts)
        if words[0].lower() != "from" or len(words) < 2:
            self._record.error(directive.span, "bad-value", f"`{directive.written}` is followed by `from`", "write `Require` instead")
            return Const(False)
        tests: list[Expr] = []
        for at, word in enumerate(words[1:], 1):
            lower = word.lower()
            if lower == "all":
                return Const(True)
            if lower.startswith("env="):
                name = word[4:]
                test = self._environment(name.removeprefix("!"))
                tests.append(negated(test) if name.startswith("!") else test)
            elif lower[0].isdecimal() or ":" in lower:
                tests.append(self._in_networks(directive, [word]))
            else:
                not_built(self._record, directive, at, f"the name `{word}` of a client", "write its address")
        return _either(tests)

    def _limited(self, limit: Directive) -> _Tree | None:
        """Return what is required of some methods only."""
        scope = Scope(self._record, limit.block or (), None)
        directives = scope.own(*_REQUIRE)
        parts: list[_Tree] = [self._any(directives)] if directives else []
        old = self._old(scope)
        if old is not None:
            parts.append(old)
        if not parts:
            return None
        among = _methods(limit.texts)
        others = among if limit.name == "limitexcept" else negated(among)
        satisfy = scope.own("Satisfy")
        every = not satisfy or satisfy[-1].text().lower() != "any"
        return _Joined(False, (others, _Joined(every, tuple(parts))))

    # ------------------------------------------------------------ users

    def _nearest(self, name: str) -> Directive | None:
        """Return a directive of this section, or of those around it."""
        for scope in self._around:
            found = scope.own(name)
            if found:
                return found[-1]
        return None

    def _basic_auth(self, users: _Users) -> tuple[Action, ...]:
        kind, file = self._nearest("AuthType"), self._nearest("AuthUserFile")
        span = self._scope.directives[0].span
        if kind is None or kind.text().lower() != "basic":
            name = kind.text().lower() if kind is not None else ""
            if name in ("digest", "form", "openid-connect", "mellon", "shibboleth", "gssapi", "kerberos", "ntlm"):
                assert kind is not None
                not_built(self._record, kind, 0, f"`AuthType {kind.text()}`", "write `AuthType Basic`, over TLS")
            else:
                self._record.error(kind.span if kind else span, "missing", "users are asked for by `AuthType Basic` only", "write it here")
            return ()
        if file is None:
            self._record.error(kind.span, "missing", "`AuthType Basic` needs its users", "add `AuthUserFile`")
            return ()
        provider = self._nearest("AuthBasicProvider")
        if provider is not None and provider.texts != ("file",):
            not_built(self._record, provider, 0, f"the users of `{' '.join(provider.texts)}`", "put them into a file")
        wanted = self._members(users)
        text = self._read(file)
        if text is None or wanted is None:
            return ()
        known: dict[str, str] = {}
        for line in text.splitlines():
            name, colon, secret = line.strip().partition(":")
            if colon and not name.startswith("#") and (not wanted or name in wanted):
                known.setdefault(name, secret.partition(":")[0])
        realm = self._nearest("AuthName")
        return (BasicAuth(tuple(known.items()), realm.text() if realm is not None else "vestibule"),)

    def _read(self, file: Directive) -> str | None:
        try:
            return self._read_text(file.text())
        except (OSError, UnicodeError) as bad:
            reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
            self._record.error(file.place(0), "include", f"`{file.text()}` cannot be read: {reason}", "check the path")
            return None

    def _members(self, users: _Users) -> tuple[str, ...] | None:
        """Return the names of users and of the members of groups; empty is everybody."""
        if not users.groups:
            return users.names
        file = self._nearest("AuthGroupFile")
        if file is None:
            self._record.error(self._scope.directives[0].span, "missing", "`Require group` needs its groups", "add `AuthGroupFile`")
            return None
        text = self._read(file)
        if text is None:
            return None
        found = list(users.names)
        for line in text.splitlines():
            name, colon, members = line.partition(":")
            if colon and name.strip() in users.groups:
                found.extend(members.split())
        # Groups without members are nobody, not everybody.
        return tuple(dict.fromkeys(found)) or ("",)


def _users_in(tree: _Tree) -> list[_Users]:
    if isinstance(tree, _Users):
        return [tree]
    return [each for part in tree.parts for each in _users_in(part)] if isinstance(tree, _Joined) else []


def _is_negative(directive: Directive) -> bool:
    return directive.name == "requirenone" or (directive.name == "require" and directive.text().lower() == "not")


def _alike(tree: _Tree) -> list[_Users] | None:
    """Return the users a tree wants, one at most; None where it depends on the request who may enter."""
    found = list(dict.fromkeys(_users_in(tree)))
    if not any(each.are_out for each in found):
        if len(found) < 2:
            return found
        if isinstance(tree, _Joined) and not tree.every and all(not isinstance(part, _Joined) for part in tree.parts):
            if any(not each.names and not each.groups for each in found):
                return [_Users(())]
            names = tuple(dict.fromkeys([name for each in found for name in each.names]))
            return [_Users(names, tuple(dict.fromkeys([group for each in found for group in each.groups])))]
    return None


def _not(tree: _Tree) -> _Tree:
    """Return the opposite of a tree."""
    if isinstance(tree, _Users):
        return replace(tree, are_out=not tree.are_out)
    if isinstance(tree, _Joined):
        return _Joined(not tree.every, tuple([_not(part) for part in tree.parts]))
    return negated(tree)


def _has(users: _Users, members: Sequence[str], name: str) -> bool:
    """Tell whether a user who has shown who he is is one of these; all members are named, or everybody is meant."""
    return (not members or name in members) != users.are_out


def _value(tree: _Tree, shown: bool | dict[_Users, bool]) -> Expr:
    """Return the test that a tree is, if users are shown, or if none is, or if one is who is among some users."""
    if isinstance(tree, _Users):
        # Who has not shown who he is is nobody who is out.
        return Const((shown or tree.are_out) if isinstance(shown, bool) else shown[tree])
    if not isinstance(tree, _Joined):
        return tree
    parts = [_value(part, shown) for part in tree.parts]
    return _every(parts) if tree.every else _either(parts)


def _is_every(tree: _Tree) -> bool:
    """Tell whether no request passes a tree without a user."""
    if isinstance(tree, _Users):
        return not tree.are_out
    return isinstance(tree, _Joined) and tree.every and any(_is_every(part) for part in tree.parts)


def _methods(values: Sequence[str]) -> Expr:
    methods = [value.upper() for value in values]
    return InSet(Var("method"), (*methods, "HEAD") if "GET" in methods and "HEAD" not in methods else tuple(methods))


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
