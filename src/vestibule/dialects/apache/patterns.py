"""Patterns that are no regular expressions: those of the shell, and networks.

Facts: in ``<Location>`` and behind ``-fnmatch`` a ``*`` does not take a slash; in names of hosts and behind ``-strmatch`` it does.
"""

from __future__ import annotations

import re

from vestibule.model.quantity import mask_network

SHELL = "*?["


def is_shell_pattern(text: str) -> bool:
    """Tell whether a text has marks of the shell's patterns in it."""
    return any(mark in text for mark in SHELL)


def shell_pattern(text: str, by_segment: bool, ends: str = "$") -> str:
    """Return the regular expression of a pattern of the shell; with ``by_segment`` no mark stands for a slash."""
    any_char = "[^/]" if by_segment else "."
    made: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            made.append(f"{any_char}*")
        elif char == "?":
            made.append(any_char)
        elif char == "[" and (end := text.find("]", at + 1)) > 0:
            inside = text[at:end].replace("\\", "\\\\")
            inside = "^" + inside[1:] if inside[:1] in "!^" else inside
            made.append(f"[{inside}]")
            at = end + 1
        elif char == "\\" and at < len(text):
            made.append(re.escape(text[at]))
            at += 1
        else:
            made.append(re.escape(char))
    return f"^{''.join(made)}{ends}"


def network(text: str) -> str:
    """Return a network; ``10.1`` is short for all addresses that begin so, a mask may be written as an address, and bits outside
    it count for nothing. Raises ``ValueError``."""
    base, slash, mask = text.partition("/")
    parts = base.rstrip(".").split(".")
    if ":" not in text and 1 <= len(parts) <= 3 and all(part.isdecimal() for part in parts):
        base = ".".join([*parts, *["0"] * (4 - len(parts))])
        mask = mask if slash else str(8 * len(parts))
    if mask.count(".") == 3:
        mask = _bits(mask)
    return mask_network(f"{base}/{mask}" if mask else base)


def _bits(mask: str) -> str:
    """Return how many bits a mask that is written as an address has."""
    parts = [int(part) if part.isdecimal() and int(part) < 256 else -1 for part in mask.split(".")]
    if -1 in parts:
        raise ValueError(f"`{mask}` is no mask of a network")
    bits = "".join([f"{part:08b}" for part in parts])
    if "01" in bits:
        raise ValueError(f"`{mask}` is no mask of a network")
    return str(bits.count("1"))


def ip_networks(text: str) -> tuple[str, ...]:
    """Return the networks of a list by blanks. Raises ``ValueError``."""
    return tuple([network(word) for word in text.split()])
