"""The streams of HTTP/1, those of HTTP/2 to upstreams, and connections passed on as they are keep the contract of `Stream`."""

from collections.abc import Callable

import pytest

from . import stream as suite
from .rigs_h1 import down, down_tls, up
from .rigs_h2 import up_h2
from .rigs_raw import raw_down, raw_down_tls, raw_up
from .stream import Rig

MAKERS = [down, down_tls, up, up_h2, raw_down, raw_down_tls, raw_up]


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_stream(maker: Callable[[], Rig], check: Callable[[Rig], None]) -> None:
    rig = maker()
    check(rig)
    rig.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_survives(maker: Callable[[], Rig]) -> None:
    suite.check_nothing_survives(maker)


def test_neutral() -> None:
    suite.check_neutral()
