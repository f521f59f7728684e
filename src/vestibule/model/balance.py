"""How requests are shared among the servers of an upstream, and when a server is left out.

Not here: the servers themselves (``upstream``), what is valid (``check_upstream``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.expr import Expr
from vestibule.model.settings import Severity, Syslog

_SYSLOG = Syslog()

BalanceMethod: TypeAlias = Literal["round_robin", "least_connections", "peak_ewma", "random_two", "source", "hash", "first"]


@dataclass(frozen=True, slots=True)
class Balance:
    """Which server gets the next request. Every worker counts for itself; ``source`` and ``hash`` choose alike in all."""

    method: BalanceMethod = "round_robin"
    """``round_robin``: in turn, by weight. ``least_connections``: fewest requests in flight for its weight. ``peak_ewma``:
    shortest expected wait, from answer times of late. ``random_two``: the less busy of two drawn by weight. ``source``:
    the same server for the same client. ``hash``: the same server for the same ``key``. ``first``: the first in order
    that has a connection free (set ``max_connections``)."""
    key: Expr | None = None
    """What ``hash`` looks at. Requests for which it is empty are shared in turn."""
    bound: int = 0
    """For ``source`` and ``hash``: the most load a server may have, in percent of its fair share, before the next one in
    the key's own order is taken; 0 is no bound. 125 is usual."""
    ipv4_bits: int = 32
    """For ``source``: how many bits of an IPv4 address count."""
    ipv6_bits: int = 128
    """For ``source``: how many bits of an IPv6 address count."""
    slow_start_ms: int = 0
    """How long the share of a server that is back grows to its whole; 0 gives it all at once."""
    overflow: bool = False
    """Whether backups, and servers of a later ``priority``, serve as well while every server before them has all the connections it
    may have (``max_connections``). Otherwise requests wait for one."""
    table: Literal["", "sdbm", "djb2", "crc32"] = ""
    """For ``hash``: the sum of the key that says which place of a table of all servers, laid out by weight, is meant. Whoever knows the
    sum knows the server, as HAProxy's users do; but nearly all keys move when a server comes or goes. Empty is the hash that moves few."""


@dataclass(frozen=True, slots=True)
class Sticky:
    """A client stays with its server: a signed mark, the same in all workers, after reloads and after restarts."""

    cookie: str = ""
    """The name of the cookie that holds the mark."""
    header: str = ""
    """The name of a header that holds the mark, in answers and requests, instead of a cookie."""
    path: str = "/"
    """The cookie's ``Path``."""
    domain: str = ""
    """The cookie's ``Domain``; empty leaves it out."""
    max_age_s: int = 0
    """The cookie's ``Max-Age`` in seconds; 0 leaves it out, and the cookie ends with the browser's session."""
    http_only: bool = True
    """Whether scripts may not see the cookie."""
    secure: Literal["auto", "always", "never"] = "auto"
    """Whether the cookie is sent over TLS only; ``auto`` says so where the client came over TLS."""
    same_site: Literal["", "lax", "strict", "none"] = "lax"
    """The cookie's ``SameSite``; empty leaves it out."""
    parameter: str = ""
    """The name of a parameter, in the path behind a ``;`` or in the query, that holds the mark; it is looked at before the cookie."""
    separator: str = ""
    """A character, behind whose first occurrence the mark begins: many applications put it behind their own session. Empty: the
    mark is the whole value."""
    give: bool = True
    """Whether clients get their mark from here. Without, it is for the application, or a field of yours, to give it, and only
    servers with a ``mark`` have clients that stay."""
    strict: bool = False
    """Whether a client whose server is out is answered 503, instead of being given another one."""
    signed: bool = True
    """Whether servers without a ``mark`` have a signed one. Without, clients do not stay with them."""
    hidden: bool = False
    """Whether servers never see the cookie: it is taken out of requests, and out of answers where a server sets one of its name."""
    private: bool = False
    """Whether an answer that gives a mark, and that a cache might keep, says ``Cache-Control: private``, so that nobody else gets
    it."""
    how: Literal["own", "rewrite", "prefix"] = "own"
    """Whose the cookie is. ``own``: it holds the mark alone. ``rewrite``: the application sets it, and the mark replaces its value.
    ``prefix``: the application sets it, and the mark goes before its value, with a ``~`` between, and is taken off on the way back."""
    yields: bool = False
    """Whether a cookie of its name that a server sets is left alone, and no mark given beside it."""
    posts: bool = False
    """Whether answers to POST alone give marks."""
    attributes: tuple[str, ...] = ()
    """More attributes of the cookie, such as ``Priority=High``."""


@dataclass(frozen=True, slots=True)
class Passive:
    """Leaving out a server whose requests fail; it has no effect on an upstream of one server. Counted in each worker."""

    max_fails: int = 1
    """Failures within ``window`` after which the server is left out for as long again; 0 never leaves it out."""
    window_ms: int = 10_000
    """The time in which failures are counted, and for which the server is then left out."""
    statuses: tuple[int, ...] = ()
    """Answers that count as failures, besides connections that fail, break or time out."""
    latency_ms: int = 0
    """An answer that took longer counts as a failure; 0 never."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Ejecting servers that fail more than the others. Counted in each worker."""

    consecutive: int = 5
    """Failures in a row that eject a server; 0 does not count them. A failure is an answer from 500 on, or none."""
    percent: int = 0
    """The share of failures within ``window`` that ejects a server; 0 does not look at it."""
    requests: int = 20
    """Requests within ``window`` below which its share of failures says nothing."""
    window_ms: int = 10_000
    """The time over which failures are counted."""
    eject_ms: int = 30_000
    """How long a server stays out the first time; the second time twice as long, and so on up to ten times."""
    max_percent: int = 34
    """The share of the servers that may be out at a time. One always may, unless it is the only one."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Asking servers whether they are well, from the control process."""

    kind: Literal["immich", "http", "tcp", "tls", "talk"] = "immich"
    """``immich``: ``/api/server/ping`` must answer 200 with ``pong``. ``http``: a request of your own. ``tcp``: a connection.
    ``tls``: a connection with a handshake. ``talk``: a connection on which something is said."""
    method: str = "GET"
    """For ``http``: the method."""
    path: str = "/"
    """For ``http``: path and query."""
    host: str = ""
    """For ``http``: the Host; empty is the server's."""
    headers: tuple[tuple[str, str], ...] = ()
    """For ``http``: further fields of the request."""
    content: str = ""
    """For ``http``: the body of the request."""
    statuses: tuple[int, ...] = ()
    """For ``http``: answers that mean well; empty is any from 200 to 399."""
    body: str = ""
    """For ``http``: a text that the first 64 KiB of the answer must contain."""
    pattern: str = ""
    """For ``http``: a regular expression that must be found there."""
    head_pattern: str = ""
    """For ``http``: a regular expression that must be found in the head of the answer, whose lines end with CR and LF."""
    talk: tuple[str, ...] = ()
    """For ``talk``: what is said, step by step. ``send TEXT`` and ``send_hex BYTES`` are sent; ``expect TEXT``, ``expect_hex BYTES`` and
    ``expect_pattern PATTERN`` wait for what must be in what the server said since then, and ``refuse``, ``refuse_hex`` and
    ``refuse_pattern`` are for what must not. ``connect`` and ``connect PORT`` begin another connection, ``await N`` has the next step
    wait for so many bytes, or for the end (``await 0``). ``explain PATTERN`` takes what is told of the check from its groups ``code``
    (digits), ``number`` (bytes, the lowest first) and ``info``, ``tell TEXT`` says it. From ``disagree`` on a server that says something
    else counts as one that has answered so, and not as one that breaks its protocol. ``skip N M`` leaves out a message that begins with its
    length, ``N`` bytes with the lowest first, and ``M`` bytes more."""
    port: int = 0
    """Another port to ask; 0 is the server's."""
    interval_ms: int = 2_000
    """The time between two checks of a server that is well."""
    fast_ms: int = 1_000
    """The same while it is not, or while its state is about to change."""
    down_ms: int = 0
    """The same while it is down; 0 is as ``fast``."""
    timeout_ms: int = 2_000
    """How long a check may take."""
    rise: int = 2
    """Good checks in a row after which a server that was down is up."""
    fall: int = 3
    """Bad checks in a row after which a server that was up is down."""
    jitter: int = 10
    """How much the time between checks varies, in percent, so that they do not all come at once."""
    tls: Literal["auto", "always", "never"] = "auto"
    """For ``immich``, ``http`` and ``talk``: whether TLS is spoken; ``auto`` does as requests do."""
    tls_name: str = ""
    """The name to send (SNI) and to verify, instead of the one that requests have."""
    proxy_protocol: Literal["auto", "never", "v1", "v2"] = "auto"
    """Whether a check begins with a PROXY header, which names no client; ``auto`` does as requests do."""
    version: Literal["1.1", "1.0"] = "1.1"
    """For ``http``: the version of HTTP; with ``1.0`` a Host is sent only where one is said."""
    alpn: tuple[str, ...] = ()
    """For ``tls`` and ``talk``: the protocols that are offered (ALPN), most wanted first; none takes no part in that."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Where is told what becomes of servers: lines of text at a syslog server, in HAProxy's words, which programs look for. The error
    log has the same as JSON."""

    target: str
    """``syslog:HOST:PORT`` or ``syslog:/dev/log``."""
    syslog: Syslog = _SYSLOG
    """What stands before lines; each has a severity of its own."""
    most: Severity = "debug"
    """Lines that are less serious are not sent."""
    least: Severity = "emerg"
    """Lines that are more serious are sent as ones that are as serious as this."""
    checks: bool = False
    """Whether outcomes of checks are told as well, each that is news; otherwise only servers that come and go."""
    servers: tuple[tuple[str, str], ...] = ()
    """Names of servers, each with the address it stands for; others are called by their address."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Asking a program beside each server how the server wants to be used, from the control process. It is connected to, may be sent
    a text, and answers with a line of words: ``up`` and ``down`` say whether the server is well (besides ``health``, and both must
    agree), ``ready``, ``drain`` and ``maint`` what it takes, ``75%`` its share of its weight, ``maxconn:30`` how many
    connections it has at a time, in each worker (``maxconn:0`` any number). What is not said stays as it was; one
    that does not answer changes nothing. Commands hold against it, and ``enable`` forgets a ``drain`` or ``maint`` of its own."""

    port: int = 0
    """Its port; 0 is for servers that have an ``agent_port`` of their own."""
    host: str = ""
    """Its address; empty is the server's."""
    send: str = ""
    """What it is sent, as it is: many want a line, with ``\\n`` at its end."""
    interval_ms: int = 2_000
    """The time between two questions."""
    timeout_ms: int = 2_000
    """How long an answer may take."""
