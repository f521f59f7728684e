"""Rules: every play that a test begins must be brought to its end."""

from collections.abc import Callable, Iterator

import pytest

from .play import Play


@pytest.fixture
def play() -> Iterator[Callable[..., Play]]:
    """Begin a play with these settings of the proxy."""
    begun: list[Play] = []

    def begin(**settings: object) -> Play:
        begun.append(Play(**settings))  # type: ignore[arg-type]
        return begun[-1]

    yield begin
    for one in begun:
        if not one.finished:
            one.close()
    assert all(one.finished for one in begun), "a play without its end"
