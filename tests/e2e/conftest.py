"""What the end-to-end tests share: one proxy for all tests that need nothing special of it.

Rules: a test that needs other settings starts its own proxy with `make`, once for its module if it
can. `version` is the HTTP version towards the proxy; a test that takes `client` is run for each.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import Client, close_all
from .rig import Rig, build, tear_down
from .upstream import Upstream


@pytest.fixture(params=["h1"])
def version(request: pytest.FixtureRequest) -> str:
    """The HTTP version the client speaks."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A proxy with default settings and one worker, in front of one upstream."""
    rig = build(tmp_path_factory.mktemp("plain"))
    yield rig
    tear_down(rig)


@pytest.fixture
def upstream(plain: Rig) -> Iterator[Upstream]:
    """The upstream of `plain`, with nothing remembered."""
    plain.upstream.rest()
    yield plain.upstream
    plain.upstream.rest()


@pytest.fixture
def client(plain: Rig, version: str) -> Client:
    """A client of `plain`."""
    assert version == "h1"
    return plain.client


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """End the connections a test has left open, whether it passed or not."""
    yield
    close_all()


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Rig]]:
    """Start proxies that live as long as the module: `make(site="…", more="…")`."""
    rigs: list[Rig] = []

    def start(**settings: str | int) -> Rig:
        folder: Path = tmp_path_factory.mktemp("rig")
        rigs.append(build(folder, **settings))  # type: ignore[arg-type]
        return rigs[-1]

    yield start
    for rig in rigs:
        tear_down(rig)
