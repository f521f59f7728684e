"""Actions: what is done to a request before its source, and to a response after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.expr import Expr


@dataclass(frozen=True, slots=True)
class SetHeader:
    """Give a field one value, replacing all it had. An empty value removes the field, unless empty ones are kept."""

    name: str
    """The field."""
    value: Expr
    """Its value."""
    keep_empty: bool = False
    """Whether a field without a value is one."""


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add one more line of a field. An empty value adds none, unless empty ones are kept."""

    name: str
    """The field."""
    value: Expr
    """Its value."""
    keep_empty: bool = False
    """Whether a field without a value is one."""


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
    upstream_only: bool = False
    """Whether the server alone sees the change: variables, and whoever answers in the place of an error, go by the target before."""


@dataclass(frozen=True, slots=True)
class StripPrefix:
    """Take a prefix off the path; a path without it stays. What remains begins with ``/``. Request only."""

    prefix: str
    """The prefix, beginning with ``/``."""
    ignore_case: bool = False
    """Whether ASCII letters are compared in any case."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Answer with an error page and stop. Request only."""

    status: int = 403
    """The status, 400 to 599, or that of a redirect, from 300 on, in whose place something answers (``errors``)."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the client's connection without an answer; with HTTP/2 the request alone is reset. Request only."""


@dataclass(frozen=True, slots=True)
class DropBody:
    """Send the request on without its body, which is read and goes nowhere. Request only."""


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Wait for the body of the request before what follows, where ``body`` finds it then. What does not come in time is answered 408.
    Among the actions of a response the answer is held back until its body is there; the client gets 504 if it does not come in time."""

    least: int = 16_384
    """How many bytes are enough, if the body is not over before; 65536 at most."""
    time_ms: int = 30_000
    """How long is waited."""


@dataclass(frozen=True, slots=True)
class SetBody:
    """Send the request on with another body; its own is read and goes nowhere. Such a request is not sent twice. Request only."""

    body: Expr
    """The body."""


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
    """Names, each with a hash as ``htpasswd`` or ``crypt`` write it (``$2y$``, ``$argon2id$``, ``$scrypt$``, ``$y$``, ``$6$``, ``$5$``,
    ``$apr1$``, ``$1$``, ``{SSHA}``, ``{SHA}``; ``{CRYPT}`` before one of crypt(3)'s first kind), or with ``{PLAIN}`` and the password
    itself."""
    realm: str = "vestibule"
    """What the browser shows when it asks."""
    delay_ms: int = 0
    """How long the answer to a request without the right password is held back, which slows those who guess."""


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """Ask a server, or a route of the site, whether the request may pass. The question has the request's fields and no body; an answer
    from 200 to 299 lets it pass. Otherwise, or without an answer, it does not. Request only."""

    upstream: str = ""
    """Who is asked; empty where a route is."""
    path: Expr | None = None
    """The path of the question; None is that of the request."""
    query: Expr | None = None
    """Its query; None is that of the request."""
    method: str = "GET"
    """Its method; empty is that of the request."""
    request: tuple[Action, ...] = ()
    """Changes to its fields, in order."""
    copy: tuple[tuple[str, str], ...] = ()
    """Fields of the answer that go into the request, each with the name it has there. What the client sent under that name is
    dropped."""
    pass_answer: bool = False
    """Whether the client gets the whole of an answer that does not let it pass, a redirect to a login for instance. Otherwise 401
    and 403 are passed on, and anything else is 500."""
    route: str = ""
    """The name of a route of the site that is asked in place of a server, whatever its conditions are."""
    refused: tuple[Action, ...] = ()
    """What is done where the answer is 401 or 403, in place of passing that on, such as asking for a password; what lets the request pass
    has the last word."""
    status_as: str = ""
    """The name that the status of an answer that lets the request pass is kept under, where ``kept`` finds it; empty keeps none."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Let only so many requests of a key pass in a time; further ones get an error page. Counted in each worker. Request only."""

    key: Expr
    """What is counted by; requests for which it is empty are not limited."""
    requests: int
    """How many, in each ``period``."""
    period_ms: int = 1_000
    """The time."""
    burst: int = 0
    """How many more may come at once, which the time that follows has to make up for."""
    at_once: int | None = None
    """How many of the burst go on at once; further ones wait until it is their turn. None is all of them."""
    status: int = 429
    """The status of the refusal, 400 to 599."""
    zone: str = ""
    """Limits with the same zone name count together; without one, each counts by itself."""
    keys: int = 16_384
    """The most keys that are remembered; then the one that came longest ago is forgotten."""
    status_as: str = ""
    """The name that what became of the request is kept under, where ``kept`` finds it: ``PASSED``, ``DELAYED`` or ``REJECTED``, or, in a
    trial, ``DELAYED_DRY_RUN`` or ``REJECTED_DRY_RUN``; empty keeps nothing. Where it was held up, the zone is kept under this name with
    `` zone`` behind it, and by how many requests it came too early under that with `` excess``."""
    trial: bool = False
    """Whether nobody is held up, and it is only counted and kept what would have been."""


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """Let only so many requests of a key be under way at a time; further ones get an error page. Counted in each worker.
    Request only."""

    key: Expr
    """What is counted by; requests for which it is empty are not limited."""
    most: int
    """How many."""
    status: int = 503
    """The status of the refusal, 400 to 599."""
    zone: str = ""
    """Limits with the same zone name count together; without one, each counts by itself."""
    status_as: str = ""
    """The name that what became of the request is kept under, where ``kept`` finds it: ``PASSED`` or ``REJECTED``, or, in a trial,
    ``REJECTED_DRY_RUN``; empty keeps nothing. Where it was refused, the zone is kept under this name with `` zone`` behind it."""
    trial: bool = False
    """Whether nobody is held up, and it is only counted and kept what would have been."""


@dataclass(frozen=True, slots=True)
class BandwidthLimit:
    """Let only so many bytes of a body pass in a second. Where several meet a body, all of them hold. What the proxy answers from
    memory is not slowed, nor is a tunnel out of HTTP. Counted in each worker. In a response, for its own body only."""

    rate: Expr
    """Bytes in a second: `500KB`, `1MiB`, nginx's `2m`, or what an expression says when the body begins. 0, nothing, and what is no
    size are no limit."""
    of: str = "response"
    """Whose body: ``response`` or ``request``."""
    after: Expr | None = None
    """How many bytes of each body pass first at full speed; None is 0."""
    key: Expr | None = None
    """Who shares the rate: all bodies with the same key. None is a rate for each body; an empty key is no limit."""
    zone: str = ""
    """Limits with the same zone name share by the same keys; without one, each has its own. Without a key, a limit takes the place of an
    earlier one with the same zone name, if no byte has gone yet."""


@dataclass(frozen=True, slots=True)
class Count:
    """Count by a key, and keep how many there are now under a name, where ``kept`` finds it. Counted in each worker."""

    key: Expr
    """What is counted by; where it is empty, nothing is."""
    zone: str
    """Counts with the same zone name count together."""
    name: str
    """The name that the result is kept under."""
    add: int = 1
    """How many are counted; 0 counts nothing and remembers the key."""
    period_ms: int = 0
    """The time that counts; 0 is all for as long as the key is remembered."""
    while_open: bool = False
    """Whether this one counts only until its exchange is over."""
    keys: int = 16_384
    """The most keys that are remembered; then the one that came longest ago is forgotten."""
    expire_ms: int = 0
    """How long a key is remembered that nobody touches; 0 is for ever."""
    how: Literal["add", "set", "look", "find"] = "add"
    """``add`` counts. ``set`` makes ``add`` of what was there. ``look`` counts nothing and leaves the key as it is, remembered or not;
    ``find`` as well, and keeps 1 if it is remembered, else 0."""
    of: Literal["requests", "bytes_in", "bytes_out"] = "requests"
    """What is counted: this once, or, when the exchange is over, the bytes of its body that were taken from the client or given to
    it."""


@dataclass(frozen=True, slots=True)
class SetVariable:
    """Keep a value under a name for what follows, where ``kept`` finds it. An empty value is as good as none."""

    name: str
    """The name."""
    value: Expr
    """Its value, as it is at this moment."""
    connection: bool = False
    """Whether it is kept for all requests of the connection, and not for this one alone."""


@dataclass(frozen=True, slots=True)
class SetMethod:
    """Send another method to the server; one that is no method is not taken, nor is HEAD. Who asked with HEAD gets no body,
    whatever the server was asked with. Request only."""

    method: Expr
    """The method."""


@dataclass(frozen=True, slots=True)
class SetTimeouts:
    """Give this request other time-outs than its route has, in all that it goes through. Request only."""

    response_head_ms: int | None = None
    """How long the head of the answer may take; a silence in bodies may last as long, too. Left out, both stay as they are."""
    tunnel_idle_ms: int | None = None
    """How long nothing may pass in a tunnel. Left out, it stays as it is."""


@dataclass(frozen=True, slots=True)
class SetClient:
    """Say who the client is from here on: to servers in PROXY headers, where servers are chosen by the client, and in logs. Fields that
    were written already stay. What is no address changes nothing. Request only."""

    address: Expr
    """The address."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Say how long the connection of this request's client is kept after the answer, in HTTP/1. Request only."""

    idle_ms: int | None = None
    """How long it waits for its next request; 0 closes it after this answer. Left out, it is as for the listener."""
    requests: int | None = None
    """After how many requests it is closed in good order; 0 is after this one. Left out, it is as for the listener."""
    age_ms: int | None = None
    """How old it may be; an answer after that ends it in good order. Left out is any age."""
    told_s: int = 0
    """What clients are told of the time it waits, in seconds (the field Keep-Alive); 0 tells them nothing."""


@dataclass(frozen=True, slots=True)
class RemoveHeaders:
    """Remove every field whose name, in lower case, a regular expression is found in. What frames a message stays."""

    pattern: str
    """The regular expression."""


@dataclass(frozen=True, slots=True)
class EarlyHint:
    """Send a field to the client at once, in an answer of status 103 (RFC 8297) before the real one. Neighbours go together.
    Request only."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Give the answer another status. Response only."""

    status: int
    """The status, 200 to 599, but for those that have no body; 0 is that of the error in whose place the answer is, if it is."""
    reason: str = ""
    """The words behind it; empty is the usual ones."""


@dataclass(frozen=True, slots=True)
class AddTrailer:
    """Add a field behind the body of an answer, with the value that there is then; an empty one adds none. Clients of HTTP/1.0 get
    none, and an answer without a body has none. The length of other answers is not told then. Response only."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class Substitute:
    """Put other texts in the place of some in the body of an answer, as it passes. An answer that is compressed or made here keeps its
    body. Several are done in order. Response only."""

    texts: tuple[tuple[str, Expr], ...]
    """What is looked for, upper and lower case of ASCII alike, and what takes its place."""
    types: tuple[str, ...] = ("text/html",)
    """The media types of answers; ``*`` is any."""
    once: bool = True
    """Whether each is replaced where it is found first and nowhere else."""
    keep_validators: bool = False
    """Whether ``Last-Modified`` and ``ETag`` stay; a tag becomes a weak one then."""


@dataclass(frozen=True, slots=True)
class ReplaceAnswer:
    """Answer by ourselves in the place of a server. The actions behind it change this answer. Response only."""

    status: int = 200
    """The status, 200 to 599."""
    body: Expr | None = None
    """The body; without one the answer is empty."""
    headers: tuple[tuple[str, Expr], ...] = ()
    """Fields of the answer, in order. Content-Length is added."""


@dataclass(frozen=True, slots=True)
class When:
    """Do some actions only if a test is true."""

    test: Expr
    """The test."""
    actions: tuple[Action, ...]
    """What to do."""
    otherwise: tuple[Action, ...] = ()
    """What to do if it is not."""


RequestAction: TypeAlias = (
    Rewrite
    | StripPrefix
    | Deny
    | HangUp
    | DropBody
    | SetBody
    | ClientCertificate
    | BasicAuth
    | AuthRequest
    | RateLimit
    | ConcurrencyLimit
    | SetMethod
    | SetClient
    | SetTimeouts
    | KeepAlive
    | EarlyHint
)
"""A step that makes sense before the source only."""

Action: TypeAlias = (
    SetHeader
    | AddHeader
    | RemoveHeader
    | EditHeader
    | RequestAction
    | BandwidthLimit
    | ReadBody
    | Count
    | SetVariable
    | RemoveHeaders
    | SetStatus
    | AddTrailer
    | Substitute
    | ReplaceAnswer
    | When
)
"""A step before or after the source. Request actions run in order before it, response actions in order after it."""
