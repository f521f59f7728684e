"""Model to TOML and back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from tests.model.strategies import configs

from vestibule.dialects.toml import parse, write
from vestibule.model.config import Config, Server, Upstream


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_what_is_written_reads_back_the_same(config: Config) -> None:
    assert parse("written.toml", write(config)).config == config


def test_only_what_differs_is_written() -> None:
    assert write(Config((), (), ())) == "\n"
    assert write(Config((), (), (Upstream("u", (Server("h", 80),)),))) == '[upstreams.u]\nservers = ["http://h:80"]\n'


def test_text_that_toml_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="TOML has no way to write"):
        write(Config((), (), (Upstream("\udcff", ()),)))
