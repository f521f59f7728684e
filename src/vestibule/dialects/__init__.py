"""The configuration languages, and how a file's language is recognised.

Rules: a dialect is text to model and touches no file; imports ``model`` only. It is imported when a text of it is read, since
nobody has files of all.

Not here: reading files (``control``), what a configuration means at run time (``compile``).
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.model.diagnostic import Span, did_you_mean, error


@dataclass(frozen=True, slots=True)
class Dialect:
    """One language: its name, which is that of its package, the file name endings that say it, and what only its texts have in them."""

    name: str
    endings: tuple[str, ...]
    sign: re.Pattern[str] | None = None

    def parse(self, name: str, text: str, read_text: ReadText) -> Loaded:
        """Read a text; ``name`` is what its mistakes are told by."""
        read: Loaded = importlib.import_module(f"{__name__}.{self.name}").parse(name, text, read_text)
        return read


_ABSURD = re.compile("[0-9]{1000}")

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
    r"|[^\s;#]+ \{)[ \t]*\r?$"
    r"|\A\s*\{\s*\"(?:apps|admin|logging|storage)\"\s*:",
    re.MULTILINE,
)

DIALECTS = (
    Dialect("toml", (".toml",)),
    Dialect("apache", ("httpd.conf", "apache2.conf", ".apache"), _APACHE),
    Dialect("nginx", ("nginx.conf", ".nginx"), _NGINX),
    Dialect("haproxy", ("haproxy.cfg", ".haproxy"), _HAPROXY),
    Dialect("caddy", ("caddyfile", ".caddy", "caddy.json"), _CADDY),
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
    absurd = _ABSURD.search(text)
    if absurd is not None:
        # Python itself refuses to read numbers of some thousand digits.
        span = Span(name, text.count("\n", 0, absurd.start()) + 1, absurd.start() - text.rfind("\n", 0, absurd.start()))
        return Loaded(None, (error(span, "bad-value", "a number of a thousand digits and more", "write a smaller one"),), (name,))
    for each in DIALECTS:
        if each.name == wanted:
            return each.parse(name, text, read_text)
    return Loaded(None, (error(Span(name), "unknown-dialect", f"no dialect is named `{wanted}`", did_you_mean(wanted, known)),), (name,))
