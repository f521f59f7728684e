"""The table of faults: complete, consistent, and safe to show."""

import pytest

from vestibule import fault
from vestibule.fault import CLIENT, IF_REUSED, KINDS, NEVER, SAFE, SIDE_NAMES, Fault, FaultKind, ProtocolError


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_row_is_sound(kind: FaultKind) -> None:
    side, _, what = kind.name.partition(".")
    assert SIDE_NAMES[kind.side] == side and what
    assert kind.status == 0 or 400 <= kind.status <= 599
    assert kind.text.endswith(".") and kind.text.isascii()
    assert kind.mend == "" or kind.mend[-1] in ".?"
    if kind.side == CLIENT:
        assert kind.status < 500 or kind.status in (501, 505), "the client's fault is not ours"
        assert kind.retry == NEVER
    if kind.retry == SAFE:
        assert kind.status in (502, 503, 504)


def test_every_constant_is_a_row_under_its_own_name() -> None:
    for name, value in vars(fault).items():
        if isinstance(value, FaultKind):
            assert name == value.name.replace(".", "_").upper()
            assert KINDS[value.name] is value
    assert len(KINDS) == sum(isinstance(value, FaultKind) for value in vars(fault).values())


def test_a_fault_inherits_its_kind_unless_told() -> None:
    kind = fault.UPSTREAM_LOST
    assert Fault(kind).retry == IF_REUSED and Fault(kind).status == 502
    assert Fault(kind, "closed", NEVER).retry == NEVER
    assert repr(Fault(kind, "closed")) == "Fault(upstream.lost: closed)" and repr(Fault(kind)) == "Fault(upstream.lost)"


def test_a_protocol_error_says_kind_and_place() -> None:
    error = ProtocolError(fault.CLIENT_BAD_HOST, "Host twice")
    assert str(error) == "client.bad_host: Host twice" and error.kind is fault.CLIENT_BAD_HOST
