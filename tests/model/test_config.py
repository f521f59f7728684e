"""What holds for every class of the model."""

from __future__ import annotations

import dataclasses

import pytest

from vestibule.model import config, expr
from vestibule.model.config import Config, Limits, Pool, Timeouts

CLASSES = [
    value
    for module in (config, expr)
    for value in vars(module).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
]


@pytest.mark.parametrize("cls", CLASSES, ids=[cls.__name__ for cls in CLASSES])
def test_values_are_frozen_and_compare_by_value(cls: type) -> None:
    params = cls.__dataclass_params__  # type: ignore[attr-defined]
    assert (params.frozen, params.eq) == (True, True)
    assert "__slots__" in vars(cls)
    assert cls.__doc__ and cls.__doc__.endswith(".")


def test_an_empty_configuration_is_one_value() -> None:
    one, other = Config((), (), ()), Config((), (), ())
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.sites = ()  # type: ignore[misc]


def test_defaults_suit_immich() -> None:
    """Uploads have no limit, long waits are allowed, and idle connections end before Node's 5 s."""
    assert Limits().body_bytes is None
    assert Timeouts().response_head_ms == Timeouts().body_idle_ms == 600_000
    assert Timeouts().keep_alive_ms == 75_000
    assert Timeouts().tunnel_idle_ms >= 3_600_000
    assert Pool().idle_ms < 5_000
    assert (Limits().head_bytes, Limits().fields) == (16_384, 100)
