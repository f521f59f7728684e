"""A configuration becomes what every worker serves, or nothing changes.

Facts: between the first step and the last, anything may be wrong: the text, a certificate, a port, one worker out of eight. A proxy
that is half reloaded answers one request by the old rules and the next by the new, and nobody can tell why.

How it goes. *Read*: file to model, with every mistake. *Gather*: certificates, the local CA, addresses of names. *Compile dry*: the
whole table is built here and thrown away, so that what cannot be built fails before any worker hears of it. *Open*: log files and
sockets that are not open yet. *Prepare*: each worker builds the new table beside the one that serves and says Ready or Refused.
*Commit*: each worker swaps one reference. Up to Prepare nothing that serves was touched, so going back is closing what was opened.

Rules:
* One at a time: `reload`, `refresh` and `reopen_logs` share a lock.
* After the first refused step nothing further is tried, and everything opened on the way is closed again.
* After Commit nothing can fail. What could (old sockets, old logs) is only closed.
* A refused reload tells its reasons to who asked and to the log.
* What belongs to the process as a whole (`FIXED`) waits for the next start, and a reload that changes it says so.

Not here: what a worker does with Prepare (`worker.py`), the parts (`certs`, `listeners`, `logs`, `resolver`, `supervisor`).
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

from vestibule.control.acme.records import Record
from vestibule.control.acme.store import Store, StoreError
from vestibule.control.acme.wanted import Demanded, Wanted, id_of, wishes_of
from vestibule.control.authority import AuthorityError, LocalAuthority, subject_names
from vestibule.control.certs import Facts, FileWatch, Loaded, Problem, load, new_ticket_key
from vestibule.control.changes import Changes
from vestibule.control.health import Health
from vestibule.control.keys import mark_key
from vestibule.control.listeners import ListenError, Listeners, Opening
from vestibule.control.logs import AccessLogFiles, ErrorLog, LogError
from vestibule.control.resolver import Resolver, names_of
from vestibule.control.source import ConfigSource, Draft
from vestibule.control.supervisor import Generation, Supervisor
from vestibule.link.messages import ACME_PREFIX, INTERNAL_PREFIX, Assets, KeyPair
from vestibule.model.config import Config, Site
from vestibule.model.diagnostic import Diagnostic, Severity
from vestibule.model.wire import to_json

FIXED = ("user", "group", "state_dir", "pid_file", "admin_socket", "command_sockets")

# A start goes on without names that are slow to resolve; the workers hear of them later.
NAME_PATIENCE_S = 1.5

TICKET_KEY_S = 12 * 3600.0

INTERNAL_REST_S = 1800.0

# Why a change of a file by a command is served. What the configuration is warned of was told when it was read first.
_COMMAND = "command"


class Outcome:
    """What became of an attempt: `reasons` against it, empty if it went well; `warnings` in any case."""

    def __init__(self, reasons: list[str], warnings: list[str], generation: int) -> None:
        self.reasons = reasons
        self.warnings = warnings
        self.generation = generation
        self.at = time.time()

    @property
    def ok(self) -> bool:
        """Whether the workers serve it."""
        return not self.reasons


class Gathered(Loaded):
    """What was loaded, and which certificates are wanted beyond that."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded.assets, loaded.facts, loaded.problems, loaded.files)
        self.wanted: list[Wanted] = []
        self.demanded: Demanded | None = None


class _Refused(Exception):
    """A step said no; everything it opened is closed again."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Parts:
    """What a reload works with; each is explained in its own file."""

    def __init__(
        self,
        *,
        journal: ErrorLog,
        access_logs: AccessLogFiles,
        listeners: Listeners,
        resolver: Resolver,
        authority: LocalAuthority,
        store: Store,
        supervisor: Supervisor,
        state_dir: Path | None = None,
        health: Health | None = None,
    ) -> None:
        self.journal = journal
        self.access_logs = access_logs
        self.listeners = listeners
        self.resolver = resolver
        self.authority = authority
        self.store = store
        self.supervisor = supervisor
        self.state_dir = state_dir
        self.health = health


class Reloader:
    """Brings configurations to the workers. `config`, `facts` and `opening` describe what is served now."""

    def __init__(self, source: ConfigSource, parts: Parts) -> None:
        self._source = source
        self._parts = parts
        self._lock = asyncio.Lock()
        self._draft: Draft | None = None
        self._tried = 0
        self._watch = FileWatch()
        self._ticket_key = new_ticket_key()
        self._ticket_key_at = time.monotonic()
        self._internal_rest_until = 0.0
        self.config: Config | None = None
        self.facts: dict[str, Facts] = {}
        self.wanted: list[Wanted] = []
        """The certificates that what is served wants issued."""
        self.demanded: Demanded | None = None
        """What is wanted for names that clients ask for, where such are served."""
        self.last: Outcome | None = None

    @property
    def opening(self) -> Opening:
        """The sockets that are served."""
        return self._parts.listeners.current

    async def start(self, draft: Draft) -> Outcome:
        """Serve a first configuration, already read. The workers are started on the way."""
        async with self._lock:
            return await self._attempt(draft, "start")

    async def reload(self) -> Outcome:
        """Read the source anew and serve it. What commands made of its files is over with that."""
        async with self._lock:
            taken = self._source.changes.take()
            outcome = await self._attempt(await asyncio.to_thread(self._source.read), "reload")
            if not outcome.ok:
                self._source.changes.restore(taken)
            return outcome

    async def change(self) -> list[str]:
        """Read the source anew with its files as commands made them, and serve it; return the reasons against it."""
        async with self._lock:
            return (await self._attempt(await asyncio.to_thread(self._source.read), _COMMAND)).reasons

    async def refresh(self, why: str) -> Outcome:
        """Serve the same configuration with its files as they are now."""
        async with self._lock:
            assert self._draft is not None
            return await self._attempt(self._draft, why)

    async def take_pairs(self, pairs: dict[str, KeyPair], facts: dict[str, Facts]) -> None:
        """Have what is served use these certificates, by their names among the assets; connections do not notice."""
        async with self._lock:
            self._parts.supervisor.renew(pairs)
            self.facts.update(facts)

    async def reopen_logs(self) -> list[str]:
        """Open all log files anew, after a rotation; return what went wrong."""
        async with self._lock:
            try:
                self._parts.journal.reopen()
                self._parts.access_logs.reopen()
            except LogError as bad:
                self._parts.journal.error("log.reopen", f"logs stay as they were: {bad}")
                return [str(bad)]
            self._parts.supervisor.reopen_logs(self._parts.access_logs.fds)
            self._parts.journal.info("log.reopen", "logs are reopened")
            return []

    def changed_files(self) -> list[Path]:
        """Return the certificate files that changed and came to rest since they were last looked at."""
        return self._watch.look()

    def is_due(self) -> str:
        """Return why a new generation of the same configuration is due by now; empty while none is."""
        return "new ticket key" if self._is_ticket_key_old() else ""

    async def renew_internal(self) -> list[str]:
        """Have the workers use fresh certificates of the local CA where that is due; return for which sites."""
        due = [name for name, facts in self.facts.items() if facts.name.startswith(INTERNAL_PREFIX) and facts.is_due]
        if not due or self.config is None or time.monotonic() < self._internal_rest_until:
            return []
        names = {prefix + site.name: internal_names(site) for site in self.config.sites for prefix in (INTERNAL_PREFIX, ACME_PREFIX)}
        pairs: dict[str, KeyPair] = {}
        fresh: dict[str, Facts] = {}
        for name in due:
            try:
                pair, facts = await asyncio.to_thread(self._parts.authority.pair_for, names[name])
            except AuthorityError as bad:
                self._parts.journal.error("tls.internal", f"the certificate of {_site_of(name)} is not renewed: {bad}")
                continue
            pairs[name], fresh[name] = pair, replace(facts, name=self.facts[name].name)
        # One that cannot be made, or for no longer than the old one, is not tried all the time.
        if any(name not in fresh or fresh[name].is_due for name in due):
            self._internal_rest_until = time.monotonic() + INTERNAL_REST_S
        if pairs:
            await self.take_pairs(pairs, fresh)
            self._parts.journal.info("tls.internal", f"renewed by the local CA: {', '.join(_site_of(name) for name in pairs)}")
        return [_site_of(name) for name in pairs]

    def _is_ticket_key_old(self) -> bool:
        return time.monotonic() - self._ticket_key_at > TICKET_KEY_S

    async def _attempt(self, draft: Draft, why: str) -> Outcome:
        """Try once, and tell the log what became of it."""
        journal = self._parts.journal
        self._tried += 1
        warnings = [each.render() for each in draft.diagnostics if each.severity is Severity.WARNING]
        warnings += self._unchangeable(draft)
        try:
            loaded = await self._serve(draft)
        except _Refused as refused:
            # Names that only the refused configuration has are looked up no more.
            self._parts.resolver.keep(names_of(self.config) if self.config is not None else set())
            outcome = Outcome(refused.reasons, warnings, self.generation)
            # A start that fails is told on standard error by the command line; twice would be once too often.
            if self.generation or journal.is_file:
                for reason in refused.reasons:
                    journal.error("reload.refused", reason, attempt=why)
                rest = f"; generation {self.generation} goes on" if self.generation else ""
                journal.error("reload.refused", f"the configuration was refused{rest}", attempt=why, reasons=len(refused.reasons))
        else:
            warnings += [_render(draft, each) for each in loaded.problems]
            outcome = Outcome([], warnings, self._tried)
            journal.info("reload.served", f"generation {self._tried} is served", attempt=why, source=draft.name or "command line")
        for warning in warnings if why != _COMMAND else []:
            journal.warning("config.warning", warning)
        self.last = outcome
        return outcome

    @property
    def generation(self) -> int:
        """The number of what is served now; 0 before the first."""
        current = self._parts.supervisor.current
        return current.number if current is not None else 0

    async def _serve(self, draft: Draft) -> Gathered:
        """Go through all steps; return the files that were gathered. Raises `_Refused`, and then all is as before."""
        parts = self._parts
        config = draft.config
        if config is None or not draft.ok:
            raise _Refused([each.render() for each in draft.diagnostics if each.severity is Severity.ERROR])
        slots = worker_count(config)
        if parts.supervisor.current is None:
            # They begin while we gather: a start is over sooner.
            _start_workers(parts.supervisor, slots)

        # Gather.
        loaded = await asyncio.to_thread(gather, config, draft.base, parts.authority, parts.store, self._source.changes)
        if loaded.errors:
            raise _Refused([_render(draft, each) for each in loaded.errors])
        names = names_of(config)
        loaded.assets.addresses = await parts.resolver.addresses(names, NAME_PATIENCE_S)
        loaded.assets.ticket_key = self._fresh_ticket_key()
        loaded.assets.directory = str(draft.base)
        if parts.state_dir is not None and any(upstream.sticky is not None for upstream in config.upstreams):
            loaded.assets.mark_key = mark_key(parts.state_dir)

        # Compile dry. The slow imports of the data plane are for this alone, and the workers begin meanwhile.
        wrong = await asyncio.to_thread(compile_dry, config, loaded.assets)
        if wrong:
            raise _Refused([_render(draft, each) for each in wrong])

        # Open, prepare.
        logs, opening = self._open(config, draft, slots)
        generation = Generation(self._tried, to_json(config), loaded.assets, opening, logs)
        reasons = await parts.supervisor.prepare(generation)
        try:
            if not reasons:
                parts.listeners.listen(opening)
        except ListenError as bad:
            reasons = [_at(draft, _listener(config, bad.name), str(bad))]
        if reasons:
            parts.supervisor.abort(generation)
            parts.listeners.abort(opening)
            parts.access_logs.abort(logs)
            raise _Refused(reasons)

        # Commit. DNS may have spoken while the workers prepared.
        known = parts.resolver.report()
        generation.assets.addresses = {name: known[name] for name in sorted(names)}
        parts.resolver.ask_at(config.process)
        parts.listeners.commit(opening)
        parts.supervisor.commit(generation)
        parts.access_logs.commit(logs)
        parts.resolver.keep(names)
        if parts.health is not None:
            parts.health.watch(config, draft.base)
        self._watch.watch(loaded.files)
        self._speak_to(config)
        self._draft, self.config, self.facts = draft, config, loaded.facts
        self.wanted, self.demanded = loaded.wanted, loaded.demanded
        return loaded

    def _open(self, config: Config, draft: Draft, slots: int) -> tuple[dict[str, int], Opening]:
        """Open logs and sockets. Raises `_Refused`, having opened none."""
        parts = self._parts
        try:
            logs = parts.access_logs.prepare(config)
        except LogError as bad:
            raise _Refused([_at(draft, "access_log.target", str(bad))]) from None
        try:
            opening = parts.listeners.prepare(config.listeners, slots)
            parts.journal.check(config.error_log.target)
        except ListenError as bad:
            parts.access_logs.abort(logs)
            raise _Refused([_at(draft, _listener(config, bad.name), str(bad))]) from None
        except LogError as bad:
            parts.listeners.abort(opening)
            parts.access_logs.abort(logs)
            raise _Refused([_at(draft, "error_log.target", str(bad))]) from None
        return logs, opening

    def _speak_to(self, config: Config) -> None:
        """Let the error log be where the configuration says."""
        journal = self._parts.journal
        try:
            journal.open_target(config.error_log.target, config.error_log.level, config.error_log.syslog)
        except LogError as bad:
            # It could be opened a moment ago; the old one still can.
            journal.error("log.reopen", f"the error log stays where it was: {bad}")

    def _fresh_ticket_key(self) -> str:
        """Return the key of all session tickets, a new one when it has served its time."""
        if self._is_ticket_key_old():
            self._ticket_key = new_ticket_key()
            self._ticket_key_at = time.monotonic()
        return self._ticket_key

    def _unchangeable(self, draft: Draft) -> list[str]:
        """Say which settings of the process differ from those it was started with."""
        if self.config is None or draft.config is None:
            return []
        old, new = self.config.process, draft.config.process
        changed = [name for name in FIXED if getattr(old, name) != getattr(new, name)]
        return [_at(draft, f"process.{name}", "this changes at the next start, not at a reload", "warning") for name in changed]


def gather(config: Config, base: Path, authority: LocalAuthority, store: Store, changes: Changes | None = None) -> Gathered:
    """Read all files of a configuration, as they are changed, and make what the local CA is to make. Blocks; never raises for a bad
    file."""
    loaded = Gathered(load(config, base, changes))
    wishes = wishes_of(config, base)
    loaded.wanted, loaded.demanded = wishes.wanted, wishes.demanded
    loaded.problems += wishes.problems
    loaded.files |= wishes.files
    for at, site in enumerate(config.sites):
        prefix = ACME_PREFIX if site.acme else INTERNAL_PREFIX
        if not site.internal_tls and not site.acme and not site.on_demand:
            continue
        if site.acme and _take_issued(loaded, store, id_of(config, site), ACME_PREFIX + site.name):
            continue
        try:
            pair, facts = authority.pair_for(internal_names(site))
        except AuthorityError as bad:
            loaded.problems.append(Problem(f"sites[{at}]", f"the local CA cannot make a certificate: {bad}"))
            continue
        if authority.doubt and all(each.text != authority.doubt for each in loaded.problems):
            loaded.problems.append(Problem(f"sites[{at}]", authority.doubt, is_error=False))
        loaded.assets.certificates[prefix + site.name] = pair
        loaded.facts[prefix + site.name] = replace(facts, name=INTERNAL_PREFIX + site.name)
    return loaded


def _site_of(name: str) -> str:
    """Return the site that a certificate made or issued here is for."""
    return name.removeprefix(INTERNAL_PREFIX).removeprefix(ACME_PREFIX)


def internal_names(site: Site) -> tuple[str, ...]:
    """Return what a certificate of the local CA for a site is for. One that is only there to begin handshakes with has no other name."""
    return subject_names(("localhost",) if site.on_demand else site.hosts)


def _take_issued(loaded: Gathered, store: Store, id: str, name: str) -> bool:
    """Use the certificate that is kept for a site, if one is; whether its end has come does not matter, it is better than none."""
    try:
        record = Record(store, id)
        pair, facts = record.pair(), record.facts()
    except StoreError as bad:
        loaded.problems.append(Problem("acme", str(bad), is_error=False))
        return False
    if pair is None or facts is None:
        return False
    loaded.assets.certificates[name] = pair
    loaded.facts[name] = facts
    return True


def compile_dry(config: Config, assets: Assets) -> list[Problem]:
    """Build what the workers would build and throw it away; return the reasons against it. Blocks."""
    from vestibule.compile import dry_compile

    problems: list[Problem] = []
    for line in dry_compile(config, assets):
        key, _, text = line.partition(": ")
        problems.append(Problem(key, text))
    return problems


def _listener(config: Config, name: str) -> str:
    """Return the place of a listener in the model."""
    return f"listeners[{[each.name for each in config.listeners].index(name)}].address"


def problems_of(draft: Draft, problems: list[Problem]) -> list[str]:
    """Render problems of files as diagnostics of the configuration are, as `vestibule check` counts them."""
    return [_at(draft, each.key, each.text, "error" if each.is_error or each.fails_check else "warning") for each in problems]


def worker_count(config: Config) -> int:
    """Return how many workers a configuration asks for: one for each core we may use, unless it says."""
    return config.process.workers or len(os.sched_getaffinity(0))


def _start_workers(supervisor: Supervisor, slots: int) -> None:
    try:
        supervisor.start(slots)
    except OSError as bad:
        raise _Refused([f"a worker cannot be started: {supervisor.explain(bad)}"]) from None


def _render(draft: Draft, problem: Problem) -> str:
    return _at(draft, problem.key, problem.text, "error" if problem.is_error else "warning")


def _at(draft: Draft, place: str, text: str, severity: str = "error") -> str:
    """Render what was found at a place in the model, at the place in the file where it was written."""
    return Diagnostic(draft.place(place), Severity(severity), "", text).render()
