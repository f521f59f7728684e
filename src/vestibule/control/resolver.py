"""The names of upstreams, looked up again and again, so that workers never ask DNS.

Facts: `getaddrinfo` blocks, for 30 s and more when no server answers, cannot be told to stop, and does not tell the time to live.
Containers change their address when they are made anew; Docker's DNS says so at once.

Rules:
* Each lookup has a daemon thread of its own: one that hangs neither stops the others nor keeps the program from ending.
* Each name is asked every `SHORT_S` while it moved lately or has no answer, up to every `LONG_S` while it rests.
* A name that had addresses keeps them while DNS is silent, because an old address is worth more than none.
* A start never waits for a name longer than asked to.

* A name that stands for many servers (`all:`, `srv:`) is asked of DNS itself, which tells how long its answer holds: that long it
  is believed, and no longer than `LONG_S`. What DNS does not know is looked up as others are (`/etc/hosts`).
* A name that a request names is looked up once, for the worker that asks, at DNS servers of its own if there are some; `SOUGHT_MOST`
  at a time, and further ones have no address.

Not here: connecting, and which address is tried first (`net/connect.py`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable

from vestibule.control.logs import ErrorLog, syslog_hosts
from vestibule.model.config import Config, Process
from vestibule.model.quantity import parse_resolver

SHORT_S = 5.0
LONG_S = 30.0
# However short an answer holds.
LEAST_S = 1.0
# A lookup still running after this is left to its thread and asked anew.
PATIENCE_S = 20.0
SOUGHT_MOST = 64

ALL_PREFIX = "all:"
SRV_PREFIX = "srv:"
_PREFIXES = {"one": "", "all": ALL_PREFIX, "srv": SRV_PREFIX}

Lookup = Callable[[str], list[str]]
Tell = Callable[[dict[str, list[str]]], None]


class Found(list[str]):
    """What a lookup found, and for how long it holds; 0 is not known."""

    def __init__(self, items: list[str], ttl_s: float) -> None:
        super().__init__(items)
        self.ttl_s = ttl_s


class _Name:
    """A name that is watched."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.wait_s = SHORT_S
        self.failed = False
        self.asked = asyncio.Event()
        """Set after the first answer, whatever it was."""
        self.task: asyncio.Task[None] | None = None


def look_up(name: str) -> list[str]:
    """Return the addresses of a name of both families, in the order the system prefers. Raises OSError.

    `all:NAME` and `srv:NAME` ask DNS for its records.
    """
    if name.startswith(ALL_PREFIX):
        return _all(name.removeprefix(ALL_PREFIX))
    if name.startswith(SRV_PREFIX):
        return _services(name.removeprefix(SRV_PREFIX))
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # A scope (`fe80::1%eth0`) is part of the address; getaddrinfo writes it so.
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def _all(name: str) -> list[str]:
    """Return all addresses of a name with their time to live."""
    import dns.exception
    import dns.resolver

    found: list[str] = []
    ttl = LONG_S
    for kind in ("A", "AAAA"):
        try:
            answer = dns.resolver.resolve(name, kind, search=True, lifetime=PATIENCE_S / 3)
        except (dns.exception.DNSException, OSError):
            continue
        found += [record.address for record in answer]
        ttl = min(ttl, answer.ttl)
    # Hosts files, mDNS and the like.
    return Found(found, ttl) if found else look_up(name)


def _services(name: str) -> list[str]:
    """Return `address port weight priority` for the SRV records of a name (RFC 2782)."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name, "SRV", search=True, lifetime=PATIENCE_S / 3)
    except dns.exception.DNSException as bad:
        raise OSError(f"SRV: {bad or type(bad).__name__}") from None
    found: list[str] = []
    ttl = float(answer.ttl)
    for record in sorted(answer, key=lambda each: (each.priority, -each.weight, each.port, each.target.to_text())):
        host = record.target.to_text().rstrip(".")
        if not host:
            continue  # a dot alone: the service is decidedly not there
        try:
            addresses = _all(host)
        except OSError:
            continue
        ttl = min(ttl, getattr(addresses, "ttl_s", ttl))
        # Records weigh as they say, however many addresses their host has.
        found += [f"{address} {record.port} {record.weight} {record.priority}" for address in addresses]
    return Found(found, ttl)


def look_up_at(servers: tuple[str, ...], kinds: tuple[str, ...]) -> Lookup:
    """Return what asks DNS servers, and nobody else, for records of some kinds. It raises OSError where there are none."""

    def ask(name: str) -> list[str]:
        import dns.exception
        import dns.nameserver
        import dns.resolver

        asked = dns.resolver.Resolver(configure=False)
        asked.nameservers = [dns.nameserver.Do53Nameserver(*parse_resolver(each)) for each in servers]
        found: list[str] = []
        why = "no address"
        for kind in kinds:
            try:
                answer = asked.resolve(name, kind, search=False, lifetime=PATIENCE_S / 3)
            except (dns.exception.DNSException, OSError) as bad:
                why = str(bad) or type(bad).__name__
                continue
            found += [record.address for record in answer]
        if not found:
            raise OSError(why)
        return found

    return ask


class Resolver:
    """Watches names; `on_change` is given those that have other addresses than before."""

    def __init__(self, journal: ErrorLog, on_change: Callable[[dict[str, list[str]]], None], lookup: Lookup = look_up) -> None:
        self._journal = journal
        self._on_change = on_change
        self._lookup = lookup
        self._sought_lookup = lookup
        self._names: dict[str, _Name] = {}
        self._sought: dict[str, list[Tell]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def addresses(self, names: set[str], patience_s: float) -> dict[str, list[str]]:
        """Return the addresses of names, watching those that are new; a name without an answer in time has none yet."""
        fresh = [self._watch(name) for name in names if name not in self._names]
        if fresh:
            waits = [asyncio.ensure_future(each.asked.wait()) for each in fresh]
            await asyncio.wait(waits, timeout=patience_s)
            for wait in waits:
                wait.cancel()
        return {name: list(self._names[name].addresses) for name in sorted(names)}

    def keep(self, names: set[str]) -> None:
        """Watch no other names than these any more."""
        for name in [each for each in self._names if each not in names]:
            task = self._names.pop(name).task
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Watch and look up nothing any more."""
        self.keep(set())
        for seeking in list(self._tasks):
            seeking.cancel()

    def known(self, name: str) -> list[str]:
        """Return what is known of a name."""
        entry = self._names.get(name)
        return [] if entry is None else list(entry.addresses)

    def report(self) -> dict[str, list[str]]:
        """Return what is known now."""
        return {name: list(entry.addresses) for name, entry in self._names.items()}

    def ask_at(self, process: Process) -> None:
        """Ask the DNS servers of a configuration, if it names some, for what requests name from now on."""
        kinds = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}[process.resolve]
        self._sought_lookup = look_up_at(process.resolvers, kinds) if process.resolvers else self._lookup

    def seek(self, name: str, tell: Tell) -> None:
        """Look a name up once for somebody who is told its addresses, none where it has none or there is no room for one more."""
        known = self.known(name)
        waiting = self._sought.get(name)
        if known or (waiting is None and len(self._sought) >= SOUGHT_MOST):
            tell({name: known})
        elif waiting is not None:
            waiting.append(tell)
        else:
            self._sought[name] = [tell]
            task = asyncio.get_running_loop().create_task(self._seek(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _seek(self, name: str) -> None:
        addresses: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                addresses = await _in_thread(self._sought_lookup, name)
        except (TimeoutError, OSError):
            pass  # the request that names it is logged with why it failed
        finally:
            for tell in self._sought.pop(name, []):
                tell({name: list(addresses)})

    def _watch(self, name: str) -> _Name:
        entry = self._names[name] = _Name()
        entry.task = asyncio.get_running_loop().create_task(self._refresh(name, entry))
        return entry

    async def _refresh(self, name: str, entry: _Name) -> None:
        while True:
            await self._ask(name, entry)
            entry.asked.set()
            await asyncio.sleep(entry.wait_s)

    async def _ask(self, name: str, entry: _Name) -> None:
        """Look the name up once and tell what changed."""
        why = ""
        addresses: list[str] = []
        try:
            # Not wait_for: before Python 3.12 it may swallow a cancellation that meets the answer.
            async with asyncio.timeout(PATIENCE_S):
                addresses = await _in_thread(self._lookup, name)
        except TimeoutError:
            why = "no answer"
        except OSError as bad:
            why = bad.strerror or str(bad)
        if why or not addresses:
            self._on_failure(name, entry, why or "no address")
            return
        if entry.failed:
            self._journal.info("resolver.found", f"{name} has addresses again", name=name)
        entry.failed = False
        # Round robin in DNS changes the order only; that is no reason to move.
        ttl = addresses.ttl_s if isinstance(addresses, Found) else 0.0
        if sorted(addresses) == sorted(entry.addresses):
            entry.wait_s = _within(ttl) if ttl else min(entry.wait_s * 2, LONG_S)
            return
        is_first = not entry.asked.is_set()
        entry.addresses = addresses
        entry.wait_s = _within(ttl) if ttl else SHORT_S
        if not is_first:
            self._journal.info("resolver.moved", f"{name} is at {', '.join(addresses)} now", name=name)
        # The first answer too: it may have come after the start had lost its patience.
        self._on_change({name: list(addresses)})

    def _on_failure(self, name: str, entry: _Name, why: str) -> None:
        entry.wait_s = SHORT_S
        # Once, not every few seconds.
        if not entry.failed:
            rest = "its last addresses stay in use" if entry.addresses else "requests to it fail until it has an address"
            self._journal.warning("resolver.failed", f"the upstream name {name} cannot be looked up: {why}; {rest}", name=name)
        entry.failed = True


def names_of(config: Config) -> set[str]:
    """Return the hosts of upstream and syslog servers that are names, not addresses."""
    servers = [server for upstream in config.upstreams for server in upstream.servers if server.host and not server.path]
    names = {_PREFIXES[server.resolve] + server.host for server in servers if not _is_address(server.host)}
    return names | {host for host in syslog_hosts(config) if not _is_address(host)}


def _within(ttl_s: float) -> float:
    """Return when to ask again: when the answer ends, but neither all the time nor too late."""
    return min(max(ttl_s, LEAST_S), LONG_S)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _in_thread(lookup: Lookup, name: str) -> asyncio.Future[list[str]]:
    """Run a lookup in a daemon thread; an executor would be waited for at the end of the program."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], bad: OSError | None) -> None:
        if future.done():
            return
        if bad is not None:
            future.set_exception(bad)
        else:
            future.set_result(addresses)

    def run() -> None:
        addresses: list[str] = []
        failure: OSError | None = None
        try:
            addresses = lookup(name)
        except OSError as bad:
            failure = bad
        except UnicodeError as bad:
            # A label of more than 63 characters (encodings.idna).
            failure = OSError(str(bad))
        try:
            loop.call_soon_threadsafe(settle, addresses, failure)
        except RuntimeError:
            # The loop has ended meanwhile.
            pass

    threading.Thread(target=run, name=f"lookup {name}", daemon=True).start()
    return future
