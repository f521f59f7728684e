"""Checks of what happens to a request: routes, sources, actions.

Rules:
* Message framing belongs to the codecs: no action may touch the fields that carry it (RFC 9112 section 6).

Not here: expressions (``check_expr``), listeners, sites, upstreams and what refers to what (``check``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from vestibule.model.check_expr import CONTROL, MAX_DEPTH, TOKEN, check_pattern, check_test, check_text, is_secret
from vestibule.model.config import (
    Action,
    AddHeader,
    AddTrailer,
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
    KeepAlive,
    Metrics,
    PathMatch,
    Proxy,
    RateLimit,
    ReadBody,
    Redirect,
    RemoveHeader,
    RemoveHeaders,
    ReplaceAnswer,
    RequestAction,
    Respond,
    Route,
    SetBody,
    SetClient,
    SetHeader,
    SetMethod,
    SetStatus,
    SetTimeouts,
    SetVariable,
    Site,
    Source,
    StripPrefix,
    Substitute,
    Switch,
    When,
    routes_inside,
)
from vestibule.model.expr import (
    EMPTY,
    Concat,
    Const,
    Expr,
    Phase,
)
from vestibule.model.findings import Findings

_BARE = (204, 205, 206, 304)
_BODY_MOST = 65_536
_PACE = re.compile(r"[0-9]{1,15}(?:[kKmMgG]|[KMG]i?B|kB|B)?", re.ASCII)

_TYPE = re.compile(r"[A-Za-z0-9.+-]+/(?:[A-Za-z0-9.+-]+|\*)")
FRAMING = frozenset(("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"))


def check_source(found: Findings, path: str, source: Source, upstreams: Collection[str], depth: int = 0) -> None:
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
    elif isinstance(source, Metrics):
        found.at_least(f"{path}.refresh_s", source.refresh_s, 0)
    elif depth >= MAX_DEPTH:
        found.error(path, "too-deep", f"routes are nested more than {MAX_DEPTH} deep")
    elif isinstance(source, Files):
        _check_files(found, path, source, upstreams, depth)
    else:
        _check_switch(found, path, source, upstreams, depth)


def check_again(found: Findings, path: str, site: Site) -> None:
    """Check that what goes round in a site leads somewhere."""
    routes = _routes_of(path, site.source, site.errors)
    names = route_names(site)
    if isinstance(site.source, Again):
        found.error(f"{path}.source", "conflict", "this goes round in itself", "say who answers")
    for place, route in routes:
        if isinstance(route.source, Again) and route.source.to:
            found.reference(f"{place}.source.to", "route", route.source.to, names)


def route_names(site: Site) -> list[str]:
    """Return the names of all routes of a site."""
    return sorted({route.name for _, route in _routes_of("", site.source, site.errors) if route.name})


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
    if count.how != "add" and count.while_open:
        found.error(f"{path}.how", "conflict", f"`{count.how}` counts nothing, and so nothing while it is open")
    if count.how == "set" and count.period_ms:
        found.error(f"{path}.how", "conflict", "a number that is set has no period")
    if count.of != "requests" and (count.how != "add" or count.while_open or count.add != 1):
        found.error(f"{path}.of", "conflict", "bytes are counted as many as there are, and in no other way")


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


def _check_files(found: Findings, path: str, files: Files, upstreams: Collection[str], depth: int) -> None:
    if not files.root:
        found.error(f"{path}.root", "empty-value", "files need the directory they are in")
    if files.strip and not files.strip.startswith("/"):
        found.error(f"{path}.strip", "bad-path", f"the path `{files.strip}` does not begin with `/`")
    for at, name in enumerate(files.index):
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            found.error(f"{path}.index[{at}]", "bad-value", f"`{name}` is no name of a file in a directory")
    for at, name in enumerate(files.hide):
        if not name or name.strip("/") in ("", ".", "..") or "\0" in name or ("/" in name and not name.startswith("/")):
            found.error(f"{path}.hide[{at}]", "bad-value", f"`{name}` is neither a name nor a path that begins with `/`")
    if files.status and (not 200 <= files.status <= 599 or files.status in _BARE):
        found.error(f"{path}.status", "out-of-range", f"{files.status} is no status of an answer with a body", "use 200 to 599")
    for at, each in enumerate(files.tries):
        check_text(found, f"{path}.tries[{at}]", each, Phase.REQUEST)
    if files.origin is not None:
        check_text(found, f"{path}.origin", files.origin, Phase.REQUEST)
    for place, kind in ((f"{path}.default_type", files.default_type), *((f"{path}.types", kind) for _, kind in files.types)):
        if not kind or CONTROL.search(kind):
            found.error(place, "bad-value", f"`{kind}` is no media type")
    if files.otherwise is not None:
        check_source(found, f"{path}.otherwise", files.otherwise, upstreams, depth + 1)


def check_errors(found: Findings, path: str, errors: Sequence[ErrorRoute], upstreams: Collection[str], depth: int = 0) -> None:
    """Check who answers in the place of errors."""
    for at, error in enumerate(errors):
        place = f"{path}[{at}]"
        for index, status in enumerate(error.statuses):
            if not (300 <= status <= 599 or (error.upstream and 200 <= status <= 599)):
                found.error(f"{place}.statuses[{index}]", "out-of-range", f"{status} is no status of an error", "use 300 to 599")
        if error.status and not 200 <= error.status <= 599:
            found.error(f"{place}.status", "out-of-range", f"{error.status} is no final status", "use 200 to 599, or 0")
        for index, field in enumerate(error.passes):
            check_field_name(found, f"{place}.passes[{index}]", field)
        if error.when is not None:
            check_test(found, f"{place}.when", error.when, Phase.RESPONSE)
        for index, (name, value) in enumerate(error.keep):
            if not name:
                found.error(f"{place}.keep[{index}]", "empty-value", "what is kept needs a name")
            check_text(found, f"{place}.keep[{index}]", value, Phase.RESPONSE, is_field=False)
        if (error.when is not None or error.keep) and not error.upstream:
            found.error(f"{place}.upstream", "conflict", "only the answer of an upstream can be looked at", "add `upstream = true`")
        check_actions(found, f"{place}.request", error.request, Phase.REQUEST)
        check_actions(found, f"{place}.response", error.response, Phase.RESPONSE)
        check_source(found, f"{place}.source", error.source, upstreams, depth + 1)


def _check_switch(found: Findings, path: str, switch: Switch, upstreams: Collection[str], depth: int) -> None:
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


def check_route(found: Findings, path: str, route: Route, upstreams: Collection[str], depth: int) -> None:
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
        elif isinstance(action, (SetStatus, ReplaceAnswer, AddTrailer, Substitute)):
            if phase is not Phase.RESPONSE:
                found.error(place, "wrong-place", "there is no answer yet", "use `deny`, or a route that answers")
            elif isinstance(action, ReplaceAnswer):
                _check_answer(found, place, action, phase)
            elif isinstance(action, AddTrailer):
                check_field_name(found, f"{place}.name", action.name)
                check_text(found, f"{place}.value", action.value, Phase.LOG)  # taken at the end
            elif isinstance(action, Substitute):
                _check_substitute(found, place, action, phase)
            elif action.status and (not 200 <= action.status <= 599 or action.status in (204, 304)):
                found.error(f"{place}.status", "out-of-range", f"{action.status} cannot be the status of any answer", "use 200 to 599")
            elif CONTROL.search(action.reason):
                found.error(f"{place}.reason", "control-byte", "the reason has a control byte in it")
        elif isinstance(action, ReadBody):
            _check_read_body(found, place, action)
        elif phase is not Phase.REQUEST:
            found.error(place, "wrong-place", "this cannot be done to a response")
        else:
            _check_request_action(found, place, action, depth)


def _check_substitute(found: Findings, path: str, action: Substitute, phase: Phase) -> None:
    if not action.texts:
        found.error(f"{path}.texts", "empty-list", "nothing is looked for")
    for at, (text, value) in enumerate(action.texts):
        if not text:
            found.error(f"{path}.texts[{at}]", "empty-value", "an empty text is everywhere")
        check_text(found, f"{path}.texts[{at}]", value, phase, is_field=False)
    for at, kind in enumerate(action.types):
        if kind != "*" and not _TYPE.fullmatch(kind):
            found.error(f"{path}.types[{at}]", "bad-value", f"`{kind}` is no media type", "write `text/html`, `text/*` or `*`")


def _check_basic_auth(found: Findings, path: str, auth: BasicAuth) -> None:
    if not auth.users:
        found.error(f"{path}.users", "empty-list", "nobody could pass, since there is no user")
    found.at_least(f"{path}.delay_ms", auth.delay_ms, 0)
    if CONTROL.search(auth.realm):
        found.error(f"{path}.realm", "control-byte", "the realm has a control byte in it")
    names = [name for name, _ in auth.users]
    for at, (name, secret) in enumerate(auth.users):
        place = f"{path}.users[{at}]"
        if not name or ":" in name or CONTROL.search(name):
            found.error(place, "bad-user", f"`{name}` is no user name", "it has no colon and is not empty (RFC 7617 section 2)")
        elif name in names[:at]:
            found.error(place, "duplicate-name", f"there are two users named `{name}`")
        if not is_secret(secret):
            message = f"the password of `{name}` is stored in a way that is not known here"
            found.error(place, "bad-hash", message, "make a bcrypt or SHA-512 one, with `htpasswd -B` or `openssl passwd -6`")


def _check_read_body(found: Findings, path: str, action: ReadBody) -> None:
    found.at_least(f"{path}.time_ms", action.time_ms, 1)
    if not 1 <= action.least <= _BODY_MOST:
        found.error(f"{path}.least", "out-of-range", f"{action.least} bytes are not held back", f"use 1 to {_BODY_MOST}")


def _check_request_action(
    found: Findings,
    path: str,
    action: RequestAction,
    depth: int,
) -> None:
    if isinstance(action, BasicAuth):
        _check_basic_auth(found, path, action)
    elif isinstance(action, AuthRequest):
        _check_auth_request(found, path, action)
        check_actions(found, f"{path}.refused", action.refused, Phase.REQUEST, depth + 1)
    elif isinstance(action, (RateLimit, ConcurrencyLimit)):
        check_limit(found, path, action, Phase.REQUEST)
    elif isinstance(action, ClientCertificate):
        if not 400 <= action.status <= 499:
            found.error(f"{path}.status", "out-of-range", f"{action.status} is no status of a client's mistake", "use 400 to 499")
    elif isinstance(action, Deny):
        if not 300 <= action.status <= 599:
            found.error(f"{path}.status", "out-of-range", f"{action.status} is no error status", "use 400 to 599")
    elif isinstance(action, SetMethod):
        check_text(found, f"{path}.method", action.method, Phase.REQUEST)
        if isinstance(action.method, Const) and not TOKEN.fullmatch(str(action.method.value)):
            found.error(f"{path}.method", "bad-method", f"`{action.method.value}` is no method")
    elif isinstance(action, SetClient):
        check_text(found, f"{path}.address", action.address, Phase.REQUEST)
    elif isinstance(action, SetTimeouts):
        if action.response_head_ms is None and action.tunnel_idle_ms is None:
            found.error(path, "empty-value", "no time-out is set")
        for name, time in (("response_head_ms", action.response_head_ms), ("tunnel_idle_ms", action.tunnel_idle_ms)):
            if time is not None:
                found.at_least(f"{path}.{name}", time, 1)
    elif isinstance(action, KeepAlive):
        told = (("idle_ms", action.idle_ms), ("requests", action.requests), ("age_ms", action.age_ms), ("told_s", action.told_s))
        for name, number in told:
            found.at_least(f"{path}.{name}", number, 0)
    elif isinstance(action, EarlyHint):
        check_field_name(found, f"{path}.name", action.name)
        check_text(found, f"{path}.value", action.value, Phase.REQUEST)
    elif isinstance(action, SetBody):
        check_text(found, f"{path}.body", action.body, Phase.REQUEST, is_field=False)
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


def check_limit(found: Findings, path: str, limit: RateLimit | ConcurrencyLimit, phase: Phase) -> None:
    """Check a limit of how many may come, or be there at a time; its key is asked for in a phase."""
    check_text(found, f"{path}.key", limit.key, phase, is_field=False)
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
        if kind != "*" and not _TYPE.fullmatch(kind):
            found.error(f"{path}.types[{at}]", "bad-value", f"`{kind}` is no media type", "write `text/html`, `text/*` or `*`")


def check_field_name(found: Findings, path: str, name: str) -> None:
    """Check the name of a field that an action sets or removes."""
    if not TOKEN.fullmatch(name):
        found.error(path, "bad-field", f"`{name}` is no field name")
    elif name.lower() in FRAMING:
        found.error(
            path,
            "framing-field",
            f"`{name}` is not yours to change",
            "it belongs to one connection, and vestibule writes it",
        )
