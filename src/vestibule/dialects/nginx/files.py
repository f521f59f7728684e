"""``root``, ``alias``, ``index``, ``try_files``, ``autoindex``, ``gzip_static``: files that a location serves; and ``error_page``.

Facts:
* ``root`` is put before the whole path, ``alias`` in the place of the location's prefix.
* ``try_files`` looks for its paths in turn. The last is no file: a status, a named location, or a path that a location is looked for
  anew with, whose query is the one written there or none.
* With ``proxy_intercept_errors`` and ``=`` an upstream's redirect has a page, too.
* A page for an error is asked for with GET, a named location as the request was, and keeps the status of the error, unless ``=`` says
  otherwise. ``error_page`` is inherited as a whole.

Not here: who serves a location without files (``location``).
"""

from __future__ import annotations

import mimetypes
from dataclasses import replace
from typing import Literal

from vestibule.dialects.nginx.flow import not_built, redirect
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.maps import chain
from vestibule.dialects.nginx.origin import origin_of
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.variables import Names, choices_of
from vestibule.dialects.part import encoded
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    Again,
    Deny,
    ErrorRoute,
    Files,
    Redirect,
    RemoveHeader,
    Respond,
    Rewrite,
    Route,
    SetMethod,
    Source,
    Switch,
    When,
)
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Concat, Const, Expr, If, InSet, Match, Not, Var, concat

_KNOWN = mimetypes.MimeTypes().types_map[1]
_WITHOUT_TYPES = {"html": "text/html", "gif": "image/gif", "jpg": "image/jpeg"}
"""The endings that nginx knows where no ``types`` are said."""
_REDIRECTS: dict[int | None, Literal[301, 302, 303, 307, 308]] = {301: 301, 302: 302, 303: 303, 307: 307, 308: 308}
_DEFAULT_TYPE = "text/plain"
_MOST_INDEXES = 16
_LONGEST_LIMIT = 3
"""Digits of a limit of ranges that is one: no head has a thousand."""


def files_of(scope: Scope, names: Names) -> Source | None:
    """Return what serves files in a block. None: nothing does."""
    made = _files(scope, names)
    directive = scope.find("index")
    return made if directive is None or not isinstance(made, Files) else _indexed(scope.record, names, directive, made)


def _indexed(record: Record, names: Names, directive: Directive, files: Files) -> Source:
    """Return files whose directories have the index that a block says. One that is a path ends the search: it is gone on with."""
    words = list(directive.args)
    at = next((at for at, word in enumerate(words) if word.text.startswith("/")), len(words))
    elsewhere = words[at] if at < len(words) else None
    if elsewhere is not None and files.otherwise is not None:
        not_built(record, elsewhere.span, "an `index` that is a path beside `try_files`", "name it in `try_files`")
        return files
    line = concat([part for word in words[:at] for part in (names.text(word), Const("\n"))])
    try:
        choices = choices_of(line, _MOST_INDEXES)
    except ValueError as bad:
        record.error(directive.span, "too-deep", str(bad))
        return files
    routes: list[Route] = []
    for test, text in choices:
        if not isinstance(text, Const):
            not_built(record, directive.span, "an `index` with the text of a request in it", "use `try_files`")
            return files
        found = replace(files, index=tuple(str(text.value).split("\n")[:-1]))
        source: Source = found
        if elsewhere is not None:
            onward = Switch((Route(Again(), request=(rewrite_to(elsewhere, names),)),))
            source = Switch((Route(replace(found, otherwise=onward), when=_is_directory(files, at == 0)), Route(found)))
        routes.append(Route(source, when=test))
    return routes[0].source if len(routes) == 1 else Switch(tuple(routes))


def _is_directory(files: Files, in_any_case: bool) -> Expr:
    """Return the test of a path that ends with a slash, and of the directory there unless ``in_any_case``."""
    path: Expr = Var("decoded_path")
    ends = Match("/$", path)
    if in_any_case:
        return ends
    below = Call("replace_prefix", (path, Const(files.strip), EMPTY)) if files.strip else path
    return AllOf((ends, Compare("!=", Call("existing", (Const(files.root), encoded(below))), EMPTY)))


def _files(scope: Scope, names: Names) -> Source | None:
    record = scope.record
    otherwise, tries = _tries(scope, names)
    kinds = _types(scope)
    default_type = scope.text("default_type", _DEFAULT_TYPE)
    origin = origin_of(scope, names)
    slash: Literal["url", "bare"] = "url" if origin is not None else "bare"
    base = Files(
        "",
        "",
        ("index.html",),
        tries,
        otherwise,
        default_type,
        kinds,
        listing=scope.flag("autoindex", False),
        precompressed=_made(scope),
        slash=slash,
        origin=origin,
    )
    holder = _holder(scope)
    alias = holder.own("alias")
    if alias:
        prefix, exact = holder.prefix, holder.exact
        word = alias[0].args[0]
        made = names.text(word)
        if isinstance(made, Const) and not exact and prefix:
            return replace(base, root=str(made.value), strip=prefix)
        # Of one path, or of one that a regular expression captured from: a single file below what is fixed.
        if isinstance(made, Const) and tries:
            return replace(base, root=str(made.value))
        root, rest = _split(made)
        if not root:
            not_built(record, word.span, "this `alias`", "begin it with a fixed directory, or use `root`")
            return None
        return replace(base, root=root, tries=tuple([concat([rest, each]) for each in tries]) or (rest,))
    root_directive = scope.find("root")
    if root_directive is None:
        return None if otherwise is None else otherwise
    made = names.text(root_directive.args[0])
    if not isinstance(made, Const):
        root, rest = _split(made)
        if not root:
            not_built(record, root_directive.place(0), "this `root`", "begin it with a fixed directory")
            return None
        # Of a root that depends on the request what is fixed is one; the rest is before each path.
        paths = tries or (encoded(Var("decoded_path")),)
        return replace(base, root=root, tries=tuple([concat([rest, each]) for each in paths]))
    return _by_directories(replace(base, root=str(made.value)))


def _by_directories(files: Files) -> Source:
    """Return files whose tries may name a directory: a client is sent to one that is not what it asked for, and none gets what comes
    after one without an index."""
    at = next((at for at, each in enumerate(files.tries) if _ends_open(each)), -1)
    if at < 0 or files.tries[at] == Const("/"):
        return files
    path = files.tries[at]
    is_there: Expr = Compare("!=", Call("existing", (Const(files.root), path)), EMPTY)
    later = files.tries[at + 1 :]
    rest: Source = _by_directories(replace(files, tries=later)) if later else files.otherwise or _refusal(404)
    if not isinstance(path, Const):
        onward = Switch((Route(_refusal(403), when=is_there), Route(rest)))
        return replace(files, tries=files.tries[: at + 1], otherwise=onward)
    is_another = Not(Compare("==", Var("decoded_path"), path))
    onward = Switch((Route(redirect(301, path, files.origin), when=AllOf((is_another, is_there))), Route(rest)))
    return replace(files, tries=files.tries[:at], otherwise=onward) if at else onward


def _ends_open(path: Expr) -> bool:
    last = path.parts[-1] if isinstance(path, Concat) else path
    return isinstance(last, Const) and str(last.value).endswith("/")


def _made(scope: Scope) -> tuple[Literal["gzip", "br", "zstd"], ...]:
    """Return the codings in which files stand beside those they were made of."""
    made: list[Literal["gzip", "br", "zstd"]] = []
    if scope.text("brotli_static") in ("on", "always"):
        made.append("br")
    if scope.text("gzip_static") in ("on", "always"):
        made.append("gzip")
    return tuple(made)


def _holder(scope: Scope) -> Scope:
    """Return the nearest block that says where files are: an ``alias`` is for the locations inside, too, with its own prefix."""
    while not scope.own("alias", "root") and scope.outer is not None:
        scope = scope.outer
    return scope


def place_names(scope: Scope, names: Names) -> dict[str, Expr]:
    """Return what ``$document_root`` and ``$request_filename`` are in a block, where something says so."""
    holder = _holder(scope)
    alias, root = holder.own("alias"), holder.find("root")
    prefix, exact = holder.prefix, holder.exact
    path = Var("decoded_path")
    if alias:
        base = names.text(alias[0].args[0])
        if exact or not prefix:
            return {"document_root": base, "request_filename": base}
        return {"document_root": base, "request_filename": concat([base, Call("replace_prefix", (path, Const(prefix), EMPTY))])}
    if root is None:
        return {}
    base = names.text(root.args[0])
    return {"document_root": base, "request_filename": concat([base, path])}


def _split(made: Expr) -> tuple[str, Expr]:
    """Split a path into a fixed directory and the rest as a target."""
    parts = list(made.parts) if isinstance(made, Concat) else [made]
    first = parts[0]
    if not isinstance(first, Const):
        return "", EMPTY
    directory, _, rest = str(first.value).rpartition("/")
    return directory or "/", concat([encoded(each) for each in (Const(f"/{rest}"), *parts[1:])])


def _types(scope: Scope) -> tuple[tuple[str, str], ...]:
    """Return the endings that a file names itself and that are not known so anyway."""
    blocks = scope.nearest("types")
    found: dict[str, str] = {}
    for entry in [each for block in blocks for each in block.block or ()]:
        for ending in entry.texts:
            if _KNOWN.get(f".{ending.lower()}") != entry.name:
                found[ending.lower()] = entry.name
    return tuple(found.items())


def media_type(scope: Scope) -> Expr:
    """Return the media type of a text that is said in a block: as of a file, by the end of the path, or what ``default_type`` says."""
    usual = Const(scope.text("default_type", "text/plain"))
    blocks = scope.nearest("types")
    entries = [each for block in blocks for each in block.block or ()]
    kinds = {ending.lower(): entry.name for entry in entries for ending in entry.texts} if blocks else _WITHOUT_TYPES
    path = Var("decoded_path")
    own = Const(kinds.get(_ending(scope.prefix), str(usual.value)))
    if scope.exact:
        return own
    if _ending(scope.prefix):
        return usual if own == usual else If(Compare("==", path, Const(scope.prefix)), own, usual)
    if not blocks:
        # Three endings are known, which a location that names none of them is hardly for.
        return usual
    endings: dict[str, list[str]] = {}
    for ending, kind in kinds.items():
        if kind != usual.value:
            endings.setdefault(kind, []).append(ending)
    shown = Call("capture", (path, Const(r"[^/]\.([^./]+)$"), Const("1")))
    return chain([(InSet(shown, tuple(found), True), Const(kind)) for kind, found in endings.items()], usual)


def conditions_of(scope: Scope) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """Return what ``max_ranges`` and ``if_modified_since off`` do to requests for files, and to their answers.

    Who asks for more ranges gets the whole.
    """
    dated: tuple[Action, ...] = (RemoveHeader("If-Modified-Since"),) if scope.text("if_modified_since") == "off" else ()
    said = scope.text("max_ranges")
    most = 0 if said in ("", "0") else scope.count("max_ranges", 0) if len(said) <= _LONGEST_LIMIT else 0
    if not most and said != "0":
        return dated, ()
    if most == 0:
        return (*dated, RemoveHeader("Range")), (RemoveHeader("Accept-Ranges"),)
    more = Match(rf"^(?:[^,]*,){{{most}}}", Var("header", "Range"))
    return (*dated, When(more, (RemoveHeader("Range"),))), ()


def _ending(path: str) -> str:
    """Return what stands behind the last dot of a path, in lower case; a name that begins with it has none."""
    before, dot, ending = path.rpartition("/")[2].rpartition(".")
    return ending.lower() if dot and before else ""


def _tries(scope: Scope, names: Names) -> tuple[Source | None, tuple[Expr, ...]]:
    """Return who answers where no file is there, and the paths that are looked for."""
    own = scope.own("try_files")
    if not own:
        return None, ()
    words = own[0].args
    tries = tuple([_path(names.text(word)) for word in words[:-1]])
    return _last(scope.record, words[-1], names), tries


def _path(made: Expr) -> Expr:
    parts = made.parts if isinstance(made, Concat) else (made,)
    return concat([encoded(each) for each in parts])


def _last(record: Record, word: Word, names: Names) -> Source:
    text = word.text
    if text.startswith("="):
        status = text[1:]
        if status.isdecimal() and 400 <= int(status) <= 599:
            return _refusal(int(status))
        record.error(word.span, "bad-value", f"`{text}` is no status of an error", "write `=404`")
        return _refusal(404)
    return around(word, names)


def _refusal(status: int) -> Source:
    """Return the source that is an error, so that a page for it may answer."""
    return Switch((Route(Respond(status), request=(Deny(status),)),))


def around(word: Word, names: Names) -> Source:
    """Return the source that looks for a location anew: a named one, or that of a path."""
    if word.text.startswith("@"):
        return Again(word.text)
    return Switch((Route(Again(), request=(rewrite_to(word, names),)),))


def rewrite_to(word: Word, names: Names) -> Rewrite:
    """Return the change to a path with its query, which is none where none is written."""
    path, _, query = word.text.partition("?")
    return Rewrite(_path(names.template(path, word.span)), names.template(query, word.span))


# ---------------------------------------------------------------- error_page

AS_GET = When(Not(InSet(Var("method"), ("GET", "HEAD"))), (SetMethod(Const("GET")),))
"""What nginx does to a request that it sends to another path after an answer."""


def errors_of(scope: Scope, names: Names) -> tuple[ErrorRoute, ...]:
    """Return who answers in the place of errors in a block."""
    intercepts = scope.flag("proxy_intercept_errors", False)
    made: list[ErrorRoute] = []
    for directive in scope.nearest("error_page"):
        found = _error_route(scope.record, directive, names, intercepts)
        if found is not None:
            made.append(found)
    return tuple(made)


def caught_by(errors: tuple[ErrorRoute, ...]) -> frozenset[int]:
    """Return the statuses that somebody answers in the place of."""
    return frozenset([status for each in errors for status in each.statuses])


def _error_route(record: Record, directive: Directive, names: Names, intercepts: bool) -> ErrorRoute | None:
    *words, target = directive.args
    shown: int | None = None
    if words and words[-1].text.startswith("="):
        text = words.pop().text[1:]
        if text and not (text.isdecimal() and 200 <= int(text) <= 599):
            record.error(directive.span, "bad-value", f"`={text}` is no status", "use 200 to 599")
            return None
        shown = int(text) if text else 0
    statuses: list[int] = []
    leads_away = target.text.startswith(("http://", "https://", "$"))
    for word in words:
        if not (word.text.isdecimal() and 300 <= int(word.text) <= 599):
            record.error(word.span, "bad-value", f"`{word.text}` is no status that has a page", "use 300 to 599")
        else:
            statuses.append(int(word.text))
    if not statuses:
        return None
    if leads_away:
        away = names.text(target)
        source: Source = Redirect(away, _REDIRECTS.get(shown, 302))
        if target.text.startswith("$") and names.fixed(target) is None:
            # What begins with a slash is a path of this server, whose query is behind a question mark.
            parts = [Call("capture", (away, Const(r"^([^?]*)\??(.*)$"), Const(at))) for at in ("1", "2")]
            here = Route(Again(), when=Match("^/", away), request=(Rewrite(encoded(parts[0]), parts[1]), AS_GET))
            source = Switch((here, Route(source)))
        return ErrorRoute(source, tuple(statuses), 0, intercepts)
    if target.text.startswith("@"):
        return ErrorRoute(Again(target.text), tuple(statuses), shown, intercepts, whole=True)
    return ErrorRoute(Again(), tuple(statuses), shown, intercepts, (rewrite_to(target, names), AS_GET))
