"""A haproxy.cfg as the model: frontends become sites, backends upstreams, and rules what happens in between.

Facts (HAProxy configuration manual, chapters 2 and 4): a request runs through the rules of its frontend, is given to a
backend, runs through that one's rules and goes to a server. Nothing is asked of the Host; a frontend takes all of them.
Where ``mode`` is not said anywhere, HAProxy takes bytes and not requests; files without ``defaults`` are read as ``http``.

Rules
  Actions stay in their order. An answer with a condition, or a choice of backend, becomes a switch whose last route holds
  what comes after it.
  A backend is lowered for each way into it, since what its rules read depends on the rules before.
  Rules that can never be reached are read all the same, for their mistakes.

Not here: single lines (``rules``, ``listen``, ``servers``, ``settings``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from vestibule.dialects.haproxy.acl import Acls
from vestibule.dialects.haproxy.answers import answer_of, replacement
from vestibule.dialects.haproxy.capturing import captures_of
from vestibule.dialects.haproxy.counting import Table, error_actions, table_of, table_words, tracked_tables
from vestibule.dialects.haproxy.editing import Do, End, Skip, Step
from vestibule.dialects.haproxy.errorpages import ErrorPages
from vestibule.dialects.haproxy.formats import read_format
from vestibule.dialects.haproxy.forwardfor import told_actions
from vestibule.dialects.haproxy.globals import Globals, lowest, read_globals
from vestibule.dialects.haproxy.identity import identity_of
from vestibule.dialects.haproxy.lexer import read_lines
from vestibule.dialects.haproxy.listen import Binder, Bound
from vestibule.dialects.haproxy.logs import access_log, event_logs, named
from vestibule.dialects.haproxy.pacing import Paces
from vestibule.dialects.haproxy.passing import Choice, passing_timeouts, read_passing, refuse_answers
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.rules import Rules
from vestibule.dialects.haproxy.servers import Servers
from vestibule.dialects.haproxy.settings import USUAL, Settings, compression_of, exchange_timeouts
from vestibule.dialects.haproxy.side import Side
from vestibule.dialects.haproxy.state import Lookups, PatternFiles, State
from vestibule.dialects.haproxy.stats import name_servers, page_of, stats_of
from vestibule.dialects.haproxy.targets import monitored
from vestibule.dialects.haproxy.tree import Section, Statement, number_of, read_sections
from vestibule.dialects.haproxy.users import Userlist, read_userlist
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece, switched
from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.dialects.record import Record
from vestibule.model.check import check
from vestibule.model.config import (
    ANY_HOST,
    AccessLog,
    Action,
    CommandSocket,
    Config,
    Deny,
    Forwarding,
    Listener,
    Metrics,
    Proxy,
    ReadBody,
    ReplaceAnswer,
    Respond,
    Route,
    SetClient,
    SetHeader,
    SetStatus,
    Site,
    Source,
    Switch,
    TcpRoute,
    Upstream,
    When,
)
from vestibule.model.diagnostic import Span, did_you_mean
from vestibule.model.expr import AllOf, Const, If, Match, Var
from vestibule.model.upstream import server_text

FORWARDING = Forwarding(x_forwarded="pass", forwarded="pass", host="client", underscores="allow")
"""HAProxy sends what came and what rules make of it, nothing else."""

_PASSES = 8
"""How often a file is read at most, each time with more variables known that have to be kept; one or two are enough for any file
that does not set variables from variables in a circle."""

_AFTER = "http-after-response"

_REQUEST_SETS = ("tcp-request connection", "tcp-request session", "tcp-request content", "http-request", "redirect")


def parse(name: str, text: str, read_text: ReadText = read_nothing) -> Loaded:
    """Read a haproxy.cfg; files of patterns and answers come through ``read_text``."""
    return parse_files([(name, text)], read_text)


def parse_files(
    texts: Sequence[tuple[str, str]], read_text: ReadText = read_nothing, environment: Mapping[str, str] | None = None
) -> Loaded:
    """Read files, each a name and a text, as one configuration; ``environment`` is what ``"$NAME"`` stands for, if it is known."""
    names = tuple([name for name, _ in texts])
    real: set[str] = set()
    for _ in range(_PASSES):
        known = len(real)
        record = Record(names[0])
        report = Report(record)
        lines = [line for name, text in texts for line in read_lines(name, text, report, environment)]
        sections = read_sections(lines, report)
        origins = Origins()
        config = _Lowering(
            sections, report, origins, read_text, State(real=real, read_text=read_text, environment=environment or {})
        ).config()
        if len(real) == known:
            break
    origins.tell(config, record)
    record.origin("", Span(names[0], 1, 1))
    checked = check(config, record.place)
    if record.has_errors:
        # What is missing because it could not be read was told already.
        checked = tuple([each for each in checked if each.code != "no-certificate" and (each.code != "empty-list" or config.sites)])
    return Loaded(config, record.merge(checked), names, record.place)


class _Lowering:
    """Lowers one file; used once."""

    def __init__(self, sections: list[Section], report: Report, origins: Origins, read_text: ReadText, begin: State) -> None:
        self._report = report
        self._after: dict[str, State] = {}  # what is known once the rules of a frontend are through
        self._origins = origins
        self._read_text = read_text
        self._sections = sections
        self._globals: Globals = read_globals([each for each in sections if each.kind == "global"], report)
        self._userlists: dict[str, Userlist] = {}
        for each in sections:
            if each.kind == "userlist":
                self._userlists[each.name] = read_userlist(each, report)
        self._files = PatternFiles()
        self._binder = Binder(report, origins, self._globals.tls, read_text, self._files)
        self._backends = {each.name: each for each in sections if each.name and each.kind in ("backend", "listen")}
        self._pages = ErrorPages(sections, report, origins, read_text)
        self._lookups = Lookups()
        begin = replace(begin, backends={name: _has_servers(each) for name, each in self._backends.items()})
        self._identity = identity_of(sections, report)
        begin = replace(begin, identity=self._identity)
        # What is known before any rule, and what may be asked of connections without requests.
        self._raw_begin = replace(begin, files=self._files, raw=True)
        self._begin = replace(begin, files=self._files, tables=self._table, lookups=self._lookups)
        self._tracked = {name for each in sections for name in tracked_tables(each)}
        self._upstreams: dict[str, Upstream] = {}
        self._servers: dict[str, Servers] = {}
        self._entered: set[str] = set()

    def config(self) -> Config:
        """Return the whole model."""
        sites: list[Site] = []
        listeners: list[Listener] = []
        for section in self._sections:
            if section.kind in ("frontend", "listen") and section.name:
                side = self._side(section)
                if side.is_off(self._report):
                    continue
                if side.is_raw():
                    self._raw_frontend(side, listeners)
                else:
                    self._frontend(side, sites, listeners)
        for section in self._backends.values():
            if section.name not in self._entered and section.kind == "backend":
                side = self._side(section)
                if side.is_off(self._report):
                    continue
                if side.is_raw():
                    self._upstream(side)
                else:
                    self._backend(side, side, self._state(""))
        found = self._globals
        names = self._server_names()
        sites = [self._origins.move(site, replace(site, access_log=named(site.access_log, names))) for site in sites]
        listeners = [self._origins.move(each, replace(each, access_log=named(each.access_log, names))) for each in listeners]
        return Config(
            listeners=tuple(listeners),
            sites=tuple([name_servers(site, names, self._origins) for site in sites]),
            upstreams=tuple(self._upstreams.values()),
            process=replace(found.process, command_sockets=self._command_sockets()),
            certificates=tuple(self._binder.certificates.values()),
            tls_profiles=tuple(self._binder.profiles),
            limits=found.limits,
            timeouts=USUAL,
            forwarding=FORWARDING,
            access_log=AccessLog("off"),
            error_log=found.logs.error_log(self._report),
        )

    def _command_sockets(self) -> tuple[CommandSocket, ...]:
        """Return the sockets that take commands, which call servers by their names."""
        names = self._server_names()
        # Proxies are counted together, from 2 on: 1 is the socket's own.
        proxies = [each for each in self._sections if each.kind in ("frontend", "listen", "backend")]
        numbers = tuple([(each.name, number_of(each, at)) for at, each in enumerate(proxies, 2) if each.name in self._upstreams])
        tables = [(each.name, table_words(each, table)) for each in proxies if (table := self._table(each.name)) is not None]
        lists = (*sorted(self._files.names.items()), *tables)
        return tuple([replace(each, servers=names, numbers=numbers, lists=lists) for each in self._globals.process.command_sockets])

    def _server_names(self) -> tuple[tuple[str, str], ...]:
        """Return the names of all servers, each with its address."""
        names: list[tuple[str, str]] = []
        for backend, servers in self._servers.items():
            found = servers.addresses(self._upstreams.get(backend))
            names.extend([(f"{backend}/{name}", address) for name, address in found])
        return tuple(names)

    def _side(self, section: Section) -> Side:
        settings = Settings(section, self._report)
        acls = Acls(self._report, self._read_text)
        for each in settings.all("acl"):
            acls.declare(each.line, each.first)
        pages, paces = self._pages.of(settings), Paces(settings, section.name, self._report, self._counted)
        rules = Rules(acls, self._userlists, self._report, self._origins, self._read_text, pages, self._table, paces)
        return Side(section, settings, acls, rules)

    def _table(self, name: str) -> Table | None:
        """Return what the table of a proxy keeps."""
        sections = [each for each in self._sections if each.name == name and each.kind in ("frontend", "listen", "backend")]
        found = next((table for table in map(table_of, sections) if table is not None), None)
        return None if found is None else replace(found, is_tracked=name in self._tracked)

    def _state(self, frontend: str) -> State:
        """Return what is known before any rule."""
        return replace(self._begin, frontend=frontend, assigned=set())

    def _counted(self, name: str, counter: str) -> int | None:
        """Return the period in which the table of a proxy counts something."""
        table = self._table(name)
        return None if table is None else table.stored.get(counter)

    def _is_own(self, section: Section) -> bool:
        """Tell whether a proxy serves those alone who come to its own addresses."""
        chosen = {line.line.text(line.first) for each in self._sections for line in each.lines if line.name.endswith("_backend")}
        return section.kind == "listen" and section.name not in chosen and not any(name.startswith("%") for name in chosen)

    # ------------------------------------------------------------ connections

    def _raw_frontend(self, side: Side, listeners: list[Listener]) -> None:
        """Lower a frontend in ``mode tcp``: its listeners get routes, and no site."""
        section, settings = side.section, side.settings
        bound = self._binder.read([(each.line, each.first) for each in settings.all("bind")], raw=True)
        settings.warn_of_missing("client")
        for line in section.lines:
            if line.name.startswith("stats "):
                self._report.warning(line.line, 0, "left-out", f"`{line.name}` is left out", "it needs `mode http`, as in HAProxy")
        state = replace(self._raw_begin, frontend=section.name, real=set(), assigned=set())
        passing = read_passing(settings, side.rules, self._report, self._origins, state)
        side.acls.check(state)
        routes = list(passing.refused)
        backs: list[Settings] = []
        for choice in passing.choices:
            back = self._raw_backend(side, choice)
            if back is not None:
                backs.append(back.settings)
                name = back.section.name
                route = TcpRoute(upstream=name if name in self._upstreams else "", when=choice.test)
                head = choice.statement.line if choice.statement is not None else section.head
                routes.append(self._origins.at(span(head), route))
            if choice.test is None:
                break
        if not passing.choices:
            message = f"the frontend `{section.name}` has no backend"
            self._report.warning(section.head, 0, "no-backend", message, "every connection is closed")
            routes.append(TcpRoute())
        timeouts = passing_timeouts(settings, backs)
        log = access_log(
            settings, self._globals.logs, replace(self._raw_begin, frontend=section.name, real=set(), assigned=set()), self._report
        )
        for each in bound:
            made = replace(self._listener(each, settings, ""), routes=tuple(routes), timeouts=timeouts, default_site="", access_log=log)
            if made.tls:
                made = replace(made, certificates=each.certificates, alpn=each.alpn)
            listeners.append(self._origins.move(each.listener, made))

    def _raw_backend(self, front: Side, choice: Choice) -> Side | None:
        """Return the backend that a rule chooses, its servers read; None, noted, if it cannot be used."""
        if choice.statement is None:
            self._upstream(front)
            return front
        statement = choice.statement
        section = self._backends.get(choice.backend)
        if section is None:
            hint = did_you_mean(choice.backend, list(self._backends))
            message = f"there is no backend `{choice.backend}`"
            self._report.error(statement.line, statement.first, "unknown-reference", message, hint)
            return None
        back = self._side(section)
        if back.is_off(self._report):
            return None
        if not back.takes_bytes():
            message = f"the backend `{choice.backend}` is in `mode http`, and this frontend in `mode tcp`"
            self._report.error(statement.line, statement.first, "wrong-mode", message, "give both the same mode")
            return None
        if section.name not in self._entered:
            self._entered.add(section.name)
            back.settings.warn_of_missing("connect", "server")
            refuse_answers(back.settings, self._report)
        self._upstream(back)
        return back

    # ------------------------------------------------------------ frontends

    def _frontend(self, side: Side, sites: list[Site], listeners: list[Listener]) -> None:
        section, settings = side.section, side.settings
        bound = self._binder.read([(each.line, each.first) for each in settings.all("bind")])
        settings.warn_of_missing("client")
        begin = captures_of(settings, replace(self._state(section.name), proxy=section.name), self._report)
        piece = self._flow(side, self._sets(side), begin, lambda state: self._choice(side, state))
        last = replace(self._after.get(section.name, begin), captures={**begin.captures, **(begin.logged or {})}, backend="").forgetting()
        after, last = self._answered([(side, settings.all(_AFTER))], last)
        side.acls.check(replace(self._state(section.name), proxy=section.name))
        self._lookups.take()
        if not settings.all("bind"):
            self._report.warning(
                section.head, 0, "no-bind", f"the {section.kind} `{section.name}` listens nowhere", "say where with `bind`"
            )
            return
        log = access_log(settings, self._globals.logs, replace(last, lookups=None), self._report)
        site = Site(
            name=section.name,
            hosts=(ANY_HOST,),
            listeners=tuple([each.listener.name for each in bound]),
            source=piece.source,
            request=(*self._refused(settings), *piece.request),
            response=piece.response + after,
            certificates=tuple(dict.fromkeys([name for each in bound for name in each.certificates])),
            timeouts=piece.timeouts if piece.timeouts != USUAL else None,
            immich=False,
            access_log=None if log == AccessLog("off") else log,
            errors=piece.errors or self._pages.routes(settings) or (),
            forwarding=piece.forwarding or self._restricted(settings),
            compression=piece.compression or compression_of(settings, self._report),
        )
        sites.append(self._origins.at(span(section.head), site))
        listeners.extend([self._listener(each, settings, section.name) for each in bound])

    def _restricted(self, settings: Settings) -> Forwarding | None:
        """Return what becomes of fields whose names applications may confuse; None where all are passed on."""
        statement = settings.last("option http-restrict-req-hdr-names")
        if statement is None or statement.arguments() == ["preserve"]:
            return None
        if statement.arguments() == ["delete"]:
            return replace(FORWARDING, underscores="drop")
        if statement.arguments() != ["reject"]:
            message = f"`{' '.join(statement.arguments())}` is not known here"
            self._report.error(statement.line, statement.first, "bad-value", message, "write `delete`, `reject` or `preserve`")
        return None

    def _refused(self, settings: Settings) -> list[Action]:
        """Return what refuses requests for the names of their fields."""
        statement = settings.last("option http-restrict-req-hdr-names")
        if statement is None or statement.arguments() != ["reject"]:
            return []
        return [self._origins.at(span(statement.line), When(Match("[^a-z0-9,-]", Var("header_names")), (Deny(403),)))]

    def _listener(self, bound: Bound, settings: Settings, site: str) -> Listener:
        """Give a listener what its frontend says of connections."""
        listener = bound.listener
        limits = listener.limits or self._globals.limits
        most = settings.number("maxconn")
        if most is not None and listener.limits is None:
            limits = replace(limits, connections=most)
        rates = [limits.connection_rate, settings.number("rate-limit sessions"), self._globals.tls_rate if listener.tls else None]
        limits = replace(limits, connection_rate=lowest(*rates))
        if settings.has("option httpclose", "option forceclose"):
            limits = replace(limits, requests_per_connection=1)
        made = replace(
            listener,
            timeouts=settings.connection_timeouts(),
            limits=None if limits == self._globals.limits else limits,
            unknown_sni=listener.unknown_sni,
            default_site=site if listener.tls else "",
        )
        return self._origins.move(listener, made)

    def _sets(self, side: Side) -> list[list[Statement]]:
        """Return the rules of a request in the order HAProxy runs them, one list for each set."""
        sets = [side.settings.all(name) for name in _REQUEST_SETS]
        monitor = side.settings.last("monitor-uri")
        failing = [each for each in side.settings.statements if each.name == "monitor fail"]
        if monitor is not None:
            sets.insert(3, [*failing, monitor])
        elif failing:
            self._report.warning(failing[0].line, 0, "unused", "this has no effect without `monitor-uri`")
        buffered = side.settings.last("option http-buffer-request")
        if buffered is not None:
            sets.insert(3, [buffered])
        stats = stats_of(side.section)
        if stats:
            sets.insert(len(sets) - 1, stats[:1])  # all of them are one page, before the redirects
        return sets

    def _dynamic(self, side: Side, statement: Statement, name: str, state: State) -> list[Route]:
        """Return the routes of a ``use_backend`` whose name is looked up: one for each backend that can come of it."""
        line = statement.line
        expr = read_format(line, statement.first, state, self._report)
        sound, test = side.rules.test(line, statement.first + 1, state)
        routes: list[Route] = []
        while isinstance(expr, If) and isinstance(expr.then, Const):
            piece = self._enter(side, statement, str(expr.then.value), state)
            both = expr.test if test is None else AllOf((test, expr.test))
            if piece is not None and sound:
                routes.append(self._origins.at(span(line), piece.route(both)))
            expr = expr.otherwise
        if isinstance(expr, Const) and str(expr.value):
            piece = self._enter(side, statement, str(expr.value), state)
            if piece is not None and sound:
                routes.append(self._origins.at(span(line), piece.route(test)))
        elif expr is not None and not isinstance(expr, Const):
            self._report.not_built(line, statement.first, f"the backend `{name}`", "look it up with `map`")
        return routes

    def _choice(self, side: Side, state: State) -> Piece:
        """Return what happens once the rules of a frontend are through: a backend is chosen."""
        routes: list[Route] = []
        state = replace(state, proxy=side.section.name)
        looks: list[Action] = []
        for statement in side.settings.all("use_backend"):
            name = "".join(statement.arguments()[:1])
            if "%" in name:
                routes.extend(self._dynamic(side, statement, name, replace(state, lookups=None)))
                continue
            sound, test = side.rules.test(statement.line, statement.first + 1, state)
            looks.extend(self._lookups.take())
            piece = self._enter(side, statement, name, state)
            if not sound or piece is None:
                continue
            if test is None:
                return switched(routes, piece).before(looks)
            routes.append(self._origins.at(span(statement.line), piece.route(test)))
        default = side.settings.last("default_backend")
        if default is not None:
            piece = self._enter(side, default, "".join(default.arguments()[:1]), state)
            return switched(routes, piece or _unavailable()).before(looks)
        if side.section.kind == "listen":
            return switched(routes, self._servers_of(side, side, state)).before(looks)
        if not routes and not self._shows(side):
            self._report.warning(
                side.section.head, 0, "no-backend", f"the frontend `{side.section.name}` has no backend", "every request gets 503"
            )
        return switched(routes, _unavailable()).before(looks)

    def _shows(self, side: Side) -> bool:
        """Tell whether a proxy is there to show figures, so that it may have nothing else."""
        return bool(stats_of(side.section) or side.settings.all("http-request use-service"))

    def _enter(self, front: Side, statement: Statement, name: str, state: State) -> Piece | None:
        """Return what a backend does with the requests of a frontend; None, noted, if there is none of the name."""
        section = self._backends.get(name)
        if section is None:
            hint = did_you_mean(name, list(self._backends))
            self._report.error(statement.line, statement.first, "unknown-reference", f"there is no backend `{name}`", hint)
            return None
        back = self._side(section)
        if back.is_off(self._report):
            return _unavailable()
        if back.is_raw():
            message = f"the backend `{name}` is in `mode tcp`, and this frontend in `mode http`"
            self._report.error(statement.line, statement.first, "wrong-mode", message, "give both the same mode")
            return None
        return self._backend(front, back, state)

    # ------------------------------------------------------------ backends

    def _backend(self, front: Side, back: Side, state: State) -> Piece:
        """Return what a backend does: its rules, and then its servers; those for every answer are for its own, too."""
        name = front.section.name
        self._after.pop(name, None)
        piece = self._flow(back, self._sets(back), state, lambda after: self._servers_of(front, back, after))
        if back is not front:
            # Those of a frontend for every answer are the site's.
            answered, self._after[name] = self._answered([(back, back.settings.all(_AFTER))], self._after.get(name, state).forgetting())
            piece = piece.before(self._refused(back.settings), answered)
        back.acls.check(replace(state, proxy=back.section.name))
        self._lookups.take()
        return piece

    def _servers_of(self, front: Side, back: Side, state: State) -> Piece:
        """Return what happens once all rules are through: the client is told of, a server is chosen."""
        if back.section.name not in self._entered:
            self._entered.add(back.section.name)
            back.settings.warn_of_missing("connect", "server")
        request = told_actions(front.settings, back.settings, replace(state, lookups=None), self._report, self._origins)
        if "src" in state.addresses:
            request.append(SetClient(state.addresses["src"]))
        sides = [back] if back is front else [back, front]
        sets = [(back, back.settings.all("tcp-response content")), *[(side, side.settings.all("http-response")) for side in sides]]
        names = self._upstream(back).addresses(self._upstreams.get(back.section.name))
        answered, state = self._answered(sets, replace(state, servers=names))
        response = list(answered)
        if any(_takes_place(each) for each in answered):
            # Rules for answers of servers are not for our own.
            response = [When(Var("proxied"), answered)]
        tables = {each.table: self._table(each.table) for each in state.tracked.values()}
        response.extend(error_actions(state, {name: table for name, table in tables.items() if table is not None}))
        self._after[front.section.name] = state = replace(state, servers=())
        marker = front.settings.last("unique-id-header")
        if marker is not None:
            action = SetHeader("".join(marker.arguments()[:1]), self._identity)
            request.append(self._origins.at(span(marker.line), action))
        timeouts = exchange_timeouts(front.settings, back.settings)
        own = back.section is not front.section
        return Piece(
            self._server_choice(back, replace(state, lookups=None)),
            tuple(request),
            tuple(response),
            timeouts,
            forwarding=self._restricted(back.settings) if own else None,
            errors=self._pages.routes(back.settings) if own else None,
            compression=compression_of(back.settings, self._report) if own else None,
        )

    def _answered(self, sets: list[tuple[Side, list[Statement]]], state: State) -> tuple[tuple[Action, ...], State]:
        """Read sets of rules for answers: each is run through, and an answer of our own ends them all."""
        actions: list[Action] = []
        for at, (side, rules) in enumerate(sets):
            state = replace(state, proxy=side.section.name)
            for index, statement in enumerate(rules):
                step, state = side.rules.response(statement, state)
                actions.extend(self._lookups.take())
                if isinstance(step, Do):
                    actions.extend(step.actions)
                if step is None or isinstance(step, Do):
                    continue
                others = sets[at + 1 :]
                rest, after = self._answered([(side, rules[index + 1 :]), *others], state)
                if isinstance(step, Skip):
                    taken, _ = self._answered(others, state)
                else:
                    taken = (self._origins.at(span(step.line), replacement(step.source)),)
                if step.test is None:
                    return (*actions, *taken), after
                chosen = When(step.test, taken, rest)
                return (*actions, self._origins.at(span(step.line), chosen)), after
        return tuple(actions), state

    def _upstream(self, back: Side) -> Servers:
        """Return the servers of a backend, reading them the first time."""
        name = back.section.name
        if name not in self._servers:
            settings = back.settings
            servers = Servers(
                back.section, self._report, self._origins, self._globals.tls, back.is_raw(), self._identity, self._is_own(back.section)
            )
            upstream = servers.read(settings)
            events = event_logs(settings, self._globals.logs, self._report)
            if events and (upstream.health is not None or upstream.agent is not None):
                called = tuple([(each, server_text(server)) for each, server in zip(servers.all, upstream.servers, strict=True)])
                upstream = self._origins.move(upstream, replace(upstream, events=tuple([replace(log, servers=called) for log in events])))
            self._servers[name] = servers
            if upstream.servers:
                self._upstreams[name] = upstream
        return self._servers[name]

    def _server_choice(self, back: Side, state: State) -> Source:
        """Return who answers: the servers in turn, unless a rule names one."""
        servers = self._upstream(back)
        name = back.section.name
        everyone: Source = Proxy(name) if name in self._upstreams else Respond(503)
        if not servers.by_name:
            if not servers.known and not self._shows(back):
                self._report.warning(back.section.head, 0, "no-server", f"`{name}` has no server", "every request gets 503")
            return everyone
        routes: list[Route] = []
        for statement in back.settings.all("use-server"):
            wanted = "".join(statement.arguments()[:1])
            sound, test = back.rules.test(statement.line, statement.first + 1, state)
            server = servers.by_name.get(wanted)
            if server is None and wanted not in servers.known:
                hint = did_you_mean(wanted, sorted(servers.known))
                self._report.error(statement.line, statement.first, "unknown-reference", f"there is no server `{wanted}` in `{name}`", hint)
            if server is None or not sound:
                continue
            if len(servers.by_name) == 1:
                message = f"`{wanted}` is the only server, so it gets every request, whether the condition holds or not"
                self._report.warning(statement.line, 0, "no-effect", message, "refuse others with `http-request deny`")
                continue
            alone = f"{name}/{wanted}"
            if alone not in self._upstreams:
                one = replace(self._upstreams[name], name=alone, servers=servers.after(server))
                self._upstreams[alone] = self._origins.at(span(statement.line), one)
            route = Route(Proxy(alone), when=test)
            routes.append(self._origins.at(span(statement.line), route))
            if test is None:
                break
        if not routes:
            return everyone
        return Switch((*routes, Route(everyone)) if routes[-1].when is not None else tuple(routes))

    # ------------------------------------------------------------ rules in order

    def _flow(self, side: Side, sets: list[list[Statement]], state: State, final: Callable[[State], Piece]) -> Piece:
        """Return what the sets of rules do, and then ``final``."""
        state = replace(state, proxy=side.section.name, backend=side.section.name if side.section.kind != "frontend" else "")
        actions: list[Action] = []
        passed: list[tuple[list[Action], Route]] = []
        found: Piece | None = None  # what is never reached behind it is read for its mistakes
        for at, rules in enumerate(sets):
            for statement in rules:
                step, state = self._step(side, statement, state)
                actions.extend(self._lookups.take())
                if isinstance(step, Do):
                    actions.extend(step.actions)
                    continue
                if step is None:
                    continue
                taken = self._flow(side, sets[at + 1 :], state, final) if isinstance(step, Skip) else Piece(step.source)
                if step.test is None:
                    found = found or taken.before(actions)
                elif found is None:
                    passed.append((actions, self._origins.at(span(step.line), taken.route(step.test))))
                actions = []
        last = final(state).before(actions)
        piece = found or last
        for before, route in reversed(passed):
            piece = switched([route], piece).before(before)
        return piece

    def _service(self, side: Side, statement: Statement, state: State) -> Step | None:
        """Read ``http-request use-service``: the figures for Prometheus are the one service there is."""
        line, first = statement.line, statement.first
        if line.text(first) != "prometheus-exporter":
            self._report.not_built(line, first, f"the service `{line.text(first)}`", "write the policy with rules")
            return None
        hint = "see docs/metrics.md; `show stat` and the page of statistics have HAProxy's columns"
        self._report.warning(line, first, "differs", "the names of figures are vestibule's own, not HAProxy's", hint)
        sound, test = side.rules.test(line, first + 1, state)
        return End(test, self._origins.at(span(line), Metrics()), line) if sound else None

    def _failing(self, side: Side, statement: Statement, state: State) -> Step | None:
        """Read ``monitor fail``: the page for checks is an error while its condition holds."""
        uri = side.settings.last("monitor-uri")
        sound, test = side.rules.test(statement.line, statement.first, state)
        if test is None and sound:
            self._report.error(
                statement.line, statement.first, "missing", "a page for checks fails under a condition", "write `monitor fail if CONDITION`"
            )
        if not sound or uri is None or test is None:
            return None
        asked = monitored("".join(uri.arguments()[:1]))
        return End(AllOf((asked, test)), Respond(503), statement.line)

    def _step(self, side: Side, statement: Statement, state: State) -> tuple[Step | None, State]:
        if statement.name == "option http-buffer-request":
            within = side.settings.time("http-request") or side.settings.time("client") or USUAL.body_idle_ms
            return Do((self._origins.at(span(statement.line), ReadBody(time_ms=within)),)), state
        if statement.name == "monitor-uri":
            page = answer_of(200, "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n")
            return End(monitored("".join(statement.arguments()[:1])), page, statement.line), state
        if statement.name == "monitor fail":
            return self._failing(side, statement, state), state
        if statement.name.startswith("stats "):
            shown, figures = page_of(stats_of(side.section), side.section.name, self._report)
            return End(shown, self._origins.at(span(statement.line), figures), statement.line), state
        if statement.name == "http-request use-service":
            return self._service(side, statement, state), state
        if statement.name == "redirect":
            return side.rules.redirect(statement, state), state
        if statement.name.startswith("tcp-request"):
            verb = statement.line.text(statement.first).partition("(")[0]
            if verb in ("set-var", "set-var-fmt", "unset-var"):
                return side.rules.variable(statement.line, verb, state)
            if verb in ("set-src", "set-src-port", "set-dst", "set-dst-port"):
                moved = side.rules.address(statement.line, statement.first + 1, verb, state)
                if statement.name == "tcp-request connection":
                    # Set so early, it is the address of the connection itself.
                    which = verb.removeprefix("set-").replace("-", "_")
                    moved = moved.with_address(f"fc_{which}", moved.addresses[which]) if which in moved.addresses else moved
                return None, moved
            if verb.startswith("track-sc"):
                return side.rules.track(statement, state, side.section.name)
            if verb.startswith(("sc-inc-gpc", "sc-add-gpc", "sc-set-gpt")):
                return side.rules.change(statement, state), state
            return side.rules.reject(statement, state), state
        return side.rules.request(statement, state, side.section.name)


def _takes_place(action: Action) -> bool:
    """Tell whether an action makes another answer of one."""
    if isinstance(action, When):
        return any(_takes_place(each) for each in (*action.actions, *action.otherwise))
    return isinstance(action, (ReplaceAnswer, SetStatus))


def _has_servers(section: Section) -> bool:
    """Tell whether there is an upstream of a proxy."""
    names = {each.name for each in section.lines}
    return "disabled" not in names and bool(names & {"server", "server-template", "dispatch"})


def _unavailable() -> Piece:
    """Return what a frontend without a backend does."""
    return Piece(Respond(503), (Deny(503),))
