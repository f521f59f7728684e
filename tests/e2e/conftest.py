"""What the end-to-end tests share: one proxy for all tests that need nothing special of it.

Rules: a test that needs other settings starts its own proxy with `make`, once for its module if it
can. `version` is the HTTP version towards the proxy: a test that takes it, or `client`, is run for
each, and for HTTP/1 alone if it is marked `http1` because it is about that version's syntax.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import Client, close_all
from .rig import Rig, build, tear_down
from .upstream import Upstream

VERSIONS = ["h1", "h2"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "http1: is about what only HTTP/1 has, and not run for other versions")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for each version, or for HTTP/1 alone."""
    if "version" in metafunc.fixturenames:
        is_old = metafunc.definition.get_closest_marker("http1") is not None
        metafunc.parametrize("version", ["h1"] if is_old else VERSIONS)


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
    return plain.client.speaking(version)


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
