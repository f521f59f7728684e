"""Routing: a switch answers as the plain ordered list would, however it is indexed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.contract import Plan, Source
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BAD_TARGET, CLIENT_MISDIRECTED, PROXY_LOOP, PROXY_NO_ROUTE, PROXY_NO_SITE
from vestibule.net.peer import PeerCertificate
from vestibule.plan.expr import FIELDS, Const, InSet
from vestibule.plan.switch import ANY, BEST, EXACT, PREFIX, REGEX, WRITTEN, Choice, HostSwitch, PathSwitch, RuleSwitch, make_switch
from vestibule.plan.variables import Header

from .fakes import FakeUpstream, answer_of, client, idle, request


def plan(name: str) -> Plan:
    return Plan(name, FakeUpstream(name))


# ---- hosts


def switch(default: Plan | None = None) -> HostSwitch:
    made = HostSwitch(default)
    made.add(b"a.example", plan("a"))
    made.add(b"*.example", plan("wide"))
    made.add(b"*.b.example", plan("deep"))
    made.add(b"[::1]", plan("six"))
    made.add_elsewhere(b"tls.other")
    return made


@pytest.mark.parametrize(
    ("authority", "name"),
    [("a.example", "a"), ("A.Example:8443", "a"), ("a.example.", "a"), ("x.example", "wide"), ("x.y.example", "wide"),
     ("x.b.example", "deep"), ("b.example", "wide"), ("[::1]:80", "six"), ("other", "any"), ("", "any"), ("example", "any")],
)  # fmt: skip
def test_host_chooses_the_site(authority: str, name: str) -> None:
    root = Plan("root", switch(plan("any")))
    for _ in range(2):
        ex, _ = request(root, authority=authority)
        assert ex.plan.name == name


@pytest.mark.parametrize(
    ("authority", "name"),
    [("a.example", "a"), ("x.example", "wide"), ("photos1.lan", "numbered"), ("PHOTOS2.lan:80", "numbered"), ("photos.lan", "any"),
     ("photos3.cloud", "numbered"), ("other", "any")],
)  # fmt: skip
def test_patterns_are_for_hosts_that_no_name_fits(authority: str, name: str) -> None:
    made = switch(plan("any"))
    made.add_pattern(b"^photos[0-9][.]", plan("numbered"))
    made.add_pattern(b"cloud$|^a[.]example$", plan("late"))
    ex, _ = request(Plan("root", made), authority=authority)
    assert ex.plan.name == name


@pytest.mark.parametrize(("authority", "kind"), [("other", PROXY_NO_SITE), ("tls.other", CLIENT_MISDIRECTED), ("", PROXY_NO_SITE)])
def test_unknown_host_is_refused(authority: str, kind: object) -> None:
    ex, down = request(Plan("root", switch()), authority=authority)
    assert answer_of(down).status == 421
    assert ex.fault is not None
    assert ex.fault.kind is kind


def test_memory_of_hosts_is_bounded() -> None:
    made = switch(plan("any"))
    root = Plan("root", made)
    for i in range(1500):
        ex, _ = request(root, authority=f"h{i}.example")
        assert ex.plan.name == "wide"
    assert len(made._known) <= 1024


def test_connection_bound_to_its_sni() -> None:
    made = switch()
    made.bind_to_sni(False)
    peer = client(scheme="https")
    peer.sni = b"A.example"
    ex, _ = request(Plan("root", made), authority="a.example", peer=peer)
    assert ex.plan.name == "a"
    ex, down = request(Plan("root", made), authority="x.b.example", peer=peer)
    assert answer_of(down).status == 421
    assert ex.fault is not None
    assert ex.fault.kind is CLIENT_MISDIRECTED
    peer.sni = b""
    ex, _ = request(Plan("root", made), authority="x.b.example", peer=peer)
    assert ex.plan.name == "deep"


def test_a_site_is_only_for_who_was_asked_as_it_asks() -> None:
    made = switch()
    wants = made.find(b"a.example")
    assert wants is not None
    made.bind_to_rules(wants, b"members")
    root, peer = Plan("root", made), client(scheme="https")
    for sni, rules, host, served in (
        (b"a.example", b"members", "a.example", True),
        (b"", b"members", "a.example", True),
        (b"A.example", b"", "a.example", False),
        (b"x.b.example", b"members", "a.example", False),
        (b"", b"others", "a.example", False),
        (b"a.example", b"members", "x.b.example", True),
    ):
        peer.sni, peer.rules = sni, rules
        ex, down = request(root, authority=host, peer=peer)
        assert (ex.plan.name != "root") is served
        if not served:
            assert answer_of(down).status == 421
            assert ex.fault is not None
            assert ex.fault.kind is CLIENT_MISDIRECTED


@pytest.mark.parametrize("takes_any", [False, True])
def test_who_came_before_certificates_were_asked_for(takes_any: bool) -> None:
    made = switch()
    made.bind_to_sni(True, takes_any)
    for shown, refused in ((None, True), (PeerCertificate(b"", 10), not takes_any), (PeerCertificate(b"", 0), False)):
        peer = client(scheme="https")
        peer.certificate = shown
        ex, down = request(Plan("root", made), authority="a.example", peer=peer)
        assert ex.plan.name == ("root" if refused else "a")
        if refused:
            assert answer_of(down).status == 403


# ---- routes


class Rule:
    """A route as the model says it, and the reference of what it means."""

    def __init__(self, kind: int, path: str, final: bool, methods: tuple[str, ...], tests: bool) -> None:
        self.kind = kind
        self.path = path
        self.final = final
        self.methods = methods
        self.tests = tests

    def choice(self, at: int) -> Choice:
        condition = InSet(Header(b"x"), [b"1"], False) if self.tests else None
        methods = [method.encode() for method in self.methods]
        return Choice(plan(str(at)), self.kind, self.path.encode(), False, self.final, methods, condition)

    def matches(self, path: str, method: str, header: bool) -> bool:
        if self.methods and method not in self.methods:
            return False
        if self.tests and not header:
            return False
        if self.kind == EXACT:
            return path == self.path
        if self.kind == PREFIX:
            return path.startswith(self.path)
        return self.kind == ANY or re.search(self.path, path) is not None


RULES = st.lists(
    st.one_of(
        st.builds(
            Rule, st.just(EXACT), st.sampled_from(["/", "/a", "/a/b"]), st.just(False), st.sampled_from([(), ("GET",)]), st.booleans()
        ),
        st.builds(
            Rule, st.just(PREFIX), st.sampled_from(["/", "/a", "/a/", "/ab"]), st.booleans(), st.sampled_from([(), ("PUT",)]), st.booleans()
        ),
        st.builds(
            Rule, st.just(REGEX), st.sampled_from(["^/a", "b$", "/./"]), st.just(False), st.sampled_from([(), ("GET",)]), st.booleans()
        ),
        st.builds(Rule, st.just(ANY), st.just(""), st.just(False), st.sampled_from([(), ("GET",)]), st.booleans()),
    ),
    max_size=12,
)
PATHS = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/ab/c", "/x/b", "/c"])


def first_written(rules: list[Rule], path: str, method: str, header: bool) -> int:
    for at, rule in enumerate(rules):
        if rule.matches(path, method, header):
            return at
    return -1


def best(rules: list[Rule], path: str, method: str, header: bool) -> int:
    found = [(at, rule) for at, rule in enumerate(rules) if rule.matches(path, method, header)]
    exact = [at for at, rule in found if rule.kind == EXACT]
    if exact:
        return exact[0]
    prefixes = sorted((-len(rule.path), at) for at, rule in found if rule.kind == PREFIX)
    if prefixes and rules[prefixes[0][1]].final:
        return prefixes[0][1]
    patterns = [at for at, rule in found if rule.kind == REGEX]
    if patterns:
        return patterns[0]
    if prefixes:
        return prefixes[0][1]
    others = [at for at, rule in found if rule.kind == ANY]
    return others[0] if others else -1


def named(choice: Choice | None) -> int:
    return -1 if choice is None else int(choice.plan.name)


@given(RULES, PATHS, st.sampled_from(["GET", "PUT"]), st.booleans())
def test_index_is_the_ordered_list(rules: list[Rule], path: str, method: str, header: bool) -> None:
    lines = ["X: 1"] if header else []
    ex = idle(path, *lines, method=method)
    choices = [rule.choice(at) for at, rule in enumerate(rules)]
    wanted = first_written(rules, path, method, header)
    assert named(RuleSwitch(choices).find(ex, path.encode())) == wanted
    assert named(PathSwitch(choices, WRITTEN).find(ex, path.encode())) == wanted
    assert named(PathSwitch(choices, BEST).find(ex, path.encode())) == best(rules, path, method, header)


@pytest.mark.parametrize(
    ("rules", "path", "first", "wanted"),
    [
        ([Rule(REGEX, "b$", False, (), False), Rule(PREFIX, "/a/", True, (), False)], "/a/b", 0, 1),
        ([Rule(PREFIX, "/a/", False, (), False), Rule(REGEX, "b$", False, (), False)], "/a/b", 0, 1),
        ([Rule(PREFIX, "/", True, (), False), Rule(PREFIX, "/a/", False, (), False), Rule(REGEX, "b$", False, (), False)], "/a/b", 0, 2),
        ([Rule(ANY, "", False, (), False), Rule(PREFIX, "/a", False, (), False)], "/a/b", 0, 1),
        ([Rule(PREFIX, "/a", False, (), False), Rule(EXACT, "/a/b", False, (), False)], "/a/b", 0, 1),
        ([Rule(EXACT, "/a/b", False, ("PUT",), False), Rule(PREFIX, "/a/b", False, ("PUT",), False), Rule(PREFIX, "/a", False, (), False)],
         "/a/b", 2, 2),
    ],
)  # fmt: skip
def test_orders_differ_as_they_should(rules: list[Rule], path: str, first: int, wanted: int) -> None:
    choices = [rule.choice(at) for at, rule in enumerate(rules)]
    assert named(PathSwitch(choices, WRITTEN).find(idle(path), path.encode())) == first == first_written(rules, path, "GET", False)
    assert named(PathSwitch(choices, BEST).find(idle(path), path.encode())) == wanted == best(rules, path, "GET", False)


def chosen(source: Source, target: str) -> Exchange:
    return request(Plan("root", source), target)[0]


@pytest.mark.parametrize("order", [WRITTEN, BEST])
@pytest.mark.parametrize("count", [1, 12])
def test_path_is_matched_in_normal_form(order: int, count: int) -> None:
    choices = [Choice(plan(f"n{i}"), EXACT, b"/n%d" % i) for i in range(count)]
    choices.append(Choice(plan("api"), PREFIX, b"/api/"))
    source = make_switch(choices, order)
    assert isinstance(source, RuleSwitch) == (order == WRITTEN and count == 1)
    for target in ("/api/x", "//api//x", "/x/../api/x", "/%61pi/x?y=/", "/./api/"):
        assert chosen(source, target).plan.name == "api", target
    missed = chosen(source, "/api")
    assert missed.fault is not None
    assert missed.fault.kind is PROXY_NO_ROUTE
    broken = chosen(source, "/%zz")
    assert broken.fault is not None
    assert broken.fault.kind is CLIENT_BAD_TARGET
    climbing = chosen(source, "/api/../../x")
    assert climbing.fault is not None
    assert climbing.fault.kind is CLIENT_BAD_TARGET


@pytest.mark.parametrize("order", [WRITTEN, BEST])
@pytest.mark.parametrize("count", [0, 20])
def test_a_route_does_not_depend_on_how_an_encoded_slash_is_read(order: int, count: int) -> None:
    choices = [Choice(plan("admin"), PREFIX, b"/admin/"), Choice(plan("one"), EXACT, b"/one/two"), Choice(plan("php"), REGEX, rb"^/php/")]
    choices += [Choice(plan("filler"), PREFIX, b"/filler%d/" % number) for number in range(count)]
    source = make_switch([*choices, Choice(plan("rest"))], order)
    for target in ("/admin%2Fx", "/admin%2fx", "/one%2Ftwo", "/x/..//admin%2fx", "/php%2Fx", "/%2Fadmin/", "/one%2F%2Ftwo"):
        fault = chosen(source, target).fault
        assert fault is not None and fault.kind is CLIENT_BAD_TARGET, target
    for target, name in (("/admin/a%2Fb", "admin"), ("/projects/a%2Fb", "rest"), ("/x%2Fadmin/", "rest"), ("/x?y=/admin%2Fx", "rest")):
        assert chosen(source, target).plan.name == name, target
    assert chosen(make_switch([Choice(plan("only"))], order), "/admin%2Fx").plan.name == "only", "nobody looks"


def test_path_is_left_alone_where_nobody_asks() -> None:
    source = make_switch([Choice(plan("put"), methods=[b"PUT"]), Choice(plan("rest"))], WRITTEN)
    ex = chosen(source, "/%zz")
    assert ex.plan.name == "rest"
    assert ex.request.target == b"/%zz"


def test_pattern_may_ignore_case() -> None:
    choices = [Choice(plan("p"), REGEX, rb"\.JPE?G$", True)]
    assert chosen(make_switch(choices, WRITTEN), "/a.jpg").plan.name == "p"
    with pytest.raises(re.error):
        Choice(plan("bad"), REGEX, b"(")


def test_circle_ends() -> None:
    inner = HostSwitch(None)
    circle = Plan("circle", inner)
    inner.add(b"photos.example", circle)
    ex, down = request(circle)
    assert answer_of(down).status == 500
    assert ex.fault is not None
    assert ex.fault.kind is PROXY_LOOP


def test_condition_of_a_choice() -> None:
    choice = Choice(plan("a"), condition=InSet(Const(b"1"), [b"1"], False))
    assert choice.fits(idle())
    assert not Choice(plan("a"), condition=Header(b"x")).fits(idle())
    assert Header(b"x").scope == FIELDS
