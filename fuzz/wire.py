"""Any bytes as the JSON of a model. Permitted exits: `Config`, and `WireError`.

Invariants: a model that was read is written as JSON that reads the same; judging it tells diagnostics and never fails.
"""

from fuzz.drive import main
from fuzz.texts import seeds_of
from vestibule.dialects.toml import parse
from vestibule.model.check import check
from vestibule.model.wire import WireError, config_from_json, to_json


def _seeds() -> list[bytes]:
    found = [parse("given", seed.decode(), lambda path: "").config for seed in seeds_of("toml")]
    return [to_json(config).encode() for config in found if config is not None]


SEEDS = _seeds()
WORDS = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"null", b"true", b"-1", b"1e9", b"0", b'"type":', b'""', *SEEDS[:50]]


def target(data: bytes) -> None:
    try:
        config = config_from_json(data.decode("utf-8", "replace"))
    except WireError:
        return
    assert config_from_json(to_json(config)) == config
    for each in check(config):
        assert each.render()


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
