"""Rules in ``<Directory>``: which of them are for the files of a directory, and what they look at.

Facts, as httpd has them:
* They come after the question who it is, and only where a file would answer. Of sections that fit, the longest path that says anything
  about rules decides alone; whether rules are looked at, and ``RewriteBase``, come from the sections around, too.
* They look at the name of the file below the directory, without a slash in front. A new path without one begins where the directory
  does, for clients: at ``RewriteBase``, or at the path that the directory answers.
* A new path is asked for from the beginning, through all rules, until they leave it alone.

Not here: what becomes of rules (``rewriting``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.apache.files import FileSites, Mapping
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.model.config import Files, Route
from vestibule.model.expr import Call, Const, Expr, Var, concat

_PATH = Var("decoded_path")
_ABOUT = ("RewriteEngine", "RewriteRule", "RewriteCond", "RewriteBase", "RewriteOptions")


@dataclass(frozen=True, slots=True)
class Ruled:
    """A section with rules: its test, its rules, the name that they look at, that of the file, and where new paths begin."""

    test: Expr | None
    program: list[Directive]
    file: Expr
    name: Expr
    base: str | None


def ruled(files: FileSites, scope: Scope, mapping: Mapping) -> list[Ruled]:
    """Return the sections that say something about rules for the files of a directory; the last that fits a request decides."""
    found: list[Ruled] = []
    around: list[tuple[str, Scope]] = []
    strip = mapping.prefix.rstrip("/")
    name = concat([Const(mapping.root), _below(strip, "/") if strip else _PATH])
    for directive in files.directories(mapping):
        inner = Scope(scope.record, directive.block or ())
        if not inner.own(*_ABOUT):
            continue
        path = directive.texts[-1].rstrip("/")
        if directive.name == "directorymatch" or directive.text() == "~" or any(mark in path for mark in "*?["):
            not_built(scope.record, directive, 0, "a pattern of directories with rules", "name the directory")
            continue
        for each in inner.own("RewriteOptions"):
            not_built(scope.record, each, 0, "`RewriteOptions` in `<Directory>`", "write all rules in one section")
        around.append((path, inner))
        levels = [each for outer, each in around if f"{path}/".startswith(f"{outer}/")]
        engine = [each for level in levels for each in level.own("RewriteEngine")] or scope.nearest("RewriteEngine")
        is_on = bool(engine) and engine[-1].text().lower() == "on"
        bases = [each for level in levels for each in level.own("RewriteBase")]
        inside, base = path[len(mapping.root) :], None
        if len(path) < len(mapping.root):
            file = _below(strip, f"{mapping.root[len(path) + 1 :]}/")
        else:
            file, base = _below(strip + inside, ""), f"{strip}{inside}/"
        if files.root and f"{path}/".startswith(f"{files.root}/"):
            base = f"{path[len(files.root) :]}/"
        if bases:
            base = f"{bases[-1].text().rstrip('/')}/"
        program = inner.own("RewriteCond", "RewriteRule") if is_on else []
        found.append(Ruled(files.inside(directive, mapping), program, file, name, base))
    return found


def mapping_of(route: Route, source: Files) -> Mapping | None:
    """Return which paths a route of files is for, and where these are; None where that is no matter of a directory."""
    if not source.tries:
        return Mapping(source.strip, source.root)
    if route.path is None or route.path.kind != "exact":
        return None
    above, _, last = route.path.value.rpartition("/")
    return Mapping(above, source.root) if source.tries == (Const(f"/{last}"),) else None


def _below(prefix: str, instead: str) -> Expr:
    """Return the path with something else in the place of a directory."""
    return Call("replace_prefix", (_PATH, Const(f"{prefix}/"), Const(instead)))
