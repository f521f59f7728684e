"""Reading what happens to a request: sources, routes, actions.

Rules: a source that cannot be read becomes a fixed 503, so that reading goes on; the mistake is noted and forbids the
configuration anyway.

Not here: sites and what they stand on (``parse``).
"""

from __future__ import annotations

from typing import Any

from vestibule.dialects.toml.form import TEMPLATE, Shape, kind_name
from vestibule.dialects.toml.notes import Notes
from vestibule.dialects.toml.schema import (
    ACTION,
    ANSWER,
    AUTH_REQUEST,
    BANDWIDTH_LIMIT,
    CONCURRENCY_LIMIT,
    COUNT_TABLE,
    ERROR,
    FILES,
    KEEP_ALIVE,
    METRICS,
    OTHERWISE,
    RATE_LIMIT,
    READ_BODY,
    REDIRECT,
    RESPOND,
    ROUTE,
    SET_TIMEOUTS,
    SUBSTITUTE,
)
from vestibule.dialects.toml.values import MISSING, Level, Section, Spot, read_flat, read_level
from vestibule.model.config import (
    Action,
    AddHeader,
    AddTrailer,
    Again,
    AuthRequest,
    BandwidthLimit,
    BasicAuth,
    ClientCertificate,
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
    Respond,
    Rewrite,
    Route,
    SetBody,
    SetClient,
    SetHeader,
    SetMethod,
    SetStatus,
    SetTimeouts,
    SetVariable,
    Source,
    StripPrefix,
    Substitute,
    Switch,
    Upstream,
    When,
)
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, Expr
from vestibule.model.quantity import format_server, parse_server

_UNREAD = Respond(503)

_ANSWERS = ("to", "respond", "redirect", "files", "metrics", "again")

_TABLES = {
    "auth_request": AUTH_REQUEST,
    "rate_limit": RATE_LIMIT,
    "read_body": READ_BODY,
    "set_timeouts": SET_TIMEOUTS,
    "keep_alive": KEEP_ALIVE,
    "concurrency_limit": CONCURRENCY_LIMIT,
    "bandwidth_limit": BANDWIDTH_LIMIT,
    "count": COUNT_TABLE,
    "substitute": SUBSTITUTE,
}

_VERBS = (
    *("set", "add", "edit", "remove", "strip_prefix", "rewrite", "query"),
    *("deny", "hang_up", "drop_body", "set_body", "client_certificate", "basic_auth"),
    *_TABLES,
    *("set_method", "set_client", "early_hint", "remove_matching", "set_variable", "set_status", "add_trailer", "answer"),
    "actions",
)

# What each verb's own value is called in the model, so that mistakes in it find their key.
_VERB_FIELDS = {
    "set": "name",
    "add": "name",
    "remove": "name",
    "edit": "name",
    "strip_prefix": "prefix",
    "deny": "status",
    "client_certificate": "status",
    "basic_auth": "users",
    "rewrite": "path",
    "set_method": "method",
    "set_client": "address",
    "early_hint": "name",
    "remove_matching": "pattern",
    "set_variable": "name",
    "set_status": "status",
    "add_trailer": "name",
}
_VALUED = ("set", "add", "edit", "early_hint", "set_variable", "add_trailer")
_WITH = {
    "realm": ("basic_auth",),
    "delay": ("basic_auth",),
    "connection": ("set_variable",),
    "reason": ("set_status",),
    "otherwise": ("actions",),
    "keep_empty": ("set", "add"),
    "upstream_only": ("rewrite", "query"),
    "ignore_case": ("strip_prefix",),
}

_NEEDED = {
    "rate_limit": ("key", "requests"),
    "concurrency_limit": ("key", "most"),
    "bandwidth_limit": ("rate",),
    "count": ("key", "zone", "name"),
    "substitute": ("texts",),
}

_MAX_DEPTH = 40
"""Nesting the reader follows; ``check`` allows a little less."""


class Upstreams:
    """The upstreams of a file: those declared, and one for each URL that stands for itself."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._by_name: dict[str, Upstream] = {}

    def declare(self, upstream: Upstream) -> None:
        """Take a declared upstream; all of them come before the first ``find``."""
        self._by_name[upstream.name] = upstream

    def all(self) -> tuple[Upstream, ...]:
        """Return the upstreams, declared ones first."""
        return tuple(self._by_name.values())

    def find(self, text: str, spot: Spot) -> str | None:
        """Return the name of the upstream that ``to`` means, making one for a URL; None, noted, if there is none."""
        if text in self._by_name:
            return text
        if "://" not in text and not text.startswith("unix:"):
            hint = did_you_mean(text, list(self._by_name)) if self._by_name else "a URL looks like `http://immich:2283`"
            spot.error("unknown-reference", f"`{text}` is neither a URL nor the name of an upstream", hint)
            return None
        try:
            server = parse_server(text)
        except ValueError as bad:
            spot.error("bad-value", str(bad))
            return None
        name = format_server(server) or text
        if name not in self._by_name:
            self._notes.origin(f"upstreams[{len(self._by_name)}]", spot.key)
            self._by_name[name] = Upstream(name, (server,))
        return name


class Routes:
    """Reads sources with their routes and actions, at any depth."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    def source(self, section: Section, level: Level, depth: int = 0) -> Source:
        """Return who answers in a site or route."""
        given = section.given(*_ANSWERS)
        if len(given) > 1:
            section.error(given[1], "conflict", f"`{given[0]}` answers here already", "keep one of the two")
        if "routes" in section:
            return self._switch(section, level, depth)
        if "order" in section:
            section.error("order", "conflict", "an order is for `routes`, and there are none")
        if not given:
            section.error("", "missing", "nothing answers here", "say `to`, `respond`, `redirect`, `files`, `metrics`, `again` or `routes`")
            return _UNREAD
        return self._single(given[0], section.data[given[0]], section.inside(given[0], "source"), level, depth)

    def _switch(self, section: Section, level: Level, depth: int) -> Source:
        section.inside("routes", "source")
        spot = section.inside("routes", "source.routes")
        routes: list[Route] = []
        for at, item in enumerate(spot.array(section.data["routes"])):
            routes.append(self._route(spot.at(at), item, level, depth + 1))
        # What answers besides the routes takes what they leave.
        for name in section.given(*_ANSWERS)[:1]:
            section.inside(name, f"source.routes[{len(routes)}]")
            last = section.inside(name, f"source.routes[{len(routes)}].source")
            routes.append(Route(self._single(name, section.data[name], last, level, depth)))
        return Switch(tuple(routes), section.read("order", "written"))

    def _single(self, name: str, value: object, spot: Spot, level: Level, depth: int) -> Source:
        if name == "respond":
            return self._respond(value, spot)
        if name == "redirect":
            return self._redirect(value, spot)
        if name == "again":
            return self._again(value, spot)
        if name == "metrics":
            return read_flat(spot, METRICS, {"form": value} if isinstance(value, str) else value, Metrics())
        if name == "files":
            return self._files(value, spot, level, depth)
        text = spot.text(value, "a server's URL or the name of an upstream")
        upstream = self._upstreams.find(text, spot) if text is not None else None
        return Proxy(upstream) if upstream is not None else _UNREAD

    def _respond(self, value: object, spot: Spot) -> Source:
        section = spot.section(RESPOND, value)
        if section is None:
            return _UNREAD
        section.mark("status", "body")
        headers = self._pairs(section.data["headers"], section.inside("headers")) if "headers" in section else ()
        return Respond(section.read("status", 200), section.read("body", None), headers)

    def _answer(self, value: object, spot: Spot) -> Action | None:
        section = spot.section(ANSWER, value)
        if section is None:
            return None
        section.mark("status", "body")
        headers = self._pairs(section.data["headers"], section.inside("headers")) if "headers" in section else ()
        return ReplaceAnswer(section.read("status", 200), section.read("body", None), headers)

    def _pairs(self, value: object, spot: Spot) -> tuple[tuple[str, Expr], ...]:
        """Read fields: a table, or an array of pairs."""
        pairs: list[tuple[str, Expr]] = []
        items: list[tuple[Spot, object]]
        if isinstance(value, dict):
            items = [(spot.inside(name), [name, each]) for name, each in value.items()]
        else:
            items = [(spot.at(at), each) for at, each in enumerate(spot.array(value))]
        for place, each in items:
            spot.notes.origin(f"{spot.path}[{len(pairs)}]", place.key)
            if not (isinstance(each, list) and len(each) == 2 and isinstance(each[0], str)):
                place.error("bad-value", 'expected a pair such as `["X-Name", "value"]`')
                continue
            text = place.value(TEMPLATE, each[1])
            if text is not MISSING:
                pairs.append((each[0], text))
        return tuple(pairs)

    def _again(self, value: object, spot: Spot) -> Source:
        if value is True or (isinstance(value, str) and value):
            return Again("" if value is True else str(value))
        spot.error("bad-value", f"expected true or the name of a route, not {kind_name(value)}")
        return _UNREAD

    def _redirect(self, value: object, spot: Spot) -> Source:
        if isinstance(value, str):
            location = spot.value(TEMPLATE, value)
            return Redirect(location) if location is not MISSING else _UNREAD
        section = spot.section(REDIRECT, value)
        if section is None:
            return _UNREAD
        section.mark("location", "status")
        status = section.read("status", 308)
        if status not in (301, 302, 303, 307, 308):
            section.error("status", "out-of-range", f"{status} is no redirect", "use 301, 302, 303, 307 or 308")
            return _UNREAD
        if "location" not in section:
            section.error("", "missing", "a redirect needs a `location`")
            return _UNREAD
        return Redirect(section.read("location", EMPTY), status)  # type: ignore[arg-type]  # one of those just named

    def _files(self, value: object, spot: Spot, level: Level, depth: int) -> Source:
        section = spot.section(FILES, value)
        if section is None:
            return _UNREAD
        for key in FILES.keys:
            section.mark(key.name)
        if "root" not in section:
            section.error("", "missing", "files need the directory they are in, `root`")
            return _UNREAD
        if depth > _MAX_DEPTH:
            spot.error("too-deep", f"routes are nested more than {_MAX_DEPTH} deep")
            return _UNREAD
        otherwise: Source | None = None
        if "otherwise" in section:
            inside = section.inside("otherwise").section(OTHERWISE, section.data["otherwise"])
            otherwise = _UNREAD if inside is None else self._below(inside, level, depth + 1)
        plain = {key.field: section.read(key.name, MISSING) for key in FILES.keys if key.field}
        read: dict[str, Any] = {name: item for name, item in plain.items() if item is not MISSING}
        # One that cannot be read was told of.
        return Files(**read, otherwise=otherwise) if "root" in read else _UNREAD

    def _below(self, section: Section, level: Level, depth: int) -> Source:
        """Return the source in a table whose place in the model is that of the source itself."""
        spot = section.spot
        for name in section.given(*_ANSWERS, "routes", "order"):
            spot.notes.origin(spot.path, spot.inside(name).key)
        parent = spot.path.rpartition(".")
        moved = Section(Spot(spot.notes, spot.key, parent[0]), section.table, section.data)
        return self.source(moved, level, depth)

    def errors(self, section: Section, level: Level, depth: int = 0) -> tuple[ErrorRoute, ...] | None:
        """Return who answers in the place of errors; None where nothing is said."""
        if "errors" not in section:
            return None
        spot = section.inside("errors")
        routes: list[ErrorRoute] = []
        for at, item in enumerate(spot.array(section.data["errors"])):
            inside = spot.at(at, len(routes)).section(ERROR, item)
            if inside is None:
                continue
            inside.mark("statuses", "status", "upstream", "when", "keep", "passes", "whole")
            routes.append(
                ErrorRoute(
                    self.source(inside, level, depth + 1),
                    inside.read("statuses", ()),
                    inside.read("status", None),
                    inside.read("upstream", False),
                    self.actions(inside, "request"),
                    self.actions(inside, "response"),
                    inside.read("when", None),
                    inside.read("keep", ()),
                    inside.read("passes", ()),
                    inside.read("whole", False),
                )
            )
        return tuple(routes)

    # ------------------------------------------------------------ routes

    def _route(self, spot: Spot, value: object, outer: Level, depth: int) -> Route:
        section = spot.section(ROUTE, value)
        if section is None:
            return Route(_UNREAD)
        if depth > _MAX_DEPTH:
            spot.error("too-deep", f"routes are nested more than {_MAX_DEPTH} deep")
            return Route(_UNREAD)
        section.mark("name", "methods", "when")
        own, level = read_level(section, outer)
        return Route(
            source=self.source(section, level, depth),
            name=section.read("name", ""),
            path=_path(section),
            methods=section.read("methods", ()),
            when=section.read("when", None),
            request=self.actions(section, "request"),
            response=self.actions(section, "response"),
            errors=self.errors(section, level, depth),
            **own,
        )

    # ------------------------------------------------------------ actions

    def actions(self, section: Section, side: str) -> tuple[Action, ...]:
        """Read the actions on one side: the array ``request`` or ``response``, then the table of fields."""
        actions: list[Action] = []
        if side in section:
            actions.extend(self._actions(section.data[side], section.inside(side), 0))
        short = f"{side}_headers"
        if short in section:
            self._headers(section.data[short], section.spot.inside(short, side), actions)
        return tuple(actions)

    def _headers(self, value: object, spot: Spot, actions: list[Action]) -> None:
        """Read a table of fields: a template sets one, false removes it, an array sets several lines."""
        if not isinstance(value, dict):
            spot.error("bad-value", f"expected a table, not {kind_name(value)}")
            return
        for name, given in value.items():
            place = spot.inside(name)
            if given is False:
                spot.notes.origin(f"{spot.path}[{len(actions)}]", place.key)
                actions.append(RemoveHeader(name))
                continue
            first = True
            for at, item in enumerate(given if isinstance(given, list) else [given]):
                text = (place.at(at) if isinstance(given, list) else place).value(TEMPLATE, item)
                if text is MISSING:
                    continue
                spot.notes.origin(f"{spot.path}[{len(actions)}]", place.key)
                actions.append(SetHeader(name, text) if first else AddHeader(name, text))
                first = False

    def _actions(self, value: object, spot: Spot, depth: int) -> list[Action]:
        actions: list[Action] = []
        for at, item in enumerate(spot.array(value)):
            section = spot.at(at, len(actions)).section(ACTION, item)
            action = self._action(section, depth) if section is not None else None
            if action is not None:
                actions.append(action)
        return actions

    def _action(self, section: Section, depth: int) -> Action | None:
        """Read one action, wrapped in its condition if it has one; None, noted, if it cannot be read."""
        verbs = section.given(*_VERBS)
        if verbs == ["rewrite", "query"]:
            verbs = ["rewrite"]
        if len(verbs) != 1:
            message = "this does nothing" if not verbs else f"`{verbs[0]}` and `{verbs[1]}` are two actions"
            section.error("", "bad-action", message, "an action has one of " + ", ".join([f"`{name}`" for name in _VERBS]))
            return None
        if "value" in section and verbs[0] not in _VALUED:
            section.error("value", "conflict", f"`{verbs[0]}` takes no value")
        for key, owners in _WITH.items():
            if key in section and verbs[0] not in owners:
                section.error(key, "conflict", f"`{verbs[0]}` takes no {key}")
        if depth > _MAX_DEPTH:
            section.error("", "too-deep", f"actions are nested more than {_MAX_DEPTH} deep")
            return None
        if "when" not in section:
            if verbs[0] != "actions":
                return self._verb(verbs[0], section, "")
            section.error("actions", "missing", "`actions` need a `when`", "without a condition they stand by themselves")
            return None
        section.inside("when", "test")
        if verbs[0] == "actions":
            actions = tuple(self._actions(section.data["actions"], section.inside("actions"), depth + 1))
        else:
            action = self._verb(verbs[0], section, "actions[0].")
            if action is None:
                return None
            actions = (action,)
        others: tuple[Action, ...] = ()
        if "otherwise" in section:
            others = tuple(self._actions(section.data["otherwise"], section.inside("otherwise"), depth + 1))
        test = section.read("when", None)
        return When(test, actions, others) if test is not None else None

    def _verb(self, verb: str, section: Section, prefix: str) -> Action | None:
        """Read the action that a verb names; ``prefix`` leads to it from the section's place in the model."""
        if verb in _TABLES:
            spot = section.spot
            place = f"{spot.path}.{prefix}".rstrip(".")
            return self._table(verb, section.data[verb], Spot(spot.notes, spot.inside(verb).key, place))
        if verb == "answer":
            spot = section.spot
            place = f"{spot.path}.{prefix}".rstrip(".")
            return self._answer(section.data[verb], Spot(spot.notes, spot.inside(verb).key, place))
        section.inside(verb, prefix + _VERB_FIELDS.get(verb, verb))
        section.inside("value", f"{prefix}value")
        section.inside("query", f"{prefix}query")
        read: Any = section.read(verb, None)
        if read is None:
            return None
        if verb in _VALUED:
            if "value" not in section:
                section.error("", "missing", f"`{verb}` needs a `value`")
                return None
            value = section.read("value", EMPTY)
            if verb == "edit":
                return EditHeader(read, value)
            if verb == "early_hint":
                return EarlyHint(read, value)
            if verb == "add_trailer":
                return AddTrailer(read, value)
            if verb == "set_variable":
                section.inside("connection", f"{prefix}connection")
                return SetVariable(read, value, section.read("connection", False))
            section.inside("keep_empty", f"{prefix}keep_empty")
            kept = section.read("keep_empty", False)
            return SetHeader(read, value, kept) if verb == "set" else AddHeader(read, value, kept)
        if verb == "remove":
            return RemoveHeader(read)
        if verb == "strip_prefix":
            section.inside("ignore_case", f"{prefix}ignore_case")
            return StripPrefix(read, section.read("ignore_case", False))
        if verb == "set_method":
            return SetMethod(read)
        if verb == "set_client":
            return SetClient(read)
        if verb == "set_body":
            return SetBody(read)
        if verb == "remove_matching":
            return RemoveHeaders(read)
        if verb == "set_status":
            section.inside("reason", f"{prefix}reason")
            return SetStatus(read, section.read("reason", ""))
        if verb == "deny":
            return Deny(read)
        if verb in ("hang_up", "drop_body"):
            if not read:
                section.error(verb, "bad-value", "only `true` means something here", "leave it out")
            return HangUp() if verb == "hang_up" else DropBody()
        if verb == "client_certificate":
            return ClientCertificate(read)
        if verb == "basic_auth":
            section.inside("realm", f"{prefix}realm")
            section.inside("delay", f"{prefix}delay_ms")
            return BasicAuth(read, section.read("realm", "vestibule"), section.read("delay", 0))
        section.inside("upstream_only", f"{prefix}upstream_only")
        is_for_upstream = section.read("upstream_only", False)
        if verb == "rewrite":
            return Rewrite(read, section.read("query", None), is_for_upstream)
        return Rewrite(None, read, is_for_upstream)

    def bandwidth(self, value: object, spot: Spot) -> tuple[BandwidthLimit, ...]:
        """Read the limits of a route of layer 4."""
        limits: list[BandwidthLimit] = []
        for at, item in enumerate(spot.array(value)):
            limit = self._table("bandwidth_limit", item, spot.at(at, len(limits)))
            if isinstance(limit, BandwidthLimit):
                limits.append(limit)
        return tuple(limits)

    def concurrency(self, value: object, spot: Spot) -> tuple[ConcurrencyLimit, ...]:
        """Read how many connections a route of layer 4 lets be open."""
        limits: list[ConcurrencyLimit] = []
        for at, item in enumerate(spot.array(value)):
            limit = self._table("concurrency_limit", item, spot.at(at, len(limits)))
            if isinstance(limit, ConcurrencyLimit):
                limits.append(limit)
        return tuple(limits)

    def _table(self, verb: str, value: object, spot: Spot) -> Action | None:
        """Read an action that has a table of its own."""
        section = spot.section(_TABLES[verb], value)
        if section is None:
            return None
        for key in section.table.keys:
            section.inside(key.name, key.field or "upstream")
        plain = {key.field: section.read(key.name, MISSING) for key in section.table.keys if key.field and not isinstance(key.form, Shape)}
        read: dict[str, Any] = {name: item for name, item in plain.items() if item is not MISSING}
        missing = [name for name in _NEEDED.get(verb, ()) if name not in section]
        if missing:
            section.error("", "missing", f"`{verb}` needs `{missing[0]}`")
            return None
        if verb == "read_body":
            return ReadBody(**read)
        if verb == "set_timeouts":
            return SetTimeouts(**read)
        if verb == "keep_alive":
            return KeepAlive(**read)
        if verb == "substitute":
            return Substitute(**read) if _has(read, "texts") else None
        if verb == "rate_limit":
            return RateLimit(**read) if _has(read, "key", "requests") else None
        if verb == "bandwidth_limit":
            return BandwidthLimit(**read) if _has(read, "rate") else None
        if verb == "count":
            return Count(**read) if _has(read, "key", "zone", "name") else None
        if verb == "concurrency_limit":
            return ConcurrencyLimit(**read) if _has(read, "key", "most") else None
        if ("to" in section) == ("route" in section):
            section.error("", "missing", "`auth_request` needs who is asked: `to` a server, or a `route`, and not both")
            return None
        upstream: str | None = ""
        if "to" in section:
            text = section.inside("to", "upstream").text(section.data["to"], "a server's URL or the name of an upstream")
            upstream = self._upstreams.find(text, section.inside("to", "upstream")) if text is not None else None
        edits = tuple(self._actions(section.data["request"], section.inside("request"), 0)) if "request" in section else ()
        refused = tuple(self._actions(section.data["refused"], section.inside("refused"), 0)) if "refused" in section else ()
        return AuthRequest(upstream, request=edits, refused=refused, **read) if upstream is not None else None


def _has(read: dict[str, Any], *names: str) -> bool:
    """Tell whether values that are needed could be read; what could not is noted."""
    return all(name in read for name in names)


def _path(section: Section) -> PathMatch | None:
    """Read ``path``, ``prefix`` or ``regex`` with its options."""
    given = section.given("path", "prefix", "regex")
    if not given:
        for option in section.given("ignore_case", "final"):
            section.error(option, "conflict", f"`{option}` belongs to a path, and there is none")
        return None
    if len(given) > 1:
        section.error(given[1], "conflict", f"`{given[0]}` is given already", "keep one of the two")
    name = given[0]
    section.inside(name, "path")
    section.inside("ignore_case", "path.ignore_case")
    section.inside("final", "path.final")
    value = section.read(name, "")
    ignore_case, final = section.read("ignore_case", False), section.read("final", False)
    if name == "path":
        return PathMatch("exact", value, ignore_case, final)
    return PathMatch("prefix" if name == "prefix" else "regex", value, ignore_case, final)
