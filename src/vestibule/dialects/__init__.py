"""The configuration languages, and how a file's language is recognised.

Rules: a dialect is text to model and touches no file; imports ``model`` only.

Not here: reading files (``control``), what a configuration means at run time (``compile``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from vestibule.dialects import apache, caddy, haproxy, nginx, toml
from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.model.diagnostic import Span, did_you_mean, error

Parse: TypeAlias = Callable[[str, str, ReadText], Loaded]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One language: its name, the file name endings that say it, its reader, and what only its texts have in them."""

    name: str
    endings: tuple[str, ...]
    parse: Parse
    sign: re.Pattern[str] | None = None


_APACHE = re.compile(
    r"^[ \t]*(?:</?(?:VirtualHost|IfModule|IfDefine|Location|LocationMatch|Proxy|Directory)\b[^\n]*>"
    r"|(?:LoadModule|ServerRoot|ProxyPass|ProxyPassReverse|RewriteRule)[ \t]+[^;\n]+\r?$)",
    re.MULTILINE | re.IGNORECASE,
)

_NGINX = re.compile(
    r"^[ \t]*(?:(?:server|http|events)[ \t\r\n]*\{|(?:upstream|location|map|geo)\b[^\n;]*\{"
    r"|(?:user|worker_processes|listen|proxy_pass|server_name|include|return)[ \t][^\n]*;)",
    re.MULTILINE,
)

_HAPROXY = re.compile(
    r"^[ \t]*(?:(?:frontend|backend|listen|userlist)[ \t]+[^\s;{]+|global|defaults)[ \t]*(?:#[^\n]*|from[ \t]+\S+[ \t]*)?\r?$", re.MULTILINE
)

_CADDY = re.compile(
    r"^[ \t]*(?:(?:reverse_proxy|handle|handle_path|respond|redir|encode|file_server|basic_?auth|tls|import)\b[^;\n]*"
    r"|[^\s;#]+ \{)[ \t]*\r?$",
    re.MULTILINE,
)

DIALECTS = (
    Dialect("toml", (".toml",), toml.parse),
    Dialect("apache", ("httpd.conf", "apache2.conf", ".apache"), apache.parse, _APACHE),
    Dialect("nginx", ("nginx.conf", ".nginx"), nginx.parse, _NGINX),
    Dialect("haproxy", ("haproxy.cfg", ".haproxy"), haproxy.parse, _HAPROXY),
    Dialect("caddy", ("caddyfile", ".caddy"), caddy.parse, _CADDY),
)


def recognise(name: str, text: str) -> str | None:
    """Return the name of the dialect a file is written in, by its name or else by its text; None if it is none of ours."""
    for dialect in DIALECTS:
        if name.lower().endswith(dialect.endings):
            return dialect.name
    for dialect in DIALECTS:
        if dialect.sign is not None and dialect.sign.search(text):
            return dialect.name
    # Any other is TOML if its first line of substance is a table or a key.
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            is_table = stripped.startswith("[") and "]" in stripped
            return "toml" if is_table or (" = " in stripped and not stripped.endswith((";", "{"))) else None
    return None


def load(name: str, text: str, read_text: ReadText = read_nothing, dialect: str = "") -> Loaded:
    """Read a configuration and check it. ``dialect`` says the language; without it, it is recognised."""
    wanted = dialect or recognise(name, text)
    known = [each.name for each in DIALECTS]
    if wanted is None:
        found = error(Span(name), "unknown-dialect", "this is no configuration vestibule knows", "name its language with `--dialect`")
        return Loaded(None, (found,), (name,))
    for each in DIALECTS:
        if each.name == wanted:
            return each.parse(name, text, read_text)
    return Loaded(None, (error(Span(name), "unknown-dialect", f"no dialect is named `{wanted}`", did_you_mean(wanted, known)),), (name,))
