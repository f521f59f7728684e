"""Conditions on the program itself: what `.if` and `haproxy -cc` ask (HAProxy configuration manual, chapter 2.4).

Facts: `defined(NAME)` asks the environment, `feature(NAME)` and `version_atleast(V)` the program; `streq`, `strneq` and `strstr`
compare texts, with `$NAME` of the environment between weak quotes; `!`, `&&`, `||` and parentheses join. An empty condition, `0`
and `false` do not hold.

Not here: conditions on requests (``acl``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

CONDITION_VERSION = "2.6.12"
"""The version of HAProxy that vestibule stands for."""

FEATURES = frozenset(("EPOLL", "OPENSSL", "PCRE2", "SYSTEMD", "SPLICE", "LINUX_SPLICE", "GETADDRINFO", "THREAD", "NS"))

_TEXT = r"'[^']*'|\"(?:\\.|[^\"\\])*\""
_TOKEN = re.compile(rf"\s*(&&|\|\||[!()]|[A-Za-z_][A-Za-z0-9_]*\((?:{_TEXT}|[^()'\"])*\)|[^\s()&|!]+)")

_PART = re.compile(rf"(?:{_TEXT}|[^,'\"])+")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


class ConditionError(ValueError):
    """A condition that cannot be understood; the text says why."""


def holds(text: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a condition holds. Raises ``ConditionError``."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens).replace(" ", "") != "".join(text.split()):
        raise ConditionError(f"`{text}` is no condition")
    if not tokens:
        return False
    value, at = _any(tokens, 0, environment)
    if at != len(tokens):
        raise ConditionError(f"`{tokens[at]}` is not expected in `{text}`")
    return value


def _any(tokens: list[str], at: int, environment: Mapping[str, str]) -> tuple[bool, int]:
    value, at = _all(tokens, at, environment)
    while at < len(tokens) and tokens[at] == "||":
        other, at = _all(tokens, at + 1, environment)
        value = value or other
    return value, at


def _all(tokens: list[str], at: int, environment: Mapping[str, str]) -> tuple[bool, int]:
    value, at = _one(tokens, at, environment)
    while at < len(tokens) and tokens[at] == "&&":
        other, at = _one(tokens, at + 1, environment)
        value = value and other
    return value, at


def _one(tokens: list[str], at: int, environment: Mapping[str, str]) -> tuple[bool, int]:
    if at >= len(tokens):
        raise ConditionError("the condition ends too early")
    token = tokens[at]
    if token == "!":
        value, at = _one(tokens, at + 1, environment)
        return not value, at
    if token == "(":
        value, at = _any(tokens, at + 1, environment)
        if at >= len(tokens) or tokens[at] != ")":
            raise ConditionError("a `)` is missing")
        return value, at + 1
    if "(" in token:
        name, _, rest = token.partition("(")
        parts = _PART.findall(rest[:-1]) or [""]
        return _function(name, [_text(part.strip(), environment) for part in parts], environment), at + 1
    if token in ("true", "false"):
        return token == "true", at + 1
    if not token.removeprefix("-").isdecimal():
        raise ConditionError(f"`{token}` is neither a number nor a function")
    return int(token) != 0, at + 1


def _text(part: str, environment: Mapping[str, str]) -> str:
    """Return an argument without its quotes; between weak ones stand variables."""
    if part[:1] == '"':
        return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], ""), part.strip('"'))
    return part.strip("'")


def _function(name: str, arguments: list[str], environment: Mapping[str, str]) -> bool:
    if name == "defined":
        return arguments[0] in environment
    if name == "feature":
        return arguments[0] in FEATURES
    if name in ("version_atleast", "version_before"):
        at_least = _version(CONDITION_VERSION) >= _version(arguments[0])
        return at_least if name == "version_atleast" else not at_least
    if name in ("streq", "strneq", "strstr"):
        if len(arguments) != 2:
            raise ConditionError(f"`{name}` takes two texts")
        if name == "strstr":
            return arguments[1] in arguments[0]
        return (arguments[0] == arguments[1]) is (name == "streq")
    if name in ("openssl_version_atleast", "openssl_version_before"):
        return name == "openssl_version_atleast"
    if name == "ssllib_name_startswith":
        return "OpenSSL".startswith(arguments[0])
    if name == "enabled":
        return False
    raise ConditionError(f"there is no function `{name}`")


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"(\d+)\.(\d+)(?:(?:\.|-dev)(\d+))?", text)
    if numbers is None:
        raise ConditionError(f"`{text}` is no version")
    return tuple([int(each or 0) for each in numbers.groups()])
