"""Routes, matchers and handlers of a configuration in JSON as directives.

Facts (Caddy's documentation, "JSON Config Structure", apps.http.servers.routes): routes run in the order they are written; of those with
one ``group`` the first that matches; behind a ``terminal`` one nothing runs. Of several matcher sets one must hold.

Rules: what runs in order stands in ``route``; a terminal route has everything behind it in another ``handle``. `forward_auth` is a
`reverse_proxy` there that goes on after a good answer, and is read back as what it was.

Not here: servers (``apps``), what directives do (``flow``), `reverse_proxy` (``json_proxy``).
"""

from __future__ import annotations

from collections.abc import Sequence

from vestibule.dialects.caddy.directives import DIRECTIVES
from vestibule.dialects.caddy.document import Document, below
from vestibule.dialects.caddy.json_proxy import ProxyHandler
from vestibule.dialects.caddy.replacing import MORE
from vestibule.dialects.caddy.tree import Segment

_REDIRECTS = ("301", "302", "303", "307", "308")

_LISTS = ("path", "host", "method")


class Handlers:
    """Reads the routes of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._proxy = ProxyHandler(document, self)
        self._count = 0

    # ------------------------------------------------------------ routes

    def routes(self, routes: Sequence[tuple[str, object]]) -> list[Segment]:
        """Return what routes do, as lines of a ``route``."""
        lines: list[Segment] = []
        at = 0
        while at < len(routes):
            path, value = routes[at]
            route = self._document.table(value, path)
            self._document.rest(route, path, ("group", "match", "handle", "terminal", "@id"))
            group = self._document.text(route.get("group"), below(path, "group"))
            if group and not self._only_rewrites(route):
                end = at
                while end < len(routes) and self._group(routes[end]) == group:
                    end += 1
                lines.append(self._document.line(path, "route", block=self._choice(routes[at:end])))
                at = end
                continue
            at += 1
            if route.get("terminal") is True and at < len(routes) and route.get("match"):
                others = self.routes(routes[at:])
                lines += [*self._alone(path, route), self._document.line(path, "handle", block=[self._ordered(path, others)])]
                return [self._document.line(path, "route", block=lines)]
            lines += self._route(path, route)
            if route.get("terminal") is True and not route.get("match"):
                break
        return lines

    def _group(self, route: tuple[str, object]) -> str:
        table = route[1] if isinstance(route[1], dict) else {}
        group = table.get("group")
        return group if isinstance(group, str) and not self._only_rewrites(table) else ""

    @staticmethod
    def _only_rewrites(route: dict[str, object]) -> bool:
        handle = route.get("handle")
        return isinstance(handle, list) and all(isinstance(each, dict) and each.get("handler") == "rewrite" for each in handle)

    def _choice(self, routes: Sequence[tuple[str, object]]) -> list[Segment]:
        """Return routes of which the first that matches is carried out."""
        lines: list[Segment] = []
        for path, value in routes:
            lines += self._alone(path, self._document.table(value, path))
        return lines

    def _alone(self, path: str, route: dict[str, object]) -> list[Segment]:
        """Return a route as a ``handle``."""
        named, matcher = self.matcher(route.get("match"), below(path, "match"))
        inside = self._handlers(below(path, "handle"), route.get("handle"), "")
        return [*named, self._document.matched(path, "handle", matcher, block=[self._ordered(path, inside)])]

    def _ordered(self, path: str, lines: Sequence[Segment]) -> Segment:
        return self._document.line(path, "route", block=lines)

    def _route(self, path: str, route: dict[str, object]) -> list[Segment]:
        tried = _tried(route)
        if tried:
            return [self._document.line(path, "try_files", *tried)]
        named, matcher = self.matcher(route.get("match"), below(path, "match"))
        return [*named, *self._handlers(below(path, "handle"), route.get("handle"), matcher)]

    def _handlers(self, path: str, value: object, matcher: str) -> list[Segment]:
        """Return what handlers do, one after the other, under a matcher."""
        handlers = self._document.items(value, path)
        if matcher and len(handlers) != 1:
            lines = [line for place, each in handlers for line in self.handler(place, each, "")]
            return [self._document.matched(path, "route", matcher, block=lines)]
        return [line for place, each in handlers for line in self.handler(place, each, matcher)]

    # ------------------------------------------------------------ matchers

    def matcher(self, value: object, path: str) -> tuple[list[Segment], str]:
        """Return the line that declares a matcher, and its name; without conditions neither."""
        sets = [(place, self._document.table(each, place)) for place, each in self._document.items(value, path)]
        if not sets or any(not each for _, each in sets):
            return [], ""
        self._count += 1
        name = f"@{self._count}"
        if len(sets) == 1:
            return [self._document.line(path, name, block=self.conditions(sets[0][1], sets[0][0]))], name
        # One of them must hold: it is not so that none does.
        none = [self._document.line(place, "not", block=self.conditions(each, place)) for place, each in sets]
        return [self._document.line(path, name, block=[self._document.line(path, "not", block=none)])], name

    def conditions(self, matchers: dict[str, object], path: str) -> list[Segment]:
        """Return the lines of one set of matchers."""
        lines: list[Segment] = []
        for place, kind, value in self._document.entries(matchers, path):
            lines += self._condition(place, kind, value)
        return lines

    def _condition(self, path: str, kind: str, value: object) -> list[Segment]:
        document = self._document
        if kind in _LISTS:
            return [document.line(path, kind, *document.texts(value, path))]
        if kind == "protocol":
            return [document.line(path, kind, document.text(value, path))]
        if kind in ("header", "vars"):
            return self._fields(path, kind, value)
        if kind == "query":
            pairs = [
                (place, f"{name}={each}") for place, name, held in document.entries(value, path) for each in document.texts(held, place)
            ]
            # Values of one name are alternatives, and other names must hold, too; no name at all is no query.
            return [document.line(place, kind, pair) for place, pair in pairs] or [document.line(path, kind, "")]
        if kind in ("remote_ip", "client_ip"):
            table = document.table(value, path)
            document.rest(table, path, ("ranges", "forwarded"))
            forwarded = ["forwarded"] if table.get("forwarded") is True else []
            return [document.line(path, kind, *forwarded, *document.texts(table.get("ranges"), below(path, "ranges")))]
        if kind == "path_regexp":
            return [document.line(path, kind, *self._pattern(path, value))]
        if kind in ("header_regexp", "vars_regexp"):
            found: list[Segment] = []
            for place, name, each in document.entries(value, path):
                *named, pattern = self._pattern(place, each)
                found.append(document.line(place, kind, *named, name, pattern))
            return found
        if kind == "not":
            return [
                document.line(place, "not", block=self.conditions(document.table(each, place), place))
                for place, each in document.items(value, path)
            ]
        if kind == "expression":
            if isinstance(value, str):
                return [document.line(path, kind, value)]
            table = document.table(value, path)
            document.rest(table, path, ("expr", "name"))
            return [document.line(path, kind, document.text(table.get("expr"), path))]
        if kind == "file":
            return [document.line(path, kind, block=self._file(path, value))]
        if kind == "tls":
            document.rest(document.table(value, path), path, ())
            return [document.line(path, kind)]
        document.not_built(path, f"the matcher `{kind}`", "")
        return []

    def _fields(self, path: str, kind: str, value: object) -> list[Segment]:
        lines: list[Segment] = []
        names = value if isinstance(value, dict) else {}
        for name, held in names.items():
            place = below(path, name)
            if held is None:
                lines.append(self._document.line(place, kind, f"!{name}"))
            elif kind == "vars":
                lines.append(self._document.line(place, kind, name, *self._document.texts(held, place)))
            else:
                lines += [self._document.line(place, kind, name, each) for each in self._document.texts(held, place) or ["*"]]
        if not names:
            self._document.wrong(path, "an object is expected here")
        return lines

    def _pattern(self, path: str, value: object) -> list[str]:
        table = self._document.table(value, path)
        self._document.rest(table, path, ("name", "pattern"))
        name = self._document.text(table.get("name"), path)
        return [*([name] if name else []), self._document.text(table.get("pattern"), path)]

    def _file(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        lines: list[Segment] = []
        for place, key, each in document.entries(table, path):
            if key == "root" and document.text(each, place) in ("{http.vars.root}", ""):
                continue
            lines.append(document.line(place, key, *document.texts(each, place)))
        return lines

    # ------------------------------------------------------------ handlers

    def handler(self, path: str, value: object, matcher: str) -> list[Segment]:
        """Return what one handler does, under a matcher."""
        table = self._document.table(value, path)
        kind = self._document.text(table.get("handler"), below(path, "handler"))
        if kind == "subroute":
            self._document.rest(table, path, ("handler", "routes"))
            inside = self.routes(self._document.items(table.get("routes"), below(path, "routes")))
            return [self._document.matched(path, "route", matcher, block=inside)]
        if kind == "reverse_proxy":
            return self._proxy.read(path, table, matcher)
        read = {
            "static_response": self._static, "headers": self._headers, "rewrite": self._rewrite, "encode": self._encode,
            "file_server": self._file_server, "vars": self._vars, "authentication": self._authentication,
            "request_body": self._request_body, "map": self._map, "error": self._error, "log_append": self._log_append,
            "copy_response": self._copy, "copy_response_headers": self._copy_headers, "intercept": self._intercept,
        }.get(kind)  # fmt: skip
        if read is not None:
            lines = read(path, table)
            if matcher and len(lines) == 1 and lines[0].tokens[0].text not in ("root", "rewrite"):
                only = lines[0]
                return [self._document.matched(path, only.name, matcher, *only.texts(), block=only.block)]
            lines = [self._plain(path, each) for each in lines]
            return [self._document.matched(path, "route", matcher, block=lines)] if matcher else lines
        if kind in DIRECTIVES and DIRECTIVES[kind].state != "supported":
            return [self._document.line(path, kind)]
        self._document.not_built(path, f"the handler `{kind}`", "")
        return []

    def _plain(self, path: str, line: Segment) -> Segment:
        """Return a line whose first argument cannot be taken for a matcher."""
        words = line.texts()
        if line.name in ("redir", "respond", "error") and words and words[0][:1] in ("/", "@", "*"):
            return self._document.matched(path, line.name, "*", *words, block=line.block)
        return line

    def _static(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        document.rest(table, path, ("handler", "status_code", "body", "headers", "close", "abort"))
        if table.get("abort") is True:
            return [document.line(path, "abort")]
        status = document.text(table.get("status_code"), below(path, "status_code")) or "200"
        fields = {name: document.texts(held, place) for place, name, held in document.entries(table.get("headers"), below(path, "headers"))}
        body = document.text(table.get("body"), below(path, "body"))
        if list(fields) == ["Location"] and status in _REDIRECTS and not body:
            return [document.line(path, "redir", "".join(fields["Location"][:1]), status)]
        lines = [document.line(path, "header", f"+{name}", each) for name, held in fields.items() for each in held]
        close = [document.line(path, "close")] if table.get("close") is True else None
        return [*lines, document.line(path, "respond", body, status, block=close)]

    def _headers(self, path: str, table: dict[str, object]) -> list[Segment]:
        self._document.rest(table, path, ("handler", "request", "response"))
        lines: list[Segment] = []
        for side, name in (("request", "request_header"), ("response", "header")):
            place = below(path, side)
            edits = self._document.table(table.get(side), place)
            if edits:
                lines.append(self._document.line(place, name, block=self.edits(edits, place)))
        return lines

    def edits(self, table: dict[str, object], path: str, word: str = "") -> list[Segment]:
        """Return the lines that edit fields; each begins with ``word`` where there is one."""
        document = self._document
        document.rest(table, path, ("set", "add", "delete", "replace", "deferred", "require"))
        begin = [word] if word else []
        lines: list[Segment] = []
        require = document.table(table.get("require"), below(path, "require"))
        missing = self._missing(table.get("require"))
        for kind, mark in (("set", "?" if missing else ""), ("add", "+")):
            for place, name, held in document.entries(table.get(kind), below(path, kind)):
                for at, each in enumerate(document.texts(held, place)):
                    lines.append(document.line(place, *begin, f"{mark if at == 0 or mark == '+' else MORE}{name}", each))
        for name in document.texts(table.get("delete"), below(path, "delete")):
            lines.append(document.line(path, *begin, f"-{name}"))
        for place, name, held in document.entries(table.get("replace"), below(path, "replace")):
            for inner, edit in document.items(held, place):
                found = document.table(edit, inner)
                find = document.text(found.get("search_regexp"), inner)
                if not find:
                    find = _escaped(document.text(found.get("search"), inner))
                lines.append(document.line(inner, *begin, name, find, document.text(found.get("replace"), inner)))
        if table.get("deferred") is True:
            lines.append(document.line(path, "defer"))
        if require and not missing:
            lines.append(document.line(path, "match", block=self.answer(require, below(path, "require"))))
        return lines

    @staticmethod
    def _missing(require: object) -> bool:
        """Tell whether a condition on answers is that they lack a field: `?` of a Caddyfile."""
        fields = require.get("headers") if isinstance(require, dict) and len(require) == 1 else None
        return isinstance(fields, dict) and all(held is None for held in fields.values())

    def answer(self, table: dict[str, object], path: str) -> list[Segment]:
        """Return the lines of a condition on answers."""
        document = self._document
        document.rest(table, path, ("status_code", "headers"))
        lines: list[Segment] = []
        statuses = document.texts(table.get("status_code"), below(path, "status_code"))
        if statuses:
            lines.append(document.line(path, "status", *[f"{each}xx" if len(each) == 1 else each for each in statuses]))
        return lines + (self._fields(below(path, "headers"), "header", table["headers"]) if "headers" in table else [])

    def _rewrite(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        known = ("handler", "method", "uri", "strip_path_prefix", "strip_path_suffix", "uri_substring", "path_regexp")
        document.rest(table, path, known)
        lines: list[Segment] = []
        if "method" in table:
            lines.append(document.line(path, "method", document.text(table["method"], path)))
        if "uri" in table:
            lines.append(document.matched(path, "rewrite", "*", document.text(table["uri"], path)))
        for key, word in (("strip_path_prefix", "strip_prefix"), ("strip_path_suffix", "strip_suffix")):
            if key in table:
                lines.append(document.line(path, "uri", word, document.text(table[key], path)))
        for key, word in (("uri_substring", "replace"), ("path_regexp", "path_regexp")):
            for place, each in document.items(table.get(key), below(path, key)):
                found = document.table(each, place)
                limit = [document.text(found["limit"], place)] if "limit" in found else []
                find, replacement = document.text(found.get("find"), place), document.text(found.get("replace"), place)
                lines.append(document.line(place, "uri", word, find, replacement, *limit))
        return lines

    def _encode(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        document.rest(table, path, ("handler", "encodings", "minimum_length", "match", "prefer"))
        lines: list[Segment] = []
        for place, name, held in document.entries(table.get("encodings"), below(path, "encodings")):
            level = document.text(document.table(held, place).get("level"), place)
            lines.append(document.line(place, name, *([level] if level else [])))
        if "minimum_length" in table:
            lines.append(document.line(path, "minimum_length", document.text(table["minimum_length"], path)))
        if "match" in table:
            place = below(path, "match")
            lines.append(document.line(place, "match", block=self.answer(document.table(table["match"], place), place)))
        return [document.line(path, "encode", block=lines)]

    def _file_server(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        known = ("handler", "root", "hide", "index_names", "browse", "canonical_uris", "pass_thru", "status_code")
        document.rest(table, path, (*known, "precompressed", "precompressed_order"), {"etag_file_extensions": "tags are vestibule's own"})
        lines: list[Segment] = []
        root = document.text(table.get("root"), below(path, "root"))
        if root and root != "{http.vars.root}":
            lines.append(document.line(path, "root", root))
        for key, word in (("hide", "hide"), ("index_names", "index"), ("status_code", "status")):
            if key in table:
                held = table[key]
                words = document.texts(held, below(path, key)) if isinstance(held, list) else [document.text(held, path)]
                lines.append(document.line(below(path, key), word, *words))
        if "browse" in table:
            place = below(path, "browse")
            browse = document.table(table["browse"], place)
            document.rest(browse, place, ("template_file",), {"reveal_symlinks": "a list says nothing of where links lead"})
            template = [document.text(browse["template_file"], place)] if "template_file" in browse else []
            lines.append(document.line(place, "browse", *template))
        if table.get("canonical_uris") is False:
            lines.append(document.line(path, "disable_canonical_uris"))
        if table.get("pass_thru") is True:
            lines.append(document.line(path, "pass_thru"))
        if "precompressed" in table:
            order = document.texts(table.get("precompressed_order"), below(path, "precompressed_order"))
            lines.append(document.line(path, "precompressed", *(order or document.table(table["precompressed"], path))))
        return [document.line(path, "file_server", block=lines)]

    def _vars(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        lines: list[Segment] = []
        for place, name, held in document.entries(table, path):
            if name == "root":
                lines.append(document.matched(place, "root", "*", document.text(held, place)))
            elif name != "handler":
                lines.append(document.line(place, "vars", name, document.text(held, place)))
        return lines

    def _authentication(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        providers = document.table(table.get("providers"), below(path, "providers"))
        document.rest(table, path, ("handler", "providers"))
        document.rest(providers, below(path, "providers"), ("http_basic",))
        place = below(below(path, "providers"), "http_basic")
        basic = document.table(providers.get("http_basic"), place)
        document.rest(basic, place, ("accounts", "hash", "hash_cache", "realm"))
        lines: list[Segment] = []
        for inner, each in document.items(basic.get("accounts"), below(place, "accounts")):
            account = document.table(each, inner)
            document.rest(account, inner, ("username", "password", "salt"))
            words = [document.text(account[key], inner) for key in ("username", "password", "salt") if account.get(key)]
            lines.append(document.line(inner, *words))
        algorithm = document.text(document.table(basic.get("hash"), place).get("algorithm"), place) or "bcrypt"
        realm = [document.text(basic["realm"], place)] if basic.get("realm") else []
        return [document.line(place, "basic_auth", algorithm, *realm, block=lines)]

    def _request_body(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        lines = [
            document.line(place, name, document.text(held, place))
            for place, name, held in document.entries(table, path)
            if name != "handler"
        ]
        return [document.line(path, "request_body", block=lines)]

    def _map(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        document.rest(table, path, ("handler", "source", "destinations", "mappings", "defaults"))
        lines: list[Segment] = []
        for place, each in document.items(table.get("mappings"), below(path, "mappings")):
            entry = document.table(each, place)
            document.rest(entry, place, ("input", "input_regexp", "outputs"))
            pattern = document.text(entry.get("input_regexp"), place)
            given = f"~{pattern}" if pattern else document.text(entry.get("input"), place)
            outputs = [("-" if out is None else document.text(out, inner)) for inner, out in document.items(entry.get("outputs"), place)]
            lines.append(document.line(place, given, *outputs))
        defaults = document.texts(table.get("defaults"), below(path, "defaults"))
        if defaults:
            lines.append(document.line(path, "default", *defaults))
        names = document.texts(table.get("destinations"), below(path, "destinations"))
        return [document.line(path, "map", document.text(table.get("source"), path), *names, block=lines)]

    def _error(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        document.rest(table, path, ("handler", "error", "status_code"))
        status = document.text(table.get("status_code"), path) or "500"
        message = [document.text(table["error"], path)] if table.get("error") else []
        return [document.line(path, "error", *message, status)]

    def _log_append(self, path: str, table: dict[str, object]) -> list[Segment]:
        document = self._document
        return [document.line(path, "log_append", document.text(table.get("key"), path), document.text(table.get("value"), path))]

    def _copy(self, path: str, table: dict[str, object]) -> list[Segment]:
        self._document.rest(table, path, ("handler", "status_code"))
        status = [self._document.text(table["status_code"], path)] if "status_code" in table else []
        return [self._document.line(path, "copy_response", *status)]

    def _copy_headers(self, path: str, table: dict[str, object]) -> list[Segment]:
        self._document.rest(table, path, ("handler", "include", "exclude"))
        lines = [
            self._document.line(below(path, key), key, *self._document.texts(table[key], below(path, key)))
            for key in ("include", "exclude")
            if key in table
        ]
        return [self._document.line(path, "copy_response_headers", block=lines)]

    def _intercept(self, path: str, table: dict[str, object]) -> list[Segment]:
        self._document.rest(table, path, ("handler", "handle_response"))
        lines = self._proxy.responses(below(path, "handle_response"), table.get("handle_response"))
        return [self._document.line(path, "intercept", block=lines)]


def _tried(route: dict[str, object]) -> list[str]:
    """Return the paths of a route that is a whole ``try_files`` with a status at its end, which no matcher says; else none."""
    match, handle = route.get("match"), route.get("handle")
    if not (isinstance(match, list) and len(match) == 1 and isinstance(match[0], dict) and set(match[0]) == {"file"}):
        return []
    if handle != [{"handler": "rewrite", "uri": "{http.matchers.file.relative}"}]:
        return []
    tries = match[0]["file"].get("try_files") if isinstance(match[0]["file"], dict) and set(match[0]["file"]) == {"try_files"} else None
    texts = [each for each in tries if isinstance(each, str)] if isinstance(tries, list) else []
    return texts if texts and texts[-1].startswith("=") else []


def _escaped(text: str) -> str:
    """Return the regular expression that finds a text."""
    return "".join([f"\\{char}" if char in r".^$*+?{}[]\|()" else char for char in text])
