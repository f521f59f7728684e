"""The control process from start to end: signals, commands, and what must be looked at from time to time.

Facts: whoever starts a service wants to know whether it serves, and when it stopped why: the exit status says the first, the log
and standard error the second. systemd wants READY=1 after each start and reload (sd_notify(3)).

Rules:
* SIGHUP reloads, SIGUSR1 reopens logs, SIGTERM and SIGINT drain and stop; the second of those stops at once. SIGUSR2 has the installed
  program take over.
* Who is succeeded finishes what its clients began, for as long as a day, and touches nothing that the two share.
* This process keeps its rights and reads nothing of clients; `accounts.py` says why.
* Everything opened here is closed here, in reverse order.

Not here: how a configuration gets to the workers (`reload.py`), what is printed (`cli.py`).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vestibule
from vestibule import fault
from vestibule.control.accounts import AccountError, account_of, state_dir_of
from vestibule.control.acme.demand import Demand
from vestibule.control.acme.keeper import Keeper
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.admin import AdminError, AdminServer, Answer, socket_path
from vestibule.control.authority import LocalAuthority
from vestibule.control.certs import Facts
from vestibule.control.commands import Commands, CommandServer
from vestibule.control.health import Health
from vestibule.control.listeners import Listeners
from vestibule.control.lists import Lists
from vestibule.control.logs import AccessLogFiles, ErrorLog, LogError
from vestibule.control.metrics.collect import Collector
from vestibule.control.metrics.picture import Program
from vestibule.control.notify import Notifier, take_inherited
from vestibule.control.pairs import Pairs
from vestibule.control.process import Account, worker_command
from vestibule.control.reload import Outcome, Parts, Reloader
from vestibule.control.resolver import Resolver
from vestibule.control.source import ConfigSource, Draft
from vestibule.control.succession import Heir, Succession
from vestibule.control.supervisor import RETIRE_MS, Supervisor
from vestibule.control.tables import Tables
from vestibule.model.config import Config, Process
from vestibule.model.diagnostic import Severity

# How often certificate files are looked at: one stat each.
LOOK_S = 5.0


class StartError(Exception):
    """The program cannot start; `reasons` say why, one line each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Signals:
    """Which signals say what. `drain` lets exchanges finish and, a second time, ends at once as `at_once` does."""

    drain: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
    at_once: tuple[signal.Signals, ...] = ()
    reload: tuple[signal.Signals, ...] = (signal.SIGHUP,)
    reopen: tuple[signal.Signals, ...] = (signal.SIGUSR1,)
    upgrade: tuple[signal.Signals, ...] = ()


_NATIVE = Signals(upgrade=(signal.SIGUSR2,))


class Serving:
    """What is served, for who started the program: printed by the command line."""

    def __init__(self, config: Config, addresses: dict[str, str], facts: dict[str, Facts], authority: Path, warnings: list[str]) -> None:
        self.config = config
        self.addresses = addresses
        self.facts = facts
        self.authority = authority
        self.warnings = warnings


def run(
    source: ConfigSource, on_serving: Callable[[Serving], None], command: list[str] | None = None, signals: Signals | None = None
) -> int:
    """Serve a configuration until told to stop; return the number of the signal that said so, 0 for a command.

    Raises `StartError` if it cannot be served. `command` starts a worker; without it, one of this program.
    """
    return asyncio.run(_run(source, on_serving, command or worker_command(), signals or _NATIVE))


async def _run(source: ConfigSource, on_serving: Callable[[Serving], None], command: list[str], signals: Signals) -> int:
    succession = Succession(os.environ)
    try:
        control, outcome = await _start(source, command, signals, succession)
    except StartError as bad:
        succession.refuse(bad.reasons)
        raise
    await succession.take_over()
    # Whoever waits for us finds pid file and socket once we say that we serve.
    await control.open_doors()
    succession.opened()
    on_serving(control.serving(outcome))
    await control.serve()
    await control.close()
    return control.ended_by


async def _start(source: ConfigSource, command: list[str], signals: Signals, succession: Succession) -> tuple[Control, Outcome]:
    """Start what is configured. Raises `StartError`."""
    draft = source.read()
    if draft.config is None or not draft.ok:
        raise StartError([each.render() for each in draft.diagnostics if each.severity is Severity.ERROR])
    journal = ErrorLog(draft.base)
    try:
        account = account_of(draft.config.process)
        log = draft.config.error_log
        journal.open_target(log.target, log.level, log.syslog)
    except (AccountError, LogError) as bad:
        raise StartError([str(bad)]) from None
    control = Control(source, draft.config.process, journal, command, account, signals, succession)
    outcome = await control.start(draft)
    if not outcome.ok:
        await control.close()
        raise StartError(outcome.reasons)
    return control, outcome


class Control:
    """The running program."""

    def __init__(
        self,
        source: ConfigSource,
        process: Process,
        journal: ErrorLog,
        command: list[str],
        account: Account,
        signals: Signals,
        succession: Succession,
    ) -> None:
        self.ended_by = 0
        self._heir = Heir()
        self._upgrading = False
        self._told_to_stop = False
        self._signals = signals
        base = self._base = source.base
        self._source = source
        self._process = process
        self._journal = journal
        self._account = account
        self._started_at = time.time()
        self._notifier = Notifier(os.environ)
        state_dir = state_dir_of(process, base, os.environ)
        self._authority = LocalAuthority(state_dir)
        self._store = DirectoryStore(state_dir / "acme")
        admin = base / process.admin_socket if process.admin_socket else socket_path(state_dir, os.getpid())
        self._admin = AdminServer(admin, self._command)
        self._supervisor = Supervisor(journal, command, account)
        self._resolver = Resolver(journal, self._on_addresses)
        journal.addresses = self._resolver.known
        self._health = Health(journal, self._resolver, self._supervisor.tell_servers, state_dir)
        self._supervisor.server_states = self._health.states
        self._listeners = Listeners(base, take_inherited(os.environ, os.getpid()), succession.sockets)
        parts = Parts(
            journal=journal,
            access_logs=AccessLogFiles(base),
            listeners=self._listeners,
            resolver=self._resolver,
            authority=self._authority,
            store=self._store,
            supervisor=self._supervisor,
            state_dir=state_dir,
            health=self._health,
        )
        self._reloader = Reloader(source, parts)
        self._collector = Collector(self._supervisor, lambda: self._reloader.config, self._describe, self._health.report)
        self._supervisor.on_counts = self._collector.take
        self._health.busy = self._collector.busy
        self._supervisor.on_gone = self._collector.lose
        lists = Lists(base, source.changes, self._reloader.change, lambda: self._reloader.config)
        pairs = Pairs(base, source.changes, self._reloader.change, lambda: self._reloader.config)
        tables = Tables(self._supervisor.counted, lambda: self._reloader.config)
        commands = Commands(self._status, self._change_server, lambda: self._reloader.config, self._collector.fresh, [lists, pairs, tables])
        self._command_servers = [CommandServer(base, each, commands) for each in process.command_sockets]
        self._keeper = Keeper(self._store, journal, self._supervisor.show_challenges, self._reloader.take_pairs)
        self._demand = Demand(self._store, journal, self._keeper, self._supervisor.tell_demanded)
        self._supervisor.on_asked = self._demand.asked
        self._supervisor.on_sought = self._resolver.seek
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()

    # ------------------------------------------------------------ start, serve, end

    async def start(self, draft: Draft) -> Outcome:
        """Serve the first configuration; tell the outcome."""
        loop = asyncio.get_running_loop()
        for number in self._signals.drain:
            loop.add_signal_handler(number, self._on_stop, number)
        for number in self._signals.at_once:
            loop.add_signal_handler(number, self._on_end, number)
        for number in self._signals.reload:
            loop.add_signal_handler(number, self._begin, self._reload)
        for number in self._signals.reopen:
            loop.add_signal_handler(number, self._begin, self._reopen)
        for number in self._signals.upgrade:
            loop.add_signal_handler(number, self._begin, self._upgrade)
        return await self._reloader.start(draft)

    def serving(self, outcome: Outcome) -> Serving:
        """Return what is served now."""
        config = self._reloader.config
        assert config is not None
        addresses = self._reloader.opening.addresses()
        return Serving(config, addresses, self._reloader.facts, self._authority.certificate_file, outcome.warnings)

    async def serve(self) -> None:
        """Go on until a signal or a command says stop, then let the workers finish."""
        self._begin(self._look_around)
        self._want()
        self._begin(self._keeper.run)
        self._begin(self._demand.run)
        self._begin(self._collector.run)
        await self._stop.wait()
        if self._heir.pid:
            await self._finish()
            return
        self._notifier.stopping()
        drain_ms = self._stop_ms()
        self._journal.info("control.stop", f"stopping; exchanges in flight have {drain_ms / 1000:g} s")
        # New clients are refused from now on, here and, by Stop, in the workers.
        self._listeners.close()
        await self._supervisor.stop(drain_ms, self._hurry)
        self._journal.info("control.end", "stopped")

    async def _finish(self) -> None:
        """Have the workers finish what was begun; new clients are another program's."""
        self._rest()
        self._listeners.close()
        self._journal.info(
            "control.succeeded", f"process {self._heir.pid} has taken over; what was begun here is finished", heir=self._heir.pid
        )
        await self._supervisor.stop(RETIRE_MS, self._hurry, spare_idle=True)
        self._journal.info("control.end", "stopped")

    def _rest(self) -> None:
        """Begin nothing more."""
        for task in self._tasks:
            task.cancel()
        self._demand.close()
        self._keeper.close()
        self._health.stop()

    async def close(self) -> None:
        """End whatever is left."""
        self._rest()
        self._hurry.set()
        await self._supervisor.stop(0, self._hurry)
        self._resolver.close()
        self._listeners.close()
        await self._close_doors()
        self._journal.flush()

    async def _close_doors(self) -> None:
        """Be reachable no more."""
        await self._admin.stop()
        for server in self._command_servers:
            server.stop()
        if self._process.pid_file and not self._heir.pid:
            (self._base / self._process.pid_file).unlink(missing_ok=True)

    async def open_doors(self) -> None:
        """Become reachable for the command line and the service manager. What fails here is told and no reason to stop."""
        if os.geteuid() == 0 and self._account.uid < 0:
            self._journal.warning("control.root", "workers run as root; name an account with process.user")
        try:
            await self._admin.start()
        except AdminError as bad:
            self._journal.error("admin.socket", f"{bad}; `vestibule reload` and `status` will not reach this program")
        for server in self._command_servers:
            try:
                await server.start()
            except (OSError, LookupError) as bad:
                self._journal.error("commands.socket", f"the socket {server.path} cannot be made: {bad}; nobody can send commands there")
        if self._process.pid_file:
            try:
                # Whoever waits for the file must not find it empty.
                path = self._base / self._process.pid_file
                draft = path.with_name(f"{path.name}.new")
                draft.write_text(f"{os.getpid()}\n")
                draft.replace(path)
            except OSError as bad:
                self._journal.error("control.pid_file", f"process.pid_file cannot be written: {bad.strerror}")
        self._notifier.ready(self._status_line())

    def _on_addresses(self, names: dict[str, list[str]]) -> None:
        """Pass on where names point now."""
        self._supervisor.tell_addresses(names)
        self._health.refresh()

    # ------------------------------------------------------------ signals and the clock

    def _begin(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        # The loop keeps weak references only.
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._journal.error("control.bug", f"this is a bug of vestibule: {task.exception()!r}")

    def _stop_ms(self) -> int:
        """Return how long exchanges in flight have, as the configuration that serves says."""
        config = self._reloader.config
        return (self._process if config is None else config.process).stop_ms

    def _on_stop(self, number: int = 0) -> None:
        if self._heir.pid and not self._told_to_stop:
            # The day that is left becomes the time that a stop gives.
            self._told_to_stop = True
            asyncio.get_running_loop().call_later(self._stop_ms() / 1000, self._hurry.set)
        elif self._stop.is_set():
            self._hurry.set()
        self.ended_by = number
        self._stop.set()

    def _on_end(self, number: int) -> None:
        self._hurry.set()
        self._on_stop(number)

    async def _reload(self) -> None:
        self._notifier.reloading()
        await self._reloader.reload()
        self._collector.wake()
        self._want()
        self._notifier.ready(self._status_line())

    async def _upgrade(self) -> list[str]:
        """Have the program that is installed now take over; return the reasons why it does not."""
        if self._stop.is_set() or self._upgrading:
            return ["it is stopping already" if self._stop.is_set() else "an upgrade is under way"]
        if os.getpid() == 1:
            return ["this is process 1, with which its container ends; start a new container instead"]
        self._upgrading = True
        heir = Heir()
        try:
            reasons = await heir.start(self._listeners.by_key(), self._notifier.environment(os.environ))
        except asyncio.CancelledError:
            heir.end()
            raise
        finally:
            self._upgrading = False
        if reasons:
            self._journal.error("control.upgrade", f"no upgrade: {'; '.join(reasons)}")
            return reasons
        self._heir = heir
        self._listeners.bequeath()
        await self._close_doors()
        self._notifier.succeeded(heir.pid)
        await heir.go()
        self._stop.set()
        return []

    async def _reopen(self) -> None:
        await self._reloader.reopen_logs()

    async def _look_around(self) -> None:
        """Look after certificates: files that changed, leaves and ticket keys that are due."""
        while True:
            await asyncio.sleep(LOOK_S)
            changed = self._reloader.changed_files()
            why = f"changed: {', '.join(path.name for path in changed)}" if changed else self._reloader.is_due()
            await self._reloader.renew_internal()
            if why:
                await self._reloader.refresh(why)
                self._want()

    def _want(self) -> None:
        """Have the certificates issued that are wanted now."""
        self._keeper.want(self._reloader.wanted)
        self._demand.want(self._reloader.demanded)

    def _status_line(self) -> str:
        last = self._reloader.last
        rest = "" if last is None or last.ok else "; the last reload was refused"
        return f"serving generation {self._reloader.generation}{rest}"

    # ------------------------------------------------------------ commands

    async def _command(self, command: str) -> Answer:
        """Do what the command line asks for."""
        if command == "reload":
            await self._reload()
            return _tell(self._reloader.last)
        if command == "status":
            return {"ok": True, **await self._status()}
        if command == "reopen":
            reasons = await self._reloader.reopen_logs()
            return {"ok": not reasons, "reasons": reasons}
        verb, _, name = command.partition(" ")
        if verb == "renew":
            names = [*await self._keeper.renew(name), *await self._demand.renew(name)]
            return {"ok": bool(names), "names": names, "reasons": [] if names else [f"no certificate is issued automatically for `{name}`"]}
        if command == "look":
            await self._keeper.look()
            return {"ok": True}
        if command == "stop":
            self._on_stop()
            return {"ok": True}
        if command == "upgrade":
            reasons = await self._upgrade()
            return {"ok": not reasons, "reasons": reasons, "pid": self._heir.pid}
        if command.startswith("upstream "):
            reasons = self._health.command(shlex.split(command)[1:])
            return {"ok": not reasons, "reasons": reasons}
        return {
            "ok": False,
            "reasons": [f"there is no command `{command}`; known are reload, status, upstream, reopen, renew, upgrade, stop"],
        }

    def _change_server(self, words: list[str]) -> list[str]:
        """Do what a command says of servers; return the reasons against it."""
        return self._health.command(words)

    def _describe(self, at: float) -> Program:
        """Return what metrics say of the program itself."""
        return Program(
            vestibule.__version__,
            is_compiled(),
            os.getpid(),
            self._started_at,
            at,
            self._reloader.generation,
            self._supervisor.count_workers(),
            self._supervisor.deaths,
        )

    async def _status(self) -> dict[str, object]:
        config = self._reloader.config
        return {
            "version": vestibule.__version__,
            "compiled": is_compiled(),
            "pid": os.getpid(),
            "config": self._source.name or "command line",
            "uptime_s": round(time.time() - self._started_at, 1),
            "generation": self._reloader.generation,
            "stopping": self._stop.is_set(),
            "last_reload": None if self._reloader.last is None else _tell(self._reloader.last),
            "listeners": self._reloader.opening.addresses(),
            "sites": {} if config is None else {site.name: list(site.hosts) for site in config.sites},
            "certificates": [_certificate(facts) for facts in self._reloader.facts.values()],
            "issued": await asyncio.to_thread(self._keeper.report),
            "demanded": await asyncio.to_thread(self._demand.report),
            "upstream_addresses": self._resolver.report(),
            "servers": self._health.report(),
            "workers": await self._supervisor.status(),
        }


def is_compiled() -> bool:
    """Whether the data plane runs as machine code."""
    return not str(fault.__file__).endswith(".py")


def _tell(outcome: Outcome | None) -> Answer:
    if outcome is None:
        return {"ok": False, "reasons": ["nothing was tried yet"]}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(outcome.at))
    return {"ok": outcome.ok, "reasons": outcome.reasons, "warnings": outcome.warnings, "generation": outcome.generation, "at": at}


def _certificate(facts: Facts) -> dict[str, object]:
    return {
        "name": facts.name,
        "hosts": list(facts.names),
        "issuer": facts.issuer,
        "until": facts.not_after.strftime("%Y-%m-%d"),
        "days_left": facts.days_left,
    }
