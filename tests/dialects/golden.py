"""Golden cases of a language: a configuration, a line of dashes, and what comes of it.

What comes of it are the diagnostics and, if none of them is an error, the model as JSON without what has its default value.

Rules: a case is a file in `cases/` beside the tests of its language; `--accept` writes what came instead of comparing.

Not here: what only one language has to show (`LANGUAGE/test_parse.py`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from vestibule.compile import dry_compile
from vestibule.dialects.read import Loaded, Parse
from vestibule.dialects.toml import parse as parse_toml
from vestibule.dialects.toml import write
from vestibule.link.messages import Assets
from vestibule.model.config import Config
from vestibule.model.wire import to_data

RULE = "\n----------\n"

SHARED = ("timeouts", "limits", "forwarding")
"""What a language may set alike in each configuration."""


class Files:
    """The files that cases name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __call__(self, path: str) -> str:
        if path not in self._texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._texts[path]

    def find_files(self, pattern: str) -> list[str]:
        return [name for name in sorted(self._texts) if fnmatch(name, pattern)]


class Golden:
    """The cases of one language. What `usual` has of `SHARED` is not shown again."""

    def __init__(self, tests: str, name: str, parse: Parse, texts: Mapping[str, str], usual: Config | None = None) -> None:
        self.cases = sorted((Path(tests).parent / "cases").glob("*.txt"))
        self.files = Files(texts)
        self._name = name
        self._parse = parse
        self._usual = usual

    def load(self, text: str) -> Loaded:
        """Read a configuration as a case is read."""
        return self._parse(self._name, text, self.files)

    def outcome(self, text: str) -> str:
        """What comes of a text, as a case expects it."""
        loaded = self.load(text)
        lines = [each.render() for each in loaded.diagnostics]
        if loaded.ok:
            shown = brief(loaded.config)
            assert isinstance(shown, dict)
            for name in SHARED:
                if self._usual is not None and getattr(loaded.config, name) == getattr(self._usual, name):
                    shown.pop(name, None)
            lines.append(json.dumps(shown, indent=1, ensure_ascii=False))
        return "\n".join(lines) + "\n"

    def check(self, case: Path, accept: bool) -> None:
        """Compare what comes of a case with what it expects, or write it there."""
        text, rule, expected = case.read_text(encoding="utf-8").partition(RULE)
        got = self.outcome(text + "\n")
        if accept:
            case.write_text(text + RULE + got, encoding="utf-8")
            return
        assert rule
        assert got == expected

    def check_move(self, case: Path) -> None:
        """A sound case written as TOML is the same model."""
        loaded = self.load(text_of(case))
        if loaded.ok:
            assert loaded.config is not None
            again = parse_toml("again.toml", write(loaded.config, loaded.place))
            assert again.config == loaded.config

    def check_build(self, case: Path) -> None:
        """A sound case can be compiled."""
        loaded = self.load(text_of(case))
        if loaded.ok:
            assert loaded.config is not None
            # Certificates and authorities are files that nobody read here; what is not built says so by name.
            reasons = dry_compile(loaded.config, Assets())
            assert [each for each in reasons if "was not read" not in each and "not part of this build" not in each] == []


def text_of(case: Path) -> str:
    """The configuration of a case."""
    return case.read_text(encoding="utf-8").partition(RULE)[0]


def brief(value: object) -> object:
    """The JSON form of a value, less what is as it is by default."""
    if isinstance(value, tuple):
        return [brief(item) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return to_data(value)
    shown: dict[str, object] = {"type": type(value).__name__}
    for field in dataclasses.fields(value):
        have = getattr(value, field.name)
        if have != field.default:
            shown[field.name] = brief(have)
    return shown
