"""Directives about files: ``root``, ``file_server``, ``try_files``.

Facts (Caddy's documentation of each): names with a dot are served; text has ``charset=utf-8``; a directory without its index is not
found; of ``try_files`` the first that is there replaces the path, one with ``/`` at its end being a directory.

Rules: ``file_server`` without a ``root`` would serve the working directory and the Caddyfile in it, and is refused.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

from dataclasses import replace

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State, read_expr
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Files
from vestibule.model.expr import Expr

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
        index: tuple[str, ...] = _INDEX
        for token in segment.tokens[first:]:
            if token.text == "browse":
                self._report.not_built(token, "`browse`", "directories are not listed")
            else:
                self._report.error(token, "syntax", f"`{token.text}` is not expected here", "write `file_server`")
        for line in segment.inside():
            if line.name == "root":
                root = self.root(line, 1)
            elif line.name == "index":
                index = tuple(line.texts())
            elif line.name == "precompressed":
                self._report.left_out(line.head, "`precompressed`", "files are sent as they are")
            elif line.name in _OPTIONS:
                self._report.not_built(line.head, f"`{line.name}` of `file_server`", "leave it out")
            else:
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `file_server`", near(line.name, _OPTIONS))
        if not root:
            message, hint = "`file_server` needs a `root`", "write `root * /srv/www`; the working directory is not served"
            self._report.error(segment.head, "missing", message, hint)
            return None
        return Files(root, index=index, types=TYPES, hidden=True)

    def tries(self, segment: Segment, first: int, state: State) -> tuple[Expr, ...]:
        """Read the paths of ``try_files``; empty, noted, if one cannot be read."""
        found: list[Expr] = []
        for token in segment.tokens[first:]:
            expr = self._path(token, state)
            if expr is None:
                return ()
            found.append(expr)
        for line in segment.inside():
            self._report.not_built(line.head, f"`{line.name}` of `try_files`", "leave it out; the first that is there is taken")
        if not found:
            self._report.error(segment.head, "missing", "`try_files` needs paths", "write `try_files {path} /index.html`")
        return tuple(found)

    def _path(self, token: Token, state: State) -> Expr | None:
        if "?" in token.text or token.text.startswith("="):
            self._report.not_built(token, "a query or a status in `try_files`", "write paths")
            return None
        return read_expr(token, replace(state, wire=True), self._report)
