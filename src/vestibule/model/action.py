"""Actions: what is done to a request before its source, and to a response after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vestibule.model.expr import Expr


@dataclass(frozen=True, slots=True)
class SetHeader:
    """Give a field one value, replacing all it had. An empty value removes the field."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add one more line of a field. An empty value adds none."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Remove every line of a field."""

    name: str
    """The field."""


@dataclass(frozen=True, slots=True)
class EditHeader:
    """Change each line of a field by itself, such as the cookies of an answer. A line that becomes empty is removed."""

    name: str
    """The field."""
    value: Expr
    """The new line, in which ``field_line`` is the old one."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Replace the path, the query or both. Request only."""

    path: Expr | None = None
    """The new path, which must begin with ``/``; None keeps it."""
    query: Expr | None = None
    """The new query without its ``?``; an empty one removes it; None keeps it."""


@dataclass(frozen=True, slots=True)
class StripPrefix:
    """Take a prefix off the path; a path without it stays. What remains begins with ``/``. Request only."""

    prefix: str
    """The prefix, beginning with ``/``."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Answer with an error page and stop. Request only."""

    status: int = 403
    """The status, 400 to 599."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the client's connection without an answer; with HTTP/2 the request alone is reset. Request only."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Let only requests pass whose client showed a certificate that was accepted in the TLS handshake; others get an error
    page. The TLS profile of the listener says which are. Request only."""

    status: int = 403
    """The status, 400 to 499."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Let only requests pass that show the name and password of a user (RFC 7617); others are asked for them (401).
    Request only."""

    users: tuple[tuple[str, str], ...]
    """Names, each with a hash as ``htpasswd`` or ``crypt`` write it (``$2y$``, ``$6$``, ``$5$``, ``$apr1$``, ``$1$``,
    ``{SSHA}``, ``{SHA}``), or with ``{PLAIN}`` and the password itself."""
    realm: str = "vestibule"
    """What the browser shows when it asks."""


@dataclass(frozen=True, slots=True)
class When:
    """Do some actions only if a test is true."""

    test: Expr
    """The test."""
    actions: tuple[Action, ...]
    """What to do."""


Action: TypeAlias = (
    SetHeader | AddHeader | RemoveHeader | EditHeader | Rewrite | StripPrefix | Deny | HangUp | ClientCertificate | BasicAuth | When
)
"""A step before or after the source. Request actions run in order before it, response actions in order after it."""
