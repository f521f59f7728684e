"""What outlives a reload, by key.

Facts: a configuration is replaced as a whole, but the connections kept to an upstream that did not
change, or the lines waiting for a log, must not be lost with it.

Rules: a key is made of everything that identifies a thing; changed settings are a changed key. A
configuration is begun, names what it needs, and is then committed or aborted; what the one that serves
does not name is closed at that moment.
"""


class State:
    """Something that outlives a reload."""

    def close(self) -> None:
        """Nobody names it any more. Exchanges in flight may still hold it and finish with it."""
        raise NotImplementedError


class Registry:
    """The things of one worker that outlive a reload."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._named: set[str] = set()
        self._serving: set[str] = set()

    def begin(self) -> None:
        """Begin a new configuration: it names nothing yet."""
        self._named = set()

    def find(self, key: str) -> State | None:
        """Return what is kept under the key and count it as named, or None."""
        found = self._states.get(key)
        if found is not None:
            self._named.add(key)
        return found

    def put(self, key: str, state: State) -> None:
        """Keep something under a new key, named."""
        self._states[key] = state
        self._named.add(key)

    def commit(self) -> int:
        """The configuration begun last serves now. Close what it does not name; return how many."""
        self._serving = self._named
        return self._sweep()

    def abort(self) -> int:
        """The configuration begun last is dropped. Close what only it named; return how many."""
        self._named = self._serving
        return self._sweep()

    def _sweep(self) -> int:
        gone = [key for key in self._states if key not in self._serving]
        for key in gone:
            self._states.pop(key).close()
        return len(gone)

    def keys(self) -> list[str]:
        """Return the keys of all that is kept, for `vestibule status`."""
        return sorted(self._states)
