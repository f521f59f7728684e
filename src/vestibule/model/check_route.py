"""Checks of what happens to a request: routes, sources, actions, expressions.

Rules:
* Each place of use has a phase; an expression that needs a later one is a mistake, not an empty value at run time.
* Message framing belongs to the codecs: no action may touch the fields that carry it (RFC 9112 section 6).

Not here: listeners, sites, upstreams and what refers to what (``check``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from vestibule.model.config import (
    Action,
    AddHeader,
    Again,
    AuthRequest,
    BandwidthLimit,
    BasicAuth,
    ClientCertificate,
    Compression,
    ConcurrencyLimit,
    Count,
    Deny,
    DropBody,
    EarlyHint,
    EditHeader,
    ErrorRoute,
    Files,
    HangUp,
    PathMatch,
    Proxy,
    RateLimit,
    Redirect,
    RemoveHeader,
    RemoveHeaders,
    ReplaceAnswer,
    RequestAction,
    Respond,
    Route,
    SetHeader,
    SetMethod,
    SetStatus,
    SetVariable,
    Site,
    Source,
    StripPrefix,
    Switch,
    When,
    routes_inside,
)
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import (
    EMPTY,
    AllOf,
    AnyOf,
    Call,
    Compare,
    Concat,
    Const,
    Default,
    Expr,
    If,
    InNet,
    Kind,
    Match,
    Not,
    Phase,
    Var,
    children,
)
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_network
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES, kind_of

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2: what a field name or a method may be made of."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_PACE = re.compile(r"[0-9]{1,15}(?:[kKmMgG]|[KMG]i?B|kB|B)?", re.ASCII)

_SECRET = re.compile(
    r"\{PLAIN\}.*|\{S?SHA\}[A-Za-z0-9+/]{27,}=*|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"
    r"|\$argon2id\$v=19\$m=[0-9]{1,6},t=[0-9]{1,2},p=[0-9]{1,2}\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,172}"
    r"|\$(?:1|apr1)\$[^$:]{0,8}\$[./A-Za-z0-9]{22}"
    r"|\$5\$(?:rounds=[0-9]{1,7}\$)?[^$:]{0,16}\$[./A-Za-z0-9]{43}|\$6\$(?:rounds=[0-9]{1,7}\$)?[^$:]{0,16}\$[./A-Za-z0-9]{86}",
    re.DOTALL,
)
"""Forms of stored passwords that ``BasicAuth`` knows."""

_FRAMING = frozenset(("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"))


def is_secret(text: str) -> bool:
    """Tell whether a stored password has a form that ``BasicAuth`` knows."""
    return _SECRET.fullmatch(text) is not None


MAX_DEPTH = 32
"""Switches inside switches and conditions inside conditions. Nobody writes more; recursion stays bounded."""

_PHASE_WORDS = {
    Phase.ACCEPT: "once a connection is accepted",
    Phase.TLS: "after the TLS handshake",
    Phase.REQUEST: "once the request head is read",
    Phase.UPSTREAM: "once a server is chosen",
    Phase.RESPONSE: "once the response head is read",
    Phase.LOG: "in the access log",
}


def check_source(found: Findings, path: str, source: Source, upstreams: Sequence[str], depth: int = 0) -> None:
    """Check who answers, nested routes included."""
    if isinstance(source, Proxy):
        found.reference(f"{path}.upstream", "upstream", source.upstream, upstreams)
    elif isinstance(source, Respond):
        _check_respond(found, path, source)
    elif isinstance(source, Redirect):
        check_text(found, f"{path}.location", source.location, Phase.REQUEST)
        if source.location == Const(""):
            found.error(f"{path}.location", "empty-value", "a redirect needs a location")
    elif isinstance(source, Again):
        pass  # where it leads is looked at once the site is known
    elif depth >= MAX_DEPTH:
        found.error(path, "too-deep", f"routes are nested more than {MAX_DEPTH} deep")
    elif isinstance(source, Files):
        _check_files(found, path, source, upstreams, depth)
    else:
        _check_switch(found, path, source, upstreams, depth)


def check_again(found: Findings, path: str, site: Site) -> None:
    """Check that what goes round in a site leads somewhere."""
    routes = _routes_of(path, site.source, site.errors)
    names = {route.name for _, route in routes if route.name}
    if isinstance(site.source, Again):
        found.error(f"{path}.source", "conflict", "this goes round in itself", "say who answers")
    for place, route in routes:
        if isinstance(route.source, Again) and route.source.to:
            found.reference(f"{place}.source.to", "route", route.source.to, sorted(names))


def _routes_of(path: str, source: Source, errors: tuple[ErrorRoute, ...] | None) -> list[tuple[str, Route]]:
    """Return all routes inside a site or route, with their places."""
    here = routes_inside(path, source, errors)
    return here + [inner for place, route in here for inner in _routes_of(place, route.source, route.errors)]


def _check_respond(found: Findings, path: str, source: Respond) -> None:
    _check_answer(found, path, source, Phase.REQUEST)


def _check_count(found: Findings, path: str, count: Count, phase: Phase) -> None:
    check_text(found, f"{path}.key", count.key, phase, is_field=False)
    for place, text in ((f"{path}.zone", count.zone), (f"{path}.name", count.name)):
        if not text:
            found.error(place, "empty-value", "what is counted needs a zone and a name")
    found.at_least(f"{path}.add", count.add, 0)
    found.at_least(f"{path}.period_ms", count.period_ms, 0)
    found.at_least(f"{path}.expire_ms", count.expire_ms, 0)
    found.at_least(f"{path}.keys", count.keys, 1)
    if count.while_open and (count.period_ms or count.add != 1):
        found.error(f"{path}.while_open", "conflict", "what counts while it is open counts one, and has no period")


def _check_answer(found: Findings, path: str, source: Respond | ReplaceAnswer, phase: Phase) -> None:
    if not 200 <= source.status <= 599:
        found.error(f"{path}.status", "out-of-range", f"{source.status} is no final status", "use 200 to 599")
    if source.body is not None:
        check_text(found, f"{path}.body", source.body, phase, is_field=False)
        if source.status in (204, 304):
            found.error(f"{path}.body", "conflict", f"a {source.status} response has no body (RFC 9110 section 6.4.1)")
    for at, (name, value) in enumerate(source.headers):
        check_field_name(found, f"{path}.headers[{at}]", name)
        check_text(found, f"{path}.headers[{at}]", value, phase)


def _check_target(found: Findings, path: str, new: Expr | None, query: Expr | None) -> None:
    """Check what a target is replaced by."""
    if new is not None:
        check_text(found, f"{path}.path", new, Phase.REQUEST)
        first = next(iter(new.parts), EMPTY) if isinstance(new, Concat) else new
        if isinstance(first, Const) and not str(first.value).startswith("/"):
            found.error(f"{path}.path", "bad-path", "the new path does not begin with `/`")
    if query is not None:
        check_text(found, f"{path}.query", query, Phase.REQUEST)


def _check_files(found: Findings, path: str, files: Files, upstreams: Sequence[str], depth: int) -> None:
    if not files.root:
        found.error(f"{path}.root", "empty-value", "files need the directory they are in")
    if files.strip and not files.strip.startswith("/"):
        found.error(f"{path}.strip", "bad-path", f"the path `{files.strip}` does not begin with `/`")
    for at, name in enumerate(files.index):
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            found.error(f"{path}.index[{at}]", "bad-value", f"`{name}` is no name of a file in a directory")
    for at, each in enumerate(files.tries):
        check_text(found, f"{path}.tries[{at}]", each, Phase.REQUEST)
    for place, kind in ((f"{path}.default_type", files.default_type), *((f"{path}.types", kind) for _, kind in files.types)):
        if not kind or _CONTROL.search(kind):
            found.error(place, "bad-value", f"`{kind}` is no media type")
    if files.otherwise is not None:
        check_source(found, f"{path}.otherwise", files.otherwise, upstreams, depth + 1)


def check_errors(found: Findings, path: str, errors: Sequence[ErrorRoute], upstreams: Sequence[str], depth: int = 0) -> None:
    """Check who answers in the place of errors."""
    for at, error in enumerate(errors):
        place = f"{path}[{at}]"
        for index, status in enumerate(error.statuses):
            if not (400 <= status <= 599 or (error.upstream and 300 <= status <= 599)):
                found.error(f"{place}.statuses[{index}]", "out-of-range", f"{status} is no status of an error", "use 400 to 599")
        if error.status and not 200 <= error.status <= 599:
            found.error(f"{place}.status", "out-of-range", f"{error.status} is no final status", "use 200 to 599, or 0")
        check_actions(found, f"{place}.request", error.request, Phase.REQUEST)
        check_actions(found, f"{place}.response", error.response, Phase.RESPONSE)
        check_source(found, f"{place}.source", error.source, upstreams, depth + 1)


def _check_switch(found: Findings, path: str, switch: Switch, upstreams: Sequence[str], depth: int) -> None:
    if not switch.routes:
        found.error(f"{path}.routes", "empty-list", "there is no route here", "without a route every request gets 404")
    closed = False
    for at, route in enumerate(switch.routes):
        place = f"{path}.routes[{at}]"
        if closed:
            found.warning(place, "unreachable", "this route is never reached", "an earlier one takes every request")
        check_route(found, place, route, upstreams, depth)
        if switch.order == "written" and route.path is None and not route.methods and route.when is None:
            closed = True


def check_route(found: Findings, path: str, route: Route, upstreams: Sequence[str], depth: int) -> None:
    """Check a route: its condition, actions and source. Overrides of limits are checked by ``check``."""
    if route.path is not None:
        _check_path(found, f"{path}.path", route.path)
    for at, method in enumerate(route.methods):
        if not TOKEN.fullmatch(method) or method != method.upper():
            found.error(f"{path}.methods[{at}]", "bad-method", f"`{method}` is no method", "methods are in upper case")
    if route.when is not None:
        check_test(found, f"{path}.when", route.when, Phase.REQUEST)
    check_actions(found, f"{path}.request", route.request, Phase.REQUEST)
    check_actions(found, f"{path}.response", route.response, Phase.RESPONSE)
    check_compression(found, f"{path}.compression", route.compression)
    check_errors(found, f"{path}.errors", route.errors or (), upstreams, depth)
    check_source(found, f"{path}.source", route.source, upstreams, depth + 1)


def _check_path(found: Findings, path: str, match: PathMatch) -> None:
    if match.kind == "regex":
        check_pattern(found, f"{path}.value", match.value)
    elif not match.value.startswith("/"):
        found.error(f"{path}.value", "bad-path", f"the path `{match.value}` does not begin with `/`")
    elif match.ignore_case:
        found.error(f"{path}.ignore_case", "conflict", "only regular expressions can ignore case")
    if match.final and match.kind != "prefix":
        found.error(f"{path}.final", "conflict", "only a prefix can be final")


def check_actions(found: Findings, path: str, actions: Sequence[Action], phase: Phase, depth: int = 0) -> None:
    """Check the actions of a request (``Phase.REQUEST``) or a response (``Phase.RESPONSE``)."""
    if depth >= MAX_DEPTH:
        found.error(path, "too-deep", f"conditions are nested more than {MAX_DEPTH} deep")
        return
    for at, action in enumerate(actions):
        place = f"{path}[{at}]"
        if isinstance(action, When):
            check_test(found, f"{place}.test", action.test, phase)
            check_actions(found, f"{place}.actions", action.actions, phase, depth + 1)
            if action.otherwise:
                check_actions(found, f"{place}.otherwise", action.otherwise, phase, depth + 1)
        elif isinstance(action, (SetHeader, AddHeader, EditHeader)):
            check_field_name(found, f"{place}.name", action.name)
            check_text(found, f"{place}.value", action.value, phase)
        elif isinstance(action, RemoveHeader):
            check_field_name(found, f"{place}.name", action.name)
        elif isinstance(action, BandwidthLimit):
            check_bandwidth(found, place, action, phase)
        elif isinstance(action, RemoveHeaders):
            check_pattern(found, f"{place}.pattern", action.pattern)
        elif isinstance(action, Count):
            _check_count(found, place, action, phase)
        elif isinstance(action, SetVariable):
            if not action.name:
                found.error(f"{place}.name", "empty-value", "what is kept needs a name")
            check_text(found, f"{place}.value", action.value, phase, is_field=False)
        elif isinstance(action, (SetStatus, ReplaceAnswer)):
            if phase is not Phase.RESPONSE:
                found.error(place, "wrong-place", "there is no answer yet", "use `deny`, or a route that answers")
            elif isinstance(action, ReplaceAnswer):
                _check_answer(found, place, action, phase)
            elif not 200 <= action.status <= 599 or action.status in (204, 304):
                found.error(f"{place}.status", "out-of-range", f"{action.status} cannot be the status of any answer", "use 200 to 599")
            elif _CONTROL.search(action.reason):
                found.error(f"{place}.reason", "control-byte", "the reason has a control byte in it")
        elif phase is not Phase.REQUEST:
            found.error(place, "wrong-place", "this cannot be done to a response")
        else:
            _check_request_action(found, place, action)


def _check_basic_auth(found: Findings, path: str, auth: BasicAuth) -> None:
    if not auth.users:
        found.error(f"{path}.users", "empty-list", "nobody could pass, since there is no user")
    if _CONTROL.search(auth.realm):
        found.error(f"{path}.realm", "control-byte", "the realm has a control byte in it")
    names = [name for name, _ in auth.users]
    for at, (name, secret) in enumerate(auth.users):
        place = f"{path}.users[{at}]"
        if not name or ":" in name or _CONTROL.search(name):
            found.error(place, "bad-user", f"`{name}` is no user name", "it has no colon and is not empty (RFC 7617 section 2)")
        elif name in names[:at]:
            found.error(place, "duplicate-name", f"there are two users named `{name}`")
        if not is_secret(secret):
            message = f"the password of `{name}` is stored in a way that is not known here"
            found.error(place, "bad-hash", message, "make a bcrypt or SHA-512 one, with `htpasswd -B` or `openssl passwd -6`")


def _check_request_action(
    found: Findings,
    path: str,
    action: RequestAction,
) -> None:
    if isinstance(action, BasicAuth):
        _check_basic_auth(found, path, action)
    elif isinstance(action, AuthRequest):
        _check_auth_request(found, path, action)
    elif isinstance(action, (RateLimit, ConcurrencyLimit)):
        _check_limit(found, path, action)
    elif isinstance(action, ClientCertificate):
        if not 400 <= action.status <= 499:
            found.error(f"{path}.status", "out-of-range", f"{action.status} is no status of a client's mistake", "use 400 to 499")
    elif isinstance(action, Deny):
        if not 400 <= action.status <= 599:
            found.error(f"{path}.status", "out-of-range", f"{action.status} is no error status", "use 400 to 599")
    elif isinstance(action, SetMethod):
        check_text(found, f"{path}.method", action.method, Phase.REQUEST)
        if isinstance(action.method, Const) and not TOKEN.fullmatch(str(action.method.value)):
            found.error(f"{path}.method", "bad-method", f"`{action.method.value}` is no method")
    elif isinstance(action, EarlyHint):
        check_field_name(found, f"{path}.name", action.name)
        check_text(found, f"{path}.value", action.value, Phase.REQUEST)
    elif isinstance(action, (HangUp, DropBody)):
        pass  # there is nothing in it
    elif isinstance(action, StripPrefix):
        if not action.prefix.startswith("/"):
            found.error(f"{path}.prefix", "bad-path", f"the path `{action.prefix}` does not begin with `/`")
    else:
        if action.path is None and action.query is None:
            found.error(path, "empty-value", "a rewrite changes the path, the query or both")
        _check_target(found, path, action.path, action.query)


def _check_auth_request(found: Findings, path: str, ask: AuthRequest) -> None:
    """Check a question; ``check`` looks whether its upstream exists."""
    _check_target(found, path, ask.path, ask.query)
    if ask.method and (not TOKEN.fullmatch(ask.method) or ask.method != ask.method.upper()):
        found.error(f"{path}.method", "bad-method", f"`{ask.method}` is no method", "methods are in upper case")
    for at, action in enumerate(ask.request):
        inner = action.actions if isinstance(action, When) else (action,)
        if not all(isinstance(each, (SetHeader, AddHeader, RemoveHeader, EditHeader)) for each in inner):
            found.error(f"{path}.request[{at}]", "wrong-place", "only fields can be changed in the question")
    check_actions(found, f"{path}.request", ask.request, Phase.REQUEST)
    for at, pair in enumerate(ask.copy):
        for name in pair:
            check_field_name(found, f"{path}.copy[{at}]", name)


def _check_limit(found: Findings, path: str, limit: RateLimit | ConcurrencyLimit) -> None:
    check_text(found, f"{path}.key", limit.key, Phase.REQUEST, is_field=False)
    if not 400 <= limit.status <= 599:
        found.error(f"{path}.status", "out-of-range", f"{limit.status} is no error status", "use 400 to 599")
    if isinstance(limit, ConcurrencyLimit):
        found.at_least(f"{path}.most", limit.most, 1)
        return
    found.at_least(f"{path}.requests", limit.requests, 1)
    found.at_least(f"{path}.period_ms", limit.period_ms, 1)
    found.at_least(f"{path}.burst", limit.burst, 0)
    found.at_least(f"{path}.keys", limit.keys, 1)
    if limit.at_once is not None and not 0 <= limit.at_once <= limit.burst:
        found.error(f"{path}.at_once", "out-of-range", f"{limit.at_once} is more than the burst of {limit.burst}, or less than none")


def check_bandwidth(found: Findings, path: str, limit: BandwidthLimit, phase: Phase) -> None:
    """Check a limit of bytes in a second; its rate is asked for when the body begins."""
    if limit.of not in ("response", "request"):
        found.error(f"{path}.of", "bad-value", f"`{limit.of}` is neither `response` nor `request`")
    elif limit.of == "request" and phase is Phase.RESPONSE:
        found.error(f"{path}.of", "wrong-place", "the request's body has gone by now", "limit it in a request action")
    known = Phase.RESPONSE if limit.of == "response" and phase is not Phase.TLS else phase
    for name, expr in (("rate", limit.rate), ("after", limit.after), ("key", limit.key)):
        if expr is None:
            continue
        check_text(found, f"{path}.{name}", expr, known, is_field=False)
        if name != "key" and isinstance(expr, Const) and not _PACE.fullmatch(str(expr.value)):
            found.error(f"{path}.{name}", "bad-value", f"`{expr.value}` is no number of bytes", "write `500KB`, `2MiB` or a number")


def check_compression(found: Findings, path: str, compression: Compression | None) -> None:
    """Check what is compressed."""
    if compression is None:
        return
    if not 1 <= compression.level <= 9:
        found.error(f"{path}.level", "out-of-range", f"{compression.level} is no level", "levels are from 1 to 9")
    found.at_least(f"{path}.min_bytes", compression.min_bytes, 0)
    for at, kind in enumerate(compression.types):
        if kind != "*" and not re.fullmatch(r"[A-Za-z0-9.+-]+/(?:[A-Za-z0-9.+-]+|\*)", kind):
            found.error(f"{path}.types[{at}]", "bad-value", f"`{kind}` is no media type", "write `text/html`, `text/*` or `*`")


def check_field_name(found: Findings, path: str, name: str) -> None:
    """Check the name of a field that an action sets or removes."""
    if not TOKEN.fullmatch(name):
        found.error(path, "bad-field", f"`{name}` is no field name")
    elif name.lower() in _FRAMING:
        found.error(
            path,
            "framing-field",
            f"`{name}` is not yours to change",
            "it belongs to one connection, and vestibule writes it",
        )


def check_pattern(found: Findings, path: str, pattern: str) -> None:
    """Check that a regular expression is one."""
    try:
        with warnings.catch_warnings():
            # That a later Python may read it otherwise is no mistake of the file.
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as bad:
        found.error(path, "bad-regex", f"`{pattern}` is no regular expression: {bad}")


# ---------------------------------------------------------------- expressions


def check_text(found: Findings, path: str, expr: Expr, phase: Phase, is_field: bool = True) -> None:
    """Check an expression that yields text in a place of the given phase; a field's value has no control bytes."""
    _check_expr(found, path, expr, phase, 0)
    if kind_of(expr) is Kind.TEST:
        found.error(path, "wrong-kind", "a text is expected here, not a test", 'write `if(test, "yes", "no")`')
    if not is_field:
        return
    for part in expr.parts if isinstance(expr, Concat) else (expr,):
        if isinstance(part, Const) and _CONTROL.search(str(part.value)):
            found.error(path, "control-byte", "the value has a control byte in it, a line break for instance")


def check_test(found: Findings, path: str, expr: Expr, phase: Phase) -> None:
    """Check an expression that yields true or false in a place of the given phase."""
    _check_expr(found, path, expr, phase, 0)
    if kind_of(expr) is not Kind.TEST:
        found.error(path, "wrong-kind", "a test is expected here, not a value", 'compare it with something: `== "x"`')


def _check_expr(found: Findings, path: str, expr: Expr, phase: Phase, depth: int) -> None:
    """Check the parts of an expression. Kinds are judged by the parent, names and phases by the node itself."""
    if depth > MAX_DEPTH:
        found.error(path, "too-deep", f"the expression is nested more than {MAX_DEPTH} deep")
        return
    if isinstance(expr, Var):
        _check_variable(found, path, expr, phase)
    elif isinstance(expr, Call):
        _check_call(found, path, expr)
    elif isinstance(expr, Compare):
        _check_compare(found, path, expr)
    elif isinstance(expr, Match):
        check_pattern(found, path, expr.pattern)
    elif isinstance(expr, InNet):
        for network in expr.networks:
            try:
                parse_network(network)
            except ValueError as bad:
                found.error(path, "bad-network", str(bad))
    for child in children(expr):
        _check_expr(found, path, child, phase, depth + 1)
    _check_child_kinds(found, path, expr)


def _check_child_kinds(found: Findings, path: str, expr: Expr) -> None:
    """Tests stand where tests are asked for, and nowhere else."""
    tests: tuple[Expr, ...] = ()
    if isinstance(expr, (AllOf, AnyOf)):
        tests = expr.tests
    elif isinstance(expr, (Not, If)):
        tests = (expr.test,)
    if any(kind_of(each) is not Kind.TEST for each in tests):
        found.error(path, "wrong-kind", "`and`, `or`, `not` and `if` join tests, not values", "compare the value first")
    needs_text = isinstance(expr, (Concat, Match)) or (isinstance(expr, Default) and kind_of(expr) is not Kind.TEST)
    if needs_text and any(kind_of(each) is Kind.TEST for each in children(expr)):
        found.error(path, "wrong-kind", "a text is expected here, not a test", 'write `if(test, "yes", "no")`')


def _check_variable(found: Findings, path: str, var: Var, phase: Phase) -> None:
    variable = VARIABLES.get(var.name)
    if variable is None:
        hint = did_you_mean(var.name, list(VARIABLES))
        if not hint.startswith("did"):
            hint = "see the reference of variables"
        found.error(path, "unknown-variable", f"there is no variable `{var.name}`", hint)
        return
    if variable.argument and not var.argument:
        found.error(path, "argument", f"`{var.name}` needs a {variable.argument} name", f"write `{var.name}:NAME`")
    elif var.argument and not variable.argument:
        found.error(path, "argument", f"`{var.name}` takes no argument")
    elif variable.argument == "field" and not TOKEN.fullmatch(var.argument):
        found.error(path, "bad-field", f"`{var.argument}` is no field name")
    if variable.phase > phase:
        found.error(
            path,
            "too-early",
            f"`{var.name}` is not known yet",
            f"it is known {_PHASE_WORDS[variable.phase]}, and this is used {_PHASE_WORDS[phase]}",
        )


def _check_call(found: Findings, path: str, call: Call) -> None:
    function = FUNCTIONS.get(call.function)
    if function is None:
        hint = did_you_mean(call.function, list(FUNCTIONS))
        found.error(path, "unknown-function", f"there is no function `{call.function}`", hint)
        return
    if len(call.arguments) != len(function.arguments):
        count = len(function.arguments)
        plural = "" if count == 1 else "s"
        found.error(path, "argument", f"`{call.function}` takes {count} argument{plural}, not {len(call.arguments)}")
        return
    for wanted, argument in zip(function.arguments, call.arguments, strict=True):
        is_test = kind_of(argument) is Kind.TEST
        if is_test != (wanted is Kind.TEST) or (wanted is Kind.NUMBER and kind_of(argument) is not Kind.NUMBER):
            found.error(path, "wrong-kind", f"`{call.function}` takes a {wanted.value}, not a {kind_of(argument).value}")
    if call.function == "capture":
        _check_capture(found, path, call.arguments[1], call.arguments[2])
    elif call.function in _FIXED:
        _check_fixed(found, path, call)


_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_SUMS = ("crc32", "djb2", "sdbm", "murmur2")
_FORMS = ("merge-slashes", "strip-dot", "strip-dotdot", "strip-dotdot-full", "sort-by-name", "decode-unreserved", "to-uppercase")
_JSON_PLACE = re.compile(r"\$?(?:\.[A-Za-z0-9_$-]+|\[\d{1,6}\]|\['[^']*'\]|\[\"[^\"]*\"\])+")
_FIXED = {
    "digest": (1,),
    "hmac": (1,),
    "checksum": (1,),
    "field": (1, 2, 3),
    "word": (1, 2, 3),
    "slice": (1, 2),
    "trim_start": (1,),
    "trim_end": (1,),
    "replace": (1, 2, 3),
    "mask": (1, 2),
    "list_item": (1,),
    "replace_items": (1,),
    "normalize": (1,),
    "format_date": (1, 2),
    "json_value": (1,),
    "is_user": (1,),
}
"""Arguments of functions that are known beforehand: they say how the first one is read."""


def _check_fixed(found: Findings, path: str, call: Call) -> None:
    name = call.function
    given = [call.arguments[at] for at in _FIXED[name]]
    fixed = [each.value for each in given if isinstance(each, Const)]
    if len(fixed) < len(given):
        found.error(path, "argument", f"only the first argument of `{name}` may differ from request to request")
        return
    known = _DIGESTS if name in ("digest", "hmac") else {"checksum": _SUMS, "normalize": _FORMS}.get(name, ())
    if known and fixed[0] not in known:
        found.error(path, "argument", f"`{fixed[0]}` is unknown to `{name}`", f"known are {', '.join(known)}")
    if name in ("field", "word") and (fixed[0] == 0 or not fixed[2]):
        found.error(path, "argument", f"`{name}` counts from 1, and needs separators")
    if name == "mask" and not all(isinstance(bits, int) and 0 <= bits <= most for bits, most in zip(fixed, (32, 128), strict=True)):
        found.error(path, "argument", "an address has not so many bits", "up to 32 of IPv4, and up to 128 of IPv6")
    if name == "is_user":
        for line in str(fixed[0]).split("\n"):
            user, colon, secret = line.partition(":")
            if not user or not colon or not is_secret(secret):
                found.error(path, "bad-hash", f"`{user}` has no password that is stored in a way that is known here")
    if name == "json_value" and not _JSON_PLACE.fullmatch(str(fixed[0])):
        found.error(path, "argument", f"`{fixed[0]}` is no place of a document", "write `$.user.roles[0]`")
    if name == "list_item" and fixed[0] == 0:
        found.error(path, "argument", "`list_item` counts from 1, or from the end from -1")
    if name == "format_date" and fixed[1] not in ("local", "utc"):
        found.error(path, "argument", f"`{fixed[1]}` is neither `local` nor `utc`")
    if name in ("replace", "replace_items"):
        check_pattern(found, path, str(fixed[0]))


def _check_capture(found: Findings, path: str, pattern: Expr, group: Expr) -> None:
    """A pattern is compiled once, so it must be known beforehand, and so must its group."""
    if not isinstance(pattern, Const) or not isinstance(group, Const):
        found.error(path, "argument", "the pattern and the group of `capture` are fixed texts")
        return
    try:
        compiled = re.compile(str(pattern.value))
    except (re.error, OverflowError, RecursionError):
        check_pattern(found, path, str(pattern.value))
        return
    name = str(group.value)
    has_number = name.isascii() and name.isdigit() and len(name) < 4 and int(name) <= compiled.groups
    if not has_number and name not in compiled.groupindex:
        found.error(path, "argument", f"`{pattern.value}` has no group `{name}`")


def _check_compare(found: Findings, path: str, compare: Compare) -> None:
    kinds = (kind_of(compare.left), kind_of(compare.right))
    if Kind.TEST in kinds:
        found.error(path, "wrong-kind", "a test cannot be compared", "it is true or false already; use `not`")
    elif (Kind.NUMBER in kinds or compare.op not in ("==", "!=")) and kinds != (Kind.NUMBER, Kind.NUMBER):
        found.error(path, "wrong-kind", f"`{compare.op}` compares two numbers here, and one side is none")
