"""The canonical JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from tests.model.strategies import configs

from vestibule.model.config import Config, Deny, Listener, Proxy, Respond, Server, Site, TcpAddress, Upstream
from vestibule.model.wire import WireError, config_from_json, from_data, to_data, to_json

SMALL = Config(
    listeners=(Listener("web", TcpAddress(8080)),),
    sites=(Site("*", ("*",), ("web",), Proxy("immich"), request=(Deny(),)),),
    upstreams=(Upstream("immich", (Server("immich", 2283),)),),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_any_configuration_survives(config: Config) -> None:
    text = to_json(config)
    again = config_from_json(text)
    assert again == config
    assert to_json(again) == text


def test_classes_are_named_only_where_several_could_stand() -> None:
    data = json.loads(to_json(SMALL))
    assert data["listeners"][0]["address"] == {"type": "TcpAddress", "port": 8080, "host": "*", "v6only": True}
    assert data["sites"][0]["request"] == [{"type": "Deny", "status": 403}]
    assert "type" not in data["upstreams"][0]["servers"][0]
    assert "type" not in data["timeouts"]


def test_keys_are_in_the_order_of_declaration() -> None:
    assert list(json.loads(to_json(SMALL)))[:4] == ["listeners", "sites", "upstreams", "process"]


def test_text_beyond_utf8_survives() -> None:
    odd = Config((), (), (Upstream("\udcff", ()),))
    assert to_json(odd).isascii()
    assert config_from_json(to_json(odd)) == odd


def test_indented_for_people() -> None:
    assert to_json(SMALL, indent=2).startswith('{\n  "listeners": [\n')


def test_defaults_may_be_left_out() -> None:
    data = {"listeners": [], "sites": [], "upstreams": []}
    assert from_data(data) == Config((), (), ())


SOURCES = "expected one of Proxy, Respond, Redirect, Switch, Again, Files, Metrics"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sites", 0, "source"), {"type": "Nobody"}, f"config.sites[0].source.type: {SOURCES}"),
        (("sites", 0, "source"), {"upstream": "x"}, f"config.sites[0].source.type: {SOURCES}"),
        (("sites", 0, "source"), {"type": "Proxy"}, "config.sites[0].source: `upstream` is missing"),
        (("sites", 0, "source"), {"type": "Proxy", "upstream": "x", "a": 1}, "config.sites[0].source: unknown key `a`"),
        (("sites", 0, "source"), {"type": "Respond", "headers": [["a"]]}, "config.sites[0].source.headers[0]: an array of 2 is expected"),
        (("sites", 0, "source"), {"type": "Redirect", "location": {"type": "Const", "value": "/"}, "status": 200},
         "config.sites[0].source.status: unexpected value 200"),
        (("sites", 0, "source"), None, "config.sites[0].source: null is not allowed here"),
        (("sites", 0, "source"), [], "config.sites[0].source: an object is expected"),
        (("sites",), {}, "config.sites: an array is expected"),
        (("process", "workers"), True, "config.process.workers: unexpected value true"),
        (("process", "workers"), "2", 'config.process.workers: unexpected value "2"'),
        (("more",), 1, "config: unknown key `more`"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_by_place(path: tuple[str | int, ...], value: object, message: str) -> None:
    data = json.loads(to_json(SMALL))
    target = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(WireError) as caught:
        from_data(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(WireError, match="not JSON"):
        config_from_json(text)


def test_fixed_values_pass_unchanged() -> None:
    assert to_data(Respond(204))["status"] == 204  # type: ignore[index]
