"""Requests that end here, and conditions around steps."""

import pytest

from vestibule.contract import PASS, Plan, Step
from vestibule.fault import CLIENT_BAD_TARGET, PROXY_DENIED
from vestibule.net.peer import PeerCertificate
from vestibule.plan.expr import Const, ConstTest
from vestibule.plan.steps.deny import CheckPath, ClientCertificate, Deny, HangUp
from vestibule.plan.steps.rewrite import Rewrite
from vestibule.plan.steps.when import When

from .fakes import FakeStream, FakeUpstream, answer_of, idle, request


@pytest.mark.parametrize("status", [403, 404, 410, 429, 451, 503])
def test_deny_answers_with_its_status(status: int) -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, [Deny(status)]))
    assert answer_of(down).status == status
    assert up.exchange is None
    assert ex.fault is not None
    assert ex.fault.kind.name == PROXY_DENIED.name
    assert PROXY_DENIED.status == 403


class Refusing(FakeStream):
    """A client side that remembers that the rest was refused."""

    refused = 0

    def refuse_rest(self) -> None:
        self.refused += 1


@pytest.mark.parametrize(
    ("target", "strict", "lax"),
    [("/a", True, True), ("/%41", True, True), ("/%zz", False, False), ("/%", False, False), ("/a%0", False, False), ("/%00", False, False),
     ("/../a", False, True), ("/%2e%2e/a", False, True), ("/?%zz", True, True)],
)  # fmt: skip
def test_path_is_checked(target: str, strict: bool, lax: bool) -> None:
    for resolved, passes in ((True, strict), (False, lax)):
        ex = idle(target)
        down = Refusing()
        ex.down = down
        assert (CheckPath(resolved).run(ex) == PASS) == passes
        assert down.refused == (0 if passes else 1)
        assert (ex.fault is None) == passes
        if ex.fault is not None:
            assert ex.fault.kind is CLIENT_BAD_TARGET
            assert answer_of(down).status == 400


def test_when() -> None:
    steps: list[Step] = [Rewrite(Const(b"/b"), None)]
    ex = idle("/a")
    assert When(ConstTest(False), steps).run(ex) == PASS
    assert ex.request.target == b"/a"
    assert When(ConstTest(True), steps).run(ex) == PASS
    assert ex.request.target == b"/b"


def test_answer_inside_a_condition_ends_the_plan() -> None:
    up = FakeUpstream()
    _, down = request(Plan("p", up, [When(ConstTest(True), [Deny(403), Deny(404)])]))
    assert answer_of(down).status == 403
    assert len(down.heads) == 1
    assert up.exchange is None


@pytest.mark.parametrize(
    ("shown", "fault"),
    [
        (None, "client.no_certificate"),
        (PeerCertificate(b"", 10), "client.bad_certificate"),
        (PeerCertificate(b"", 0), ""),
    ],
)
def test_only_who_has_shown_an_accepted_certificate_passes(shown: PeerCertificate | None, fault: str) -> None:
    ex = idle()
    ex.client.certificate = shown
    down = FakeStream()
    ex.down = down
    step = ClientCertificate(400)
    if not fault:
        assert step.run(ex) == PASS
        return
    assert step.run(ex) != PASS
    assert ex.fault is not None
    assert (ex.fault.kind.name, ex.fault.kind.status) == (fault, 400)
    assert ex.fault.detail == ("certificate has expired" if shown else "")


def test_hanging_up_is_no_answer() -> None:
    ex, down = request(Plan("p", FakeUpstream(), [HangUp()]))
    assert ex.over and down.heads == [] and down.body == b""
    assert [fault.kind.name for fault in down.faults] == ["proxy.denied"]
