"""What outlives a reload is closed exactly when nobody names it any more."""

from vestibule.plan.state import State, StateTable


class Thing(State):
    """Counts its closings."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_find_put_and_drop() -> None:
    table, thing = StateTable(), Thing()
    assert table.find("a") is None
    table.put("a", thing)
    assert table.find("a") is thing
    table.drop("a")
    table.drop("a")
    assert thing.closed == 1
    assert table.find("a") is None


def test_keep_closes_the_rest() -> None:
    table = StateTable()
    things = {name: Thing() for name in "cab"}
    for name, thing in things.items():
        table.put(name, thing)
    assert [name for name, _ in table.items()] == ["a", "b", "c"]
    assert table.keep({"a", "unknown"}) == 2
    assert (things["a"].closed, things["b"].closed, things["c"].closed) == (0, 1, 1)
    assert [name for name, _ in table.items()] == ["a"]
