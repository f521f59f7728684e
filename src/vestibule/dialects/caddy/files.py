"""Directives about files: ``root``, ``file_server``, ``try_files``.

Facts (Caddy's documentation of each): names with a dot are served; text has ``charset=utf-8``; a directory without its index is not
found unless it is listed; of ``try_files`` and the matcher ``file`` the first path that is there counts, one with ``/`` at its end being
a directory.

Rules: ``file_server`` without a ``root`` would serve the working directory and the Caddyfile in it, and is refused.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State, read_expr, read_query
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Action, Deny, Files, Rewrite, When
from vestibule.model.expr import EMPTY, Call, Compare, Const, Default, Expr

_UTF8 = "; charset=utf-8"
TYPES = (
    *(("css", "text/css" + _UTF8), ("csv", "text/csv" + _UTF8), ("htm", "text/html" + _UTF8), ("html", "text/html" + _UTF8)),
    *(("js", "text/javascript" + _UTF8), ("mjs", "text/javascript" + _UTF8), ("txt", "text/plain" + _UTF8)),
)
"""Content-Types that Caddy gives otherwise than they are known here."""

_INDEX = ("index.html", "index.txt")
_OPTIONS = (
    *("fs", "root", "hide", "index", "browse", "precompressed", "status", "disable_canonical_uris", "pass_thru"),
    "etag_file_extensions",
)
_CODINGS: tuple[Literal["br", "zstd", "gzip"], ...] = ("br", "zstd", "gzip")
_POLICIES = ("first_exist", "first_exist_fallback")


@dataclass(frozen=True, slots=True)
class Try:
    """One of the paths to look for: where it leads, and what is there now; a status ends the looking."""

    path: Expr
    query: Expr | None = None
    found: Expr = EMPTY
    status: int = 0


class FileReader:
    """Reads the directives about files of one Caddyfile."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def root(self, segment: Segment, first: int) -> str:
        """Read ``root [MATCHER] DIRECTORY``; empty, noted, if it cannot be read."""
        # A lone `*` is a matcher, and the matchers have taken it.
        words = segment.tokens[first:]
        if len(words) != 1:
            self._report.error(segment.head, "syntax", "`root` needs a directory", "write `root * /srv/www`")
            return ""
        if "{" in words[0].text:
            self._report.not_built(words[0], "a placeholder in a directory", "write the directory")
            return ""
        return words[0].text

    def server(self, segment: Segment, first: int, root: str) -> Files | None:
        """Read ``file_server``; None, noted, if it cannot be carried out."""
        found = Files(root, index=_INDEX, types=TYPES, hidden=True, slash="path")
        for token in segment.tokens[first:]:
            if token.text == "browse":
                found = replace(found, listing=True)
            elif found.listing:
                self._report.not_built(token, "a template of Go for lists of directories", "leave it out; vestibule has a page of its own")
            else:
                self._report.error(token, "syntax", f"`{token.text}` is not expected here", "write `file_server` or `file_server browse`")
        for line in segment.inside():
            if line.name == "root":
                found = replace(found, root=self.root(line, 1))
        for line in segment.inside():
            found = self._option(found, line)
        if not found.root:
            message, hint = "`file_server` needs a `root`", "write `root * /srv/www`; the working directory is not served"
            self._report.error(segment.head, "missing", message, hint)
            return None
        return found

    def _option(self, found: Files, line: Segment) -> Files:
        words = line.texts()
        if line.name == "index":
            return replace(found, index=tuple(words))
        if line.name == "hide":
            return replace(found, hide=(*found.hide, *[name for token in line.tokens[1:] for name in self._hidden(token, found.root)]))
        if line.name == "browse":
            if words:
                self._report.not_built(
                    line.token(1), "a template of Go for lists of directories", "leave it out; vestibule has its own page"
                )
            for inner in line.inside():
                self._report.left_out(
                    inner.head, f"`{inner.name}` of `browse`", "a list says nothing of where links lead, and clients sort it"
                )
            return replace(found, listing=True)
        if line.name == "precompressed":
            for token in line.tokens[1:]:
                if token.text not in _CODINGS:
                    self._report.error(token, "bad-value", f"`{token.text}` is no format", near(token.text, _CODINGS))
            return replace(found, precompressed=tuple([each for word in words for each in _CODINGS if each == word]) if words else _CODINGS)
        if line.name == "status":
            text = "".join(words)
            if text.isdecimal() and len(text) == 3 and 200 <= int(text) <= 599:
                return replace(found, status=int(text))
            self._report.error(line.token(1), "out-of-range", f"`{text}` is no status here", "use 200 to 599")
        elif line.name == "disable_canonical_uris":
            return replace(found, slash="stay")
        elif line.name not in _OPTIONS:
            self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `file_server`", near(line.name, _OPTIONS))
        elif line.name not in ("root", "pass_thru"):  # the flow's
            self._report.not_built(line.head, f"`{line.name}` of `file_server`", "leave it out")
        return found

    def _hidden(self, token: Token, root: str) -> list[str]:
        """Return what is hidden as the model has it: a name anywhere, or a path below the root."""
        text = token.text.removeprefix("./") if root in (".", "./") else token.text
        if "[" in text or "{" in text:
            self._report.not_built(token, f"the pattern `{text}`", "write a name, with `*` if need be")
            return []
        if "/" not in text.rstrip("/"):
            return [text.rstrip("/")]
        whole = root.rstrip("/") + "/"
        if text.startswith(whole):
            return ["/" + text.removeprefix(whole)]
        if text.startswith("/"):
            return []  # it is not below the root, and nobody gets it
        self._report.not_built(token, "a path that counts from the working directory", f"write `{whole}{text}`, or a name alone")
        return []

    def passes(self, segment: Segment) -> bool:
        """Tell whether who comes after ``file_server`` answers where no file is."""
        return any(line.name == "pass_thru" for line in segment.inside())

    def tries(self, segment: Segment, first: int, state: State) -> tuple[Try, ...]:
        """Read the paths of ``try_files``; empty, noted, if one cannot be read."""
        policy = ""
        for line in segment.inside():
            policy = self.policy(line) if line.name == "policy" else policy
            if line.name != "policy":
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `try_files`", "write `policy`")
        found = self.read_tries(segment.tokens[first:], state, policy == "first_exist_fallback")
        if not segment.tokens[first:]:
            self._report.error(segment.head, "missing", "`try_files` needs paths", "write `try_files {path} /index.html`")
        elif found and not state.root:
            self._report.error(segment.head, "missing", "`try_files` needs a `root`", "write `root * /srv/www`")
            return ()
        return found

    def policy(self, line: Segment) -> str:
        """Read how one of the files is chosen; empty, noted, where that cannot be had."""
        word = "".join(line.texts())
        if word in _POLICIES:
            return word
        self._report.not_built(line.token(1), f"the policy `{word}`", "leave it out; the first that is there is taken")
        return ""

    def read_tries(self, tokens: tuple[Token, ...], state: State, last_is_there: bool = False) -> tuple[Try, ...]:
        """Read paths to look for; empty, noted, if one cannot be read."""
        found: list[Try] = []
        for token in tokens:
            text = token.text
            if text.startswith("="):
                if not (text[1:].isdecimal() and 400 <= int(text[1:]) <= 599) or token is not tokens[-1]:
                    self._report.error(token, "bad-value", f"`{text}` is no status that ends looking for files", "write `=404`, at the end")
                    return ()
                found.append(Try(Const(""), status=int(text[1:])))
                continue
            if "*" in text:
                self._report.not_built(token, "a pattern in a path to look for", "write paths")
                return ()
            plain, mark, asked = text.partition("?")
            path = read_expr(replace(token, text=plain), replace(state, wire=True), self._report)
            query = read_query(token, asked, state, self._report) if mark else None
            if path is None or (mark and query is None):
                return ()
            if not isinstance(path, Const) and not plain.endswith("/"):
                path = Call("trim_end", (path, Const("/")))  # a directory is only what says so itself
            there = path if last_is_there and token is tokens[-1] else Call("existing", (Const(state.root), path))
            found.append(Try(path, query, there))
        return tuple(found)


def first_found(tries: tuple[Try, ...]) -> Expr:
    """Return the first path that is there; empty where none is."""
    chain: Expr = tries[-1].found
    for each in reversed(tries[:-1]):
        chain = Default(each.found, chain)
    return chain


def rewritten(tries: tuple[Try, ...]) -> tuple[Action, ...]:
    """Return the actions by which the first path that is there becomes the target."""
    actions: tuple[Action, ...] = ()
    for each in reversed(tries):
        if each.status:
            actions = (Deny(each.status),)
        elif each.found == each.path:
            actions = (Rewrite(each.path, each.query),)
        else:
            actions = (When(Compare("!=", each.found, Const("")), (Rewrite(each.path, each.query),), actions),)
    return actions
