"""Sections of a haproxy.cfg, and what proxies inherit.

Facts (HAProxy configuration manual, chapter 4): a section begins with its keyword, however it is indented, and ends
where the next begins. A proxy inherits from the ``defaults`` section it names with ``from``, else from the last one
before it. ``listen`` is a frontend and a backend in one.

Rules: an inherited line stands before the proxy's own, so the last one said wins.

Not here: what directives mean (``directives``, ``lower``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vestibule.dialects.haproxy.directives import DIRECTIVES, SECTIONS, Directive
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.report import NOT_BUILT, Report
from vestibule.model.diagnostic import did_you_mean

_LETTERS = {"global": "G", "defaults": "D", "frontend": "F", "listen": "L", "backend": "B", "userlist": "U", "http-errors": "E"}

_NEEDS_NAME = ("frontend", "listen", "backend", "userlist", "http-errors")


@dataclass(slots=True)
class Section:
    """One section: its keyword, name, the line it begins with, and the directives in it, known and in their place."""

    kind: str
    name: str
    head: Line
    lines: list[Statement] = field(default_factory=list)
    parent: Section | None = None

    def effective(self) -> list[Statement]:
        """Return inherited statements and then its own."""
        return [*(self.parent.effective() if self.parent is not None else []), *self.lines]


@dataclass(frozen=True, slots=True)
class Statement:
    """One line with the directive it is. ``arguments`` begin at the word ``first``; ``negated`` is ``no`` before it."""

    directive: Directive
    line: Line
    first: int
    negated: bool = False

    @property
    def name(self) -> str:
        """The directive's name, all its words."""
        return self.directive.name

    def arguments(self) -> list[str]:
        """Return the words after the directive's name."""
        return self.line.texts(self.first)


def number_of(section: Section, usual: int) -> str:
    """Return the number of a proxy: its ``id``, or what it is counted as."""
    said = ["".join(each.arguments()[:1]) for each in section.lines if each.name == "id"]
    return said[-1] if said and said[-1].isdecimal() else str(usual)


def read_sections(lines: list[Line], report: Report) -> list[Section]:
    """Group lines into sections, settle what inherits from what, and find directives that are unknown or misplaced."""
    sections: list[Section] = []
    current: Section | None = None
    outside = False
    for line in lines:
        word = line.text(0)
        if word in SECTIONS or word in _LETTERS:
            current = _section(line, sections, report)
            sections.append(current)
        elif word.startswith("."):
            report.not_built(line, 0, f"the conditional block `{word}`", "write the lines that hold")
        elif current is None:
            if not outside:
                report.error(line, 0, "outside", f"`{word}` stands before the first section", _outside_hint(word))
            outside = True
        elif current.kind in _LETTERS:
            statement = _statement(line, _LETTERS[current.kind], report)
            if statement is not None:
                current.lines.append(statement)
    return sections


def _outside_hint(word: str) -> str:
    near = did_you_mean(word, [*_LETTERS, *SECTIONS])
    return near if near.startswith("did") else "begin with `frontend NAME`, `backend NAME` or `listen NAME`"


def _section(line: Line, before: list[Section], report: Report) -> Section:
    """Begin a section."""
    kind = line.text(0)
    words = line.texts(1)
    name = words[0] if words and words[0] != "from" else ""
    section = Section(kind, name, line)
    if kind in SECTIONS:
        state, message = SECTIONS[kind]
        if state == "harmless":
            report.warning(line, 0, "left-out", f"the section `{kind}` is left out", message)
        else:
            report.error(line, 0, "not-built", f"the section `{kind}`: {NOT_BUILT}", message)
        return section
    if kind in _NEEDS_NAME and not name:
        report.error(line, 0, "missing", f"a {kind} needs a name", f"write `{kind} NAME`")
    if name:
        _check_twice(section, before, report)
    if kind in ("frontend", "listen", "backend", "defaults"):
        _inherit(section, words, before, report)
    return section


def _check_twice(section: Section, before: list[Section], report: Report) -> None:
    """HAProxy allows a frontend and a backend of one name, and nothing else twice."""
    sides = {"frontend": {"F"}, "backend": {"B"}, "listen": {"F", "B"}}
    for other in before:
        same_side = bool(sides.get(section.kind, {section.kind}) & sides.get(other.kind, {other.kind}))
        if other.name == section.name and same_side:
            report.error(section.head, 1, "duplicate-name", f"the {other.kind} `{other.name}` is on line {other.head.number} already")
            return


def _inherit(section: Section, words: list[str], before: list[Section], report: Report) -> None:
    defaults = [each for each in before if each.kind == "defaults"]
    if "from" in words:
        at = words.index("from")
        wanted = words[at + 1] if at + 1 < len(words) else ""
        named = [each for each in defaults if each.name == wanted]
        if named:
            section.parent = named[-1]
        else:
            hint = did_you_mean(wanted, [each.name for each in defaults if each.name])
            report.error(section.head, at + 1, "unknown-reference", f"there is no earlier `defaults {wanted}`", hint)
    elif defaults and section.kind != "defaults":
        section.parent = defaults[-1]


def _statement(line: Line, letter: str, report: Report) -> Statement | None:
    """Find the directive of a line; None, noted, where there is none or it is left out."""
    first = 0
    negated = line.text(0) == "no"
    if negated or line.text(0) == "default":
        first = 1
    name, used = _name_of(line, first)
    directive = DIRECTIVES.get(name)
    if directive is None or letter not in directive.contexts:
        _tell_unknown(line, first, name, letter, directive, report)
        return None
    if negated and not (name.startswith("option ") or name in ("log", "compression", "busy-polling")):
        report.error(line, 0, "syntax", f"`no` does not go with `{name}`")
        return None
    if directive.state == "harmless" and not negated:
        report.warning(line, first, "left-out", f"`{name}` is left out", directive.advice)
        return None
    if directive.state == "error" and not negated:
        report.error(line, first, "not-built", f"`{name}`: {NOT_BUILT}", directive.advice)
        return None
    return Statement(directive, line, first + used, negated)


def _name_of(line: Line, first: int) -> tuple[str, int]:
    """Return the directive's name and how many words it has. Options and time-outs are named with their second word."""
    one = line.text(first)
    two = f"{one} {line.text(first + 1)}"
    if two in DIRECTIVES:
        return two, 2
    rule = line.text(first + 1).partition("(")[0]
    rule = "lua" if rule.startswith("lua.") else rule
    if f"{one} {rule}" in DIRECTIVES:
        return f"{one} {rule}", 1
    if one in DIRECTIVES:
        return one, 1
    is_family = any(name.startswith(f"{one} ") for name in DIRECTIVES)
    return (two.strip(), 2) if is_family and line.text(first + 1) else (one, 1)


def _tell_unknown(line: Line, first: int, name: str, letter: str, directive: Directive | None, report: Report) -> None:
    if directive is not None:
        where = ", ".join([kind for kind, each in _LETTERS.items() if each in directive.contexts])
        report.error(line, first, "misplaced", f"`{name}` does not belong here", f"it goes into {where}")
        return
    here = [each for each, row in DIRECTIVES.items() if letter in row.contexts]
    family = [each for each in here if each.startswith(f"{line.text(first)} ")]
    hint = did_you_mean(name, family or here)
    if not hint.startswith("did") and not family:
        hint = "see the matrix of directives"
    report.error(line, first, "unknown-directive", f"there is no directive `{name}`", hint)
