"""A house for each test, and that nothing is left of it."""

from collections.abc import Iterator

import pytest

from .house import House, Wire


@pytest.fixture
def house() -> Iterator[House]:
    """A proxy whose upstream answers by itself."""
    made = House()
    yield made
    made.close()
    assert made.tally.exchanges == 0
    assert made.tally.tunnels == 0


@pytest.fixture
def wire(house: House) -> Wire:
    """A client that has said hello."""
    return house.connect()
