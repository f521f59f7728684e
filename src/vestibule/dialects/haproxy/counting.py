"""Limits by what clients do: ``stick-table`` with ``http_req_rate``, ``track-sc``, and ``deny`` on the rate.

Facts (HAProxy configuration manual, chapters 4.2 and 7.3): ``track-sc0 KEY`` counts by a key in the ``stick-table`` of the proxy, or in
that of another one with ``table NAME``; ``sc_http_req_rate(0)`` is how many requests came within the period of ``http_req_rate(PERIOD)``;
``src_http_req_rate`` looks up the client's address.

Rules
  A test that a rate is greater than a number is a limit where it stands: ``deny`` on it lets that many requests of a key pass in the
  period. It can stand beside other tests, and never in another place.
  Other counters are errors, because leaving them out would let through what was to be refused.

Not here: the conditions around it (``acl``), the rule (``rules``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.sample import Sample, State, Tracked, not_built
from vestibule.dialects.haproxy.tree import Section
from vestibule.model.config import RateLimit
from vestibule.model.expr import Expr, Var

_SLOTS = ("0", "1", "2")


@dataclass(frozen=True, slots=True)
class RateTest:
    """The test that a key had more than ``most`` requests in the period of its table."""

    key: Expr
    table: str
    most: int


def rate_test(sample: Sample, patterns: list[str], state: State) -> RateTest | None:
    """Return the test of a rate; None if the sample is something else. Raises ``Unreadable``."""
    name, arguments = sample.fetch, sample.arguments
    slot = ""
    if name == "sc_http_req_rate" and arguments:
        slot, arguments = arguments[0], arguments[1:]
    elif name.startswith("sc") and name.endswith("_http_req_rate") and name[2:3] in _SLOTS and len(name) == len("sc0_http_req_rate"):
        slot = name[2]
    elif name != "src_http_req_rate":
        return None
    words = [*patterns, "", ""]
    op, number = (words[0], words[1]) if words[0] in ("gt", "ge") else ("", "")
    if not number.isdecimal() or len(patterns) != 2 or len(number) > 9 or int(number) < (1 if op == "ge" else 0) or sample.converters:
        raise not_built("a rate that is compared so", f"write `{name} gt 100`")
    if not slot:
        tracked = Tracked(Var("peer_ip"), "".join(arguments[:1]))
    elif slot in state.tracked:
        found = state.tracked[slot]
        tracked = Tracked(found.key, "".join(arguments[:1]) or found.table)
    else:
        raise not_built(f"slot {slot}, which nothing before this line tracks", f"write `http-request track-sc{slot} src` before it")
    return RateTest(tracked.key, tracked.table, int(number) - (op == "ge"))


def period_of(section: Section | None) -> int | None:
    """Return the period of ``http_req_rate`` in a proxy's ``stick-table``; None if it has none."""
    for statement in section.effective() if section is not None else []:
        if statement.name == "stick-table":
            for word in " ".join(statement.arguments()).replace(",", " ").split():
                if word.startswith("http_req_rate(") and word.endswith(")"):
                    try:
                        return parse_time(word.removeprefix("http_req_rate(").removesuffix(")"))
                    except ValueError:
                        return None
    return None


def limit_of(test: RateTest, table: str, period_ms: int, status: int) -> RateLimit:
    """Return the limit that refuses what a test finds; all limits of one table and key count together."""
    # What may come at once is as much as in a period: the account is even again once as much time went by.
    return RateLimit(test.key, max(1, test.most), period_ms, max(0, test.most - 1), status=status, zone=f"{table} {test.most}")
