"""Integers that only grow."""

from vestibule.counts import BOUNDS_MS, NOWHERE, CountBook, Counts, ServerCounts


def test_a_time_falls_into_the_first_range_it_is_not_over() -> None:
    counts = Counts()
    for took in (0, 5, 6, 300_000, 300_001):
        counts.end(200, 1, 2, took)
    assert (counts.ranges[0], counts.ranges[1], counts.ranges[-2], counts.ranges[-1]) == (2, 1, 1, 1)
    assert len(counts.ranges) == len(BOUNDS_MS) + 1
    told = counts.told()
    assert (told["ended"], told["bytes_in"], told["bytes_out"], told["total_ms"]) == (5, 5, 10, 600_012)
    assert told["classes"] == {"0": 0, "1": 0, "2": 5, "3": 0, "4": 0, "5": 0}


def test_faults_have_their_names() -> None:
    counts = Counts()
    for name in ("upstream.refused", "client.gone", "upstream.refused"):
        counts.fault(name)
    assert counts.told()["faults"] == {"upstream.refused": 2, "client.gone": 1}


def test_what_becomes_of_attempts() -> None:
    counts = ServerCounts("u", "s")
    counts.answered(404)
    counts.failed()
    counts.repeated()
    counts.answered(999)
    assert (counts.attempts, counts.failures, counts.retries, counts.classes[4], counts.classes[0]) == (4, 2, 1, 1, 1)


def test_a_name_keeps_its_counts() -> None:
    book = CountBook()
    assert book.site("a") is book.site("a")
    assert book.listener("a") is book.listener("a") is not book.site("a")
    assert book.server("u", "s") is book.server("u", "s") is not book.server("v", "s")
    book.server("u", "t").failed()
    book.site("a").begun = 3
    book.site("a").ended = 1
    book.site(NOWHERE).ended = 4
    told = book.told()
    assert set(told) == {"sites", "listeners", "servers"}
    servers = told["servers"]
    assert isinstance(servers, dict)
    assert {name: set(each) for name, each in servers.items()} == {"u": {"s", "t"}, "v": {"s"}}
    assert book.active() == {"a": {"active": 2}}
