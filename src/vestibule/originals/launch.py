"""What all four wrappers do: serve in the foreground or behind the scenes, check, and speak to a running program by its pid file.

Facts: a service manager that starts a daemon waits for the first process to exit, and then reads the pid file (systemd.service(5),
`Type=forking`). So the first process stays until the second serves or has failed, and the pid file is there before.

Not here: flags and messages of a program (`nginx.py`, `haproxy.py`, `caddy.py`, `httpd.py`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vestibule import dialects
from vestibule.control.changes import Changes
from vestibule.control.inspect import inspect
from vestibule.control.main import Serving, Signals, StartError, run
from vestibule.control.source import ConfigSource, Draft, Included
from vestibule.control.watch import Watch
from vestibule.dialects.read import Loaded
from vestibule.model.config import Config
from vestibule.model.diagnostic import Diagnostic, Severity, Span, error

STDERR = 2

# What a language leaves out, because the service manager does it, and a wrapper does all the same.
_DONE_HERE = ("`daemon`", "`master_process`", "`master-worker`")


def say(text: str) -> None:
    """Tell people something, on standard error as all four programs do."""
    sys.stderr.write(f"{text}\n")


class Usage(Exception):
    """Flags that make no sense; the text says which."""


def split_flags(words: list[str], takes: Mapping[str, bool]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split flags from other words. `takes` says of each flag whether a value follows, in the next word or glued to it.

    Raises `Usage` for a flag that there is not, or without its value.
    """
    flags: list[tuple[str, str]] = []
    others: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        if word in takes:
            if not takes[word]:
                flags.append((word, ""))
                continue
            if at >= len(words):
                raise Usage(f'option "{word}" requires a value')
            flags.append((word, words[at]))
            at += 1
            continue
        glued = next((name for name in takes if takes[name] and len(name) == 2 and word.startswith(name)), "")
        if not glued:
            raise Usage(f'invalid option: "{word}"')
        flags.append((glued, word[2:]))
    return flags, others


class Text:
    """A configuration as a wrapper puts it together: of a text that includes files, of several files, with things changed.

    `load` reads it anew at each reload; `adjust` changes what came of it.
    """

    def __init__(
        self,
        name: str,
        base: Path,
        load: Callable[[Included], Loaded],
        adjust: Callable[[Config], Config] | None = None,
    ) -> None:
        self.name = name
        self.changes = Changes()
        self._base = base
        self._load = load
        self._adjust = adjust

    @property
    def base(self) -> Path:
        """Where the files it names count from."""
        return self._base

    def read(self) -> Draft:
        """Read and check it."""
        draft = Draft(self._load(Included(self._base, self.changes)), self._base, self.name)
        draft.diagnostics = tuple([each for each in draft.diagnostics if not each.message.startswith(_DONE_HERE)])
        if draft.config is not None and self._adjust is not None:
            draft.config = self._adjust(draft.config)
        return draft


def read_file(path: str, dialect: str, included: Included, parse: Callable[[str, str, Included], Loaded] | None = None) -> Loaded:
    """Read one file in a language, by ``parse`` where it is given. What cannot be read is a diagnostic."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as bad:
        why = bad.strerror if isinstance(bad, OSError) else "it is not UTF-8"
        return Loaded(None, (error(Span(path), "unreadable", f"cannot be read: {why}", "check the path"),))
    return dialects.load(path, text, included, dialect) if parse is None else parse(path, text, included)


def with_pid_file(config: Config, path: str) -> Config:
    """Return a configuration that has this pid file, unless it names one itself."""
    if config.process.pid_file or not path:
        return config
    return replace(config, process=replace(config.process, pid_file=path))


def diagnostics_of(source: ConfigSource) -> tuple[list[Diagnostic], list[str], bool]:
    """Check a configuration: what is wrong in its text, what else is, and whether it may be used."""
    draft = source.read()
    found = inspect(draft)
    texts = {each.render() for each in draft.diagnostics}
    return list(draft.diagnostics), [line for line in found.lines if line not in texts], found.ok


def errors_of(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Return what forbids a configuration."""
    return [each for each in diagnostics if each.severity is Severity.ERROR]


# ---------------------------------------------------------------- serving


def serve(source: ConfigSource, signals: Signals, daemon: bool, refuse: Callable[[list[str]], int], watched: Path | None = None) -> int:
    """Serve until told to stop; return the number of the signal that said so, negated, or an exit status.

    As a daemon, this process returns 0 once another one serves. `refuse` tells why it cannot start and returns the status. SIGHUP, by
    which a change of the file that is `watched` is told, must be one of the signals that reload.
    """
    watch = Watch(watched)
    if daemon:
        return _serve_apart(source, signals, refuse, watch)

    def on_serving(serving: Serving) -> None:
        del serving
        watch.begin()

    try:
        return -run(source, on_serving, signals=signals)
    except StartError as bad:
        return refuse(bad.reasons)


def _serve_apart(source: ConfigSource, signals: Signals, refuse: Callable[[list[str]], int], watch: Watch) -> int:
    """Have a child of ours serve, and wait until it does."""
    hears, tells = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(tells)
        with os.fdopen(hears, "r", encoding="utf-8") as told:
            text = told.read()
        first, _, rest = text.partition("\n")
        if first == "ok":
            return 0
        return refuse(rest.splitlines() or ["it ended before it served"])
    os.close(hears)
    os.setsid()
    # At once: workers inherit these, and whoever reads what we say waits for all of them.
    _leave_terminal()

    def on_serving(serving: Serving) -> None:
        del serving
        watch.begin()
        os.write(tells, b"ok\n")
        os.close(tells)

    status = 1
    try:
        status = -run(source, on_serving, signals=signals)
    except StartError as bad:
        os.write(tells, "\n".join(["refused", *bad.reasons]).encode())
    finally:
        os._exit(max(status, 0))


def _leave_terminal() -> None:
    """Let go of the standard streams: nobody reads them any more."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in range(STDERR + 1):
        os.dup2(nowhere, fd)
    os.close(nowhere)


# ---------------------------------------------------------------- a running program


def read_pid(path: Path) -> int:
    """Return the process id in a file. Raises OSError, or ValueError where there is none in it."""
    return int(path.read_text(encoding="ascii").split()[0])


def send(path: Path, number: signal.Signals, complain: Callable[[str], None]) -> int:
    """Send a signal to the process that a pid file names; return the exit status."""
    try:
        os.kill(read_pid(path), number)
    except (OSError, ValueError, IndexError) as bad:
        why = bad.strerror if isinstance(bad, OSError) else "there is no process id in it"
        complain(f"{path}: {why}")
        return 1
    return 0
