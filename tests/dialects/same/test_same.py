"""One policy, written in several languages, is one model.

A folder is a policy; each file in it says it in the language that its ending names. What is compared is what a request meets: the
sites with everything they inherit, and the upstreams. Names are left out, since each language has its own.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from vestibule.dialects import load
from vestibule.model.config import (
    Config,
    InheritedAddress,
    Passive,
    Proxy,
    Retry,
    Route,
    Site,
    Source,
    Switch,
    TcpAddress,
    UnixAddress,
    Upstream,
)
from vestibule.model.wire import to_data

HERE = Path(__file__).parent
POLICIES = sorted([path for path in HERE.iterdir() if path.is_dir() and not path.name.startswith("_")])
LANGUAGES = {"toml", "nginx", "apache", "caddy", "haproxy"}


def address_of(config: Config, name: str) -> str:
    """Say where a listener listens; every IPv4 address and every address of both families count as one."""
    (listener,) = [each for each in config.listeners if each.name == name]
    address = listener.address
    assert not isinstance(address, InheritedAddress)
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    assert isinstance(address, TcpAddress)
    host = "*" if address.host in ("0.0.0.0", "::") else address.host
    return f"{host}:{address.port} {'tls' if listener.tls else 'plain'}"


def servers_of(config: Config, name: str) -> Upstream:
    (upstream,) = [each for each in config.upstreams if each.name == name]
    # What is tried again, how long a server is left out, and what is said then, every language has defaults of its own for, too.
    return replace(upstream, name="", retry=Retry(), passive=Passive(), unreachable_status=0)


def source_of(config: Config, source: Source, outer: Site | Route) -> object:
    """Return a source with upstreams in the place of their names, and routes with all they inherit."""
    if isinstance(source, Proxy):
        return to_data(servers_of(config, source.upstream))
    if not isinstance(source, Switch):
        return to_data(source)
    return [source.order, [level_of(config, route, outer) for route in source.routes]]


def level_of(config: Config, level: Site | Route, outer: Site | Route | Config) -> dict[str, object]:
    """Return what a site or route does, with everything it inherits."""
    whole = replace(
        level,
        timeouts=level.timeouts or outer.timeouts,
        limits=level.limits or outer.limits,
        forwarding=level.forwarding or outer.forwarding,
        access_log=level.access_log or outer.access_log,
    )
    fields = {each.name: getattr(whole, each.name) for each in dataclasses.fields(whole)}
    fields.pop("name")
    source = fields.pop("source")
    if isinstance(level, Site):
        fields["listeners"] = sorted([address_of(config, name) for name in level.listeners])
    shown: dict[str, object] = {name: to_data(value) for name, value in fields.items() if name not in IGNORED}
    return shown | {"source": source_of(config, source, whole)}


IGNORED = ("timeouts", "limits", "access_log", "https_port", "immich")
"""What every language has defaults of its own for."""


def shape(config: Config) -> object:
    """Return what is compared."""
    return [without_ways_of_one(level_of(config, site, config)) for site in config.sites]


def without_ways_of_one(data: object) -> object:
    """Leave out whether fields without a value are kept, which HAProxy alone does, and what is hidden, which nginx alone does unasked."""
    if isinstance(data, dict):
        return {name: without_ways_of_one(value) for name, value in data.items() if name not in ("keep_empty", "hide")}
    return [without_ways_of_one(each) for each in data] if isinstance(data, list) else data


@pytest.mark.parametrize("policy", POLICIES, ids=[each.name for each in POLICIES])
def test_one_policy_is_one_model(policy: Path) -> None:
    files = sorted(policy.iterdir())
    assert len(files) >= 2
    shapes: dict[str, object] = {}
    for file in files:
        language = file.suffix.removeprefix(".")
        assert language in LANGUAGES
        loaded = load(file.name, file.read_text(), dialect=language)
        assert loaded.ok, [each.render() for each in loaded.diagnostics]
        assert loaded.config is not None
        shapes[file.name] = shape(loaded.config)
    first = shapes[files[0].name]
    for name, other in shapes.items():
        assert other == first, name
