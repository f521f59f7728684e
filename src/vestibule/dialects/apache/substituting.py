"""mod_substitute: other texts in the place of some in the bodies of answers.

Facts: a rule is ``s/TEXT/OTHER/FLAGS`` with any character in the place of the slash; ``n`` takes the text as it stands, ``i`` whatever its
case. Rules are done in order, those of a section before those around it, and only where the filter ``SUBSTITUTE`` is put in.

Rules: texts are replaced, no patterns: a pattern that is a plain text is one. Case is never regarded, so a rule without ``i`` is an error
where its text has letters.

Not here: the filters themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vestibule.dialects.apache.fields import conditional
from vestibule.dialects.apache.pacing import filters_of
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.sections import Section
from vestibule.dialects.apache.tree import Directive
from vestibule.model.config import Action, Substitute
from vestibule.model.expr import Const

SUBSTITUTE = "substitute"

_FLAGS = frozenset("infq")

# What is no text of its own in a pattern.
_SPECIAL = re.compile(r"[][^$*+?.(){}|\\]")


def substitutions(scope: Scope, sections: Sequence[Section]) -> tuple[Action, ...]:
    """Return what is changed in the bodies of answers."""
    outer = [*scope.own("Substitute"), *(scope.outer.own("Substitute") if scope.outer is not None else [])]
    always = _types(scope.all("AddOutputFilterByType", "SetOutputFilter"))
    made: list[Action] = []
    for section in reversed(sections):
        around = [each for each in section.around if each is not scope and each is not scope.outer]
        filters = section.scope.own("AddOutputFilterByType", "SetOutputFilter")
        known = always + _types([each for one in around for each in one.own("AddOutputFilterByType", "SetOutputFilter")])
        fresh = [] if "*" in known else [each for each in _types(filters) if each not in known]
        inherited = [each for one in around for each in one.own("Substitute")] + outer
        if "*" in fresh and known and inherited:
            not_built(scope.record, filters[0], 0, "all types here, and rules for some of them outside", "name the types")
        actions = (*_actions(scope, section.scope.own("Substitute"), known + fresh), *_actions(scope, inherited, fresh))
        made += conditional(section.later, actions)
    return (*made, *_actions(scope, outer, always))


def _types(directives: Sequence[Directive]) -> list[str]:
    """Return the media types of which the bodies are changed."""
    types: list[str] = []
    for directive in directives:
        if SUBSTITUTE in filters_of(directive):
            types += ["*"] if directive.name == "setoutputfilter" else [word.lower() for word in directive.texts[1:]]
    return types


def _actions(scope: Scope, rules: Sequence[Directive], types: Sequence[str]) -> tuple[Action, ...]:
    read = [_read(scope, rule) for rule in rules]
    kinds = ("*",) if "*" in types else tuple(dict.fromkeys(types))
    return tuple([Substitute(((each[0], Const(each[1])),), kinds, once=False) for each in read if each is not None]) if kinds else ()


def _read(scope: Scope, directive: Directive) -> tuple[str, str] | None:
    """Return the text and the other one of a rule; None, noted, where it is no such rule."""
    rule = directive.text()
    parts = rule[2:].split(rule[1]) if len(rule) > 2 else []
    if not rule.lower().startswith("s") or len(parts) not in (2, 3) or not parts[0]:
        scope.record.error(directive.place(0), "bad-value", f"`{rule}` is no rule of texts", "write `s|text|other|ni`")
        return None
    text, other, flags = (*parts, "")[:3]
    if not set(flags.lower()) <= _FLAGS:
        scope.record.error(directive.place(0), "bad-value", f"`{flags}` are no flags of a rule", "write `s|text|other|ni`")
        return None
    if "n" not in flags.lower():
        text = re.sub(r"\\([^A-Za-z0-9])", lambda found: f"\0{ord(found[1]):03d}", text)
        if _SPECIAL.search(text) or re.search(r"\$[0-9]", other):
            not_built(scope.record, directive, 0, "a pattern in `Substitute`", "write the text itself, with the flags `ni`")
            return None
        text = re.sub("\0([0-9]{3})", lambda found: chr(int(found[1])), text)
    if "i" not in flags.lower() and re.search("[A-Za-z]", text):
        not_built(scope.record, directive, 0, "replacing a text in this case alone", "add the flag `i`")
        return None
    return text, other
