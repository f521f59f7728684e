"""``root``, ``alias``, ``index``, ``try_files``: files that a location serves; and ``error_page``.

Facts:
* ``root`` is put before the whole path, ``alias`` in the place of the location's prefix.
* ``try_files`` looks for its paths in turn. The last is no file: a status, a named location, or a path that a location is looked for
  anew with, whose query is the one written there or none.
* A page for an error is asked for with GET and keeps the status of the error, unless ``=`` says otherwise. ``error_page`` is
  inherited as a whole.

Not here: who serves a location without files (``location``).
"""

from __future__ import annotations

import mimetypes
from typing import Literal

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.variables import Names
from vestibule.dialects.part import encoded
from vestibule.dialects.record import Record
from vestibule.model.config import Again, Deny, ErrorRoute, Files, Redirect, Respond, Rewrite, Route, Source, Switch
from vestibule.model.expr import EMPTY, Concat, Const, Expr, concat

_KNOWN = mimetypes.MimeTypes().types_map[1]
_REDIRECTS: dict[int | None, Literal[301, 302, 303, 307, 308]] = {301: 301, 302: 302, 303: 303, 307: 307, 308: 308}
_DEFAULT_TYPE = "text/plain"


def files_of(scope: Scope, names: Names, prefix: str, exact: bool) -> Source | None:
    """Return what serves files in a block; ``prefix`` is that of its location, empty for a regular expression. None: nothing does."""
    record = scope.record
    index = scope.find_all("index") or ("index.html",)
    directive = scope.find("index")
    if directive is not None and any("$" in name or name.startswith("/") for name in index):
        not_built(record, directive.span, "an `index` that is a path or has a variable", "use `try_files`")
        index = ()
    otherwise, tries = _tries(scope, names)
    kinds = _types(scope)
    default_type = scope.text("default_type", _DEFAULT_TYPE)
    alias = scope.own("alias")
    if alias:
        word = alias[0].args[0]
        made = names.text(word)
        if isinstance(made, Const) and not exact and prefix:
            return Files(str(made.value), prefix, index, tries, otherwise, default_type, kinds)
        # Of one path, or of one that a regular expression captured from: a single file below what is fixed.
        root, rest = _split(made)
        if not root or tries:
            not_built(record, word.span, "this `alias`", "begin it with a fixed directory, without `try_files`, or use `root`")
            return None
        return Files(root, "", index, (rest,), otherwise, default_type, kinds)
    root_directive = scope.find("root")
    if root_directive is None:
        return None if otherwise is None else otherwise
    made = names.text(root_directive.args[0])
    if not isinstance(made, Const):
        not_built(record, root_directive.place(0), "a `root` that depends on the request", "write a location for each")
        return None
    return Files(str(made.value), "", index, tries, otherwise, default_type, kinds)


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
        if status.isdigit() and 400 <= int(status) <= 599:
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
        if text and not (text.isdigit() and 200 <= int(text) <= 599):
            record.error(directive.span, "bad-value", f"`={text}` is no status", "use 200 to 599")
            return None
        shown = int(text) if text else 0
    statuses: list[int] = []
    for word in words:
        if not (word.text.isdigit() and 300 <= int(word.text) <= 599):
            record.error(word.span, "bad-value", f"`{word.text}` is no status that has a page", "use 300 to 599")
        elif int(word.text) >= 400:
            statuses.append(int(word.text))
        else:
            record.warning(word.span, "left-out", "a page for a redirect is left out", "nobody sees it")
    if not statuses:
        return None
    if target.text.startswith(("http://", "https://", "$")):
        return ErrorRoute(Redirect(names.text(target), _REDIRECTS.get(shown, 302)), tuple(statuses), 0, intercepts)
    if target.text.startswith("@"):
        return ErrorRoute(Again(target.text), tuple(statuses), shown, intercepts)
    return ErrorRoute(Again(), tuple(statuses), shown, intercepts, (rewrite_to(target, names),))
