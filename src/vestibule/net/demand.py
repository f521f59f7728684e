"""Certificates of names nobody wrote down, in one worker: which are here, who waits for one, and which are not to be had.

Facts: anyone may ask for any name, with each connection for another one. The control process knows whether a name may have a
certificate, and gets it.

Rules: everything is bounded: pairs that are kept (`PAIRS_MOST`, the least used one goes), names that are waited for (`NAMES_MOST`),
connections that wait (`WAITING_MOST`), refusals that are remembered (`REFUSALS_MOST`). Whoever finds no room is refused at once.
A name is asked for once, however many wait for it.

Not here: waiting (`proxy/demand.py`), contexts (`tls.py`), permission and rates (`control/acme/demand.py`).
"""

from typing import Final

from mypy_extensions import mypyc_attr, trait

PAIRS_MOST: Final = 1_000
NAMES_MOST: Final = 64
WAITING_MOST: Final = 512
REFUSALS_MOST: Final = 1_024

_NAME_MOST: Final = 253
_LABEL_MOST: Final = 63


class DemandedPair:
    """A certificate with its chain, and its key; both PEM. Another object is another certificate."""

    def __init__(self, chain: bytes, key: bytes) -> None:
        self.chain = chain
        self.key = key


@trait
class Waiter:
    """Who waits for the certificate of a name."""

    def on_answer(self) -> None:
        """The certificate is here, or is not to be had."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Asker:
    """Passes on which names are asked for."""

    def ask(self, name: str) -> None:
        """Say that a client asks for a name. Nobody hears it here."""


class Demand:
    """Certificates of names nobody wrote down; the same for all listeners of a worker."""

    def __init__(self) -> None:
        self.asker = Asker()
        self.waiting = 0
        self._pairs: dict[str, DemandedPair] = {}
        self._names: dict[str, list[Waiter]] = {}
        self._refused: dict[str, int] = {}  # until when, by name

    def find(self, name: str) -> DemandedPair | None:
        """Return the certificate of a name, if it is here."""
        pair = self._pairs.get(name)
        if pair is not None:
            # Used last, so it goes last.
            del self._pairs[name]
            self._pairs[name] = pair
        return pair

    def wait(self, name: str, waiter: Waiter, now_ms: int) -> bool:
        """Have the certificate of a name be got; `waiter` is told. False: it is not to be had now."""
        if now_ms < self._refused.get(name, -1):
            return False
        waiters = self._names.get(name)
        if self.waiting >= WAITING_MOST or (waiters is None and len(self._names) >= NAMES_MOST):
            return False
        self.waiting += 1
        if waiters is not None:
            waiters.append(waiter)
            return True
        self._names[name] = [waiter]
        self.asker.ask(name)
        return True

    def leave(self, name: str, waiter: Waiter) -> None:
        """Wait no more. The name stays asked for."""
        waiters = self._names.get(name)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self.waiting -= 1

    def take(self, name: str, pair: DemandedPair) -> None:
        """Have the certificate of a name."""
        self._pairs.pop(name, None)
        self._pairs[name] = pair
        while len(self._pairs) > PAIRS_MOST:
            del self._pairs[next(iter(self._pairs))]
        self._refused.pop(name, None)
        self._answer(name)

    def refuse(self, name: str, until_ms: int) -> None:
        """Refuse a name until then, unless there is a certificate."""
        self._refused.pop(name, None)
        self._refused[name] = until_ms
        while len(self._refused) > REFUSALS_MOST:
            del self._refused[next(iter(self._refused))]
        self._answer(name)

    def _answer(self, name: str) -> None:
        waiters = self._names.pop(name, [])
        self.waiting -= len(waiters)
        for waiter in waiters:
            waiter.on_answer()


class DemandedHosts:
    """The hosts of a listener whose certificates are issued when clients ask for them: names, `*.name`, or `*` for any."""

    def __init__(self) -> None:
        self._any = False
        self._exact: set[str] = set()
        self._wildcards: set[str] = set()

    def add(self, host: str) -> None:
        if host == "*":
            self._any = True
        elif host.startswith("*."):
            self._wildcards.add(host[2:])
        else:
            self._exact.add(host)

    def has(self, name: str) -> bool:
        """Tell whether a name, in lower case, is among them."""
        if name in self._exact:
            return True
        _, _, parent = name.partition(".")
        return (self._any or parent in self._wildcards) and is_public_form(name)


def is_public_form(name: str) -> bool:
    """Tell whether a name could be one that issuers certify: labels of letters, digits and hyphens, two at least, no address."""
    if len(name) > _NAME_MOST:
        return False
    labels = name.split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return False
    for label in labels:
        if not 0 < len(label) <= _LABEL_MOST or label.startswith("-") or label.endswith("-"):
            return False
        for char in label:
            if not ("a" <= char <= "z" or "0" <= char <= "9" or char == "-"):
                return False
    return True
