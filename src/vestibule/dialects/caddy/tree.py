"""Blocks of a Caddyfile, with snippets and files put in where they are imported.

Facts (Caddy's documentation, "Caddyfile Concepts"): a first block without a key holds global options; ``(name)`` before a
block makes a snippet; any other key is an address of a site, several with commas between. Where a file holds one site,
its braces may be left out. ``import`` puts a snippet or files in its place; ``{args[0]}`` and ``{args[:]}`` are its
arguments.

A block behind an ``import`` stands in for ``{block}`` there, and what it has under a name for ``{blocks.NAME}``. ``&(name)``
before a block makes a named route. ``{env.NAME}`` and ``{file.PATH}`` are placeholders that do not depend on the request.

Rules: those two are put in here, where the environment and the files are known, except where a secret is better kept as
a reference (``_REFERENCES``).

Not here: what directives mean (``lower``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.caddy.lexer import Token, read_tokens
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.read import ReadText, environment_of, find_files, is_pattern
from vestibule.model.diagnostic import Span

_ARGUMENT = re.compile(r"\{args(?:\.([0-9]+)|\[([0-9]+)\])\}")
_ARGUMENTS = re.compile(r"\{args\[([0-9]*):([0-9]*)\]\}")

_ROUTE = re.compile(r"&\(([^()\s]+)\)")
_FIXED = re.compile(r"(?<!\\)\{(env|file)\.([^{}\s]+)\}")
_REFERENCES = frozenset(("dns", "acme_dns", "acme_eab", "eab"))

_MOST_DEPTH = 10
"""Imports inside imports; more is a circle."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A line of tokens, and the block behind it if there is one."""

    tokens: tuple[Token, ...]
    block: tuple[Segment, ...] | None = None

    @property
    def name(self) -> str:
        """The first token's text."""
        return self.tokens[0].text

    @property
    def head(self) -> Token:
        """The first token."""
        return self.tokens[0]

    @property
    def span(self) -> Span:
        """Where it begins."""
        return self.tokens[0].span

    def texts(self, first: int = 1) -> list[str]:
        """Return the texts of the tokens from an index on."""
        return [token.text for token in self.tokens[first:]]

    def token(self, at: int) -> Token:
        """Return a token by its index, or the last one where the line is shorter."""
        return self.tokens[min(at, len(self.tokens) - 1)]

    def inside(self) -> tuple[Segment, ...]:
        """Return what is in the block; nothing where there is none."""
        return self.block or ()


@dataclass(slots=True)
class SiteBlock:
    """The addresses of a site, and its directives."""

    keys: list[Token]
    segments: tuple[Segment, ...]


@dataclass(slots=True)
class File:
    """A whole configuration, imports done."""

    options: Segment | None = None
    sites: list[SiteBlock] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    routes: dict[str, tuple[Segment, ...]] = field(default_factory=dict)
    """Named routes."""


def read_file(name: str, text: str, read_text: ReadText, report: Report) -> File:
    """Read a Caddyfile with everything it imports."""
    return _Reader(name, read_text, report).file(text)


class _Reader:
    def __init__(self, name: str, read_text: ReadText, report: Report) -> None:
        self._name = name
        self._read_text = read_text
        self._report = report
        self._environment = environment_of(read_text)
        self._snippets: dict[str, tuple[Token, ...]] = {}
        self._file = File(names=[name])

    def file(self, text: str) -> File:
        """Read the whole file."""
        tokens = self._without_snippets(read_tokens(self._name, text, self._report.record, self._environment))
        tokens = self._put_fixed(self._expand(tokens, 0))
        at = 0
        if tokens and tokens[0].opens:
            block, at = self._block(tokens, 1, tokens[0])
            self._file.options = Segment((tokens[0],), block)
        while at < len(tokens):
            at = self._site(tokens, at)
        return self._file

    # ------------------------------------------------------------ imports

    def _without_snippets(self, tokens: list[Token]) -> list[Token]:
        """Take the snippets out and keep them by name."""
        kept: list[Token] = []
        depth = at = 0
        while at < len(tokens):
            token = tokens[at]
            is_name = token.fresh and token.text.startswith("(") and token.text.endswith(")") and not token.quoted
            if depth == 0 and is_name and at + 1 < len(tokens) and tokens[at + 1].opens:
                end = _end_of_block(tokens, at + 1)
                name = token.text[1:-1]
                if name in self._snippets:
                    self._report.error(token, "duplicate-name", f"the snippet `{name}` is here already")
                self._snippets[name] = tuple(tokens[at + 2 : end])
                at = end + 1
                continue
            depth += 1 if token.opens else -1 if token.closes else 0
            kept.append(token)
            at += 1
        return kept

    def _expand(self, tokens: list[Token], level: int) -> list[Token]:
        """Put imports in their places."""
        done: list[Token] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if not (token.fresh and token.text == "import" and not token.quoted):
                done.append(token)
                at += 1
                continue
            end = at + 1
            while end < len(tokens) and not tokens[end].fresh and not tokens[end].closes:
                end += 1
            words = tokens[at + 1 : end]
            block: list[Token] = []
            if words and words[-1].opens:
                closing = _end_of_block(tokens, end - 1)
                block = tokens[end:closing]
                words.pop()
                end = closing + 1
            if not words:
                self._report.error(token, "missing", "`import` needs the name of a snippet or of a file")
            elif level >= _MOST_DEPTH:
                self._report.error(token, "too-deep", "imports go round in a circle")
            else:
                done.extend(self._expand(self._imported(words, block), level + 1))
            at = end
        return done

    def _imported(self, words: list[Token], block: list[Token]) -> list[Token]:
        name = words[0].text
        if name in self._snippets:
            return _with_arguments(_with_block(list(self._snippets[name]), block), words[1:])
        files = find_files(self._read_text, name) if is_pattern(name) else [name]
        tokens: list[Token] = []
        for each in files:
            try:
                text = self._read_text(each)
            except (OSError, UnicodeError):
                hint = near(name, list(self._snippets)) if self._snippets else ""
                self._report.error(
                    words[0], "unreadable", f"there is no snippet and no readable file `{name}`", hint if hint.startswith("did") else ""
                )
                continue
            self._file.names.append(each)
            found = self._without_snippets(read_tokens(each, text, self._report.record, self._environment))
            tokens.extend(_with_arguments(_with_block(found, block), words[1:]))
        return tokens

    # ------------------------------------------------------------ what does not depend on requests

    def _put_fixed(self, tokens: list[Token]) -> list[Token]:
        """Put variables of the environment and contents of files in the places of their placeholders."""
        done: list[Token] = []
        names: list[str] = []
        line = ""
        for token in tokens:
            if token.closes:
                line = names.pop() if names else ""
            elif token.opens:
                names.append(line)
            elif token.fresh:
                line = token.text
            if line in _REFERENCES or _REFERENCES.intersection(names):
                done.append(token)
            else:
                done.append(self._settled(token))
        return done

    def _settled(self, token: Token) -> Token:
        """Return a token with what does not depend on requests put in."""
        parts: list[str] = []
        at = 0
        for found in _FIXED.finditer(token.text):
            parts += (token.text[at : found.start()], self._fixed(token, found))
            at = found.end()
        return replace(token, text="".join(parts) + token.text[at:]) if parts else token

    def _fixed(self, token: Token, found: re.Match[str]) -> str:
        """Return what such a placeholder stands for; as it is, where that is not known."""
        kind, name = found[1], found[2]
        if kind == "env":
            if self._environment is None:
                return found[0]
            if name not in self._environment:
                self._report.warning(token, "environment", f"the environment variable `{name}` is not set", "it is empty")
            value = self._environment.get(name, "")
        else:
            try:
                value = self._read_text(name).removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeError):
                self._report.error(token, "unreadable", f"the file `{name}` cannot be read")
                return ""
        return value.replace("{", "\\{").replace("}", "\\}")

    # ------------------------------------------------------------ blocks

    def _site(self, tokens: list[Token], at: int) -> int:
        """Read the site that begins at an index; return the index behind it."""
        keys: list[Token] = []
        first = tokens[at]
        while at < len(tokens) and not tokens[at].opens:
            token = tokens[at]
            if token.fresh and keys and not keys[-1].text.endswith(","):
                # A site without braces: what follows on the next lines are its directives, to the end of the file.
                if self._file.sites:
                    self._report.error(first, "syntax", f"`{first.text}` has no block", "with several sites, each needs its braces")
                segments, end = self._segments(tokens, at, None)
                self._file.sites.append(SiteBlock(_split_keys(keys), segments))
                return end
            if token.closes:
                self._report.error(token, "syntax", "this brace closes nothing")
                return at + 1
            keys.append(token)
            at += 1
        if at >= len(tokens):
            self._file.sites.append(SiteBlock(_split_keys(keys), ()))
            return at
        named = _ROUTE.fullmatch(first.text)
        if not keys:
            self._report.error(first, "syntax", "a block without an address", "global options stand at the beginning of the file")
        block, end = self._block(tokens, at + 1, tokens[at])
        if named is not None:
            if named[1] in self._file.routes:
                self._report.error(first, "duplicate-name", f"the route `{named[1]}` is here already")
            self._file.routes[named[1]] = block
        elif keys:
            self._file.sites.append(SiteBlock(_split_keys(keys), block))
        return end

    def _block(self, tokens: list[Token], at: int, opening: Token) -> tuple[tuple[Segment, ...], int]:
        return self._segments(tokens, at, opening)

    def _segments(self, tokens: list[Token], at: int, opening: Token | None) -> tuple[tuple[Segment, ...], int]:
        """Read lines until the block's end (or that of the file); return them with the index behind."""
        segments: list[Segment] = []
        while at < len(tokens):
            if tokens[at].closes:
                if opening is None:
                    self._report.error(tokens[at], "syntax", "this brace closes nothing")
                    at += 1
                    continue
                return tuple(segments), at + 1
            words = [tokens[at]]
            at += 1
            while at < len(tokens) and not tokens[at].fresh and not tokens[at].opens and not tokens[at].closes:
                words.append(tokens[at])
                at += 1
            block: tuple[Segment, ...] | None = None
            if at < len(tokens) and tokens[at].opens and not tokens[at].fresh:
                block, at = self._segments(tokens, at + 1, tokens[at])
            segments.append(Segment(tuple(words), block))
        if opening is not None:
            self._report.error(opening, "syntax", "this block is never closed", "end it with `}` on a line of its own")
        return tuple(segments), at


def _end_of_block(tokens: list[Token], opening: int) -> int:
    """Return the index of the brace that closes a block, or of the end."""
    depth = 0
    for at in range(opening, len(tokens)):
        depth += 1 if tokens[at].opens else -1 if tokens[at].closes else 0
        if depth == 0:
            return at
    return len(tokens)


def _split_keys(tokens: list[Token]) -> list[Token]:
    """Take the commas off addresses; one token may hold several."""
    keys: list[Token] = []
    for token in tokens:
        keys.extend([replace(token, text=part) for part in token.text.split(",") if part])
    return keys


def _with_block(tokens: list[Token], block: list[Token]) -> list[Token]:
    """Put the block of an import, and its parts, in the places of their placeholders."""
    done: list[Token] = []
    for token in tokens:
        if token.text == "{block}":
            chosen = block
        elif token.text.startswith("{blocks.") and token.text.endswith("}"):
            chosen = _part_of(block, token.text[len("{blocks.") : -1])
        else:
            done.append(token)
            continue
        done.extend([replace(each, fresh=token.fresh if at == 0 else each.fresh) for at, each in enumerate(chosen)])
    return done


def _part_of(block: list[Token], name: str) -> list[Token]:
    """Return what a block has under a name: the block behind it, or the rest of its line."""
    at = depth = 0
    while at < len(block):
        token = block[at]
        if depth == 0 and token.fresh and token.text == name:
            if at + 1 < len(block) and block[at + 1].opens:
                return block[at + 2 : _end_of_block(block, at + 1)]
            end = at + 1
            while end < len(block) and not block[end].fresh:
                end += 1
            return block[at + 1 : end]
        depth += 1 if token.opens else -1 if token.closes else 0
        at += 1
    return []


def _with_arguments(tokens: list[Token], given: list[Token]) -> list[Token]:
    """Put the arguments of an import into what it imports."""
    done: list[Token] = []
    for token in tokens:
        spread = _ARGUMENTS.fullmatch(token.text)
        if spread is not None:
            chosen = given[int(spread[1] or 0) : int(spread[2]) if spread[2] else None]
            done.extend([replace(token, text=each.text, quoted=True, fresh=token.fresh and at == 0) for at, each in enumerate(chosen)])
            continue

        def put(found: re.Match[str]) -> str:
            index = int(found[1] or found[2] or 0)
            return given[index].text if index < len(given) else found[0]

        text = _ARGUMENT.sub(put, token.text)
        done.append(token if text == token.text else replace(token, text=text))
    return done
