"""What upstreams must be like: servers, connections, sharing, health.

Not here: whether a route uses them (``check``).
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from vestibule.model.check_expr import check_text
from vestibule.model.check_route import check_field_name
from vestibule.model.config import Balance, HealthCheck, Outliers, Passive, Pool, Retry, Server, Sticky, Upstream, UpstreamTls
from vestibule.model.expr import Phase
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_server_host
from vestibule.model.talk import read_step

# Node's default `keepAliveTimeout`.
_NODE_IDLE_MS = 5_000

# unix(7): `sun_path` has 108 bytes, the last of which is 0.
_SOCKET_PATH_MOST = 107

# RFC 9110 5.6.2: what a name of a cookie is made of (RFC 6265 4.1.1).
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_ATTRIBUTE = re.compile(r"[ -:<-~]*")


def check_upstream(found: Findings, path: str, upstream: Upstream) -> None:
    """Check one upstream."""
    if upstream.address is not None:
        _check_address(found, path, upstream)
    elif not upstream.servers:
        found.error(f"{path}.servers", "empty-list", f"the upstream `{upstream.name}` has no server")
    elif all(server.backup for server in upstream.servers):
        found.error(f"{path}.servers", "conflict", "every server is a backup", "one at least must not be")
    asks = upstream.health is not None and (upstream.health.tls == "always" or upstream.health.kind == "tls")
    for at, server in enumerate(upstream.servers):
        _check_server(found, f"{path}.servers[{at}]", server, upstream.tls)
        if not server.tls and not asks and (server.tls_name or not server.tls_verify):
            message = "this server does not speak TLS, and so has no name and nothing to verify in it"
            found.warning(f"{path}.servers[{at}]", "unused", message, "write `https://` before its address")
    if upstream.tls.minimum > upstream.tls.maximum:
        text = f"TLS {upstream.tls.minimum} is newer than the newest, {upstream.tls.maximum}"
        found.error(f"{path}.tls.minimum", "conflict", text)
    if not _speaks_tls(upstream) and upstream.tls != UpstreamTls() and not asks:
        found.warning(f"{path}.tls", "unused", "no server of this upstream speaks TLS", "write `https://` before it")
    if upstream.tls.key and not upstream.tls.cert:
        found.error(f"{path}.tls.key", "conflict", "a key needs its certificate", "set `cert`")
    if upstream.tls.ca and not upstream.tls.verify:
        found.error(f"{path}.tls.ca", "conflict", "authorities are named and verification is off")
    if upstream.tls.crl and not upstream.tls.verify:
        found.error(f"{path}.tls.crl", "conflict", "a revocation list is named and verification is off")
    if upstream.tls.depth is not None and not upstream.tls.verify:
        found.error(f"{path}.tls.depth", "conflict", "a depth is named and verification is off")
    found.at_least(f"{path}.tls.depth", upstream.tls.depth, 0)
    _check_pool(found, f"{path}.pool", upstream.pool)
    _check_keyed(found, path, upstream)
    if upstream.pool.protocol == "h2":
        _check_h2(found, path, upstream)
    elif upstream.pool.protocol == "auto":
        _check_announced(found, path, upstream)
        if not _speaks_tls(upstream):
            found.warning(f"{path}.pool.protocol", "unused", "no server of this upstream speaks TLS, so all speak HTTP/1.1", "leave it out")
    _check_retry(found, f"{path}.retry", upstream.retry)
    _check_balance(found, f"{path}.balance", upstream.balance)
    _check_passive(found, f"{path}.passive", upstream.passive)
    if upstream.sticky is not None:
        _check_sticky(found, f"{path}.sticky", upstream.sticky)
    _check_marks(found, path, upstream)
    if upstream.outliers is not None:
        _check_outliers(found, f"{path}.outliers", upstream.outliers)
    if upstream.health is not None:
        _check_health(found, f"{path}.health", upstream)
    _check_agent(found, path, upstream)
    if upstream.unreachable_status and not 500 <= upstream.unreachable_status <= 599:
        found.error(f"{path}.unreachable_status", "out-of-range", f"{upstream.unreachable_status} says that it is somebody else's mistake")


def _speaks_tls(upstream: Upstream) -> bool:
    """Tell whether some server speaks TLS; where there is none at all, nothing is said of it."""
    if upstream.address is not None:
        return upstream.address_tls
    return not upstream.servers or any(server.tls for server in upstream.servers)


def _check_address(found: Findings, path: str, upstream: Upstream) -> None:
    """Check an upstream whose server each request names: what looks at several servers has nothing to look at."""
    assert upstream.address is not None
    check_text(found, f"{path}.address", upstream.address, Phase.REQUEST, is_field=False)
    if upstream.servers:
        found.error(f"{path}.servers", "conflict", "each request names its server, so there is no other", "say `servers` or `address`")
    for name in ("sticky", "outliers", "health", "agent"):
        if getattr(upstream, name) is not None:
            found.error(f"{path}.{name}", "conflict", "which servers there are is not known beforehand", "name them in `servers`")
    if upstream.balance != Balance():
        found.error(f"{path}.balance", "conflict", "each request names its server; there is nothing to choose")


def _check_server(found: Findings, path: str, server: Server, tls: UpstreamTls) -> None:
    if server.path:
        if server.host or server.port:
            found.error(path, "conflict", "a server has a host and port or the path of a socket, not both")
        elif server.tls and tls.verify and server.tls_verify and not (tls.name or tls.name_from is not None or server.tls_name):
            found.error(path, "missing", "TLS over a unix socket needs a name to verify", "set the `name` in `tls`")
        size = len(server.path.encode("utf-8", "surrogateescape"))
        if size > _SOCKET_PATH_MOST:
            text = f"the path of the socket has {size} bytes, and the kernel takes {_SOCKET_PATH_MOST} at most"
            found.error(f"{path}.path", "out-of-range", text, "put the socket, or a link to it, where the path is shorter")
    elif not server.host:
        found.error(path, "missing", "a server needs a host and a port, or the path of a socket")
    elif not 1 <= server.port <= 65_535:
        found.error(f"{path}.port", "out-of-range", f"{server.port} is no port", "ports are from 1 to 65535")
    elif not _is_host(server.host):
        found.error(f"{path}.host", "bad-value", f"`{server.host}` cannot be a host name")
    found.at_least(f"{path}.max_connections", server.max_connections, 1)
    found.at_least(f"{path}.max_fails", server.max_fails, 0)
    found.at_least(f"{path}.fail_window_ms", server.fail_window_ms, 1)
    found.at_least(f"{path}.priority", server.priority, 0)
    if not 0 <= server.check_port <= 65_535:
        found.error(f"{path}.check_port", "out-of-range", f"{server.check_port} is no port", "ports are from 1 to 65535")
    if server.resolve != "one" and (server.path or server.host.replace(".", "").isdigit() or ":" in server.host):
        found.error(f"{path}.resolve", "conflict", "only a name can stand for several servers")
    if not 1 <= server.weight <= 65_535:
        found.error(f"{path}.weight", "out-of-range", f"{server.weight} is no weight", "weights are from 1 to 65535")


def _is_host(text: str) -> bool:
    try:
        parse_server_host(f"[{text}]" if ":" in text else text)
    except ValueError:
        return False
    return True


def _check_announced(found: Findings, path: str, upstream: Upstream) -> None:
    """Check that no server that may speak HTTP/2 is told of one client."""
    for at, server in enumerate(upstream.servers):
        if server.proxy_protocol and (server.tls or upstream.pool.protocol == "h2"):
            help_ = "leave one of them out; the client's address is in X-Forwarded-For"
            found.error(f"{path}.servers[{at}].proxy_protocol", "conflict", "an HTTP/2 connection carries requests of many clients", help_)


def _check_keyed(found: Findings, path: str, upstream: Upstream) -> None:
    """Check what keeps requests from sharing connections."""
    if upstream.tls.name_from is not None:
        check_text(found, f"{path}.tls.name_from", upstream.tls.name_from, Phase.REQUEST, is_field=False)
    if upstream.pool.announced_id is not None:
        check_text(found, f"{path}.pool.announced_id", upstream.pool.announced_id, Phase.REQUEST, is_field=False)
    if all(server.proxy_protocol != "v2" for server in upstream.servers):
        message = "no server is told of clients by PROXY headers of version 2"
        for name, is_said in (("announced", bool(upstream.pool.announced)), ("announced_id", upstream.pool.announced_id is not None)):
            if is_said:
                found.warning(f"{path}.pool.{name}", "unused", message, 'write `proxy_protocol = "v2"` for a server')
    if upstream.pool.protocol != "http/1.1":
        for name, is_said in (("tls.name_from", upstream.tls.name_from is not None), ("pool.reuse", upstream.pool.reuse != "shared")):
            if is_said:
                message = "a connection of HTTP/2 carries requests of many clients, for any name"
                found.error(f"{path}.{name}", "conflict", message, 'say `protocol = "http/1.1"` in `pool`')


def _check_h2(found: Findings, path: str, upstream: Upstream) -> None:
    """Check what HTTP/2 to an upstream rules out."""
    _check_announced(found, path, upstream)
    if upstream.pool.bare_lf:
        found.error(f"{path}.pool.bare_lf", "conflict", "HTTP/2 has no lines", "leave it out")
    if upstream.health is not None and upstream.health.kind not in ("tcp", "tls", "talk"):
        found.error(f"{path}.health.kind", "conflict", "checks speak HTTP/1.1, and this upstream HTTP/2", 'say `kind = "tcp"` or `"tls"`')


def _check_pool(found: Findings, path: str, pool: Pool) -> None:
    found.at_least(f"{path}.idle_ms", pool.idle_ms, 0)
    found.at_least(f"{path}.max_idle", pool.max_idle, 0)
    found.at_least(f"{path}.max_connections", pool.max_connections, 1)
    found.at_least(f"{path}.max_waiting", pool.max_waiting, 0)
    if pool.local_address:
        try:
            ip_address(pool.local_address)
        except ValueError:
            found.error(f"{path}.local_address", "bad-address", f"`{pool.local_address}` is no address", "write one of this machine's")
    found.at_least(f"{path}.wait_ms", pool.wait_ms, 1)
    if pool.idle_ms >= _NODE_IDLE_MS and pool.max_idle:
        found.warning(
            f"{path}.idle_ms",
            "stale-connections",
            "Immich closes idle connections after 5 s, so requests will now and then meet a closed one",
            "keep it below 5 s",
        )


def _check_retry(found: Findings, path: str, retry: Retry) -> None:
    found.at_least(f"{path}.attempts", retry.attempts, 1)
    found.at_least(f"{path}.budget", retry.budget, 0)
    found.at_least(f"{path}.within_ms", retry.within_ms, 0)
    _check_statuses(found, f"{path}.statuses", retry.statuses, 400)


def _check_statuses(found: Findings, path: str, statuses: tuple[int, ...], least: int) -> None:
    for at, status in enumerate(statuses):
        if not least <= status <= 599:
            found.error(f"{path}[{at}]", "out-of-range", f"{status} is no status that can stand here", f"write {least} to 599")


def _check_balance(found: Findings, path: str, balance: Balance) -> None:
    if balance.method == "hash":
        if balance.key is None:
            found.error(f"{path}.key", "missing", "`hash` needs a `key`", 'for one server per address: `key = "{client_ip}"`')
        else:
            check_text(found, f"{path}.key", balance.key, Phase.REQUEST, is_field=False)
    elif balance.key is not None:
        found.error(f"{path}.key", "conflict", f"`{balance.method}` looks at no key", 'say `method = "hash"`')
    if balance.bound:
        if balance.method not in ("hash", "source"):
            found.error(f"{path}.bound", "conflict", "a bound is for `hash` and `source`")
        elif balance.bound < 101:
            found.error(f"{path}.bound", "out-of-range", "a server needs room for more than its fair share", "125 is usual")
    for name, bits, most in (("ipv4_bits", balance.ipv4_bits, 32), ("ipv6_bits", balance.ipv6_bits, 128)):
        if not 1 <= bits <= most:
            found.error(f"{path}.{name}", "out-of-range", f"an address has no {bits} bits", f"write 1 to {most}")
        elif bits != most and balance.method != "source":
            found.error(f"{path}.{name}", "conflict", "only `source` looks at addresses")
    found.at_least(f"{path}.slow_start_ms", balance.slow_start_ms, 0)
    if balance.table and (balance.method != "hash" or balance.bound):
        found.error(f"{path}.table", "conflict", "a table is for `hash` without a `bound`", "leave one of them out")


def _check_passive(found: Findings, path: str, passive: Passive) -> None:
    found.at_least(f"{path}.max_fails", passive.max_fails, 0)
    found.at_least(f"{path}.window_ms", passive.window_ms, 1)
    found.at_least(f"{path}.latency_ms", passive.latency_ms, 0)
    _check_statuses(found, f"{path}.statuses", passive.statuses, 100)


def _check_marks(found: Findings, path: str, upstream: Upstream) -> None:
    """Marks of one's own must be told apart, and are a value of a cookie."""
    taken: set[str] = set()
    for at, server in enumerate(upstream.servers):
        place = f"{path}.servers[{at}].mark"
        if not server.mark:
            continue
        if not _VALUE.fullmatch(server.mark):
            found.error(place, "bad-value", f"`{server.mark}` cannot be a mark", "use letters, digits, `-`, `_` and `.`")
        if server.resolve != "one":
            found.error(place, "conflict", "a name that stands for several servers cannot have one mark", "leave it out")
        if server.mark in taken:
            found.error(place, "duplicate", f"`{server.mark}` marks another server already")
        taken.add(server.mark)
    if taken and upstream.sticky is None:
        found.warning(f"{path}.servers", "unused", "nothing looks at these marks", "add `sticky`")
    if upstream.sticky is not None and not upstream.sticky.signed and not taken:
        found.error(f"{path}.sticky.signed", "missing", "no server has a mark of its own", "give servers a `mark`")
    elif upstream.sticky is not None and not upstream.sticky.give and not taken:
        found.error(f"{path}.sticky.give", "missing", "no server has a mark, and none is given", "give servers a `mark`")


def _check_sticky(found: Findings, path: str, sticky: Sticky) -> None:
    if bool(sticky.cookie) == bool(sticky.header):
        found.error(path, "conflict", "a mark needs a `cookie` or a `header`, one of the two")
    if sticky.parameter and not _TOKEN.fullmatch(sticky.parameter):
        found.error(f"{path}.parameter", "bad-value", f"`{sticky.parameter}` is no name of a parameter", "use letters, digits, `-` and `_`")
    if len(sticky.separator) > 1 or not _ATTRIBUTE.fullmatch(sticky.separator):
        found.error(f"{path}.separator", "bad-value", f"`{sticky.separator}` is not one character", 'write `"."`')
    if sticky.separator and sticky.give:
        found.error(f"{path}.separator", "conflict", "a mark behind a session is for the application to give", "say `give = false`")
    if sticky.cookie and not _TOKEN.fullmatch(sticky.cookie):
        found.error(f"{path}.cookie", "bad-value", f"`{sticky.cookie}` is no name of a cookie", "use letters, digits, `-` and `_`")
    if sticky.header:
        check_field_name(found, f"{path}.header", sticky.header)
    more = [(f"attributes[{at}]", each) for at, each in enumerate(sticky.attributes)]
    for name, value in (("path", sticky.path), ("domain", sticky.domain), *more):
        if not _ATTRIBUTE.fullmatch(value):
            found.error(f"{path}.{name}", "bad-value", "a cookie cannot carry this", "use printable ASCII without `;`")
    if not sticky.cookie:
        for name in ("hidden", "how", "yields", "posts", "attributes"):
            if getattr(sticky, name) != getattr(Sticky(), name):
                found.error(f"{path}.{name}", "conflict", f"`{name}` is for a cookie", "name a `cookie`")
    if sticky.how != "own" and not sticky.give:
        found.error(f"{path}.how", "conflict", "what the application sets is not changed with `give = false`", "leave one of them out")
    if sticky.how != "own" and sticky.hidden:
        found.error(f"{path}.hidden", "conflict", "this cookie is the application's", 'say `how = "own"`')
    if sticky.how == "prefix" and sticky.separator:
        found.error(f"{path}.separator", "conflict", "before a value stands `~`", "leave it out")
    if sticky.how != "own" and (sticky.yields or sticky.posts or sticky.attributes):
        named = "yields" if sticky.yields else "posts" if sticky.posts else "attributes"
        found.error(f"{path}.{named}", "conflict", "this cookie is the application's", 'say `how = "own"`')
    if sticky.same_site == "none" and sticky.secure == "never":
        found.error(f"{path}.same_site", "conflict", "browsers take `SameSite=None` only with `Secure`")


def _check_outliers(found: Findings, path: str, outliers: Outliers) -> None:
    if not outliers.consecutive and not outliers.percent:
        found.error(path, "missing", "nothing ejects a server", "set `consecutive` or `percent`")
    for name, percent in (("percent", outliers.percent), ("max_percent", outliers.max_percent)):
        if not 0 <= percent <= 100:
            found.error(f"{path}.{name}", "out-of-range", f"{percent} is no share in percent", "write 0 to 100")
    found.at_least(f"{path}.consecutive", outliers.consecutive, 0)
    found.at_least(f"{path}.requests", outliers.requests, 1)
    found.at_least(f"{path}.window_ms", outliers.window_ms, 1)
    found.at_least(f"{path}.eject_ms", outliers.eject_ms, 1)


def _check_health(found: Findings, path: str, upstream: Upstream) -> None:
    health = upstream.health
    assert health is not None
    plain = HealthCheck()
    if health.kind != "http":
        for name in ("method", "path", "version", "host", "headers", "content", "statuses", "body", "pattern", "head_pattern"):
            if getattr(health, name) != getattr(plain, name) and not (name == "host" and health.kind == "immich"):
                found.error(f"{path}.{name}", "conflict", f"a check of kind `{health.kind}` has no `{name}`", 'say `kind = "http"`')
    if (health.kind == "talk") != bool(health.talk):
        found.error(
            f"{path}.talk",
            "conflict",
            "`talk` is for checks of kind `talk`, which need it",
            'say `talk = ["send PING\\r\\n", "expect +PONG"]`',
        )
    for at, step in enumerate(health.talk):
        try:
            read_step(step)
        except ValueError as bad:
            found.error(f"{path}.talk[{at}]", "bad-value", str(bad))
    if not _TOKEN.fullmatch(health.method):
        found.error(f"{path}.method", "bad-value", f"`{health.method}` is no method")
    # OPTIONS may ask for nothing in particular (RFC 9110 9.3.7).
    if (not health.path.startswith("/") and (health.path, health.method) != ("*", "OPTIONS")) or not re.fullmatch("[!-~]+", health.path):
        found.error(f"{path}.path", "bad-path", f"`{health.path}` is no path", "begin with `/` and escape what is not ASCII")
    if not re.fullmatch("[!-~]*", health.host):
        found.error(f"{path}.host", "bad-host", f"`{health.host}` is no host")
    for name, value in health.headers:
        # A check has its connection for itself, and may ask for another protocol.
        if name.lower() not in ("connection", "upgrade"):
            check_field_name(found, f"{path}.headers", name)
        if not re.fullmatch("[ -~\t]*", value):
            found.error(f"{path}.headers", "bad-value", f"`{value}` cannot be the value of a field", "use printable ASCII")
    for name in ("pattern", "head_pattern"):
        try:
            re.compile(getattr(health, name).encode())
        except (re.error, OverflowError, RecursionError, UnicodeError) as bad:
            found.error(f"{path}.{name}", "bad-pattern", f"this is no regular expression: {bad}")
    if health.tls != "auto" and health.kind in ("tcp", "tls"):
        found.error(f"{path}.tls", "conflict", "the kind of this check says whether TLS is spoken", 'say `kind = "tcp"` or `"tls"`')
    # 101 ends an exchange, too: what follows is another protocol.
    _check_statuses(found, f"{path}.statuses", tuple([each for each in health.statuses if each != 101]), 200)
    if not 0 <= health.port <= 65_535:
        found.error(f"{path}.port", "out-of-range", f"{health.port} is no port", "ports are from 1 to 65535")
    for name in ("interval_ms", "fast_ms", "timeout_ms"):
        found.at_least(f"{path}.{name}", getattr(health, name), 100)
    if health.down_ms:
        found.at_least(f"{path}.down_ms", health.down_ms, 100)
    for name in ("rise", "fall"):
        found.at_least(f"{path}.{name}", getattr(health, name), 1)
    if not 0 <= health.jitter <= 100:
        found.error(f"{path}.jitter", "out-of-range", f"{health.jitter} is no share in percent", "write 0 to 100")


def _check_agent(found: Findings, path: str, upstream: Upstream) -> None:
    agent = upstream.agent
    for at, server in enumerate(upstream.servers):
        place = f"{path}.servers[{at}].agent_port"
        if not 0 <= server.agent_port <= 65_535:
            found.error(place, "out-of-range", f"{server.agent_port} is no port", "ports are from 1 to 65535")
        if agent is None and (server.agent_port or server.agent_host):
            found.error(place, "conflict", "no agent is asked", "add an `agent` to the upstream")
        elif agent is not None and server.agent and not agent.port and not server.agent_port:
            found.error(place, "missing", "on which port the agent is, nobody says", "set `agent.port`, or `agent_port` of the server")
        elif agent is not None and server.agent and server.path and not server.agent_host and not agent.host:
            message = "where the agent of a server on a unix socket is, nobody says"
            found.error(f"{path}.servers[{at}].agent_host", "missing", message, "set `agent.host`, or `agent_host` of the server")
    if agent is None:
        return
    if not 0 <= agent.port <= 65_535:
        found.error(f"{path}.agent.port", "out-of-range", f"{agent.port} is no port", "ports are from 1 to 65535")
    for name in ("interval_ms", "timeout_ms"):
        found.at_least(f"{path}.agent.{name}", getattr(agent, name), 100)
