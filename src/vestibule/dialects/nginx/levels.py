"""What may differ at each level of the file and is inherited: times, limits, logs, who may enter.

Facts, where vestibule has one figure for several of nginx:
* ``timeouts.body_idle`` is the longest of ``client_body_timeout``, ``send_timeout``, ``proxy_send_timeout`` and
  ``proxy_read_timeout``: no transfer is cut that nginx would not cut.
* A tunnel may be silent as long as an upstream may (``proxy_read_timeout``), as in nginx.

Not here: what is sent to upstreams (``proxying``), fields of answers (``answers``).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeAlias

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_count, parse_size, parse_time, read_network
from vestibule.dialects.nginx.variables import VARIABLE, Names, choices_of
from vestibule.dialects.read import ReadText
from vestibule.model.check_expr import is_secret
from vestibule.model.config import (
    AccessLog,
    Action,
    AuthRequest,
    BasicAuth,
    Compression,
    Deny,
    Forwarding,
    KeepAlive,
    Limits,
    SetHeader,
    Syslog,
    Timeouts,
    When,
)
from vestibule.model.expr import AllOf, AnyOf, Call, Compare, Concat, Const, Default, Expr, InNet, InSet, Match, Not, Var, concat
from vestibule.model.syslog import FACILITIES, PREFIX, SEVERITIES

_MINUTE = 60_000
_MOST_REALMS = 50
"""Realms that a `map` may choose from."""
_CLIENT = Var("client_ip")
_NO = Const(False)
_UNIX = "unix:"
_LOCALHOST = ("127.0.0.1/32", "::1/128")
_NOBODY = ("255.255.255.255/32",)
"""A network that no client is in."""
_OLD_CRYPT = re.compile("[./0-9A-Za-z]{13}")
_HIDDEN = ("X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Buffering", "X-Accel-Charset", "X-Pad")
"""Fields of upstreams' answers that are meant for the proxy."""

_TARGETS = {"/dev/stdout": "stdout", "/dev/stderr": "stderr", "/dev/null": "off", "stderr": "stderr", "off": "off"}
_SEVERITY_WORDS = {"error": "err", "warn": "warning"}
"""Words of nginx that syslog has others for."""


def timeouts_of(scope: Scope, outer: Timeouts | None = None) -> Timeouts:
    """Return the time-outs that hold in a block; those of connections are taken from ``outer`` where it is given."""
    read = scope.time("proxy_read_timeout", _MINUTE)
    body = max(
        read,
        scope.time("proxy_send_timeout", _MINUTE),
        scope.time("send_timeout", _MINUTE),
        scope.time("client_body_timeout", _MINUTE),
    )
    made = Timeouts(
        connect_ms=scope.time("proxy_connect_timeout", _MINUTE),
        request_head_ms=scope.time("client_header_timeout", _MINUTE),
        body_idle_ms=body,
        response_head_ms=scope.time("proxy_header_timeout", read),
        keep_alive_ms=scope.time("keepalive_timeout", 75_000) or 1,
        tunnel_idle_ms=read,
        hold_ms=0,
    )
    if outer is None:
        return made
    return replace(made, request_head_ms=outer.request_head_ms, keep_alive_ms=outer.keep_alive_ms)


def keeping_of(scope: Scope) -> KeepAlive:
    """Return how long the connections of clients are kept after an answer of a block."""
    told = 0
    timeout = scope.find("keepalive_timeout")
    if timeout is not None and timeout.text(1):
        try:
            told = parse_time(timeout.text(1)) // 1_000
        except ValueError as bad:
            scope.record.error(timeout.place(1), "bad-value", str(bad))
    age = None if scope.find("keepalive_time") is None else scope.time("keepalive_time", 0)
    return KeepAlive(scope.time("keepalive_timeout", 75_000), scope.count("keepalive_requests", 1_000), age, told)


def kept_by(scope: Scope, usual: KeepAlive) -> tuple[Action, ...]:
    """Return what keeps the connections of clients otherwise than is ``usual``, by what is said and for browsers that are named."""
    keeping = keeping_of(scope)
    made: list[Action] = [keeping] if keeping != usual else []
    agent = Var("header", "User-Agent")
    named = {word.text: word for directive in scope.nearest("keepalive_disable") for word in directive.args}
    for name, word in named.items():
        if name == "msie6":
            old = Match(r"MSIE (?:[1-4]\.|5\.[0-9]|6\.(?!.*SV1))", agent)
            made.append(When(AllOf((Compare("==", Var("method"), Const("POST")), old)), (KeepAlive(0),)))
        elif name == "safari":
            apple = AllOf((Match("Mac OS X", agent), Match("Safari/", agent), Not(Match("Chrom", agent))))
            made.append(When(apple, (KeepAlive(0),)))
        elif name != "none":
            scope.record.error(word.span, "bad-value", f"`{name}` is no browser here", "it is `msie6`, `safari` or `none`")
    return tuple(made)


def limits_of(scope: Scope, outer: Limits | None = None) -> Limits:
    """Return the limits that hold in a block; those of connections are taken from ``outer`` where it is given."""
    body = scope.size("client_max_body_size", 1024**2) or None
    if outer is not None:
        return replace(outer, body_bytes=body)
    head, target = 32_768, 8_192
    buffers = scope.find("large_client_header_buffers")
    if buffers is not None:
        try:
            target = parse_size(buffers.text(1))
            head = parse_count(buffers.text(0), 1) * target
        except ValueError as bad:
            scope.record.error(buffers.span, "bad-value", str(bad))
    requests = scope.count("keepalive_requests", 1_000)
    if scope.find("keepalive_timeout") is not None and scope.time("keepalive_timeout", 1) == 0:
        requests = 1
    return Limits(head_bytes=head, target_bytes=target, body_bytes=body, requests_per_connection=max(requests, 1))


def networks_of(scope: Scope, directives: list[Directive]) -> tuple[str, ...]:
    """Return the networks of lines of ``set_real_ip_from``."""
    networks: dict[str, None] = {}
    for directive in directives:
        if directive.text() == _UNIX:
            continue  # no network
        if directive.text() == "localhost":
            networks.update(dict.fromkeys(_LOCALHOST))
            continue
        try:
            networks[read_network(scope.record, directive.place(0), directive.text())] = None
        except ValueError as bad:
            scope.record.error(directive.place(0), "bad-network", str(bad))
    return tuple(networks)


def forwarding_of(scope: Scope, everywhere: tuple[str, ...] | None, host: str = "client") -> Forwarding:
    """Return what upstreams are told in a block, and who the client is; ``everywhere`` are the trusted proxies of the configuration,
    None where the file trusts nobody."""
    passed = [each.text().lower() for each in scope.nearest("proxy_pass_header")]
    hide = tuple([name for name in _HIDDEN if name.lower() not in passed])
    allows = scope.flag("underscores_in_headers", False) or not scope.flag("ignore_invalid_headers", True)
    usual = Forwarding("pass", "pass", host, "allow" if allows else "drop", hide=hide)
    if everywhere is None:
        return usual
    lines = scope.nearest("set_real_ip_from")
    if not lines:
        return replace(usual, client_field="-")
    networks = networks_of(scope, lines)
    by_sockets = any(each.text() == _UNIX for each in lines)
    if not networks and not by_sockets:
        return replace(usual, client_field="-")
    usual = replace(usual, trusts_sockets=by_sockets)
    if networks != everywhere:
        usual = replace(usual, trusted=networks or _NOBODY)
    field = scope.text("real_ip_header", "X-Real-IP")
    if field.lower() == "proxy_protocol":
        return replace(usual, client_announced=True)
    return replace(usual, client_field=field, client_walk=scope.flag("real_ip_recursive", False))


# ---------------------------------------------------------------- logs


Formats: TypeAlias = dict[str, Directive]
"""What ``log_format`` defines; a format is read where it is used, since what variables are depends on the place."""


def log_formats(scope: Scope) -> Formats:
    """Return the formats that ``log_format`` defines."""
    for directive in scope.own("log_format"):
        escape = directive.args[1]
        if escape.text == "escape=none":
            message = "`escape=none` is left out: what could break a line is written as in `escape=default`"
            scope.record.warning(escape.span, "differs", message, "write `escape=json` for lines of JSON")
        elif escape.text.startswith("escape=") and escape.text not in ("escape=default", "escape=json"):
            message = f"`{escape.text}` is no way to escape"
            scope.record.error(escape.span, "value", message, "write `escape=default` or `escape=json`")
    return {directive.text(0): directive for directive in scope.own("log_format")}


def _logged(target: str, directive: Directive, names: Names, when: Expr) -> AccessLog:
    """Return a log of lines in a format at one place. Of what is absent nginx writes a dash, and nothing in JSON."""
    words = directive.args[1:]
    as_json = words[0].text == "escape=json"
    if words[0].text.startswith("escape="):
        words = words[1:]
    names = names.copy()
    names.for_log = True
    line = names.template("".join([word.text for word in words]), directive.span)
    if as_json:
        return AccessLog(target, "template", line, when=when, escape="json")
    return AccessLog(target, "template", _dashed(line), when=when)


def _dashed(line: Expr) -> Expr:
    """Return a line in which what is absent is a dash, as nginx writes it."""
    parts = line.parts if isinstance(line, Concat) else (line,)
    return concat([part if isinstance(part, Const) and part.value != "" else Default(part, Const("-")) for part in parts])


def compression_of(scope: Scope) -> Compression | None:
    """Return what is compressed; None where nothing says so. nginx begins at 20 bytes and with HTML."""
    if scope.find("gzip") is None:
        return None
    if not scope.flag("gzip", False):
        return Compression(types=())
    named = scope.find("gzip_types")
    types = dict.fromkeys(["text/html", *(named.texts if named is not None else ())])
    level = scope.count("gzip_comp_level", 1)
    return Compression(("*",) if "*" in types else tuple(types), scope.count("gzip_min_length", 20), level)


def access_log_of(scope: Scope, formats: Formats, names: Names) -> AccessLog | None:
    """Return the access log that holds in a block; None where nothing is said. Several lines are several logs."""
    logs: list[AccessLog] = []
    for directive in scope.nearest("access_log"):
        log = _access_log(scope, directive, formats, names)
        if log.target == "off":
            return log
        logs.append(log)
    return replace(logs[0], also=tuple(logs[1:])) if logs else None


def _access_log(scope: Scope, directive: Directive, formats: Formats, names: Names) -> AccessLog:
    named = _named(scope, directive, names)
    target, syslog = (named[0], Syslog()) if named is not None else target_of(scope, directive, names)
    file = None if named is None else named[1]
    if target == "off":
        return AccessLog(target="off")
    name = ""
    when: Expr = Const(True)
    for word in directive.args[1:]:
        key, equals, value = word.text.partition("=")
        if equals and key in ("buffer", "flush"):
            continue
        if equals and key == "if":
            when = Not(InSet(names.template(value, word.span), ("", "0")))
        elif key == "gzip":
            scope.record.warning(word.span, "differs", "lines are written as they are, not compressed", "have logrotate compress them")
        elif equals:
            not_built(scope.record, word.span, f"`{key}` of `access_log`")
        else:
            name = word.text
    if name in ("", "combined"):
        return AccessLog(target, "combined", when=when, syslog=syslog, file=file)
    if name not in formats:
        scope.record.error(directive.place(1), "unknown-reference", f"there is no log format `{name}`", "define it with `log_format`")
        return AccessLog(target)
    return replace(_logged(target, formats[name], names, when), syslog=syslog, file=file)


def _named(scope: Scope, directive: Directive, names: Names) -> tuple[str, Expr] | None:
    """Return the directory of a log whose lines name their files, and the file below it; None for any other log.

    A variable is a part of a name: what would lead elsewhere in it is written otherwise.
    """
    text = directive.text()
    if "$" not in text or not text.startswith("/"):
        return None
    names = names.copy()
    names.for_log = True
    made = names.text(directive.args[0])
    parts = made.parts if isinstance(made, Concat) else (made,)
    if all(isinstance(part, Const) for part in parts):
        return None
    directory, _, rest = str(parts[0].value).rpartition("/") if isinstance(parts[0], Const) else ("", "", "")
    if not directory:
        not_built(scope.record, directive.place(0), f"the log target `{text}`", "begin it with a fixed directory")
        return None
    unsafe = Const(r"^\.+|[/\x00-\x1f]")
    safe = [part if isinstance(part, Const) else Call("replace", (part, unsafe, Const("_"), Const("g"))) for part in parts[1:]]
    return directory, concat([Const(rest), *safe])


def target_of(scope: Scope, directive: Directive, names: Names | None = None) -> tuple[str, Syslog]:
    """Return where a log goes, and what stands before its lines at a syslog server. ``names`` are there where it may have variables."""
    text = directive.text()
    if "$" in text and names is not None:
        text = names.fixed(directive.args[0]) or text
    if text.startswith("syslog:"):
        return _syslog(scope, directive, text.removeprefix("syslog:"))
    if text.startswith("memory:") or "$" in text:
        hint = "write to a file or to /dev/stdout"
        if "$" in text:
            hint = "write to one file, with `$host` in its lines; `$server_name` may stand in the path"
        not_built(scope.record, directive.place(0), f"the log target `{text}`", hint)
        return "stdout", Syslog()
    return _TARGETS.get(text, text), Syslog()


def _syslog(scope: Scope, directive: Directive, text: str) -> tuple[str, Syslog]:
    """Read ``server=…,facility=…,severity=…,tag=…,nohostname``."""
    target = ""
    how = Syslog(facility="local7", tag="nginx")
    for part in text.split(","):
        key, _, value = part.partition("=")
        severity = _SEVERITY_WORDS.get(value, value)
        if key == "server":
            target = PREFIX + value.removeprefix("unix:")
        elif part == "nohostname":
            how = replace(how, format="local")
        elif key == "tag" and value:
            how = replace(how, tag=value)
        elif key == "facility" and value in FACILITIES:
            how = replace(how, facility=value)  # type: ignore[arg-type]  # it is among those that there are
        elif key == "severity" and severity in SEVERITIES:
            how = replace(how, severity=severity)  # type: ignore[arg-type]  # the same
        else:
            message = f"`{part}` is unknown in `syslog:`"
            hint = "it has server=, facility=, severity=, tag= and nohostname"
            scope.record.error(directive.place(0), "bad-value", message, hint)
    if not target:
        scope.record.error(directive.place(0), "missing", "`syslog:` names no server", "write `syslog:server=127.0.0.1:514`")
        return "stdout", how
    return target, how


# ---------------------------------------------------------------- who may enter


def access_of(scope: Scope, names: Names, read_text: ReadText, question: AuthRequest | None = None) -> tuple[Action, ...]:
    """Return the actions of ``allow``, ``deny``, ``auth_basic`` and a question of ``auth_request`` that hold in a block."""
    auth = _basic_auth(scope, names, read_text)
    asked: tuple[Action, ...] = tuple([each for each in (auth, question) if each is not None])
    rules = scope.nearest("allow", "deny")
    if scope.text("satisfy", "all") == "any" and asked:
        if isinstance(auth, When):
            not_built(
                scope.record, scope.nearest("auth_basic")[0].span, "`satisfy any` with a realm that may be `off`", "write a fixed one"
            )
        elif auth is not None and question is not None:
            # A password is looked at first; where there is none that counts, the question decides, or else one is asked for.
            known = Call("is_user", (Var("header", "Authorization"), Const("\n".join([":".join(user) for user in auth.users]))))
            asked = (When(Not(known), (replace(question, refused=(auth,)),)),)
        # Only an `allow` that fits is enough: where no rule fits, whether one may enter is still open.
        unknown = denied_of(scope, rules, otherwise=Const(True))
        return asked if unknown == Const(True) else () if unknown == Const(False) else (When(unknown, asked),)
    denied = denied_of(scope, rules)
    actions: list[Action] = []
    if denied == Const(True):
        actions.append(Deny(403))
    elif denied != Const(False):
        actions.append(When(denied, (Deny(403),)))
    return (*actions, *asked)


def excepted(scope: Scope) -> Expr:
    """Return whether a request is one that ``limit_except`` is for."""
    return AnyOf(tuple([_others(directive) for directive in scope.own("limit_except")]))


def _others(directive: Directive) -> Expr:
    methods = [word.text.upper() for word in directive.args]
    if "GET" in methods:
        methods.append("HEAD")
    return Not(InSet(Var("method"), tuple(dict.fromkeys(methods))))


def method_limits_of(scope: Scope, names: Names, read_text: ReadText) -> tuple[Action, ...]:
    """Return the actions of ``limit_except``: what holds for all methods but those it names."""
    actions: list[Action] = []
    for directive in scope.own("limit_except"):
        inner = Scope(scope.record, directive.block or ())
        for other in inner.directives:
            if other.name not in ("allow", "deny", "auth_basic", "auth_basic_user_file", "proxy_pass"):
                not_built(scope.record, other.span, f"`{other.name}` in `limit_except`")
        others = _others(directive)
        inside = Scope(scope.record, directive.block or (), scope)
        if inner.own("auth_basic", "auth_basic_user_file"):
            asked = access_of(inside, names, read_text)
            if asked:
                actions.append(When(others, asked))
            continue
        denied = denied_of(scope, inner.own("allow", "deny"))
        if denied != Const(False):
            test = others if denied == Const(True) else AllOf((others, denied))
            actions.append(When(test, (Deny(403),)))
    return tuple(actions)


def denied_of(scope: Scope, rules: list[Directive], client: Expr = _CLIENT, otherwise: Expr = _NO) -> Expr:
    """Return the test of being turned away: the first rule that fits decides; without one everybody enters, or as ``otherwise`` says."""
    denied = otherwise
    at = len(rules)
    while at > 0:
        # Neighbouring rules of one kind are one test.
        name = rules[at - 1].name
        networks: list[str] = []
        while at > 0 and rules[at - 1].name == name:
            at -= 1
            networks.insert(0, _network(scope, rules[at]))
        fits: Expr = InNet(client, tuple([each for each in networks if each not in ("", _UNIX)]))
        if "all" in networks:
            fits = Const(True)
        elif _UNIX in networks:
            local = InSet(client, (_UNIX,))
            fits = AnyOf((local, fits)) if len(set(networks)) > 1 else local
        denied = _after(fits, name == "deny", denied)
    return denied


def _after(fits: Expr, deny: bool, otherwise: Expr) -> Expr:
    if fits == Const(True):
        return Const(deny)
    if deny:
        return Const(True) if otherwise == Const(True) else fits if otherwise == Const(False) else AnyOf((fits, otherwise))
    return Const(False) if otherwise == Const(False) else Not(fits) if otherwise == Const(True) else AllOf((Not(fits), otherwise))


def _network(scope: Scope, rule: Directive) -> str:
    text = rule.text()
    if text in ("all", _UNIX):
        return text
    try:
        return read_network(scope.record, rule.place(0), text)
    except ValueError as bad:
        scope.record.error(rule.place(0), "bad-network", str(bad))
        return ""


def _basic_auth(scope: Scope, names: Names, read_text: ReadText) -> BasicAuth | When | None:
    """Return what asks for a password; a condition where the realm depends on the request, and may be `off`."""
    realm = scope.find("auth_basic")
    if realm is None or realm.text() == "off":
        return None
    users = _users(scope, names, realm, read_text)
    if users is None:
        return None
    try:
        choices = choices_of(names.text(realm.args[0]), _MOST_REALMS)
    except ValueError as bad:
        scope.record.error(realm.place(0), "too-deep", str(bad))
        return None
    made: BasicAuth | When | None = None
    delay_ms = scope.time("auth_delay", 0)
    for test, text in reversed(choices):
        asks: BasicAuth | When | None = None
        if not isinstance(text, Const):
            asks = When(Compare("!=", text, Const("off")), (BasicAuth(users, _fixed_realm(realm), delay_ms),))
        elif text.value != "off":
            asks = BasicAuth(users, str(text.value), delay_ms)  # nginx asks with an empty realm, too
        if test is None:
            made = asks
        elif asks is not None or made is not None:
            made = When(test, () if asks is None else (asks,), () if made is None else (made,))
    return made


def _fixed_realm(realm: Directive) -> str:
    """Return what stands for a realm with the text of a request in it where another location has the page, and until there is one."""
    return " ".join(VARIABLE.sub("", realm.text()).replace('"', "").replace("\\", "").split()) or "closed"


def realm_fields(scope: Scope, names: Names) -> list[Action]:
    """Return what writes a realm with the text of a request in it."""
    realm = scope.find("auth_basic")
    if realm is None or "$" not in realm.text():
        return []
    try:
        choices = choices_of(names.text(realm.args[0]), _MOST_REALMS)
    except ValueError:
        return []  # which is said where a password is asked for
    if all(isinstance(text, Const) for _, text in choices):
        return []
    text = Call("replace", (names.text(realm.args[0]), Const(r'(["\\])'), Const(r"\\\1"), Const("g")))
    ours = Compare("==", Var("response_header", "WWW-Authenticate"), Const(f'Basic realm="{_fixed_realm(realm)}"'))
    written = SetHeader("WWW-Authenticate", concat([Const('Basic realm="'), text, Const('"')]))
    return [When(AllOf((Not(Var("proxied")), ours)), (written,))]


def _users(scope: Scope, names: Names, realm: Directive, read_text: ReadText) -> tuple[tuple[str, str], ...] | None:
    """Return the users of ``auth_basic``; None, noted, where there are none."""
    file = scope.find("auth_basic_user_file")
    if file is None:
        scope.record.error(realm.span, "missing", "`auth_basic` needs its users", "add `auth_basic_user_file`")
        return None
    path = names.fixed(file.args[0])
    if path is None:
        not_built(scope.record, file.place(0), "a file of users that depends on the request", "write a location for each file")
        return None
    try:
        text = read_text(path)
    except (OSError, UnicodeError) as bad:
        reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
        scope.record.error(file.place(0), "include", f"`{path}` cannot be read: {reason}", "check the path")
        return None
    users: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, secret = line.strip().partition(":")
        secret = secret.partition(":")[0]
        if not colon or name.startswith("#"):
            continue
        if _OLD_CRYPT.fullmatch(secret):
            secret = f"{{CRYPT}}{secret}"  # nginx leaves to crypt(3) what says of itself nothing else
        if is_secret(secret):
            users.setdefault(name, secret)
        else:
            message = f"the password of `{name}` is stored in a way that is not known here, so nobody gets in by it"
            hint = "make a bcrypt or SHA-512 one, with `htpasswd -B` or `openssl passwd -6`"
            scope.record.warning(file.place(0), "bad-hash", message, hint)
    return tuple(users.items())
