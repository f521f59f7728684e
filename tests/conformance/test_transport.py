"""Plain and TLS transports keep the contract of `Transport`."""

from collections.abc import Callable

import pytest

from . import transport as suite
from .pair import Pair, clogged, plain, tls

pytestmark = pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from

MAKERS = [plain, tls]


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_transport(maker: Callable[[], Pair], check: Callable[[Pair], None]) -> None:
    pair = maker()
    check(pair)
    pair.close()


@pytest.mark.parametrize("check", suite.CLOGGED_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_clogged_transport(maker: Callable[[bool], Pair], check: Callable[[Pair], None]) -> None:
    pair = clogged(maker(True))
    check(pair)
    pair.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_survives(maker: Callable[[], Pair]) -> None:
    suite.check_nothing_survives(maker)
