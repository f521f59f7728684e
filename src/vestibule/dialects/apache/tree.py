"""Lines to directives and sections; defines, conditions and includes are dealt with here.

Facts:
* Names are the same in any case. ``Include`` of a directory takes all files in it; ``IncludeOptional`` may match nothing.
* ``IfModule``, ``IfDefine`` and ``IfVersion`` are decided while the file is read. vestibule stands for a current httpd 2.4 that has
  loaded the modules of ``MODULES``; ``LoadModule`` changes nothing.
* A value of ``Define`` is put in from there on, in every file; what none defines, the environment may know.
* ``<Macro>`` keeps lines, and ``Use`` reads them with its arguments put in.

Rules: a section keeps its place. A condition on a module that is not there hides what is inside, and says so.

Not here: what directives mean (``directives`` and ``lower``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vestibule.dialects.apache.directives import DIRECTIVES, How
from vestibule.dialects.apache.lexer import Line, Word, lines, name_of, words
from vestibule.dialects.read import ReadText, find_files, is_pattern
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span

MAX_DEPTH = 32
"""Sections inside sections, and files inside files."""

VERSION = (2, 4, 62)

_MODULE_NAMES = (
    "alias auth_basic authn_core authn_file authz_core authz_host authz_user core deflate dir env headers http2 lbmethod_byrequests"
    " log_config mime mpm_event proxy proxy_balancer proxy_http proxy_wstunnel remoteip reqtimeout rewrite setenvif slotmem_shm"
    " socache_shmcb ssl unixd watchdog logio filter version http so access_compat allowmethods authz_groupfile brotli expires"
    " lbmethod_bybusyness lbmethod_bytraffic macro md proxy_hcheck proxy_http2 ratelimit status"
)
MODULES = frozenset(_MODULE_NAMES.split())
"""Modules whose directives are known here, without the affixes of their names."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_:.-]*)\}")
_CONDITIONS = ("ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection")


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """A name in lower case with its arguments, and what is inside where it is a section."""

    name: str
    written: str
    args: tuple[Word, ...]
    span: Span
    raw: str = ""
    """The arguments as they stand, for those that split them in their own way."""
    block: tuple[Directive, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments without their places."""
        return tuple([word.text for word in self.args])

    def text(self, at: int = 0) -> str:
        """Return one argument, or nothing where there is none."""
        return self.args[at].text if at < len(self.args) else ""

    def place(self, at: int) -> Span:
        """Return the place of one argument, or of the directive where there is none."""
        return self.args[at].span if at < len(self.args) else self.span


@dataclass(frozen=True, slots=True)
class _Macro:
    """Lines that are read where they are used, and the names in them that are replaced."""

    parameters: tuple[str, ...]
    rows: tuple[Line, ...]


class Tree:
    """Reads a file with all that it includes."""

    def __init__(self, record: Record, read_text: ReadText) -> None:
        self._record = record
        self._read_text = read_text
        self._open: list[str] = []
        self._macros: dict[str, _Macro] = {}
        self._using: list[str] = []
        self.defines: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.files: list[str] = []

    def read(self, name: str, text: str) -> list[Directive]:
        """Return the directives of a text."""
        self.files.append(name)
        self._open.append(name)
        found, _ = self._block(lines(name, text), 0, None, 0)
        self._open.pop()
        return found

    def _block(self, rows: list[Line], at: int, opened: Line | None, depth: int) -> tuple[list[Directive], int]:
        """Read up to the end of a section, or of the text where ``opened`` is None; return where to go on."""
        found: list[Directive] = []
        if depth > MAX_DEPTH and opened is not None:
            self._record.error(opened.span, "too-deep", f"sections are nested more than {MAX_DEPTH} deep")
            return found, len(rows)
        while at < len(rows):
            line = self._filled(rows[at])
            at += 1
            if line.text.startswith("</"):
                if opened is not None and name_of(line).lower() == name_of(opened).lower():
                    return found, at
                expected = f"`</{name_of(opened)}>`" if opened is not None else "no end of a section"
                self._record.error(line.span, "syntax", f"{expected} is expected here, not `{line.text}`")
                return found, len(rows)
            if line.text.startswith("<") and name_of(line).lower() == "macro":
                end = _after(rows, at, "macro")
                self._keep_macro(self._directive(line), rows[at : end - 1])
                at = end
            elif line.text.startswith("<") and name_of(line).lower() in _CONDITIONS and not self._holds(self._directive(line)):
                at = _after(rows, at, name_of(line).lower())
            elif line.text.startswith("<"):
                inside, at = self._block(rows, at, line, depth + 1)
                found.extend(self._section(line, inside))
            else:
                found.extend(self._plain(line))
        if opened is not None:
            self._record.error(opened.span, "syntax", f"`<{name_of(opened)}>` is never closed", f"add `</{name_of(opened)}>`")
        return found, at

    def _filled(self, line: Line) -> Line:
        """Put in what is defined."""
        text = _VARIABLE.sub(lambda found: self.defines.get(found[1], self.environment.get(found[1], found[0])), line.text)
        return Line(text, line.span)

    def _directive(self, line: Line) -> Directive:
        name = name_of(line)
        begin = line.text.index(name) + len(name)
        rest = line.text[begin:]
        if line.text.startswith("<"):
            rest = rest.rstrip()
            if not rest.endswith(">"):
                self._record.error(line.span, "syntax", f"`<{name}` has no `>` at its end")
            rest = rest.removesuffix(">")
        start = Span(line.span.file, line.span.line, line.span.column + begin)
        return Directive(
            name.lower(), name, tuple(words(rest, start, name.lower() in ("rewritecond", "rewriterule"))), line.span, rest.strip()
        )

    def _section(self, line: Line, inside: list[Directive]) -> list[Directive]:
        directive = self._directive(line)
        if directive.name in _CONDITIONS:
            return inside
        made = Directive(directive.name, directive.written, directive.args, directive.span, directive.raw, tuple(inside))
        return [made]

    def _holds(self, directive: Directive) -> bool:
        """Decide a condition on the program."""
        text = directive.text()
        wanted = not text.startswith("!")
        bare = text.removeprefix("!")
        if directive.name == "ifmodule":
            module = bare.lower().removesuffix(".c").removeprefix("mod_").removesuffix("_module")
            if wanted and module not in MODULES:
                self._record.warning(directive.span, "left-out", f"what needs the module `{bare}` is left out", "it has no part here")
            return (module in MODULES) == wanted
        if directive.name == "ifdefine":
            return (bare in self.defines) == wanted
        if directive.name == "ifversion":
            return self._is_version(directive)
        if directive.name == "ifdirective":
            row = DIRECTIVES.get(bare.lower())
            return (row is not None and row.how is not How.MISSING) == wanted
        if directive.name == "ifsection":
            row = DIRECTIVES.get(bare.strip("<>").lower())
            return (row is not None and row.section and row.how is not How.MISSING) == wanted
        return self._is_file(bare) == wanted

    def _is_file(self, path: str) -> bool:
        try:
            self._read_text(path)
        except (IsADirectoryError, UnicodeError):
            return True
        except OSError:
            return False
        return True

    def _is_version(self, directive: Directive) -> bool:
        operator, number = directive.texts if len(directive.args) == 2 else ("=", directive.text())
        parts = number.split(".")
        if not all(part.isdecimal() for part in parts):
            self._record.error(directive.span, "not-built", "only plain numbers are compared in `<IfVersion>`", "write `>= 2.4`")
            return False
        wanted = tuple([int(part) for part in parts])
        have = VERSION[: len(wanted)]
        results = {"=": have == wanted, "==": have == wanted, ">": have > wanted, ">=": have >= wanted, "<": have < wanted}
        results["<="] = have <= wanted
        negated = operator.startswith("!")
        plain = operator.removeprefix("!")
        if plain not in results:
            self._record.error(directive.place(0), "bad-value", f"`{operator}` compares no versions")
            return False
        return results[plain] != negated

    def _plain(self, line: Line) -> list[Directive]:
        directive = self._directive(line)
        if directive.name == "define":
            self.defines[directive.text(0)] = directive.text(1)
            return []
        if directive.name == "undefine":
            self.defines.pop(directive.text(0), None)
            return []
        if directive.name == "use":
            return self._use(directive)
        if directive.name == "undefmacro":
            self._macros.pop(directive.text(0).lower(), None)
            return []
        if directive.name == "error":
            self._record.error(directive.span, "asked-for", directive.text(0) or "the configuration says that it is wrong")
            return []
        if directive.name in ("include", "includeoptional"):
            return self._include(directive, directive.name == "includeoptional")
        return [directive]

    def _keep_macro(self, directive: Directive, rows: list[Line]) -> None:
        """Remember a macro."""
        if not directive.args:
            self._record.error(directive.span, "arguments", "a macro needs a name", "write `<Macro Name $parameter>`")
            return
        self._macros[directive.text(0).lower()] = _Macro(directive.texts[1:], tuple(rows))

    def _use(self, directive: Directive) -> list[Directive]:
        """Return what a macro says with these arguments."""
        name = directive.text(0).lower()
        macro = self._macros.get(name)
        given = directive.texts[1:]
        if macro is None:
            self._record.error(directive.place(0), "unknown-reference", f"there is no macro `{directive.text(0)}`", "write it above")
            return []
        if len(given) != len(macro.parameters):
            message = f"the macro `{directive.text(0)}` takes {len(macro.parameters)} arguments, and has {len(given)} here"
            self._record.error(directive.span, "arguments", message)
            return []
        if name in self._using or len(self._using) > MAX_DEPTH:
            self._record.error(directive.span, "too-deep", f"the macro `{directive.text(0)}` uses itself")
            return []
        self._using.append(name)
        # The longest first: `$name` must not be taken for `$n`.
        pairs = sorted(zip(macro.parameters, given, strict=True), key=lambda each: -len(each[0]))
        found, _ = self._block([Line(_replaced(row.text, pairs), row.span) for row in macro.rows], 0, None, 0)
        self._using.pop()
        return found

    def _include(self, directive: Directive, optional: bool) -> list[Directive]:
        name = directive.text(0)
        if len(self._open) > MAX_DEPTH:
            self._record.error(directive.span, "too-deep", f"files include each other more than {MAX_DEPTH} deep")
            return []
        if not is_pattern(name):
            return self._include_one(directive, name, optional)
        found: list[Directive] = []
        names = find_files(self._read_text, name)
        if not names and not optional:
            self._record.error(directive.place(0), "include", f"`{name}` matches no file", "write `IncludeOptional`")
        for each in names:
            found.extend(self._include_one(directive, each, False))
        return found

    def _include_one(self, directive: Directive, path: str, optional: bool) -> list[Directive]:
        if path in self._open:
            self._record.error(directive.place(0), "include", f"`{path}` includes itself")
            return []
        try:
            return self.read(path, self._read_text(path))
        except IsADirectoryError:
            found: list[Directive] = []
            for each in find_files(self._read_text, f"{path.rstrip('/')}/*"):
                found.extend(self._include_one(directive, each, True))
            return found
        except UnicodeError:
            self._record.error(directive.place(0), "include", f"`{path}` is not UTF-8", "save the file as UTF-8")
        except OSError as bad:
            if not optional:
                self._record.error(directive.place(0), "include", f"`{path}` cannot be read: {bad.strerror or bad}", "check the path")
        return []


def _replaced(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a text with each name replaced by its value; what a value says is not looked at again."""
    values = dict(pairs)
    names = [re.escape(name) for name, _ in pairs if name]
    return re.sub("|".join(names), lambda found: values[found[0]], text) if names else text


def _after(rows: list[Line], at: int, name: str) -> int:
    """Return where a section that is left out ends."""
    depth = 1
    while at < len(rows) and depth:
        line = rows[at]
        at += 1
        if line.text.startswith("<") and name_of(line).lower() == name:
            depth += -1 if line.text.startswith("</") else 1
    return at
