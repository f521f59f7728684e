"""Any text as a configuration: what the targets of the five languages share. Permitted exits: `Loaded`, never an exception.

Invariants
  1. A diagnostic can be shown, and its place is in the text.
  2. Without an error there is a model. It crosses the wire, and written as TOML it is the same model again.
  3. It can be built, or the reasons against it are told.

Facts: the seeds are the golden cases of the language, with their lines as words.
"""

from pathlib import Path

from vestibule.compile import dry_compile
from vestibule.dialects.read import Parse
from vestibule.dialects.toml import parse as parse_toml
from vestibule.dialects.toml import write
from vestibule.link.messages import Assets
from vestibule.model.wire import config_from_json, to_json

_CASES = Path(__file__).resolve().parent.parent / "tests" / "dialects"
_RULE = "\n----------\n"
_WORDS_MOST = 4_000


def seeds_of(language: str) -> list[bytes]:
    """Return the configurations of the golden cases of a language."""
    files = sorted((_CASES / language / "cases").glob("*.txt"))
    return [file.read_text(encoding="utf-8").partition(_RULE)[0].encode() + b"\n" for file in files]


def words_of(seeds: list[bytes]) -> list[bytes]:
    """Return the lines of the seeds, each once, in their order."""
    return list(dict.fromkeys(line + b"\n" for seed in seeds for line in seed.split(b"\n")))[:_WORDS_MOST]


def check_text(parse: Parse, data: bytes) -> None:
    """Read a text as a configuration and see that what comes of it holds."""
    # As `vestibule check` reads files: what is not UTF-8 never comes to a dialect.
    text = data.decode("utf-8", "replace")
    loaded = parse("given", text, _refuse)
    lines = text.count("\n") + 1
    for each in loaded.diagnostics:
        assert each.render()
        assert each.span.file != "given" or 0 <= each.span.line <= lines, each
    if not loaded.ok:
        assert loaded.diagnostics
        return
    config = loaded.config
    assert config is not None
    assert config_from_json(to_json(config)) == config
    again = parse_toml("again.toml", write(config, loaded.place))
    assert again.config == config, again.diagnostics
    dry_compile(config, Assets())


def _refuse(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)
