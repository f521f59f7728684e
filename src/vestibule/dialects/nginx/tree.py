"""Words to directives, includes followed.

Facts: ``include`` may stand anywhere and takes a pattern; a pattern that matches nothing is no mistake, a plain name that
cannot be read is one. Names count from the directory of the main file.

Rules: a directive keeps the place of its name. Includes are nested a bounded number of times, and a file that is being
read is not read again inside itself.

Not here: which directives there are (``directives``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.nginx.lexer import Lexer, Word
from vestibule.dialects.read import ReadText, find_files, is_pattern
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span

MAX_DEPTH = 32
"""Blocks inside blocks, and files inside files. Nobody writes more; recursion stays bounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """A name with its arguments, and a block where it has one."""

    name: str
    args: tuple[Word, ...]
    span: Span
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


class Tree:
    """Reads a file with all that it includes."""

    def __init__(self, record: Record, read_text: ReadText) -> None:
        self._record = record
        self._read_text = read_text
        self._open: list[str] = []
        self.files: list[str] = []

    def read(self, name: str, text: str) -> tuple[Directive, ...]:
        """Return the directives of a text."""
        self.files.append(name)
        self._open.append(name)
        lexer = Lexer(name, text)
        words = lexer.words()
        reader = _Reader(words, Span(name, text.count("\n") + 1, 0), self)
        found = reader.block(0, None)
        if lexer.broken is not None:
            self._record.error(lexer.broken.span, "syntax", lexer.broken.message, lexer.broken.hint)
        elif reader.mistake is not None:
            self._record.error(reader.mistake[0], "syntax", reader.mistake[1], reader.mistake[2])
        self._open.pop()
        return tuple(found)

    def include(self, directive: Directive) -> tuple[Directive, ...]:
        """Return the directives of the files that an ``include`` names."""
        if len(directive.args) != 1 or directive.block is not None:
            self._record.error(directive.span, "arguments", "`include` takes one file name or pattern")
            return ()
        name = directive.text()
        if len(self._open) > MAX_DEPTH:
            self._record.error(directive.span, "too-deep", f"files include each other more than {MAX_DEPTH} deep")
            return ()
        found: list[Directive] = []
        for path in find_files(self._read_text, name) if is_pattern(name) else [name]:
            found.extend(self._include_one(directive, path))
        return tuple(found)

    def _include_one(self, directive: Directive, path: str) -> tuple[Directive, ...]:
        span = directive.place(0)
        if path in self._open:
            self._record.error(span, "include", f"`{path}` includes itself")
            return ()
        try:
            text = self._read_text(path)
        except UnicodeError:
            self._record.error(span, "include", f"`{path}` is not UTF-8", "save the file as UTF-8")
            return ()
        except OSError as bad:
            # The table of media types serves files; a proxy can do without.
            if path.rpartition("/")[2] == "mime.types":
                return ()
            self._record.error(span, "include", f"`{path}` cannot be read: {bad.strerror or bad}", "check the path")
            return ()
        return self.read(path, text)


class _Reader:
    """Puts the words of one text together."""

    def __init__(self, words: list[Word], end: Span, tree: Tree) -> None:
        self._words = words
        self._end = end
        self._tree = tree
        self._at = 0
        self.mistake: tuple[Span, str, str] | None = None

    def block(self, depth: int, opened: Directive | None) -> list[Directive]:
        """Read directives up to the end of a block, or of the text where ``opened`` is None."""
        found: list[Directive] = []
        if depth > MAX_DEPTH:
            self._fail(self._end if opened is None else opened.span, f"blocks are nested more than {MAX_DEPTH} deep", "")
        while self.mistake is None:
            if self._at >= len(self._words):
                if opened is not None:
                    self._fail(opened.span, f"the block of `{opened.name}` is never closed", "a `}` is missing")
                break
            word = self._words[self._at]
            self._at += 1
            if word.mark == "}":
                if opened is None:
                    self._fail(word.span, "there is no block to close here", "take the `}` away")
                break
            if word.mark:
                self._fail(word.span, f"a directive is expected here, not `{word.mark}`", "")
                break
            directive = self._directive(word, depth)
            if directive is None:
                break
            if directive.name == "include":
                found.extend(self._tree.include(directive))
            else:
                found.append(directive)
        return found

    def _directive(self, name: Word, depth: int) -> Directive | None:
        args: list[Word] = []
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if word.mark == ";":
                return Directive(name.text, tuple(args), name.span)
            if word.mark == "{":
                opened = Directive(name.text, tuple(args), name.span)
                return Directive(name.text, tuple(args), name.span, tuple(self.block(depth + 1, opened)))
            if word.mark == "}":
                self._fail(word.span, f"`{name.text}` is not ended", "a `;` is missing before the `}`")
                return None
            args.append(word)
        self._fail(name.span, f"`{name.text}` is not ended", "a `;` is missing")
        return None

    def _fail(self, span: Span, message: str, hint: str) -> None:
        if self.mistake is None:
            self.mistake = (span, message, hint)
