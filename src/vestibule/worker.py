"""One worker process: the reactor, its listeners, and the link to the control process.

Facts: a worker opens no file, asks no DNS and reads no configuration text; all it needs comes on the
link. When the link ends, the control process has died, and the worker finishes what is in flight.

Rules
  1. A generation is built beside the one that serves; committing it is swapping doors. Exchanges in
     flight keep their plans, so nothing is lost.
  2. A request that finds a bug loses its connection; the worker goes on and says so.

Not here: building plans (`compile.py`), deciding about generations (`control/`).
"""

import gc
import os
import resource
import signal
import socket
import sys
import traceback
from typing import Final

from vestibule.compile import CompileError, Reporter, compile_config
from vestibule.compile_state import Registry, Root
from vestibule.link.ends import WorkerEnd
from vestibule.link.frame import LinkError
from vestibule.link.messages import (
    Abort,
    Addresses,
    Asked,
    Certificates,
    Challenges,
    Collect,
    Commit,
    Counts,
    Demanded,
    Drained,
    Event,
    Hello,
    Message,
    Pages,
    Prepare,
    Ready,
    Refused,
    ReopenLogs,
    Servers,
    Sought,
    Status,
    StatusRequest,
    Stop,
    StopNow,
)
from vestibule.model.wire import config_from_json
from vestibule.net.demand import Asker, DemandedPair
from vestibule.net.listen import Listener
from vestibule.net.reactor import READ, WRITE, Crashes, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import Transport
from vestibule.proxy.door import AT_HANDSHAKE, AT_LIMIT, Porch, Refusals, Tally
from vestibule.proxy.down_h2 import H2DownConnection
from vestibule.proxy.entry import Entry
from vestibule.proxy.lookups import NameAsker
from vestibule.proxy.relays import BodyRelays
from vestibule.proxy.udp import Sessions

_LINK_READ: Final = 65_536
_LINK_FDS: Final = 253  # SCM_MAX_FD

# How long draining goes on after the link ended: as for a stop that nobody configured.
_ORPHAN_DRAIN_MS: Final = 30_000

# While draining, how often to look whether everything is done.
_DRAIN_LOOK_MS: Final = 100


class LinkPort(Pollable):
    """The worker's end of the link: bytes to messages, messages to bytes."""

    def __init__(self, sock: socket.socket, worker: "Worker") -> None:
        super().__init__(sock.fileno())
        self.sock = sock
        self._worker = worker
        self._end = WorkerEnd()
        self._queue = b""
        self.broken = False  # what came was no message

    def send(self, message: Message) -> None:
        """Queue a message and send what the socket takes."""
        self._queue += self._end.encode(message)
        self.flush()

    def flush(self) -> None:
        reactor = self._worker.reactor
        while self._queue:
            try:
                sent = self.sock.send(self._queue)
            except BlockingIOError:
                reactor.want(self, READ | WRITE)
                return
            except OSError:
                self._queue = b""
                return
            self._queue = self._queue[sent:]
        reactor.want(self, READ)

    def on_writable(self) -> None:
        self.flush()

    def on_readable(self) -> None:
        try:
            data, fds, _flags, _address = socket.recv_fds(self.sock, _LINK_READ, _LINK_FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._give_up()
            return
        self._end.feed(data, fds)
        while True:
            try:
                message = self._end.next()
            except LinkError as error:
                sys.stderr.write(f"vestibule worker: {error}\n")
                self.broken = True
                self._give_up()
                return
            if message is None:
                return
            self._worker.on_message(message)

    def _give_up(self) -> None:
        """Nobody says what to do any more: finish what is in flight."""
        self._worker.reactor.want(self, 0)
        self._worker.stop(_ORPHAN_DRAIN_MS, False)

    def close_fd(self) -> None:
        self._end.close()
        self.sock.close()


class Generation:
    """A configuration built and ready: the doors, and the sockets they belong to."""

    def __init__(self, number: int, root: Root, sockets: dict[str, list[int]]) -> None:
        self.number = number
        self.root = root
        self.sockets = sockets


class LinkRefusals(Refusals):
    """Refused clients, to the error log."""

    def __init__(self, worker: "Worker", about: tuple[str, str, str]) -> None:
        super().__init__(about)
        self._worker = worker

    def tell(self, text: str, details: dict[str, str]) -> None:
        self._worker.report(self.level, self.kind, text, details)


class LinkAsker(Asker):
    """Names that clients ask for, to the control process."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def ask(self, name: str) -> None:
        self._worker.port.send(Asked(name))


class LinkSeeker(NameAsker):
    """Hosts that requests name, to the control process."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def ask(self, name: str) -> None:
        self._worker.port.send(Sought(name))


class Worker(Crashes, Timed, Reporter):
    """Everything of one process."""

    def __init__(self, sock: socket.socket) -> None:
        self.reactor = Reactor()
        self.reactor.crashes = self
        self.relays = BodyRelays()
        self.tally = Tally()
        self.registry = Registry()
        self.registry.demand.asker = LinkAsker(self)
        self.registry.lookups.asker = LinkSeeker(self)
        self.refusals = LinkRefusals(self, AT_HANDSHAKE)
        self.overflows = LinkRefusals(self, AT_LIMIT)
        self.porches: dict[str, Porch] = {}
        self.listeners: list[Listener] = []
        self.sessions: dict[str, Sessions] = {}
        self.prepared: Generation | None = None
        self.serving: Generation | None = None
        self.port = LinkPort(sock, self)
        self.deadline = Deadline(self)
        self.stopping = False
        self.stop_at_ms = 0

    def run(self) -> None:
        """Say hello and serve until told to stop."""
        self.reactor.add(self.port, READ)
        self.port.send(Hello(os.getpid(), not __file__.endswith(".py")))
        self.reactor.settle()
        self.reactor.run()

    # ---- what control says

    def on_message(self, message: Message) -> None:
        """Do what the control process says."""
        if isinstance(message, Prepare):
            self._prepare(message)
        elif isinstance(message, Commit):
            self._commit(message.generation)
        elif isinstance(message, Abort):
            self._abort(message.generation)
        elif isinstance(message, Addresses):
            for name, addresses in message.names.items():
                self.registry.book.update(name, addresses)
                self.registry.lookups.told(name, self.reactor.now_ms)
        elif isinstance(message, Servers):
            for key, state in message.states.items():
                self.registry.board.told(key, state.up, state.mode, state.weight, self.reactor.now_ms, state.most)
        elif isinstance(message, Certificates):
            self._renew(message)
        elif isinstance(message, Challenges):
            self._show(message)
        elif isinstance(message, Demanded):
            self._take_demanded(message)
        elif isinstance(message, Stop):
            self.stop(message.drain_ms, message.spare_idle)
        elif isinstance(message, StopNow):
            self.reactor.running = False
        elif isinstance(message, ReopenLogs):
            self._reopen_logs(message)
        elif isinstance(message, Collect):
            self.port.send(self._counts())
        elif isinstance(message, Pages):
            self.registry.pages.take(message.pages)
        elif isinstance(message, StatusRequest):
            counted = self.registry.counted(message.table, message.forget, self.reactor.now_ms) if message.table else self._figures()
            self.port.send(Status(message.id, counted))

    def _prepare(self, message: Prepare) -> None:
        """Build a generation beside the one that serves."""
        self._drop_prepared()
        taken: set[int] = set()
        try:
            config = config_from_json(message.model)
            logs = {path: message.fds[index] for path, index in message.assets.logs.items()}
            sockets = {name: [message.fds[i] for i in indexes] for name, indexes in message.assets.listeners.items()}
            root = compile_config(config, message.assets, self.registry, self.reactor, logs, self)
            taken.update(logs.values())
            for fds in sockets.values():
                taken.update(fds)
            self.prepared = Generation(message.generation, root, sockets)
        except CompileError as error:
            self.port.send(Refused(message.generation, error.reasons))
        except ValueError as bad:
            self.port.send(Refused(message.generation, [str(bad)]))
        else:
            self.port.send(Ready(message.generation))
        for fd in message.fds:
            if fd not in taken:
                os.close(fd)

    def _commit(self, number: int) -> None:
        """Swap: one attribute per listener, then the sockets."""
        made = self.prepared
        if made is None or made.number != number:
            return
        self.prepared = None
        before = self.listeners
        self.listeners = []
        for name, door in made.root.doors.items():
            porch = self.porches.get(name)
            if porch is None:
                porch = Porch(self.reactor, door, self.relays, self.tally)
                porch.refusals = self.refusals
                self.porches[name] = porch
            else:
                porch.change_door(door)
            self.registry.porches.doormen[name] = Entry(porch)
            socks = [socket.socket(fileno=fd) for fd in made.sockets.get(name, [])]
            for sock in socks:
                sock.setblocking(False)
            if door.sessions is not None:
                self.sessions.setdefault(name, Sessions(porch, self.overflows)).serve(socks)
                continue
            for sock in socks:
                listener = Listener(self.reactor, sock, Entry(porch))
                listener.start()
                self.listeners.append(listener)
        for listener in before:
            listener.stop()
        for name in [name for name in self.sessions if name not in made.root.doors or made.root.doors[name].sessions is None]:
            self.sessions.pop(name).close()
        for name in [name for name in self.porches if name not in made.root.doors]:
            # Connections of a listener that is gone finish what they do and close.
            self.porches.pop(name).stopping = True
            del self.registry.porches.doormen[name]
        made.root.activate()
        self.serving = made
        self.registry.sweep(made.root)
        gc.unfreeze()  # or what the generations before are made of would never be collected
        gc.collect()
        gc.freeze()  # what a generation is made of lives long: the collector need not look at it again

    def _abort(self, number: int) -> None:
        if self.prepared is not None and self.prepared.number == number:
            self._drop_prepared()

    def _drop_prepared(self) -> None:
        made = self.prepared
        self.prepared = None
        if made is None:
            return
        made.root.discard()
        for fds in made.sockets.values():
            for fd in fds:
                os.close(fd)

    def _renew(self, message: Certificates) -> None:
        """Serve renewed certificates, in what serves and in what is about to."""
        pairs = {name: (pair.chain_pem, pair.key_pem) for name, pair in message.pairs.items()}
        for generation in (self.serving, self.prepared):
            if generation is not None and generation.root.certificates is not None:
                for line in generation.root.certificates.renew(pairs):
                    self.report("error", "tls.renew", f"a renewed certificate is not served: {line}", {})

    def _show(self, message: Challenges) -> None:
        """Answer exactly these challenges of ACME."""
        self.registry.tokens.answers = {token.encode(): answer.encode() for token, answer in message.tokens.items()}
        try:
            self.registry.challenges.replace(
                {name: (pair.chain_pem.encode(), pair.key_pem.encode()) for name, pair in message.handshakes.items()}
            )
        except (OSError, ValueError) as bad:
            self.report("error", "tls.challenge", f"a challenge is not shown: {bad}", {})

    def _take_demanded(self, message: Demanded) -> None:
        """Go on with the handshakes that waited for these names."""
        demand = self.registry.demand
        for name, pair in message.pairs.items():
            demand.take(name, DemandedPair(pair.chain_pem.encode(), pair.key_pem.encode()))
        for name, refused_ms in message.refused_ms.items():
            demand.refuse(name, self.reactor.now_ms + refused_ms)

    def _reopen_logs(self, message: ReopenLogs) -> None:
        if self.serving is None:
            for fd in message.fds:
                os.close(fd)
            return
        self.serving.root.reopen_logs({path: message.fds[index] for path, index in message.logs.items()})

    def _figures(self) -> dict[str, object]:
        """Return what `vestibule status` shows of this worker."""
        return {
            **self._process_gauges(),
            **self._process_counters(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "upstreams": self.registry.figures(),
        }

    def _counts(self) -> Counts:
        """Return what metrics are made of: the same for every worker, so that sums can be made."""
        counters = self.registry.counts.told()
        counters["process"] = self._process_counters()
        gauges: dict[str, object] = {
            "process": self._process_gauges(),
            "sites": self.registry.counts.active(),
            "servers": {} if self.serving is None else self.serving.root.servers_now(),
        }
        return Counts(counters, gauges)

    def _process_counters(self) -> dict[str, int]:
        """Return what only grows."""
        tally = self.tally
        return {
            "accepted": tally.accepted,
            "held_back": tally.held_back,
            "requests": tally.requests,
            "refused_headers": tally.refused_headers,
            "handshakes_failed": tally.handshakes_failed,
            "sessions_refused": tally.sessions_refused,
            "datagrams_dropped": tally.datagrams_dropped,
            "log_lines_lost": self.registry.lines_lost(),
        }

    def _process_gauges(self) -> dict[str, int]:
        """Return what there is now."""
        tally = self.tally
        return {
            "connections": tally.connections,
            "exchanges": tally.exchanges,
            "tunnels": tally.tunnels,
            "sessions": tally.sessions,
            "handshakes_waiting": self.registry.demand.waiting,
            "resident_bytes": _resident_bytes(),
        }

    # ---- the end

    def stop(self, drain_ms: int, spare_idle: bool) -> None:
        """Accept no more; end when nothing is in flight, or when the time is over.

        A connection that is spared gets one more answer, or ends by its time-out. HTTP/2 can say that it ends (GOAWAY), and does.
        """
        if self.stopping:
            self.stop_at_ms = min(self.stop_at_ms, self.reactor.now_ms + drain_ms)
            return
        self.stopping = True
        self.stop_at_ms = self.reactor.now_ms + drain_ms
        for listener in self.listeners:
            listener.stop()
        for sessions in self.sessions.values():
            sessions.stop()
        for porch in self.porches.values():
            porch.stopping = True
        for pollable in self.reactor.pollables():
            owner = pollable.owner if isinstance(pollable, Transport) else None
            if owner is not None and (not spare_idle or isinstance(owner, H2DownConnection)):
                owner.on_stopping()
        self.on_deadline()

    def on_deadline(self) -> None:
        """Look whether everything is done."""
        tally = self.tally
        if (tally.connections == 0 and tally.sessions == 0 and not self._is_sending()) or self.reactor.now_ms >= self.stop_at_ms:
            self.registry.flusher.flush()
            if self.serving is not None and self.serving.root.counts:
                self.port.send(self._counts())  # those since it was last asked would be lost
            self.port.send(Drained())
            self.reactor.running = False
        else:
            self.reactor.timers.arm(self.deadline, self.reactor.now_ms + _DRAIN_LOOK_MS)

    def _is_sending(self) -> bool:
        """Tell whether some closing transport still has bytes for its peer."""
        return any(isinstance(each, Transport) and each.queued() > 0 for each in self.reactor.pollables())

    # ---- what control is told

    def report(self, level: str, kind: str, text: str, details: dict[str, str]) -> None:
        self.port.send(Event(level, kind, text, details))

    def on_crash(self, error: Exception) -> None:
        place = "".join(traceback.format_exception(error))[-4_000:]
        self.report("error", "proxy.bug", f"a bug: {type(error).__name__}: {error}", {"traceback": place})


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main(arguments: list[str]) -> int:
    """Run a worker on the link whose descriptor is named by `--link-fd N`."""
    if len(arguments) != 2 or arguments[0] != "--link-fd":
        sys.stderr.write("a worker is started by `vestibule run`\n")
        return 2
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # these are for the control process, which says what to do
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(50_000, 20, 100)
    sock = socket.socket(fileno=int(arguments[1]))
    sock.setblocking(False)
    worker = Worker(sock)
    worker.run()
    return 3 if worker.port.broken else 0
