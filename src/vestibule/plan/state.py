"""What outlives a reload, by key.

Facts: a configuration is replaced as a whole, but the connections kept to an upstream that did not
change, or the lines waiting for a log, must not be lost with it.

Rules: a key is made of everything that identifies a thing; changed settings are a changed key. Compiling
finds or puts what it names; once the result serves, `keep` closes what it does not name.
"""

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class State:
    """Something that outlives a reload."""

    def close(self) -> None:
        """Nobody names it any more. Exchanges in flight may still hold it and finish with it."""
        raise NotImplementedError


class StateTable:
    """The things of one worker that outlive a reload."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def find(self, key: str) -> State | None:
        """Return what is kept under the key, or None."""
        return self._states.get(key)

    def put(self, key: str, state: State) -> None:
        """Keep something under a new key."""
        self._states[key] = state

    def drop(self, key: str) -> None:
        """Close what is kept under the key, if anything is."""
        state = self._states.pop(key, None)
        if state is not None:
            state.close()

    def keep(self, names: set[str]) -> int:
        """Close everything whose key is not among these; return how many."""
        gone = [key for key in self._states if key not in names]
        for key in gone:
            self.drop(key)
        return len(gone)

    def items(self) -> list[tuple[str, State]]:
        """Return all that is kept, by key."""
        return sorted(self._states.items(), key=_key_of)


def _key_of(item: tuple[str, State]) -> str:
    return item[0]
