"""Where the configuration comes from: a file, or the options of the command line.

Rules: reading never raises for what people wrote; it gives a `Draft` with every mistake. Files named inside a configuration count
from the directory it lies in, or from the working directory for the command line; that is `base`.

Not here: the languages (`dialects`), whether certificate files are good (`certs.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Protocol

from vestibule import dialects
from vestibule.control.changes import Changes
from vestibule.dialects.read import Loaded
from vestibule.dialects.toml import for_command_line
from vestibule.model.config import Config
from vestibule.model.diagnostic import Diagnostic, Span, error


class Draft:
    """A configuration as it was read: the model if there is one, everything found wrong, and where its files count from."""

    def __init__(self, loaded: Loaded, base: Path, name: str, workers: int | None = None) -> None:
        config = loaded.config
        if config is not None and workers is not None:
            config = replace(config, process=replace(config.process, workers=workers))
        self.config: Config | None = config
        self.diagnostics: tuple[Diagnostic, ...] = loaded.diagnostics
        self.ok = loaded.ok
        self.place = loaded.place
        self.base = base
        self.name = name
        """How messages call it: the path as given, or empty for the command line."""


class Included:
    """Reads the files that a configuration includes, as they are changed; their names count from `base`."""

    def __init__(self, base: Path, changes: Changes | None = None) -> None:
        self._base = base
        self._changes = changes or Changes()

    def __call__(self, path: str) -> str:
        return self._changes.where(self._base / path).read_text(encoding="utf-8")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the environment, for languages that ask for them."""
        return os.environ

    def find_files(self, pattern: str) -> list[str]:
        """Return the files that a pattern matches, sorted by name, as nginx and others include them."""
        found = sorted(glob(pattern, root_dir=self._base))
        return [name for name in found if (self._base / name).is_file()]


class ConfigFile:
    """A file, read anew at each reload. `workers` takes the place of what it says."""

    def __init__(self, path: str, dialect: str = "", workers: int | None = None) -> None:
        self.name = path
        self.changes = Changes()
        self._workers = workers
        self._path = Path(path).absolute()
        self._dialect = dialect

    @property
    def base(self) -> Path:
        """Where the files it names count from."""
        return self._path.parent

    def read(self) -> Draft:
        """Read and check it."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return self._unreadable("there is no such file", "check the path")
        except UnicodeDecodeError as bad:
            return self._unreadable(f"byte {bad.start} is not UTF-8", "save the file as UTF-8")
        except OSError as bad:
            mend = "give this user access to it" if isinstance(bad, PermissionError) else "name a file"
            return self._unreadable(f"it cannot be read: {bad.strerror}", mend)
        loaded = dialects.load(self.name, text, Included(self.base, self.changes), self._dialect)
        return Draft(loaded, self.base, self.name, self._workers)

    def _unreadable(self, what: str, mend: str) -> Draft:
        return Draft(Loaded(None, (error(Span(self.name), "unreadable", what, mend),)), self.base, self.name)


class CommandLine:
    """The options of `vestibule run --to URL`; they do not change while the program runs."""

    name = ""

    def __init__(self, build: Callable[[], Loaded], workers: int | None) -> None:
        # A daemon may change its directory later; what was typed counts from here.
        self.base = Path.cwd()
        self.changes = Changes()
        self._build = build
        self._workers = workers

    def read(self) -> Draft:
        """Build and check it."""
        return Draft(self._build(), self.base, self.name, self._workers)


def command_line(to: str, *, host: str, cert: str, key: str, listen: tuple[str, ...], workers: int | None) -> CommandLine:
    """Return the source for the options of `vestibule run --to`."""
    return CommandLine(lambda: for_command_line(to, host, cert, key, listen), workers)


class ConfigSource(Protocol):
    """Whatever a configuration is read from."""

    @property
    def name(self) -> str:
        """How messages call it; empty for the command line."""
        ...

    @property
    def base(self) -> Path:
        """Where the files it names count from."""
        ...

    @property
    def changes(self) -> Changes:
        """What commands made of the files it names."""
        ...

    def read(self) -> Draft:
        """Read and check it, with the files it names as they are changed."""
        ...
