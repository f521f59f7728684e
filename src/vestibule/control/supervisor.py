"""The workers: one in each slot, replaced when it dies, all on the same generation.

Facts: the sockets of a slot are held by `listeners.py` too, so connections that wait in them outlive the worker of the slot.

Rules:
* A worker is told to serve a generation only after it said Ready for exactly that one.
* `current` is what every new worker gets. It changes in `commit` and nowhere else.
* A worker that served for a while is replaced at once. One that dies again and again soon after its start is replaced after a wait
  that doubles, so that a broken installation does not burn the machine.

Not here: what a generation is made from (`reload.py`), the link to one worker (`process.py`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from vestibule.control.listeners import Opening
from vestibule.control.logs import ErrorLog
from vestibule.control.process import Account, WorkerProcess
from vestibule.link.messages import (
    Abort,
    Addresses,
    Asked,
    Assets,
    Certificates,
    Challenges,
    Collect,
    Commit,
    Counts,
    Demanded,
    Drained,
    Event,
    Hello,
    KeyPair,
    Message,
    Pages,
    Prepare,
    Ready,
    Refused,
    ReopenLogs,
    Servers,
    ServerState,
    Sought,
    Status,
    StatusRequest,
    Stop,
    StopNow,
)

# Importing and compiling a big configuration on a loaded machine takes seconds, not half a minute.
ANSWER_S = 30.0
STATUS_S = 2.0
# A worker that lived as long is healthy, and its death is news.
HEALTHY_S = 10.0
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0
# After a reload with fewer workers the surplus ones finish their uploads and WebSockets: for as long as a day.
RETIRE_MS = 86_400_000
# Between StopNow and SIGKILL.
GRACE_S = 1.0


class Generation:
    """A configuration with everything the workers need to serve it."""

    def __init__(self, number: int, model: str, assets: Assets, opening: Opening, logs: dict[str, int]) -> None:
        self.number = number
        self.model = model
        self.assets = assets
        self.opening = opening
        self.logs = logs

    def prepare(self, slot: int) -> Prepare:
        """Return what the worker of a slot is told. The descriptors stay ours."""
        fds: list[int] = []
        assets = Assets()
        assets.directory = self.assets.directory
        assets.certificates = self.assets.certificates
        assets.authorities = self.assets.authorities
        assets.revocations = self.assets.revocations
        assets.client_certificates = self.assets.client_certificates
        assets.addresses = self.assets.addresses
        assets.ticket_key = self.assets.ticket_key
        assets.mark_key = self.assets.mark_key
        for name, sockets in self.opening.sockets(slot).items():
            assets.listeners[name] = list(range(len(fds), len(fds) + len(sockets)))
            fds += [sock.fileno() for sock in sockets]
        for path, fd in self.logs.items():
            assets.logs[path] = len(fds)
            fds.append(fd)
        return Prepare(self.number, self.model, assets, fds)


class _Slot:
    """A place for a worker."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.worker: WorkerProcess | None = None
        self.failures = 0
        self.deaths = 0
        self.timer: asyncio.TimerHandle | None = None


class _Answers:
    """Who still owes an answer to a Prepare, and what was refused."""

    def __init__(self, number: int, workers: Sequence[WorkerProcess]) -> None:
        self.number = number
        self.owing = list(workers)
        self.reasons: list[str] = []
        self.done = asyncio.Event()
        if not workers:
            self.done.set()

    def take(self, worker: WorkerProcess, reasons: Sequence[str]) -> None:
        """Note an answer; an empty list of reasons is a yes."""
        if worker not in self.owing:
            return
        self.owing.remove(worker)
        # Every worker says the same of the same configuration.
        self.reasons += [each for each in reasons if each not in self.reasons]
        if not self.owing:
            self.done.set()


class Supervisor:
    """Starts, tells, replaces and stops the workers."""

    def __init__(self, journal: ErrorLog, command: Sequence[str], account: Account) -> None:
        self._journal = journal
        self._command = list(command)
        self._account = account
        self._slots: list[_Slot] = []
        self._retiring: list[WorkerProcess] = []
        self._answers: _Answers | None = None
        self._statuses: dict[int, tuple[WorkerProcess, asyncio.Future[dict[str, Any]]]] = {}
        self._status_id = 0
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._challenges = Challenges({}, {})
        self.current: Generation | None = None
        self.server_states: Callable[[], dict[str, ServerState]] = dict
        self.on_asked: Callable[[str], None] = lambda name: None
        """Told of each name that a client asks a worker for and that worker has no certificate for."""
        self.on_sought: Callable[[str, Callable[[dict[str, list[str]]], None]], None] = lambda name, tell: None
        """Told of each host that a request names and a worker knows nothing of, with what tells that worker."""
        self.on_counts: Callable[[int, dict[str, Any], dict[str, Any]], None] = lambda pid, counters, gauges: None
        """Told what a worker has counted."""
        self.on_gone: Callable[[int], None] = lambda pid: None
        """Told of each worker that has ended."""
        self.deaths = 0
        """Workers that died unasked and were replaced."""
        self._pages: dict[str, str] = {}

    # ------------------------------------------------------------ generations

    def start(self, count: int) -> None:
        """Start so many workers before there is a generation for them. Raises OSError if none can be started."""
        for index in range(len(self._slots), count):
            self._slots.append(_Slot(index))
        for slot in self._slots:
            if slot.worker is None:
                slot.worker = self._spawn(slot)

    async def prepare(self, generation: Generation) -> list[str]:
        """Have every worker build a generation. Return the reasons against it; none is a yes.

        Either `commit` or `abort` must follow.
        """
        workers = [worker for worker in self._workers() if worker.slot < generation.opening.slots]
        answers = self._answers = _Answers(generation.number, workers)
        if not workers:
            return ["no worker is running"]
        for worker in workers:
            worker.tell(generation.prepare(worker.slot))
        try:
            async with asyncio.timeout(ANSWER_S):
                await answers.done.wait()
        except TimeoutError:
            answers.reasons += [f"worker {each.slot} did not answer within {ANSWER_S:.0f} s" for each in answers.owing]
        self._answers = None
        return answers.reasons

    def commit(self, generation: Generation) -> None:
        """Have every worker serve a generation, and bring the number of workers to its slots."""
        self.current = generation
        for worker in self._workers():
            if worker.slot >= generation.opening.slots:
                continue
            if worker.prepared == generation.number:
                self._commit(worker)
            else:
                # It was started while the others prepared.
                worker.tell(generation.prepare(worker.slot))
        for slot in self._slots[generation.opening.slots :]:
            self._retire(slot)
        del self._slots[generation.opening.slots :]
        for index in range(len(self._slots), generation.opening.slots):
            self._slots.append(_Slot(index))
            self._restart(self._slots[index])

    def abort(self, generation: Generation) -> None:
        """Have every worker forget what it prepared."""
        for worker in self._workers():
            worker.prepared = 0
            worker.tell(Abort(generation.number))

    # ------------------------------------------------------------ while they serve

    def tell_addresses(self, names: dict[str, list[str]]) -> None:
        """Pass on where upstream names point now."""
        if self.current is not None:
            self.current.assets.addresses.update(names)
        for worker in self._everyone():
            worker.tell(Addresses(names))

    def renew(self, pairs: dict[str, KeyPair]) -> None:
        """Have every worker serve these certificates, by their names among the assets, to new clients."""
        if self.current is not None:
            self.current.assets.certificates.update(pairs)
        for worker in self._everyone():
            worker.tell(Certificates(pairs))

    async def show_challenges(self, tokens: dict[str, str], handshakes: dict[str, KeyPair]) -> None:
        """Have every worker answer exactly these challenges of ACME; return when they do."""
        self._challenges = Challenges(tokens, handshakes)
        for worker in self._workers():
            worker.tell(self._challenges)
        # The link keeps the order: who answers this has taken what came before.
        await self.status()

    def tell_demanded(self, pairs: dict[str, KeyPair], refused_ms: dict[str, int]) -> None:
        """Say what became of names that clients asked for."""
        for worker in self._everyone():
            worker.tell(Demanded(pairs, refused_ms))

    def tell_servers(self, states: dict[str, ServerState]) -> None:
        """Pass on how servers stand now."""
        if states:
            for worker in self._everyone():
                worker.tell(Servers(states))

    def ask_counts(self) -> list[int]:
        """Have every worker say what it counted; return their process ids."""
        for worker in self._everyone():
            worker.tell(Collect())
        return [worker.pid for worker in self._everyone()]

    def show_pages(self, pages: dict[str, str]) -> None:
        """Have every worker show these pages of figures, and those that are started later."""
        self._pages = pages
        for worker in self._everyone():
            worker.tell(Pages(pages))

    def count_workers(self) -> int:
        """Return how many workers run."""
        return len(self._everyone())

    def reopen_logs(self, logs: dict[str, int]) -> None:
        """Have the workers write to these files from now on."""
        if self.current is not None:
            self.current.logs = logs
        paths = list(logs)
        message = ReopenLogs({path: index for index, path in enumerate(paths)}, [logs[path] for path in paths])
        for worker in self._everyone():
            worker.tell(message)

    async def status(self) -> list[dict[str, object]]:
        """Return what there is to know of each worker; one that does not answer in time has no figures."""
        asked = [(worker, self._ask(worker)) for worker in self._workers()]
        if asked:
            await asyncio.wait([future for _, future in asked], timeout=STATUS_S)
        rows: list[dict[str, object]] = []
        for worker, future in asked:
            row: dict[str, object] = {
                "slot": worker.slot,
                "pid": worker.pid,
                "compiled": worker.compiled,
                "generation": worker.generation,
                "uptime_s": round(time.monotonic() - worker.started_at, 1),
                "replaced": self._slots[worker.slot].deaths if worker.slot < len(self._slots) else 0,
            }
            if future.done() and not future.cancelled():
                row["figures"] = future.result()
            rows.append(row)
        for _, future in asked:
            future.cancel()
        self._statuses = {id: asked for id, asked in self._statuses.items() if not asked[1].done()}
        return rows

    async def counted(self, table: str, forget: str) -> list[dict[str, Any]]:
        """Return what each worker has counted in a table, having forgotten a key of it first, or with `*` all."""
        asked = [self._ask(worker, table, forget) for worker in self._workers()]
        if asked:
            await asyncio.wait(asked, timeout=STATUS_S)
        found = [future.result() for future in asked if future.done() and not future.cancelled()]
        for future in asked:
            future.cancel()
        return found

    def _ask(self, worker: WorkerProcess, table: str = "", forget: str = "") -> asyncio.Future[dict[str, Any]]:
        self._status_id += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._statuses[self._status_id] = (worker, future)
        worker.tell(StatusRequest(self._status_id, table, forget))
        return future

    # ------------------------------------------------------------ the end

    async def stop(self, drain_ms: int, hurry: asyncio.Event, spare_idle: bool = False) -> None:
        """Have the workers finish what is in flight and end; cut them when the time is over or `hurry` is set.

        With `spare_idle`, connections that wait for a request may still send one.
        """
        self._stopping = True
        for slot in self._slots:
            _cancel(slot)
        for worker in self._everyone():
            if worker.generation:
                worker.tell(Stop(drain_ms, spare_idle))
            else:
                # It never served: nothing to finish, and it may be busy with its own start.
                worker.signal(signal.SIGKILL)
        # A worker keeps to the time itself; the margin is for its farewell.
        if not await self._wait_gone(drain_ms / 1000 + GRACE_S, hurry):
            for worker in self._everyone():
                worker.tell(StopNow())
        if not await self._wait_gone(GRACE_S, None):
            for worker in self._everyone():
                self._journal.warning(
                    "worker.killed", f"worker {worker.slot} does not stop and is killed", worker=worker.slot, pid=worker.pid
                )
                worker.signal(signal.SIGKILL)
        await self._wait_gone(GRACE_S, None)

    async def _wait_gone(self, seconds: float, hurry: asyncio.Event | None) -> bool:
        """Wait until no worker is left, the time is over, or someone is in a hurry. True if none is left."""
        if not self._everyone():
            return True
        # It may be set since a moment when the only worker was being replaced.
        self._all_gone.clear()
        waits = [asyncio.ensure_future(self._all_gone.wait())]
        if hurry is not None:
            waits.append(asyncio.ensure_future(hurry.wait()))
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return not self._everyone()

    # ------------------------------------------------------------ what workers say

    def _on_message(self, worker: WorkerProcess, message: Message) -> None:
        if isinstance(message, Event):
            details: dict[str, object] = {"worker": worker.slot, "pid": worker.pid, **message.details}
            self._journal.write(message.level, message.kind, message.text, **details)
        elif isinstance(message, Hello):
            worker.greeted = True
            worker.compiled = message.compiled
            self._journal.debug(
                "worker.start", f"worker {worker.slot} started", worker=worker.slot, pid=worker.pid, compiled=message.compiled
            )
        elif isinstance(message, Ready):
            self._on_ready(worker, message.generation)
        elif isinstance(message, Refused):
            self._on_refused(worker, message)
        elif isinstance(message, Status):
            asked = self._statuses.pop(message.id, None)
            if asked is not None and not asked[1].done():
                asked[1].set_result(message.figures)
        elif isinstance(message, Counts):
            self.on_counts(worker.pid, message.counters, message.gauges)
        elif isinstance(message, Asked):
            self.on_asked(message.name)
        elif isinstance(message, Sought):
            self.on_sought(message.name, lambda names: worker.tell(Addresses(names)))
        elif isinstance(message, Drained):
            worker.drained = True

    def _on_ready(self, worker: WorkerProcess, number: int) -> None:
        worker.prepared = number
        if self._answers is not None and number == self._answers.number:
            self._answers.take(worker, [])
        if self.current is not None and number == self.current.number:
            self._commit(worker)

    def _on_refused(self, worker: WorkerProcess, message: Refused) -> None:
        if self._answers is not None and message.generation == self._answers.number:
            self._answers.take(worker, message.reasons)
        elif self.current is not None and message.generation == self.current.number:
            # The others serve it, so it is this process that is wrong; another one may do better.
            for reason in message.reasons:
                self._journal.error(
                    "worker.refused", f"worker {worker.slot} cannot serve what the others serve: {reason}", worker=worker.slot
                )
            worker.signal(signal.SIGKILL)

    def _commit(self, worker: WorkerProcess) -> None:
        assert self.current is not None
        worker.generation = self.current.number
        worker.prepared = 0
        worker.tell(Commit(self.current.number))
        # Names may have moved since the generation was put together.
        if self.current.assets.addresses:
            worker.tell(Addresses(self.current.assets.addresses))
        if self._challenges.tokens or self._challenges.handshakes:
            worker.tell(self._challenges)
        if self._pages:
            worker.tell(Pages(self._pages))
        states = self.server_states()
        if states:
            worker.tell(Servers(states))

    # ------------------------------------------------------------ lives and deaths

    def _spawn(self, slot: _Slot) -> WorkerProcess:
        worker = WorkerProcess(slot.index, self._command, self._account, self._on_message, self._on_end)
        if self.current is not None:
            worker.tell(self.current.prepare(slot.index))
        return worker

    def _restart(self, slot: _Slot) -> None:
        slot.timer = None
        try:
            slot.worker = self._spawn(slot)
        except OSError as bad:
            self._journal.error("worker.start", f"worker {slot.index} cannot be started: {self.explain(bad)}", worker=slot.index)
            slot.failures += 1
            self._schedule(slot)

    def _on_end(self, worker: WorkerProcess) -> None:
        if self._answers is not None:
            self._answers.take(worker, [f"worker {worker.slot} died while it prepared: {worker.how}{self._hint(worker)}"])
        for asked, future in self._statuses.values():
            if asked is worker:
                future.cancel()
        self.on_gone(worker.pid)
        if worker in self._retiring:
            self._retiring.remove(worker)
        elif worker.slot < len(self._slots) and self._slots[worker.slot].worker is worker:
            self._slots[worker.slot].worker = None
            if not self._stopping:
                self._mourn(self._slots[worker.slot], worker)
        if not self._everyone():
            self._all_gone.set()

    def _mourn(self, slot: _Slot, worker: WorkerProcess) -> None:
        """Tell of a death nobody asked for, and have the slot filled again."""
        lived = time.monotonic() - worker.started_at
        slot.deaths += 1
        self.deaths += 1
        slot.failures = slot.failures + 1 if lived < HEALTHY_S else 1
        self._journal.error(
            "worker.died",
            f"worker {slot.index} died: {worker.how}{self._hint(worker)}",
            worker=slot.index,
            pid=worker.pid,
            how=worker.how,
            lived_s=round(lived, 1),
        )
        # Without a generation the start as a whole has failed, and `prepare` says so.
        if self.current is not None:
            self._schedule(slot)

    def _schedule(self, slot: _Slot) -> None:
        wait = 0.0 if slot.failures <= 1 else min(FIRST_WAIT_S * 2 ** (slot.failures - 2), LONGEST_WAIT_S)
        slot.timer = asyncio.get_running_loop().call_later(wait, self._restart, slot)

    def explain(self, bad: OSError) -> str:
        """Say why a process could not be started."""
        return f"{bad.strerror or bad}{self._mend() if isinstance(bad, PermissionError) else ''}"

    def _hint(self, worker: WorkerProcess) -> str:
        return "" if worker.greeted else self._mend()

    def _mend(self) -> str:
        """Say what most likely keeps another user from running this program; nothing where there is no other user."""
        if self._account.uid < 0:
            return ""
        return f"; may the user of process.user ({self._account.uid}) read {os.path.realpath(self._command[0])} and the program beside it?"

    def _retire(self, slot: _Slot) -> None:
        _cancel(slot)
        if slot.worker is not None:
            self._retiring.append(slot.worker)
            slot.worker.tell(Stop(RETIRE_MS))

    def _workers(self) -> list[WorkerProcess]:
        return [slot.worker for slot in self._slots if slot.worker is not None]

    def _everyone(self) -> list[WorkerProcess]:
        return [*self._workers(), *self._retiring]


def _cancel(slot: _Slot) -> None:
    if slot.timer is not None:
        slot.timer.cancel()
        slot.timer = None
