"""What the end-to-end tests share: one proxy for all tests that need nothing special of it.

Rules: a test that needs other settings starts its own proxy with `make`, once for its module if it
can. `version` is the HTTP version towards the proxy: a test that takes it, or `client`, is run for
each, and for HTTP/1 alone if it is marked `http1` because it is about that version's syntax.
`behind` is what the upstream speaks, and `upstream_h1` marks a test for which that is HTTP/1 alone, with the reason.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import Client, close_all
from .rig import Rig, build, tear_down
from .upstream import Upstream

VERSIONS = ["h1", "h2"]

# What upstreams speak: the third is HTTP/2 within TLS, for the tests that say so because buffers and ends are others there.
BEHIND = ["h1", "h2"]
SECURE = "h2-tls"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for each version on both sides, or for HTTP/1 alone."""
    marker = metafunc.definition.get_closest_marker
    if "behind" in metafunc.fixturenames:
        is_told = marker("upstream_h1") is not None
        behind = ["h1"] if is_told else [*BEHIND, SECURE] if marker("upstream_tls") is not None else BEHIND
        metafunc.parametrize("behind", behind, scope="session")
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", ["h1"] if marker("http1") is not None else VERSIONS)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, behind: str) -> Iterator[Rig]:
    """A proxy with default settings and one worker, in front of one upstream."""
    rig = build(tmp_path_factory.mktemp("plain"), behind=behind)
    yield rig
    tear_down(rig)


@pytest.fixture
def upstream(plain: Rig) -> Iterator[Upstream]:
    """The upstream of `plain`, with nothing remembered."""
    plain.upstream.rest()
    yield plain.upstream
    close_all()  # who reads nothing would keep the proxy from seeing that its upstream rests
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
def make(tmp_path_factory: pytest.TempPathFactory, behind: str) -> Iterator[Callable[..., Rig]]:
    """Start proxies that live as long as the module: `make(site="…", more="…")`."""
    rigs: list[Rig] = []

    def start(**settings: str | int) -> Rig:
        folder: Path = tmp_path_factory.mktemp("rig")
        rigs.append(build(folder, behind=behind, **settings))  # type: ignore[arg-type]
        return rigs[-1]

    yield start
    for rig in rigs:
        tear_down(rig)
