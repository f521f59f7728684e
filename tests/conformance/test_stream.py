"""Every stream keeps the contract: those of both versions on both sides, connections passed on as they are, files and questions."""

from collections.abc import Callable

import pytest

from . import one_way
from . import stream as suite
from .rigs_h1 import down, down_tls, up
from .rigs_h2 import down_h2, up_h2
from .rigs_raw import raw_down, raw_down_tls, raw_up
from .stream import Rig

MAKERS = [down, down_tls, up, down_h2, up_h2, raw_down, raw_down_tls, raw_up]


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("maker", MAKERS)
def test_stream(maker: Callable[[], Rig], check: Callable[[Rig], None]) -> None:
    rig = maker()
    check(rig)
    rig.close()


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_survives(maker: Callable[[], Rig]) -> None:
    suite.check_nothing_survives(maker)


@pytest.mark.parametrize("check", one_way.FILE_CHECKS, ids=lambda check: check.__name__)
def test_file(check: Callable[[one_way.FileRig], None]) -> None:
    rig = one_way.FileRig()
    check(rig)
    rig.close()


@pytest.mark.parametrize("check", one_way.ANSWER_CHECKS, ids=lambda check: check.__name__)
def test_question(check: Callable[[one_way.AskRig], None]) -> None:
    rig = one_way.AskRig()
    check(rig)
    rig.close()


def test_nothing_survives_one_way() -> None:
    one_way.check_nothing_survives()


def test_neutral() -> None:
    suite.check_neutral()
