"""``proxy_pass`` and what belongs to it: the path that is asked for, fields of the request and of the answer.

Facts:
* The Host sent upstream is ``$proxy_host``, the name in ``proxy_pass``, unless ``proxy_set_header Host`` says otherwise.
* A path in ``proxy_pass`` takes the place of the location's prefix, in the decoded path; without one the path goes as it came.
  Only the server sees it: for ``$uri`` and whoever answers in the place of an error the path is the one before.
* With variables it may be known from the request alone where it goes: to an ``upstream`` of that name, else to that host.
* A redirect of the upstream to itself is rewritten to us unless ``proxy_redirect`` says otherwise.
* Connection, Upgrade and their kin belong to one connection; vestibule writes them, and WebSockets pass without them.

Not here: which location proxies (``location``), servers (``upstreams``).
"""

from __future__ import annotations

import re
from dataclasses import replace

from vestibule.dialects.nginx.answers import added_fields, cookie_actions, substitutions
from vestibule.dialects.nginx.early import known_at
from vestibule.dialects.nginx.flow import decoded, not_built
from vestibule.dialects.nginx.levels import forwarding_of
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.origin import origin_of, placed
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.upstreams import Target, Upstreams
from vestibule.dialects.nginx.variables import Names, choices_of
from vestibule.dialects.part import Part, encoded, with_query
from vestibule.dialects.record import Record
from vestibule.model.check_expr import TOKEN
from vestibule.model.config import (
    Action,
    AddHeader,
    Deny,
    EditHeader,
    Forwarding,
    Proxy,
    RemoveHeader,
    RemoveHeaders,
    Respond,
    Rewrite,
    SetHeader,
    SetVariable,
    When,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Concat, Const, Default, Expr, If, InSet, Match, Phase, Var, concat, walk

_OURS = ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection", "transfer-encoding", "content-length")
_LINE = Var("field_line")
_REFRESH = "(?i)^(.*?url=|)(.*)$"
"""What stands before the address in a `Refresh`, and the address."""
_MOST_TARGETS = 200
"""Places that a `map` may choose from."""
_PLACE = "proxy_pass"
"""What it is kept under where a request goes."""


# ---------------------------------------------------------------- the target


def targets_of(record: Record, word: Word, names: Names, blocks: tuple[str, ...]) -> list[tuple[Expr | None, Target | None]]:
    """Take a ``proxy_pass`` apart: the places it may lead to, each with its test; the first that fits is it, and the last has none.

    None is a place that is none, as where a ``map`` has an empty value. Where a request names its server, that may be one of the
    ``blocks`` of the file, too. Nothing, noted, where even the scheme cannot be known beforehand.
    """
    made = _with_schemes(names.text(word))
    is_fixed = "$" not in word.text
    whole = _target(made, is_fixed)
    if whole is not None:
        return [(None, whole)]
    if is_fixed:
        record.error(word.span, "bad-value", f"`{word.text}` is no address to proxy to", "write `http://host:port`")
        return []
    found: list[tuple[Expr | None, Target | None]] = []
    try:
        choices = choices_of(made, _MOST_TARGETS)
    except ValueError as bad:
        record.error(word.span, "too-deep", str(bad))
        return []
    for test, text in choices:
        target = _target(text, False)
        if target is not None or text in (EMPTY, Const("http://"), Const("https://")):
            found.append((test, target))
            continue
        anywhere = _anywhere(text, word)
        if anywhere is not None:
            found += _at_blocks(test, anywhere, blocks)
            continue
        # Of a text that is known with the request, both schemes are.
        for scheme in ("https", "http"):
            has_scheme = Match(f"^{scheme}://", text, True)
            behind = Call("capture", (text, Const("://(.*)$"), Const("1")))
            anywhere = _anywhere(concat([Const(f"{scheme}://"), behind]), replace(word, text=f"{scheme}://{word.text}"))
            if anywhere is None:
                not_built(record, word.span, "a scheme that depends on the request", "begin with `http://`, `https://` or `$scheme://`")
                return []
            found += _at_blocks(has_scheme if test is None else AllOf((test, has_scheme)), anywhere, blocks)
        found.append((test, None))
    return found


def _at_blocks(test: Expr | None, anywhere: Target, blocks: tuple[str, ...]) -> list[tuple[Expr | None, Target | None]]:
    """Return a place that the request names, behind the blocks that it may name, each with its test."""
    assert anywhere.by is not None
    found: list[tuple[Expr | None, Target | None]] = []
    for name in blocks:
        is_named = InSet(anywhere.by, (name,))
        found.append((is_named if test is None else AllOf((test, is_named)), replace(anywhere, authority=name, by=None)))
    return [*found, (test, anywhere)]


def _with_schemes(made: Expr) -> Expr:
    """Return a text in which the scheme of the request is one of two words."""
    parts = made.parts if isinstance(made, Concat) else (made,)
    if parts[0] != Var("scheme"):
        return made
    return concat([If(Var("tls"), Const("https"), Const("http")), *parts[1:]])


def _anywhere(made: Expr, word: Word) -> Target | None:
    """Read an address that the request names; None where its scheme is not known."""
    parts = list(made.parts) if isinstance(made, Concat) else [made]
    text = str(parts[0].value) if isinstance(parts[0], Const) else ""
    scheme, mark, after = text.partition(":/")
    if not mark or scheme not in ("http", "https"):
        return None
    if after.startswith("/"):
        rest = [Const(after[1:]), *parts[1:]]
    elif not after and parts[1:2] == [Var("decoded_path")]:
        rest = [Call("slice", (Var("decoded_path"), Const(1), Const(-1))), *parts[2:]]
    else:
        return None
    tls, written = scheme == "https", word.text.partition(":/")[2].removeprefix("/")
    # With a path behind a variable that cannot hold one, what is written says where the address ends.
    for at, part in enumerate(rest):
        if isinstance(part, Const) and ("/" in str(part.value) or "?" in str(part.value)):
            before, tail = _split(str(part.value))
            if all(each == Var("host") or isinstance(each, Const) for each in rest[:at]):
                return Target(tls, written, concat([Const(tail), *rest[at + 1 :]]), False, concat([*rest[:at], Const(before)]))
            break
        if _begins_path(part) and at and all(each == Var("host") or isinstance(each, Const) for each in rest[:at]):
            return Target(tls, written, concat(rest[at:]), False, concat(rest[:at]))
    whole = concat(rest)
    if all(each == Var("host") or isinstance(each, Const) for each in rest):
        return Target(tls, written, None, False, whole)
    return Target(tls, written, None, False, Call("capture", (whole, Const("^[^/?]*"), Const("0"))), whole)


def _target(made: Expr, is_fixed: bool) -> Target | None:
    """Read an address; None where it is none, or not known."""
    parts = made.parts if isinstance(made, Concat) else (made,)
    first = parts[0]
    text = first.value if isinstance(first, Const) else ""
    if not isinstance(text, str) or not text.startswith(("http://", "https://")):
        return None
    scheme, _, after = text.partition("://")
    if after.startswith("unix:"):
        path, colon, rest = after.removeprefix("unix:").partition(":")
        authority, tail = f"unix:{path}", rest if colon else ""
    else:
        authority, tail = _split(after)
        authority = authority.lower()
    if not authority or (not tail and len(parts) > 1 and not _begins_path(parts[1])):
        return None
    rest_expr = concat([Const(tail), *parts[1:]])
    return Target(scheme == "https", authority, None if rest_expr == EMPTY else rest_expr, is_fixed)


def _split(text: str) -> tuple[str, str]:
    for at, char in enumerate(text):
        if char in "/?":
            return text[:at], text[at:]
    return text, ""


def _begins_path(expr: Expr) -> bool:
    return expr in (Var("target"), Var("path"), Var("decoded_path"))


def path_actions(record: Record, target: Target, span: Span, prefix: str, exact: bool, rewritten: bool) -> tuple[Action, ...]:
    """Return the rewrite that a path in ``proxy_pass`` asks for; ``prefix`` is that of the location, empty for a regular one."""
    rest = target.rest
    if target.whole is not None:
        return _path_behind(target.whole)
    if rest is None or rewritten:
        return ()
    if not target.is_fixed:
        return _variable_path(record, rest, span)
    text = str(rest.value) if isinstance(rest, Const) else ""
    path, mark, query = text.partition("?")
    if not prefix:
        message = "a path cannot stand here: no prefix would be replaced by it"
        record.error(span, "conflict", message, "take the path away, or use `rewrite ... break`")
        return ()
    base = encoded(Const(path))
    after = EMPTY if exact else Call("encode_path", (Call("replace_prefix", (Var("decoded_path"), Const(prefix), EMPTY)),))
    if mark:
        # As nginx puts it together: what is written, the rest of the path, and the query behind one more mark.
        return (_sent(base, concat([Const(query), after, with_query("?")])),)
    return (_sent(concat([base, after])),)


def _sent(path: Expr, query: Expr | None = None) -> Rewrite:
    """Return the rewrite to what is sent; ``$uri`` and ``error_page`` know nothing of it."""
    return Rewrite(path, query, upstream_only=True)


def _variable_path(record: Record, rest: Expr, span: Span) -> tuple[Action, ...]:
    """A path with variables is sent as it stands."""
    parts = list(rest.parts) if isinstance(rest, Concat) else [rest]
    if parts == [Var("target")]:
        return ()
    # `$request_uri` is path and query; the query goes along by itself.
    with_query = [Var("path") if part == Var("target") else part for part in parts]
    is_args = If(Compare("==", Var("query"), EMPTY), EMPTY, Const("?"))
    if with_query[-2:] == [is_args, Var("query")]:
        with_query = with_query[:-2]
    elif Var("target") not in parts:
        for at, part in enumerate(parts):
            if isinstance(part, Const) and "?" in str(part.value):
                path, _, query = str(part.value).partition("?")
                made = concat([encoded(each) for each in (*parts[:at], Const(path))])
                return (_sent(made, concat([Const(query), *parts[at + 1 :]])),)
        return (_sent(concat([encoded(part) for part in with_query]), EMPTY),)
    if any(part == is_args or part == Var("query") for part in with_query):
        not_built(record, span, "a query in the middle of `proxy_pass`", "end it with `$is_args$args`")
    made = concat([encoded(part) for part in with_query])
    return () if made == Call("encode_path", (Var("decoded_path"),)) else (_sent(made),)


def _path_behind(whole: Expr) -> tuple[Action, ...]:
    """Return the rewrite to what stands behind an address, if anything does; it is sent as it stands."""
    path: Expr = Call("capture", (whole, Const("^[^/?]*([^?]*)"), Const("1")))
    query = Call("capture", (whole, Const(r"\?(.*)"), Const("1")))
    if any(each == Var("decoded_path") for each in walk(whole)):
        path = Call("encode_path", (path,))
    return (When(Match("^[^/?]*/", whole), (_sent(path, query),)),)


# ---------------------------------------------------------------- fields


def request_fields(scope: Scope, names: Names, target: Target) -> tuple[str, tuple[Action, ...]]:
    """Return the Host that goes upstream, as ``Forwarding.host`` has it, and the actions on the other fields."""
    host = target.host
    actions: list[Action] = []
    seen: set[str] = set()
    local = names.copy()
    local.own.update(_place_names(target))
    for directive in scope.nearest("proxy_set_header"):
        name = directive.text(0)
        value = known_at(decoded(local.text(directive.args[1])), Phase.REQUEST)
        lower = name.lower()
        if not TOKEN.fullmatch(name):
            scope.record.error(directive.place(0), "bad-field", f"`{name}` is no field name")
        elif lower == "host":
            host = _host_of(scope, directive, value, actions)
        elif lower in _OURS:
            _check_ours(scope.record, directive, lower, value)
        elif value == EMPTY:
            actions.append(RemoveHeader(name))
        else:
            actions.append(AddHeader(name, value) if lower in seen else SetHeader(name, value))
        seen.add(lower)
    if target.by is not None and "host" not in seen:
        return "client", (SetHeader("Host", target.by), *actions)
    return host, tuple(actions)


def _place_names(target: Target) -> dict[str, Expr]:
    """Return what ``$proxy_host`` and ``$proxy_port`` are."""
    if target.by is None:
        return {"proxy_host": Const(target.host), "proxy_port": Const(_port(target))}
    port = Call("capture", (target.by, Const(":([0-9]+)$"), Const("1")))
    return {"proxy_host": target.by, "proxy_port": Default(port, Const("443" if target.tls else "80"))}


def _port(target: Target) -> str:
    port = target.authority.rpartition(":")[2]
    return port if port.isdecimal() else "443" if target.tls else "80"


def _host_of(scope: Scope, directive: Directive, value: Expr, actions: list[Action]) -> str:
    if value == Var("host_port"):
        return "client"
    if value == EMPTY:
        scope.record.error(directive.place(1), "bad-value", "a request needs its Host (RFC 9112 section 3.2)", "write `$http_host`")
        return "client"
    if isinstance(value, Const):
        return str(value.value)
    actions.append(SetHeader("Host", value))
    return "client"


def _check_ours(record: Record, directive: Directive, lower: str, value: Expr) -> None:
    """Fields of one connection are written by vestibule; what nginx needs them for works without."""
    if lower in ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection") or value == EMPTY:
        return
    if lower == "content-length" and value == Var("header", "Content-Length"):
        return  # what it is anyway
    message = f"`{directive.text(0)}` is not yours to change"
    record.error(directive.span, "framing-field", message, "it says where the body ends, and vestibule writes it")


def response_actions(scope: Scope, names: Names, target: Target, prefix: str) -> tuple[Action, ...]:
    """Return the actions on the answer: hidden fields, redirects, added fields."""
    passed = [each.text().lower() for each in scope.nearest("proxy_pass_header")]
    hidden = [RemoveHeader(each.text()) for each in scope.nearest("proxy_hide_header") if each.text().lower() not in passed]
    return (
        *hidden,
        *_redirects(scope, names, target, prefix),
        *cookie_actions(scope, names),
        *added_fields(scope, names),
        *substitutions(scope, names),
    )


def _redirects(scope: Scope, names: Names, target: Target, prefix: str) -> list[Action]:
    """Return what makes redirects of the upstream lead to us: its ``Location``, and the address in its ``Refresh``."""
    value = _by_rules(scope, names, target, prefix, _LINE, origin_of(scope, names))
    if value == _LINE:
        return []
    if scope.nearest("proxy_redirect"):
        before, address = [Call("capture", (_LINE, Const(_REFRESH), Const(at))) for at in ("1", "2")]
        refresh: Expr = concat([before, _by_rules(scope, names, target, prefix, address, None)])
    else:
        old, new = _default(target, prefix)
        beginning = Const(f"^(.*?(?i:url=)){re.escape(old)}")
        refresh = Call("replace", (_LINE, beginning, Const("\\1" + new.replace("\\", "\\\\")), EMPTY))
    return [EditHeader("Location", value), EditHeader("Refresh", refresh)]


def _by_rules(scope: Scope, names: Names, target: Target, prefix: str, address: Expr, origin: Expr | None) -> Expr:
    """Return an address as the first rule of ``proxy_redirect`` that fits makes it; without rules, as ``default`` does."""
    rules = scope.nearest("proxy_redirect")
    if not rules:
        return _default_redirect(target, prefix, address, address, origin) or address
    value = address
    for rule in reversed(rules):
        if rule.texts == ("off",):
            return address
        if rule.texts == ("default",):
            made = _default_redirect(target, prefix, address, value, origin)
        else:
            made = _redirect(scope.record, rule, names, address, value, origin)
        value = made if made is not None else value
    return value


def _default_redirect(target: Target, prefix: str, address: Expr, otherwise: Expr, origin: Expr | None) -> Expr | None:
    """The address in ``proxy_pass`` is replaced by the location's."""
    if not target.is_fixed:
        return None
    old, new = _default(target, prefix)
    return _replaced(Const(old), Const(new), address, otherwise, origin)


def _default(target: Target, prefix: str) -> tuple[str, str]:
    path = str(target.rest.value) if isinstance(target.rest, Const) else ""
    return f"{target.scheme}://{target.authority}{path or '/'}", prefix if path and prefix else "/"


def _redirect(record: Record, rule: Directive, names: Names, address: Expr, otherwise: Expr, origin: Expr | None) -> Expr | None:
    if len(rule.args) != 2:
        record.error(rule.span, "arguments", "`proxy_redirect` takes `off`, `default`, or what to replace and by what")
        return None
    text = rule.text(0)
    if not text.startswith("~"):
        return _replaced(names.text(rule.args[0]), names.text(rule.args[1]), address, otherwise, origin)
    ignore_case = text.startswith("~*")
    bare = text.removeprefix("~*") if ignore_case else text[1:]
    within = names.copy()
    try:
        pattern = to_pattern(bare.lstrip())
        within.captures = (address, to_pattern(bare.lstrip(), ignore_case))
    except ValueError as bad:
        record.error(rule.place(0), "bad-regex", str(bad))
        return None
    return If(Match(pattern, address, ignore_case), placed(within.text(rule.args[1]), origin), otherwise)


def _replaced(old: Expr, new: Expr, address: Expr, otherwise: Expr, origin: Expr | None) -> Expr:
    """Return an address with one beginning replaced by another; ``otherwise`` is for those that begin differently."""
    made = Call("replace_prefix", (address, old, placed(new, origin)))
    return made if otherwise == address else If(Compare("!=", made, address), made, otherwise)


def proxied(
    scope: Scope, names: Names, directive: Directive, upstreams: Upstreams, place: tuple[str, bool, bool], trusted: tuple[str, ...] | None
) -> list[tuple[Expr | None, Part, Forwarding]]:
    """Return what a ``proxy_pass`` makes of a request: parts with their tests, the last without; nothing where there was a mistake.

    ``place`` is the prefix of its location (empty for a regular expression), whether that is the whole path, and whether the
    path was rewritten before, which leaves a path in ``proxy_pass`` without effect; ``trusted`` are
    the proxies that are trusted everywhere.
    """
    made: list[tuple[Expr | None, Part, Forwarding]] = []
    prefix, exact, rewritten = place
    for test, target in targets_of(scope.record, directive.args[0], names, upstreams.names()):
        if target is None:
            made.append((test, Part(Respond(500), (Deny(500),)), forwarding_of(scope, trusted)))
            continue
        path = path_actions(scope.record, target, directive.place(0), prefix, exact, rewritten)
        meant = target
        if target.by is not None and path:
            # Where it goes is made of the target as it was before it gets another one.
            path = (SetVariable(_PLACE, target.by), *path)
            meant = replace(target, by=Var("kept", _PLACE))
        name = upstreams.use(meant, scope, directive.place(0))
        if not name:
            return []
        known = names.copy()
        known.own.update(_place_names(target))
        host, fields = request_fields(scope, known, target)
        if not scope.flag("proxy_pass_request_headers", True):
            fields = (RemoveHeaders("^(?!host$)"), *fields)
        # Fields first: what they are made of is what the client asked for.
        part = Part(Proxy(name), (*fields, *path), response_actions(scope, known, target, prefix))
        made.append((test, part, forwarding_of(scope, trusted, host)))
    return made
