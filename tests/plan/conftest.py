"""What tests of plans share: a reactor, and who judges passwords beside it."""

from collections.abc import Iterator

import pytest

from vestibule.net.reactor import Reactor
from vestibule.plan.judge import Judge


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


@pytest.fixture
def judge(reactor: Reactor) -> Iterator[Judge]:
    made = Judge()
    yield made
    made.stop(reactor)
