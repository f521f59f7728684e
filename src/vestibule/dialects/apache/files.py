"""``DocumentRoot``, ``Alias``, ``<Directory>`` and ``ErrorDocument``: files, and answers in the place of errors.

Facts: aliases are looked at in written order where no ``ProxyPass`` and no redirect fits, then the document root. Sections by directory
are for files alone, what is proxied never meets them; of those that fit a file, the longest path counts last, then sections by the
name of a file, then those by the path of the request.

Rules: files that a script would have to make are never shown as they are. A ``.htaccess`` that would count is an error.

Not here: what sections say about access (``access``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vestibule.dialects.apache.expressions import read_string
from vestibule.dialects.apache.fields import DOCUMENT
from vestibule.dialects.apache.patterns import shell_pattern
from vestibule.dialects.apache.proxying import path_match
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.read import ReadText
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    Again,
    Deny,
    ErrorRoute,
    Files,
    PathMatch,
    Redirect,
    Respond,
    Rewrite,
    Route,
    SetVariable,
    Source,
    Switch,
)
from vestibule.model.expr import EMPTY, AllOf, Call, Const, Expr, Match, Var, concat

_NOT_THERE, _NOBODY_ANSWERS = 503, 502
_PATH = Var("decoded_path")
_NAME = Call("capture", (_PATH, Const("([^/]*)$"), Const("1")))
_MADE_BY_SCRIPTS = ("cgi-script", "php", "server-parsed", "send-as-is", "proxy:", "fcgi", "wsgi", "python", "perl")
STATUS = "server-status"
"""The handler that shows figures."""
_HARMLESS_HANDLERS = ("type-map", "default-handler", "none", STATUS, "server-info", "balancer-manager")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A part of the paths that a directory answers: the prefix that is taken off, and the directory."""

    prefix: str
    root: str


Guard = Callable[[Mapping | None], tuple[Action, ...]]
"""Returns what is asked of a request before a directory answers it."""


class FileSites:
    """Makes the routes of files of one virtual host."""

    def __init__(self, record: Record, scope: Scope, names: Names, read_text: ReadText) -> None:
        self._record = record
        self._scope = scope
        self._names = names
        self._read_text = read_text
        root = scope.find("DocumentRoot")
        self.root = root.text().rstrip("/") if root is not None else ""

    def routes(self, guard: Guard, sections: list[tuple[str, Scope]]) -> list[Route]:
        """Return the routes of aliases, then that of the document root. ``sections`` are those by path, which may have aliases, too."""
        made: list[Route] = []
        for path, scope in sections:
            for directive in scope.own("Alias"):
                if len(directive.args) == 1:
                    made.append(self._alias(directive, path, directive.text(0), guard))
                else:
                    not_built(self._record, directive, 0, "`Alias` with two words in a section", "leave the path out")
        own = self._scope.own("Alias", "AliasMatch", "ScriptAlias", "ScriptAliasMatch")
        outer = [each for each in self._scope.all("Alias", "AliasMatch", "ScriptAlias", "ScriptAliasMatch") if each not in own]
        for directive in [*own, *outer]:
            if directive.name.startswith("script"):
                # A file that is a program must not be shown.
                match = PathMatch("regex", directive.text(0)) if directive.name.endswith("match") else path_match(directive.text(0))
                made.append(self._record.mark(Route(Respond(403), path=match, request=(Deny(403),)), directive.span))
            elif directive.name == "aliasmatch":
                route = self._alias_match(directive, guard)
                made += [route] if route is not None else []
            elif len(directive.args) == 2:
                made.append(self._alias(directive, directive.text(0), directive.text(1), guard))
            else:
                self._record.error(directive.span, "arguments", "`Alias` takes a path and a directory")
        if self.root:
            made.append(Route(self.files(Mapping("", self.root)), request=guard(Mapping("", self.root))))
        return made

    def _alias(self, directive: Directive, path: str, root: str, guard: Guard) -> Route:
        if not path.startswith("/"):
            self._record.error(directive.place(0), "bad-path", f"the path `{path}` does not begin with `/`")
            path = "/"
        mapping = Mapping(path, root.rstrip("/") if path.endswith("/") or root.endswith("/") else root)
        last = root.rstrip("/").rpartition("/")[2]
        if not path.endswith("/") and not root.endswith("/") and re.search(r"\.[a-z0-9]{1,5}$", last):
            # One file, such as `Alias /robots.txt /srv/robots.txt`.
            source: Source = Files(root.rpartition("/")[0] or "/", tries=(Const(f"/{last}"),), index=())
            return self._record.mark(Route(source, path=PathMatch("exact", path), request=guard(mapping)), directive.span)
        return self._record.mark(Route(self.files(mapping), path=path_match(path), request=guard(mapping)), directive.span)

    def _alias_match(self, directive: Directive, guard: Guard) -> Route | None:
        """Return the route of a pattern whose directory is fixed up to its first group."""
        try:
            pattern = to_pattern(directive.text(0))
        except ValueError as bad:
            self._record.error(directive.place(0), "bad-regex", str(bad))
            return None
        fixed, dollar, _ = directive.text(1).partition("$")
        root, _, begin = fixed.rpartition("/")
        if not root:
            not_built(self._record, directive, 1, "a directory that a group chooses", "begin with a fixed directory")
            return None
        self._names.rule = (_PATH, pattern)
        rest = directive.text(1)[len(root) :]
        path = self._names.with_groups(rest) if dollar else Const(f"/{begin}")
        source = Files(root, tries=(path,), index=self._index(), types=self._types())
        return self._record.mark(Route(source, path=PathMatch("regex", pattern), request=guard(Mapping("", root))), directive.span)

    def files(self, mapping: Mapping) -> Files:
        """Return the source of a directory."""
        fallback = self._scope.find("FallbackResource")
        for section in self.directories(mapping):
            own = Scope(self._record, section.block or ()).own("FallbackResource")
            fallback = own[-1] if own else fallback
        otherwise: Source | None = None
        if fallback is not None and fallback.text().lower() != "disabled":
            target = fallback.text()
            if target.endswith(".php"):
                not_built(self._record, fallback, 0, "a program as `FallbackResource`", "proxy to it")
            otherwise = Files(mapping.root or "/", tries=(Const(target if target.startswith("/") else f"/{target}"),), types=self._types())
        return Files(mapping.root or "/", strip=mapping.prefix, index=self._index(), otherwise=otherwise, types=self._types())

    def renamed(self, guard: Guard) -> Route | None:
        """Return the route of a path that a rule made the name of a file: below the document root, or with it in front."""
        if not self.root:
            return None
        whole = Route(self.files(Mapping(self.root, self.root)), path=path_match(self.root))
        below = Route(self.files(Mapping("", self.root)))
        return Route(Switch((whole, below)), request=guard(Mapping("", self.root)))

    def _index(self) -> tuple[str, ...]:
        words = [word for each in self._scope.nearest("DirectoryIndex") for word in each.texts]
        if words[:1] == ["disabled"]:
            return ()
        return tuple([word for word in words if "/" not in word and not word.endswith((".php", ".cgi", ".pl"))]) or ("index.html",)

    def _types(self) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for directive in self._scope.all("AddType"):
            for word in directive.texts[1:]:
                ending = word.removeprefix(".").lower()
                # Two endings in one, such as `tar.gz`, are known by the last.
                found[ending.rpartition(".")[2]] = directive.text(0)
        return tuple(found.items())

    # ------------------------------------------------------------ sections

    def guarded(self, mapping: Mapping) -> list[tuple[Expr | None, Scope]]:
        """Return the sections that are about files of a directory, each with the test of a file being inside, in the order they count."""
        found: list[tuple[Expr | None, Scope]] = []
        named: list[tuple[Expr | None, Scope]] = []
        for directive in self.directories(mapping):
            scope = Scope(self._record, directive.block or ())
            test = self.inside(directive, mapping)
            found.append((test, scope))
            self._check(directive, scope, mapping)
            named += self._by_name(scope, test)
        for level in self._levels():
            named += self._by_name(level, None)
        return [*found, *named]

    def _levels(self) -> list[Scope]:
        return [self._scope.outer, self._scope] if self._scope.outer is not None else [self._scope]

    def directories(self, mapping: Mapping) -> list[Directive]:
        """Return the sections by directory that may be about files of a directory, the shortest path first, patterns last."""
        plain: list[Directive] = []
        patterns: list[Directive] = []
        for directive in self._scope.all("Directory", "DirectoryMatch"):
            is_pattern = directive.name == "directorymatch" or directive.text() == "~"
            path = directive.texts[-1].rstrip("/")
            if is_pattern or any(mark in path for mark in "*?["):
                patterns.append(directive)
            elif f"{mapping.root}/".startswith(f"{path}/") or f"{path}/".startswith(f"{mapping.root}/"):
                plain.append(directive)
        return [*sorted(plain, key=lambda each: len(each.texts[-1].rstrip("/"))), *patterns]

    def inside(self, directive: Directive, mapping: Mapping) -> Expr | None:
        """Return the test of a file being inside a section; None is always."""
        path = directive.texts[-1].rstrip("/")
        if directive.name == "directorymatch" or directive.text() == "~" or any(mark in path for mark in "*?["):
            is_pattern = directive.name == "directorymatch" or directive.text() == "~"
            try:
                pattern = to_pattern(directive.texts[-1]) if is_pattern else shell_pattern(path, True, "(?:/|$)")
            except ValueError as bad:
                self._record.error(directive.place(0), "bad-regex", str(bad))
                return Const(False)
            strip = mapping.prefix.rstrip("/")
            inner = Call("replace_prefix", (_PATH, Const(strip), EMPTY)) if strip else _PATH
            return Match(pattern, concat([Const(mapping.root), inner]))
        if f"{mapping.root}/".startswith(f"{path}/"):
            return None
        below = path[len(mapping.root) :]
        return Match(f"^{re.escape(mapping.prefix.rstrip('/') + below)}(?:/|$)", _PATH)

    def _by_name(self, scope: Scope, inside: Expr | None) -> list[tuple[Expr | None, Scope]]:
        """Return the sections by the name of a file."""
        found: list[tuple[Expr | None, Scope]] = []
        for directive in scope.own("Files", "FilesMatch"):
            is_pattern = directive.name == "filesmatch" or directive.text() == "~"
            try:
                pattern = to_pattern(directive.texts[-1]) if is_pattern else shell_pattern(directive.texts[-1], True)
            except ValueError as bad:
                self._record.error(directive.place(0), "bad-regex", str(bad))
                continue
            inner = Scope(self._record, directive.block or ())
            self._check_handlers(inner)
            for each in inner.own("RewriteRule", "ErrorDocument"):
                hint = "write it in the section around, or the virtual host"
                not_built(self._record, each, 0, f"`{each.written}` in `<{directive.written}>`", hint)
            test: Expr = Match(pattern, _NAME)
            found.append((test if inside is None else AllOf((inside, test)), inner))
        return found

    def _check(self, directive: Directive, scope: Scope, mapping: Mapping) -> None:
        """Note what a section by directory says and would be forgotten."""
        self._check_handlers(scope)
        allow = scope.own("AllowOverride", "AllowOverrideList")
        if allow and allow[-1].text().lower() != "none":
            root = directive.texts[-1].rstrip("/")
            folder = mapping.root if f"{mapping.root}/".startswith(f"{root}/") else root
            for name in [word for each in self._scope.nearest("AccessFileName") for word in each.texts] or [".htaccess"]:
                try:
                    self._read_text(f"{folder}/{name}")
                except (OSError, UnicodeError):
                    message = f"`{name}` files are not looked at"
                    self._record.warning(allow[-1].span, "differs", message, "write `AllowOverride None`, and what they say into this file")
                else:
                    hint = "write `AllowOverride None`, and what it says into this file"
                    not_built(self._record, allow[-1], 0, f"reading the `{name}` that is there", hint)

    def check_scripts(self) -> None:
        """Note what runs files."""
        for level in self._levels():
            self._check_handlers(level)

    def check_section(self, scope: Scope) -> None:
        """Note what a section by path makes of requests that is not proxying."""
        self._check_handlers(scope)
        for each in scope.own("SetHandler"):
            text = each.text().lower()
            if text == "server-info":
                self._record.warning(each.span, "left-out", f"there is no page `{each.text()}`", "`vestibule adapt` tells as much")
            elif text == "balancer-manager":
                hint = "leave it out; `vestibule upstream` changes servers, and `server-status` shows them"
                not_built(self._record, each, 0, "the page `balancer-manager`", hint)

    def _check_handlers(self, scope: Scope) -> None:
        """Files that a script makes cannot be shown as they are."""
        for each in scope.own("SetHandler", "AddHandler", "ForceType", "AddType", "AddOutputFilter"):
            text = each.text().lower()
            if any(mark in text for mark in _MADE_BY_SCRIPTS) and text not in _HARMLESS_HANDLERS:
                not_built(self._record, each, 0, f"running files (`{each.text()}`)", "proxy to the application that runs them")


# ---------------------------------------------------------------- errors


def error_routes(record: Record, scope: Scope, names: Names) -> tuple[ErrorRoute, ...]:
    """Return what answers in the place of errors: ``ErrorDocument``, and ``ProxyErrorOverride``."""
    override = scope.find("ProxyErrorOverride")
    overrides = override is not None and override.text().lower() == "on"
    only = tuple([int(word) for word in override.texts[1:] if word.isdecimal()]) if override is not None else ()
    for word in override.args[1:] if override is not None else ():
        if not word.text.isdecimal():
            record.error(word.span, "bad-value", f"`{word.text}` is no status", "write 400 to 599")
    documents: dict[int, Directive] = {}
    for directive in scope.all("ErrorDocument"):
        status = directive.text(0)
        if not status.isdecimal() or not 400 <= int(status) <= 599:
            record.error(directive.place(0), "bad-value", f"`{status}` is no status of an error", "write 400 to 599")
        else:
            documents[int(status)] = directive
    made: list[ErrorRoute] = []
    for number, directive in documents.items():
        intercepts = overrides and (not only or number in only)
        route = _document(record, directive, names, number, intercepts)
        if route is not None:
            made.append(route)
        if route is not None and number == _NOT_THERE and _NOBODY_ANSWERS not in documents:
            # An upstream that nobody can reach is 503 in httpd.
            made.append(replace(route, statuses=(_NOBODY_ANSWERS,), upstream=False))
    if overrides:
        shown = Var("error_status")
        body = concat([Const("<!DOCTYPE html>\n<title>"), shown, Const("</title>\n<h1>"), shown, Const("</h1>\n")])
        page = Respond(500, body, (("Content-Type", Const("text/html; charset=utf-8")),))
        made.append(ErrorRoute(page, only, upstream=True))
    return tuple(made)


def _document(record: Record, directive: Directive, names: Names, status: int, intercepts: bool) -> ErrorRoute | None:
    text = directive.text(1)
    if text.lower() == "default":
        return None
    if text.startswith(("http://", "https://")):
        return ErrorRoute(Redirect(read_string(record, names, text, directive.place(1)), 302), (status,), 0, intercepts)
    if text.startswith("/"):
        path, mark, query = text.partition("?")
        rewrite = Rewrite(Const(path), Const(query) if mark else EMPTY)
        return ErrorRoute(Again(), (status,), None, intercepts, (rewrite, SetVariable(DOCUMENT, Const("1"))))
    body = read_string(record, names, text.removeprefix('"'), directive.place(1))
    page = Respond(status, body, (("Content-Type", Const("text/html; charset=utf-8")),))
    return ErrorRoute(page, (status,), None, intercepts)
