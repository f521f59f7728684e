"""The page of statistics, and the figures for Prometheus.

Facts (HAProxy configuration manual, chapter 4.2; seen with 2.6): any `stats` line but `stats http-request` switches the page on. It
answers every request whose URI begins with `stats uri`, after the rules of `http-request` and before those of `redirect`. A proxy that
says anything of it has nothing of it from `defaults`.

Rules
* Nobody changes anything on the page: `stats admin` is left out with a warning that says where that can be done.
* Names of servers are those of the configuration; they are known once all backends are read (`name_servers`).

Not here: the socket that takes commands (``globals``), what the page says (``control/metrics``).
"""

from __future__ import annotations

import dataclasses
import re

from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.dialects.origin import Origins
from vestibule.model.config import BasicAuth, Metrics, Route, Site, Source, Switch
from vestibule.model.expr import Expr, Match, Var

_URI = "/haproxy?stats"
_REALM = "HAProxy Statistics"


def stats_of(section: Section) -> list[Statement]:
    """Return the lines on statistics that hold for a proxy: its own, or those of the nearest ``defaults`` that has any."""
    own = [each for each in section.lines if each.name.startswith("stats ")]
    return own if own or section.parent is None else stats_of(section.parent)


def page_of(statements: list[Statement], section: str, report: Report) -> tuple[Expr, Source]:
    """Return which requests the page of a section is for, and who answers them."""
    uri, realm = _URI, _REALM
    users: dict[str, str] = {}
    page = Metrics("haproxy")
    for statement in statements:
        words = statement.arguments()
        name = statement.name.removeprefix("stats ")
        text = " ".join(words)
        if name in ("uri", "realm", "auth", "refresh", "scope") and not words:
            report.error(statement.line, statement.first, "missing", f"nothing follows `stats {name}`")
        elif name == "uri":
            uri = words[0]
        elif name == "realm":
            realm = text
        elif name == "auth":
            user, colon, password = words[0].partition(":")
            if not colon or not user:
                report.error(statement.line, statement.first, "bad-value", "this is no user", "write `stats auth NAME:PASSWORD`")
            users[user] = "{PLAIN}" + password
        elif name == "refresh":
            page = dataclasses.replace(page, refresh_s=_seconds(statement, words[0], report))
        elif name == "hide-version":
            page = dataclasses.replace(page, version=False)
        elif name == "scope":
            page = dataclasses.replace(page, only=(*page.only, section if words[0] == "." else words[0]))
        elif name in ("show-node", "show-desc"):
            page = dataclasses.replace(page, title=": ".join([each for each in (page.title, text) if each]))
    test = Match("^" + re.escape(uri), Var("target"))
    if not users:
        return test, page
    return test, Switch((Route(page, request=(BasicAuth(tuple(users.items()), realm),)),))


def _seconds(statement: Statement, text: str, report: Report) -> int:
    try:
        # A number alone is one of seconds here.
        return parse_time(text + "s" if text.isdecimal() else text) // 1000
    except ValueError as bad:
        report.error(statement.line, statement.first, "bad-value", str(bad), "write `stats refresh 10s`")
        return 0


def name_servers(site: Site, names: tuple[tuple[str, str], ...], origins: Origins) -> Site:
    """Return a site whose pages call servers by their names."""
    source = _named(site.source, names, origins)
    return site if source is site.source else origins.move(site, dataclasses.replace(site, source=source))


def _named(source: Source, names: tuple[tuple[str, str], ...], origins: Origins) -> Source:
    if isinstance(source, Metrics):
        return origins.move(source, dataclasses.replace(source, names=names)) if source.form == "haproxy" else source
    if not isinstance(source, Switch):
        return source
    routes: list[Route] = []
    for route in source.routes:
        inner = _named(route.source, names, origins)
        routes.append(route if inner is route.source else origins.move(route, dataclasses.replace(route, source=inner)))
    if all(one is other for one, other in zip(routes, source.routes, strict=True)):
        return source
    return origins.move(source, dataclasses.replace(source, routes=tuple(routes)))
