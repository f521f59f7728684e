"""Hypothesis strategies for whole configurations.

Rules: names are unique and values have the right types; nothing promises that references lead anywhere or that
``check`` would be content. That is on purpose: what is written must read back the same, sensible or not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from vestibule.model import config as m
from vestibule.model import expr as e
from vestibule.model.syslog import FACILITIES, SEVERITIES
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES

_CHARS = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
words = st.text(_CHARS, max_size=8)
names = st.text(_CHARS, min_size=1, max_size=8)
counts = st.integers(0, 2**40)
milliseconds = st.integers(0, 2**40)
hosts = st.sampled_from(["a.example.org", "*.example.org", "*", "localhost", "xn--bcher-kva.example", "192.0.2.7", "[::1]"])
networks = st.sampled_from(["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"])
logs = st.sampled_from(["stdout", "stderr", "off", "access.log", "/var/log/ä b.log"])


def lists(items: Any, most: int = 3) -> Any:
    return st.lists(items, max_size=most).map(tuple)


def optional(items: Any) -> Any:
    return st.none() | items


def _variable(name: str) -> Any:
    return st.builds(e.Var, st.just(name), names if VARIABLES[name].argument else st.just(""))


_leaves = st.builds(e.Const, st.text(max_size=6) | st.integers(-(10**9), 10**9) | st.booleans()) | st.sampled_from(
    sorted(VARIABLES)
).flatmap(_variable)


def _inner(inner: Any) -> Any:
    return st.one_of(
        st.builds(e.Call, st.sampled_from(sorted(FUNCTIONS)), lists(inner)),
        st.builds(e.Concat, lists(inner)),
        st.builds(e.Match, st.text(max_size=6), inner, st.booleans()),
        st.builds(e.Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner, inner),
        st.builds(e.InSet, inner, lists(st.text(max_size=4)), st.booleans()),
        st.builds(e.InNet, inner, lists(st.text(max_size=4))),
        st.builds(e.AllOf, lists(inner)),
        st.builds(e.AnyOf, lists(inner)),
        st.builds(e.Not, inner),
        st.builds(e.If, inner, inner, inner),
        st.builds(e.Default, inner, inner),
    )


expressions: Any = st.recursive(_leaves, _inner, max_leaves=6)

timeouts = st.builds(m.Timeouts, *[milliseconds] * 8)
limits = st.builds(m.Limits, counts, counts, counts, optional(counts), counts, *[optional(counts)] * 4)
_forward = st.sampled_from(["set", "remove", "pass"])
_believed = (words | st.just(""), st.booleans(), st.booleans(), lists(st.sampled_from(["10.0.0.0/8", "::1/128"]), 2), lists(words, 2))
forwardings = st.builds(m.Forwarding, _forward, _forward, words, st.sampled_from(["drop", "allow"]), *_believed)
_lines = st.just(e.ALWAYS) | expressions
syslogs = st.builds(m.Syslog, st.sampled_from(FACILITIES), st.sampled_from(SEVERITIES), words, st.sampled_from(["local", "rfc5424"]))
_one_log = st.builds(m.AccessLog, logs, st.sampled_from(["json", "combined"]), st.none(), lists(words), _lines) | st.builds(
    m.AccessLog, logs, st.just("template"), expressions, lists(words), _lines, st.sampled_from(["text", "json"]), syslogs
)
access_logs = _one_log | st.builds(replace, _one_log, also=lists(_one_log))

compressions = st.builds(m.Compression, lists(st.sampled_from(["text/*", "*", "application/json"])), counts, st.integers(1, 9))

_levels = st.sampled_from(["user", "operator", "admin"])
_sockets = st.builds(m.CommandSocket, words, st.integers(0, 0o777), words, words, _levels)
processes = st.builds(m.Process, counts, words, words, words, words, words, lists(_sockets), milliseconds)
error_logs = st.builds(m.ErrorLog, logs, st.sampled_from(["debug", "info", "warning", "error"]), st.just(m.Syslog()) | syslogs)

addresses = st.one_of(
    st.builds(m.TcpAddress, st.integers(0, 65535), st.sampled_from(["*", "127.0.0.1", "0.0.0.0"])),
    st.builds(m.TcpAddress, st.integers(0, 65535), st.sampled_from(["::", "::1"]), st.booleans()),
    st.builds(m.UdpAddress, st.integers(0, 65535), st.sampled_from(["*", "127.0.0.1"])),
    st.builds(m.UdpAddress, st.integers(0, 65535), st.just("::1"), st.booleans()),
    st.builds(m.UnixAddress, names, st.integers(0, 0o777), words, words),
    st.builds(m.InheritedAddress, names),
)


def listeners(name: str) -> Any:
    protocols = st.lists(st.sampled_from(["h1", "h2"]), max_size=2).map(tuple)
    flag = st.booleans()
    sni = st.sampled_from(["refuse", "default", "strict"])
    networks = lists(st.sampled_from(["10.0.0.0/8", "2001:db8::/32"]))
    announced = st.tuples(flag, networks)
    return announced.flatmap(
        lambda pair: st.builds(
            m.Listener,
            *[st.just(name), addresses, flag, words, sni, words, protocols, st.just(pair[0]), st.just(pair[1]), st.just(())],
            *[counts, optional(timeouts), optional(limits), flag, optional(access_logs), lists(names, 2), lists(names, 2)],
            st.sampled_from(["strict", "open", "note"]),
            optional(st.builds(m.Sessions, milliseconds, optional(counts), optional(counts), counts)),
        )
    )


_bandwidth = st.builds(
    m.BandwidthLimit, expressions, st.sampled_from(["response", "request"]), optional(expressions), optional(expressions), words
)


def tcp_routes(upstreams: list[str]) -> Any:
    names = lists(st.sampled_from(["photos.example.org", "*.lan.example.org"]))
    to = st.builds(m.TcpRoute, st.sampled_from(upstreams), st.just(""), names, optional(expressions), lists(_bandwidth, 2))
    most = lists(st.builds(m.ConcurrencyLimit, expressions, counts), 2)
    rest = (st.just(()), optional(expressions), most)
    return to | st.builds(m.TcpRoute, st.just(""), words | st.just(""), names, optional(expressions), *rest)


_ways = st.sampled_from(["one", "all", "srv"])
_more = (st.integers(1, 9), st.booleans(), st.sampled_from(["", "v1", "v2"]), st.booleans(), counts, optional(counts), _ways)
_last = (words, optional(counts), optional(milliseconds), st.booleans(), words, counts, st.booleans(), words, counts)
_tls = (words, st.booleans(), words, lists(words))
servers = st.builds(
    m.Server, st.sampled_from(["immich", "192.0.2.1", "2001:db8::1"]), st.integers(1, 65535), st.just(""), st.booleans(), *_more, *_last
) | st.builds(m.Server, st.just(""), st.just(0), names, st.booleans(), *_more, *_last, *_tls)


def upstreams(name: str) -> Any:
    versions = st.sampled_from(["1.2", "1.3"])
    tls = st.builds(m.UpstreamTls, st.booleans(), *[words] * 6, versions, versions, *[lists(words)] * 3, optional(expressions))
    reuses = st.sampled_from(["shared", "proven", "safe", "private"])
    told = st.lists(st.sampled_from(["tls", "tls_name", "tls_cipher", "server_name", "alpn", "checksum"]), unique=True).map(tuple)
    last = {"announced": told, "local_address": st.sampled_from(["", "::1"]), "reuse": reuses, "announced_id": optional(expressions)}
    pool = st.builds(m.Pool, milliseconds, counts, optional(counts), counts, milliseconds, **last)
    causes = st.sampled_from(["connect", "lost", "timeout", "invalid"])
    methods = ["round_robin", "least_connections", "peak_ewma", "random_two", "source", "hash", "first"]
    kinds = st.sampled_from(["immich", "http", "tcp", "tls", "talk"])
    speaks = st.sampled_from(["auto", "always", "never"])
    more = [st.sampled_from(["1.1", "1.0"]), lists(words)]
    announced = st.sampled_from(["auto", "never", "v1", "v2"])
    same_site = st.sampled_from(["", "lax", "strict", "none"])
    secure = st.sampled_from(["auto", "always", "never"])
    texts = [words] * 3
    rest = [words, words, words, lists(words), counts, *[milliseconds] * 4, counts, counts, counts]
    headers = st.lists(st.tuples(words, words), max_size=3).map(tuple)
    flags = [st.booleans()] * 5
    severities = st.sampled_from(["emerg", "err", "debug"])
    pairs = st.dictionaries(words, words, max_size=2).map(lambda given: tuple(given.items()))
    hows = st.sampled_from(["own", "rewrite", "prefix"])
    return st.builds(
        m.Upstream,
        st.just(name),
        lists(servers),
        tls,
        pool,
        st.builds(m.Retry, counts, lists(causes), lists(counts), counts),
        st.builds(m.Balance, st.sampled_from(methods), optional(expressions), counts, counts, counts, milliseconds, st.booleans()),
        st.builds(m.Passive, counts, milliseconds, lists(counts), milliseconds),
        optional(
            st.builds(
                m.Sticky,
                *[words] * 4,
                counts,
                st.booleans(),
                secure,
                same_site,
                words,
                words,
                *flags,
                hows,
                st.booleans(),
                st.booleans(),
                lists(words),
            ),
        ),
        optional(st.builds(m.Outliers, counts, counts, counts, milliseconds, milliseconds, counts)),
        optional(st.builds(m.HealthCheck, kinds, *texts, headers, words, lists(counts), *rest, speaks, words, announced, *more)),
        optional(st.builds(m.Agent, counts, words, words, milliseconds, milliseconds)),
        events=lists(st.builds(m.EventLog, words, st.builds(m.Syslog), severities, severities, st.booleans(), pairs), 2),
        address=optional(expressions),
        address_tls=st.booleans(),
    )


_counting = st.sampled_from(["add", "set", "look", "find"])
_counted = st.sampled_from(["requests", "bytes_in", "bytes_out"])

_flat_actions = st.one_of(
    st.builds(m.SetHeader, words, expressions),
    st.builds(m.AddHeader, words, expressions),
    st.builds(m.EditHeader, words, expressions),
    st.builds(m.RemoveHeader, words),
    st.builds(m.Rewrite, expressions, optional(expressions)),
    st.builds(m.Rewrite, st.none(), expressions),
    st.builds(m.StripPrefix, words, st.booleans()),
    st.builds(m.Count, expressions, words, words, counts, milliseconds, st.booleans(), counts, milliseconds, _counting, _counted),
    st.builds(m.SetVariable, words, expressions, st.booleans()),
    st.builds(m.SetMethod, expressions),
    st.builds(m.RemoveHeaders, words),
    st.builds(m.EarlyHint, words, expressions),
    st.builds(m.SetClient, expressions),
    st.builds(m.SetStatus, counts, words),
    st.builds(m.AddTrailer, words, expressions),
    st.builds(m.ReplaceAnswer, counts, optional(expressions), lists(st.tuples(words, expressions))),
    st.builds(m.Deny, counts),
    st.builds(m.HangUp),
    st.builds(m.DropBody),
    st.builds(m.ReadBody, counts, milliseconds),
    st.builds(m.SetTimeouts, milliseconds, st.none() | milliseconds),
    st.builds(m.KeepAlive, st.none() | milliseconds, st.none() | counts, st.none() | milliseconds, counts),
    st.builds(m.SetBody, expressions),
    st.builds(m.ClientCertificate, counts),
    st.builds(m.BasicAuth, st.lists(st.tuples(words, words), max_size=2, unique_by=lambda each: each[0]).map(tuple), words),
)
_edits = st.builds(m.SetHeader, words, expressions) | st.builds(m.RemoveHeader, words)
_copies = st.lists(st.tuples(names, words), max_size=2, unique_by=lambda each: each[0]).map(tuple)
_limits = st.one_of(
    st.builds(m.RateLimit, expressions, counts, milliseconds, counts, optional(counts), counts, words, counts),
    st.builds(m.ConcurrencyLimit, expressions, counts, counts, words),
    _bandwidth,
)


def _questions(upstream_names: list[str]) -> Any:
    return st.builds(
        m.AuthRequest,
        st.sampled_from(upstream_names),
        *[optional(expressions)] * 2,
        words,
        lists(_edits, 2),
        _copies,
        st.booleans(),
    )


actions: Any = st.recursive(_flat_actions | _limits, lambda inner: st.builds(m.When, expressions, lists(inner, 2)), max_leaves=3)


def _sources(upstream_names: list[str]) -> Any:
    simple = st.one_of(
        st.builds(m.Proxy, st.sampled_from(upstream_names)),
        st.builds(m.Respond, counts, optional(expressions), lists(st.tuples(words, expressions), 2)),
        st.builds(m.Again, words | st.just("")),
        _metrics(),
        st.builds(m.Redirect, expressions, st.sampled_from([301, 302, 303, 307, 308])),
    )

    def switch(inner: Any) -> Any:
        routes = st.builds(
            m.Route,
            source=inner,
            name=words,
            path=optional(st.builds(m.PathMatch, st.sampled_from(["exact", "prefix", "regex"]), words, st.booleans(), st.booleans())),
            methods=lists(words, 2),
            when=optional(expressions),
            request=lists(actions, 2),
            response=lists(actions, 1),
            timeouts=optional(timeouts),
            limits=optional(limits),
            forwarding=optional(forwardings),
            access_log=optional(access_logs),
            compression=optional(compressions),
            errors=optional(lists(_errors(inner), 2)),
        )
        return st.builds(m.Switch, lists(routes, 2), st.sampled_from(["written", "best"]))

    nested = simple | switch(simple) | _files(st.none() | simple)
    return nested | switch(nested) | _files(st.none() | nested)


def _metrics() -> Any:
    forms = st.sampled_from(["prometheus", "json", "html", "nginx", "apache", "haproxy"])
    servers = st.lists(st.tuples(names, words), max_size=2, unique_by=lambda each: each[0]).map(tuple)
    return st.builds(m.Metrics, forms, st.booleans(), st.integers(0, 2**40), lists(names, 2), words, servers)


def _errors(sources: Any) -> Any:
    return st.builds(
        m.ErrorRoute,
        sources,
        lists(counts),
        optional(counts),
        st.booleans(),
        lists(actions, 1),
        lists(actions, 1),
        passes=lists(words),
        whole=st.booleans(),
    )


def _files(otherwise: Any) -> Any:
    types = st.lists(st.tuples(names, words), max_size=2, unique_by=lambda each: each[0]).map(tuple)
    return st.builds(m.Files, names, words, lists(names), lists(expressions), otherwise, words, types, st.booleans())


@st.composite
def configs(draw: Any) -> m.Config:
    """Any configuration TOML can carry: names unique, upstream and listener references leading somewhere."""
    doors = [draw(listeners(name)) for name in draw(st.lists(names, min_size=1, max_size=2, unique=True))]
    pools = [draw(upstreams(name)) for name in draw(st.lists(names, min_size=1, max_size=2, unique=True))]
    doors = [replace(each, routes=draw(lists(tcp_routes([pool.name for pool in pools]), 2))) for each in doors]
    sources = _sources([each.name for each in pools])
    sites = [
        m.Site(
            name=name,
            hosts=draw(lists(hosts)),
            listeners=draw(lists(st.sampled_from([each.name for each in doors]))),
            source=draw(sources),
            request=draw(lists(actions | _questions([each.name for each in pools]), 1)),
            response=draw(lists(actions, 1)),
            certificates=(certificates := draw(lists(names, 2))),
            internal_tls=(internal := draw(st.booleans()) and not certificates),
            acme=draw(st.booleans()) and not internal,
            issuers=draw(lists(names, 2)),
            redirect_http=draw(st.booleans()),
            https_port=draw(st.integers(1, 65535)),
            hsts=draw(optional(st.builds(m.Hsts, st.integers(0, 2**40), st.booleans()))),
            errors=draw(lists(_errors(sources), 1)),
            immich=draw(st.booleans()),
            timeouts=draw(optional(timeouts)),
            limits=draw(optional(limits)),
            forwarding=draw(optional(forwardings)),
            access_log=draw(optional(access_logs)),
            compression=draw(optional(compressions)),
            host_patterns=draw(lists(words, 1)),
        )
        for name in draw(st.lists(names, max_size=2, unique=True))
    ]
    version = st.sampled_from(["1.2", "1.3"])
    profiles = [
        draw(
            st.builds(
                m.TlsProfile,
                st.just(name),
                version,
                version,
                lists(words),
                lists(words),
                st.booleans(),
                words,
                st.sampled_from(["require", "optional", "any"]),
                words,
                st.none() | st.integers(0, 9),
                lists(words),
            )
        )
        for name in draw(st.lists(names, max_size=2, unique=True))
    ]
    certificates = [
        draw(st.builds(m.Certificate, st.just(name), words, words, words)) for name in draw(st.lists(names, max_size=2, unique=True))
    ]
    return m.Config(
        listeners=tuple(doors),
        sites=tuple(sites),
        upstreams=tuple(pools),
        process=draw(processes),
        certificates=tuple(certificates),
        tls_profiles=tuple(profiles),
        trusted_proxies=draw(lists(networks)),
        timeouts=draw(timeouts),
        limits=draw(limits),
        forwarding=draw(forwardings),
        access_log=draw(access_logs),
        error_log=draw(error_logs),
    )
