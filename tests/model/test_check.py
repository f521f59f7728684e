"""Whether configurations make sense.

The messages of what TOML can say are in the golden cases of ``tests/dialects/toml``; here is what needs a hand-made model,
and what holds for all of them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import hypothesis
import pytest
from hypothesis import given, settings
from tests.model.strategies import configs

from vestibule.model.check import check
from vestibule.model.check_expr import is_secret
from vestibule.model.config import (
    AccessLog,
    Address,
    Balance,
    BandwidthLimit,
    Certificate,
    ClientCertificate,
    Config,
    Deny,
    ErrorLog,
    Forwarding,
    HealthCheck,
    InheritedAddress,
    Limits,
    Listener,
    Outliers,
    Passive,
    Proxy,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    Route,
    Server,
    Sessions,
    SetHeader,
    Site,
    Sticky,
    Switch,
    TcpAddress,
    TcpRoute,
    Timeouts,
    TlsProfile,
    UdpAddress,
    UnixAddress,
    Upstream,
    When,
)
from vestibule.model.diagnostic import Span, has_errors
from vestibule.model.expr import Call, Compare, Concat, Const, Expr, InSet, Not, Var

LISTENER = Listener("web", TcpAddress(8080))
SITE = Site("any", ("*",), ("web",), Proxy("immich"))
SOUND = Config((LISTENER,), (SITE,), (Upstream("immich", (Server("immich", 2283),)),))


def found(config: Config) -> list[tuple[str, str]]:
    """Path and code of what is wrong."""
    return [(each.span.key, each.code) for each in check(config)]


def with_site(**changes: object) -> Config:
    return replace(SOUND, sites=(replace(SITE, **changes),))  # type: ignore[arg-type]  # whatever the test is about


def test_a_sound_configuration_has_nothing_wrong() -> None:
    assert check(SOUND) == ()


def test_the_caller_says_which_place_a_path_is() -> None:
    broken = with_site(source=Proxy("nobody"))
    (one,) = check(broken, lambda path: Span("f", 3, 4, path))
    assert one.render() == "f:3:4: error: there is no upstream `nobody`; known here: `immich`"
    assert one.span.key == "sites[0].source.upstream"


@settings(max_examples=80, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(configs())
def test_any_value_of_the_model_can_be_checked(config: Config) -> None:
    for each in check(config):
        assert each.span.key and each.code and each.message


def test_all_mistakes_are_found_at_once() -> None:
    broken = replace(
        SOUND,
        sites=(
            replace(SITE, listeners=("webb",), certificates=("c",), source=Proxy("x"), request=(Deny(200),)),
            replace(SITE, source=Switch(())),
        ),
        trusted_proxies=("lan",),
    )
    assert found(broken) == [
        ("sites[1].name", "duplicate-name"),
        ("trusted_proxies[0]", "bad-network"),
        ("sites[0].listeners[0]", "unknown-reference"),
        ("sites[0].certificates[0]", "unknown-reference"),
        ("sites[0].request[0].status", "out-of-range"),
        ("sites[0].source.upstream", "unknown-reference"),
        ("sites[1].source.routes", "empty-list"),
    ]


def test_what_is_unused_is_only_told_where_all_else_is_right() -> None:
    spare = replace(SOUND, certificates=(Certificate("spare", "s.pem"),))
    assert found(spare) == [("certificates[0]", "unused")]
    assert not has_errors(check(spare))
    assert ("certificates[0]", "unused") not in found(replace(spare, sites=(replace(SITE, source=Proxy("x")),)))


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (TcpAddress(80), TcpAddress(81), False),
        (TcpAddress(0), TcpAddress(0), False),
        (TcpAddress(80), TcpAddress(80), True),
        (TcpAddress(80), TcpAddress(80, "::1"), True),
        (TcpAddress(80, "127.0.0.1"), TcpAddress(80, "0.0.0.0"), True),
        (TcpAddress(80, "127.0.0.1"), TcpAddress(80, "::"), False),
        (TcpAddress(80, "127.0.0.1"), TcpAddress(80, "::", v6only=False), True),
        (TcpAddress(80, "0.0.0.0"), TcpAddress(80, "::"), False),
        (TcpAddress(80, "::1"), TcpAddress(80, "::"), True),
        (TcpAddress(80, "127.0.0.1"), TcpAddress(80, "127.0.0.2"), False),
        (UnixAddress("/a"), UnixAddress("/a", 0o600), True),
        (UnixAddress("/a"), UnixAddress("/b"), False),
        (UdpAddress(80), UdpAddress(80, "::1"), True),
        (UdpAddress(80, "127.0.0.1"), UdpAddress(80, "127.0.0.2"), False),
        (UdpAddress(80), TcpAddress(80), False),
        (TcpAddress(80), UdpAddress(80), False),
        (InheritedAddress("a"), InheritedAddress("a"), True),
        (InheritedAddress("a"), TcpAddress(80), False),
    ],
)
def test_addresses_that_the_kernel_would_refuse_together(one: Address, other: Address, clash: bool) -> None:
    config = replace(
        SOUND,
        listeners=(Listener("a", one), Listener("b", other)),
        sites=(replace(SITE, listeners=("a", "b")),),
    )
    assert (("listeners[1].address", "duplicate-address") in found(config)) is clash


@pytest.mark.parametrize(
    "address",
    [
        TcpAddress(70000),
        TcpAddress(80, "host"),
        UdpAddress(70000),
        UdpAddress(80, "host"),
        UnixAddress(""),
        UnixAddress("/a", 0o1777),
        InheritedAddress(""),
    ],
)
def test_addresses_that_cannot_be(address: Address) -> None:
    one, *more = found(replace(SOUND, listeners=(Listener("web", address),)))
    assert one[0].startswith("listeners[0].address")
    assert more == ([("listeners[0].routes", "missing")] if isinstance(address, UdpAddress) else [])


DATAGRAMS = Listener("names", UdpAddress(53), routes=(TcpRoute("immich"),))


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({}, []),
        ({"sessions": Sessions(1, 0, 1, 1)}, []),
        ({"sessions": Sessions(0, -1, 0, 0)}, ["sessions.idle_ms", "sessions.most", "sessions.requests", "sessions.responses"]),
        ({"routes": ()}, ["routes"]),
        ({"tls": True}, ["tls", "tls"]),
        ({"proxy_protocol": True, "proxy_protocol_from": ("10.0.0.1",)}, ["proxy_protocol"]),
        ({"address": TcpAddress(53), "sessions": Sessions()}, ["sessions"]),
        ({"address": TcpAddress(53)}, []),
        (
            {"routes": (TcpRoute("immich", names=("a.test",), bandwidth=(BandwidthLimit(Const(1)),)),)},
            ["routes[0].names", "routes[0].bandwidth"],
        ),
        ({"routes": (TcpRoute(listener="web"),)}, ["routes[0].listener"]),
        ({"routes": (TcpRoute("immich", when=Compare("==", Var("tls_sni"), Const("a"))),)}, ["routes[0].when"]),
        ({"routes": (TcpRoute("immich", when=Compare("==", Var("server_port"), Const(53))),)}, []),
        ({"routes": (TcpRoute("odd"),)}, ["routes[0].upstream"] * 3),
    ],
)
def test_listeners_of_datagrams(changes: dict[str, Any], places: list[str]) -> None:
    odd = Upstream("odd", (Server(path="/a"), Server("a", 1, tls=True), Server("a", 2, proxy_protocol="v1"), Server("a", 3)))
    config = replace(SOUND, listeners=(LISTENER, replace(DATAGRAMS, **changes)), upstreams=(*SOUND.upstreams, odd))
    assert [path for path, code in found(config) if code != "unused"] == [f"listeners[1].{place}" for place in places]


def test_every_time_out_and_limit_has_a_least() -> None:
    zero_timeouts = replace(SOUND, timeouts=Timeouts(*[0] * len(fields(Timeouts))))
    assert [path for path, _ in found(zero_timeouts)] == [f"timeouts.{field.name}" for field in fields(Timeouts) if field.name != "hold_ms"]
    below = replace(SOUND, limits=Limits(*[-1] * len(fields(Limits))))
    assert [path for path, _ in found(below)] == [f"limits.{field.name}" for field in fields(Limits)]
    assert found(replace(SOUND, limits=Limits(body_bytes=0))) == []


def test_settings_of_connections_cannot_differ_by_route() -> None:
    inner = Route(Proxy("immich"), timeouts=Timeouts(keep_alive_ms=1, body_idle_ms=1))
    config = with_site(limits=Limits(fields=7), source=Switch((inner,)))
    assert found(config) == [
        ("sites[0].limits.fields", "connection-setting"),
        ("sites[0].source.routes[0].timeouts.keep_alive_ms", "connection-setting"),
    ]


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("client", True),
        ("upstream", True),
        ("a.b:80", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("a:b", False),
        ("*", False),
        ("", False),
    ],
)
def test_hosts_to_send(host: str, good: bool) -> None:
    assert (found(replace(SOUND, forwarding=Forwarding(host=host))) == []) is good


@pytest.mark.parametrize(("name", "good"), [("X-Powered-By", True), ("a b", False), ("Content-Length", False)])
def test_fields_to_hide(name: str, good: bool) -> None:
    assert (found(replace(SOUND, forwarding=Forwarding(hide=("Server", name)))) == []) is good


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        (Var("method"), "wrong-kind"),
        (Var("tls", "x"), "argument"),
        (Compare("==", Call("mask", (Var("client_ip"), Const("many"), Const(64))), Const("")), "argument"),
        (Var("header"), "argument"),
        (Var("announced_tlv", "32.name"), "bad-type"),
        (Not(Var("method")), "wrong-kind"),
        (Compare("<", Var("method"), Const("a")), "wrong-kind"),
        (Compare("==", Var("status"), Const(200)), "too-early"),
        (InSet(Var("item"), ("a",)), "argument"),
        (Call("any_item", (Var("each_header", "x"), Var("item"))), "wrong-kind"),
        (Call("any_item", (Call("items", (Var("item"),)), Const(True))), "argument"),
        (Call("any_item", (Var("each_response_header", "x"), Const(True))), "too-early"),
        (InSet(Var("each_header", "x"), ("a",)), "wrong-kind"),
        (InSet(Call("lower", (Var("each_header", "x"),)), ("a",)), "wrong-kind"),
        (InSet(Call("item_at", (Var("each_header", "x"), Const(0))), ("a",)), "argument"),
        (InSet(Call("item_at", (Var("each_header", "x"), Var("server_port"))), ("a",)), "argument"),
        (Call("any_item", (Call("form_values", (Var("query"), Const("a"), Const(""))), Const(True))), "argument"),
    ],
)
def test_conditions(expr: Expr, code: str) -> None:
    assert code in [each for _, each in found(with_site(request=(When(expr, (Deny(),)),)))]


def test_nesting_has_an_end() -> None:
    source: Proxy | Switch = Proxy("immich")
    test: Expr = Var("tls")
    action: When | Deny = Deny()
    for _ in range(60):
        source = Switch((Route(source),))
        test = Not(test)
        action = When(Var("tls"), (action,))
    assert [code for _, code in found(with_site(source=source))] == ["too-deep"]
    assert [code for _, code in found(with_site(request=(When(test, (Deny(),)),)))] == ["too-deep"]
    assert [code for _, code in found(with_site(request=(action,)))] == ["too-deep"]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "content-length",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
    ],
)
def test_framing_is_not_for_configurations(name: str) -> None:
    config = with_site(request=(SetHeader(name, Const("x")),), response=(SetHeader(name, Const("x")),))
    assert [code for _, code in found(config)] == ["framing-field", "framing-field"]


def test_a_certificate_for_every_tls_site() -> None:
    tls = replace(SOUND, listeners=(replace(LISTENER, tls=True),))
    assert found(tls) == [("sites[0].certificates", "no-certificate")]
    named = replace(tls, sites=(replace(SITE, hosts=("a.test",), internal_tls=True),))
    assert found(named) == []
    assert found(replace(tls, sites=(replace(SITE, internal_tls=True),))) == [("sites[0].internal_tls", "conflict")]


def test_small_mistakes_of_sources() -> None:
    assert found(with_site(source=Respond(99))) == [("sites[0].source.status", "out-of-range")]
    assert found(with_site(source=Redirect(Const("")))) == [("sites[0].source.location", "empty-value")]
    assert found(with_site(request=(Rewrite(Concat(())),))) == [("sites[0].request[0].path", "bad-path")]
    assert found(with_site(request=(Rewrite(),))) == [("sites[0].request[0]", "empty-value")]


@pytest.mark.parametrize(
    ("server", "path", "code"),
    [
        (Server("a", 80, "/run/a"), "upstreams[0].servers[0]", "conflict"),
        (Server(), "upstreams[0].servers[0]", "missing"),
        (Server("a", 0), "upstreams[0].servers[0].port", "out-of-range"),
        (Server("a b", 80), "upstreams[0].servers[0].host", "bad-value"),
        (Server("1::z", 80), "upstreams[0].servers[0].host", "bad-value"),
        (Server("a", 80, weight=0), "upstreams[0].servers[0].weight", "out-of-range"),
        (Server(path="/run/" + "\u00e4" * 52), "upstreams[0].servers[0].path", "out-of-range"),
        (Server(path="/run/a", tls=True), "upstreams[0].servers[0]", "missing"),
    ],
)
def test_servers_that_cannot_be_reached(server: Server, path: str, code: str) -> None:
    assert found(replace(SOUND, upstreams=(Upstream("immich", (server,)),))) == [(path, code)]


@pytest.mark.parametrize(("host", "code"), [("B.test", "bad-host"), ("a b", "bad-host"), ("a.test", "duplicate-host")])
def test_hosts_are_canonical_and_belong_to_one_site(host: str, code: str) -> None:
    other = Site("other", ("a.test",), ("web",), Proxy("immich"))
    config = replace(SOUND, sites=(other, replace(SITE, hosts=(host,))))
    assert found(config) == [("sites[1].hosts[0]", code)]


def test_the_same_host_on_two_listeners_is_two_places() -> None:
    second = Listener("second", TcpAddress(8081))
    other = Site("other", ("*",), ("second",), Proxy("immich"))
    assert found(replace(SOUND, listeners=(LISTENER, second), sites=(SITE, other))) == []


def test_a_listener_is_named_once() -> None:
    assert found(with_site(listeners=("web", "web"))) == [("sites[0].listeners[1]", "duplicate-name")]


def test_names_and_targets_are_not_empty() -> None:
    assert found(replace(SOUND, listeners=(LISTENER, Listener("", TcpAddress(1))))) == [("listeners[1].name", "empty-name")]
    assert found(replace(SOUND, error_log=ErrorLog(""))) == [("error_log.target", "empty-value")]
    assert found(replace(SOUND, access_log=AccessLog(""))) == [("access_log.target", "empty-value")]
    assert ("sites", "empty-list") in found(replace(SOUND, sites=()))


def test_client_certificates_need_a_listener_that_asks_for_them() -> None:
    asking, silent = TlsProfile("asking", client_ca="ca.pem", client_verify="optional"), TlsProfile("silent")
    inner = Switch((Route(Proxy("immich"), request=(When(Compare("==", Var("method"), Const("PUT")), (ClientCertificate(),)),)),))
    site = replace(SITE, listeners=("tls",), certificates=("c",), source=inner)

    def problems(profile: str, tls: bool = True) -> list[tuple[str, str]]:
        door = Listener("tls", TcpAddress(443), tls=tls, tls_profile=profile)
        made = replace(SOUND, listeners=(door,), sites=(site,), certificates=(Certificate("c", "c.pem"),), tls_profiles=(asking, silent))
        return [each for each in found(made) if each[1] == "no-client-ca"]

    place = ("sites[0].source.routes[0].request[0].actions[0]", "no-client-ca")
    assert problems("asking") == []
    assert problems("silent") == problems("modern") == problems("asking", tls=False) == [place]


@pytest.mark.parametrize(
    ("profile", "place"),
    [
        (TlsProfile("p", client_verify="optional"), "client_verify"),
        (TlsProfile("p", client_verify="any"), ""),
        (TlsProfile("p", client_crl="crl.pem"), "client_crl"),
        (TlsProfile("p", client_ca_more="more.pem"), "client_ca_more"),
        (TlsProfile("p", client_depth=2), "client_depth"),
        (TlsProfile("p", client_ca="ca.pem", client_crl="crl.pem", client_depth=0), ""),
        (TlsProfile("p", client_ca="ca.pem", client_depth=-1), "client_depth"),
    ],
)
def test_what_profiles_ask_of_clients(profile: TlsProfile, place: str) -> None:
    places = {each for each, code in found(replace(SOUND, tls_profiles=(profile,))) if code != "unused"}
    assert places == ({f"tls_profiles[0].{place}"} if place else set())


def test_status_of_a_missing_client_certificate() -> None:
    codes = [code for _, code in found(with_site(request=(ClientCertificate(500),)))]
    assert "out-of-range" in codes


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"balance": Balance("hash")}, "balance.key", "missing"),
        ({"balance": Balance("first", Const("a"))}, "balance.key", "conflict"),
        ({"balance": Balance("hash", Var("status"))}, "balance.key", "too-early"),
        ({"balance": Balance("round_robin", bound=125)}, "balance.bound", "conflict"),
        ({"balance": Balance("source", bound=100)}, "balance.bound", "out-of-range"),
        ({"balance": Balance("source", ipv4_bits=33)}, "balance.ipv4_bits", "out-of-range"),
        ({"balance": Balance("first", ipv6_bits=64)}, "balance.ipv6_bits", "conflict"),
        ({"passive": Passive(window_ms=0)}, "passive.window_ms", "out-of-range"),
        ({"passive": Passive(statuses=(99,))}, "passive.statuses[0]", "out-of-range"),
        ({"retry": Retry(statuses=(503, 200))}, "retry.statuses[1]", "out-of-range"),
        ({"sticky": Sticky()}, "sticky", "conflict"),
        ({"sticky": Sticky("a", "b")}, "sticky", "conflict"),
        ({"sticky": Sticky("a;b")}, "sticky.cookie", "bad-value"),
        ({"sticky": Sticky(header="a b")}, "sticky.header", "bad-field"),
        ({"sticky": Sticky("a", domain="a;b")}, "sticky.domain", "bad-value"),
        ({"sticky": Sticky("a", secure="never", same_site="none")}, "sticky.same_site", "conflict"),
        ({"sticky": Sticky("a", parameter="a b")}, "sticky.parameter", "bad-value"),
        ({"sticky": Sticky("a", separator=".", give=True)}, "sticky.separator", "conflict"),
        ({"sticky": Sticky("a", separator="..", give=False), "servers": (Server("a", 80, mark="a"),)}, "sticky.separator", "bad-value"),
        ({"sticky": Sticky("a", give=False)}, "sticky.give", "missing"),
        ({"servers": (Server("a", 80, mark="a"),)}, "servers", "unused"),
        ({"sticky": Sticky("a"), "servers": (Server("a", 80, mark="a;b"),)}, "servers[0].mark", "bad-value"),
        ({"sticky": Sticky("a"), "servers": (Server("a", 80, mark="m", resolve="all"),)}, "servers[0].mark", "conflict"),
        ({"sticky": Sticky("a"), "servers": (Server("a", 80, mark="m"), Server("b", 80, mark="m"))}, "servers[1].mark", "duplicate"),
        ({"outliers": Outliers(0)}, "outliers", "missing"),
        ({"outliers": Outliers(percent=101)}, "outliers.percent", "out-of-range"),
        ({"outliers": Outliers(eject_ms=0)}, "outliers.eject_ms", "out-of-range"),
        ({"health": HealthCheck("tcp", path="/x")}, "health.path", "conflict"),
        ({"health": HealthCheck("http", "GET X")}, "health.method", "bad-value"),
        ({"health": HealthCheck("http", path="x")}, "health.path", "bad-path"),
        ({"health": HealthCheck("http", host="a b")}, "health.host", "bad-host"),
        ({"health": HealthCheck("http", statuses=(100,))}, "health.statuses[0]", "out-of-range"),
        ({"health": HealthCheck(port=70_000)}, "health.port", "out-of-range"),
        ({"health": HealthCheck(interval_ms=50)}, "health.interval_ms", "out-of-range"),
        ({"health": HealthCheck(rise=0)}, "health.rise", "out-of-range"),
        ({"health": HealthCheck(jitter=101)}, "health.jitter", "out-of-range"),
        ({"servers": (Server("a", 80, max_connections=0),)}, "servers[0].max_connections", "out-of-range"),
        ({"servers": (Server("192.0.2.1", 80, resolve="all"),)}, "servers[0].resolve", "conflict"),
    ],
)
def test_what_an_upstream_cannot_be(changes: dict[str, object], path: str, code: str) -> None:
    upstream = replace(SOUND.upstreams[0], **changes)  # type: ignore[arg-type]  # whatever the test is about
    assert found(replace(SOUND, upstreams=(upstream,))) == [(f"upstreams[0].{path}", code)]


def test_no_text_has_a_nul() -> None:
    config = replace(SOUND, certificates=(Certificate("a", cert="a.pem", key="a\0.key"),), error_log=ErrorLog(target="\0"))
    spoiled = [place for place, code in found(config) if code == "bad-value"]
    assert sorted(spoiled) == ["certificates[0].key", "error_log.target"]
    # A text with the four characters that stand for a NUL elsewhere has none.
    assert ("error_log.target", "bad-value") not in found(replace(SOUND, error_log=ErrorLog(target="\\x00")))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A", True),
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54", False),
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1", False),
        ("$7$CU..../....abc$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A", False),
    ],
)
def test_forms_of_stored_passwords(text: str, known: bool) -> None:
    assert is_secret(text) == known
