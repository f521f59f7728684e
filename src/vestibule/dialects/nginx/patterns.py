"""Regular expressions of nginx (PCRE) as Python writes them.

Facts:
* nginx matches bytes. A property such as ``\\p{L}`` is that of the sign with the number of the byte, as in Latin-1.
* Options set in the middle hold to the end of the group they stand in. Python knows them at the start and for a group of their own.

Rules: what Python has under another name is written so; what it has not is an error that names it.
"""

from __future__ import annotations

import re
import unicodedata

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
"""Classes of signs that Python has no names for; they stand inside brackets."""

_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)"
    r"|\\(?P<property>[pP])(?:\{(?P<name>\^?[A-Za-z&]+)\}|(?P<letter>[A-Z]))"
    r"|\\x\{(?P<code>[0-9A-Fa-f]{1,2})\}"
    r"|\\."
    r"|\[\^?\]?"
    r"|\]"
    r"|\(\?(?P<options>[imsx]*(?:-[imsx]+)?)\)"
    r"|[()|]",
    re.DOTALL,
)
_NAMED = {"E": "", "z": r"\Z", "Z": r"(?=\n?\Z)", "h": r"[\t\x20\xa0]", "H": r"[^\t\x20\xa0]"}
_NAMED_IN_CLASS = {"E": "", "h": r"\t\x20\xa0"}
_ANY_CASED = ("L&", "Lu", "Ll", "Lt")


def to_pattern(pattern: str, ignore_case: bool = False) -> str:
    """Return a regular expression of nginx as Python writes it. Raises ``ValueError`` for what cannot be carried over."""
    made = re.sub(r"\(\?<([A-Za-z_][A-Za-z0-9_]*)>", r"(?P<\1>", pattern)
    for name, signs in _CLASSES.items():
        if f"[:^{name}:]" in made:
            raise ValueError(f"`{pattern}` is no regular expression vestibule can use: write `[:^{name}:]` by its signs")
        made = made.replace(f"[:{name}:]", signs)
    # `$` of PCRE may match before a line break at the end; paths and fields have none, but decoded ones might.
    try:
        made = _rewritten(made)
        if ignore_case:
            made = f"(?i){made}"
        re.compile(made)
    except (re.error, OverflowError, RecursionError, ValueError) as bad:
        raise ValueError(f"`{pattern}` is no regular expression vestibule can use: {bad}") from None
    return made


def groups_of(pattern: str) -> dict[str, int]:
    """Return the groups of a pattern that have names."""
    return dict(re.compile(pattern).groupindex)


def _rewritten(pattern: str) -> str:
    """Write what Python knows under another name as it knows it."""
    made: list[str] = []
    at, in_class = 0, False
    open_options = [0]
    """How many groups of options each level has to close."""
    for found in _TOKEN.finditer(pattern):
        made.append(pattern[at : found.start()])
        at = found.end()
        text = found[0]
        if text.startswith("\\"):
            made.append(_escape(found, in_class))
        elif in_class:
            in_class = text != "]"
            made.append(text.replace("[", "\\[") if in_class else text)
        elif text.startswith("["):
            in_class = True
            made.append(text)
        elif found["options"] is not None:
            made.append(f"(?{found['options']}:")
            open_options[-1] += 1
        elif text == "(":
            open_options.append(0)
            made.append(text)
        elif text == ")" and len(open_options) > 1:
            made.append(")" * open_options.pop() + ")")
        elif text == "|" and open_options[-1]:
            raise ValueError("options in the middle of it do not go together with `|` after them")
        else:
            made.append(text)
    return "".join([*made, pattern[at:], ")" * open_options[0]])


def _escape(found: re.Match[str], in_class: bool) -> str:
    text = found[0]
    if found["quoted"] is not None:
        return re.escape(found["quoted"])
    if found["code"] is not None:
        return f"\\x{int(found['code'], 16):02x}"
    if found["property"] is not None:
        signs = _with_property(found["name"] or found["letter"], found["property"] == "P")
        return signs if in_class else f"[{signs}]"
    return (_NAMED_IN_CLASS if in_class else _NAMED).get(text[1:], text)


def _with_property(name: str, is_other: bool) -> str:
    """Return the signs that have a property of Unicode, or have not; for between brackets."""
    if name.startswith("^"):
        name, is_other = name[1:], not is_other
    categories = [unicodedata.category(chr(code)) for code in range(256)]
    if name == "Any":
        fits = [True] * 256
    elif name == "L&":
        fits = [each in _ANY_CASED for each in categories]
    elif any(each.startswith(name) for each in categories):
        fits = [each.startswith(name) for each in categories]
    else:
        raise ValueError(f"`\\p{{{name}}}` is no property of a byte")
    return "".join([f"\\x{code:02x}" for code in range(256) if fits[code] != is_other])
