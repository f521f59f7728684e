"""`vestibule haproxy`: HAProxy's flags and signals (haproxy(1), management guide chapters 3 and 4).

Facts: it stays in the foreground unless `-D` or `daemon` says otherwise. USR1 drains, TERM and INT end at once; with a master
(`-W`, `-Ws`) USR2 and HUP reload, and who was ended by a signal exits with 128 and its number. Several files are one configuration.
With `-d` there is one worker, unless `nbthread` says more.

Rules: files that a configuration names count from the working directory.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import vestibule
from vestibule.control.main import Signals
from vestibule.control.source import Included
from vestibule.dialects import haproxy as language
from vestibule.dialects.haproxy.condition import CONDITION_VERSION, ConditionError, holds
from vestibule.dialects.read import Loaded
from vestibule.model.config import Config
from vestibule.model.diagnostic import Diagnostic, Span, error
from vestibule.originals.launch import Text, Usage, diagnostics_of, errors_of, say, serve, split_flags

_ALONE = "-v -vv -vvv -c -D -W -Ws -db -d -V -q -dr -dS -dW -dG -de -dp -dV -dZ -dM -dI -dC -dF -dK -de -dL -h -n0"
_TAKES: dict[str, bool] = dict.fromkeys(_ALONE.split(), False)
_TAKES |= dict.fromkeys(["-f", "-p", "-C", "-L", "-m", "-n", "-N", "-S", "-x", "-cc", "-sf", "-st"], True)
_GLUED = re.compile(r"-d[A-Z].*|-m\d+|-n\d+|-N\d+")
_DAEMON = re.compile(r"^\s*daemon\s*(#.*)?$", re.MULTILINE)
_RETRY_S = 5.0

HELP = f"""\
HAProxy version {CONDITION_VERSION} (vestibule)
Usage : haproxy [-f <cfgfile|cfgdir>]* [ -vdVD ] [ -n <maxconn> ] [ -N <maxpconn> ]
        [ -p <pidfile> ] [ -m <max megs> ] [ -C <dir> ] [-- <cfgfile>*]
        -v displays version ; -vv shows known build options.
        -D goes daemon ; -C changes to <dir> before loading files.
        -W master-worker mode.
        -Ws master-worker mode with systemd notify support.
        -q quiet mode : don't display messages
        -c check mode : only check config files and exit
        -cc check condition : evaluate a condition and exit
        -f <cfgfile|cfgdir> : a file, or a directory of .cfg files
        -p writes pids of all children to this file
        -sf/-st [pid ]* finishes/terminates old pids."""


class _HAProxy:
    """One call."""

    def __init__(self, flags: list[tuple[str, str]], files: list[str], old: Sequence[int]) -> None:
        values = dict(flags)
        self.given = set(values)
        self.files = _files_of([value for name, value in flags if name == "-f"] + files)
        self.pid_file = values.get("-p", "")
        self.quiet = "-q" in values
        self.finish = old
        self.source = Text(" ".join(self.files), Path.cwd(), self._load, self._adjust)

    def _load(self, included: Included) -> Loaded:
        texts: list[tuple[str, str]] = []
        for name in self.files:
            try:
                texts.append((name, Path(name).read_text(encoding="utf-8")))
            except (OSError, UnicodeError) as bad:
                why = bad.strerror if isinstance(bad, OSError) else "it is not UTF-8"
                return Loaded(None, (error(Span(name), "unreadable", f"cannot be read: {why}", "check the path"),))
        return language.parse_files(texts, included, os.environ)

    def _adjust(self, config: Config) -> Config:
        process = config.process
        if self.pid_file:
            process = replace(process, pid_file=str(Path(self.pid_file).absolute()))
        if not process.workers and "-d" in self.given:
            # Who debugs wants what HAProxy's threads share, as turns and kept connections, in one place.
            process = replace(process, workers=1)
        # HAProxy takes requests that say no host, and vtest and simple monitors send such.
        listeners = tuple([replace(each, hostless=True) for each in config.listeners])
        return replace(config, process=process, listeners=listeners)

    def is_daemon(self) -> bool:
        """Tell whether to go into the background."""
        if self.given & {"-db", "-d", "-W", "-Ws"} and "-D" not in self.given:
            return False
        if "-D" in self.given:
            return "-db" not in self.given
        try:
            return any(_DAEMON.search(Path(name).read_text(encoding="utf-8")) for name in self.files)
        except (OSError, UnicodeError):
            return False

    def check(self) -> int:
        """Check the configuration as `-c` does."""
        found, others, ok = diagnostics_of(self.source)
        if not self.quiet:
            for each in found:
                say(told(each))
            for line in others:
                say(f"[{'WARNING' if ok else 'ALERT'}]  ({os.getpid()}) : config : {line}")
        if not ok:
            if not self.quiet:
                say(f"[ALERT]    ({os.getpid()}) : config : Fatal errors found in configuration.")
            return 1
        if not self.quiet:
            sys.stdout.write("Configuration file is valid\n")
        return 0

    def run(self) -> int:
        """Serve. Those that were running are told to finish as soon as they are in the way, or once this one serves."""
        master = bool(self.given & {"-W", "-Ws"})
        signals = Signals(
            drain=(signal.SIGUSR1,),
            at_once=(signal.SIGTERM, signal.SIGINT),
            reload=(signal.SIGUSR2, signal.SIGHUP) if master else (),
            reopen=() if master else (signal.SIGHUP,),
        )
        self._finish_old()
        status = serve(self.source, signals, self.is_daemon(), self.refuse)
        if status < 0:
            return 128 - status if master and -status != signal.SIGUSR1 else 0
        return status

    def _finish_old(self) -> None:
        """Tell the processes of `-sf` and `-st` to end, and wait a little for the ports to be free."""
        number = signal.SIGUSR1 if "-sf" in self.given else signal.SIGTERM
        for pid in self.finish:
            try:
                os.kill(pid, number)
            except OSError:
                continue
            end = time.monotonic() + _RETRY_S
            while time.monotonic() < end and Path(f"/proc/{pid}").exists():
                time.sleep(0.02)

    def refuse(self, reasons: list[str]) -> int:
        """Say why it does not start."""
        for reason in reasons if not self.quiet else []:
            say(f"[ALERT]    ({os.getpid()}) : {reason}")
        return 1


def _files_of(names: list[str]) -> list[str]:
    """Return the files that are meant: a directory stands for its `.cfg` files, sorted."""
    found: list[str] = []
    for name in names:
        path = Path(name)
        found.extend([str(each) for each in sorted(path.glob("*.cfg"))] if path.is_dir() else [name])
    return found


def told(diagnostic: Diagnostic) -> str:
    """Write a diagnostic as HAProxy does, with the column and the hint that it does not have."""
    level = "ALERT]   " if diagnostic in errors_of([diagnostic]) else "WARNING] "
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"[{level} ({os.getpid()}) : config : parsing [{diagnostic.span.render()}] : {diagnostic.message}{hint}."


def _take_old(words: list[str]) -> tuple[list[str], list[int], bool]:
    """Take `-sf` and `-st` with their process ids off; they are always last. Tells whether there was one of them."""
    for name in ("-sf", "-st"):
        if name in words:
            at = words.index(name)
            return words[:at], [int(word) for word in words[at + 1 :] if word.isdecimal()], True
    return words, [], False


def _tell_version(words: dict[str, str]) -> int:
    sys.stdout.write(f"HAProxy version {CONDITION_VERSION} (vestibule {vestibule.__version__}) - https://haproxy.org/\n")
    if "-v" not in words:
        sys.stdout.write("Feature list : +EPOLL +OPENSSL +PCRE2 +SYSTEMD +SPLICE -LUA -QUIC\nRunning on Python\n")
    return 0


def main(words: list[str]) -> int:
    """Do what haproxy does with these words; return the exit status."""
    words, old, ends = _take_old(words)
    words, _, behind = words[: words.index("--")] if "--" in words else words, "", words[words.index("--") + 1 :] if "--" in words else []
    which = "-sf" if ends else ""
    words = [word for word in words if not (_GLUED.fullmatch(word) and word not in _TAKES)]
    try:
        flags, others = split_flags(words, _TAKES)
    except Usage as bad:
        say(f"[ALERT]    ({os.getpid()}) : {bad}\n{HELP}")
        return 1
    given = dict(flags)
    if "-h" in given or not words:
        say(HELP)
        return 0 if "-h" in given else 1
    if given.keys() & {"-v", "-vv", "-vvv"}:
        return _tell_version(given)
    if "-cc" in given:
        try:
            return 0 if holds(given["-cc"], os.environ) else 1
        except ConditionError as bad:
            say(f"[ALERT]    ({os.getpid()}) : {bad}")
            return 1
    if "-C" in given:
        os.chdir(given["-C"])
    if which:
        flags.append((which, ""))
    called = _HAProxy(flags, others + behind, old)
    if not called.files:
        say(f"[ALERT]    ({os.getpid()}) : no configuration file; name one with -f")
        return 1
    return called.check() if "-c" in given else called.run()
