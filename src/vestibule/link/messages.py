"""The messages between the control process and its workers.

Facts: to a worker go Prepare, Commit, Abort, Addresses, Servers, Certificates, Challenges, Demanded, Stop, StopNow, ReopenLogs and
StatusRequest; from it come Hello, Ready, Refused, Status, Event, Asked, Sought and Drained. A worker's life: Hello; then Prepare → Ready or
Refused, Commit or Abort, any number of times; then Stop → Drained, and the process ends.

Rules:
* Descriptors are not in the JSON. A message that has some holds them in `fds`, and its JSON says how many and which is which by
  index. Whoever takes a message from an `end` owns its descriptors and closes those it does not keep.
* Prepare always brings every listener and every log of its generation, also those that were open before: after Commit a worker
  serves exactly these and closes the descriptors of the generation before. Both name the same socket where nothing changed, so no
  queued connection is lost.
* Reading validates; anything unexpected is a `LinkError` that names the key.

Not here: how JSON lies on the wire (`frame`), who keeps descriptors until they are needed (`ends`).
"""

from typing import Any, Final

from vestibule.link.frame import LinkError

SERVER_MODES: Final = ("", "ready", "drain", "maintenance")

LEVELS: Final = ("debug", "info", "warning", "error")

# The asset under this prefix and a site's name is the certificate made by the local CA for that site.
INTERNAL_PREFIX: Final = "internal:"

# The asset under this prefix and a site's name is the certificate issued for that site by ACME, or what stands in for it.
SERVER_PREFIX: Final = "server "
ACME_PREFIX: Final = "acme:"


class Message:
    """One thing said on the link. `fds` travel beside it."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def to_json(self) -> dict[str, object]:
        """Return what `json.dumps` takes; `type` names the class."""
        raise NotImplementedError


class KeyPair:
    """A certificate with its chain, leaf first, and its private key, not encrypted; both PEM."""

    def __init__(self, chain_pem: str, key_pem: str) -> None:
        self.chain_pem = chain_pem
        self.key_pem = key_pem

    def to_json(self) -> dict[str, object]:
        return {"chain_pem": self.chain_pem, "key_pem": self.key_pem}

    @staticmethod
    def from_json(data: dict[str, Any], place: str) -> "KeyPair":
        return KeyPair(_text(data, "chain_pem", place), _text(data, "key_pem", place))


class Assets:
    """What a generation needs from outside the model: workers open no file and ask no DNS.

    `directory`: what relative paths of directories that are served count from.
    `certificates`: by `Certificate.name`, and by `INTERNAL_PREFIX` or `ACME_PREFIX` + site name.
    `authorities`: PEM by the path of a CA file as the model writes it (`UpstreamTls.ca`, `TlsProfile.client_ca`).
    `revocations`: PEM by the path of a file of revocation lists as the model writes it (`TlsProfile.client_crl`,
    `UpstreamTls.crl`).
    `client_certificates`: by upstream name, what is shown to it; of single servers by their file, with `SERVER_PREFIX` before it.
    `addresses`: the IP addresses of each `Server.host` that is a name; empty while it has none.
    `mark_key`: in hex, what marks of sticky clients are signed with, the same in all workers and after restarts.
    `ticket_key`: 80 bytes in hex, the same in all workers, so that a TLS session resumes with any of them.
    `listeners`: by listener name, the indexes of its sockets in `Prepare.fds`; more than one only where systemd passed several.
    `logs`: by path, the index of the open file in `Prepare.fds`. `stdout` and `stderr` are 1 and 2 in the worker and not here.
    """

    def __init__(self) -> None:
        self.directory = ""
        self.certificates: dict[str, KeyPair] = {}
        self.authorities: dict[str, str] = {}
        self.revocations: dict[str, str] = {}
        self.client_certificates: dict[str, KeyPair] = {}
        self.addresses: dict[str, list[str]] = {}
        self.ticket_key = ""
        self.mark_key = ""
        self.listeners: dict[str, list[int]] = {}
        self.logs: dict[str, int] = {}

    def to_json(self) -> dict[str, object]:
        """Return what `json.dumps` takes."""
        return {
            "directory": self.directory,
            "certificates": {name: pair.to_json() for name, pair in self.certificates.items()},
            "authorities": self.authorities,
            "revocations": self.revocations,
            "client_certificates": {name: pair.to_json() for name, pair in self.client_certificates.items()},
            "addresses": self.addresses,
            "ticket_key": self.ticket_key,
            "mark_key": self.mark_key,
            "listeners": self.listeners,
            "logs": self.logs,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Assets":
        """Read assets. Raises `LinkError`."""
        assets = Assets()
        assets.directory = _text(data, "directory", "assets")
        assets.certificates = _pairs(data, "certificates", "assets")
        assets.authorities = _texts(data, "authorities", "assets")
        assets.revocations = _texts(data, "revocations", "assets")
        assets.client_certificates = _pairs(data, "client_certificates", "assets")
        assets.addresses = _text_lists(data, "addresses", "assets")
        assets.ticket_key = _text(data, "ticket_key", "assets")
        assets.mark_key = _text(data, "mark_key", "assets")
        for name, indexes in _dict(data, "listeners", "assets").items():
            if not isinstance(indexes, list):
                raise LinkError(f"assets.listeners.{name}: a list is expected")
            assets.listeners[name] = [_as_int(each, f"assets.listeners.{name}") for each in indexes]
        for path, index in _dict(data, "logs", "assets").items():
            assets.logs[path] = _as_int(index, f"assets.logs.{path}")
        return assets


# ---------------------------------------------------------------- to a worker


class Prepare(Message):
    """Build this generation beside the one that serves. Answer with Ready or Refused, then wait for Commit or Abort.

    `model` is the canonical JSON of `model/wire.py`.
    """

    def __init__(self, generation: int, model: str, assets: Assets, fds: list[int]) -> None:
        super().__init__()
        self.generation = generation
        self.model = model
        self.assets = assets
        self.fds = fds

    def to_json(self) -> dict[str, object]:
        return {"type": "prepare", "generation": self.generation, "model": self.model, "assets": self.assets.to_json()}


class Commit(Message):
    """Serve the prepared generation from now on, and drop the one before. No answer."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation

    def to_json(self) -> dict[str, object]:
        return {"type": "commit", "generation": self.generation}


class Abort(Message):
    """Drop the prepared generation and go on as before. No answer."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation

    def to_json(self) -> dict[str, object]:
        return {"type": "abort", "generation": self.generation}


class Addresses(Message):
    """These upstream names have these addresses now; names not mentioned stay as they are. No answer."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        super().__init__()
        self.names = names

    def to_json(self) -> dict[str, object]:
        return {"type": "addresses", "names": self.names}


class ServerState:
    """How a server stands: what checks say, and what a command said (`ready`, `drain`, `maintenance`, or nothing; -1 is no weight).

    `most` is how many connections its agent wants at a time: 0 any number, -1 as configured.
    """

    def __init__(self, up: bool, mode: str, weight: int, most: int = -1) -> None:
        self.up = up
        self.mode = mode
        self.weight = weight
        self.most = most

    def to_json(self) -> dict[str, object]:
        return {"up": self.up, "mode": self.mode, "weight": self.weight, "most": self.most}

    @staticmethod
    def from_json(data: dict[str, Any], place: str) -> "ServerState":
        mode = _text(data, "mode", place)
        if mode not in SERVER_MODES:
            raise LinkError(f"{place}.mode: `{mode}` is unknown")
        return ServerState(_bool(data, "up", place), mode, _int(data, "weight", place), _int(data, "most", place))


class Servers(Message):
    """These servers, by `Upstream.server_key`, stand like this now; others stay as they are. No answer."""

    def __init__(self, states: dict[str, ServerState]) -> None:
        super().__init__()
        self.states = states

    def to_json(self) -> dict[str, object]:
        return {"type": "servers", "states": {key: state.to_json() for key, state in self.states.items()}}


class Certificates(Message):
    """These certificates, by their names in `Assets.certificates`, serve new handshakes from now on. No answer."""

    def __init__(self, pairs: dict[str, KeyPair]) -> None:
        super().__init__()
        self.pairs = pairs

    def to_json(self) -> dict[str, object]:
        return {"type": "certificates", "pairs": {name: pair.to_json() for name, pair in self.pairs.items()}}


class Challenges(Message):
    """Exactly these challenges of ACME are open now. No answer.

    `tokens`: what a token below `/.well-known/acme-challenge/` is answered with (RFC 8555 8.3). `handshakes`: by host name, what a
    client that offers `acme-tls/1` is shown (RFC 8737).
    """

    def __init__(self, tokens: dict[str, str], handshakes: dict[str, KeyPair]) -> None:
        super().__init__()
        self.tokens = tokens
        self.handshakes = handshakes

    def to_json(self) -> dict[str, object]:
        handshakes = {name: pair.to_json() for name, pair in self.handshakes.items()}
        return {"type": "challenges", "tokens": self.tokens, "handshakes": handshakes}


class Demanded(Message):
    """What became of names that clients asked for: these have certificates now, and these have none for so many ms. No answer."""

    def __init__(self, pairs: dict[str, KeyPair], refused_ms: dict[str, int]) -> None:
        super().__init__()
        self.pairs = pairs
        self.refused_ms = refused_ms

    def to_json(self) -> dict[str, object]:
        pairs = {name: pair.to_json() for name, pair in self.pairs.items()}
        return {"type": "demanded", "pairs": pairs, "refused_ms": self.refused_ms}


class Collect(Message):
    """Answer with Counts."""

    def to_json(self) -> dict[str, object]:
        return {"type": "collect"}


class Pages(Message):
    """Show these pages of figures from now on, by their keys, and no others; the first line of each is its type. No answer."""

    def __init__(self, pages: dict[str, str]) -> None:
        super().__init__()
        self.pages = pages

    def to_json(self) -> dict[str, object]:
        return {"type": "pages", "pages": self.pages}


class Stop(Message):
    """Accept no more, finish what is in flight within `drain_ms`, say Drained and end.

    With `spare_idle`, connections that wait for a request may still send one; its answer is their last.
    """

    def __init__(self, drain_ms: int, spare_idle: bool = False) -> None:
        super().__init__()
        self.drain_ms = drain_ms
        self.spare_idle = spare_idle

    def to_json(self) -> dict[str, object]:
        return {"type": "stop", "drain_ms": self.drain_ms, "spare_idle": self.spare_idle}


class StopNow(Message):
    """End at once."""

    def to_json(self) -> dict[str, object]:
        return {"type": "stop_now"}


class ReopenLogs(Message):
    """Write to these files from now on and close the old ones; `logs` gives the index in `fds` by path. No answer."""

    def __init__(self, logs: dict[str, int], fds: list[int]) -> None:
        super().__init__()
        self.logs = logs
        self.fds = fds

    def to_json(self) -> dict[str, object]:
        return {"type": "reopen_logs", "logs": self.logs}


class StatusRequest(Message):
    """Answer with Status of the same id: figures, or, where a table is named, what is counted in it. `forget` has keys of it forgotten
    first: one, or with `*` all."""

    def __init__(self, id: int, table: str = "", forget: str = "") -> None:
        super().__init__()
        self.id = id
        self.table = table
        self.forget = forget

    def to_json(self) -> dict[str, object]:
        return {"type": "status_request", "id": self.id, "table": self.table, "forget": self.forget}


# ---------------------------------------------------------------- from a worker


class Hello(Message):
    """The first word of a worker: its process id, and whether it runs compiled."""

    def __init__(self, pid: int, compiled: bool) -> None:
        super().__init__()
        self.pid = pid
        self.compiled = compiled

    def to_json(self) -> dict[str, object]:
        return {"type": "hello", "pid": self.pid, "compiled": self.compiled}


class Ready(Message):
    """The generation is built and can be committed."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation

    def to_json(self) -> dict[str, object]:
        return {"type": "ready", "generation": self.generation}


class Refused(Message):
    """The generation cannot be built, for these reasons. Nothing of it is left."""

    def __init__(self, generation: int, reasons: list[str]) -> None:
        super().__init__()
        self.generation = generation
        self.reasons = reasons

    def to_json(self) -> dict[str, object]:
        return {"type": "refused", "generation": self.generation, "reasons": self.reasons}


class Status(Message):
    """The answer to StatusRequest: figures and texts by name, nested as the worker likes."""

    def __init__(self, id: int, figures: dict[str, Any]) -> None:
        super().__init__()
        self.id = id
        self.figures = figures

    def to_json(self) -> dict[str, object]:
        return {"type": "status", "id": self.id, "figures": self.figures}


class Counts(Message):
    """What a worker has counted: `counters` only grow, `gauges` are what there is now. The answer to Collect, and a last word."""

    def __init__(self, counters: dict[str, Any], gauges: dict[str, Any]) -> None:
        super().__init__()
        self.counters = counters
        self.gauges = gauges

    def to_json(self) -> dict[str, object]:
        return {"type": "counts", "counters": self.counters, "gauges": self.gauges}


class Event(Message):
    """A line for the error log. `kind` groups lines for the rate limit (a fault kind, or a name such as `tls.ticket`)."""

    def __init__(self, level: str, kind: str, text: str, details: dict[str, str]) -> None:
        super().__init__()
        self.level = level
        self.kind = kind
        self.text = text
        self.details = details

    def to_json(self) -> dict[str, object]:
        return {"type": "event", "level": self.level, "kind": self.kind, "text": self.text, "details": self.details}


class Asked(Message):
    """A client asks for a name that is served on demand and has no certificate here. Answer with Demanded, some time."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def to_json(self) -> dict[str, object]:
        return {"type": "asked", "name": self.name}


class Sought(Message):
    """A request names a host of which nothing is known. Answer with Addresses, none where it has none."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def to_json(self) -> dict[str, object]:
        return {"type": "sought", "name": self.name}


class Drained(Message):
    """The last word of a worker that was told to stop: nothing is in flight any more."""

    def to_json(self) -> dict[str, object]:
        return {"type": "drained"}


# ---------------------------------------------------------------- reading


def from_json(data: dict[str, Any], fds: list[int]) -> Message:
    """Return the message that a decoded frame says, with its descriptors. Raises `LinkError`."""
    kind = _text(data, "type", "message")
    message = _from_control(kind, data, fds)
    if message is None:
        message = _from_worker(kind, data)
    if message is None:
        raise LinkError(f"message.type: `{kind}` is unknown")
    if len(message.fds) != len(fds):
        raise LinkError(f"{kind}: {len(fds)} descriptors came with a message that takes none")
    return message


def _from_control(kind: str, data: dict[str, Any], fds: list[int]) -> Message | None:
    if kind == "prepare":
        assets = Assets.from_json(_dict(data, "assets", kind))
        for name, indexes in assets.listeners.items():
            _check_indexes(indexes, fds, f"assets.listeners.{name}")
        _check_indexes(list(assets.logs.values()), fds, "assets.logs")
        return Prepare(_int(data, "generation", kind), _text(data, "model", kind), assets, fds)
    if kind == "commit":
        return Commit(_int(data, "generation", kind))
    if kind == "abort":
        return Abort(_int(data, "generation", kind))
    if kind == "addresses":
        return Addresses(_text_lists(data, "names", kind))
    if kind == "servers":
        states: dict[str, ServerState] = {}
        for key, state in _dict(data, "states", kind).items():
            if not isinstance(state, dict):
                raise LinkError(f"{kind}.states.{key}: an object is expected")
            states[key] = ServerState.from_json(state, f"{kind}.states.{key}")
        return Servers(states)
    if kind == "certificates":
        return Certificates(_pairs(data, "pairs", kind))
    if kind == "challenges":
        return Challenges(_texts(data, "tokens", kind), _pairs(data, "handshakes", kind))
    if kind == "demanded":
        refused = {name: _as_int(value, f"{kind}.refused_ms.{name}") for name, value in _dict(data, "refused_ms", kind).items()}
        return Demanded(_pairs(data, "pairs", kind), refused)
    if kind == "collect":
        return Collect()
    if kind == "pages":
        return Pages(_texts(data, "pages", kind))
    if kind == "stop":
        return Stop(_int(data, "drain_ms", kind), _bool(data, "spare_idle", kind))
    if kind == "stop_now":
        return StopNow()
    if kind == "reopen_logs":
        logs = {path: _as_int(index, f"{kind}.logs.{path}") for path, index in _dict(data, "logs", kind).items()}
        _check_indexes(list(logs.values()), fds, f"{kind}.logs")
        return ReopenLogs(logs, fds)
    if kind == "status_request":
        return StatusRequest(_int(data, "id", kind), _text(data, "table", kind), _text(data, "forget", kind))
    return None


def _from_worker(kind: str, data: dict[str, Any]) -> Message | None:
    if kind == "hello":
        return Hello(_int(data, "pid", kind), _bool(data, "compiled", kind))
    if kind == "ready":
        return Ready(_int(data, "generation", kind))
    if kind == "refused":
        return Refused(_int(data, "generation", kind), _text_list(data.get("reasons"), f"{kind}.reasons"))
    if kind == "status":
        return Status(_int(data, "id", kind), _dict(data, "figures", kind))
    if kind == "counts":
        return Counts(_dict(data, "counters", kind), _dict(data, "gauges", kind))
    if kind == "event":
        level = _text(data, "level", kind)
        if level not in LEVELS:
            raise LinkError(f"event.level: `{level}` is unknown")
        return Event(level, _text(data, "kind", kind), _text(data, "text", kind), _texts(data, "details", kind))
    if kind == "asked":
        return Asked(_text(data, "name", kind))
    if kind == "sought":
        return Sought(_text(data, "name", kind))
    if kind == "drained":
        return Drained()
    return None


def _check_indexes(indexes: list[int], fds: list[int], place: str) -> None:
    for index in indexes:
        if not 0 <= index < len(fds):
            raise LinkError(f"{place}: descriptor {index} of {len(fds)} does not exist")


def _int(data: dict[str, Any], key: str, place: str) -> int:
    return _as_int(data.get(key), f"{place}.{key}")


def _as_int(value: object, place: str) -> int:
    # A bool is an int to Python but not to us.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise LinkError(f"{place}: a whole number is expected")


def _bool(data: dict[str, Any], key: str, place: str) -> bool:
    value: object = data.get(key)
    if isinstance(value, bool):
        return value
    raise LinkError(f"{place}.{key}: true or false is expected")


def _text(data: dict[str, Any], key: str, place: str) -> str:
    return _as_text(data.get(key), f"{place}.{key}")


def _as_text(value: object, place: str) -> str:
    if isinstance(value, str):
        return value
    raise LinkError(f"{place}: a text is expected")


def _dict(data: dict[str, Any], key: str, place: str) -> dict[str, Any]:
    value: object = data.get(key)
    if isinstance(value, dict):
        return value
    raise LinkError(f"{place}.{key}: an object is expected")


def _texts(data: dict[str, Any], key: str, place: str) -> dict[str, str]:
    return {name: _as_text(value, f"{place}.{key}.{name}") for name, value in _dict(data, key, place).items()}


def _text_list(value: object, place: str) -> list[str]:
    if isinstance(value, list):
        return [_as_text(each, place) for each in value]
    raise LinkError(f"{place}: a list is expected")


def _text_lists(data: dict[str, Any], key: str, place: str) -> dict[str, list[str]]:
    return {name: _text_list(value, f"{place}.{key}.{name}") for name, value in _dict(data, key, place).items()}


def _pairs(data: dict[str, Any], key: str, place: str) -> dict[str, KeyPair]:
    pairs: dict[str, KeyPair] = {}
    for name, value in _dict(data, key, place).items():
        if not isinstance(value, dict):
            raise LinkError(f"{place}.{key}.{name}: an object is expected")
        pairs[name] = KeyPair.from_json(value, f"{place}.{key}.{name}")
    return pairs
