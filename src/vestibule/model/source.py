"""Sources: who answers; and the routes that choose among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.action import Action
from vestibule.model.expr import Expr
from vestibule.model.settings import AccessLog, Compression, Forwarding, Limits, Timeouts


@dataclass(frozen=True, slots=True)
class Proxy:
    """An upstream answers."""

    upstream: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Respond:
    """The proxy answers by itself."""

    status: int = 200
    """The status, 200 to 599."""
    body: Expr | None = None
    """The body; without one the answer is empty."""
    headers: tuple[tuple[str, Expr], ...] = ()
    """Fields of the answer, in order. Content-Length is added, and Content-Type where a body has none."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client is sent elsewhere."""

    location: Expr
    """The Location."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """The status: 308 and 307 keep the method, 301 and 308 are permanent."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One of several routes answers; 404 when none matches."""

    routes: tuple[Route, ...]
    """The routes."""
    order: Literal["written", "best"] = "written"
    """``written``: the first that matches. ``best``, after nginx: an exact path; else the longest prefix if it is
    ``final``; else the first matching regex in written order; else that longest prefix; else the first route without a
    path. Of equal paths the first whose methods and test fit."""


@dataclass(frozen=True, slots=True)
class Again:
    """The source of the site is asked again, for the path as it is now. A request that goes round too often is an error (500)."""

    to: str = ""
    """The name of a route of the site that answers, whatever its conditions are; empty goes through all of them."""


@dataclass(frozen=True, slots=True)
class Files:
    """A directory answers GET and HEAD (RFC 9110 sections 13 and 14 included). Nothing outside it is read but
    through symbolic links in it."""

    root: str
    """The directory."""
    strip: str = ""
    """A prefix taken off the path first: with ``/img/`` the path ``/img/a.png`` is the file ``a.png`` of the root."""
    index: tuple[str, ...] = ("index.html",)
    """Names looked for in a directory that is asked for by a path with ``/`` at its end, the first that is there. Without the
    ``/`` the client is sent to the path with it."""
    tries: tuple[Expr, ...] = ()
    """Paths looked for instead of the request's, the first that is there; one with ``/`` at its end means a directory."""
    otherwise: Source | None = None
    """Who answers where no file is there; None is 404."""
    default_type: str = "application/octet-stream"
    """The Content-Type of files whose names say nothing."""
    types: tuple[tuple[str, str], ...] = ()
    """Endings of names without their dot, in lower case, each with its Content-Type, besides those that are known."""
    hidden: bool = False
    """Whether names that begin with a dot are served."""
    hide: tuple[str, ...] = ()
    """Names of files and directories that count as not there; one that begins with ``/`` is a path below the root. ``*`` and ``?``
    stand for what they do in a shell, without ``/``."""
    listing: bool = False
    """Whether a directory without an index is listed: a page, or JSON for who asks for it (Accept). ``?sort=name``, ``size`` or
    ``time``, ``order=desc`` and ``limit`` are understood."""
    precompressed: tuple[Literal["gzip", "br", "zstd"], ...] = ()
    """Codings in which files stand beside those they were made of, with ``.gz``, ``.br`` or ``.zst`` behind their names; the first
    that the client takes is sent."""
    status: int = 0
    """The status of files that are sent, whole then; 0 is the usual ones."""
    slash: Literal["url", "path", "bare", "stay"] = "url"
    """How a client that asks for a directory without the ``/`` is sent there: ``url`` by the whole URL (301), ``path`` by the path that
    it asked for (308), unless that was rewritten to the directory; ``bare`` by the path alone (301); ``stay`` answers it."""
    origin: Expr | None = None
    """What stands before the path in a whole URL, such as ``https://example.org``; by default how the client addressed us."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """A page with the figures of the whole proxy, some seconds old at most. Who may see it is for the actions before it to say."""

    form: Literal["prometheus", "json", "html", "nginx", "apache", "haproxy"] = "prometheus"
    """How the figures are written: for Prometheus (or as OpenMetrics, where it is accepted), as JSON, as a page for people, as nginx's
    ``stub_status``, as httpd's ``server-status`` (for people, and with ``?auto`` for programs), as HAProxy's statistics (for people, and
    with ``;csv`` for programs)."""
    version: bool = True
    """Whether pages for people say which version this is."""
    refresh_s: int = 0
    """After how many seconds browsers load a page for people again; 0 leaves that to them."""
    only: tuple[str, ...] = ()
    """The sites, listeners and upstreams that are shown; empty shows all."""
    title: str = ""
    """What pages for people say of this machine."""
    names: tuple[tuple[str, str], ...] = ()
    """Names of servers, as ``upstream/name`` and the address; the others have their address as a name."""

    def pages(self) -> tuple[str, str]:
        """Return the kinds of page: what is shown, and what is shown where a request asks for it."""
        other = {"prometheus": "openmetrics", "apache": "apache_auto", "haproxy": "haproxy_csv"}
        return self.form, other.get(self.form, self.form)

    def key(self, kind: str) -> str:
        """Name a page of this source among those of all, the same in every process."""
        return f"{kind} {self.version} {self.only} {self.title!r} {self.names}"


Source: TypeAlias = Proxy | Respond | Redirect | Switch | Again | Files | Metrics
"""Who answers."""


@dataclass(frozen=True, slots=True)
class ErrorRoute:
    """Who answers in the place of an error. Its request is a GET (or the HEAD it was) without a body, if ``whole`` does not say otherwise,
    and no error that it meets itself is routed again."""

    source: Source
    """Who answers."""
    statuses: tuple[int, ...] = ()
    """The statuses of errors that it is for; none named is all from 400 to 599, or with ``when`` from 200.
    Those from 300 on may be named, with ``upstream`` any from 200 on."""
    status: int | None = None
    """The status that the client sees; None is the error's own, 0 is that of the answer."""
    upstream: bool = False
    """Whether an upstream's answers with these statuses are replaced too; otherwise only errors that arise here are."""
    request: tuple[Action, ...] = ()
    """Actions before the source, in order."""
    response: tuple[Action, ...] = ()
    """Actions on the answer, in order, before those of the site or route."""
    when: Expr | None = None
    """A test of the answer that is replaced. What arose here meets no test; without one there is nothing to meet."""
    keep: tuple[tuple[str, Expr], ...] = ()
    """What is kept of the answer that is replaced, by the names under which ``kept`` finds it."""
    passes: tuple[str, ...] = ()
    """Fields of the answer that is replaced that go on into the new one. What another server says of them itself stays; its cookies and
    those of the first one are both set."""
    whole: bool = False
    """Whether it is asked by the method that the request had, and with its body, where no server had any of it and the error is not the
    client's."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path, percent-decoded once and without dot segments."""

    kind: Literal["exact", "prefix", "regex"]
    """How to compare: equal, begins with (byte by byte: end it with ``/`` to mean a directory), or a regular expression
    found anywhere in it."""
    value: str
    """The path, prefix or regular expression."""
    ignore_case: bool = False
    """Whether case is ignored. Regular expressions only."""
    final: bool = False
    """With a prefix in a ``best`` switch: no regex may win over it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A condition with what happens to the requests that meet it. All given conditions must hold."""

    source: Source
    """Who answers."""
    name: str = ""
    """A name for logs and messages; may be empty."""
    path: PathMatch | None = None
    """The path; None is any."""
    methods: tuple[str, ...] = ()
    """The methods; none named is any."""
    when: Expr | None = None
    """A further test; None is none."""
    request: tuple[Action, ...] = ()
    """Actions before the source, in order, after those of what encloses the route."""
    response: tuple[Action, ...] = ()
    """Actions on the response, in order, before those of what encloses the route."""
    timeouts: Timeouts | None = None
    """Time-outs; None is as the enclosing route or site."""
    limits: Limits | None = None
    """Limits; None is as the enclosing route or site."""
    forwarding: Forwarding | None = None
    """Forwarding; None is as the enclosing route or site."""
    access_log: AccessLog | None = None
    """The access log; None is as the enclosing route or site."""
    compression: Compression | None = None
    """Which answers are compressed; None is as the enclosing route or site."""
    errors: tuple[ErrorRoute, ...] | None = None
    """Who answers in the place of errors, the first that is for a status; None is as the enclosing route or site."""


def routes_inside(path: str, source: Source, errors: tuple[ErrorRoute, ...] | None) -> list[tuple[str, Route]]:
    """Return the routes just inside a site or route whose source and errors these are, each with its place below ``path``.

    What answers where no file is, and what answers in the place of an error, are routes here, too.
    """
    inside: list[tuple[str, Route]] = []
    if isinstance(source, Switch):
        inside += [(f"{path}.source.routes[{at}]", route) for at, route in enumerate(source.routes)]
    elif isinstance(source, Files) and source.otherwise is not None:
        inside.append((f"{path}.source.otherwise", Route(source.otherwise)))
    for at, error in enumerate(errors or ()):
        inside.append((f"{path}.errors[{at}]", Route(error.source, request=error.request, response=error.response)))
    return inside
